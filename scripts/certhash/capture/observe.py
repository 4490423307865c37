"""Read one capture into one observation, with the files and processes that this needs."""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from time import monotonic
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from certhash.capture import again, records, tshark
from certhash.capture.engine import Engine, EngineError
from certhash.capture.feed import Fed, Feed
from certhash.capture.first_pass.carve import Carved, Ends, Numbers, carve, is_plain
from certhash.capture.first_pass.decompress import Source
from certhash.capture.first_pass.overlooked import Trace, not_shown, traces_in_bytes
from certhash.capture.first_pass.pcap import WINDOW
from certhash.capture.first_pass.source import (
    NOT_A_CAPTURE,
    Unpacked,
    is_carvable,
    looks_like_capture,
    open_capture,
)
from certhash.capture.reading import Reading
from certhash.capture.workplace import Workplace, workplace
from certhash.model import Observation, Problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from certhash.model import CaptureStatus


_MOST_FAILURES = 5
_PACKET = re.compile(r"\bin packet (\d+)")
"""tshark's message about a packet on which a dissector failed."""

_SMALL = 2 << 20
"""Maximum size in bytes of a capture for the engine: tshark takes longer to start than to read it."""
_LARGE = 64 << 20
"""Minimum size in bytes of a capture that several tsharks may share."""
_BEGINNING = WINDOW
"""Bytes at the start of a capture from which the rest is estimated."""
_MANY = 40_000
"""Packets that take tshark twice as long as its start."""

TIMEOUT = 3600.0
"""Seconds: a hundred times as long as the largest captures in use take."""


class Settings(Struct, frozen=True):
    """Settings for the reading of captures; the same for a whole audit."""

    tshark: tshark.Tshark
    keylog: str | None = None
    decode_as: tuple[str, ...] = ()
    carve: bool = True
    """Drop packets that cannot change a verdict before tshark reads the capture."""
    timeout: float = TIMEOUT
    """Seconds allowed for reading one capture."""
    warm: bool = True
    """An engine that stays running may dissect small captures, if one is available."""


def observe(
    path: str,
    settings: Settings,
    place: Workplace | None = None,
    opened: Callable[[BinaryIO], None] | None = None,
    tsharks: int = 1,
) -> Observation:
    """Read one capture; the observation reports all errors of the file, and none is raised.

    Args:
        path: the path of the capture.
        settings: how to read it.
        place: where tshark runs; it may serve several readings in parallel, but only one at a time if it has
        an
            engine. None creates one for this reading.
        opened: receives the open capture file, whose position shows the progress.
        tsharks: the maximum number of tsharks that share the capture; the observation does not depend on it.

    Raises:
        InputError: the key log cannot be read.
    """
    try:
        with open_capture(path) as source, contextlib.ExitStack() as stack:
            if opened is not None:
                opened(source)
            place = place or stack.enter_context(workplace(settings.tshark.path, keylog=settings.keylog))
            seen = _observe(path, source, settings, place, tsharks)
            damage = source.damage if isinstance(source, Unpacked) else ""
            return _damaged(seen, damage) if damage else seen
    except OSError as error:
        return unreadable(path, f"{error.strerror or error}")
    except ValueError as error:
        return unreadable(path, str(error))


def _damaged(seen: Observation, damage: str) -> Observation:
    """Return the observation of a capture whose archive is damaged after the capture."""
    status: CaptureStatus = "truncated" if seen.status == "complete" else seen.status
    return replace(seen, status=status, error=damage, problems=(Problem(seen.path, damage), *seen.problems))


def with_engine(settings: Settings, place: Workplace) -> Workplace:
    """Return the place with an engine, which starts when it is first needed; the caller must close it.

    If the settings exclude an engine, the place has none.
    """
    if not settings.warm or not settings.carve or settings.decode_as:
        return place
    return place._replace(engine=Engine(settings.tshark, place, settings.timeout))


def is_worth_sharing(path: str) -> bool:
    """Return whether, by its start, a capture is large enough to be worth another tshark."""
    try:
        with open_capture(path) as source:
            size = os.fstat(source.fileno()).st_size
            if size < _LARGE or not is_carvable(source):
                return False
            carved = carve(Source(io.BytesIO(source.read(_BEGINNING))), lambda _: None)
    except Exception:  # noqa: BLE001 - the full read reports the error
        return False
    return len(carved.frames) * size > _MANY * _BEGINNING


def unreadable(path: str, error: str) -> Observation:
    """Return the observation of a capture that could not be read; `error` is one line that says why."""
    return Observation(path, "unreadable", 0, error, "plugin", problems=(Problem(path, error),))


def _observe(path: str, source: BinaryIO, settings: Settings, place: Workplace, tsharks: int) -> Observation:
    carve = settings.carve and is_carvable(source)
    plain = carve and not settings.decode_as and _is_plain(source)
    place = place._replace(manufacturers=not plain)
    way = _Way(
        settings.tshark.lua is not None,
        carve,
        # A decode-as rule may be for a tunnel, with inner connections that the first pass does not count.
        tsharks if carve and not settings.decode_as else 1,
        monotonic() + settings.timeout,
    )
    warm = _observe_warm(path, source, settings, place, way) if plain else None
    return warm or _observe_cold(path, source, settings, place, way)


