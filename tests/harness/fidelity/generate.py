"""Generate captures with known content: real TLS handshakes, with every kind of transport and loss.

Every capture is determined by its number. The handshakes are OpenSSL's, in memory; segmentation, disturbance,
encapsulation and file format are chosen at random.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import gzip
import hashlib
import random
import ssl
import struct
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID
from tests.harness.benchmarks.captures import (
    Endpoints,
    Turn,
    dns_lookup,
    rtp_call,
    tcp_frame,
    tcp_segments,
    udp_frame,
)
from tests.harness.fidelity import dtls
from tests.harness.fidelity.disturb import counting_padding, disturbed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes

LINK_ETHERNET, LINK_RAW, LINK_COOKED, LINK_COOKED2, LINK_NULL = 1, 101, 113, 276, 0


class Generated(NamedTuple):
    """A capture and its known content."""

    path: Path
    presented: frozenset[str]
    """SHA-1 (hex) of every unencrypted certificate in it, before any loss."""
    expected: tuple[str, ...] | None
    """The same in order, with repetitions, for a complete capture without losses."""
    hidden: frozenset[str] | None
    """The reasons for hidden certificates, for a capture that has everything that the servers sent."""


class Script(NamedTuple):
    """The data of both sides of a handshake, and the SHA-1 (hex) of every unencrypted certificate."""

    turns: list[Turn]
    clear: tuple[str, ...]
    of_client: int = 0
    """The number of the client's certificates, which come last."""
    hidden: str | None = None
    """The reason if there are no certificates."""


