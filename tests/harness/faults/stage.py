"""Run an audit in its own process with a misbehaving tshark, and find anything left behind."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.conftest import TOP, need
from tests.harness.waiting import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator

CAPTURES = TOP / "captures"


class Ended(NamedTuple):
    """A finished audit, and what it left behind."""

    status: int
    out: bytes
    err: str
    left_behind: list[str]
    """Temporary folders and processes that were left behind."""

    @property
    def json(self) -> Any:
        """The result."""
        return json.loads(self.out)


class Audit:
    """A running audit with its own folder for temporary files."""

    def __init__(
        self, folder: Path, *arguments: str | Path, cwd: Path | None = None, **environment: str
    ) -> None:
        self.temporary = folder / "temporary"
        self.temporary.mkdir(exist_ok=True)
        self.temporary.chmod(0o777)  # for a tshark that runs as another user
        self.process = subprocess.Popen(
            [sys.executable, "-m", "certhash", "audit", *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            cwd=cwd,
            env={
                **os.environ,
                "PYTHONPATH": str(TOP / "scripts"),
                "TMPDIR": str(self.temporary),
                "XDG_CACHE_HOME": str(folder / "cache"),
                **environment,
            },
        )

    def tsharks(self) -> list[int]:
        """Return the processes that run tshark for this audit."""
        return [pid for pid in self.processes() if _command(pid)[:1] and "-r" in _command(pid)]

    def processes(self) -> list[int]:
        """Return all other processes that use this audit's folder for temporary files."""
        mark = f"{self.temporary}".encode()
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal() and int(entry.name) not in (self.process.pid, os.getpid()):
                try:
                    if mark in (entry / "environ").read_bytes():
                        found.append(int(entry.name))
                except OSError:
                    continue
        return found

    def end(self) -> Ended:
        """Wait for the end."""
        out, err = self.process.communicate(timeout=PATIENCE)
        # A process that was just killed may not have ended yet.
        late = time.monotonic() + 10
        while time.monotonic() < late and self.processes():
            time.sleep(0.05)
        text = err.decode("utf-8", "replace")
        assert "Traceback" not in text, text
        return Ended(self.process.returncode, out, text, self.left)

    @property
    def left(self) -> list[str]:
        """Return the temporary files and the other processes that it has now."""
        commands = [" ".join(_command(pid)) for pid in self.processes()]
        return [*map(str, self.temporary.iterdir()), *commands]


def _command(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace").split("\0")[:-1]
    except OSError:
        return []


def audit(folder: Path, *arguments: str | Path, cwd: Path | None = None, **environment: str) -> Ended:
    """Run an audit, and return its result."""
    return Audit(folder, *arguments, cwd=cwd, **environment).end()


def tshark_that(folder: Path, first: str) -> Path:
    """Write a wrapper of tshark that first runs shell commands if it gets a capture."""
    path = folder / "tshark"
    tshark = shlex.quote(need("tshark"))
    path.write_text(f'#!/bin/sh\ncase "$*" in *"-r -"*) {first} ;; esac\nexec {tshark} "$@"\n')
    path.chmod(0o755)
    return path


@contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[Path | None]:
    """Mount a small file system; return None if this user may not."""
    place = folder / "disk"
    place.mkdir()
    options = f"size={kilobytes}k,mode=0777"
    if (
        os.geteuid()
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], capture_output=True, check=False
        ).returncode
    ):
        yield None
        return
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def copies(folder: Path, *names: str) -> Path:
    """Copy sample captures into a folder."""
    archive = folder / "archive"
    archive.mkdir(exist_ok=True)
    for name in names:
        shutil.copy(CAPTURES / f"{name}.pcapng", archive)
    return archive


def shifted(folder: Path, seconds: int) -> str:
    """Return the PYTHONPATH that shifts Python's clock by a number of seconds."""
    place = folder / "clock"
    place.mkdir()
    (place / "sitecustomize.py").write_text(
        "import time\n"
        "now, now_ns = time.time, time.time_ns\n"
        f"time.time = lambda: now() + {seconds}\n"
        f"time.time_ns = lambda: now_ns() + {seconds} * 10**9\n"
    )
    path = f"{place}:{TOP / 'scripts'}"
    command = [sys.executable, "-c", "import time; print(time.time())"]
    shown = subprocess.run(
        command, capture_output=True, check=True, env={**os.environ, "PYTHONPATH": path}
    ).stdout
    assert abs(float(shown) - time.time() - seconds) < PATIENCE
    return path
