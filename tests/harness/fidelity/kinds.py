"""Generate the kinds of captures that people have: TLS after an upgrade, in tunnels, on any port, in any format.

The handshakes are OpenSSL's; what precedes and encapsulates them follows the standard named at each place.
Every kind is one capture with known content.
"""

# ruff: noqa: E501 - tables are easier to read on lines of their own

from __future__ import annotations

import struct
import subprocess
from itertools import chain, count
from typing import TYPE_CHECKING, NamedTuple

from tests.conftest import need
from tests.harness.benchmarks.captures import (
    ACK,
    FIN,
    RST,
    SYN,
    Endpoints,
    Segment,
    Turn,
    tcp_frame,
    tcp_segments,
    udp_frame,
)
from tests.harness.fidelity import netscaler
from tests.harness.fidelity.disturb import answered_twice, counting_padding
from tests.harness.fidelity.generate import LINK_ETHERNET
from tests.harness.fidelity.tunnels import TUNNELS, ipv6_fragments
from tests.harness.fidelity.upgrades import UPGRADES
from tests.harness.packets import pcap

from certhash.capture.first_pass.headers import TUNNEL_PORTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from tests.harness.fidelity.kitchen import Script

ENDS = Endpoints(b"\x0a\x09\x00\x01", b"\xc0\x00\x02\x09", 40_001, 443)


class Kind(NamedTuple):
    """A capture, which may hold several connections, and its certificates."""

    name: str
    path: Path
    expected: tuple[str, ...]
    """SHA-1 (hex) in the order of the frames that complete them, then of the chain."""


def says(side: str, *data: bytes) -> list[Turn]:
    """Return the bytes that one side sends before the other answers."""
    return [Turn("client" if side == "c" else "server", one) for one in data]


# ---------------------------------------------------------------------------- TLS after another protocol


def upgrades(script: Script) -> Iterator[tuple[str, list[bytes], tuple[str, ...]]]:
    """Yield a connection for each upgrade, on its usual port and on another; each client has its own port."""
    clients = count(ENDS.client_port)
    for name, (port, before) in UPGRADES.items():
        turns = [Turn("client" if side == "c" else "server", data) for side, data in before]
        for number, suffix in ((port, ""), (45_678, "-elsewhere")):
            ends = ENDS._replace(client_port=next(clients), server_port=number)
            yield f"after-{name}{suffix}", connection(ends, [*turns, *script.turns]), script.clear


def connection(ends: Endpoints, turns: Iterable[Turn], mss: int = 1448) -> list[bytes]:
    """Return the frames of a connection."""
    return [tcp_frame(ends, segment) for segment in tcp_segments(turns, mss=mss)]


# --------------------------------------------------------------------------------------- on any port

TCP_PORTS = (
    22, 23, 25, 53, 70, 79, 80, 88, 102, 110, 111, 119, 135, 139, 143, 179, 389, 427, 443, 445, 465, 502, 514,
    515, 524, 548, 554, 563, 587, 593, 631, 636, 749, 853, 873, 989, 990, 993, 995, 1080, 1194, 1352, 1433,
    1494, 1521, 1720, 1723, 1812, 1883, 1935, 2000, 2049, 2083, 2404, 2428, 2443, 2638, 2748, 2948, 3000,
    3050, 3128, 3205, 3260, 3268, 3269, 3306, 3389, 3478, 3544, 3690, 3702, 3804, 3868, 4070, 4433, 4500, 4713,
    4786, 5000, 5060, 5061, 5190, 5222, 5223, 5269, 5349, 5432, 5433, 5555, 5671, 5672, 5683, 5900, 6000, 6379,
    6514, 6633, 6653, 6667, 6881, 6969, 6970, 7000, 7001, 7070, 7680, 8000, 8008, 8009, 8080, 8081, 8088, 8089,
    8182, 8333, 8443, 8883, 9000, 9042, 9050, 9080, 9100, 9160, 9200, 9418, 9443, 9999, 10000, 10050, 11211,
    13000, 15004, 16992, 19000, 20000, 27017, 34567, 44818, 50000, 55553, 60000, 64738, 65000,
)  # fmt: skip
"""The ports of many protocols."""
UDP_PORTS = (
    19, 53, 67, 69, 88, 111, 123, 137, 161, 162, 443, 500, 514, 520, 623, 853, 1194, 1645, 1701, 1812, 1813,
    1900, 2000, 2055, 2123, 2152, 2427, 2727, 3386, 3478, 3544, 3702, 4433, 4500, 4569, 4739, 4789, 5004, 5060,
    5061, 5246, 5247, 5349, 5353, 5355, 5683, 5684, 6081, 6343, 6635, 6881, 7000, 8472, 9996, 10000, 10161,
    11211, 17185, 20000, 30303, 34964, 47808, 51820, 60000,
)  # fmt: skip


