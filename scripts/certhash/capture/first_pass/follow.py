"""Follow all TLS streams of a window at once, and decide which of their packets are dropped."""

from __future__ import annotations

import struct
from bisect import bisect_right
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

from certhash.capture.first_pass.streams import (
    ALERT,
    APPLICATION_DATA,
    CLEAR_ALERT,
    HEADER,
    KINDS,
    LARGEST_RECORD,
    PLAIN,
    SKIP,
    VERSIONS,
    WALK,
    Moved,
    is_opaque,
    is_record,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from certhash.capture.first_pass.directions import Directions
    from certhash.capture.first_pass.packets import Bools, Packets, Window, Words
    from certhash.capture.first_pass.pcap import Ints

Number = TypeVar("Number", bound=np.generic)

FEW = 6
"""For this many streams or fewer, arrays are not worth their overhead."""

_WORD = 0xFFFFFFFF
_header = struct.Struct(">BHH").unpack_from


def are_records(kind: Ints, version: Ints, length: Ints) -> Bools:
    """Return which record headers (content type, version, length) are valid in SSL 3.0 to TLS 1.3."""
    known = (kind >= KINDS.start) & (kind < KINDS.stop)
    known &= (version >= VERSIONS.start) & (version < VERSIONS.stop)
    return known & (length <= LARGEST_RECORD)


class Lanes(NamedTuple):
    """The packets of a window, of one protocol, grouped by direction and in order of arrival within each.

    ``at`` are positions in ``packets``, and ``place`` the number of records of the capture before each;
    ``direction`` corresponds to ``at``; ``opens`` marks the first of each group.
    """

    look: Window
    packets: Packets
    place: Words
    at: Ints
    direction: Ints
    opens: Bools

    def previous(self, values: NDArray[Number], before: NDArray[Number]) -> NDArray[Number]:
        """Return the values of the previous packets of the same directions.

        For the first of a direction in the window, the value comes from ``before``.
        """
        earlier = np.empty_like(values)
        earlier[1:] = values[:-1]
        earlier[self.opens] = before[self.direction[self.opens]]
        return earlier

    def last(self) -> Bools:
        """Mark the last of each group."""
        return np.append(self.opens[1:], True)


def grouped(look: Window, packets: Packets, place: Words, chosen: Ints, direction: Ints) -> Lanes:
    """Return some packets, which are in order by direction, as lanes."""
    group = direction[chosen]
    return Lanes(look, packets, place, chosen, group, np.append(True, group[1:] != group[:-1]))


class Follower:
    """The TLS streams of one window: its packets with data in directions that are TLS, grouped by direction.

    A known stream without gaps is followed from record header to record header, many streams at a time; cases
    that headers do not decide go packet by packet through ``Stream``, which has the same rules.
    """

    def __init__(
        self, directions: Directions, lanes: Lanes, chosen: Ints, begins: Ints, closed: Bools
    ) -> None:
        packets = lanes.packets
        self._directions = directions
        self._look = lanes.look
        self._at = lanes.at[chosen]
        self._row = packets.row[self._at]
        self._seq = packets.seq[self._at]
        self._size = packets.size[self._at]
        self._payload = packets.payload[self._at]
        self._cut = packets.here[self._at] < self._size
        self._new = directions.known["born"][lanes.direction[chosen]] == lanes.place[self._at]
        self._begins = begins
        self._closed = closed
        direction = lanes.direction[chosen]
        self._open = np.flatnonzero(np.append(True, direction[1:] != direction[:-1]))
        self._stop = np.append(self._open[1:], len(chosen))
        self._lane = direction[self._open]
        # The offset of each packet's bytes in the concatenation of all packets.
        self._after = np.cumsum(self._size)
        self._before = self._after - self._size
        self._may_skip = directions.may_skip(self._lane)
        self._dropped = np.zeros(len(chosen), bool)

    def run(self, keep: Bools, moved: dict[int, list[Moved]], *, keys: bool) -> None:
        """Follow every stream to the end of the window.

        Clear ``keep`` for dropped packets, and store changed packets in ``moved``.
        """
        known = self._directions.known
        self._may_skip &= not keys
        place = self._begin()
        broken = self._cut.copy()
        broken[1:] |= self._seq[1:] != (self._seq[:-1] + self._size[:-1] & _WORD)
        broken[self._open] = self._cut[self._open]
        last_break = np.maximum.reduceat(np.where(broken, np.arange(len(broken)), -1), self._open)
        state = known["state"][self._lane]
        ready = (state == SKIP) | (state == WALK) & (known["shift"][self._lane] == 0)
        ready &= ~known["more"][self._lane] & ~self._new[place]
        ready &= (last_break < place) & (known["reached"][self._lane] == self._seq[place])
        fast, slow = np.flatnonzero(ready), np.flatnonzero(~ready).tolist()
        while slow or len(fast):
            for lane in slow:
                place[lane] = self._packet_by_packet(lane, int(place[lane]), int(last_break[lane]), moved)
            handed = np.array(slow, np.int64)
            fast = np.concatenate((fast, handed[place[handed] < self._stop[handed]]))
            slow = self._record_by_record(fast, place) if len(fast) else []
            fast = fast[:0]
        keep[self._row[self._dropped]] = False

    def _begin(self) -> Ints:
        """Begin to follow streams in which TLS starts; return where each stream is continued."""
        known = self._directions.known
        index = np.where(self._begins >= 0, np.arange(len(self._begins)), len(self._begins))
        first = np.minimum.reduceat(index, self._open)
        fresh = (
            (known["state"][self._lane] == PLAIN) & (known["shift"][self._lane] == 0) & (first < self._stop)
        )
        place = np.where(fresh, first, self._open)
        lane, at = self._lane[fresh], first[fresh]
        known["state"][lane] = WALK
        known["begun"][lane] = known["reached"][lane] = self._seq[at].astype(np.uint32)
        known["boundary"][lane] = (self._seq[at] + self._begins[at] & _WORD).astype(np.uint32)
        return place

    @cached_property
    def _lists(self) -> _Lists:
        columns = (self._at, self._seq, self._size, self._payload, self._cut, self._begins, self._new)
        return _Lists(*(column.tolist() for column in columns))

    @cached_property
    def _bounds(self) -> tuple[list[int], list[int], list[int]]:
        return self._before.tolist(), self._after.tolist(), self._payload.tolist()

    def _packet_by_packet(self, lane: int, place: int, last_break: int, moved: dict[int, list[Moved]]) -> int:
        """Follow one stream for at least one packet; return where it can be followed by headers again."""
        lists = self._lists
        directions = self._directions
        one = int(self._lane[lane])
        begin, stop = place, int(self._stop[lane])
        may_skip = bool(self._may_skip[lane])
        stream = directions.stream(one)
        paid = bool(directions.known["paid"][one])
        never = bool(directions.known["never"][one])
        view = memoryview(self._look.buffer)
        while place < stop:
            seq, size = lists.seq[place], lists.size[place]
            if place > max(begin, last_break) and stream.is_plain_sailing(seq):
                break
            if stream.state == PLAIN:
                follows = seq == stream.top or not paid
                if lists.begins[place] >= 0 and follows and not stream.gappy and not never:
                    stream.start(seq, seq + lists.begins[place] & _WORD)
                stream.gappy |= not follows
                stream.top = seq + size & _WORD
                paid = True
            if lists.cut[place]:
                fate = stream.cut_short(seq, size)
                never |= stream.state == PLAIN
                directions.known["never"][one] = never
            else:
                start = lists.payload[place]
                fate = stream.take(seq, view[start : start + size], may_skip)
            if fate == "drop" and not lists.new[place]:
                self._dropped[place] = True
            elif fate == "drop":
                # The first packet of a direction is needed for its headers.
                moved[lists.at[place]] = [Moved(stream.stand, b"")]
            elif fate != "keep":
                moved[lists.at[place]] = fate
            place += 1
        directions.store(one, stream)
        return place

    def _record_by_record(self, fast: Ints, place: Ints) -> list[int]:
        """Follow streams by their record headers; return those with something else.

        ``place`` contains the packet at which each stream is continued, and afterwards where it stopped.
        """
        known = self._directions.known
        lane, stop, begin = self._lane[fast], self._stop[fast], place[fast]
        base = self._before[begin]
        at = base + (known["boundary"][lane] - self._seq[begin] & _WORD)
        walks = _Walks(
            at=at,
            limit=self._after[stop - 1],
            met=stop.copy(),
            skips=known["state"][lane] == SKIP,
            gone=np.where(known["state"][lane] == SKIP, begin, stop),
            entered=np.full(len(fast), -1),
            may_skip=self._may_skip[fast],
        )
        going = np.flatnonzero(at < walks.limit)
        while len(going) > FEW:
            going = self._step(walks, going)
        for one in going.tolist():
            self._alone(walks, one)

        change = np.zeros(len(self._at) + 1, np.int64)
        np.add.at(change, np.minimum(walks.gone, walks.met), 1)
        np.add.at(change, walks.met, -1)
        self._dropped |= np.cumsum(change[:-1]) > 0
        # The difference between an offset in the concatenation and the sequence number there.
        offset = self._seq[begin] - base
        halted = walks.met < stop
        reached = np.where(halted, self._before[np.minimum(walks.met, len(self._at) - 1)], walks.limit)
        known["reached"][lane] = (reached + offset & _WORD).astype(np.uint32)
        known["boundary"][lane] = (walks.at + offset & _WORD).astype(np.uint32)
        known["state"][lane[walks.skips]] = SKIP
        new = walks.entered >= 0
        stand = walks.entered + offset - known["shift"][lane] & _WORD
        known["stand"][lane[new]] = stand[new].astype(np.uint32)
        place[fast] = walks.met
        return [int(one) for one in fast[halted]]

    def _step(self, walks: _Walks, going: Ints) -> Ints:
        """Advance many streams by one record each; return those that continue."""
        here = walks.at[going]
        packet = np.searchsorted(self._after, here, side="right")
        head = self._look.u64(self._payload[packet] + here - self._before[packet]).astype(np.int64)
        kind, length = head >> 56, head >> 24 & 0xFFFF
        after = here + HEADER + length
        data, starts = kind == APPLICATION_DATA, here == self._before[packet]
        may_skip = walks.may_skip[going]
        good = are_records(kind, head >> 40 & 0xFFFF, length) & (here + HEADER <= self._after[packet])
        enters = good & data & starts & may_skip & ~walks.skips[going]
        entering = going[enters]
        walks.skips[entering] = True
        walks.gone[entering] = packet[enters]
        walks.entered[entering] = here[enters]
        skips = walks.skips[going]
        opaque = data | (kind == ALERT) & (length != CLEAR_ALERT)
        good &= np.where(skips, opaque, ~data | (after <= self._after[packet]) | ~may_skip)
        # Consecutive packets of exactly one record each can be skipped together.
        jump = np.where(skips & starts, np.minimum(self._run_end[packet], walks.limit[going]), 0)
        walks.met[going[~good]] = packet[~good]
        walks.at[going[good]] = np.maximum(after, jump)[good]
        return going[good & (walks.at[going] < walks.limit[going])]

    def _alone(self, walks: _Walks, one: int) -> None:
        """Advance one stream as far as possible, by the rules of ``_step``."""
        buffer = self._look.buffer
        befores, afters, payloads = self._bounds
        at, limit, met = int(walks.at[one]), int(walks.limit[one]), int(walks.met[one])
        skips, may_skip = bool(walks.skips[one]), bool(walks.may_skip[one])
        packet = 0
        while at < limit:
            packet = bisect_right(afters, at, packet)
            before, end = befores[packet], afters[packet]
            kind, version, length = _header(buffer, payloads[packet] + at - before)
            after = at + HEADER + length
            good = is_record(kind, version, length) and at + HEADER <= end
            if good and not skips and kind == APPLICATION_DATA and at == before and may_skip:
                skips = True
                walks.gone[one] = packet
                walks.entered[one] = at
            if skips:
                good = good and is_opaque(kind, length)
            else:
                good = good and (kind != APPLICATION_DATA or after <= end or not may_skip)
            if not good:
                met = packet
                break
            if skips and at == before and self._closed[packet]:
                after = max(after, min(int(self._run_end[packet]), limit))
            at = after
        walks.at[one], walks.met[one], walks.skips[one] = at, met, skips

    @cached_property
    def _run_end(self) -> Ints:
        """Return the end of each run of packets that are one data record each; 0 for other packets."""
        count = len(self._at)
        nearest = np.minimum.accumulate(np.where(self._closed, count, np.arange(count))[::-1])[::-1]
        ends = np.append(self._before, self._after[-1])[nearest]
        return np.where(self._closed, ends, 0)


class _Walks(NamedTuple):
    """Streams that are followed by their record headers; offsets are in the concatenation of all packets.

    ``at`` is the offset of the next header and ``limit`` the end of the stream's bytes in this window;
    ``met`` is the packet that the headers do not decide.  ``skips`` means that the stream is in application
    data; ``gone`` is the packet from which on packets are dropped, ``entered`` where application data began,
    -1 if not in this window.
    """

    at: Ints
    limit: Ints
    met: Ints
    skips: Bools
    gone: Ints
    entered: Ints
    may_skip: Bools


class _Lists(NamedTuple):
    """Columns as lists, which have faster access to single elements."""

    at: list[int]
    seq: list[int]
    size: list[int]
    payload: list[int]
    cut: list[bool]
    begins: list[int]
    new: list[bool]