def _observe_cold(
    path: str, source: BinaryIO, settings: Settings, place: Workplace, way: _Way
) -> Observation:
    """Let tshark read a capture, and retry in other ways if it fails."""
    for last_try in (False, True):
        run = _Run(path, source, settings, place, way)
        if run.must_not_be_shared:
            way = way._replace(tsharks=1)
            run = _Run(path, source, settings, place, way)
        if way.plugin and (run.missing_plugin or run.plugin_failures):
            # No other fields depend on the plugin, and Python computes the hashes then.
            failures, way = run.plugin_failures, way._replace(plugin=False, tsharks=1)
            run = _Run(path, source, settings, place, way)
            for frame, reason in failures[:_MOST_FAILURES]:
                run.complain(
                    f"the plugin failed on frame {frame} ({reason}), and Python alone computed the hashes; "
                    "please report it with the capture"
                )
        if run.must_read_whole:
            # A dropped packet may have been relevant: then read everything. Apparent damage may be one of the
            # variants of pcap with the same magic number and other headers.
            failure = run.fed.failed
            way = way._replace(carve=False, tsharks=1)
            run = _Run(path, source, settings, place, way)
            if failure:
                run.complain(
                    f"the first pass over it failed ({failure}), and tshark read it whole; please report it"
                )
        if last_try or not run.outcome.failed or run.outcome.timed_out:
            break
    if run.looked_at is None or not run.looked_at.packets:
        source.seek(0)
        if not looks_like_capture(source.read(4096)) and not run.outcome.timed_out:
            # tshark accepts any text, and many pictures, as a capture.
            return unreadable(path, NOT_A_CAPTURE)
    return _look_again(run, lambda again: _Run(path, source, settings, place, again), way)


def _observe_warm(
    path: str, source: BinaryIO, settings: Settings, place: Workplace, way: _Way
) -> Observation | None:
    """Let the engine of a place read a small capture; return None if tshark must read it."""
    engine = place.engine
    if engine is None or engine.trouble is not None or os.fstat(source.fileno()).st_size > _SMALL:
        return None
    run = _Run(path, source, settings, place, way._replace(engine=engine))
    if run.is_odd:
        return None
    seen = run.observation()
    return None if any(_not_seen(run, seen)) else seen


def _look_again(run: _Run, read: Callable[[_Way], _Run], way: _Way) -> Observation:
    """Return the observation of a run, with the certificates that other ways show in addition.

    If the run showed all certificates, nothing is read again.
    """
    seen = run.observation()
    missing, cut = _not_seen(run, seen)
    if run.outcome.failed or not (missing or cut):
        return seen
    places = run.places(missing) if missing else None
    known = {trace: place for trace in missing if places and (place := places.of.get(trace.frame))}
    names = {trace: places.above(place) for trace, place in known.items() if places}
    asked = cut | {place.ends for place in known.values() if place.transport} | {t.ends for t in missing}
    # Connections in a tunnel cannot be found by their ends.
    outside = all(trace in known and trace.ends == known[trace].ends for trace in missing)
    way = way._replace(tsharks=1, only=asked if outside else frozenset())
    notes: list[str] = []
    tries = again.ways([(place, names[trace]) for trace, place in known.items()])
    for each in itertools.chain(tries if missing else (again.STOCK,)):
        other = read(way._replace(arguments=each.arguments))
        if other.outcome.failed or other.missing_plugin:
            continue
        seen, taken = again.merged(seen, other.observation(), asked - {frozenset()}, missing)
        notes += [
            f"frame {shown.certificates[0].frame}: tshark shows this certificate {each.words}"
            for shown in taken
            if shown.certificates
        ]
        missing = not_shown(missing, seen.certificates.values())
        if not missing:
            break
    left = [t for t in missing if not again.is_told(t, known.get(t), names.get(t, ()), seen.handshakes)]
    problems = [
        (f"frame {trace.frame}: " if trace.frame else "") + again.words(trace, known.get(trace))
        for trace in left
    ]
    return replace(
        seen,
        problems=(*(Problem(seen.path, message) for message in problems), *seen.problems),
        notes=(*seen.notes, *notes),
    )


def _not_seen(run: _Run, seen: Observation) -> tuple[list[Trace], Ends]:
    """Return the traces of certificates that a run did not show, and the connections with lost packets."""
    cut = frozenset(
        frozenset((each.client, each.server))
        for each in seen.handshakes
        if each.hidden == "packets-missing" and each.transport == "tcp"
    )
    return not_shown(run.traces, seen.certificates.values()), cut


def _is_plain(source: BinaryIO) -> bool:
    """Return whether a small capture contains nothing that can encapsulate a packet in a packet."""
    source.seek(0)
    try:
        return os.fstat(source.fileno()).st_size <= WINDOW and is_plain(Source(source))
    except Exception:  # noqa: BLE001 - the full read reports the error
        return False