def on_ports(script: Script, datagrams: Script) -> Iterator[tuple[str, list[bytes], tuple[str, ...]]]:
    """Yield TLS on many ports in one capture, DTLS in another, and DTLS on each port of a tunnel."""
    streams = [connection(ENDS._replace(server_port=port), script.turns) for port in TCP_PORTS]
    yield "tcp-ports", list(chain.from_iterable(streams)), script.clear * len(streams)
    alone = set(UDP_PORTS).intersection(TUNNEL_PORTS)  # what may be a tunnel makes a whole capture special
    flights = {port: exchange(ENDS._replace(server_port=port), datagrams.turns) for port in UDP_PORTS}
    together = [frames for port, frames in flights.items() if port not in alone]
    yield "udp-ports", list(chain.from_iterable(together)), datagrams.clear * len(together)
    for port in sorted(alone):
        yield f"udp-{port}", flights[port], datagrams.clear


STUN = (
    struct.pack(">HHI12s", 1, 0, 0x2112A442, b"transaction1"),
    struct.pack(
        ">HHI12sHHBBH4s", 0x0101, 12, 0x2112A442, b"transaction1", 1, 8, 0, 1, 40_001, b"\x0a\x09\0\1"
    ),
)
"""A Binding request and its response (RFC 8489), which precede DTLS-SRTP (RFC 5764)."""


def after_stun(datagrams: Script) -> Iterator[tuple[str, list[bytes], tuple[str, ...]]]:
    """Yield DTLS that shares its ports with STUN, as in WebRTC."""
    for port in (3478, 51_234):
        turns = [Turn("client", STUN[0]), Turn("server", STUN[1]), *datagrams.turns]
        mixed = [one for turn in turns for one in (turn, Turn("client", STUN[0]))]
        yield f"stun-{port}", exchange(ENDS._replace(server_port=port), turns), datagrams.clear
        yield f"stun-between-{port}", exchange(ENDS._replace(server_port=port), mixed), datagrams.clear


def exchange(ends: Endpoints, turns: Iterable[Turn]) -> list[bytes]:
    """Return the frames of datagrams, one per turn."""
    return [udp_frame(ends, turn.side == "client", turn.data) for turn in turns]


# ----------------------------------------------------------------------------- disturbances of TCP


def _data(segments: list[Segment]) -> list[int]:
    return [index for index, segment in enumerate(segments) if segment.payload]


def _keep_alives(segments: list[Segment]) -> list[Segment]:
    """Send occasional keep-alives: a byte before the acknowledged data (RFC 9293, section 3.8.4)."""
    out = []
    for segment in segments:
        if segment.payload:
            out.append(segment._replace(seq=segment.seq - 1, payload=b"\x00", flags=ACK))
            out.append(Segment(not segment.from_client, ACK, segment.ack, segment.seq, b""))
        out.append(segment)
    return out


def _zero_window_probes(segments: list[Segment]) -> list[Segment]:
    """Send the first byte of a segment alone, then the whole segment."""
    out = []
    for segment in segments:
        if len(segment.payload) > 1:
            out.append(segment._replace(payload=segment.payload[:1]))
        out.append(segment)
    return out


def _twice(segments: list[Segment]) -> list[Segment]:
    return [one for segment in segments for one in (segment, segment)]


