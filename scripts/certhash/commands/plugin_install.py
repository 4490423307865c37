"""Install, remove and check the Wireshark plugin and its profile.

The tshark of each Wireshark tells where it looks for plugins (``-G folders``) and what it loads
(``-G plugins``). Nothing is guessed from the operating system.

The profile contains a marker file that Wireshark ignores. A profile named ``certhash`` without the marker is
the user's own, and is never changed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from certhash.errors import InputError

MAIN = "certhash.lua"
MODULES = "certhash"
PROFILE = "certhash"
MARKER = ".installed-by-certhash"
TIMEOUT = 60  # seconds; a first start may have to build a font cache

_FOLDER = re.compile(r"^(?P<name>[A-Z][A-Za-z ]+?):\s+(?P<path>.+?)\s*$")
_VERSION = re.compile(r"\b(\d+\.\d+(?:\.\d+)?)")


@dataclass(frozen=True)
class Copy:
    """A copy of the plugin in a folder that Wireshark searches."""

    path: Path
    version: str
    loaded: bool
    """Whether Wireshark loads it: of several copies, it silently loads the first it finds."""


@dataclass(frozen=True)
class Wireshark:
    """One Wireshark on this machine, as its tshark describes it."""

    command: tuple[str, ...]
    """The command of its tshark: a path, or ``flatpak run ...``."""
    version: str
    plugins: Path
    """The folder for the user's Lua plugins."""
    configuration: Path
    """The user's configuration folder, which contains ``profiles``."""
    copies: tuple[Copy, ...]
    complaint: str | None
    """Its error message about the plugin, if there is one."""

    @property
    def profile(self) -> Path:
        """The folder of the profile."""
        return self.configuration / "profiles" / PROFILE

    @property
    def name(self) -> str:
        """Its name in messages."""
        return f"Wireshark {self.version} ({' '.join(self.command)})"


def find_all(given: str | None = None) -> list[Wireshark]:
    """Return every Wireshark on this machine, or the one whose tshark is ``given``.

    Raises:
        InputError: there is none, or ``given`` does not work.
    """
    if given is not None:
        path = shutil.which(given)
        if path is None:
            raise InputError(f"{given}: no such program; give the path of a tshark with --tshark")
        return [ask((path,))]
    found: list[Wireshark] = []
    problems: list[str] = []
    for command in _commands():
        try:
            found.append(ask(command))
        except InputError as error:
            problems.append(str(error))
    if not found:
        raise InputError(
            problems[0]
            if problems
            else "tshark: not found; install Wireshark, or give the path of its tshark with --tshark"
        )
    return found


def _commands() -> list[tuple[str, ...]]:
    """Return the commands of all tsharks on this machine, each once."""
    name = "tshark.exe" if os.name == "nt" else "tshark"
    folders = [Path(part) for part in os.environ.get("PATH", "").split(os.pathsep) if part]
    folders += [
        Path(os.environ[variable]) / "Wireshark"
        for variable in ("ProgramFiles", "ProgramFiles(x86)")
        if variable in os.environ
    ]
    folders.append(Path("/Applications/Wireshark.app/Contents/MacOS"))
    commands: dict[str, tuple[str, ...]] = {}
    for folder in folders:
        # Only absolute folders: a relative one depends on the current folder, where a file may be planted.
        program = folder / name
        if folder.is_absolute() and program.is_file() and os.access(program, os.X_OK):
            commands.setdefault(os.path.realpath(program), (str(program),))
    flatpak = shutil.which("flatpak")
    if flatpak and answer(flatpak, "info", "org.wireshark.Wireshark").returncode == 0:
        commands["flatpak"] = (flatpak, "run", "--command=tshark", "org.wireshark.Wireshark")
    return list(commands.values())