class Kitchen:
    """The handshakes to choose from; created once per run, because the keys take time.

    What is pickled are the handshakes, those of DTLS among them.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        keys: list[CertificateIssuerPrivateKeyTypes] = [
            rsa.generate_private_key(65537, 2048),
            rsa.generate_private_key(65537, 3072),
            ec.generate_private_key(ec.SECP256R1()),
            ec.generate_private_key(ec.SECP384R1()),
            ed25519.Ed25519PrivateKey.generate(),
        ]
        self._root_key = ec.generate_private_key(ec.SECP256R1())
        self._root = _certificate("Root", self._root_key, None, self._root_key)
        self._chains: list[tuple[Path, list[bytes]]] = []
        for number, key in enumerate(keys):
            for length in (1, 2, 3, 12):
                self._chains.append(self._chain(f"vpn{number}-{length}.example", key, length))
        self.scripts = [
            self._script(chain, client, version)
            for chain in self._chains
            for version in ssl.TLSVersion
            if version in _VERSIONS
            for client in (None, self._chains[9])
            if not (client and version is not ssl.TLSVersion.TLSv1_2)
            if not ("vpn4" in chain[0].name and version < ssl.TLSVersion.TLSv1_2)
        ]
        self.resumed = [
            Script(resume(self._chains[0][0], tickets=tickets), (), hidden="resumed")
            for tickets in (True, False)
        ]

    @cached_property
    def datagrams(self) -> list[Script]:
        """DTLS handshakes, created on demand, because each takes a moment."""
        return [
            self._datagram_script(self._chains[number], client, version, mtu)
            for number, mtu in ((0, 1400), (2, 300), (7, 600), (10, 1400))
            for version in ("dtls1", "dtls1_2")
            for client in (None, self._chains[9])
        ]

    def __getstate__(self) -> dict[str, list[Script]]:
        return {"scripts": self.scripts, "resumed": self.resumed, "datagrams": self.datagrams}

    def _datagram_script(
        self,
        chain: tuple[Path, list[bytes]],
        client: tuple[Path, list[bytes]] | None,
        version: str,
        mtu: int,
    ) -> Script:
        sent = dtls.shake_hands(chain[0], version, client_file=client[0] if client else None, mtu=mtu)
        turns = [Turn("client" if one.from_client else "server", one.data) for one in sent]
        # OpenSSL's commands send the first certificate, and then the file that it comes from.
        of_client = client[1][:1] + client[1] if client else []
        clear = [
            hashlib.sha1(der, usedforsecurity=False).hexdigest()
            for der in chain[1][:1] + chain[1] + of_client
        ]
        return Script(turns, tuple(clear), len(of_client))

    def _chain(
        self, name: str, key: CertificateIssuerPrivateKeyTypes, length: int
    ) -> tuple[Path, list[bytes]]:
        chain: list[x509.Certificate] = []
        issuer, issuer_key = self._root, self._root_key
        for number in range(length - 2):
            between = ec.generate_private_key(ec.SECP256R1())
            chain.insert(0, _certificate(f"CA {number} of {name}", between, issuer, issuer_key))
            issuer, issuer_key = chain[0], between
        leaf = _certificate(name, key, issuer if length > 1 else None, issuer_key if length > 1 else key)
        chain.insert(0, leaf)
        if length > 1:
            chain.append(self._root)
        path = self._folder / f"{name}.pem"
        pem = serialization.Encoding.PEM
        private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        path.write_bytes(private + b"".join(c.public_bytes(pem) for c in chain))
        return path, [c.public_bytes(serialization.Encoding.DER) for c in chain]

    def _script(
        self,
        chain: tuple[Path, list[bytes]],
        client: tuple[Path, list[bytes]] | None,
        version: ssl.TLSVersion,
    ) -> Script:
        turns = shake_hands(chain[0], client[0] if client else None, version)
        if version is ssl.TLSVersion.TLSv1_3:
            return Script(turns, (), hidden="tls-1.3")
        sent = chain[1] + (client[1] if client else [])
        clear = tuple(hashlib.sha1(der, usedforsecurity=False).hexdigest() for der in sent)
        return Script(turns, clear, len(client[1]) if client else 0)


_VERSIONS = (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)


def _certificate(
    name: str,
    key: CertificateIssuerPrivateKeyTypes,
    issuer: x509.Certificate | None,
    issuer_key: CertificateIssuerPrivateKeyTypes,
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    begin = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
    algorithm = None if isinstance(issuer_key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + dt.timedelta(days=3650))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(issuer_key, algorithm)
    )


def shake_hands(server_file: Path, client_file: Path | None, version: ssl.TLSVersion) -> list[Turn]:
    """Run a handshake between two OpenSSL objects, send data both ways, and return all bytes sent."""
    server_context, client_context = (
        ssl.SSLContext(p) for p in (ssl.PROTOCOL_TLS_SERVER, ssl.PROTOCOL_TLS_CLIENT)
    )
    client_context.check_hostname = False
    client_context.verify_mode = ssl.CERT_NONE
    server_context.load_cert_chain(server_file)
    if client_file:
        client_context.load_cert_chain(client_file)
        server_context.verify_mode = ssl.CERT_OPTIONAL
        # The server trusts the chain that the client sends.
        server_context.load_verify_locations(client_file)
    for context in (server_context, client_context):
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = version
    return _talk(server_context, client_context, server_file.stem)[0]


def resume(server_file: Path, *, tickets: bool) -> list[Turn]:
    """Return a connection that resumes the session of another, by a ticket or by its identifier (TLS 1.2)."""
    server_context, client_context = (
        ssl.SSLContext(p) for p in (ssl.PROTOCOL_TLS_SERVER, ssl.PROTOCOL_TLS_CLIENT)
    )
    client_context.check_hostname = False
    client_context.verify_mode = ssl.CERT_NONE
    server_context.load_cert_chain(server_file)
    for context in (server_context, client_context):
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        if not tickets:
            context.options |= ssl.OP_NO_TICKET
    _, session = _talk(server_context, client_context, server_file.stem)
    return _talk(server_context, client_context, server_file.stem, session)[0]


def _talk(
    server_context: ssl.SSLContext,
    client_context: ssl.SSLContext,
    name: str,
    session: ssl.SSLSession | None = None,
) -> tuple[list[Turn], ssl.SSLSession | None]:
    """Return all bytes that two sides send, up to the close_notify of both, and the session."""
    to_server, from_client, to_client, from_server = (ssl.MemoryBIO() for _ in range(4))
    client = client_context.wrap_bio(to_client, from_client, server_hostname=name, session=session)
    server = server_context.wrap_bio(to_server, from_server, server_side=True)
    turns: list[Turn] = []
    open_ends = {"client", "server"}
    while open_ends:
        for side, end, out, to in (
            ("client", client, from_client, to_server),
            ("server", server, from_server, to_client),
        ):
            try:
                end.do_handshake()
                open_ends.discard(side)
            except ssl.SSLWantReadError:
                pass
            _pass_on(turns, side == "client", out, to)
    client.write(b"GET / HTTP/1.1\r\n\r\n")
    _pass_on(turns, True, from_client, to_server)
    server.read(100)
    server.write(b"HTTP/1.1 200 OK\r\n\r\n" + bytes(5000))
    _pass_on(turns, False, from_server, to_client)
    client.read(9000)
    for is_client, end, out, to in (
        (True, client, from_client, to_server),
        (False, server, from_server, to_client),
    ):
        with contextlib.suppress(ssl.SSLWantReadError):
            end.unwrap()  # its close_notify, which does not wait for the other's
        _pass_on(turns, is_client, out, to)
    assert client.session_reused is bool(session)
    return turns, client.session


def _pass_on(turns: list[Turn], from_client: bool, out: ssl.MemoryBIO, to: ssl.MemoryBIO) -> None:
    data = out.read()
    if data:
        turns.append(Turn("client" if from_client else "server", data))
        to.write(data)


# ------------------------------------------------------------------------------ what happens to packets


def ipv6(frame: bytes, choose: random.Random) -> bytes:
    """Convert an Ethernet frame with IPv4 to IPv6, sometimes with extension headers."""
    protocol, payload = frame[23], frame[34 : 14 + int.from_bytes(frame[16:18], "big")]
    for kind in choose.choice(((), (), (0,), (60,), (0, 60))):
        payload = bytes([protocol, 0, 1, 4, 0, 0, 0, 0]) + payload
        protocol = kind
    source, destination = (b"\x20\x01\x0d\xb8" + bytes(8) + frame[at : at + 4] for at in (26, 30))
    header = struct.pack(">IHBB", 6 << 28, len(payload), protocol, 64)
    return frame[:12] + b"\x86\xdd" + header + source + destination + payload


def _fragments(frame: bytes, number: int) -> list[bytes]:
    """Split an IPv4 packet in an Ethernet frame into fragments of 504 bytes."""
    body = frame[34:]
    out = []
    for at in range(0, len(body), 504):
        piece = body[at : at + 504]
        fields = struct.pack(
            ">HHH", 20 + len(piece), number, (0x2000 if at + 504 < len(body) else 0) | at // 8
        )
        out.append(frame[:16] + fields + frame[22:34] + piece)
    return out


def _options(frame: bytes) -> bytes:
    """Add options to an IPv4 packet (four times "no operation")."""
    size = int.from_bytes(frame[16:18], "big") + 4
    return (
        frame[:14]
        + b"\x46"
        + frame[15:16]
        + size.to_bytes(2, "big")
        + frame[18:34]
        + b"\x01\x01\x01\x00"
        + frame[34:]
    )


def in_ip(frame: bytes, protocol: int, between: bytes = b"") -> bytes:
    """Encapsulate the IP packet of a frame in another IPv4 packet."""
    inner = between + frame[14:]
    outer = struct.pack(
        ">BBHHHBBH4s4s", 0x45, 0, 20 + len(inner), 0, 0, 64, protocol, 0, b"\x0a\xff\0\1", b"\x0a\xff\0\2"
    )
    return frame[:12] + b"\x08\x00" + outer + inner


def _ppp(ethertype: bytes) -> bytes:
    return b"\x00\x21" if ethertype == b"\x08\x00" else b"\x00\x57"


_WRAPPED: dict[str, Callable[[bytes, bytes, bytes], bytes]] = {
    "ethernet": lambda macs, kind, packet: macs + kind + packet,
    "vlan": lambda macs, kind, packet: macs + b"\x81\x00\x00\x64" + kind + packet,
    "qinq": lambda macs, kind, packet: macs + b"\x88\xa8\x00\x0a\x81\x00\x00\x64" + kind + packet,
    "mpls": lambda macs, _, packet: macs + b"\x88\x47\x00\x01\x00\x40\x00\x02\x01\x40" + packet,
    "pppoe": lambda macs, kind, packet: b"".join(
        (macs, b"\x88\x64\x11\x00\x00\x07", struct.pack(">H", len(packet) + 2), _ppp(kind), packet)
    ),
    "gre": lambda macs, kind, packet: in_ip(macs + kind + packet, 47, b"\x00\x00" + kind),
    "ip-in-ip": lambda macs, kind, packet: in_ip(macs + kind + packet, 4 if kind == b"\x08\x00" else 41),
    "cooked": lambda macs, kind, packet: struct.pack(">HHH8s", 0, 1, 6, macs[6:]) + kind + packet,
    "cooked2": lambda macs, kind, packet: b"".join(
        (kind, struct.pack(">HIHBB8s", 0, 2, 1, 0, 6, macs[6:]), packet)
    ),
    "raw": lambda _macs, _kind, packet: packet,
    "null": lambda _, kind, packet: struct.pack("<I", 2 if kind == b"\x08\x00" else 30) + packet,
}
"""Functions from addresses, EtherType and IP packet of an Ethernet frame to other link types."""
_ROUTED = ("mpls", "pppoe", "gre", "ip-in-ip")
"""Routers encapsulate packets without the padding of the Ethernet that they came from."""
_LINK = {"cooked": LINK_COOKED, "cooked2": LINK_COOKED2, "raw": LINK_RAW, "null": LINK_NULL}


# -------------------------------------------------------------------------------------- whole captures


def generate(folder: Path, numbers: Iterable[int], kitchen: Kitchen) -> list[Generated]:
    """Write the captures with these numbers to a folder."""
    return [_capture(folder, kitchen, number) for number in numbers]


def _capture(folder: Path, kitchen: Kitchen, number: int) -> Generated:
    choose = random.Random(number)
    way = choose.choice(("ethernet", *_WRAPPED))
    presented: set[str] = set()
    expected: list[str] = []
    whole = servers_whole = True
    hidden: set[str] = set()
    flows: list[list[bytes]] = []
    for index in range(choose.choice((1, 1, 2, 5))):
        datagrams = choose.random() < 0.3
        resumes = not datagrams and choose.random() < 0.3
        scripts = kitchen.datagrams if datagrams else kitchen.resumed if resumes else kitchen.scripts
        script = choose.choice(scripts)
        if datagrams:
            frames, complete, of_server = _datagrams(choose, index, script)
        else:
            frames, complete, of_server = _connection(choose, index, script, routed=way in _ROUTED)
        flows.append(frames)
        whole &= complete
        servers_whole &= of_server
        hidden |= {script.hidden} if script.hidden else set()
        presented.update(script.clear)
        expected += script.clear
    if choose.random() < 0.3:
        flows += [list(dns_lookup(7)), list(rtp_call(7, 30))]
    frames = [_WRAPPED[way](f[:12], f[12:14], f[14:]) for f in _interleaved(choose, flows)]
    snaplen = choose.choice((0, 0, 0, 0, 0, 0, 0, 96, 400, 1000))
    data = _written(choose, frames, _LINK.get(way, LINK_ETHERNET), snaplen)
    name = f"{number:05}-{way}"
    path = folder / f"{name}.cap"
    if choose.random() < 0.1:
        path = folder / f"{name}.cap.gz"
        data = gzip.compress(data)
    path.write_bytes(data)
    uncut = not snaplen or all(len(frame) <= snaplen for frame in frames)
    return Generated(
        path,
        frozenset(presented),
        # The order of several connections depends on how they are interleaved.
        tuple(sorted(expected)) if whole and uncut else None,
        frozenset(hidden) if servers_whole and uncut else None,
    )


def _connection(
    choose: random.Random, index: int, script: Script, *, routed: bool
) -> tuple[list[bytes], bool, bool]:
    """Return the frames of a connection, and whether they contain all sent data, or at least the server's."""
    port = choose.choice((443, 443, 8443, 10443, 3804, 5061))
    ends = Endpoints(bytes((10, 9, 0, 1 + index)), bytes((192, 0, 2, 9)), 30_000 + index, port)
    isn = choose.choice((choose.randrange(1 << 32), (1 << 32) - choose.randrange(1, 4000)))
    mss = choose.choice((1448, 1448, 536, 9000, 97, 31))
    segments = list(tcp_segments(script.turns, isn, choose.randrange(1 << 32), mss))
    segments = [s._replace(seq=s.seq & 0xFFFFFFFF, ack=s.ack & 0xFFFFFFFF) for s in segments]
    seen = disturbed(choose, segments)
    form = choose.choice(("ipv4", "ipv4", "ipv4", "ipv6", "options", "fragments", "padded", "counted"))
    frames: list[bytes] = []
    for number, segment in enumerate(seen.segments):
        frame = tcp_frame(ends, segment)
        match form:
            case "ipv6":
                frames.append(ipv6(frame, choose))
            case "options":
                frames.append(_options(frame))
            case "fragments" if choose.random() < 0.3:
                frames += _fragments(frame, 1 + index * 5000 + number)
            case "padded":
                frames.append(frame.ljust(90, b"\x55"))
            case "counted" if not routed:
                frames.append(counting_padding(frame, 46))
            case _:
                frames.append(frame)
    # The first pass reads no tunnels, no fragments, and no extension headers of IPv6.
    certain = not seen.needs_mending or not (routed or form in {"ipv6", "fragments"})
    return frames, seen.is_whole and certain, seen.is_servers_whole and certain


