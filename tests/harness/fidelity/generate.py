"""Generate captures with known content: real TLS handshakes, with every kind of transport and loss.

Every capture is determined by its number. The handshakes are OpenSSL's, in memory; segmentation, disturbance,
encapsulation and file format are chosen at random.
"""

from __future__ import annotations

import gzip
import random
import struct
from typing import TYPE_CHECKING, NamedTuple

from tests.harness.benchmarks.captures import (
    Endpoints,
    dns_lookup,
    rtp_call,
    tcp_frame,
    tcp_segments,
    udp_frame,
)
from tests.harness.fidelity.disturb import counting_padding, disturbed
from tests.harness.packets import block

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from tests.harness.fidelity.kitchen import Kitchen, Script


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


# ------------------------------------------------------------------------------ what happens to packets


def ipv6_of(frame: bytes, extensions: Iterable[int] = ()) -> bytes:
    """Return the IPv4 packet of a frame in IPv6, with extension headers of these types."""
    protocol, payload = frame[23], frame[34 : 14 + int.from_bytes(frame[16:18], "big")]
    for kind in extensions:
        payload = bytes([protocol, 0, 1, 4, 0, 0, 0, 0]) + payload
        protocol = kind
    source, destination = (b"\x20\x01\x0d\xb8" + bytes(8) + frame[at : at + 4] for at in (26, 30))
    return struct.pack(">IHBB", 6 << 28, len(payload), protocol, 64) + source + destination + payload


def ipv6(frame: bytes, choose: random.Random) -> bytes:
    """Convert an Ethernet frame with IPv4 to IPv6, sometimes with extension headers."""
    extensions = choose.choice(((), (), (0,), (60,), (0, 60)))
    return frame[:12] + b"\x86\xdd" + ipv6_of(frame, extensions)


def fragments(frame: bytes, number: int) -> list[bytes]:
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


def in_ip(frame: bytes, protocol: int, body: bytes) -> bytes:
    """Return an IPv4 packet with a body, in a frame with the same MAC addresses."""
    head = struct.pack(
        ">BBHHHBBH4s4s", 0x45, 0, 20 + len(body), 0, 0, 64, protocol, 0, b"\x0a\xff\0\1", b"\x0a\xff\0\2"
    )
    return frame[:12] + b"\x08\x00" + head + body


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
    "gre": lambda macs, kind, packet: in_ip(macs, 47, b"\x00\x00" + kind + packet),
    "ip-in-ip": lambda macs, kind, packet: in_ip(macs, 4 if kind == b"\x08\x00" else 41, packet),
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
                frames += fragments(frame, 1 + index * 5000 + number)
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
        frames = [part for n, frame in enumerate(frames) for part in fragments(frame, 1 + index * 700 + n)]
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
