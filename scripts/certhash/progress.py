"""What a person at a terminal sees while captures are read; nothing of it is part of the result."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from certhash.audit import Watcher
from certhash.evidence import CERTIFICATE_ALERTS
from certhash.report.text import count, visible

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from certhash.model import Observation


class Console(Watcher):
    """Notes on standard error, and a bar where that is a terminal.

    Args:
        quiet: say nothing at all.
    """

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._captures = 0
        self._read = 0
        self._handshakes = 0
        self._refused = 0

    def note(self, line: str) -> None:
        """Print the line on standard error."""
        if not self._quiet:
            print(f"certhash: {visible(line)}", file=sys.stderr)

    def begin(self, captures: tuple[str, ...]) -> None:
        """Show the bar; its length is the captures' bytes."""
        self._captures = len(captures)
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
            auto_refresh=False,  # no thread: workers are forked while the bar stands
        )
        self._task = self._bar.add_task(self._words(), total=sum(map(_size, captures)))
        self._bar.start()
        self._bar.refresh()

    def observed(self, observation: Observation) -> None:
        """Move the bar on by one capture."""
        self._read += 1
        self._handshakes += len(observation.handshakes)
        self._refused += sum(
            alert.sender == "client" and alert.level == "fatal" and alert.code in CERTIFICATE_ALERTS
            for handshake in observation.handshakes
            for alert in handshake.alerts
        )
        if self._bar is not None and self._task is not None:
            self._bar.update(
                self._task, advance=_size(observation.path), description=self._words(), refresh=True
            )

    def end(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()

    def _words(self) -> str:
        return (
            f"{self._read:,} of {count(self._captures, 'capture')}, {count(self._handshakes, 'handshake')}, "
            f"{self._refused:,} refused"
        )


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size  # noqa: PTH116 - a path may be bytes that are no UTF-8
    except OSError:
        return 0
