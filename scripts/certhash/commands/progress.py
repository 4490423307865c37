"""Show progress on the terminal while captures are read; not part of the result."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from certhash.archive.read import Listener
from certhash.judgement.correlate import unjudged
from certhash.judgement.document import Capture, Tool
from certhash.judgement.evidence import CERTIFICATE_ALERTS
from certhash.report import ndjson
from certhash.report.output import to_standard_output
from certhash.report.text import count, visible
from certhash.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.progress import Progress, TaskID

    from certhash.capture.tshark import Tshark
    from certhash.judgement.document import Document
    from certhash.model import HashSource, Observation, Problem


class Console(Listener):
    """Print notes on standard error, and a progress bar if it is a terminal.

    Args:
        quiet: print nothing.
    """

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._captures = 0
        self._finished = 0
        """Bytes of the captures that are done."""
        self._read = 0
        self._handshakes = 0
        self._refused = 0

    def note(self, line: str) -> None:
        """Print the line on standard error."""
        if not self._quiet:
            print(f"certhash: {visible(line)}", file=sys.stderr)

    def begin(self, captures: Sequence[str]) -> None:
        """Show the bar; its total is the size of all captures."""
        self._captures = self._read + len(captures)
        if self._quiet or not sys.stderr.isatty() or not captures:
            return
        from rich import progress
        from rich.console import Console as Terminal

        self._bar = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.DownloadColumn(),
            progress.TransferSpeedColumn(),
            progress.TimeRemainingColumn(),
            console=Terminal(stderr=True),
            transient=True,
            auto_refresh=False,  # no thread: workers are forked while the bar is shown
        )
        self._task = self._bar.add_task(self._words(), total=sum(map(_size, captures)))
        self._bar.start()
        self._bar.refresh()

    def observed(self, observation: Observation) -> None:
        """Count one more capture."""
        self._read += 1
        self._handshakes += len(observation.handshakes)
        self._refused += sum(
            alert.sender == "client" and alert.level == "fatal" and alert.code in CERTIFICATE_ALERTS
            for handshake in observation.handshakes
            for alert in handshake.alerts
        )
        if self._bar is not None:
            self._finished += _size(observation.path)
            self._show(self._finished)

    def under_way(self, count: int) -> None:
        """Move the bar within a capture."""
        self._show(self._finished + count)

    def _show(self, completed: int) -> None:
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=completed, description=self._words(), refresh=True)

    def end(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.stop()

    def _words(self) -> str:
        return (
            f"{self._read:,} of {count(self._captures, 'capture')}, {count(self._handshakes, 'handshake')}, "
            f"{self._refused:,} rejected"
        )


class Lines(Console):
    """Also write NDJSON lines on standard output as soon as each capture is read."""

    def __init__(self, used: Tshark, *, quiet: bool) -> None:
        super().__init__(quiet=quiet)
        self._tshark = used
        self._started = False
        self._told: set[Problem] = set()

    def observed(self, observation: Observation) -> None:
        """Write the handshakes of one capture; the verdicts follow at the end."""
        super().observed(observation)
        self._start(observation.hash_source)
        for handshake in unjudged(observation):
            to_standard_output(ndjson.event("handshake", handshake))
        seen = observation
        status = Capture(seen.path, seen.status, seen.packets, seen.error, seen.notes)
        to_standard_output(ndjson.event("capture", status))
        self._problems(observation.problems)

    def finish(self, result: Document) -> None:
        """Write the lines that are known only at the end."""
        self._start(result.tool.hash_source)
        self._problems(result.problems)
        for line in ndjson.end(result):
            to_standard_output(line)

    def _problems(self, problems: Iterable[Problem]) -> None:
        for problem in problems:
            if problem not in self._told:
                self._told.add(problem)
                to_standard_output(ndjson.event("problem", problem))

    def _start(self, source: HashSource) -> None:
        if not self._started:
            self._started = True
            tool = Tool(__version__, self._tshark.version, self._tshark.lua, source)
            to_standard_output(ndjson.start(tool))


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size  # noqa: PTH116 - a path may hold bytes that are not UTF-8
    except OSError:
        return 0
