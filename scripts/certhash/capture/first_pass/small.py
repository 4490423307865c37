"""Look at a small capture packet by packet, without numpy, whose import takes longer than that.

Nothing is dropped from a small capture. What counts is what is in it: how many packets, traces of
certificates, and whether anything is unusual. The rules are those of ``packets`` and ``overlooked``, which
look at millions of packets at once; what may be a tunnel or a fragment there is unusual here.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from typing import TYPE_CHECKING, NamedTuple

from certhash.capture.first_pass.headers import (
    ACK,
    COOKED,
    COOKED_2,
    ETHERNET,
    FLAT_KINDS,
    FLAT_PROTOCOLS,
    HOP_BY_HOP,
    ICMPV6,
    IPV4,
    IPV6,
    LARGEST_LENGTH,
    LOOP,
    MOST_TAGS,
    NULL,
    PADDED,
    PSH,
    RAW,
    SYN,
    TCP,
    TCP_HEADER,
    TUNNEL_PORTS,
    UDP,
    UDP_HEADER,
    V4,
    V4_HEADER,
    V6,
    V6_HEADER,
    VLAN,
)
from certhash.capture.first_pass.layout import (
    LARGEST_PACKET,
    PCAP_HEADER,
    PEEK,
    RECORD,
    Blocks,
    may_be_variant,
    pcap_header,
    recognise,
)
from certhash.capture.first_pass.traces import CHECKSUM, FEWEST, MOST, Trace, certificates_at, ends_at

if TYPE_CHECKING:
    from collections.abc import Iterable

    from certhash.capture.first_pass.layout import Row
    from certhash.model import Endpoint

MOST_PACKETS = 7000
"""tshark reads more packets faster, behind the first pass. Measured with tshark 4.0.17 by processor time, its
start included: the engine takes less up to 6,800 packets of application data (7 MB), or 8,500 of handshakes
(1.7 MB). For 94 packets (100 KB) it takes a tenth of tshark's time."""

_U16 = struct.Struct(">H").unpack_from
_IP_4 = struct.Struct(">BxHxxHxB").unpack_from
"""Version and header length, total length, fragment, protocol."""
_IP_6 = struct.Struct(">BxxxHB").unpack_from
"""Version, payload length, next header."""
_PORTS = struct.Struct(">HH").unpack_from


class UnusualError(Exception):
    """A capture needs more than a look: it is damaged, or packets may be cut or inside of others."""


class Look(NamedTuple):
    """What is in a small capture."""

    packets: int
    traces: tuple[Trace, ...]
    whole: int
    """Bytes of the capture up to the end of its last whole packet; the file was cut short after these."""


class _Ip(NamedTuple):
    """The IP layer of a packet; offsets are into the capture."""

    at: int
    protocol: int
    transport: int
    end: int


def look(capture: bytes | bytearray) -> Look:
    """Look at every packet of a capture (the bytes of a capture file, decompressed).

    Raises:
        UnusualError: it needs more than a look.
    """
    rows, whole = _rows(capture)
    if len(rows) > MOST_PACKETS:
        raise UnusualError("there are many packets in it")
    ip = {row[0]: _flat(capture, row) for row in rows if row[2]}
    _check_numbers(capture, ip.values())
    if not ip:
        raise UnusualError("there is no packet in it")
    return Look(len(ip), _traces(capture, whole, rows, ip), whole)


def _rows(capture: bytes | bytearray) -> tuple[list[Row], int]:
    """Return the whole records of a capture, and where the last of them ends."""
    layout = recognise(capture[:PCAP_HEADER])
    if layout == "pcapng":
        rows, used, error = Blocks().rows(capture, len(capture))
        if recognise(capture[used : used + PCAP_HEADER]) == "pcapng":
            error = error or "it has another section, which may have another byte order"
    elif layout == "pcap":
        rows, used, error = _pcap_rows(capture)
        if used < len(capture) and may_be_variant(capture[:PEEK], whole=len(capture) <= PEEK):
            error = error or "it may be a variant of pcap, whose packets end elsewhere"
    else:
        raise UnusualError("only tshark knows its format")
    if error:
        raise UnusualError(error)
    return rows, used


def _pcap_rows(capture: bytes | bytearray) -> tuple[list[Row], int, str]:
    order, link = pcap_header(capture)
    sizes = struct.Struct(order + "8xII").unpack_from
    rows: list[Row] = []
    at = PCAP_HEADER
    while at + RECORD <= len(capture):
        captured, length = sizes(capture, at)
        end = at + RECORD + captured
        if captured > LARGEST_PACKET:
            return rows, at, f"a packet of {captured} bytes, more than any capture holds"
        if end > len(capture):
            break
        rows.append((at, end, at + RECORD, captured, length, link))
        at = end
    return rows, at, ""


def _flat(capture: bytes | bytearray, row: Row) -> _Ip | None:
    """Return the IP layer of a packet, if it has one.

    Raises:
        UnusualError: the packet was cut, or may hold another one.
    """
    _, _, data, captured, length, link = row
    end = data + captured
    if captured < length:
        raise UnusualError("a packet was cut when it was recorded")
    try:
        at, kind = _network_layer(capture, data, link)
        if kind == IPV4 and end - at >= V4_HEADER:
            ip = _ip_4(capture, at, end)
        elif kind == IPV6 and end - at >= V6_HEADER:
            ip = _ip_6(capture, at, end)
        elif at <= end and (kind in FLAT_KINDS or 0 < kind <= LARGEST_LENGTH):
            return None
        else:
            raise UnusualError("a packet may hold another one")
        if ip.protocol == UDP and set(_PORTS(capture, ip.transport)) & _TUNNELS:
            raise UnusualError("there is a tunnel in it")
    except struct.error:
        raise UnusualError("a packet ends too early") from None
    if ip.protocol not in FLAT_PROTOCOLS:
        raise UnusualError("a packet may hold another one")
    return ip