class _Way(NamedTuple):
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
    engine: Engine | None = None
    """The engine that dissects instead of tshark, if any."""

    @property
    def seconds_left(self) -> float:
        return max(self.end - monotonic(), 0.001)


class _Run:
    """One run over a capture: one or several tsharks read all of it, or the relevant packets."""

    def __init__(self, path: str, source: BinaryIO, settings: Settings, place: Workplace, way: _Way) -> None:
        self.fed = Fed()
        """How the first pass ended, where there was one."""
        self._source = source
        self._settings = settings
        self._keys = settings.keylog is not None
        self._place = place
        self._way = way
        self._reading = Reading(path, plugin=way.plugin)
        self._one_at_a_time = threading.Lock()
        self.misread = False
        """A line could not be read."""
        if way.plugin:
            self._command = tshark.arguments(settings.tshark, place, decode_as=settings.decode_as)
        else:
            self._command = tshark.arguments(
                settings.tshark,
                place,
                fields=records.STOCK_FIELDS,
                display_filter=records.display_filter(plugin=False),
                decode_as=settings.decode_as,
            )
        self._command += way.arguments
        self._shares = [_Share(number) for number in range(way.tsharks)]
        if way.engine is not None:
            outcomes = [self._ask(way.engine)]
        else:
            outcomes = self._read(self._command, self._take, batch=way.plugin)
        self.missing_plugin = way.plugin and any(
            way.engine is None and not share.lines.greeted and outcome.status == "complete"
            for share, outcome in zip(self._shares, outcomes, strict=True)
        )
        self.must_not_be_shared = way.tsharks > 1 and (
            self.fed.not_shareable
            or bool(self.plugin_failures)
            or self.must_read_whole
            or any(not o.timed_out and (o.uncounted or o.status != "complete") for o in outcomes)
            or (way.tsharks > 1 and self._seem_short(outcomes))
        )
        if (outcomes[0].uncounted or self._seem_short(outcomes)) and not self.must_not_be_shared:
            count = itertools.count()
            (counted,) = self._read(tshark.counting(self._command), lambda _share, _line: next(count))
            outcomes = [counted._replace(packets=next(count))]
        self.outcome = self._completed(outcomes)

    @property
    def is_odd(self) -> bool:
        """Return whether the engine had any irregularity, so that tshark must read the capture."""
        carved = self.fed.carved
        return (
            carved is None
            or not carved.packets
            or self.outcome.failed
            or self.must_read_whole
            or bool(self.plugin_failures)
            or self.misread
        )

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
            Feed(self._source, len(self._shares), keys=self._keys, only=self._way.only)
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

    def _ask(self, engine: Engine) -> tshark.Outcome:
        """Let the engine read the output of the first pass; both end before the first line is processed."""
        (share,) = self._shares
        share.numbers = Numbers()
        kept = bytearray()

        def keep(part: bytes | memoryview) -> None:
            if len(kept) + len(part) > 2 * _SMALL:
                raise EngineError("there is much in it when it is decompressed")
            kept.extend(part)

        try:
            self._source.seek(0)
            capture = Source(self._source)
            carved = carve(capture, keep, keys=self._keys, numbers=(share.numbers,))
            self.fed = Fed(carved, damage=capture.error)
            dissected = engine.dissect(kept, self._way.seconds_left / 2)
        except Exception as error:  # noqa: BLE001 - whatever it was, tshark reads it and nothing is missed
            return tshark.Outcome("truncated", 0, str(error), (), failed=True)
        if dissected.packets != len(share.numbers):
            return tshark.Outcome(
                "truncated", 0, "it counts other packets than it was given", (), failed=True
            )
        for line in dissected.lines:
            self._take(share, line)
        return tshark.Outcome("complete", dissected.packets, None, ())

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
                self.misread = True
                self.complain(f"a line of tshark's could not be read ({error}); please report it")
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
            error = outcome.error or damage or "its packets could not all be handed to tshark"
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
        """What tells the numbers of the packets; where there is none, tshark counts as it is."""
        self.numbers: Numbers | None = None
        """The same, where the first pass has come to its end."""
        self.lines = records.Lines(self.frame)

    def row(self, line: str, *, plugin: bool) -> records.Row | None:
        """Return the row in a line, or None if it is not about a frame, or about another tshark's frame.

        Raises:
            ValueError: the line is not in the format of the plugin or tshark.
        """
        if plugin:
            return self.lines.parse(line)
        row = records.parse(line, plugin=False)
        frame = self.frame(row.frame)
        return row._replace(frame=frame) if frame else None

    def complaint(self, said: str) -> tuple[int, str] | None:
        """Return the frame (0: none) and the text of a tshark message; None for another tshark's frame."""
        named = _PACKET.search(said)
        if named is None:
            return 0, said
        frame = self.frame(int(named[1]))
        return (frame, f"{said[: named.start(1)]}{frame}{said[named.end(1) :]}") if frame else None

    def frame(self, number: int) -> int:
        """Return the number in the capture of a packet in tshark's input."""
        if self.numbers is not None:
            return self.numbers.frame(number)
        return number if self.feed is None else self.feed.frame(self.number, number)
