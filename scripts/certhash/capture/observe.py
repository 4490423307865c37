"""One capture in, one observation out: the edge where files and tshark are."""

from __future__ import annotations

import base64
import contextlib
import hashlib
from time import monotonic
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from certhash.capture import records, tshark
from certhash.capture.carve import Carved, carve
from certhash.capture.decompress import Source
from certhash.capture.handshakes import Handshakes
from certhash.capture.source import is_carvable, open_capture
from certhash.model import Download, NameAnswer, Observation, Problem

if TYPE_CHECKING:
    from collections.abc import Callable


TIMELESS = (
    "packets in it have no time: what they show counts as older than everything else; record the capture "
    "with times to know what is newest"
)


_MOST_FAILURES = 5

TIMEOUT = 3600.0
"""Seconds: a hundred times what the largest captures take that are in use."""


class Settings(Struct, frozen=True):
    """How captures are read; the same for all of an audit."""

    tshark: tshark.Tshark
    keylog: str | None = None
    decode_as: tuple[str, ...] = ()
    carve: bool = True
    """Leave out for tshark what no verdict can depend on."""
    timeout: float = TIMEOUT
    """Seconds that the reading of one capture may take."""


def observe(
    path: str,
    settings: Settings,
    place: tshark.Workplace | None = None,
    opened: Callable[[BinaryIO], None] | None = None,
) -> Observation:
    """Read one capture; whatever happens is told in the observation, nothing is raised for a bad file.

    Args:
        path: of the capture.
        settings: how it is read.
        place: where tshark runs; it may serve several readings at once. None makes one for this reading.
        opened: takes the open capture file, whose position tells how far the reading is.

    Raises:
        InputError: the key log cannot be read.
    """
    try:
        with open_capture(path) as source, contextlib.ExitStack() as stack:
            if opened is not None:
                opened(source)
            place = place or stack.enter_context(
                tshark.workplace(settings.tshark.path, keylog=settings.keylog)
            )
            return _observe(path, source, settings, place)
    except OSError as error:
        return unreadable(path, f"{error.strerror or error}")
    except ValueError as error:
        return unreadable(path, str(error))


def unreadable(path: str, error: str) -> Observation:
    """Return what is observed of a capture that could not be read; `error` is one line that says why."""
    return Observation(path, "unreadable", 0, error, "plugin", problems=(Problem(path, error),))


def _observe(path: str, source: BinaryIO, settings: Settings, place: tshark.Workplace) -> Observation:
    way = _Way(
        settings.tshark.lua is not None,
        settings.carve and is_carvable(source),
        monotonic() + settings.timeout,
    )
    for last_try in (False, True):
        run = _Run(path, source, settings, place, way)
        if way.plugin and (run.missing_plugin or run.plugin_failures):
            # Nobody else's fields depend on it, and Python hashes then.
            failures, way = run.plugin_failures, way._replace(plugin=False)
            run = _Run(path, source, settings, place, way)
            for frame, reason in failures[:_MOST_FAILURES]:
                run.complain(
                    f"the plugin failed on frame {frame} ({reason}), and Python alone computed the hashes; "
                    "please report it with the capture"
                )
        if run.carving_failed or (run.carved is not None and run.carved.in_doubt):
            # Something that was left out might have mattered after all: then nothing is left out. What seems
            # to be damage may be one of the variants of pcap that have its magic number and other headers.
            failure = run.carving_failed
            way = way._replace(carve=False)
            run = _Run(path, source, settings, place, way)
            if failure:
                run.complain(
                    f"the first pass over it failed ({failure}), and tshark read it whole; please report it"
                )
        if last_try or not run.outcome.failed or run.outcome.timed_out:
            break
    return run.observation()


class _Way(NamedTuple):
    """How one run of tshark reads a capture."""

    plugin: bool
    carve: bool
    end: float
    """When it must have come to its end, on the monotonic clock."""

    @property
    def seconds_left(self) -> float:
        return max(self.end - monotonic(), 0.001)


