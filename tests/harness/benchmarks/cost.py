"""Run a command, and measure what all of its processes take.

A daemon's forks are nobody's children that anybody waits for, so wait4 misses them. Where a cgroup can be
made (as root; version 2, or the controller cpuacct of version 1), it counts the processor time of all
processes. Memory is the peak of the largest process: of those that wait4 tells of, and of
those in the cgroup by their VmHWM in /proc, which is read every few milliseconds.
"""

from __future__ import annotations

import os
import select
import shlex
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_ROOT = Path("/sys/fs/cgroup")
_TICK = 5
"""Milliseconds between two looks at the memory of all processes."""


class Cost(NamedTuple):
    """The cost of one run: elapsed seconds, CPU seconds of all processes, megabytes of the largest one."""

    wall: float
    cpu: float
    memory: float


class Group:
    """A cgroup of our own for the processes of one command after another."""

    def __init__(self) -> None:
        above = _ROOT if (_ROOT / "cgroup.controllers").is_file() else _ROOT / "cpuacct"
        self._folder: Path | None = above / f"certhash-benchmark-{os.getpid()}"
        try:
            self._folder.mkdir()
        except OSError:
            self._folder = None

    @property
    def method(self) -> str:
        """How processor time is counted, in words."""
        if self._folder is None:
            return "CPU seconds by wait4, which misses what daemons fork (as root, a cgroup counts all)"
        return "CPU seconds of all processes, by a cgroup"

    def run(self, command: list[str], output: Path | None = None, most: int = 0) -> Cost:
        """Run a command to its end; its standard output goes to a file.

        Args:
            command: the command.
            output: the file.
            most: the highest exit status that is no failure.

        Raises:
            subprocess.CalledProcessError: it failed.
        """
        enter = f"echo $$ > {shlex.quote(str(self._folder / 'cgroup.procs'))}; " if self._folder else ""
        before = self._seconds()
        with (output or Path(os.devnull)).open("wb") as out:
            begun = time.perf_counter()
            process = subprocess.Popen(
                ["/bin/sh", "-c", f'{enter}exec "$@"', "sh", *command], stdout=out, stderr=subprocess.DEVNULL
            )
            largest = self._watch(process.pid)
            # Unlike Popen.wait, it reports the process and all of its waited-for children.
            _, status, used = os.wait4(process.pid, 0)
            wall = time.perf_counter() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
        if not 0 <= process.returncode <= most:
            raise subprocess.CalledProcessError(process.returncode, command)
        self._await_others()
        cpu = self._seconds() - before if self._folder else used.ru_utime + used.ru_stime
        return Cost(wall, cpu, max(largest, used.ru_maxrss) / 1024)

    def close(self) -> None:
        """Remove the cgroup."""
        if self._folder is not None:
            with suppress(OSError):
                self._folder.rmdir()

    def _seconds(self) -> float:
        if self._folder is None:
            return 0.0
        with suppress(FileNotFoundError):
            return int((self._folder / "cpuacct.usage").read_text()) / 1e9
        used = dict(line.split() for line in (self._folder / "cpu.stat").read_text().splitlines())
        return int(used["usage_usec"]) / 1e6

    def _pids(self) -> list[str]:
        return (self._folder / "cgroup.procs").read_text().split() if self._folder else []

    def _watch(self, pid: int) -> int:
        """Wait for the end of a process, and return the peak memory in kB of the largest of all."""
        largest = 0
        poll = select.poll()
        ended = os.pidfd_open(pid)
        poll.register(ended, select.POLLIN)
        while not poll.poll(_TICK):
            for each in self._pids():
                with suppress(OSError, StopIteration):
                    lines = Path(f"/proc/{each}/status").read_text("utf-8", "replace").splitlines()
                    peak = next(line for line in lines if line.startswith("VmHWM"))
                    largest = max(largest, int(peak.split()[1]))
        os.close(ended)
        return largest

    def _await_others(self) -> None:
        """Wait for what a command has killed at its end, so that the next one does not pay for it."""
        late = time.monotonic() + 10
        while self._pids() and time.monotonic() < late:
            time.sleep(0.01)
