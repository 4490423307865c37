"""Find the TCP and UDP headers in the packets of a window, all packets at once.

Only headers that can be parsed with certainty are found: IPv4 without fragments and IPv6 without extension
headers, over Ethernet (with VLAN tags), Linux cooked (both versions), raw IP, and BSD loopback.  All other
packets are kept unchanged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from certhash.capture.first_pass.headers import (
    COOKED,
    COOKED_2,
    ESP,
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
    RAW,
    TCP,
    TCP_HEADER,
    TUNNEL_PORTS,
    UDP,
    V4,
    V4_HEADER,
    V6,
    V6_HEADER,
    VLAN,
)
from certhash.capture.first_pass.pcap import windows

if TYPE_CHECKING:
    from certhash.capture.first_pass.layout import Readable
    from certhash.capture.first_pass.pcap import Ints, Records

Bools = NDArray[np.bool_]
Words = NDArray[np.uint64]


class Packets(NamedTuple):
    """The TCP and UDP packets of a window; one entry per packet, in order.

    ``row`` is the packet's place among the records.  ``ip`` and ``transport`` are where its headers start,
    ``payload`` where its payload does, ``size`` how long the payload was on the wire, ``here`` how much of it
    was captured.  ``seq`` and ``flags`` are 0 for UDP, ``ack`` is without meaning there.  ``key`` is the same
    for both directions of a connection, ``up`` tells them apart.
    """

    row: Ints
    protocol: Ints
    ip: Ints
    transport: Ints
    payload: Ints
    size: Ints
    here: Ints
    seq: Ints
    ack: Ints
    flags: Ints
    source_port: Ints
    destination_port: Ints
    key: Words
    up: Bools


class Parsed(NamedTuple):
    """The packets of a window: TCP and UDP, the keys of fragments of TCP, and the rows that are ESP.

    ``hiding`` counts packets that may hold others, which are not looked at, ``missed`` those that are or may
    be TCP and are not among the packets, ``fragments`` those of IPv4.
    """

    packets: Packets
    fragment_key: Words
    esp_row: Ints
    hiding: int
    missed: int
    fragments: int


class Window:
    """A buffer with access to numbers at any byte offset."""

    def __init__(self, buffer: bytearray) -> None:
        self.buffer = buffer
        self.bytes = np.frombuffer(buffer, np.uint8)
        self._half = np.ndarray((len(buffer) - 1,), ">u2", buffer, 0, (1,))
        self._word = np.ndarray((len(buffer) - 3,), ">u4", buffer, 0, (1,))
        self._long = np.ndarray((len(buffer) - 7,), ">u8", buffer, 0, (1,))

    def u8(self, at: Ints) -> Ints:
        """Return the bytes at some places."""
        return self.bytes[at].astype(np.int64)

    def u16(self, at: Ints) -> Ints:
        """Return the big-endian 16-bit numbers at some places."""
        return self._half[at].astype(np.int64)

    def u32(self, at: Ints) -> Ints:
        """Return the big-endian 32-bit numbers at some places."""
        return self._word[at].astype(np.int64)

    def words(self, at: Ints, count: int) -> NDArray[np.uint32]:
        """Return big-endian 32-bit numbers that follow each other, a row for each place.

        For a few numbers at the same place, this is faster than one call each.
        """
        size = 4 * count
        found = np.ndarray((len(self.buffer) - size + 1,), f"V{size}", self.buffer, 0, (1,))[at]
        return found.view(">u4").reshape(len(at), count)

    def u64(self, at: Ints) -> Words:
        """Return the big-endian 64-bit numbers at some places."""
        return self._long[at].astype(np.uint64)


def is_one_of(values: Ints, some: tuple[int, ...]) -> Bools:
    """Return the same as ``np.isin``, for a few numbers, without its imports."""
    found = np.zeros(len(values), bool)
    for one in some:
        found |= values == one
    return found


def mix(value: Words, seed: np.uint64) -> Words:
    """Scatter 64-bit numbers so that no structure is left (the finaliser of SplitMix64, with a seed)."""
    value = value + seed
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def parse(records: Records, window: Window, seed: np.uint64) -> Parsed:
    """Find the TCP and UDP packets of a window."""
    row = np.flatnonzero(records.data)
    ip, kind = _network_layer(records, window, row)
    captured_end = records.data[row] + records.captured[row]
    wire_end = records.data[row] + records.length[row]

    is_4 = (kind == IPV4) & (captured_end - ip >= V4_HEADER)
    is_6 = (kind == IPV6) & (captured_end - ip >= V6_HEADER)
    four, six = np.flatnonzero(is_4), np.flatnonzero(is_6)
    network = _ipv4(window, row[four], ip[four], captured_end[four], wire_end[four])
    if len(six):
        network = _in_order(network, _ipv6(window, row[six], ip[six], captured_end[six], seed))
    known = is_4 | is_6 | is_one_of(kind, FLAT_KINDS) | (kind > 0) & (kind <= LARGEST_LENGTH)
    hiding = int(len(row) - known.sum() + (~is_one_of(network.protocol, FLAT_PROTOCOLS)).sum())
    parsed = _transport(window, network, seed)
    of_ip = int((is_one_of(kind, (IPV4, IPV6))).sum())
    other = int((network.protocol != TCP).sum())
    missed = of_ip - other - int((parsed.packets.protocol == TCP).sum())
    ports = (parsed.packets.source_port, parsed.packets.destination_port)
    tunnels = [is_one_of(some, TUNNEL_PORTS) & (parsed.packets.protocol == UDP) for some in ports]
    return parsed._replace(hiding=hiding + int((tunnels[0] | tunnels[1]).sum()), missed=missed)


def is_plain(source: Readable) -> bool:
    """Return whether a capture is small, and nothing in it can encapsulate a packet in a packet."""
    seen = windows(source)
    first = next(seen, None)
    if first is None:
        return True
    parsed = parse(first, Window(first.buffer), np.uint64(0))
    return not (parsed.hiding or parsed.fragments) and next(seen, None) is None


def _in_order(first: _Network, second: _Network) -> _Network:
    """Merge packets by their rows."""
    order = np.argsort(np.concatenate((first.row, second.row)), kind="stable")
    return _Network(*(np.concatenate(columns)[order] for columns in zip(first, second, strict=True)))


def _network_layer(records: Records, window: Window, row: Ints) -> tuple[Ints, Ints]:
    """Return where the network header of each packet starts, and its EtherType (0: unknown)."""
    data = records.data[row]
    link = records.link[row]
    if not len(row):
        return data, link
    ip = np.zeros_like(data)
    kind = np.zeros_like(data)
    for one in set(link.tolist()) if link.min() != link.max() else (int(link[0]),):
        chosen = slice(None) if link.min() == link.max() else np.flatnonzero(link == one)
        start = data[chosen]
        if one == ETHERNET:
            place, found = _untag(window, start + 12, start + records.captured[row][chosen])
        elif one == COOKED:
            place, found = _untag(window, start + 14, start + records.captured[row][chosen])
        elif one == COOKED_2:
            place, found = start + 20, window.u16(start)
        elif one in RAW:
            place, found = start, _by_version(window, start)
        elif one in (NULL, LOOP):
            place, found = start + 4, _by_version(window, start + 4)
        else:
            continue
        ip[chosen], kind[chosen] = place, found
    return ip, kind


def _untag(window: Window, at: Ints, end: Ints) -> tuple[Ints, Ints]:
    """Step over VLAN tags from the EtherType ``at`` on; return the network header and its EtherType."""
    kind = window.u16(at)
    for _ in range(MOST_TAGS):
        tagged = is_one_of(kind, VLAN) & (at + 6 <= end)
        if not tagged.any():
            break
        at = at + 4 * tagged
        kind = window.u16(at)
    return at + 2, kind


def _by_version(window: Window, at: Ints) -> Ints:
    """Return the EtherType of a packet that starts with an IP header."""
    version = window.u8(at) >> 4
    return np.where(version == V4, IPV4, np.where(version == V6, IPV6, 0))


class _Network(NamedTuple):
    """IP packets: the offsets of headers and data, and the two ends as numbers, still without ports."""

    row: Ints
    protocol: Ints
    fragment: Bools
    ip: Ints
    transport: Ints
    end: Ints
    captured_end: Ints
    source: Words
    destination: Words


def _ipv4(window: Window, row: Ints, ip: Ints, captured_end: Ints, wire_end: Ints) -> _Network:
    words = window.words(ip, 5)
    first = words[:, 0].astype(np.int64)
    total = first & 0xFFFF
    header = (first >> 22) & 0x3C
    # With segmentation offload, the total length is 0; the frame length is used instead.
    end = np.where(total == 0, wire_end, ip + total)
    good = (first >> 28 == V4) & (header >= V4_HEADER) & (end >= ip + header) & (end <= wire_end)
    source = words[:, 3].astype(np.uint64) << np.uint64(16)
    destination = words[:, 4].astype(np.uint64) << np.uint64(16)
    fragment = words[:, 1] & 0x3FFF != 0
    network = _Network(
        row,
        (words[:, 2] >> 16 & 0xFF).astype(np.int64),
        fragment,
        ip,
        ip + header,
        end,
        np.minimum(captured_end, end),
        source,
        destination,
    )
    return network if good.all() else _Network(*(column[good] for column in network))


def _ipv6(window: Window, row: Ints, ip: Ints, captured_end: Ints, seed: np.uint64) -> _Network:
    length = window.u16(ip + 4)
    end = ip + 40 + length
    source = mix(mix(window.u64(ip + 8), ~seed) ^ window.u64(ip + 16), ~seed)
    destination = mix(mix(window.u64(ip + 24), ~seed) ^ window.u64(ip + 32), ~seed)
    good = (window.u8(ip) >> 4 == V6) & (length > 0)
    fragment = np.zeros(len(row), bool)
    protocol = window.u8(ip + 6)
    # Multicast listener reports have a router alert (RFC 3810 5); every host with IPv6 sends some.
    protocol[(protocol == HOP_BY_HOP) & (window.u8(ip + 40) == ICMPV6)] = ICMPV6
    network = _Network(
        row, protocol, fragment, ip, ip + 40, end, np.minimum(captured_end, end), source, destination
    )
    return network if good.all() else _Network(*(column[good] for column in network))


def _transport(window: Window, network: _Network, seed: np.uint64) -> Parsed:
    words = window.words(network.transport, 4)
    ports, second, ack, offset_flags = (words[:, column].astype(np.int64) for column in range(4))
    offset_flags >>= 16
    is_tcp = network.protocol == TCP
    is_udp = network.protocol == UDP
    source_port, destination_port = ports >> 16, ports & 0xFFFF
    source = mix(network.source ^ source_port.astype(np.uint64), seed)
    destination = mix(network.destination ^ destination_port.astype(np.uint64), seed)
    # The sum does not depend on the direction.  0 marks a free slot in the table of flows.
    key = np.maximum((source + destination) ^ network.protocol.astype(np.uint64), np.uint64(1))
    at = network.transport
    header = np.where(is_tcp, (offset_flags >> 10) & 0x3C, 8)
    payload = at + header
    whole = (
        ~network.fragment
        & (is_tcp & (header >= TCP_HEADER) | is_udp)
        & (payload <= network.captured_end)
        & (payload <= network.end)
    )
    size = network.end - payload
    if is_udp.any():
        size = np.where(is_udp, np.minimum(size, (second >> 16) - 8), size)
        whole &= size >= 0
    fragment = network.fragment & is_tcp & (window.u16(network.ip + 6) & 0x1FFF == 0)
    columns = (
        network.row, network.protocol, network.ip, at, payload, size, network.captured_end - payload,
        second * is_tcp, ack, (offset_flags & 0xFF) * is_tcp, source_port,
        destination_port, key, source < destination,
    )  # fmt: skip
    packets = Packets(*columns) if whole.all() else Packets(*(column[whole] for column in columns))
    esp = (network.protocol == ESP) & ~network.fragment
    return Parsed(packets, key[fragment], network.row[esp], 0, 0, int(network.fragment.sum()))