def _datagrams(choose: random.Random, index: int, script: Script) -> tuple[list[bytes], bool, bool]:
    """Return the frames of a DTLS handshake, and (twice) whether they contain all sent data, in any order."""
    port = choose.choice((443, 4433, 10443, 53, 5246, 2152))
    ends = Endpoints(bytes((10, 9, 1, 1 + index)), bytes((192, 0, 2, 9)), 40_000 + index, port)
    turns = list(script.turns)
    trouble = choose.choice((None, None, "twice", "swapped", "lost", "late"))
    if trouble == "twice":
        turns = [copy for turn in turns for copy in [turn] * choose.choice((1, 1, 2))]
    elif trouble == "swapped":
        # Only among the fragments of a flight: the next flight is sent when all of them have arrived.
        for at in range(len(turns) - 1):
            same = turns[at].side == turns[at + 1].side
            if same and choose.random() < 0.3 and b"\x14\xfe" not in turns[at + 1].data[:2]:
                turns[at], turns[at + 1] = turns[at + 1], turns[at]
    elif trouble == "lost":
        turns = [turn for turn in turns if choose.random() > 0.2]
    elif trouble == "late":
        turns = turns[choose.randrange(1, len(turns)) :]
    frames = [udp_frame(ends, turn.side == "client", turn.data) for turn in turns]
    if choose.random() < 0.2:
        frames = [ipv6(frame, choose) for frame in frames]
    elif choose.random() < 0.2:
        frames = [part for n, frame in enumerate(frames) for part in _fragments(frame, 1 + index * 700 + n)]
    # Swapped fragments may be shown out of order, or not at all; the comparison judges that.
    complete = trouble in (None, "twice")
    return frames, complete, complete


