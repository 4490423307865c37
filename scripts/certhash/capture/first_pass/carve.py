"""Drop the packets that cannot change a verdict, before tshark dissects the rest.

tshark needs about 15 microseconds per packet, and keeps state for each.  Most packets of an archive are
application data, voice and bare acknowledgements.  ``carve`` reads a capture once and passes on everything
else, so that tshark's output about handshakes, certificates, alerts, names and file transfers is the same as
for the whole capture:

- Packets that cannot be parsed with certainty are kept: other link types, tunnels, fragments, IPv6 extension
  headers, protocols not listed here.
- The first packet of every direction of every flow is kept, and every SYN, so that tshark numbers its streams
  as before.
- Application data records of TLS over TCP are dropped, and the bytes after them move up (see ``streams``).
- Acknowledgements without data are kept only if they acknowledge data that was not captured.
- DTLS application data, RTP, and encrypted QUIC and ESP packets are dropped one by one.

With keys, TLS, DTLS and QUIC are kept completely, because decryption needs every record.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from certhash.capture.first_pass.datagrams import droppable
from certhash.capture.first_pass.directions import Directions
from certhash.capture.first_pass.flows import FlowTable
from certhash.capture.first_pass.follow import Follower, Lanes, grouped
from certhash.capture.first_pass.headers import ACK, FIN, RST, SYN, TCP, V6
from certhash.capture.first_pass.mending import Oddities
from certhash.capture.first_pass.overlooked import Traces, ends
from certhash.capture.first_pass.packets import (
    Bools,
    Packets,
    Window,
    Words,
    mix,
    parse,
)
from certhash.capture.first_pass.pcap import SLACK, WINDOW, Ints, Pcapng, Records, windows
from certhash.capture.first_pass.recognise import beginnings
from certhash.capture.first_pass.remains import Numbers, joined, remade
from certhash.capture.first_pass.streams import SKIP, WALK, Moved
from certhash.model import Endpoint

if TYPE_CHECKING:
    from collections.abc import Iterator

    from certhash.capture.first_pass.layout import Readable, Status
    from certhash.capture.first_pass.traces import Trace

Sink = Callable[[bytes | memoryview], object]
Ends = frozenset[frozenset[Endpoint]]
"""Connections, each identified by its two ends."""


class Carved(NamedTuple):
    """The result of carving: what was read and what was passed on.

    ``packets`` is the number of packets in the capture.  ``shares`` has the packet numbers of each sink.
    ``doubtful`` counts cases in which a dropped packet may have been relevant (for example, a gap that was
    filled megabytes later): then the whole capture must be read again.
    """

    packets: int
    shares: tuple[Numbers, ...]
    status: Status
    error: str
    doubtful: int
    traces: tuple[Trace, ...] = ()
    """Where certificates seem to be."""
    odd: Ends = frozenset()
    """The connections that tshark may lose although nothing is missing, see ``mending``."""

    @property
    def in_doubt(self) -> bool:
        """Return whether a relevant packet may have been dropped."""
        return bool(self.doubtful) or self.status == "unreadable"

    @property
    def frames(self) -> Numbers:
        """Return the packet numbers of the first or only sink."""
        return self.shares[0]


class NotShareableError(Exception):
    """Several sinks together would not see the same as one; carve the capture for one sink only."""


def carve(  # noqa: PLR0913 - each names one property of the pass
    source: Readable,
    *sinks: Sink,
    keys: bool = False,
    window: int = WINDOW,
    numbers: Sequence[Numbers] = (),
    only: Ends = frozenset(),
    mend: bool = False,
) -> Carved:
    """Read a capture and write a smaller one of the same format to each sink.

    With several sinks, each gets a share of the connections, so that as many tsharks share the work.  All
    connections between two hosts are in the same share, because one may announce another.  The first packet
    of every flow and every SYN goes to all sinks, so that each numbers streams as for the whole capture;
    packets other than TCP go to the first sink.

    A sink must use its data before it returns.  Other formats than pcap and pcapng are passed on unchanged,
    to all sinks.  Errors of the source and the sinks propagate; the result reports any damage that a
    ``Source`` reports.

    Args:
        source: the capture.
        sinks: the receivers of the smaller captures.
        keys: TLS secrets for decryption are available.
        window: number of bytes to process together.
        numbers: one for each sink, for callers that need the numbers before the pass ends.
        only: connections, by their two ends. The only sink gets their packets, and from all other connections
            only what tshark needs to number streams as before; these packets have the number 0. If the
            capture has tunnels or keys, the sink gets everything. Empty: all connections.
        mend: pass on connections without their oddities (see ``mending``).

    Raises:
        NotShareableError: with several sinks, if TCP packets cannot be parsed (fragments, tunnels), so that
            their share is unknown; or if there are keys, and one connection resumes the session of another.
    """
    carver = _Carver(tuple(numbers) or tuple(Numbers() for _ in sinks), keys=keys, only=only, mend=mend)
    status: Status = "complete"
    error = ""
    for records in windows(source, window):
        for sink, part in zip(sinks, carver.window(records), strict=True):
            sink(part)
        status, error = records.status, records.error
    trouble = getattr(source, "error", "")
    if trouble:
        status, error = "truncated", trouble
    traces, odd = carver.traces.all(), frozenset(carver.oddities.connections)
    return Carved(carver.packets, carver.numbers, status, error, carver.doubtful, traces, odd)


class Carving:
    """Carves a live capture: takes whole pcapng blocks, and returns what remains of them."""

    def __init__(self) -> None:
        self.numbers = Numbers()
        self._carver = _Carver((self.numbers,), keys=False)
        self._blocks = Pcapng()

    @property
    def doubtful(self) -> int:
        """As in ``Carved``."""
        return self._carver.doubtful

    @property
    def traces(self) -> tuple[Trace, ...]:
        """As in ``Carved``."""
        return self._carver.traces.all()

    def feed(self, blocks: bytes) -> bytes | memoryview:
        """Return what remains of some blocks.

        Raises:
            ValueError: the data is not whole blocks.
        """
        buffer = bytearray(len(blocks) + SLACK)
        buffer[: len(blocks)] = blocks
        cut = self._blocks.cut(buffer, len(blocks))
        if cut.error or cut.used != len(blocks):
            raise ValueError(cut.error or "the last block is not whole")
        (left,) = self._carver.window(Records(buffer, *cut.rows, self._blocks.layout, self._blocks.order))
        return left


_WORD = 0xFFFFFFFF


class _Share(NamedTuple):
    """For each record of a window, its sink, and whether all sinks get it."""

    owner: Ints
    all: Bools


class _Carver:
    """The state of one pass over a capture."""

    def __init__(
        self, numbers: tuple[Numbers, ...], *, keys: bool, only: Ends = frozenset(), mend: bool = False
    ) -> None:
        self.packets = 0
        self._only = only
        self._records = 1
        self.numbers = numbers
        self.traces = Traces()
        self.oddities = Oddities(mend=mend)
        self.keys = keys
        self._hiding = 0
        self._reopened: Ints = np.zeros(0, np.int64)
        self._renumbering: Ints = np.zeros(0, np.int64)
        self._seed = np.uint64(secrets.randbits(64))
        self._flows = FlowTable()
        self._directions = Directions()

    @property
    def doubtful(self) -> int:
        """Return how many directions may have lost something relevant.

        If there are tunnels, apparently missing bytes may have been inside of them.
        """
        return self._directions.doubtful + (self._directions.gaps() if self._hiding else 0)

    def window(self, records: Records) -> Iterator[bytes | memoryview]:
        """Yield what remains of a window for each sink, as bytes of a capture."""
        look = Window(records.buffer)
        parsed = parse(records, look, self._seed)
        packets = parsed.packets
        self.keys |= records.secrets
        self._hiding += parsed.hiding
        several = len(self.numbers) > 1
        unclear = self.keys or self._hiding or parsed.missed
        if several and unclear:
            raise NotShareableError
        keep = np.ones(len(records.start), bool)
        keep[parsed.esp_row] = False
        moved: dict[int, list[Moved]] = {}
        share = _Share(np.zeros(len(records.start), np.int64), np.ones(len(records.start), bool))
        if len(packets.row):
            place = (packets.row + self._records).astype(np.uint64)
            self.oddities.look(look, packets)
            direction = self._number(packets, place, parsed.fragment_key)
            born = self._directions.known["born"][direction] == 0
            # The last of several assignments wins, so go backwards.
            self._directions.known["born"][direction[born][::-1]] = place[born][::-1]
            if several:
                self._find_owners(look, packets, direction, np.flatnonzero(born))
                self._share(packets, direction, place, share)
            elif self._only and not unclear:
                self._choose(records.buffer, packets, direction, np.flatnonzero(born))
                self._share(packets, direction, place, share)
                share.all[packets.row[self._directions.known["owner"][direction] == 0]] = True
                keep &= share.all
            order = np.argsort(direction.astype(np.uint16), kind="stable")
            if len(self._directions.known) > 1 << 16:
                order = order[np.argsort(direction[order] >> 16, kind="stable")]
            is_tcp = packets.protocol[order] == TCP
            if is_tcp.any():
                self._tcp(grouped(look, packets, place, order[is_tcp], direction), keep, moved)
            if not is_tcp.all():
                lanes = grouped(look, packets, place, order[~is_tcp], direction)
                keep[packets.row[droppable(lanes, self._directions.known, keys=self.keys)]] = False
            self.oddities.record(look, packets, self._renumbering)
            if self.oddities.mend:
                keep[packets.row[self._renumbering]] = False
                for at in np.flatnonzero(self.oddities.padding).tolist():
                    moved.setdefault(at, [Moved(int(packets.seq[at]), b"")])
        self._records += len(records.start)
        return self._parts(records, packets, keep, moved, share)

    # -------------------------------------------------------------------------------------------------------
    # flows

    def _number(self, packets: Packets, place: Words, fragments: Words) -> Ints:
        """Return the number of each packet's direction: twice that of its flow, or one more."""
        flow = self._flows.number(packets.key)
        self._directions.reach(self._flows.count)
        self._fragments(fragments)
        direction = 2 * flow + packets.up
        self._find_bases(packets, direction, slice(None))
        opening = packets.flags & (SYN | ACK) == SYN
        odd = opening & (self._directions.known["base"][direction] != packets.seq)
        for at in np.flatnonzero(odd).tolist():
            # A new connection between the same ports, unless the SYN was retransmitted: tshark also begins a
            # new stream.
            if self._directions.known["base"][direction[at]] != packets.seq[at]:
                number = self._flows.renew(packets.key[at])
                self._directions.reach(self._flows.count)
                later = at + np.flatnonzero(packets.key[at:] == packets.key[at])
                direction[later] = 2 * number + packets.up[later]
                self._find_bases(packets, direction, later)
                self._fragments(fragments)
        known = self._directions.known
        self._find_ends(packets, direction, place)
        opened = np.flatnonzero(packets.flags & SYN)
        one = direction[opened]
        known["opened"][one] = True
        renumbers = known["base"][one] != packets.seq[opened]
        again = renumbers & (packets.flags[opened] & ACK != 0)
        self._renumbering = opened[again]
        if self.oddities.mend:
            renumbers &= ~again
        # 0 means that no end has been seen; the unsigned 0 - 1 is then larger than any place.
        end = np.minimum(known["ended"][one] - np.uint64(1), known["ended"][one ^ 1] - np.uint64(1))
        reopens = end < place[opened]
        for at in opened[renumbers | reopens].tolist():
            # A SYN with ACK and a new number begins no new stream in tshark, but renumbers the old one; after
            # the end of a stream, this depends on the version.
            for side in (int(direction[at]), int(direction[at]) ^ 1):
                self._directions.doubtful += int(known["closed"][side])
                self._directions.leave_alone(side)
            known["base"][direction[at]] = packets.seq[at]
        self._reopened = one[reopens] >> 1
        if len(self.numbers) > 1:
            # Before this window, only the sink that owns a connection got its end.
            self._directions.doubtful += int((end[reopens] + np.uint64(1) < self._records).sum())
        return direction

    def _find_ends(self, packets: Packets, direction: Ints, place: Words) -> None:
        """Record where directions end."""
        known = self._directions.known
        ends = np.flatnonzero(packets.flags & (FIN | RST))
        ends = ends[known["ended"][direction[ends]] == 0][::-1]
        known["ended"][direction[ends]] = place[ends]

    def _find_bases(self, packets: Packets, direction: Ints, chosen: slice | Ints) -> None:
        """Record where new directions begin: at their first packet, or where the other acknowledged."""
        known = self._directions.known
        one, flags = direction[chosen], packets.flags[chosen]
        acknowledges = flags & ACK != 0
        # Each packet may define two directions.  The last of several assignments wins, so go backwards.
        both = np.stack((one, one ^ 1), 1).ravel()
        base = (
            np.stack((packets.seq[chosen] - (flags & SYN == 0), packets.ack[chosen] - 1), 1).ravel() & _WORD
        )
        new = ~known["based"][both]
        new[1::2] &= acknowledges
        places = np.flatnonzero(new)[::-1]
        known["base"][both[places]] = base[places]
        known["based"][both[places]] = True

    def _fragments(self, keys: Words) -> None:
        """Keep connections with fragments completely: the bytes of fragments pass unread."""
        for flow in self._flows.known(keys).tolist():
            if flow >= 0:
                self._directions.leave_alone(2 * flow)
                self._directions.leave_alone(2 * flow + 1)

    # --------------------------------------------------------------------------------------------------------
    # - TCP

    def _tcp(self, lanes: Lanes, keep: Bools, moved: dict[int, list[Moved]]) -> None:
        known, packets, at, direction = self._directions.known, lanes.packets, lanes.at, lanes.direction
        seq, size, flags = packets.seq[at], packets.size[at], packets.flags[at]
        end = (seq + size + (flags & SYN != 0) + (flags & FIN != 0) & _WORD).astype(np.uint32)
        place = lanes.place[at]
        seen, answered = known["born"][direction] < place, known["born"][direction ^ 1] - np.uint64(1) < place
        bare = (size == 0) & (flags & (SYN | FIN | RST) == 0)
        told = seq == lanes.previous(end, known["end"])
        self._payloads(lanes, np.flatnonzero(size), keep, moved)
        # Packets without data are irrelevant while the data of a stream is being dropped.
        gone = size > 0
        gone &= ~keep[packets.row[at]] | np.isin(at, np.fromiter(moved, np.int64, len(moved)))
        first = np.flatnonzero(gone & (known["since"][direction] == 0))[::-1]
        known["since"][direction[first]] = place[first]
        skipping = (known["state"][direction] >= SKIP) | (known["shift"][direction] != 0)
        skipping &= known["since"][direction] - np.uint64(1) < place
        ending = (size == 0) & (flags & FIN != 0) & skipping & seen
        # The first acknowledgement of a direction that has not been seen yet tells tshark where it begins.
        drop = seen & answered & bare & (told | skipping) | ending
        untouched = known["since"][direction ^ 1] - np.uint64(1) >= place
        doubted = np.flatnonzero(drop & bare & untouched)
        drop[doubted[self._acknowledge_more(lanes, end, doubted)]] = False
        last = lanes.last()
        known["end"][direction[last]] = end[last]
        keep[packets.row[at[drop]]] = False
        ended = at[flags & FIN != 0]
        known["closed"][lanes.direction[flags & FIN != 0]] = ~keep[packets.row[ended]]
        self._renumber(lanes, bare & ~drop, moved)

    def _acknowledge_more(self, lanes: Lanes, end: Words, chosen: Ints) -> Bools:
        """Mark packets that acknowledge more than the last packet of the other direction has sent.

        Only such a packet may tell tshark that the other direction has lost its last packet.
        """
        count = len(lanes.packets.row)
        order = lanes.direction * count + lanes.at
        other = lanes.direction[chosen] ^ 1
        before = np.searchsorted(order, other * count + lanes.at[chosen]) - 1
        here = (before >= 0) & (lanes.direction[before] == other)
        sent = np.where(here, end[before], self._directions.known["end"][other]).astype(np.int64)
        more = lanes.packets.ack[lanes.at[chosen]] - sent & _WORD
        return (more > 0) & (more < 1 << 31)

    def _renumber(self, lanes: Lanes, bare: Bools, moved: dict[int, list[Moved]]) -> None:
        """Give acknowledgements that follow dropped data the number that tshark expects.

        With their own number, tshark would miss the data, and certhash a certificate.
        """
        at = lanes.at[bare]
        known, direction, seq = self._directions.known, lanes.direction[bare], lanes.packets.seq[at]
        state, shift = known["state"][direction], known["shift"][direction].astype(np.int64)
        stand = known["stand"][direction].astype(np.int64)
        after = seq - stand - shift & _WORD
        behind = (state == SKIP) & (after > 0) & (after < 1 << 31)
        walking = (state == WALK) & (shift != 0) & (seq == known["reached"][direction])
        number = np.where(behind, stand, seq - shift & _WORD)
        for index in np.flatnonzero(behind | walking).tolist():
            moved[int(at[index])] = [Moved(int(number[index]), b"")]

    def _payloads(self, lanes: Lanes, paying: Ints, keep: Bools, moved: dict[int, list[Moved]]) -> None:
        """Follow the TLS streams among the packets with data (``paying``, places in the lanes)."""
        if not len(paying):
            return
        known = self._directions.known
        direction = lanes.direction[paying]
        known["heard"][direction] = True
        self.oddities.overlap(lanes.look, lanes.packets, lanes.at[paying], direction)
        begins, closed = beginnings(lanes, paying)
        opens = np.append(True, direction[1:] != direction[:-1])
        begin = np.flatnonzero(opens)
        gappy = self._gaps(lanes, paying, direction, begin)
        # TLS is only recognised if everything before it arrived in order, so that tshark's state is known.
        begins[gappy & ~known["synced"][direction]] = -1
        found = np.flatnonzero(begins >= 0)
        found = found[~known["never"][direction[found]]]
        fresh = found[~known["synced"][direction[found]]]
        known["mixed"][direction[fresh]] = True
        pure = fresh[opens[fresh]]
        known["mixed"][direction[pure]] = known["paid"][direction[pure]]
        known["synced"][direction[fresh]] = True
        known["gappy"][direction[gappy]] = ~known["synced"][direction[gappy]]
        active = known["synced"][direction]
        if active.any():
            follower = Follower(self._directions, lanes, paying[active], begins[active], closed[active])
            follower.run(keep, moved, keys=self.keys)
        last = lanes.at[paying[np.append(begin[1:], len(paying)) - 1]]
        lane = direction[begin]
        plain = ~known["synced"][lane]
        known["top"][lane[plain]] = (lanes.packets.seq[last] + lanes.packets.size[last] & _WORD)[plain]
        known["paid"][direction] = True

    def _gaps(self, lanes: Lanes, paying: Ints, direction: Ints, begin: Ints) -> Bools:
        """Mark packets up to which their direction has gaps between packets."""
        known, at = self._directions.known, lanes.at[paying]
        seq = lanes.packets.seq[at]
        end = seq + lanes.packets.size[at] & _WORD
        lane = direction[begin]
        expected = np.empty_like(end)
        expected[1:] = end[:-1]
        expected[begin] = np.where(
            known["paid"][lane], known["top"][lane], known["base"][lane] + np.uint32(1)
        )
        bad = seq != expected
        bad[begin] |= known["gappy"][lane]
        count = np.cumsum(bad)
        return count > np.repeat(count[begin] - bad[begin], np.diff(begin, append=len(end)))

    # ------------------------------------------------------------------------------------------------------
    # output

    def _find_owners(self, look: Window, packets: Packets, direction: Ints, new: Ints) -> None:
        """Assign new directions to the sink of all connections between their two hosts."""
        ip = packets.ip[new]
        six = np.flatnonzero(look.u8(ip) >> 4 == V6)
        hosts = look.u64(ip + 12)
        hosts = hosts >> np.uint64(32) ^ hosts & np.uint64(_WORD)
        hosts[six] = np.bitwise_xor.reduce([look.u64(ip[six] + at) for at in (8, 16, 24, 32)])
        owner = mix(hosts, self._seed) % np.uint64(len(self.numbers))
        owner[packets.protocol[new] != TCP] = 0
        self._directions.known["owner"][direction[new]] = owner

    def _choose(self, buffer: bytearray, packets: Packets, direction: Ints, new: Ints) -> None:
        """Assign the requested connections to the sink, and new directions of all others to no sink."""
        chosen = [frozenset(ends(buffer, packets, at)) in self._only for at in new.tolist()]
        self._directions.known["owner"][direction[new]] = 1 - np.array(chosen, np.int64)

    def _share(self, packets: Packets, direction: Ints, place: Words, share: _Share) -> None:
        """Determine the sink of each record, and the records that go to all sinks."""
        known = self._directions.known
        share.owner[packets.row] = known["owner"][direction]
        first = (known["born"][direction] == place) & (known["born"][direction ^ 1] - np.uint64(1) >= place)
        # Up to 4.2, tshark begins a stream only with a SYN without ACK; from 4.4 on, also with SYN and ACK.
        share.all[packets.row] = first | (packets.flags & SYN != 0)
        for flow in set(self._reopened.tolist()):
            bounds = (direction >> 1 == flow) & (packets.flags & (SYN | FIN | RST) != 0)
            share.all[packets.row[bounds]] = True

    def _parts(
        self, records: Records, packets: Packets, keep: Bools, moved: dict[int, list[Moved]], share: _Share
    ) -> Iterator[bytes | memoryview]:
        """Assemble what remains for each sink, and record the numbers of its packets."""
        is_packet = records.data > 0
        number = (self.packets + np.cumsum(is_packet)).astype(np.uint32)
        self.packets = int(number[-1])
        self.traces.look(records, packets, keep, number)
        made = {at: [remade(records, packets, at, one) for one in several] for at, several in moved.items()}
        for lane, numbers in enumerate(self.numbers):
            alone = len(self.numbers) == 1
            mine = keep if alone else keep & (share.all | (share.owner == lane))
            named = number if alone and not self._only else number * (share.owner == lane)
            parts = {int(packets.row[at]): made[at] for at in made if mine[packets.row[at]]}
            passed, part = joined(records, mine, parts)
            numbers.add(named[passed[is_packet[passed]]], self.packets)
            yield part
