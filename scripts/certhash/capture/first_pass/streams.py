"""Follow TLS records through one direction of a TCP connection, and say which bytes are application data.

A verdict depends on the records of a handshake and on alerts, never on application data (content type 23).  A
stream of which only the rest is shown must still be whole for the one who reassembles it: TCP reassembly
waits for missing bytes, for ever. So nothing is left out but whole records, and what comes after them moves
up, by changing sequence numbers: the reader sees the same stream, from which application data has been taken
out. Sources: RFC 5246 6.2.1 and RFC 8446 5.1 (records), RFC 9293 3.4 (sequence numbers).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

PLAIN: Final = 0
"""No TLS has been recognised (yet, or any more); everything passes."""
WALK: Final = 1
"""Record by record; everything passes."""
SKIP: Final = 2
"""In application data, which is left out."""
LOST: Final = 3
"""Bytes are missing for so long that no reassembly will go on; everything is left out."""

HEADER: Final = 5
KINDS: Final = range(20, 25)
VERSIONS: Final = range(0x300, 0x305)
LARGEST_RECORD: Final = (1 << 14) + 2048
ALERT: Final = 21
CLEAR_ALERT: Final = 2
"""The length of an alert in the clear."""
APPLICATION_DATA: Final = 23
HOLD: Final = 1 << 20
"""Bytes behind a gap that are waited with, a stream."""
PIECE: Final = 32_000
"""Payload bytes of a packet that is made up."""

_ONE_BYTE_OF_DATA = b"\x17\x03\x03\x00\x01\x00"
_header = struct.Struct(">BHH").unpack_from
_WORD = 0xFFFFFFFF


def signed(difference: int) -> int:
    """Return a difference of two sequence numbers as a number between -2^31 and 2^31."""
    return (difference + 0x80000000 & _WORD) - 0x80000000


class Moved(NamedTuple):
    """Payload that takes the place of a packet's own, and its sequence number."""

    seq: int
    payload: bytes | bytearray | memoryview


Fate = Literal["keep", "drop"] | list[Moved]


def is_record(kind: int, version: int, size: int) -> bool:
    """Say whether a record header (content type, version, length) is one of SSL 3.0 to TLS 1.3."""
    return kind in KINDS and version in VERSIONS and size <= LARGEST_RECORD


def is_opaque(kind: int, length: int) -> bool:
    """Say whether a record after the first application data tells nothing: data, or an encrypted alert.

    tshark reads an alert of 2 bytes as one in the clear, and so must pass; any other it calls encrypted.
    """
    return kind == APPLICATION_DATA or (kind == ALERT and length != CLEAR_ALERT)


class Stream:
    """One direction of one TCP connection.  Sequence numbers are those of the capture, modulo 2^32.

    Before TLS, ``top`` is where the last packet ended, and ``gappy`` says that the packets did not follow
    each other.  From then on, ``begun`` is where records began, ``reached`` where the bytes that came without
    a gap end, and ``boundary`` where the next record header stands or will. ``shift`` is how far the numbers
    of packets that pass are moved down; in ``SKIP``, ``stand`` is the number that the one who reads what
    passes waits for.  ``partial`` holds the bytes from ``boundary`` to ``reached`` when a header is cut in
    two, and ``waiting`` what came behind a gap.
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
        """Take up a stream where it was left; ``numbers`` are those of ``numbers()``."""
        self.state, self.top, self.begun, self.reached, self.boundary, self.shift, self.stand = numbers
        self.partial = b""
        self.waiting: list[tuple[int, bytes]] = []
        self.gappy = False
        self.doubtful = False

    def numbers(self) -> tuple[int, ...]:
        """Return what there is to remember of a stream of which nothing is held back."""
        return self.state, self.top, self.begun, self.reached, self.boundary, self.shift, self.stand

    @property
    def has_more(self) -> bool:
        """Whether there is anything besides the numbers to remember."""
        return bool(self.partial or self.waiting)

    def is_plain_sailing(self, seq: int) -> bool:
        """Say whether the next packet, which starts at ``seq``, can be followed by record headers alone."""
        fixed = self.state == SKIP or (self.state == WALK and not self.shift)
        return fixed and seq == self.reached and not self.has_more

    def start(self, seq: int, boundary: int) -> None:
        """Begin to follow records at ``seq``; the first with a TLS header stands at ``boundary``."""
        self.state = WALK
        self.begun = seq
        self.reached = seq
        self.boundary = boundary

    def give_up(self) -> None:
        """Let everything pass from now on."""
        self.state = PLAIN
        self.top = self.reached
        self.gappy = bool(self.waiting)
        self.partial = b""
        self.waiting = []

    def cut_short(self, seq: int, size: int) -> Fate:
        """Take a packet of which not all bytes were captured: only inside a record is that no matter."""
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
        """Take a packet's payload, in order of arrival, and say what becomes of the packet."""
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
            # The packet starts with application data: whatever it holds besides that comes later.
        return self._skip(data, at, before, may_skip)

    def _take_aside(self, seq: int, payload: memoryview, ahead: int) -> Fate:
        """Take a packet that does not go on where the stream stands."""
        old = ahead + len(payload) <= 0
        if self.state == LOST:
            self.doubtful |= not old and ahead <= 0
            return "drop"
        if signed(seq - self.begun) < 0:
            # From before the first record.  What reaches over into the records was never seen, and is not
            # unravelled.
            self.doubtful |= not old
            return "keep"
        if old:
            return "drop" if self.state == SKIP or self.shift else "keep"
        return self._wait(seq, payload)

    def _wait(self, seq: int, payload: memoryview) -> Fate:
        """Take a packet that comes after a gap."""
        self.waiting.append((seq, bytes(payload)))
        fate: Fate = "drop" if self.state == SKIP else self._as_it_is(seq, payload)
        if sum(len(data) for _, data in self.waiting) > HOLD:
            self.state = LOST
            self.waiting = []
        return fate

    def _as_it_is(self, seq: int, payload: memoryview) -> Fate:
        return [Moved(seq - self.shift & _WORD, payload)] if self.shift else "keep"

    def _contiguous(self) -> bytes:
        """Return what waits and is now without a gap, and count it as reached."""
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
        """Step over application data.  At anything else, pass it on from there."""
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
        # Where more stood before it in one piece, something still does, as it makes a difference for what is
        # no TLS.
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
        """Step over records of any kind.

        Begin to leave out application data where a packet starts with it or ends amid it.
        ``can_enter`` says that ``data`` starts where a packet does.  Return how many of the bytes to
        show.
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
