"""Find the records of capture files: packets, and everything else between them.

Understood are pcap (either byte order, micro- and nanoseconds) and pcapng (any number of sections and
interfaces; enhanced, simple and obsolete packet blocks). Sources: draft-ietf-opsawg-pcap and
draft-ietf-opsawg-pcapng; limits as in Wireshark's wiretap, which reads the same bytes.
"""

from __future__ import annotations

import struct
from typing import Literal, Protocol

_OTHER_FRAMES = frozenset((0x0BAD, 0x40000BAD, 9, 0x204, 0x216, 0x221))
"""Blocks that are not packets, but that Wireshark numbers as frames: custom blocks, entries of systemd's
journal, and events of sysdig (seen with 4.0 and 4.4)."""

LARGEST_PACKET = 262_144
LARGEST_BLOCK = 16 << 20
"""Larger packets and blocks are damage; Wireshark has the same limits."""

NO_LINK = 0xFFFF
"""Link type of an interface without a description, or with more than a link type in its description."""

PCAP_MAGIC = {
    b"\xa1\xb2\xc3\xd4": ">",
    b"\xd4\xc3\xb2\xa1": "<",
    b"\xa1\xb2\x3c\x4d": ">",
    b"\x4d\x3c\xb2\xa1": "<",
}
_NANOSECONDS = (b"\xa1\xb2\x3c\x4d", b"\x4d\x3c\xb2\xa1")
PCAP_HEADER, RECORD = 24, 16
_TRIED = 3
"""Records by which Wireshark recognises the variants of pcap."""
_SECOND = 1_000_000
"""Microseconds."""
_LARGEST_LENGTH = 128 << 20
PEEK = 1 << 16
"""Bytes at the start of a file that show its record structure."""
_PCAPNG_MAGIC = b"\x0a\x0d\x0d\x0a"
_SECTION, _INTERFACE, _OLD_PACKET, _SIMPLE, _ENHANCED, _SECRETS = 0x0A0D0D0A, 1, 2, 3, 6, 10
_SMALLEST_BLOCK, _SIMPLE_BLOCK, _INTERFACE_BLOCK, _PACKET_BLOCK = 12, 16, 20, 32
_SECTION_ORDER = {b"\x1a\x2b\x3c\x4d": ">", b"\x4d\x3c\x2b\x1a": "<"}

Layout = Literal["pcap", "pcapng", "other"]
Status = Literal["complete", "truncated", "unreadable"]
Row = tuple[int, int, int, int, int, int]
"""A record: where it starts and ends; where the bytes of the packet begin (0: no packet), how many there are
here and were on the wire; the link type."""


class Readable(Protocol):
    """The source of a capture: an unbuffered file, a pipe, or a decompressor."""

    def readinto(self, buffer: memoryview, /) -> int | None:
        """Fill the start of a buffer; return the number of bytes, 0 at the end."""


def recognise(head: bytes | bytearray) -> Layout:
    """Return the record structure of a file, by its first 24 bytes.

    "other" is everything whose records are not known here: further capture formats, and files that are no
    captures at all. Variants of pcap with longer record headers keep pcap's magic number but not its version,
    or have a number of their own, or are recognised by :func:`may_be_variant`.
    """
    if head[:4] == _PCAPNG_MAGIC:
        return "pcapng"
    order = PCAP_MAGIC.get(bytes(head[:4]))
    if order and len(head) >= PCAP_HEADER and struct.unpack_from(order + "HH", head, 4) == (2, 4):
        return "pcap"
    return "other"


def may_be_variant(head: bytes | bytearray, *, whole: bool) -> bool:
    """Return whether a file, by its first :data:`PEEK` bytes, may be a variant of pcap and not pcap.

    Nokia's variant and that of Red Hat 6.1 have pcap's magic number and version, and longer record headers.
    Wireshark tells them apart by the first three records of a file. In a pipe it does not, so such a file
    must not be carved. A file without such a doubt is pcap for Wireshark, too.

    Args:
        head: the first bytes of a file with pcap's magic number and version.
        whole: the file has no further bytes.
    """
    if bytes(head[:4]) in _NANOSECONDS:
        return False
    order = PCAP_MAGIC[bytes(head[:4])]
    (limit,) = struct.unpack_from(order + "I", head, 16)
    at = PCAP_HEADER
    for _ in range(_TRIED):
        if at + RECORD > len(head):
            return whole and at != len(head)
        micro, captured, length = struct.unpack_from(order + "4xIII", head, at)
        if micro >= _SECOND or captured > min(LARGEST_PACKET, limit, length) or length > _LARGEST_LENGTH:
            return True
        at += RECORD + captured
    return whole and at > len(head)


