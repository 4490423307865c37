"""Fixtures for the archive tests: a tshark that counts its runs and can be made to fail."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path

import pytest

from tests.conftest import need

# certhash lets tshark write no file; that a folder is there tells of a run just as well.
STUB = """#!/bin/sh
case "$1" in --version) exec {tshark} --version;; esac
mkdir {folder}/runs/$$
{before}
exec {tshark} "$@"
"""


class Counted:
    """A tshark that notes each capture that it reads.

    Args:
        before: shell commands that it runs first; ``{folder}`` in it is its folder.
    """

    def __init__(self, before: str = "") -> None:
        # Everybody may reach it, unlike pytest's folders: where we are root, tshark runs as another user.
        self.folder = Path(tempfile.mkdtemp(prefix="counting-"))
        atexit.register(shutil.rmtree, self.folder, ignore_errors=True)
        self.folder.chmod(0o777)
        self.path = self.folder / "tshark"
        self._runs = self.folder / "runs"
        self._runs.mkdir()
        self._runs.chmod(0o777)
        before = before.format(folder=self.folder)
        self.path.write_text(STUB.format(tshark=need("tshark"), folder=self.folder, before=before))
        self.path.chmod(0o755)

    @property
    def pids(self) -> list[int]:
        """The process of each capture that it was given, in order."""
        return [int(run.name) for run in sorted(self._runs.iterdir(), key=lambda run: run.stat().st_ctime_ns)]

    @property
    def runs(self) -> int:
        """How many captures it was given since this was last asked."""
        runs = list(self._runs.iterdir())
        for run in runs:
            run.rmdir()
        return len(runs)


@pytest.fixture
def counted() -> Counted:
    """Give the tshark that counts its runs."""
    return Counted()
