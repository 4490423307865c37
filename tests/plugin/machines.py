"""The places where the plugin is tested: this machine's tshark, and Debian 13's with Lua 5.4.

In both, tshark runs as an unprivileged user: from version 4.4 on it loads no Lua for root.  Each test session
has a folder in each place that this user may read, with a copy of the plugin, and a home folder without any
configuration.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
PLUGIN = TOP / "plugin"
NOBODY = "nobody"


def copy_plugin(target: Path) -> Path:
    """Copy the plugin into ``target``, readable to all; return the copy of ``certhash.lua``."""
    target.mkdir(parents=True, exist_ok=True)
    shutil.copytree(PLUGIN, target, dirs_exist_ok=True)
    for path in [target, *target.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    return target / "certhash.lua"


@dataclass(frozen=True)
class Machine:
    """A place with a tshark.  ``root`` is its root folder, where that is not this machine's own."""

    name: str
    folder: Path
    root: Path | None = None

    @property
    def plugin(self) -> Path:
        """The plugin's main file, as this machine's programs are told of it."""
        return self.inside(self.folder / "plugin" / "certhash.lua")

    @property
    def home(self) -> Path:
        """The test user's home folder, as seen from outside."""
        return self.folder / "home"

    def inside(self, path: Path) -> Path:
        """Return how programs of this machine name a file."""
        return Path("/") / path.relative_to(self.root) if self.root else path

    def put(self, name: str, content: bytes) -> Path:
        """Write a file that this machine's programs may read; return it as they name it."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(0o644)
        return self.inside(path)

    def start(
        self, *arguments: str | Path, environment: dict[str, str] | None = None, folder: Path | None = None
    ) -> subprocess.Popen[str]:
        """Start a program here, as the unprivileged user; the process is the program itself."""
        variables = {
            "HOME": str(self.inside(self.home)),
            "PATH": "/usr/bin:/bin:/usr/sbin:/sbin",
            "LC_ALL": "C.UTF-8",
            **(environment or {}),
        }
        given = [f"{name}={value}" for name, value in variables.items()]
        start = str(self.inside(folder or self.folder))
        command = ["env", "-i", "-C", start, *given, *map(str, arguments)]
        if self.root:
            command = ["chroot", f"--userspec={NOBODY}:nogroup", str(self.root), *command]
            if os.geteuid() != 0:
                command = ["sudo", "-n", *command]
        user = NOBODY if os.geteuid() == 0 and not self.root else None
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            cwd="/",
            user=user,
            group=pwd.getpwnam(NOBODY).pw_gid if user else None,
            extra_groups=[] if user else None,
        )

    def run(
        self, *arguments: str | Path, environment: dict[str, str] | None = None, folder: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a program here, as the unprivileged user; fail on nothing, return all that it said."""
        with self.start(*arguments, environment=environment, folder=folder) as process:
            try:
                output, errors = process.communicate(timeout=300)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        return subprocess.CompletedProcess(process.args, process.returncode, output, errors)

    def tshark(self, capture: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Read a capture (named as ``put`` returned it) with the plugin."""
        return self.run("tshark", "-n", "-r", capture, "-X", f"lua_script:{self.plugin}", *arguments)

    def fields(self, capture: Path, *names: str, options: tuple[str, ...] = ()) -> list[dict[str, list[str]]]:
        """Return, per frame that has one of these fields, all their values; no Lua error may occur.

        Values are told apart by a character that no test puts into one.
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


def machine(name: str, root: Path | None) -> Machine:
    """Prepare a folder on a machine for one test session."""
    parent = (root / "tmp") if root else Path(tempfile.gettempdir())
    folder = Path(tempfile.mkdtemp(prefix="certhash-", dir=parent))
    folder.chmod(0o755)
    copy_plugin(folder / "plugin")
    made = Machine(name, folder, root)
    made.home.mkdir()
    made.home.chmod(0o777)
    return made
