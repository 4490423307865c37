"""Where the Wireshark plugin and its profile lie on this machine: putting them there, taking them away.

Every Wireshark is asked itself, through its tshark: ``-G folders`` says where it looks, ``-G plugins`` what
it loads. Nothing is guessed from the operating system.

A profile named ``certhash`` that this module did not make is a user's own and is never touched; one that it
made has a marker in it, a file that Wireshark passes over.
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
    """A copy of the plugin where a Wireshark looks."""

    path: Path
    version: str
    loaded: bool
    """Of several copies Wireshark loads one, the first that it comes upon, without a word."""


@dataclass(frozen=True)
class Wireshark:
    """One Wireshark of this machine, as its tshark answered."""

    command: tuple[str, ...]
    """How its tshark is started: one path, or ``flatpak run ...``."""
    version: str
    plugins: Path
    """Where it looks for a user's own Lua plugins."""
    configuration: Path
    """The user's configuration folder, with ``profiles`` in it."""
    copies: tuple[Copy, ...]
    complaint: str | None
    """What it said on loading, if anything of ours went wrong."""

    @property
    def profile(self) -> Path:
        """The folder of the profile."""
        return self.configuration / "profiles" / PROFILE

    @property
    def name(self) -> str:
        """What to call it in a message."""
        return f"Wireshark {self.version} ({' '.join(self.command)})"


def find_all(given: str | None = None) -> list[Wireshark]:
    """Return every Wireshark of this machine, or the one whose tshark is ``given``.

    Raises:
        InputError: there is none, or the one that was named does not answer.
    """
    if given is not None:
        path = shutil.which(given)
        if path is None:
            raise InputError(f"{given}: no such program; name the tshark of a Wireshark with --tshark")
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
            else "no tshark found: install Wireshark, or name its tshark with --tshark"
        )
    return found


def _commands() -> list[tuple[str, ...]]:
    """List how the tsharks of this machine are started, each once."""
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
        # Only absolute folders: one that depends on where we stand may be anybody's.
        program = folder / name
        if folder.is_absolute() and program.is_file() and os.access(program, os.X_OK):
            commands.setdefault(os.path.realpath(program), (str(program),))
    flatpak = shutil.which("flatpak")
    if flatpak and _says([flatpak, "info", "org.wireshark.Wireshark"]) is not None:
        commands["flatpak"] = (flatpak, "run", "--command=tshark", "org.wireshark.Wireshark")
    return list(commands.values())


def _says(command: list[str]) -> subprocess.CompletedProcess[str] | None:
    """Run a program that only tells something; None where it cannot."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done if done.returncode == 0 else None


def ask(command: tuple[str, ...]) -> Wireshark:
    """Ask a tshark for its version, its folders and what it loads.

    Raises:
        InputError: it does not answer as tshark does.
    """
    program = " ".join(command)
    version, folders, plugins = (
        _says([*command, *question]) for question in (["--version"], ["-G", "folders"], ["-G", "plugins"])
    )
    number = _VERSION.search(version.stdout) if version else None
    if number is None or folders is None or plugins is None:
        raise InputError(f"{program}: does not answer as tshark; name another with --tshark")
    paths = {
        found["name"]: found["path"] for line in folders.stdout.splitlines() if (found := _FOLDER.match(line))
    }
    lua = paths.get("Personal Lua Plugins") or paths.get("Personal Plugins")
    configuration = paths.get("Personal configuration")
    if lua is None or configuration is None:
        raise InputError(f"{program}: does not say where it looks for plugins (tshark -G folders)")
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
    """Tell whether this is the silent case: from version 4.4 on Wireshark loads no Lua for root."""
    numbers = tuple(int(part) for part in wireshark.version.split("."))
    return numbers >= (4, 4) and hasattr(os, "geteuid") and os.geteuid() == 0


# ---------------------------------------------------------------- putting it there


def install(wireshark: Wireshark, source: Path, version: str) -> list[str]:
    """Copy plugin and profile from ``source``; return what was done, a line each.

    Raises:
        InputError: something in the way is not ours, or cannot be written.
    """
    main, modules = wireshark.plugins / MAIN, wireshark.plugins / MODULES
    if (main.exists() or modules.exists()) and not is_ours(wireshark.plugins):
        raise InputError(
            f"{main if main.exists() else modules}: is there and is not certhash's plugin; move it away first"
        )
    said = []
    try:
        if _same(source, wireshark.plugins):
            said.append(f"{main}: {version} is there already")
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
    """Return the plugin's files in a folder that holds it."""
    return [folder / MAIN, *sorted((folder / MODULES).glob("*.lua"))]


