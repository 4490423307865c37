"""Certificates that stand in a capture and that no dissector shows: what gives them away.

What is TLS, tshark decides, and nearly always rightly. Where it does not (TLS inside of a protocol that it
does not open, or on a port that it gives to another), nothing would tell of the certificates there. But a
Certificate message gives itself away: its own length, that of its list, that of the first certificate and
that of this one's DER all agree (RFC 5246, section 7.4.2; RFC 6347, section 4.2.2; X.690, section 8.1.3). No
hash is taken of what is found so, and nothing is concluded from it but that something was not seen.
"""

from __future__ import annotations

import re
import socket
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from certhash.capture.first_pass.packets import TCP, V4
from certhash.model import Endpoint

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from certhash.capture.first_pass.packets import Bools, Packets
    from certhash.capture.first_pass.pcap import Records
    from certhash.model import Handshake

_MESSAGE = re.compile(
    # Type and length of the message; in DTLS its number, and the place and length of this, its first
    # fragment; the lengths of the list and of its first certificate; how that begins.
    rb"\x0b[\x00-\x0f]..(?:..\0\0\0[\x00-\x0f]..)?[\x00-\x0f]..[\x00-\x0f]..\x30[\x81\x82]",
    re.DOTALL,
)
_HEADERS = (4, 12)
"""Bytes before the length of the list, in TLS and in DTLS."""
_MOST = 64
"""Bytes of a certificate that tell it from others: beyond its serial number."""
_FEWEST = 32
_SMALLEST = 100
"""Bytes of a record of a capture that may hold a packet with so much of a certificate."""
_CHECKSUM = 4
"""Bytes of a frame check sequence, which may end a packet."""


class Trace(NamedTuple):
    """Where a Certificate message seems to stand, in one packet or from it on."""

    frame: int
    beginning: bytes
    """Of the first certificate (DER), as far as this packet goes, 64 bytes at most."""
    transport: str | None
    """``tcp`` or ``udp``; None where the packet is in a tunnel, or of another protocol."""
    sender: Endpoint | None
    receiver: Endpoint | None

    @property
    def words(self) -> str:
        """What to say of it, in one line."""
        if self.sender is None or self.receiver is None:
            return (
                "what looks like a certificate on its way is inside of something that tshark does not open, "
                "and so was not seen"
            )
        port = min(self.sender.port or 0, self.receiver.port or 0)
        return (
            f"what looks like a certificate that {self.sender} sends is not shown by tshark, and so was not "
            f"seen; where the port is the reason, give --decode-as {self.transport}.port=={port},"
            f"{'tls' if self.transport == 'tcp' else 'dtls'}"
        )


class Traces:
    """Looks for them in one window of a capture after the other."""

    def __init__(self) -> None:
        self._found: dict[bytes, Trace] = {}

    def all(self) -> tuple[Trace, ...]:
        """Return the first trace of each certificate."""
        return tuple(self._found.values())

    def look(self, records: Records, packets: Packets, keep: Bools, frame: NDArray[np.uint32]) -> None:
        """Look into those records of a window that are kept; `frame` has their numbers."""
        edges = np.flatnonzero(np.diff(keep, prepend=False, append=False))
        begins, ends = records.start[edges[::2]], records.end[edges[1::2] - 1]
        large = ends - begins >= _SMALLEST
        for begin, end in zip(begins[large].tolist(), ends[large].tolist(), strict=True):
            for at in _certificates(records.buffer, begin, end):
                if bytes(records.buffer[at : at + _MOST]) in self._found:
                    continue  # nearly all are of few certificates
                row = int(np.searchsorted(records.start, at, "right")) - 1
                if records.data[row]:
                    self._note(records, packets, row, int(frame[row]), at)

    def _note(self, records: Records, packets: Packets, row: int, frame: int, at: int) -> None:
        index = int(np.searchsorted(packets.row, row))
        known = index < len(packets.row) and packets.row[index] == row
        if known:
            end = int(packets.payload[index] + packets.here[index])
        else:
            end = int(records.data[row] + records.captured[row]) - _CHECKSUM
        beginning = bytes(records.buffer[at : min(at + _MOST, end)])
        if len(beginning) < _FEWEST or beginning in self._found:
            return
        ends = _ends(records.buffer, packets, index) if known else (None, None)
        transport = ("tcp" if packets.protocol[index] == TCP else "udp") if known else None
        self._found[beginning] = Trace(frame, beginning, transport, *ends)


def _certificates(buffer: bytearray, begin: int, end: int) -> Iterator[int]:
    """Yield where first certificates of Certificate messages stand in a part of a buffer."""
    for match in _MESSAGE.finditer(buffer, begin, end):
        whole = int.from_bytes(buffer[match.start() + 1 : match.start() + 4], "big")
        for header in _HEADERS:
            at = match.start() + header
            several, one = (int.from_bytes(buffer[n : n + 3], "big") for n in (at, at + 3))
            der = at + 6
            size = buffer[der + 1] - 0x80 + 2
            if (
                whole == several + 3
                and one + 3 <= several
                and size in (3, 4)
                and one == size + int.from_bytes(buffer[der + 2 : der + size], "big")
            ):
                yield der


def _ends(buffer: bytearray, packets: Packets, index: int) -> tuple[Endpoint, Endpoint]:
    """Return who sent a packet to whom."""
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


def overlooked(
    traces: Iterable[Trace], handshakes: Iterable[Handshake], certificates: Iterable[bytes]
) -> Iterator[Trace]:
    """Yield the traces of what is not among the certificates (DER) that were shown, nor told of otherwise.

    It is told of where there is a handshake of the same two ends, which says what of it cannot be seen and
    why; in a tunnel, where the ends are not known, any such handshake may be the one.
    """
    traces = tuple(traces)
    if not traces:
        return
    shown = {der[:_MOST] for der in certificates}
    ends = set()
    hidden = False
    for handshake in handshakes:
        ends.add(frozenset((handshake.client, handshake.server)))
        hidden |= handshake.hidden is not None
    for trace in traces:
        told = hidden if trace.sender is None else frozenset((trace.sender, trace.receiver)) in ends
        start = trace.beginning
        if not told and start not in shown and not any(der.startswith(start) for der in shown):
            yield trace