def _interleaved(choose: random.Random, flows: list[list[bytes]]) -> list[bytes]:
    left = [flow[::-1] for flow in flows if flow]
    out = []
    while left:
        flow = choose.choice(left)
        out.append(flow.pop())
        if not flow:
            left.remove(flow)
    return out


def _written(choose: random.Random, frames: list[bytes], link: int, snaplen: int) -> bytes:
    """Write packets in one of the variants of pcap and pcapng."""
    order = choose.choice("<>")
    clock = 1_700_000_000
    pairs = [(frame[: snaplen or None], len(frame)) for frame in frames]
    kind = choose.choice(
        ("pcap", "pcap-ns", "pcapng", "pcapng", "pcapng-simple" if not snaplen else "pcapng")
    )
    if kind.startswith("pcap-") or kind == "pcap":
        magic, unit = (0xA1B23C4D, 1000) if kind == "pcap-ns" else (0xA1B2C3D4, 1)
        out = [struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, snaplen or 262144, link)]
        for number, (kept, size) in enumerate(pairs):
            out.append(struct.pack(order + "IIII", clock, number * unit, len(kept), size) + kept)
        return b"".join(out)
    out = [block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))]
    resolution = struct.pack(order + "HHB3xHH", 9, 1, 9, 0, 0) if choose.random() < 0.5 else b""
    ticks = 10**9 if resolution else 10**6
    # scapy treats a snapshot length of 0 as a limit for the length of a simple block.
    limit = snaplen or 262144 * (kind == "pcapng-simple")
    interface = block(order, 1, struct.pack(order + "HHI", link, 0, limit) + resolution)
    interfaces = choose.choice((1, 2))
    out += [interface] * interfaces
    for number, (kept, size) in enumerate(pairs):
        if kind == "pcapng-simple":
            out.append(block(order, 3, struct.pack(order + "I", size) + kept))
            continue
        time = clock * ticks + number
        comment = struct.pack(order + "HH4sHH", 1, 4, b"note", 0, 0) if choose.random() < 0.1 else b""
        head = struct.pack(
            order + "IIIII", choose.randrange(interfaces), time >> 32, time & 0xFFFFFFFF, len(kept), size
        )
        out.append(block(order, 6, head + kept + bytes(-len(kept) % 4) + comment))
        if choose.random() < 0.02:
            out.append(block(order, 0x0BAD, b"of nobody"))
    return b"".join(out)


def in_pcapng(
    folder: Path, script: Script, *, between: tuple[int, bytes] = (5, bytes(12)), simple: bool = False
) -> Path:
    """Write one undisturbed connection, with a block of this kind and content after each packet.

    `simple` writes simple packet blocks, which have no time.
    """
    ends = Endpoints(b"\x0a\0\0\1", b"\x0a\0\0\2", 30_000, 443)
    out = [block("<", 0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))]
    out.append(block("<", 1, struct.pack("<HHI", LINK_ETHERNET, 0, 0)))
    for number, segment in enumerate(tcp_segments(script.turns)):
        frame = tcp_frame(ends, segment)
        moment = 1_700_000_000_000_000 + number
        head = struct.pack("<IIIII", 0, moment >> 32, moment & 0xFFFFFFFF, len(frame), len(frame))
        out.append(
            block("<", 3, struct.pack("<I", len(frame)) + frame) if simple else block("<", 6, head + frame)
        )
        out.append(block("<", *between))
    path = folder / "connection.pcapng"
    path.write_bytes(b"".join(out))
    return path


def block(order: str, kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    size = 12 + len(body)
    return struct.pack(order + "II", kind, size) + body + struct.pack(order + "I", size)
