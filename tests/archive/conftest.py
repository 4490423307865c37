"""What the tests of the archive share: a tshark that tells how often it ran, and may be made to fail."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conftest import need

if TYPE_CHECKING:
    from pathlib import Path

STUB = """#!/bin/sh
case "$1" in --version) exec {tshark} --version;; esac
echo $$ >> {folder}/runs
{before}
exec {tshark} "$@"
"""


class Counted:
    """A tshark that notes each capture that it reads.

    Args:
        folder: for its files; everybody may reach it, since tshark runs as another user where we are root.
        before: shell commands that it runs first; ``{folder}`` in it is the folder.
    """

    def __init__(self, folder: Path, before: str = "") -> None:
        self.folder = folder
        self.path = folder / "tshark"
        self._runs = folder / "runs"
        self._runs.touch()
        self._runs.chmod(0o666)
        text = STUB.format(tshark=need("tshark"), folder=folder, before=before.format(folder=folder))
        self.path.write_text(text)
        self.path.chmod(0o755)
        folder.chmod(0o777)
        for parent in folder.parents[:-2]:
            parent.chmod(parent.stat().st_mode | 0o055)

    @property
    def pids(self) -> list[int]:
        """The process of each capture that it was given."""
        return [int(line) for line in self._runs.read_text().splitlines()]

    @property
    def runs(self) -> int:
        """How many captures it was given since it was last asked."""
        count = len(self._runs.read_text().splitlines())
        self._runs.write_text("")
        return count


@pytest.fixture
def counted(tmp_path: Path) -> Counted:
    """Give the tshark that counts its runs."""
    folder = tmp_path / "counted"
    folder.mkdir()
    return Counted(folder)
