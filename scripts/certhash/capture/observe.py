"""One capture in, one observation out: the edge where files and tshark are."""

from __future__ import annotations

import base64
import hashlib
import zlib
from typing import IO, TYPE_CHECKING, BinaryIO, cast

from msgspec import Struct
from msgspec.structs import replace

from certhash.capture import records, tshark
from certhash.capture.carve import Carved, carve
from certhash.capture.handshakes import Handshakes
from certhash.capture.source import decompressed, is_carvable, open_capture
from certhash.model import Download, HashSource, NameAnswer, Observation, Problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from certhash.capture.pcap import Readable


TIMELESS = (
    "this packet, and maybe others, have no time: what they show counts as older than everything else; "
    "record the capture with times to know what is newest"
)


class Settings(Struct, frozen=True):
    """How captures are read; the same for all of an audit."""

    tshark: tshark.Tshark
    keylog: str | None = None
    decode_as: tuple[str, ...] = ()
    carve: bool = True
    """Leave out for tshark what no verdict can depend on."""


def observe(path: str, settings: Settings) -> Observation:
    """Read one capture; whatever happens is told in the observation, nothing is raised for a bad file."""
    try:
        with open_capture(path) as source, tshark.workplace(keylog=settings.keylog) as place:
            return _observe(path, source, settings, place)
    except OSError as error:
        return _unreadable(path, f"{error.strerror or error}")
    except ValueError as error:
        return _unreadable(path, str(error))


def _unreadable(path: str, error: str) -> Observation:
    return Observation(path, "unreadable", 0, error, "plugin", problems=(Problem(path, error),))


def _observe(path: str, source: BinaryIO, settings: Settings, place: tshark.Workplace) -> Observation:
    plugin = settings.tshark.lua is not None
    carved = settings.carve and is_carvable(source)
    for last_try in (False, True):
        reading = _Reading(path, settings, place, plugin=plugin)
        outcome = reading.run(source, carved=carved)
        if outcome.missing_fields and plugin:
            plugin = False
            reading = _Reading(path, settings, place, plugin=plugin)
            outcome = reading.run(source, carved=carved)
        if reading.doubtful:
            # Something that was left out might have mattered after all: then nothing is left out.
            carved = False
            reading = _Reading(path, settings, place, plugin=plugin)
            outcome = reading.run(source, carved=carved)
        if last_try or not outcome.failed:
            break
    return reading.observation(outcome)