def _backwards(segments: list[Segment]) -> list[Segment]:
    """Deliver the last segment of every flight first."""
    out: list[Segment] = []
    flight: list[Segment] = []
    for segment in segments:
        if flight and (segment.from_client != flight[-1].from_client or segment.flags & (SYN | FIN)):
            out += flight[::-1]
            flight = []
        if segment.payload:
            flight.append(segment)
        elif not flight or segment.from_client != flight[-1].from_client:
            out.append(segment)
    return out + flight[::-1]


def _acked_first(segments: list[Segment]) -> list[Segment]:
    """Capture the acknowledgements before the data that they acknowledge."""
    out = list(segments)
    for index in range(3, len(out) - 1):
        now, after = out[index], out[index + 1]
        if now.payload and not after.payload and now.from_client != after.from_client:
            out[index], out[index + 1] = after, now
    return out


def _syn_data(segments: list[Segment]) -> list[Segment]:
    """Send the ClientHello in the SYN (TCP Fast Open, RFC 7413)."""
    first = _data(segments)[0]
    syn = segments[0]._replace(payload=segments[first].payload)
    return [syn, *segments[1:first], *segments[first + 1 :]]


def _no_handshake(segments: list[Segment]) -> list[Segment]:
    return segments[3:]


def _reset(segments: list[Segment]) -> list[Segment]:
    last = segments[-4]
    return [*segments[:-3], Segment(True, RST, last.ack, 0, b"")]


def _stray_reset(segments: list[Segment]) -> list[Segment]:
    """Insert a reset outside of the window, which no end accepts, before the server answers."""
    at = _data(segments)[0] + 1
    return [*segments[:at], Segment(False, RST, 77, 0, b""), *segments[at:]]


SITUATIONS: dict[str, tuple[Callable[[list[Segment]], list[Segment]], int]] = {
    "keep-alives": (_keep_alives, 1448),
    "zero-window-probes": (_zero_window_probes, 1448),
    "zero-window-probes-small": (_zero_window_probes, 100),
    "every-packet-twice": (_twice, 1448),
    "every-packet-twice-small": (_twice, 50),
    "flights-backwards": (_backwards, 1448),
    "flights-backwards-small": (_backwards, 60),
    "acknowledged-first": (_acked_first, 1448),
    "syn-with-data": (_syn_data, 1448),
    "without-opening": (_no_handshake, 1448),
    "without-opening-small": (_no_handshake, 64),
    "reset": (_reset, 1448),
    "stray-reset": (_stray_reset, 1448),
    "one-byte-each": (list, 1),
    "seven-bytes-each": (list, 7),
    "large-segments": (list, 60_000),
    "answered-twice-lower": (answered_twice(-5000), 1448),
    "answered-twice-higher": (answered_twice(5000), 1448),
}
"""The disturbances, and the amount of data in each segment."""
NUMBERS = {
    "": (1000, 5000),
    "-wrapping": ((1 << 32) - 150, (1 << 32) - 1000),
    "-zero": (0xFFFFFFFF, 0xFFFFFFFF),
}


def situations(script: Script) -> Iterator[tuple[str, list[bytes], tuple[str, ...]]]:
    """Yield connections with disturbances."""
    for name, (happens, mss) in SITUATIONS.items():
        for suffix, (client, server) in NUMBERS.items():
            segments = list(tcp_segments(script.turns, client, server, mss))
            yield f"tcp-{name}{suffix}", [tcp_frame(ENDS, s) for s in happens(segments)], script.clear
    segments = list(tcp_segments(script.turns))
    frames = [tcp_frame(ENDS, segment) for segment in segments]
    for size in (42, 46):
        counted = [counting_padding(frame, size) for frame in frames]
        yield f"padding-counted-{size}", counted, script.clear
    yield "ipv6-fragments", [p for n, f in enumerate(frames) for p in ipv6_fragments(f, n)], script.clear
    backwards = [p for n, f in enumerate(frames) for p in reversed(ipv6_fragments(f, n))]
    yield "ipv6-fragments-backwards", backwards, script.clear
    # Several connections of one pair of ends in sequence, with or without a FIN.
    again = [tcp_frame(ENDS, s) for s in tcp_segments(script.turns, 90_000, 70_000)]
    yield "same-ends-again", frames + again, script.clear * 2
    yield "same-ends-again-unfinished", frames[:-3] + again, script.clear * 2
    # This cannot be distinguished from a capture with every packet twice. Up to 4.2, tshark shows one connection;
    # from 4.4 on, two (see `SHOWN_TWICE`).
    yield SHOWN_TWICE, frames + frames, script.clear
    later = [
        tcp_frame(ENDS, s)
        for s in tcp_segments(script.turns, segments[-3].seq + 10_000, segments[-2].seq + 10_000)
    ]
    yield "same-ends-higher-numbers", frames + later, script.clear * 2
    server_only = [tcp_frame(ENDS, s) for s in segments if not s.from_client]
    # The client's data contains only its own certificate.
    chain = script.clear[: len(script.clear) - script.of_client]
    yield "server-only", server_only, chain
    clients = [tcp_frame(ENDS, s) for s in segments if s.from_client]
    yield "client-only", clients, script.clear[len(chain) :]


