"""Follow the TLS records of one direction of a TCP connection, and find the application data.

A verdict depends on the records of a handshake and on alerts, never on application data (content type 23).
The remaining stream must still be complete for tshark, because TCP reassembly waits indefinitely for missing
bytes. So only whole records are dropped, and the bytes after them move up, with changed sequence numbers:
tshark sees the same stream without application data. Sources: RFC 5246 6.2.1 and RFC 8446 5.1 (records), RFC
9293 3.4 (sequence numbers).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

PLAIN: Final = 0
"""TLS is not recognised (yet, or any more); everything is kept."""
WALK: Final = 1
"""Record by record; everything is kept."""
SKIP: Final = 2
"""In application data, which is dropped."""
LOST: Final = 3
"""Bytes have been missing for so long that reassembly cannot continue; everything is dropped."""

HEADER: Final = 5
KINDS: Final = range(20, 25)
VERSIONS: Final = range(0x300, 0x305)
LARGEST_RECORD: Final = (1 << 14) + 2048
ALERT: Final = 21
CLEAR_ALERT: Final = 2
"""The length of a plaintext alert."""
APPLICATION_DATA: Final = 23
HOLD: Final = 1 << 20
"""Maximum number of bytes per stream that are buffered after a gap."""
PIECE: Final = 32_000
"""Maximum payload in bytes of a generated packet."""

_ONE_BYTE_OF_DATA = b"\x17\x03\x03\x00\x01\x00"
_header = struct.Struct(">BHH").unpack_from
_WORD = 0xFFFFFFFF


def signed(difference: int) -> int:
    """Return the difference of two sequence numbers as a signed 32-bit number."""
    return (difference + 0x80000000 & _WORD) - 0x80000000


class Moved(NamedTuple):
    """The replacement for a packet's payload, and its sequence number."""

    seq: int
    payload: bytes | bytearray | memoryview


Fate = Literal["keep", "drop"] | list[Moved]


def is_record(kind: int, version: int, size: int) -> bool:
    """Return whether a record header (content type, version, length) is valid in SSL 3.0 to TLS 1.3."""
    return kind in KINDS and version in VERSIONS and size <= LARGEST_RECORD


def is_opaque(kind: int, length: int) -> bool:
    """Return whether a record after the first application data is irrelevant: data, or an encrypted alert.

    tshark reads an alert of 2 bytes as plaintext, so it must be kept; it treats any other as encrypted.
    """
    return kind == APPLICATION_DATA or (kind == ALERT and length != CLEAR_ALERT)


