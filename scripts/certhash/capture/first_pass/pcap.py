"""Read the record structure of capture files, a window at a time, without looking into the packets.

A capture is read from any byte stream into one buffer that is used again and again, so that memory does not
grow with the file.  What is found in a window is handed out as arrays, one entry a record.  Understood are
pcap (either byte order, micro- and nanoseconds) and pcapng (any number of sections and interfaces; enhanced,
simple and obsolete packet blocks). Everything else, and everything after damage, comes as records that are no
packets, to be passed on as they are. Sources: draft-ietf-opsawg-pcap and draft-ietf-opsawg-pcapng; limits as
in Wireshark's wiretap, which reads the same bytes.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Iterator

WINDOW = 8 << 20
"""Bytes that are read and processed at a time: few enough to stay in a processor's cache."""

SLACK = 512
"""Bytes after the end of a window that may be read, so that no access needs a bounds check; their values are
never used."""

_OTHER_FRAMES = frozenset((0x0BAD, 0x40000BAD, 9, 0x204, 0x216, 0x221))
"""Blocks that are not packets, but that Wireshark numbers as frames: custom blocks, entries of systemd's
journal, and events of sysdig (seen with 4.0 and 4.4)."""

LARGEST_PACKET = 262_144
LARGEST_BLOCK = 16 << 20
"""Larger packets and blocks are damage; Wireshark has the same limits."""

NO_LINK = 0xFFFF
"""Link type of an interface without a description, or with more than a link type in its description."""

CUT_SHORT = "the file ends in the middle of a packet"

_PCAP_MAGIC = {
    b"\xa1\xb2\xc3\xd4": ">",
    b"\xd4\xc3\xb2\xa1": "<",
    b"\xa1\xb2\x3c\x4d": ">",
    b"\x4d\x3c\xb2\xa1": "<",
}
_PCAP_HEADER, _RECORD = 24, 16
_PCAPNG_MAGIC = b"\x0a\x0d\x0d\x0a"
_SECTION, _INTERFACE, _OLD_PACKET, _SIMPLE, _ENHANCED, _SECRETS = 0x0A0D0D0A, 1, 2, 3, 6, 10
_SMALLEST_BLOCK, _SIMPLE_BLOCK, _INTERFACE_BLOCK, _PACKET_BLOCK = 12, 16, 20, 32
_SECTION_ORDER = {b"\x1a\x2b\x3c\x4d": ">", b"\x4d\x3c\x2b\x1a": "<"}

Ints = NDArray[np.int64]
Layout = Literal["pcap", "pcapng", "other"]
Status = Literal["complete", "truncated", "unreadable"]


class Readable(Protocol):
    """The source of a capture: an unbuffered file, a pipe, or a decompressor."""

    def readinto(self, buffer: memoryview, /) -> int | None:
        """Fill the start of a buffer; return the number of bytes, 0 at the end."""


class Records(NamedTuple):
    """The records of one window; offsets are into ``buffer``.

    ``start`` and ``end`` bound each record, be it a packet with its header or anything else.  ``data`` is
    where a packet's bytes begin, 0 where the record is no packet; ``captured`` and ``length`` are how many
    bytes there are here and were on the wire; ``link`` is the link type.  ``order`` is the byte order of the
    headers, as ``struct`` writes it.
    """

    buffer: bytearray
    start: Ints
    end: Ints
    data: Ints
    captured: Ints
    length: Ints
    link: Ints
    layout: Layout
    order: str
    status: Status = "complete"
    error: str = ""
    secrets: bool = False
    """Whether the capture contains keys for its own packets."""


def recognise(head: bytes | bytearray) -> Layout:
    """Return the record structure of a file, by its first 24 bytes.

    "other" is everything whose records are not known here: further capture formats, and files that are no
    captures at all. Variants of pcap with longer record headers keep pcap's magic number but not its version,
    or have a number of their own.
    """
    if head[:4] == _PCAPNG_MAGIC:
        return "pcapng"
    order = _PCAP_MAGIC.get(bytes(head[:4]))
    if order and len(head) >= _PCAP_HEADER and struct.unpack_from(order + "HH", head, 4) == (2, 4):
        return "pcap"
    return "other"


class _Cut(NamedTuple):
    """The records in a buffer: their columns, the number of bytes used, and any error."""

    rows: tuple[Ints, Ints, Ints, Ints, Ints, Ints]
    used: int
    error: str