SHOWN_TWICE = "same-ends-same-numbers"


def small_records(turns: Iterable[Turn], size: int) -> list[Turn]:
    """Split the handshake records of a transcript into records of a few bytes (RFC 5246, section 6.2.1)."""
    out = []
    for turn in turns:
        at, data = 0, bytearray()
        ciphered = False
        while at + 5 <= len(turn.data):
            kind, length = turn.data[at], int.from_bytes(turn.data[at + 3 : at + 5], "big")
            body = turn.data[at + 5 : at + 5 + length]
            ciphered |= kind == 20
            step = size if kind == 22 and not ciphered else max(length, 1)
            for start in range(0, max(length, 1), step):
                piece = body[start : start + step]
                data += turn.data[at : at + 3] + len(piece).to_bytes(2, "big") + piece
            at += 5 + length
        out.append(Turn(turn.side, bytes(data)))
    return out


def one_record_each_flight(turns: Iterable[Turn]) -> list[Turn]:
    """Combine all handshake messages of a flight in one record, as some servers do."""
    out = []
    for turn in turns:
        at, merged, rest = 0, b"", b""
        head = turn.data[:3]
        while at + 5 <= len(turn.data):
            length = int.from_bytes(turn.data[at + 3 : at + 5], "big")
            if turn.data[at] != 22 or rest:
                rest = turn.data[at:]
                break
            merged += turn.data[at + 5 : at + 5 + length]
            at += 5 + length
        record = head + len(merged).to_bytes(2, "big") + merged if merged else b""
        out.append(Turn(turn.side, record + rest))
    return out


def records(script: Script) -> Iterator[tuple[str, list[bytes], tuple[str, ...]]]:
    """Yield handshakes whose records are split or combined in unusual ways."""
    for size in (1, 3, 100, 1000):
        for mss in (1448, 300):
            turns = small_records(script.turns, size)
            yield f"records-of-{size}-in-{mss}", connection(ENDS, turns, mss), script.clear
    yield "one-record-each-flight", connection(ENDS, one_record_each_flight(script.turns)), script.clear


# ------------------------------------------------------------------------------------- EAP (RFC 5216)


def eap_packets(script: Script, kind: int, size: int) -> Iterator[tuple[bool, bytes]]:
    """Yield (from the peer, EAP packet): TLS in fragments, each of which is acknowledged."""
    number = 1
    yield True, b"\x02\x00" + struct.pack(">H", 9) + b"\x01user"
    yield False, bytes([1, number]) + struct.pack(">H", 6) + bytes([kind, 0x20])
    for turn in script.turns:
        if turn.data[:1] == b"\x17":
            return
        peer = turn.side == "client"
        for at in range(0, len(turn.data), size):
            piece = turn.data[at : at + size]
            more = at + size < len(turn.data)
            flags = (0x80 if not at else 0) | (0x40 if more else 0)
            body = bytes([flags]) + (struct.pack(">I", len(turn.data)) if not at else b"") + piece
            if not peer:
                number += 1
            code = 2 if peer else 1
            yield peer, bytes([code, number]) + struct.pack(">H", 5 + len(body)) + bytes([kind]) + body
            if more:
                number += peer
                yield not peer, bytes([1 if peer else 2, number]) + struct.pack(">H", 6) + bytes([kind, 0])


