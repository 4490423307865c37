"""Let tshark, or several of them, read one capture, behind the first pass or as it is."""

from __future__ import annotations

import itertools
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from time import monotonic
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from msgspec.structs import replace

from certhash.capture import again, columns, records, tshark
from certhash.capture.feed import Fed, Feed
from certhash.capture.first_pass.carve import Carved, Ends, carve
from certhash.capture.first_pass.decompress import Source
from certhash.capture.first_pass.overlooked import traces_in_bytes
from certhash.capture.first_pass.source import is_carvable
from certhash.capture.reading import Reading

if TYPE_CHECKING:
    from collections.abc import Callable

    from certhash.capture.first_pass.traces import Trace
    from certhash.capture.observe import Settings
    from certhash.capture.workplace import Workplace
    from certhash.model import Observation

_PACKET = re.compile(r"\bin packet (\d+)")
"""tshark's message about a packet on which a dissector failed."""


class Way(NamedTuple):
    """How one run over a capture reads it."""

    plugin: bool
    carve: bool
    tsharks: int
    """Number of tsharks that share the output of the first pass; 1 without a first pass."""
    end: float
    """The deadline, on the monotonic clock."""
    only: Ends = frozenset()
    """The connections to read, if the first pass can distinguish them; empty for all."""
    arguments: tuple[str, ...] = ()
    """Additional arguments for tshark."""
    mend: bool = False
    """The first pass removes oddities of TCP (see ``first_pass.mending``)."""

    @property
    def seconds_left(self) -> float:
        """Return the time that is left."""
        return max(self.end - monotonic(), 0.001)