class _Reading:
    """The rows of one run of tshark, as they become an observation."""

    def __init__(self, path: str, settings: Settings, place: tshark.Workplace, *, plugin: bool) -> None:
        self.plugin = plugin
        self._path = path
        self._settings = settings
        self._place = place
        self._carved: Carved | None = None
        self._handshakes = Handshakes(self._keep)
        self._certificates: dict[bytes, bytes] = {}
        self._sha256_of: dict[bytes, bytes] = {}
        self._downloads: list[Download] = []
        self._answers: dict[tuple[str, str], NameAnswer] = {}
        self._timed = True
        self._problems: list[tuple[int, str]] = []
        """The frame, 0 where it concerns none, and what is wrong."""

    @property
    def doubtful(self) -> bool:
        """What was left out for tshark may have mattered."""
        return self._carved is not None and bool(self._carved.doubtful)

    def run(self, source: BinaryIO, *, carved: bool) -> tshark.Outcome:
        """Run tshark over a capture, all of it or what a verdict can depend on."""
        source.seek(0)
        command = tshark.arguments(
            self._settings.tshark,
            self._place,
            fields=records.fields(plugin=self.plugin),
            display_filter=records.display_filter(plugin=self.plugin),
            decode_as=self._settings.decode_as,
        )
        run = tshark.Run(command, self._place, self._feed(source) if carved else source)
        for line in run.lines():
            try:
                row = records.parse(line, plugin=self.plugin)
            except ValueError as error:
                self._complain(0, f"a line of tshark's could not be read ({error}); please report it")
                continue
            self._take(row)
        outcome = run.outcome()
        if outcome.uncounted:
            source.seek(0)
            run = tshark.Run(tshark.counting(command), self._place, self._feed(source) if carved else source)
            outcome = outcome._replace(packets=sum(1 for _ in run.lines()))
        return self._completed(outcome)

    def _feed(self, source: BinaryIO) -> Callable[[IO[bytes]], None]:
        def feed(pipe: IO[bytes]) -> None:
            try:
                self._carved = carve(
                    cast("Readable", decompressed(source)), pipe.write, keys=self._settings.keylog is not None
                )
            except (EOFError, zlib.error):
                self._complain(0, "the compressed file is cut short or damaged; what came before it was read")
            except OSError as error:
                if not isinstance(error, BrokenPipeError):
                    self._complain(0, f"the file could not be read to its end ({error.strerror or error})")

        return feed

    def _completed(self, outcome: tshark.Outcome) -> tshark.Outcome:
        """Add what the first pass knows of the capture: how many packets it has, and how it ends."""
        carved = self._carved
        if carved is None or outcome.missing_fields:
            return outcome
        passed = len(carved.frames)
        if outcome.status == "complete" and outcome.packets < passed:
            error = f"tshark read {outcome.packets} of the {passed} packets that it was given"
            return outcome._replace(status="truncated", packets=carved.packets, error=error, failed=True)
        packets = carved.packets + max(outcome.packets - passed, 0)
        if outcome.status == "complete" and carved.status != "complete":
            return outcome._replace(status=carved.status, packets=packets, error=carved.error)
        return outcome._replace(packets=packets)

    def _frame_of(self, passed: int) -> int:
        """From the number of a frame that tshark was given to its number in the capture."""
        return passed if self._carved is None else self._carved.frame(passed)

    def _complain(self, frame: int, message: str) -> None:
        self._problems.append((frame, message))

    def _take(self, row: records.Row) -> None:
        self._handshakes.add(row)
        if self._timed and not row.timed:
            self._timed = False
            self._complain(row.frame, TIMELESS)
        for name, address in row.answers:
            self._answers.setdefault((name, address), NameAnswer(name, address, row.frame, row.time))
        for found in row.downloads:
            client, server = found.client or row.destination.address, found.server or row.source.address
            self._downloads.append(Download(found.name, row.frame, row.time, client, server, found.content))
        if row.plugin_error:
            self._complain(row.frame, "the plugin failed on it; please report it with the capture")
        if row.unpaired_hashes:
            self._complain(
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
            self._complain(
                frame,
                f"certificate {record.position} is damaged and shown in part: its hash is not known",
            )
        if record.sha1 is not None:
            ours = base64.b64encode(hashlib.sha1(der, usedforsecurity=False).digest()).decode()
            if record.sha1 != ours:
                self._complain(
                    frame,
                    f"the plugin's hash {record.sha1} of certificate {record.position} is not {ours}, which "
                    "Python computes; trust neither, and please report it with the capture",
                )
        return sha256

    def observation(self, outcome: tshark.Outcome) -> Observation:
        """Return all that was seen, with the frame numbers of the capture."""
        source: HashSource = "plugin" if self.plugin else "python"
        problems = [
            f"frame {self._frame_of(f)}: {message}" if f else message for f, message in self._problems
        ]
        problems += outcome.complaints
        if outcome.error is not None:
            problems.insert(0, outcome.error)
        return Observation(
            path=self._path,
            status=outcome.status,
            packets=outcome.packets,
            error=outcome.error,
            hash_source=source,
            handshakes=self._handshakes.finish(self._frame_of),
            downloads=tuple(replace(d, frame=self._frame_of(d.frame)) for d in self._downloads),
            answers=tuple(replace(a, frame=self._frame_of(a.frame)) for a in self._answers.values()),
            certificates=self._certificates,
            problems=tuple(Problem(self._path, message) for message in problems),
            interrupted=outcome.failed,
        )
