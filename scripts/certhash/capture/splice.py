"""The stream of a live capture, cut into blocks, and what successive tsharks say of it, joined again.

:mod:`certhash.capture.live` replaces its tshark from time to time; what is here makes that invisible.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from certhash.capture.records import Row

_KNOWN_ENDS = 20_000
_LARGEST_BLOCK = 1 << 24
"""Bytes: more than any packet with its headers."""

SECTION, INTERFACE, PACKET = 0x0A0D0D0A, 1, 6
DESCRIPTIONS = (SECTION, INTERFACE)
"""What stands before the packets, and says how to read them."""


class Blocks:
    """Cuts what dumpcap writes into the blocks of a pcapng file (draft-ietf-opsawg-pcapng, section 3.1)."""

    def __init__(self, data: bytes = b"") -> None:
        self._rest = data

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield the type and the bytes of every block that is complete with `data`.

        Raises:
            ValueError: this is no pcapng in the byte order of this machine.
        """
        data = self._rest + data
        at, end = 0, len(data)
        while at + 8 <= end:
            kind, size = struct.unpack_from("=II", data, at)
            if size < 12 or size % 4 or size > _LARGEST_BLOCK:  # noqa: PLR2004 - type, and the length twice
                raise ValueError(f"dumpcap wrote a block of {size} bytes, which no pcapng file has")
            if at + size > end:
                break
            yield kind, data[at : at + size]
            at += size
        self._rest = data[at:]


class Splice:
    """Joins what successive tsharks say, so that it reads as if one had said it all.

    Frames count from the first packet of the capture. A connection is told by its ends, and keeps its number
    from one tshark to the next; a second connection of the same ends gets a new one.
    """

    def __init__(self) -> None:
        self._base = 0
        self._frame_of: Callable[[int], int] = int
        self._dissected = 0
        self._numbers: dict[tuple[str, int], int] = {}
        self._number_at: dict[int, int] = {}
        self._number_of: OrderedDict[object, int] = OrderedDict()
        self._met: set[object] = set()
        self._next = 0

    def begin(self, packets: int, *, again: int, frame_of: Callable[[int], int] = int) -> None:
        """Begin with a new tshark.

        Args:
            packets: how many were captured until now.
            again: how many of them, the last, it is shown once more.
            frame_of: from its count of packets to the count of those that there were, where it is not shown
                all of them.
        """
        self._frame_of = frame_of
        self._base = packets - again
        self._dissected = packets
        self._numbers = {}
        self._met = set()
        self._number_at = {f: n for f, n in self._number_at.items() if f > self._base}
        while len(self._number_of) > _KNOWN_ENDS:
            self._number_of.popitem(last=False)

    def row(self, row: Row) -> Row | None:
        """Return the row with the numbers of the whole capture; None where its packet was told of before."""
        frame = self._base + self._frame_of(row.frame)
        number = None
        if row.stream is not None:
            number = self._number(row, row.stream, frame)
            self._number_at[frame] = number
        if frame <= self._dissected:
            return None
        return row._replace(frame=frame, stream=number)

    def _number(self, row: Row, stream: int, frame: int) -> int:
        key = (row.transport, stream)
        number = self._numbers.get(key)
        if number is None:
            ends = (row.transport, frozenset((row.source, row.destination)))
            number = self._number_at.get(frame)
            if number is None:
                number = None if ends in self._met else self._number_of.get(ends)
            if number is None:
                number = self._next
                self._next += 1
            self._met.add(ends)
            self._numbers[key] = number
            self._number_of[ends] = number
            self._number_of.move_to_end(ends)
        return number
