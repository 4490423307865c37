"""Start the programs of Wireshark in a workplace, with limits on their resources, and end them."""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import MappingProxyType
from typing import IO, TYPE_CHECKING, BinaryIO

from certhash.capture.workplace import surroundings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from certhash.capture.workplace import Workplace

MOST_FILES = 64
"""Limit of open files; tshark needs about ten."""
LEAST_MEMORY = 2 << 30
"""Minimum address space in bytes, on any machine; tshark needs about 0.6 GB to start."""
_PIPE = 1 << 20
"""Size of a pipe in bytes; a larger one requires privileges."""
_NOTHING: Mapping[str, str] = MappingProxyType({})


def start(
    command: list[str], place: Workplace, stdin: int | BinaryIO, environment: Mapping[str, str] = _NOTHING
) -> subprocess.Popen[bytes]:
    """Start a program in a workplace, with pipes for its output; more variables go into its environment."""
    pipe = subprocess.PIPE
    how = surroundings(place)
    how["env"] |= environment
    how["start_new_session"] = False  # it stays in our process group, so that both can be killed together
    return subprocess.Popen(command, stdin=stdin, stdout=pipe, stderr=pipe, **how)


def confined(command: list[str], timeout: float | None) -> list[str]:
    """Return the command with limits on the resources of tshark.

    The limits are this machine's memory, twice the allowed time as processor time (one thread dissects, and
    others read), no written files, few open files, and no core dumps. A runaway tshark then ends by itself,
    before the system's out-of-memory killer chooses a process. Without ``prlimit`` (part of util-linux, which
    every Linux has), it runs without limits.
    """
    prlimit = shutil.which("prlimit", path=os.defpath)
    if prlimit is None or sys.platform != "linux":
        return command
    import resource

    def at_most(kind: int, wished: int) -> int:
        """Return the wished limit, or the inherited one if it is lower: more is not permitted."""
        allowed = resource.getrlimit(kind)[1]
        return wished if allowed == resource.RLIM_INFINITY else min(wished, allowed)

    memory = max(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), LEAST_MEMORY)
    limits = [f"--as={at_most(resource.RLIMIT_AS, memory)}", "--fsize=0", "--core=0"]
    limits.append(f"--nofile={at_most(resource.RLIMIT_NOFILE, MOST_FILES)}")
    if timeout is not None:
        limits.append(f"--cpu={at_most(resource.RLIMIT_CPU, 2 * math.ceil(timeout))}")
    return [prlimit, *limits, *command]


def widen(pipe: int | IO[bytes]) -> None:
    """Enlarge a pipe if the system allows it, so that the writer continues while the reader is busy."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # the system has a lower limit
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE)


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and its children: the user's tshark may be a wrapper script."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            if os.getpgid(process.pid) == process.pid:
                os.killpg(process.pid, signal.SIGKILL)
            else:
                _kill_tree(process.pid)


def _kill_tree(pid: int) -> None:
    """Kill a process and all its descendants: a remaining one would keep our pipes open and block us."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)  # so that it cannot start more processes meanwhile
        for task in Path(f"/proc/{pid}/task").glob("*/children"):  # on systems that provide it
            with contextlib.suppress(OSError):
                for child in task.read_text("ascii").split():
                    _kill_tree(int(child))
        os.kill(pid, signal.SIGKILL)