class Stream:
    """One direction of one TCP connection.  Sequence numbers are those of the capture, modulo 2^32.

    Before TLS, ``top`` is where the last packet ended, and ``gappy`` says that the packets did not follow
    each other.  From then on, ``begun`` is where records began, ``reached`` is the end of the bytes without a
    gap, and ``boundary`` is the place of the next record header.  ``shift`` is the amount by which the
    sequence numbers of kept packets are reduced; in ``SKIP``, ``stand`` is the next sequence number that the
    reader of the kept packets expects.  ``partial`` contains the bytes from ``boundary`` to ``reached`` if a
    header is split, and ``waiting`` the data after a gap.
    """

    __slots__ = (
        "begun",
        "boundary",
        "doubtful",
        "gappy",
        "partial",
        "reached",
        "shift",
        "stand",
        "state",
        "top",
        "waiting",
    )

    def __init__(self, numbers: Sequence[int] = (PLAIN, 0, 0, 0, 0, 0, 0)) -> None:
        """Restore the state of a stream from the result of ``numbers()``."""
        self.state, self.top, self.begun, self.reached, self.boundary, self.shift, self.stand = numbers
        self.partial = b""
        self.waiting: list[tuple[int, bytes]] = []
        self.gappy = False
        self.doubtful = False

    def numbers(self) -> tuple[int, ...]:
        """Return the state of a stream without buffered bytes."""
        return self.state, self.top, self.begun, self.reached, self.boundary, self.shift, self.stand

    @property
    def has_more(self) -> bool:
        """Return whether the stream has state besides the numbers."""
        return bool(self.partial or self.waiting)

    def is_plain_sailing(self, seq: int) -> bool:
        """Return whether the next packet, which starts at ``seq``, can be followed by headers alone."""
        fixed = self.state == SKIP or (self.state == WALK and not self.shift)
        return fixed and seq == self.reached and not self.has_more

    def start(self, seq: int, boundary: int) -> None:
        """Begin to follow records at ``seq``; the first TLS record header is at ``boundary``."""
        self.state = WALK
        self.begun = seq
        self.reached = seq
        self.boundary = boundary

    def give_up(self) -> None:
        """Keep everything from now on."""
        self.state = PLAIN
        self.top = self.reached
        self.gappy = bool(self.waiting)
        self.partial = b""
        self.waiting = []

    def cut_short(self, seq: int, size: int) -> Fate:
        """Process a packet with missing bytes at its end: this is only harmless inside a record."""
        inside = (self.boundary - seq & _WORD) >= size and (self.boundary - seq & _WORD) < 1 << 31
        if self.state == SKIP and inside and not self.waiting and seq == self.reached:
            self.reached = seq + size & _WORD
            return "drop"
        if self.state == SKIP:
            self.shift = seq - self.stand & _WORD
        if self.state != LOST:
            self.give_up()
        return "keep"

    def take(self, seq: int, payload: memoryview, may_skip: bool) -> Fate:
        """Process a packet's payload, in order of arrival, and return the fate of the packet."""
        if self.state == PLAIN:
            return self._as_it_is(seq, payload)
        ahead = signed(seq - self.reached)
        if self.state == LOST or ahead > 0 or ahead + len(payload) <= 0 or signed(seq - self.begun) < 0:
            return self._take_aside(seq, payload, ahead)
        fresh = payload[-ahead:]
        before = self.reached - len(self.partial) & _WORD
        self.reached = self.reached + len(fresh) & _WORD
        data: memoryview | bytes = fresh
        if self.partial or self.waiting:
            data = self.partial + bytes(fresh) + self._contiguous()
            self.partial = b""
        at = self.boundary - before & _WORD
        if self.state == WALK:
            shown = self._walk(data, at, before, may_skip and data is fresh, can_enter=not ahead)
            if shown == len(data):
                return self._as_it_is(seq, payload)
            if shown:
                return [Moved(seq - self.shift & _WORD, payload[: shown - ahead])]
            # The packet starts with application data, so anything else in it comes later.
        return self._skip(data, at, before, may_skip)

    def _take_aside(self, seq: int, payload: memoryview, ahead: int) -> Fate:
        """Process a packet that does not continue at the current position of the stream."""
        old = ahead + len(payload) <= 0
        if self.state == LOST:
            self.doubtful |= not old and ahead <= 0
            return "drop"
        if signed(seq - self.begun) < 0:
            # From before the first record.  Packets that extend into the records have never been seen, and
            # are not handled.
            self.doubtful |= not old
            return "keep"
        if old:
            return "drop" if self.state == SKIP or self.shift else "keep"
        return self._wait(seq, payload)

    def _wait(self, seq: int, payload: memoryview) -> Fate:
        """Process a packet after a gap."""
        self.waiting.append((seq, bytes(payload)))
        fate: Fate = "drop" if self.state == SKIP else self._as_it_is(seq, payload)
        if sum(len(data) for _, data in self.waiting) > HOLD:
            self.state = LOST
            self.waiting = []
        return fate

    def _as_it_is(self, seq: int, payload: memoryview) -> Fate:
        return [Moved(seq - self.shift & _WORD, payload)] if self.shift else "keep"

    def _contiguous(self) -> bytes:
        """Return the buffered bytes that are now contiguous, and count them as reached."""
        found = b""
        left = []
        for seq, data in sorted(self.waiting, key=lambda item: signed(item[0] - self.reached)):
            ahead = signed(seq - self.reached)
            if ahead > 0:
                left.append((seq, data))
                continue
            more = data[-ahead:] if ahead else data
            found += more
            self.reached = self.reached + len(more) & _WORD
        self.waiting = left
        return found

    def _skip(self, data: memoryview | bytes, at: int, before: int, may_skip: bool) -> Fate:
        """Skip application data, and keep everything from the first other record on."""
        size = len(data)
        while at + HEADER <= size:
            kind, version, length = _header(data, at)
            if not (is_record(kind, version, length) and is_opaque(kind, length)):
                break
            at += HEADER + length
        self.boundary = before + at & _WORD
        if at >= size:
            return "drop"
        if at + HEADER > size:
            self.partial = bytes(data[at:])
            return "drop"
        # If data preceded it in the same packet, keep one byte of it, because this makes a difference for
        # data that is not TLS.
        lead = _ONE_BYTE_OF_DATA if at else b""
        rest = lead + bytes(data[at:])
        seq = self.stand
        self.shift = self.boundary - len(lead) - seq & _WORD
        self.state = WALK
        behind = self.waiting
        rest = rest[: self._walk(rest, len(lead), self.boundary - len(lead), may_skip and not behind)]
        moved = [
            Moved(seq + start & _WORD, rest[start : start + PIECE]) for start in range(0, len(rest), PIECE)
        ]
        return moved + [Moved(start - self.shift & _WORD, data) for start, data in behind]

    def _walk(
        self, data: memoryview | bytes, at: int, before: int, may_skip: bool, can_enter: bool = False
    ) -> int:
        """Follow records of any kind.

        Begin to drop application data where a packet starts with it or ends inside it.
        ``can_enter`` means that ``data`` starts where a packet does.  Return the number of bytes to
        keep.
        """
        size = len(data)
        shown = size
        while at + HEADER <= size:
            kind, version, length = _header(data, at)
            if not is_record(kind, version, length):
                self.give_up()
                return size
            after = at + HEADER + length
            if (
                kind == APPLICATION_DATA
                and may_skip
                and not self.waiting
                and (after > size or (can_enter and not at))
            ):
                self.state = SKIP
                shown = at
                self.stand = before + at - self.shift & _WORD
                at = after if at else 0
                break
            at = after
        self.boundary = before + at & _WORD
        if at < size and shown:
            self.partial = bytes(data[at:])
        return shown
