"""A tshark and a sharkd that note each of their starts."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path

from tests.conftest import need

# certhash lets neither write a file; that a folder is there tells of a start just as well.
_SCRIPT = """#!/bin/sh
mkdir "{starts}/$(date +%s%N) {name} ${{1%%/*}}"
exec {program} "$@"
"""


class Programs:
    """A folder with both, laid out as they are installed."""

    def __init__(self) -> None:
        # Everybody may reach it, unlike pytest's folders: where we are root, both run as another user.
        self.folder = Path(tempfile.mkdtemp(prefix="programs-"))
        atexit.register(shutil.rmtree, self.folder, ignore_errors=True)
        self.folder.chmod(0o755)
        installed = Path(need("tshark")).resolve().parents[1]
        for name in ("lib", "share"):
            (self.folder / name).symlink_to(installed / name)
        self._starts = self.folder / "starts"
        self._starts.mkdir()
        self._starts.chmod(0o777)
        (self.folder / "bin").mkdir()
        for name in ("tshark", "sharkd"):
            script = self.folder / "bin" / name
            program = installed / "bin" / name
            script.write_text(_SCRIPT.format(starts=self._starts, name=name, program=program))
            script.chmod(0o755)
        self.tshark = self.folder / "bin" / "tshark"

    @property
    def starts(self) -> list[str]:
        """The programs that were started since this was last asked, in order, with their first arguments."""
        found = sorted(self._starts.iterdir())
        for each in found:
            each.rmdir()
        return [each.name.partition(" ")[2] for each in found]

    @property
    def running(self) -> list[int]:
        """The processes of sharkd that were started by this one and still run."""
        mark = f"{self.folder}/bin/sharkd".encode()
        found = []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdecimal() and mark in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
        return found
