"""Find traces of certificates in a capture that tshark may not show.

tshark decides what is TLS, and is nearly always right. If it is not (TLS inside a protocol that it does not
dissect, or on a port that it assigns to another protocol), it does not show the certificates there. But a
Certificate message is recognisable: its own length, that of its list, that of the first certificate and that
of this certificate's DER agree (RFC 5246, section 7.4.2; RFC 6347, section 4.2.2; X.690, section 8.1.3). So
is the ServerHello of SSL 2, which contains the certificate (the SSL 2.0 specification, section 2.6).

These traces are never hashed. They only say where tshark must read again, and what to report if it still
shows nothing (:mod:`certhash.capture.again`).
"""

from __future__ import annotations

import re
import socket
import struct
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from certhash.capture.first_pass.packets import TCP, V4
from certhash.capture.first_pass.pcap import windows
from certhash.model import Endpoint

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from certhash.capture.first_pass.packets import Bools, Packets
    from certhash.capture.first_pass.pcap import Readable, Records

_MESSAGE = re.compile(
    # Type and length of the message; in DTLS its number, and the place and length of this, its first
    # fragment; the lengths of the list and of its first certificate; how that begins.
    rb"\x0b[\x00-\x0f]..(?:..\0\0\0[\x00-\x0f]..)?[\x00-\x0f]..[\x00-\x0f]..\x30[\x81\x82]",
    re.DOTALL,
)
_SSL_2 = b"\x04\0\x01\0\x02"
"""Of a ServerHello of SSL 2: type, no session, X.509, the version. Three lengths follow, the last one 16."""
_HEADERS = (4, 12)
"""Bytes before the length of the list, in TLS and in DTLS."""
_SSL_2_LENGTHS, _SSL_2_IDENTIFIER = 6, 16
MOST = 64
"""Bytes that identify a certificate: they extend beyond its serial number."""
_FEWEST = 32
_SMALLEST = 100
"""Minimum size in bytes of a record that may contain this much of a certificate."""
_SEQUENCE = 0x30
_CHECKSUM = 4
"""Bytes of a frame check sequence, which may end a packet."""


class Trace(NamedTuple):
    """Where a Certificate message seems to be, in one packet or from it on."""

    frame: int
    beginning: bytes
    """The start of the first certificate (DER) in this packet, at most 64 bytes."""
    transport: str | None
    """``tcp`` or ``udp``; None if the packet is in a tunnel, or of another protocol."""
    sender: Endpoint | None
    receiver: Endpoint | None
    message: int = 0
    """Bytes of the Certificate message; 0 for SSL 2, which has none."""

    @property
    def ends(self) -> frozenset[Endpoint]:
        """Return the two ends of its connection; empty if they are unknown."""
        return frozenset(end for end in (self.sender, self.receiver) if end is not None)


class Traces:
    """Searches the windows of a capture for traces."""

    def __init__(self) -> None:
        self._found: dict[bytes, Trace] = {}

    def all(self) -> tuple[Trace, ...]:
        """Return the first trace of each certificate."""
        return tuple(self._found.values())

    def look(self, records: Records, packets: Packets, keep: Bools, frame: NDArray[np.uint32]) -> None:
        """Search the kept records of a window; `frame` has their numbers."""
        edges = np.flatnonzero(np.diff(keep, prepend=False, append=False))
        begins, ends = records.start[edges[::2]], records.end[edges[1::2] - 1]
        large = ends - begins >= _SMALLEST
        for begin, end in zip(begins[large].tolist(), ends[large].tolist(), strict=True):
            for at, message in _certificates(records.buffer, begin, end):
                if bytes(records.buffer[at : at + MOST]) in self._found:
                    continue  # nearly all traces are of a few certificates
                row = int(np.searchsorted(records.start, at, "right")) - 1
                if records.data[row] and (trace := _trace(records, packets, row, at)):
                    self._found.setdefault(
                        trace.beginning, trace._replace(frame=int(frame[row]), message=message)
                    )


def traces_in_bytes(source: Readable) -> tuple[Trace, ...]:
    """Search a file that cannot be split into packets; the traces have frame 0, and no ends."""
    found: dict[bytes, Trace] = {}
    for records in windows(source):
        for at, message in _certificates(records.buffer, 0, int(records.end[-1])):
            beginning = bytes(records.buffer[at : at + _FEWEST])
            found.setdefault(beginning, Trace(0, beginning, None, None, None, message))
    return tuple(found.values())


def _trace(records: Records, packets: Packets, row: int, at: int) -> Trace | None:
    """Return the trace of a certificate that begins `at` in a record; None if too little is there."""
    index = int(np.searchsorted(packets.row, row))
    known = index < len(packets.row) and packets.row[index] == row
    if known:
        end = int(packets.payload[index] + packets.here[index])
    else:
        end = int(records.data[row] + records.captured[row]) - _CHECKSUM
    beginning = bytes(records.buffer[at : min(at + MOST, end)])
    if len(beginning) < _FEWEST:
        return None
    both = ends(records.buffer, packets, index) if known else (None, None)
    transport = ("tcp" if packets.protocol[index] == TCP else "udp") if known else None
    return Trace(0, beginning, transport, *both)


def _certificates(buffer: bytearray, begin: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the offsets of first certificates in a part of a buffer, and the sizes of their messages."""
    for match in _MESSAGE.finditer(buffer, begin, end):
        whole = int.from_bytes(buffer[match.start() + 1 : match.start() + 4], "big")
        for header in _HEADERS:
            at = match.start() + header
            several, one = (int.from_bytes(buffer[n : n + 3], "big") for n in (at, at + 3))
            if whole == several + 3 and one + 3 <= several and one == _size(buffer, at + 6):
                yield at + 6, whole
    at = buffer.find(_SSL_2, begin, end)
    while at >= 0:
        at += len(_SSL_2)
        der = at + _SSL_2_LENGTHS
        one, _, identifier = struct.unpack_from(">3H", buffer, at)
        if identifier == _SSL_2_IDENTIFIER and one == _size(buffer, der):
            yield der, 0
        at = buffer.find(_SSL_2, at, end)


def _size(buffer: bytearray, der: int) -> int:
    """Return the size of a DER sequence by its header, including the header; 0 if it is not one."""
    if buffer[der] != _SEQUENCE:
        return 0
    header = buffer[der + 1] - 0x80 + 2
    return header + int.from_bytes(buffer[der + 2 : der + header], "big") if header in (3, 4) else 0


def ends(buffer: bytearray, packets: Packets, index: int) -> tuple[Endpoint, Endpoint]:
    """Return the source and the destination of a packet."""
    ip = int(packets.ip[index])
    four = buffer[ip] >> 4 == V4
    family, first, size = (socket.AF_INET, 12, 4) if four else (socket.AF_INET6, 8, 16)
    source, destination = (
        socket.inet_ntop(family, bytes(buffer[at : at + size])) for at in (ip + first, ip + first + size)
    )
    return (
        Endpoint(source, int(packets.source_port[index])),
        Endpoint(destination, int(packets.destination_port[index])),
    )


def not_shown(traces: Iterable[Trace], certificates: Iterable[bytes]) -> list[Trace]:
    """Return the traces that match none of the certificates (DER) that were shown."""
    traces = tuple(traces)
    if not traces:
        return []
    shown = {der[:MOST] for der in certificates}
    return [
        trace
        for trace in traces
        if trace.beginning not in shown and not any(der.startswith(trace.beginning) for der in shown)
    ]