class Run:
    """One run over a capture: one or several tsharks read all of it, or the relevant packets."""

    def __init__(self, path: str, source: BinaryIO, settings: Settings, place: Workplace, way: Way) -> None:
        self.fed = Fed()
        """How the first pass ended, where there was one."""
        self._source = source
        self._settings = settings
        self._keys = settings.keylog is not None
        self._place = place
        self._way = way
        self._reading = Reading(path, plugin=way.plugin)
        self._one_at_a_time = threading.Lock()
        self._command = tshark.arguments(
            settings.tshark,
            place,
            fields=() if way.plugin else columns.names(plugin=False),
            display_filter=columns.display_filter(plugin=False),
            decode_as=settings.decode_as,
        )
        self._command += way.arguments
        self._shares = [_Share(number) for number in range(way.tsharks)]
        outcomes = self._read(self._command, self._take, batch=way.plugin)
        self.missing_plugin = way.plugin and any(
            not share.lines.greeted and outcome.status == "complete"
            for share, outcome in zip(self._shares, outcomes, strict=True)
        )
        self.must_not_be_shared = way.tsharks > 1 and (
            self.fed.not_shareable
            or bool(self.plugin_failures)
            or self.must_read_whole
            or any(not o.timed_out and (o.uncounted or o.status != "complete") for o in outcomes)
            or self._seem_short(outcomes)
        )
        if (outcomes[0].uncounted or self._seem_short(outcomes)) and not self.must_not_be_shared:
            count = itertools.count()
            (counted,) = self._read(tshark.counting(self._command), lambda _share, _line: next(count))
            outcomes = [counted._replace(packets=next(count))]
        self.outcome = self._completed(outcomes)

    @property
    def must_read_whole(self) -> bool:
        """Return whether a dropped packet may be relevant."""
        carved = self.fed.carved
        return bool(self.fed.failed) or (carved is not None and carved.in_doubt)

    @property
    def plugin_failures(self) -> list[tuple[int, str]]:
        """Return the frames on which the plugin failed, with the reasons."""
        return [failure for share in self._shares for failure in share.lines.failures]

    def observation(self) -> Observation:
        """Return everything that was seen."""
        outcome = self.outcome
        if outcome.status == "complete" and self.looked_at is not None:
            # The statistics of tshark do not count ICMP errors that were cut by a snapshot length.
            outcome = outcome._replace(packets=max(outcome.packets, self.looked_at.packets))
        return self._reading.observation(outcome)

    def places(self, traces: list[Trace]) -> again.Places:
        """Ask tshark for the locations of the frames that contain certificates."""
        command = tshark.arguments(
            self._settings.tshark, self._place, fields=again.FIELDS, display_filter="frame"
        )
        share = self._shares[0]
        found = again.Places(share.frame, traces)
        self._shares = [share]
        self._way = self._way._replace(tsharks=1)
        self._read(command, lambda _, line: found.take(line))
        return found

    def complain(self, message: str) -> None:
        """Add an error message to the observation."""
        self._reading.complain(0, message)

    def _read(
        self, command: list[str], take: Callable[[_Share, str], object], *, batch: bool = False
    ) -> list[tshark.Outcome]:
        """Run tshark for every share, process each line, and return the outcomes."""
        self._source.seek(0)
        feed = (
            Feed(
                self._source,
                len(self._shares),
                keys=self._keys,
                only=self._way.only,
                mend=self._way.mend,
            )
            if self._way.carve
            else None
        )
        runs: list[tshark.Run] = []

        def read(run: tshark.Run, share: _Share) -> tshark.Outcome:
            for line in run.lines():
                take(share, line)
            return run.outcome()

        try:
            for share, source in zip(self._shares, feed.outlets if feed else [self._source], strict=True):
                share.feed = feed
                left = self._way.seconds_left
                runs.append(tshark.Run(command, self._place, source, left, batch=batch))
                if feed:
                    source.close()  # so that the pass notices when tshark stops reading
            if len(runs) == 1:
                return [read(runs[0], self._shares[0])]
            # In parallel: a tshark with unread output would block, and with it the pass that feeds them all.
            with ThreadPoolExecutor(len(runs)) as readers:
                return list(readers.map(read, runs, self._shares))
        finally:
            for run in runs:
                run.stop()
            if feed:
                self.fed = feed.end()

    @cached_property
    def looked_at(self) -> Carved | None:
        """Return the result of the first pass, running it now if needed; None if not everything was read."""
        if self.outcome.failed or self.outcome.status == "unreadable":
            return None
        if self.fed.carved is not None:
            return self.fed.carved
        own = None
        try:
            if is_carvable(self._source):
                self._source.seek(0)
                own = carve(Source(self._source), keys=self._keys)
                if own.packets == self.outcome.packets:
                    return own
            # A format that only tshark knows, or apparent pcap: tshark converts it.
            self._source.seek(0)
            with tshark.as_pcapng(self._settings.tshark, self._place, self._source) as packets:
                return carve(packets, keys=self._keys)
        except Exception:  # noqa: BLE001 - of a capture that tshark has read nothing is lost without it
            return own

    @property
    def traces(self) -> tuple[Trace, ...]:
        """Return where certificates seem to be."""
        if self.looked_at is not None:
            return self.looked_at.traces
        if self.outcome.failed or self.outcome.status == "unreadable":
            return ()
        self._source.seek(0)
        return traces_in_bytes(Source(self._source))

    def _take(self, share: _Share, line: str) -> None:
        """Process a line of the tshark that reads a share."""
        try:
            row = share.row(line, plugin=self._way.plugin)
        except ValueError as error:
            with self._one_at_a_time:
                self.complain(f"a line that tshark printed cannot be parsed ({error}); please report it")
            return
        if row is not None:
            with self._one_at_a_time:
                self._reading.take(row, share.number)

    def _seem_short(self, outcomes: list[tshark.Outcome]) -> bool:
        """Return whether tshark reports success, but counted fewer packets than it was given."""
        carved = self.fed.carved
        return carved is not None and any(
            each.status == "complete" and each.packets < len(numbers)
            for numbers, each in zip(carved.shares, outcomes, strict=True)
        )

    def _completed(self, outcomes: list[tshark.Outcome]) -> tshark.Outcome:
        """Add the findings of the first pass: the number of packets, and how the capture ends."""
        carved, damage = self.fed.carved, self.fed.damage
        worst = next((o for o in outcomes if o.status != "complete"), outcomes[0])
        said = {
            complaint
            for share, each in zip(self._shares, outcomes, strict=True)
            for complaint in map(share.complaint, each.complaints)
            if complaint is not None
        }
        outcome = worst._replace(complaints=tuple(text for _, text in sorted(said)))
        if outcome.missing_fields or not self._way.carve:
            return outcome
        if carved is None:
            # tshark did not get the whole capture, regardless of its own status.
            error = outcome.error or damage or "not all of its packets reached tshark"
            status = outcome.status
            return outcome._replace(status="truncated" if status == "complete" else status, error=error)
        beyond = 0
        for numbers, each in zip(carved.shares, outcomes, strict=True):
            if outcome.status == "complete" and each.packets < len(numbers):
                error = f"tshark read {each.packets} of the {len(numbers)} packets that it was given"
                return outcome._replace(status="truncated", packets=carved.packets, error=error, failed=True)
            beyond = max(beyond, each.packets - len(numbers))
        packets = carved.packets + beyond
        if outcome.status != "unreadable" and damage:
            return outcome._replace(status="truncated", packets=packets, error=damage)
        if outcome.status == "complete" and carved.status != "complete":
            return outcome._replace(status=carved.status, packets=packets, error=carved.error)
        return outcome._replace(packets=packets)


class _Share:
    """The output of one of the tsharks that share a capture, or of the only one."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.feed: Feed | None = None
        """Translates the packet numbers; None if tshark reads the whole capture."""
        self.lines = records.Lines(self.frame)

    def row(self, line: str, *, plugin: bool) -> records.Row | None:
        """Return the row in a line, or None if it is not about a frame, or about another tshark's frame.

        Raises:
            ValueError: the line is not in the format of the plugin or tshark.
        """
        if plugin:
            return self.lines.parse(line)
        row = columns.parse(line, plugin=False)
        frame = self.frame(row.frame)
        return replace(row, frame=frame) if frame else None

    def complaint(self, said: str) -> tuple[int, str] | None:
        """Return the frame (0: none) and the text of a tshark message; None for another tshark's frame."""
        named = _PACKET.search(said)
        if named is None:
            return 0, said
        frame = self.frame(int(named[1]))
        return (frame, f"{said[: named.start(1)]}{frame}{said[named.end(1) :]}") if frame else None

    def frame(self, number: int) -> int:
        """Return the number in the capture of a packet in tshark's input."""
        return number if self.feed is None else self.feed.frame(self.number, number)
