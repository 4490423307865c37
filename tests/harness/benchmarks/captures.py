"""Write the captures that the benchmarks read: real OpenSSL transcripts laid out as TCP, UDP and RTP packets.

Everything is reproducible from a fixed seed, except the keys and the handshakes, which OpenSSL generates at
each run.  The files are large and belong in a temporary folder; run ``python -m
tests.harness.benchmarks.captures FOLDER``.
"""

from __future__ import annotations

import argparse
import datetime as dt
import random
import ssl
import struct
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from tests.harness.dtls import Side, shake_hands

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

MSS = 1448
ACK_EVERY = 5
PCAP_HEADER = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1)
SYN, FIN, RST, PSH, ACK = 0x02, 0x01, 0x04, 0x08, 0x10


class Turn(NamedTuple):
    """The bytes that one side sends before the other answers."""

    side: Side
    data: bytes


class Identity(NamedTuple):
    """A certificate with its key, as files that ``ssl`` can load."""

    certificate: Path
    key: Path


def make_identity(folder: Path, name: str) -> Identity:
    """Create a self-signed certificate (RSA, 2048 bits) and its key in a folder."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + dt.timedelta(days=3650))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    identity = Identity(folder / f"{name}.crt", folder / f"{name}.key")
    identity.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    identity.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
    )
    return identity


def tls_transcript(
    identity: Identity,
    *,
    version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2,
    download: int = 0,
    write_size: int = 16384,
    keylog: Path | None = None,
) -> list[Turn]:
    """Do a handshake in memory, send ``download`` bytes, and return what each side sent."""
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(identity.certificate, identity.key)
    client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_context.check_hostname = False
    if keylog:
        client_context.keylog_filename = str(keylog)
    client_context.verify_mode = ssl.CERT_NONE
    for context in (server_context, client_context):
        context.minimum_version = context.maximum_version = version
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server, server_hostname=identity.certificate.stem)
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    turns: list[Turn] = []

    def step(
        action: Callable[[], object], outgoing: ssl.MemoryBIO, incoming: ssl.MemoryBIO, side: Side
    ) -> bool:
        try:
            action()
            done = True
        except ssl.SSLWantReadError:
            done = False
        data = outgoing.read()
        if data:
            turns.append(Turn(side, data))
            incoming.write(data)
        return done

    # Each object writes to the BIO that the other reads; the bytes are read, recorded, and written back.
    done = False
    while not done:
        client_done = step(client.do_handshake, to_server, to_server, "client")
        done = step(server.do_handshake, to_client, to_client, "server") and client_done
    if to_client.pending:
        step(lambda: client.read(1), to_server, to_server, "client")
    if download:
        request = f"GET /{download} HTTP/1.1\r\nHost: {identity.certificate.stem}\r\n\r\n".encode()
        step(lambda: client.write(request), to_server, to_server, "client")
        server.read(65536)
        block = random.Random(1).randbytes(write_size)
        left = download
        while left:
            size = min(left, write_size)
            server.write(block[:size])
            left -= size
        turns.append(Turn("server", to_client.read()))
    step(lambda: _quietly(client.unwrap), to_server, to_server, "client")
    return turns


def _quietly(action: Callable[[], object]) -> None:
    try:
        action()
    except ssl.SSLError:
        return


class Segment(NamedTuple):
    """One packet of a connection, without addresses: sender, TCP flags, sequence numbers and payload."""

    from_client: bool
    flags: int
    seq: int
    ack: int
    payload: bytes


def tcp_segments(
    turns: Iterable[Turn], client_isn: int = 1000, server_isn: int = 5000, mss: int = MSS
) -> Iterator[Segment]:
    """Split a transcript into segments as a TCP stack would, with SYN, acknowledgements and FIN."""
    number = {True: client_isn, False: server_isn}
    yield Segment(True, SYN, number[True], 0, b"")
    number[True] += 1
    yield Segment(False, SYN | ACK, number[False], number[True], b"")
    number[False] += 1
    yield Segment(True, ACK, number[True], number[False], b"")
    for turn in turns:
        sender = turn.side == "client"
        for count, start in enumerate(range(0, len(turn.data), mss), 1):
            payload = turn.data[start : start + mss]
            yield Segment(sender, PSH | ACK, number[sender], number[not sender], payload)
            number[sender] = (number[sender] + len(payload)) & 0xFFFFFFFF
            if count % ACK_EVERY == 0:
                yield Segment(not sender, ACK, number[not sender], number[sender], b"")
        yield Segment(not sender, ACK, number[not sender], number[sender], b"")
    for sender in (True, False):
        yield Segment(sender, FIN | ACK, number[sender], number[not sender], b"")
        number[sender] += 1
    yield Segment(True, ACK, number[True], number[False], b"")


_MACS = (bytes.fromhex("020000000002020000000001"), bytes.fromhex("020000000001020000000002"))
_IP = struct.Struct(">BBHHHBBH4s4s")
_TCP = struct.Struct(">HHIIBBHHH12s")
_UDP = struct.Struct(">HHHH")
_TIMESTAMPS = bytes.fromhex("0101080a0000000100000001")


class Endpoints(NamedTuple):
    """Addresses (4 bytes each) and ports of a connection."""

    client: bytes
    server: bytes
    client_port: int
    server_port: int


def tcp_frame(ends: Endpoints, segment: Segment) -> bytes:
    """Return the Ethernet frame of a segment; checksums are zero, as with offloading."""
    source, destination = (ends.client, ends.server) if segment.from_client else (ends.server, ends.client)
    ports = (
        (ends.client_port, ends.server_port) if segment.from_client else (ends.server_port, ends.client_port)
    )
    ip = _IP.pack(0x45, 0, 52 + len(segment.payload), 0, 0x4000, 64, 6, 0, source, destination)
    tcp = _TCP.pack(
        *ports,
        segment.seq & 0xFFFFFFFF,
        segment.ack & 0xFFFFFFFF,
        0x80,
        segment.flags,
        65535,
        0,
        0,
        _TIMESTAMPS,
    )
    return b"".join((_MACS[segment.from_client], b"\x08\x00", ip, tcp, segment.payload))


def udp_frame(ends: Endpoints, from_client: bool, payload: bytes) -> bytes:
    """Return the Ethernet frame of a datagram."""
    source, destination = (ends.client, ends.server) if from_client else (ends.server, ends.client)
    ports = (ends.client_port, ends.server_port) if from_client else (ends.server_port, ends.client_port)
    ip = _IP.pack(0x45, 0, 28 + len(payload), 0, 0x4000, 64, 17, 0, source, destination)
    return b"".join((_MACS[from_client], b"\x08\x00", ip, _UDP.pack(*ports, 8 + len(payload), 0), payload))


def endpoints(index: int, server_port: int = 443) -> Endpoints:
    """Return addresses and ports that are unique to an index."""
    client = bytes((10, 1 + (index >> 16 & 0x7F), index >> 8 & 0xFF, index & 0xFF))
    return Endpoints(client, bytes((192, 0, 2, 1 + index % 8)), 20000 + index % 40000, server_port)


def interleave(flows: Iterable[Iterator[bytes]], width: int, seed: int = 7) -> Iterator[bytes]:
    """Interleave the frames of many flows, ``width`` of them at a time, as on a busy link."""
    choose = random.Random(seed)
    waiting = iter(flows)
    active = [flow for _, flow in zip(range(width), waiting, strict=False)]
    while active:
        slot = choose.randrange(len(active))
        for _ in range(choose.randrange(1, 8)):
            frame = next(active[slot], None)
            if frame is None:
                replacement = next(waiting, None)
                if replacement is None:
                    active[slot] = active[-1]
                    active.pop()
                else:
                    active[slot] = replacement
                break
            yield frame


def write_pcap(output: BinaryIO, frames: Iterable[bytes], start: int = 1_700_000_000, gap: int = 7) -> int:
    """Write frames as a pcap file, ``gap`` microseconds apart; return how many there were."""
    output.write(PCAP_HEADER)
    record = struct.Struct("<IIII")
    clock = start * 1_000_000
    count = 0
    for frame in frames:
        count += 1
        output.write(record.pack(clock // 1_000_000, clock % 1_000_000, len(frame), len(frame)) + frame)
        clock += gap
    return count


def tls_flow(index: int, turns: list[Turn], server_port: int = 443) -> Iterator[bytes]:
    """Yield the frames of a connection that replays a transcript."""
    ends = endpoints(index, server_port)
    for segment in tcp_segments(turns, client_isn=index * 977, server_isn=index * 1409):
        yield tcp_frame(ends, segment)


def bulk(folder: Path, scale: float = 1.0) -> Iterator[bytes]:
    """Yield 2,000 connections with 330 KB of application data each."""
    identities = [make_identity(folder, f"vpn{number}.example") for number in range(8)]
    scripts = [
        tls_transcript(identities[number % 8], download=298_000 + 997 * number, write_size=size)
        for number in range(24)
        for size in ((16384, 16384, 1419, 4096)[number % 4],)
    ]
    return interleave((tls_flow(index, scripts[index % 24]) for index in range(int(2000 * scale))), 60)


def busy(folder: Path, scale: float = 1.0) -> Iterator[bytes]:
    """Yield 10,000 connections with 64 KB of application data each."""
    identities = [make_identity(folder, f"busy{number}.example") for number in range(8)]
    scripts = [tls_transcript(identities[number % 8], download=65_536) for number in range(24)]
    return interleave((tls_flow(index, scripts[index % 24]) for index in range(int(10_000 * scale))), 200)


def rtp_call(index: int, packets: int) -> Iterator[bytes]:
    """Yield one G.711 call in both directions, with 20 ms of audio per packet."""
    ends = endpoints(index)._replace(
        client_port=16384 + 2 * (index % 8000), server_port=24576 + 2 * (index % 8000)
    )
    sound = random.Random(index).randbytes(160)
    for number in range(packets):
        for from_client in (True, False):
            header = struct.pack(
                ">BBHII", 0x80, 0, number & 0xFFFF, number * 160, 0x1000 + index * 2 + from_client
            )
            yield udp_frame(ends, from_client, header + sound)


def http_download(index: int, size: int) -> Iterator[bytes]:
    """Yield one unencrypted HTTP transfer."""
    body = random.Random(index).randbytes(size)
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/x-loads\r\nContent-Length: {size}\r\n\r\n".encode()
    request = b"GET /firmware.loads HTTP/1.1\r\nHost: 192.0.2.9\r\n\r\n"
    return tls_flow(index, [Turn("client", request), Turn("server", head + body)], 80)


def mix(folder: Path, scale: float = 1.0) -> Iterator[bytes]:
    """Yield 5 % TLS (by bytes) among HTTP downloads, calls and DNS queries."""
    identity = make_identity(folder, "mix.example")
    scripts = [tls_transcript(identity, download=65_536 + 64 * number) for number in range(8)]

    def flows() -> Iterator[Iterator[bytes]]:
        for index in range(int(400 * scale)):
            yield tls_flow(index, scripts[index % 8])
            yield http_download(100_000 + index, 800_000)
            yield rtp_call(200_000 + index, 800)
            yield dns_lookup(300_000 + index)

    return interleave(flows(), 80)


def dns_lookup(index: int) -> Iterator[bytes]:
    """Yield one DNS query for an address, and its response."""
    ends = endpoints(index, 53)
    name = b"\x03vpn\x07example\x00\x00\x01\x00\x01"
    number = struct.pack(">H", index & 0xFFFF)
    yield udp_frame(ends, True, number + b"\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + name)
    answer = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xc0\x00\x02\x01"
    yield udp_frame(ends, False, number + b"\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00" + name + answer)


def dtls_transcript(identity: Identity) -> list[Turn]:
    """Record a real DTLS 1.2 handshake."""
    both = identity.certificate.with_suffix(".pem")
    both.write_bytes(identity.key.read_bytes() + identity.certificate.read_bytes())
    return [Turn(*sent) for sent in shake_hands(both, "dtls1_2")]


def dtls_flow(index: int, turns: list[Turn], packets: int) -> Iterator[bytes]:
    """Yield one DTLS tunnel: the handshake, then datagrams of application data, mostly from the server."""
    ends = endpoints(index)
    for turn in turns:
        yield udp_frame(ends, turn.side == "client", turn.data)
    body = random.Random(index % 16).randbytes(1300)
    for number in range(packets):
        header = struct.pack(">BHHHIH", 23, 0xFEFD, 1, 0, number + 1, len(body))
        yield udp_frame(ends, number % 6 == 0, header + body)


def dtls(folder: Path, scale: float = 1.0) -> Iterator[bytes]:
    """Yield 1,000 DTLS tunnels with 500 datagrams of application data each."""
    identity = make_identity(folder, "dtls.example")
    turns = dtls_transcript(identity)
    return interleave((dtls_flow(index, turns, 500) for index in range(int(1000 * scale))), 60)


def many(folder: Path, scale: float = 1.0) -> Iterator[list[bytes]]:
    """Yield the frames of 1,000 small captures of about 100 KB each."""
    identity = make_identity(folder, "small.example")
    turns = tls_transcript(identity, download=90_000)
    for index in range(int(1000 * scale)):
        yield list(tls_flow(index, turns))


SINGLE: dict[str, Callable[[Path, float], Iterator[bytes]]] = {
    "bulk": bulk,
    "busy": busy,
    "dtls": dtls,
    "mix": mix,
}
FOLDERS = {"many": 1.0, "archive": 10.0}
"""Number of small captures in each folder, in thousands."""
NAMES = (*SINGLE, *FOLDERS)


def make(name: str, folder: Path, scale: float = 1.0) -> Path:
    """Write a benchmark capture if it does not exist; return its path (a folder for some)."""
    suffix = "" if scale == 1 else f"-{scale:g}"
    target = folder / (f"{name}{suffix}" if name in FOLDERS else f"{name}{suffix}.pcap")
    if target.exists():
        return target
    partial = target.with_name(target.name + ".partial")
    with tempfile.TemporaryDirectory() as keys:
        if name in FOLDERS:
            partial.mkdir(parents=True, exist_ok=True)
            for number, frames in enumerate(many(Path(keys), scale * FOLDERS[name])):
                with (partial / f"{number:05}.pcap").open("wb") as output:
                    write_pcap(output, frames)
        else:
            with partial.open("wb") as output:
                write_pcap(output, SINGLE[name](Path(keys), scale))
    partial.rename(target)
    return target


def main() -> None:
    """Write the requested captures, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", default=NAMES, help=f"among {', '.join(NAMES)}; all by default")
    parser.add_argument("--scale", type=float, default=1.0, help="1 gives about 700 MB for bulk and busy")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for name in arguments.names:
        path = make(name, arguments.folder, arguments.scale)
        print(path, "folder" if path.is_dir() else f"{path.stat().st_size / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