def is_ours(folder: Path) -> bool:
    """Tell whether a folder holds this plugin, in whatever version."""
    return installed_version(folder) is not None


def installed_version(folder: Path) -> str | None:
    """Return the version of the plugin in a folder, or None where there is none."""
    try:
        text = (folder / MODULES / "version.lua").read_text("utf-8", "replace")
        main = (folder / MAIN).read_text("utf-8", "replace")
    except OSError:
        return None
    found = re.search(r'version\s*=\s*"([^"]+)"', text)
    return found[1] if found and 'Proto("certhash"' in main else None


def _same(source: Path, target: Path) -> bool:
    """Tell whether the plugin in two folders is the same, byte for byte, with nothing besides."""
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
            return f"{target}: a profile of this name is yours, and stays as it is"
        # Wireshark itself writes into a profile that is in use: columns, sizes. That is the user's work.
        return f"{target}: the profile is there already, and stays as it is"
    target.mkdir(parents=True)
    for path in sorted(source.iterdir()):
        shutil.copyfile(path, target / path.name)
    (target / MARKER).write_text(
        "made by certhash plugin install; certhash plugin uninstall removes it\n", "utf-8"
    )
    return f"{target}: installed; choose it with Edit > Configuration Profiles"


# ---------------------------------------------------------------- taking it away


def uninstall(wireshark: Wireshark) -> list[str]:
    """Remove plugin and profile, and the folders that are empty then; return what was done, a line each.

    Raises:
        InputError: something cannot be removed.
    """
    said = []
    try:
        if is_ours(wireshark.plugins):
            _remove_plugin(wireshark.plugins)
            _remove_empty(wireshark.plugins, wireshark.plugins.parent)
            said.append(f"{wireshark.plugins / MAIN}: removed")
        profile = wireshark.profile
        if (profile / MARKER).exists():
            shutil.rmtree(profile)
            _remove_empty(profile.parent, wireshark.configuration)
            said.append(f"{profile}: removed")
        elif profile.exists():
            said.append(f"{profile}: is yours, and stays")
    except OSError as error:
        raise InputError(f"{error.filename}: cannot be removed ({error.strerror})") from error
    return said or [f"{wireshark.plugins}: nothing of certhash there"]


def _remove_plugin(folder: Path) -> None:
    if (folder / MODULES).is_symlink():  # a developer's link into a source tree: the tree stays
        (folder / MODULES).unlink()
    for path in plugin_files(folder):
        path.unlink(missing_ok=True)
    _remove_empty(folder / MODULES)


def _remove_empty(*folders: Path) -> None:
    """Remove folders that have nothing in them; what is in use stays."""
    for folder in folders:
        try:
            folder.rmdir()
        except OSError:
            return


# ---------------------------------------------------------------- how it stands


@dataclass(frozen=True)
class State:
    """How the plugin stands in one Wireshark."""

    lines: tuple[str, ...]
    good: bool


def state(wireshark: Wireshark, version: str) -> State:
    """Say whether the plugin is there, loads, is of this version, and is there once."""
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
    """Say what is wrong, and what to do about it."""
    copies = wireshark.copies
    if not copies:
        return ["the plugin is not installed: certhash plugin install"]
    problems = []
    if not any(copy.loaded for copy in copies):
        if loads_no_lua(wireshark):
            problems.append("this Wireshark loads no Lua for root: ask again as the user who runs it")
        else:
            problems.append(f"it is there and does not load: {wireshark.complaint or 'is Lua switched off?'}")
    elif wireshark.complaint:
        problems.append(f"it complains: {wireshark.complaint}")
    if len(copies) > 1:
        others = ", ".join(str(copy.path) for copy in copies if copy.path != wireshark.plugins / MAIN)
        problems.append(f"it is there {len(copies)} times, and Wireshark takes one of them: remove {others}")
    problems += [
        f"it is version {found or 'unknown'}, and this is certhash {version}: install it again"
        for found in sorted({copy.version for copy in copies})
        if found != version
    ]
    return problems
