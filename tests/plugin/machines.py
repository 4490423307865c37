"""Run the plugin in this machine's Wireshark, and in other versions with other versions of Lua.

As root, tests run Wireshark as an unprivileged user, because from version 4.4 on it loads no Lua for root.
Each test session has a folder for each version, which this user can read, with a copy of the plugin, and a
home folder without any configuration.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.harness import wiresharks

TOP = Path(__file__).resolve().parents[2]
PLUGIN = TOP / "plugin"
NOBODY = "nobody"


def copy_plugin(target: Path) -> Path:
    """Copy the plugin to ``target``, readable by all users; return the copy of ``certhash.lua``."""
    target.mkdir(parents=True, exist_ok=True)
    shutil.copytree(PLUGIN, target, dirs_exist_ok=True)
    for path in [target, *target.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    return target / "certhash.lua"


@dataclass(frozen=True)
class Machine:
    """A Wireshark and its folder.  ``programs`` is the folder of its programs; None for this machine's."""

    name: str
    folder: Path
    programs: Path | None = None

    @property
    def plugin(self) -> Path:
        """The plugin's main file."""
        return self.folder / "plugin" / "certhash.lua"

    @property
    def home(self) -> Path:
        """The test user's home folder."""
        return self.folder / "home"

    def put(self, name: str, content: bytes) -> Path:
        """Write a file that the test user may read; return its path."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(0o644)
        return path

    def start(
        self, *arguments: str | Path, environment: dict[str, str] | None = None, folder: Path | None = None
    ) -> subprocess.Popen[str]:
        """Start a program in the folder, as the unprivileged user; the process is the program itself."""
        variables = {
            "HOME": str(self.home),
            "PATH": ":".join(filter(None, [str(self.programs or ""), "/usr/bin:/bin:/usr/sbin:/sbin"])),
            "LC_ALL": "C.UTF-8",
            **(environment or {}),
        }
        given = [f"{name}={value}" for name, value in variables.items()]
        command = ["env", "-i", *given, *map(str, arguments)]
        user = NOBODY if os.geteuid() == 0 else None
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            cwd=folder or self.folder,
            user=user,
            group=pwd.getpwnam(NOBODY).pw_gid if user else None,
            extra_groups=[] if user else None,
        )

    def run(
        self, *arguments: str | Path, environment: dict[str, str] | None = None, folder: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a program in the folder, as the unprivileged user; return its result, whatever its status."""
        with self.start(*arguments, environment=environment, folder=folder) as process:
            try:
                output, errors = process.communicate(timeout=300)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        return subprocess.CompletedProcess(process.args, process.returncode, output, errors)

    def tshark(self, capture: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Read a capture (named as ``put`` returned it) with the plugin, and without tables of names."""
        command = ("tshark", "-n", "-r", capture, "-X", f"lua_script:{self.plugin}", *arguments)
        return self.run(*command, environment={} if self.programs else wiresharks.without_names())

    def fields(self, capture: Path, *names: str, options: tuple[str, ...] = ()) -> list[dict[str, list[str]]]:
        """Return all values of these fields for each frame that has one; fail on a Lua error.

        The separator of the values is a character that no value contains.
        """
        asked = ["frame.number", *names, "_ws.lua.error"]
        columns = [part for name in asked for part in ("-e", name)]
        done = self.tshark(
            capture, "-T", "fields", "-E", "aggregator=\x1f", "-E", "separator=\x1e", *columns, *options
        )
        assert done.returncode == 0, done.stderr
        rows = []
        for line in done.stdout.split("\n")[:-1]:
            values = line.split("\x1e")
            assert len(values) == len(asked), f"{line!r}\n{done.stderr}"
            row = {
                name: value.split("\x1f") if value else [] for name, value in zip(asked, values, strict=True)
            }
            assert not row.pop("_ws.lua.error"), f"frame {row['frame.number']}: a Lua error"
            if any(value for name, value in row.items() if name != "frame.number"):
                rows.append(row)
        assert "Lua" not in done.stderr, done.stderr
        return rows


def machine(name: str, programs: Path | None) -> Machine:
    """Prepare a folder for one test session with a Wireshark."""
    folder = Path(tempfile.mkdtemp(prefix="certhash-"))
    folder.chmod(0o755)
    copy_plugin(folder / "plugin")
    made = Machine(name, folder, programs)
    made.home.mkdir()
    made.home.chmod(0o777)
    return made