class _Pcap:
    """The records of a pcap file."""

    layout: Layout = "pcap"
    secrets = False

    def __init__(self, head: bytearray) -> None:
        self.order = _PCAP_MAGIC[bytes(head[:4])]
        (network,) = struct.unpack_from(self.order + "I", head, 20)
        # The upper half tells of a frame check sequence behind each packet, which does no harm; anything else
        # there might.
        self.link = network & 0xFFFF if network >> 16 & ~0xF400 == 0 else NO_LINK
        self._captured = struct.Struct(self.order + "8xI").unpack_from
        self._preamble = _PCAP_HEADER

    def cut(self, buffer: bytearray, held: int) -> _Cut:
        preamble, self._preamble = self._preamble, 0
        start, at = self._chain(buffer, preamble, held)
        sizes = np.ndarray((max(held - 15, 0), 2), self.order + "u4", buffer, 8, (1, 4))[start]
        sizes = sizes.astype(np.int64)
        error = ""
        (pending,) = self._captured(buffer, at) if at + _RECORD <= held else (0,)
        bad = np.flatnonzero(sizes[:, 0] > LARGEST_PACKET)
        if len(bad):
            at, pending = int(start[bad[0]]), int(sizes[bad[0], 0])
            start, sizes = start[: bad[0]], sizes[: bad[0]]
        if pending > LARGEST_PACKET:
            error = f"a packet of {pending} bytes, more than any capture holds"
        data = start + _RECORD
        if preamble:
            start, data = np.append(0, start), np.append(0, data)
            sizes = np.append(np.zeros((1, 2), np.int64), sizes, 0)
        end = np.append(start[1:], at) if len(start) else start
        link = np.full(len(start), self.link, np.int64)
        return _Cut((start, end, data, sizes[:, 0], sizes[:, 1], link), at, error)

    def _chain(self, buffer: bytearray, at: int, held: int) -> tuple[Ints, int]:
        """Go from record to record; return where the whole ones start, and where the last of them ends."""
        # The only loop of the first pass over all packets: checks that can be done later are not done here.
        starts: list[int] = []
        take, captured, last = starts.append, self._captured, held - _RECORD
        while at <= last:
            take(at)
            at += captured(buffer, at)[0] + _RECORD
        if at > held:
            at = starts.pop()
        return np.array(starts, np.int64), at


class _DamageError(Exception):
    """A block is damaged; the message says how."""


_Row = tuple[int, int, int, int, int, int]


class Pcapng:
    """The blocks of a pcapng file."""

    layout: Layout = "pcapng"

    def __init__(self) -> None:
        self.order = "<"
        self.secrets = False
        self._interfaces: list[tuple[int, int]] = []

    def cut(self, buffer: bytearray, held: int) -> _Cut:
        """Return the complete blocks in the first ``held`` bytes of a buffer."""
        rows: list[_Row] = []
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
        columns = np.array(rows, np.int64).reshape(-1, 6).T
        return _Cut((columns[0], columns[1], columns[2], columns[3], columns[4], columns[5]), at, error)

    def _row(self, buffer: bytearray, kind: int, at: int, size: int) -> _Row:
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


def _section_order(buffer: bytearray, at: int) -> str:
    order = _SECTION_ORDER.get(bytes(buffer[at + 8 : at + 12]))
    if not order:
        raise _DamageError("a section with an unknown byte order")
    return order


def windows(source: Readable, window: int = WINDOW) -> Iterator[Records]:
    """Yield the records of a capture in order; together they are all its bytes.

    The buffer of one window is overwritten by the next, so use it before asking for more; until then it may
    be changed.  The last window tells in ``status`` and ``error`` how the capture ended.  After damage the
    rest follows as one record that is no packet.  An error of the source (``OSError``, ``EOFError``) passes
    through.
    """
    window = max(window, _PCAP_HEADER)
    buffer = bytearray(window + SLACK)
    held = _fill(source, buffer, 0, window)
    layout = recognise(buffer[: min(held, _PCAP_HEADER)])
    reader = _Pcap(buffer) if layout == "pcap" else Pcapng()
    ended = held < window
    if layout == "other":
        while held:
            yield _as_is(buffer, held, layout)
            held = _fill(source, buffer, 0, window)
        return
    while True:
        rows, used, error = reader.cut(buffer, held)
        if not used and not error and not ended:
            # One record is larger than the window.
            window *= 2
            buffer = buffer[:held] + bytearray(window + SLACK - held)
        elif len(rows[0]):
            yield Records(buffer, *rows, reader.layout, reader.order, secrets=reader.secrets)
        rest = held - used
        buffer[:rest] = buffer[used:held]
        if error:
            yield _as_is(buffer, rest, layout, "unreadable", error)
            while held := _fill(source, buffer, 0, window):
                yield _as_is(buffer, held, layout, "unreadable", error)
            return
        if ended and (not rest or not used):
            if rest:
                yield _as_is(buffer, rest, layout, "truncated", CUT_SHORT)
            return
        held = rest + _fill(source, buffer, rest, window)
        ended = held < window


def _fill(source: Readable, buffer: bytearray, held: int, window: int) -> int:
    """Read until the window is full or the source ends; return the number of bytes read."""
    with memoryview(buffer) as view:
        at = held
        while at < window:
            count = source.readinto(view[at:window])
            if not count:
                break
            at += count
        return at - held


def _as_is(
    buffer: bytearray, size: int, layout: Layout, status: Status = "complete", error: str = ""
) -> Records:
    """Return the start of a buffer as one record that is not a packet."""
    none = np.zeros(1, np.int64)
    return Records(buffer, none, np.array([size]), none, none, none, none, layout, "<", status, error)