def pcap_header(head: bytes | bytearray) -> tuple[str, int]:
    """Return the byte order and the link type of a pcap file."""
    order = PCAP_MAGIC[bytes(head[:4])]
    (network,) = struct.unpack_from(order + "I", head, 20)
    # The upper half tells of a frame check sequence behind each packet, which does no harm; anything else
    # there might.
    return order, network & 0xFFFF if network >> 16 & ~0xF400 == 0 else NO_LINK


class _DamageError(Exception):
    """A block is damaged; the message says how."""


class Blocks:
    """Reads the blocks of a pcapng file."""

    def __init__(self) -> None:
        self.order = "<"
        self.secrets = False
        self._interfaces: list[tuple[int, int]] = []

    def rows(self, buffer: bytes | bytearray, held: int) -> tuple[list[Row], int, str]:
        """Return the complete blocks in the first ``held`` bytes of a buffer, their size, and any error."""
        rows: list[Row] = []
        at = 0
        error = ""
        try:
            while at + _SMALLEST_BLOCK <= held:
                kind, size = struct.unpack_from(self.order + "II", buffer, at)
                if kind == _SECTION:
                    order = _section_order(buffer, at)
                    if order != self.order and rows:
                        # One window, one byte order: this section starts the next window.
                        break
                    self.order = order
                    (size,) = struct.unpack_from(order + "I", buffer, at + 4)
                _check_size(size)
                if at + size > held:
                    break
                rows.append(self._row(buffer, kind, at, size))
                at += size
        except _DamageError as damage:
            error = str(damage)
        return rows, at, error

    def _row(self, buffer: bytes | bytearray, kind: int, at: int, size: int) -> Row:
        """Return the row of a block; store the information in blocks that are not packets."""
        if kind == _ENHANCED and size >= _PACKET_BLOCK:
            interface, captured, length = struct.unpack_from(self.order + "I8xII", buffer, at + 8)
        elif kind == _OLD_PACKET and size >= _PACKET_BLOCK:
            interface, captured, length = struct.unpack_from(self.order + "H10xII", buffer, at + 8)
        elif kind == _SIMPLE and size >= _SIMPLE_BLOCK:
            (length,) = struct.unpack_from(self.order + "I", buffer, at + 8)
            limit = self._interfaces[0][1] if self._interfaces else 0
            captured = min(length, limit or length)
            if captured > size - _SIMPLE_BLOCK:
                raise _DamageError(f"a packet of {captured} bytes in a block of {size}")
            return (at, at + size, at + 12, captured, length, self._link(0))
        else:
            if kind == _SECTION:
                self._interfaces = []
            elif kind == _INTERFACE and size >= _INTERFACE_BLOCK:
                self._interfaces.append(struct.unpack_from(self.order + "H2xI", buffer, at + 8))
            elif kind == _SECRETS:
                self.secrets = True
            elif kind in _OTHER_FRAMES:
                return (at, at + size, at + 8, 0, 0, NO_LINK)
            return (at, at + size, 0, 0, 0, 0)
        if captured > size - _PACKET_BLOCK:
            raise _DamageError(f"a packet of {captured} bytes in a block of {size}")
        return (at, at + size, at + 28, captured, length, self._link(interface))

    def _link(self, interface: int) -> int:
        return self._interfaces[interface][0] if interface < len(self._interfaces) else NO_LINK


def _check_size(size: int) -> None:
    if size < _SMALLEST_BLOCK or size % 4 or size > LARGEST_BLOCK:
        raise _DamageError(f"a block of {size} bytes, which no pcapng file has")


def _section_order(buffer: bytes | bytearray, at: int) -> str:
    order = _SECTION_ORDER.get(bytes(buffer[at + 8 : at + 12]))
    if not order:
        raise _DamageError("a section with an unknown byte order")
    return order