class _Run:
    """One run of tshark over a capture: all of it, or what a verdict can depend on."""

    def __init__(
        self, path: str, source: BinaryIO, settings: Settings, place: tshark.Workplace, way: _Way
    ) -> None:
        self.carved: Carved | None = None
        self._damage = ""
        self.carving_failed = ""
        self._source = source
        self._keys = settings.keylog is not None
        self._reading = Reading(path, plugin=way.plugin)
        source.seek(0)
        self._lines = records.Lines()
        feed: BinaryIO | Callable[[tshark.Sink], None] = self._feed if way.carve else source
        if way.plugin:
            command = tshark.arguments(settings.tshark, place, decode_as=settings.decode_as)
            run = tshark.Run(command, place, feed, way.seconds_left, batch=True)
        else:
            command = tshark.arguments(
                settings.tshark,
                place,
                fields=records.STOCK_FIELDS,
                display_filter=records.display_filter(plugin=False),
                decode_as=settings.decode_as,
            )
            run = tshark.Run(command, place, feed, way.seconds_left)
        for line in run.lines():
            try:
                row = self._lines.parse(line) if way.plugin else records.parse(line, plugin=False)
            except ValueError as error:
                self._reading.complain(0, f"a line of tshark's could not be read ({error}); please report it")
                continue
            if row is not None:
                self._reading.take(row)
        outcome = run.outcome()
        self.missing_plugin = way.plugin and not self._lines.greeted and outcome.status == "complete"
        if outcome.uncounted:
            source.seek(0)
            run = tshark.Run(
                tshark.counting(command), place, self._feed if way.carve else source, way.seconds_left
            )
            outcome = outcome._replace(packets=sum(1 for _ in run.lines()))
        self.outcome = self._completed(outcome, carve=way.carve)

    @property
    def plugin_failures(self) -> list[tuple[int, str]]:
        """The frames on which the plugin failed, and why."""
        carved = self.carved
        return [(carved.frame(f) if carved else f, reason) for f, reason in self._lines.failures]

    def observation(self) -> Observation:
        """Return all that was seen, with the frame numbers of the capture."""
        if self.carved is None:
            return self._reading.observation(self.outcome)
        return self._reading.observation(self.outcome, self.carved.frame)

    def _feed(self, pipe: tshark.Sink) -> None:
        source = Source(self._source)
        try:
            self.carved = carve(source, pipe.write, keys=self._keys)
            self._damage = source.error
        except BrokenPipeError:
            raise
        except OSError as error:
            self._damage = f"the file could not be read to its end ({error.strerror or error})"
        except Exception as error:  # noqa: BLE001 - whatever it was, nothing may be missed for it
            self.carving_failed = f"{type(error).__name__}: {error}"

    def complain(self, message: str) -> None:
        """Add to the observation what is wrong."""
        self._reading.complain(0, message)

    def _completed(self, outcome: tshark.Outcome, *, carve: bool) -> tshark.Outcome:
        """Add what the first pass knows of the capture: how many packets it has, and how it ends."""
        carved = self.carved
        if outcome.missing_fields or not carve:
            return outcome
        if carved is None:
            # What tshark read was not all there is, whatever it says itself.
            error = outcome.error or self._damage or "its packets could not all be handed to tshark"
            status = outcome.status
            return outcome._replace(status="truncated" if status == "complete" else status, error=error)
        passed = len(carved.frames)
        if outcome.status == "complete" and outcome.packets < passed:
            error = f"tshark read {outcome.packets} of the {passed} packets that it was given"
            return outcome._replace(status="truncated", packets=carved.packets, error=error, failed=True)
        packets = carved.packets + max(outcome.packets - passed, 0)
        if outcome.status != "unreadable" and self._damage:
            return outcome._replace(status="truncated", packets=packets, error=self._damage)
        if outcome.status == "complete" and carved.status != "complete":
            return outcome._replace(status=carved.status, packets=packets, error=carved.error)
        return outcome._replace(packets=packets)


class Reading:
    """The rows of tshark, as they become an observation."""

    def __init__(self, path: str, *, plugin: bool) -> None:
        self._path = path
        self._plugin = plugin
        self._handshakes = Handshakes(self._keep)
        self._certificates: dict[bytes, bytes] = {}
        self._sha256_of: dict[bytes, bytes] = {}
        self._downloads: list[Download] = []
        self._answers: dict[tuple[str, str], NameAnswer] = {}
        self._timed = True
        self._problems: list[tuple[int, str]] = []

    def complain(self, frame: int, message: str) -> None:
        """Remember what is wrong; the frame is that of a row, 0 where it concerns none."""
        self._problems.append((frame, message))

    def take(self, row: records.Row) -> None:
        """Take the next row."""
        self._handshakes.add(row)
        if self._timed and not row.timed and (row.types or row.alerts or row.answers or row.downloads):
            self._timed = False
            self.complain(0, TIMELESS)
        for name, address in row.answers:
            self._answers.setdefault((name, address), NameAnswer(name, address, row.frame, row.time))
        for found in row.downloads:
            client, server = found.client or row.destination.address, found.server or row.source.address
            self._downloads.append(Download(found.name, row.frame, row.time, client, server, found.content))
        if row.plugin_error:
            self.complain(row.frame, "the plugin failed on it; please report it with the capture")
        if row.unpaired_hashes:
            self.complain(
                row.frame,
                f"the plugin hashed {len(row.certificates) + row.unpaired_hashes} of "
                f"{len(row.certificates)} certificates, and Python hashed them instead; please report it",
            )

    def _keep(self, record: records.CertificateRecord, frame: int) -> bytes:
        """Keep a certificate once, and hold the plugin's hash of it against our own."""
        der = record.der
        sha256 = self._sha256_of.get(der)
        if sha256 is None:
            sha256 = hashlib.sha256(der).digest()
            self._sha256_of[der] = sha256
            self._certificates[sha256] = der
        if not record.whole:
            self.complain(
                frame,
                f"certificate {record.position} is damaged and shown in part: its hash is not known",
            )
        if record.sha1 is not None:
            ours = base64.b64encode(hashlib.sha1(der, usedforsecurity=False).digest()).decode()
            if record.sha1 != ours:
                self.complain(
                    frame,
                    f"the plugin's hash {record.sha1} of certificate {record.position} is not {ours}, which "
                    "Python computes; trust neither, and please report it with the capture",
                )
        return sha256

    def observation(
        self, outcome: tshark.Outcome, frame_of: Callable[[int], int] = lambda frame: frame
    ) -> Observation:
        """Return all that was seen.

        Args:
            outcome: how the run ended that gave the rows.
            frame_of: from the frame number of a row to that of the capture.
        """
        problems = [f"frame {frame_of(f)}: {message}" if f else message for f, message in self._problems]
        problems += outcome.complaints
        if outcome.error is not None:
            problems.insert(0, outcome.error)
        return Observation(
            path=self._path,
            status=outcome.status,
            packets=outcome.packets,
            error=outcome.error,
            hash_source="plugin" if self._plugin else "python",
            handshakes=self._handshakes.finish(frame_of),
            downloads=tuple(replace(d, frame=frame_of(d.frame)) for d in self._downloads),
            answers=tuple(replace(a, frame=frame_of(a.frame)) for a in self._answers.values()),
            certificates=self._certificates,
            problems=tuple(Problem(self._path, message) for message in problems),
            interrupted=outcome.failed,
        )
