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

from certhash.capture.first_pass.headers import V4
from certhash.model import Endpoint

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator

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
FEWEST = 32
_SEQUENCE = 0x30
CHECKSUM = 4
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

    @property
    def connection(self) -> frozenset[Endpoint]:
        """Return the two ends of its TCP connection; empty for others: UDP may carry a tunnel."""
        return self.ends if self.transport == "tcp" else frozenset()


def certificates_at(buffer: bytes | bytearray, begin: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the offsets of first certificates in a part of a buffer, and the sizes of their messages."""
    for match in _MESSAGE.finditer(buffer, begin, end):
        message = match.start()
        whole = int.from_bytes(buffer[message + 1 : message + 4], "big")
        for header in _HEADERS:
            at = message + header
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


def _size(buffer: bytes | bytearray, der: int) -> int:
    """Return the size of a DER sequence by its header, including the header; 0 if it is not one."""
    if buffer[der] != _SEQUENCE:
        return 0
    header = buffer[der + 1] - 0x80 + 2
    return header + int.from_bytes(buffer[der + 2 : der + header], "big") if header in (3, 4) else 0


def ends_at(
    buffer: bytes | bytearray, ip: int, source_port: int, destination_port: int
) -> tuple[Endpoint, Endpoint]:
    """Return the source and the destination of a packet whose IP header is `ip`."""
    four = buffer[ip] >> 4 == V4
    family, first, size = (socket.AF_INET, 12, 4) if four else (socket.AF_INET6, 8, 16)
    source, destination = (
        socket.inet_ntop(family, bytes(buffer[at : at + size])) for at in (ip + first, ip + first + size)
    )
    return Endpoint(source, source_port), Endpoint(destination, destination_port)


def not_shown(
    traces: Iterable[Trace],
    certificates: Iterable[bytes],
    connections: Container[frozenset[Endpoint]] | None = None,
) -> list[Trace]:
    """Return the traces of what was not shown.

    Args:
        traces: where certificates seem to be.
        certificates: those that were shown (DER), anywhere.
        connections: the ends of the connections with handshakes. In any other TCP connection, a certificate
            was not shown, even if it was shown elsewhere: the client may have rejected it there. None if they
            are unknown.
    """
    traces = tuple(traces)
    if not traces:
        return []
    shown = {der[:MOST] for der in certificates}
    return [
        trace
        for trace in traces
        if (connections is not None and trace.connection and trace.connection not in connections)
        or (trace.beginning not in shown and not any(der.startswith(trace.beginning) for der in shown))
    ]
