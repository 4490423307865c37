"""Follow all TLS streams of a window at once, and decide which packets of them are left out."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from certhash.capture.directions import Directions
from certhash.capture.packets import Bools, Packets, Window, Words
from certhash.capture.pcap import Ints
from certhash.capture.streams import ALERT, APPLICATION_DATA, HEADER, LARGEST_RECORD, PLAIN, SKIP, WALK, Moved

_WORD = 0xFFFFFFFF


class Lanes(NamedTuple):
    """The packets of a window, of one protocol, grouped by direction and in order of arrival within each.

    ``at`` are places in ``packets``, and ``place`` tells for those how many records of the capture came before; ``direction`` goes
    with ``at``; ``opens`` marks the first of each group.
    """

    look: Window
    packets: Packets
    place: Words
    at: Ints
    direction: Ints
    opens: Bools

    def previous(self, values: NDArray[np.generic], before: NDArray[np.generic]) -> NDArray[np.generic]:
        """Return the value of the previous packet of the same direction, from ``before`` for the first in the window."""
        earlier = np.empty_like(values)
        earlier[1:] = values[:-1]
        earlier[self.opens] = before[self.direction[self.opens]]
        return earlier

    def last(self) -> Bools:
        """Mark the last of each group."""
        return np.append(self.opens[1:], True)


class Follower:
    """The TLS streams of one window: its packets with data in directions that are TLS, grouped by direction.

    A stream that is known, with nothing missing, is followed from record header to record header, many streams at a time; what
    such headers do not decide goes packet by packet through ``Stream``, which follows the same rules.
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
        # Where the bytes of each packet lie if all were put in one row.
        self._after = np.cumsum(self._size)
        self._before = self._after - self._size
        self._may_skip = directions.may_skip(self._lane)

    def run(self, keep: Bools, moved: dict[int, list[Moved]], *, keys: bool) -> None:
        """Follow every stream to the end of the window: clear ``keep`` of what is left out, note in ``moved`` what is changed."""
        known = self._directions.known
        self._may_skip &= not keys
        place = self._begin()
        broken = self._cut.copy()
        broken[1:] |= self._seq[1:] != (self._seq[:-1] + self._size[:-1] & _WORD)
        broken[self._open] = self._cut[self._open]
        last_break = np.maximum.reduceat(np.where(broken, np.arange(len(broken)), -1), self._open)
        state = known["state"][self._lane]
        ready = (
            ((state == WALK) & (known["shift"][self._lane] == 0) | (state == SKIP))
            & ~known["more"][self._lane]
            & ~self._new[place]
        )
        ready &= (last_break < place) & (known["reached"][self._lane] == self._seq[place])
        fast, slow = np.flatnonzero(ready), np.flatnonzero(~ready).tolist()
        dropped = np.zeros(len(self._at), bool)
        lists = None
        while slow or len(fast):
            if slow:
                lists = lists or self._lists()
                for lane in slow:
                    place[lane] = self._packet_by_packet(
                        lane, int(place[lane]), int(last_break[lane]), lists, dropped, moved
                    )
                handed = np.array(slow, np.int64)
                fast = np.concatenate((fast, handed[place[handed] < self._stop[handed]]))
            slow = self._record_by_record(fast, place, dropped) if len(fast) else []
            fast = fast[:0]
        keep[self._row[dropped]] = False

    def _begin(self) -> Ints:
        """Begin to follow those streams in which TLS starts in this window; return from which packet on each is followed."""
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

    def _lists(self) -> _Lists:
        columns = (self._at, self._seq, self._size, self._payload, self._cut, self._begins, self._new)
        return _Lists(*(column.tolist() for column in columns))

    def _packet_by_packet(
        self,
        lane: int,
        place: int,
        last_break: int,
        lists: _Lists,
        dropped: Bools,
        moved: dict[int, list[Moved]],
    ) -> int:
        """Follow one stream for at least a packet; return the packet from which on it may be followed by its headers."""
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
                dropped[place] = True
            elif fate == "drop":
                # The first packet of a direction is needed for its headers.
                moved[lists.at[place]] = [Moved(stream.stand, b"")]
            elif fate != "keep":
                moved[lists.at[place]] = fate
            place += 1
        directions.store(one, stream)
        return place

    def _record_by_record(self, fast: Ints, place: Ints, dropped: Bools) -> list[int]:
        """Follow streams by their record headers; return those that meet something else, and put where in ``place``."""
        known = self._directions.known
        lane, may_skip, stop = self._lane[fast], self._may_skip[fast], self._stop[fast]
        begin = place[fast]
        base = self._before[begin]
        # The distance between a place in the row of all bytes and the sequence number there.
        offset = self._seq[begin] - base
        at = base + (known["boundary"][lane] - self._seq[begin] & _WORD)
        limit = self._after[stop - 1]
        met = stop.copy()
        skips = known["state"][lane] == SKIP
        gone = np.where(skips, begin, stop)
        entered = np.full(len(fast), -1)
        run_end = self._ends_of_runs()
        going = np.flatnonzero(at < limit)
        while len(going):
            here = at[going]
            packet = np.searchsorted(self._after, here, side="right")
            head = self._look.u64(self._payload[packet] + here - self._before[packet]).astype(np.int64)
            kind, version, length = head >> 56, head >> 40 & 0xFFFF, head >> 24 & 0xFFFF
            good = (
                (kind >= 20)
                & (kind <= 24)
                & (version >= 0x300)
                & (version <= 0x304)
                & (length <= LARGEST_RECORD)
            )  # noqa: PLR2004
            good &= here + HEADER <= self._after[packet]
            after = here + HEADER + length
            data = kind == APPLICATION_DATA
            starts = here == self._before[packet]
            enters = good & data & starts & may_skip[going] & ~skips[going]
            entering = going[enters]
            skips[entering] = True
            gone[entering] = packet[enters]
            entered[entering] = here[enters]
            skipping = skips[going]
            opaque = data | (kind == ALERT) & (length != 2)  # noqa: PLR2004
            good &= np.where(skipping, opaque, ~data | (after <= self._after[packet]) | ~may_skip[going])
            # Packets in a row that are one record each need no look at all.
            jump = np.where(skipping & starts, np.minimum(run_end[packet], limit[going]), 0)
            met[going[~good]] = packet[~good]
            at[going[good]] = np.maximum(after, jump)[good]
            going = going[good & (at[going] < limit[going])]
        gone = np.minimum(gone, met)
        change = np.zeros(len(dropped) + 1, np.int64)
        np.add.at(change, gone, 1)
        np.add.at(change, met, -1)
        dropped |= np.cumsum(change[:-1]) > 0
        reached = np.where(met < stop, self._before[np.minimum(met, len(self._before) - 1)], limit)
        known["reached"][lane] = (reached + offset & _WORD).astype(np.uint32)
        known["boundary"][lane] = (at + offset & _WORD).astype(np.uint32)
        known["state"][lane[skips]] = SKIP
        new = entered >= 0
        known["stand"][lane[new]] = (entered + offset - known["shift"][lane] & _WORD)[new].astype(np.uint32)
        place[fast] = met
        return fast[met < stop].tolist()

    def _ends_of_runs(self) -> Ints:
        """Return, for packets that are one record of application data each, where the last of them in a row ends; else 0."""
        count = len(self._at)
        nearest = np.minimum.accumulate(np.where(self._closed, count, np.arange(count))[::-1])[::-1]
        ends = np.append(self._before, self._after[-1])[nearest]
        return np.where(self._closed, ends, 0)


class _Lists(NamedTuple):
    """Columns as lists, which are faster to look into one by one."""

    at: list[int]
    seq: list[int]
    size: list[int]
    payload: list[int]
    cut: list[bool]
    begins: list[int]
    new: list[bool]