def eapol(script: Script, kind: int, size: int) -> list[bytes]:
    """Return the frames of 802.1X (IEEE 802.1X-2010, clause 11)."""
    macs = (bytes.fromhex("0180c2000003020000000001"), bytes.fromhex("0180c2000003020000000002"))
    return [
        macs[peer] + b"\x88\x8e\x01\x00" + struct.pack(">H", len(packet)) + packet
        for peer, packet in eap_packets(script, kind, size)
    ]


def radius(script: Script, kind: int, size: int) -> list[bytes]:
    """Return the datagrams of RADIUS with EAP-Message attributes (RFC 3579)."""
    ends = ENDS._replace(server_port=1812)
    out = []
    for number, (peer, packet) in enumerate(eap_packets(script, kind, size)):
        attributes = b"".join(
            bytes([79, 2 + len(packet[at : at + 253])]) + packet[at : at + 253]
            for at in range(0, len(packet), 253)
        )
        head = struct.pack(">BBH16s", 1 if peer else 11, number // 2, 20 + len(attributes), bytes(16))
        out.append(udp_frame(ends, peer, head + attributes))
    return out


EAP = {"tls": 13, "ttls": 21, "peap": 25}


def under_eap(script: Script) -> Iterator[tuple[str, list[bytes], tuple[str, ...]]]:
    """Yield TLS under EAP, over 802.1X and RADIUS."""
    for name, kind in EAP.items():
        for size in (1000, 200):
            yield f"eapol-{name}-{size}", eapol(script, kind, size), script.clear
            yield f"radius-{name}-{size}", radius(script, kind, size), script.clear


# ------------------------------------------------------------------------------------- whole captures

FORMATS = (
    "5views", "btsnoop", "erf", "k12text", "lanalyzer", "modpcap", "netmon1",
    "netmon2", "nettl", "ngsniffer", "ngwsniffer_1_1", "ngwsniffer_2_0", "nsecpcap",
    "rh6_1pcap", "snoop", "suse6_3pcap", "visual",
)  # fmt: skip
"""File formats that ``editcap`` writes."""


def converted(folder: Path, source: Path) -> Iterator[Path]:
    """Write a capture in every format that ``editcap`` knows for Ethernet."""
    for form in FORMATS:
        path = folder / f"format-{form}.cap"
        command = [need("editcap"), "-F", form, str(source), str(path)]
        if subprocess.run(command, capture_output=True, check=False).returncode == 0:
            yield path
        else:
            path.unlink(missing_ok=True)


def all_kinds(folder: Path, script: Script, datagrams: Script) -> Iterator[Kind]:
    """Write a capture of every kind."""

    def written(
        name: str, frames: Iterable[bytes], expected: tuple[str, ...], link: int = LINK_ETHERNET
    ) -> Kind:
        path = folder / f"{name}.pcap"
        path.write_bytes(pcap(frames, link))
        return Kind(name, path, expected)

    several_of_each = (
        upgrades(script),
        on_ports(script, datagrams),
        situations(script),
        records(script),
        under_eap(script),
        after_stun(datagrams),
    )
    for several in several_of_each:
        for name, frames, expected in several:
            yield written(name, frames, expected)
    plain = connection(ENDS, script.turns, 1200)
    for name, (link, wrap) in TUNNELS.items():
        udp = exchange(ENDS._replace(server_port=4433), datagrams.turns)
        yield written(f"in-{name}", map(wrap, [*plain, *udp]), script.clear + datagrams.clear, link)
    whole = written("plain", plain, script.clear)
    yield whole
    for name, write in netscaler.WRITERS.items():
        path = folder / f"format-{name}.cap"
        path.write_bytes(write(plain))
        yield Kind(path.stem, path, script.clear)
    for path in converted(folder, whole.path):
        yield Kind(path.stem, path, script.clear)
