"""Split the stream of a live capture into blocks, and join the output of successive tsharks.

:mod:`certhash.capture.live` replaces its tshark from time to time; this module makes that invisible.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from typing import TYPE_CHECKING

from msgspec.structs import replace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from certhash.capture.records import Row

_KNOWN_ENDS = 20_000
_LARGEST_BLOCK = 1 << 24
"""Bytes: more than any packet with its headers."""

SECTION, INTERFACE, PACKET = 0x0A0D0D0A, 1, 6
DESCRIPTIONS = (SECTION, INTERFACE)
"""Block types that precede the packets and describe how to read them."""


class Blocks:
    """Splits dumpcap's output into pcapng blocks (draft-ietf-opsawg-pcapng, section 3.1)."""

    def __init__(self, data: bytes = b"") -> None:
        self._rest = data

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield the type and the bytes of every block that `data` completes.

        Raises:
            ValueError: the data is not pcapng in the byte order of this machine.
        """
        data = self._rest + data
        at, end = 0, len(data)
        while at + 8 <= end:
            kind, size = struct.unpack_from("=II", data, at)
            if size < 12 or size % 4 or size > _LARGEST_BLOCK:  # noqa: PLR2004 - type, and the length twice
                raise ValueError(f"dumpcap wrote a pcapng block of {size} bytes, which is not valid")
            if at + size > end:
                break
            yield kind, data[at : at + size]
            at += size
        self._rest = data[at:]


class Splice:
    """Joins the output of successive tsharks, as if it came from one.

    Frame numbers count from the first packet of the capture. A connection is identified by its ends, and
    keeps its number from one tshark to the next; a second connection between the same ends gets a new number.
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
            packets: number of packets captured so far.
            again: number of the most recent packets that the new tshark gets again.
            frame_of: maps a packet number of tshark to that of the capture, if tshark does not get all
            packets.
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
        """Return the row with the numbers of the whole capture; None if its packet was already reported."""
        frame = self._base + self._frame_of(row.frame)
        number = None
        if row.stream is not None:
            number = self._number(row, row.stream, frame)
            self._number_at[frame] = number
        if frame <= self._dissected:
            return None
        return replace(row, frame=frame, stream=number)

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