def _check_numbers(capture: bytes | bytearray, packets: Iterable[_Ip | None]) -> None:
    """Find what makes tshark lose a connection (see ``mending``).

    Raises:
        UnusualError: a packet counts its padding, or there are two different SYN-ACKs.
    """
    answers: dict[bytes, bytes] = {}
    for ip in packets:
        if ip is None or ip.protocol != TCP or ip.end - ip.transport < TCP_HEADER:
            continue
        at = ip.transport
        flags = capture[at + 13]
        if flags & (SYN | ACK) == SYN | ACK:
            ends = bytes(capture[ip.at + 12 : at + 4])
            seq = bytes(capture[at + 4 : at + 8])
            if answers.setdefault(ends, seq) != seq:
                raise UnusualError("a server answers twice, with different numbers")
        data = at + (capture[at + 12] >> 4) * 4
        if not flags & PSH and ip.end - ip.at in PADDED and not any(capture[data : ip.end] or b"x"):
            raise UnusualError("a packet seems to count its padding")


_TUNNELS = frozenset(TUNNEL_PORTS)


def _network_layer(capture: bytes | bytearray, data: int, link: int) -> tuple[int, int]:
    """Return where the network header of a packet starts, and its EtherType (0: unknown)."""
    if link == COOKED_2:
        return data + 20, _U16(capture, data)[0]
    if link in RAW:
        return data, _by_version(capture[data])
    if link in (NULL, LOOP):
        return data + 4, _by_version(capture[data + 4])
    if link not in (ETHERNET, COOKED):
        return data, 0
    at = data + (12 if link == ETHERNET else 14)
    (kind,) = _U16(capture, at)
    for _ in range(MOST_TAGS):
        if kind not in VLAN:
            break
        at += 4
        (kind,) = _U16(capture, at)
    return at + 2, kind


def _by_version(first: int) -> int:
    return {V4: IPV4, V6: IPV6}.get(first >> 4, 0)


def _ip_4(capture: bytes | bytearray, at: int, wire_end: int) -> _Ip:
    first, total, fragment, protocol = _IP_4(capture, at)
    header = (first & 0xF) * 4
    # With segmentation offload, the total length is 0; the frame length is used instead.
    end = at + total if total else wire_end
    if first >> 4 != V4 or header < V4_HEADER or not at + header <= end <= wire_end:
        raise UnusualError("an IPv4 header is damaged")
    if fragment & 0x3FFF:
        raise UnusualError("a packet is a fragment")
    return _Ip(at, protocol, at + header, end)


def _ip_6(capture: bytes | bytearray, at: int, captured_end: int) -> _Ip:
    first, length, protocol = _IP_6(capture, at)
    if first >> 4 != V6 or not length:
        raise UnusualError("an IPv6 header is damaged")
    # Multicast listener reports have a router alert (RFC 3810 5); every host with IPv6 sends some.
    if protocol == HOP_BY_HOP and capture[at + V6_HEADER : at + V6_HEADER + 1] == bytes((ICMPV6,)):
        protocol = ICMPV6
    return _Ip(at, protocol, at + V6_HEADER, min(at + V6_HEADER + length, captured_end))


def _traces(
    capture: bytes | bytearray, whole: int, rows: list[Row], ip: dict[int, _Ip | None]
) -> tuple[Trace, ...]:
    """Return the first trace of each certificate in each TCP connection, and outside of TCP.

    Only whole packets are searched.
    """
    found: dict[tuple[bytes, frozenset[Endpoint]], Trace] = {}
    starts = [row[0] for row in rows]
    numbers = {start: number for number, start in enumerate(ip, 1)}
    for at, message in certificates_at(capture, 0, whole):
        row = rows[bisect_right(starts, at) - 1]
        if row[0] in ip and (trace := _trace(capture, row, ip[row[0]], at)):
            trace = trace._replace(frame=numbers[row[0]], message=message)
            found.setdefault((trace.beginning, trace.connection), trace)
    return tuple(found.values())


def _trace(capture: bytes | bytearray, row: Row, ip: _Ip | None, at: int) -> Trace | None:
    """Return the trace of a certificate that begins `at` in a packet; None if too little is there."""
    transport = {TCP: "tcp", UDP: "udp"}.get(ip.protocol) if ip and _has_payload(capture, ip) else None
    end = ip.end if ip and transport else row[2] + row[3] - CHECKSUM
    beginning = bytes(capture[at : min(at + MOST, end)])
    if len(beginning) < FEWEST:
        return None
    both = ends_at(capture, ip.at, *_PORTS(capture, ip.transport)) if ip and transport else (None, None)
    return Trace(0, beginning, transport, *both)


def _has_payload(capture: bytes | bytearray, ip: _Ip) -> bool:
    """Return whether a packet has a whole TCP or UDP header."""
    room = ip.end - ip.transport
    if ip.protocol == UDP:
        return room >= UDP_HEADER and _U16(capture, ip.transport + 4)[0] >= UDP_HEADER
    if ip.protocol != TCP or room < TCP_HEADER:
        return False
    header = (capture[ip.transport + 12] >> 4) * 4
    return TCP_HEADER <= header <= room
