"""Read the record structure of capture files, a window at a time, without looking into the packets.

A capture is read from any byte stream into one reused buffer, so memory does not grow with the file.  The
records of a window (see ``layout``) are returned as arrays with one entry per record.  Everything that is not
pcap or pcapng, and everything after damage, is returned as records that are not packets, to be passed on
unchanged.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from certhash.capture.first_pass.layout import (
    LARGEST_PACKET,
    PCAP_HEADER,
    RECORD,
    Blocks,
    Layout,
    Readable,
    Status,
    pcap_header,
    recognise,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

WINDOW = 8 << 20
"""Bytes that are read and processed at a time: few enough to stay in a processor's cache."""

SLACK = 512
"""Bytes after the end of a window that may be read, so that no access needs a bounds check; their values are
never used."""

CUT_SHORT = "the file ends in the middle of a packet"

Ints = NDArray[np.int64]


class Records(NamedTuple):
    """The records of one window; offsets are into ``buffer``.

    ``start`` and ``end`` bound each record, whether it is a packet with its header or something else.
    ``data`` is where a packet's bytes begin, or 0 if the record is not a packet; ``captured`` and ``length``
    are the numbers of bytes in the capture and on the wire; ``link`` is the link type.  ``order`` is the byte
    order of the headers, as ``struct`` writes it.
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
        self.order, self.link = pcap_header(head)
        self._captured = struct.Struct(self.order + "8xI").unpack_from
        self._preamble = PCAP_HEADER

    def cut(self, buffer: bytearray, held: int) -> _Cut:
        preamble, self._preamble = self._preamble, 0
        start, at = self._chain(buffer, preamble, held)
        sizes = np.ndarray((max(held - 15, 0), 2), self.order + "u4", buffer, 8, (1, 4))[start]
        sizes = sizes.astype(np.int64)
        error = ""
        (pending,) = self._captured(buffer, at) if at + RECORD <= held else (0,)
        bad = np.flatnonzero(sizes[:, 0] > LARGEST_PACKET)
        if len(bad):
            at, pending = int(start[bad[0]]), int(sizes[bad[0], 0])
            start, sizes = start[: bad[0]], sizes[: bad[0]]
        if pending > LARGEST_PACKET:
            error = f"a packet of {pending} bytes, more than any capture holds"
        data = start + RECORD
        if preamble:
            start, data = np.append(0, start), np.append(0, data)
            sizes = np.append(np.zeros((1, 2), np.int64), sizes, 0)
        end = np.append(start[1:], at) if len(start) else start
        link = np.full(len(start), self.link, np.int64)
        return _Cut((start, end, data, sizes[:, 0], sizes[:, 1], link), at, error)

    def _chain(self, buffer: bytearray, at: int, held: int) -> tuple[Ints, int]:
        """Return where the complete records start, and where the last of them ends."""
        # The only loop of the first pass over all packets: checks that can be done later are not done here.
        starts: list[int] = []
        take, captured, last = starts.append, self._captured, held - RECORD
        while at <= last:
            take(at)
            at += captured(buffer, at)[0] + RECORD
        if at > held:
            at = starts.pop()
        return np.array(starts, np.int64), at


class Pcapng(Blocks):
    """The blocks of a pcapng file, in columns."""

    layout: Layout = "pcapng"

    def cut(self, buffer: bytearray, held: int) -> _Cut:
        """Return the complete blocks in the first ``held`` bytes of a buffer."""
        rows, at, error = self.rows(buffer, held)
        columns = np.array(rows, np.int64).reshape(-1, 6).T
        return _Cut((columns[0], columns[1], columns[2], columns[3], columns[4], columns[5]), at, error)


def windows(source: Readable, window: int = WINDOW) -> Iterator[Records]:
    """Yield the records of a capture in order; together they are all its bytes.

    The buffer of one window is overwritten by the next, so use it before asking for more; until then it may
    be changed.  ``status`` and ``error`` of the last window say how the capture ended.  After damage, the
    rest follows as one record that is not a packet.  Errors of the source (``OSError``, ``EOFError``)
    propagate.
    """
    window = max(window, PCAP_HEADER)
    buffer = bytearray(window + SLACK)
    held = _fill(source, buffer, 0, window)
    layout = recognise(buffer[: min(held, PCAP_HEADER)])
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
