"""Fixtures for the archive tests: a tshark that counts its runs and can be made to fail."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path
from shlex import quote

import pytest

from tests.conftest import need

# tshark may not write files under certhash, but it may create a folder, which records a run as well.
STUB = """#!/bin/sh
case "$1" in --version) exec {tshark} --version;; esac
mkdir {folder}/runs/$$
{before}
exec {tshark} "$@"
"""


class Counted:
    """A tshark that records each capture that it reads.

    Args:
        before: shell commands that it runs first; ``{folder}`` in it is its folder.
    """

    def __init__(self, before: str = "") -> None:
        # Accessible to all users, unlike pytest's folders: under root, tshark runs as another user.
        self.folder = Path(tempfile.mkdtemp(prefix="counting-"))
        atexit.register(shutil.rmtree, self.folder, ignore_errors=True)
        self.folder.chmod(0o777)
        self.path = self.folder / "tshark"
        self._runs = self.folder / "runs"
        self._runs.mkdir()
        self._runs.chmod(0o777)
        before = before.format(folder=quote(str(self.folder)))
        self.path.write_text(
            STUB.format(tshark=need("tshark"), folder=quote(str(self.folder)), before=before)
        )
        self.path.chmod(0o755)

    @property
    def pids(self) -> list[int]:
        """Return the process id of each run, in order."""
        return [int(run.name) for run in sorted(self._runs.iterdir(), key=lambda run: run.stat().st_ctime_ns)]

    @property
    def runs(self) -> int:
        """Return the number of captures that it was given since the last call."""
        runs = list(self._runs.iterdir())
        for run in runs:
            run.rmdir()
        return len(runs)


@pytest.fixture
def counted() -> Counted:
    """Return a tshark that counts its runs."""
    return Counted()