def answer(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a program as this user, and return its output; the exit status is -1 if it cannot be run."""
    try:
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return subprocess.CompletedProcess(command, -1, "", str(error))


def ask(command: tuple[str, ...]) -> Wireshark:
    """Return version, folders and loaded plugins of a tshark.

    Raises:
        InputError: it does not behave like tshark.
    """
    program = " ".join(command)
    questions = ("--version",), ("-G", "folders"), ("-G", "plugins")
    version, folders, plugins = (answer(*command, *question) for question in questions)
    number = _VERSION.search(version.stdout)
    if number is None or any(each.returncode for each in (version, folders, plugins)):
        raise InputError(f"{program}: does not work as tshark; give the path of another one with --tshark")
    paths = {
        found["name"]: found["path"] for line in folders.stdout.splitlines() if (found := _FOLDER.match(line))
    }
    lua = paths.get("Personal Lua Plugins") or paths.get("Personal Plugins")
    configuration = paths.get("Personal configuration")
    if lua is None or configuration is None:
        raise InputError(f"{program}: does not print its plugin folder (tshark -G folders); update Wireshark")
    copies = {}
    for line in plugins.stdout.splitlines():
        cells = line.rstrip().split("\t")
        # "lua script" until Wireshark 4.4, "Lua script" from 4.6 on
        if len(cells) > 3 and cells[2].strip().lower() == "lua script" and Path(cells[3]).name == MAIN:  # noqa: PLR2004
            copies[Path(cells[3])] = Copy(Path(cells[3]), cells[1].strip(), loaded=True)
    for name in (lua, paths.get("Global Lua Plugins"), os.path.join(configuration, "plugins")):  # noqa: PTH118
        for path in Path(name).rglob(MAIN) if name else ():
            version_there = installed_version(path.parent)
            if version_there is not None:
                copies.setdefault(path, Copy(path, version_there, loaded=False))
    ours = [line for line in plugins.stderr.splitlines() if MODULES in line.lower()]
    return Wireshark(
        command,
        number[1],
        Path(lua),
        Path(configuration),
        tuple(copies.values()),
        ours[0].strip() if ours else None,
    )


def loads_no_lua(wireshark: Wireshark) -> bool:
    """Return whether Wireshark loads no Lua because it runs as root (from version 4.4, silently)."""
    numbers = tuple(int(part) for part in wireshark.version.split("."))
    return numbers >= (4, 4) and hasattr(os, "geteuid") and os.geteuid() == 0


# ---------------------------------------------------------------- install


def install(wireshark: Wireshark, source: Path, version: str) -> list[str]:
    """Copy plugin and profile from ``source``; return what was done, one line each.

    Raises:
        InputError: another plugin is in the way, or a file cannot be written.
    """
    main, modules = wireshark.plugins / MAIN, wireshark.plugins / MODULES
    if (main.exists() or modules.exists()) and installed_version(wireshark.plugins) is None:
        raise InputError(
            f"{main if main.exists() else modules}: in the way, and not certhash's plugin; move it away"
        )
    said = []
    try:
        if _same(source, wireshark.plugins):
            said.append(f"{main}: {version} is already installed")
        else:
            old = installed_version(wireshark.plugins)
            _remove_plugin(wireshark.plugins)
            modules.mkdir(parents=True)
            for path in plugin_files(source):
                shutil.copyfile(path, wireshark.plugins / path.relative_to(source))
            said.append(f"{main}: installed {version}" + (f" in place of {old}" if old else ""))
        said.append(_install_profile(wireshark, source / "profile" / PROFILE))
    except OSError as error:
        raise InputError(
            f"{error.filename or wireshark.plugins}: cannot be written ({error.strerror})"
        ) from error
    return said


def plugin_files(folder: Path) -> list[Path]:
    """Return the files of the plugin in a folder."""
    return [folder / MAIN, *sorted((folder / MODULES).glob("*.lua"))]


def installed_version(folder: Path) -> str | None:
    """Return the version of the plugin in a folder, or None."""
    try:
        text = (folder / MODULES / "version.lua").read_text("utf-8", "replace")
        main = (folder / MAIN).read_text("utf-8", "replace")
    except OSError:
        return None
    found = re.search(r'version\s*=\s*"([^"]+)"', text)
    return found[1] if found and 'Proto("certhash"' in main else None


def _same(source: Path, target: Path) -> bool:
    """Return whether two folders contain the same plugin, byte for byte."""
    try:
        one = {path.relative_to(source): path.read_bytes() for path in plugin_files(source)}
        two = {path.relative_to(target): path.read_bytes() for path in plugin_files(target)}
    except OSError:
        return False
    return one == two


def _install_profile(wireshark: Wireshark, source: Path) -> str:
    target = wireshark.profile
    if target.exists():
        if not (target / MARKER).exists():
            return f"{target}: your own profile, not changed"
        # Wireshark stores the user's columns and sizes in a profile that is in use: keep them.
        return f"{target}: the profile is already installed, not changed"
    target.mkdir(parents=True)
    for path in sorted(source.iterdir()):
        shutil.copyfile(path, target / path.name)
    (target / MARKER).write_text(
        "Created by certhash plugin install; certhash plugin uninstall removes it.\n", "utf-8"
    )
    return f"{target}: installed; select it under Edit > Configuration Profiles"


# ---------------------------------------------------------------- uninstall


def uninstall(wireshark: Wireshark) -> list[str]:
    """Remove plugin, profile and folders that become empty; return what was done, one line each.

    Raises:
        InputError: something cannot be removed.
    """
    said = []
    try:
        if installed_version(wireshark.plugins) is not None:
            _remove_plugin(wireshark.plugins)
            _remove_empty(wireshark.plugins, wireshark.plugins.parent)
            said.append(f"{wireshark.plugins / MAIN}: removed")
        profile = wireshark.profile
        if (profile / MARKER).exists():
            shutil.rmtree(profile)
            _remove_empty(profile.parent, wireshark.configuration)
            said.append(f"{profile}: removed")
        elif profile.exists():
            said.append(f"{profile}: your own profile, not removed")
    except OSError as error:
        raise InputError(f"{error.filename}: cannot be removed ({error.strerror})") from error
    return said or [f"{wireshark.plugins}: certhash is not installed"]


def _remove_plugin(folder: Path) -> None:
    if (folder / MODULES).is_symlink():  # a link into a source tree: remove only the link
        (folder / MODULES).unlink()
    for path in plugin_files(folder):
        path.unlink(missing_ok=True)
    _remove_empty(folder / MODULES)


def _remove_empty(*folders: Path) -> None:
    """Remove folders from the innermost outwards, as far as they are empty."""
    for folder in folders:
        try:
            folder.rmdir()
        except OSError:
            return


# ---------------------------------------------------------------- status


@dataclass(frozen=True)
class State:
    """The status of the plugin in one Wireshark."""

    lines: tuple[str, ...]
    good: bool


def state(wireshark: Wireshark, version: str) -> State:
    """Return whether the plugin is installed once, in this version, and loads."""
    lines = [f"plugin: {copy.path}, version {copy.version or 'unknown'}" for copy in wireshark.copies]
    if (wireshark.profile / MARKER).exists():
        lines.append(f"profile: {wireshark.profile}")
    elif wireshark.profile.exists():
        lines.append(f"profile: {wireshark.profile} (your own)")
    else:
        lines.append("profile: not installed")
    problems = _problems(wireshark, version)
    return State((*lines, *(f"problem: {text}" for text in problems)), good=not problems)


def _problems(wireshark: Wireshark, version: str) -> list[str]:
    """Return what is wrong, and what to do about it."""
    copies = wireshark.copies
    if not copies:
        return ["the plugin is not installed; run certhash plugin install"]
    problems = []
    if not any(copy.loaded for copy in copies):
        if loads_no_lua(wireshark):
            problems.append("Wireshark loads no Lua for root; run certhash as the user of Wireshark")
        else:
            problems.append(f"the plugin does not load: {wireshark.complaint or 'is Lua disabled?'}")
    elif wireshark.complaint:
        problems.append(f"the plugin reports an error: {wireshark.complaint}")
    if len(copies) > 1:
        others = ", ".join(str(copy.path) for copy in copies if copy.path != wireshark.plugins / MAIN)
        problems.append(f"{len(copies)} copies are installed, and Wireshark loads only one; remove {others}")
    problems += [
        f"the plugin is version {found or 'unknown'}, but certhash is {version}; run certhash plugin install"
        for found in sorted({copy.version for copy in copies})
        if found != version
    ]
    return problems
