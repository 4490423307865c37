"""Check the installation: Python, tshark, the plugin, the user's Wireshark, permissions, and the cache.

Audits run tshark with a configuration of their own, so that the user's settings cannot change a verdict. The
Wireshark window uses the user's settings, so these are checked as well.
"""

from __future__ import annotations

import grp
import importlib.metadata
import os
import pwd
import re
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec import Struct

from certhash.capture import dumpcap, tshark
from certhash.capture.engine import Engine, EngineError
from certhash.capture.workplace import workplace
from certhash.commands import plugin_install
from certhash.errors import InputError
from certhash.resources import package_folder, plugin_folder
from certhash.version import __version__
from certhash.visible import visible

if TYPE_CHECKING:
    from collections.abc import Iterator

    from certhash.capture.tshark import Tshark

State = Literal["good", "note", "mend", "broken"]

PYTHONS = ((3, 11), (3, 14))
"""The oldest and the newest Python version of the tests."""
OLDEST_TSHARK = (4, 0)
PACKAGES = ("cryptography", "lxml", "msgspec", "numpy", "platformdirs", "pyshark", "rich")

SHOWING = {
    # Segments often arrive out of order, and this preference is off by default.
    "tcp.reassemble_out_of_order": "Protocols > TCP > Reassemble out-of-order segments",
    "tcp.desegment_tcp_streams": "Protocols > TCP > Allow subdissector to reassemble TCP streams",
    "tls.desegment_ssl_records": "Protocols > TLS > Reassemble TLS records spanning multiple TCP segments",
    "tcp.analyze_sequence_numbers": "Protocols > TCP > Analyze TCP sequence numbers",
    "ip.defragment": "Protocols > IPv4 > Reassemble fragmented IPv4 datagrams",
    "ipv6.defragment": "Protocols > IPv6 > Reassemble fragmented IPv6 datagrams",
}
"""Preferences that Wireshark needs to show all certificates, with their place under Edit > Preferences."""


class Check(Struct, frozen=True):
    """The result of one check, and what to do about it."""

    name: str
    state: State
    """``good``; ``note``: a hint; ``mend``: a part does not work; ``broken``: certhash does not work."""
    found: str
    advice: str | None = None


class _Expected(Struct, frozen=True):
    """The expected result of the self-test."""

    device: str
    verdict: str
    sha1: list[str]


def exit_status(checks: list[Check]) -> int:
    """Return 2 if certhash does not work, 1 if a part does not work, else 0."""
    states = {check.state for check in checks}
    return 2 if "broken" in states else int("mend" in states)


def examine(path: str | None = None) -> Iterator[Check]:
    """Yield the checks one by one; they change nothing.

    Args:
        path: the tshark to check, or None for the one on the PATH.
    """
    yield _python()
    yield _packages()
    try:
        found = tshark.find(path)
    except InputError as error:
        message, _, advice = str(error).partition("; ")
        yield Check("tshark", "broken", message, advice)
        return
    yield _tshark(found)
    yield _plugin(found)
    yield _engine(found)
    yield _self_test(found)
    yield _in_wireshark(found)
    yield _preferences(found)
    yield _right_to_capture(found)
    yield _pyshark(found)
    yield _cache()


# ---------------------------------------------------------------- Python


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    found = f"{version} ({sys.executable}), certhash {__version__}"
    if PYTHONS[0] <= sys.version_info[:2] <= PYTHONS[1]:
        return Check("Python", "good", found)
    oldest, newest = (".".join(map(str, each)) for each in PYTHONS)
    return Check("Python", "note", found, f"use Python {oldest} to {newest}: certhash is tested with these")


def _packages() -> Check:
    versions: list[str] = []
    missing: list[str] = []
    for name in PACKAGES:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        command = f"{sys.executable} -m pip install {' '.join(missing)}"
        return Check("packages", "mend", f"missing: {', '.join(missing)}", f"install: {command}")
    return Check("packages", "good", ", ".join(versions))


# ---------------------------------------------------------------- what audits rest on


def _tshark(found: Tshark) -> Check:
    said = f"{found.version} ({found.path}), " + (f"Lua {found.lua}" if found.lua else "without Lua")
    if _numbers(found) < OLDEST_TSHARK:
        oldest = ".".join(map(str, OLDEST_TSHARK))
        return Check("tshark", "mend", said, f"install tshark {oldest} or newer")
    return Check("tshark", "good", said)


def _plugin(found: Tshark) -> Check:
    try:
        trouble = tshark.plugin_trouble(found)
    except (FileNotFoundError, InputError) as error:
        return Check("plugin", "broken", str(error))
    if trouble is None:
        return Check("plugin", "good", f"loads from {plugin_folder()}")
    return Check(
        "plugin",
        "mend",
        f"does not load: {visible(trouble, 300)}",
        "install a tshark with Lua, or reinstall certhash; until then, Python computes the hashes, and "
        "audits read no cnf files from captures",
    )


def _engine(found: Tshark) -> Check:
    capture = (package_folder() / "selftest.pcap").read_bytes()
    try:
        with workplace(found.path) as place:
            engine = Engine(found.path, place, expected=found)
            try:
                engine.dissect(capture)
            finally:
                engine.close()
    except (EngineError, FileNotFoundError, InputError) as error:
        return Check(
            "sharkd",
            "note",
            f"not used: {visible(str(error), 300)}",
            "install sharkd (Debian: wireshark-common) with the version of tshark; until then audits start a "
            "tshark for every small capture, which gives the same result and takes longer",
        )
    return Check("sharkd", "good", "dissects small captures")


def _self_test(found: Tshark) -> Check:
    """Audit the capture in the package: a download, segments out of order, a chain of two."""
    from certhash.archive.read import Listener
    from certhash.audit import Request, audit
    from certhash.capture.observe import Settings

    folder = package_folder()
    try:
        wanted = msgspec.json.decode((folder / "selftest.json").read_bytes(), type=_Expected)
    except (OSError, msgspec.DecodeError) as error:
        return Check("self-test", "broken", f"selftest.json: {error}", "reinstall certhash")
    capture = str(folder / "selftest.pcap")
    document = audit(Request((capture,), Settings(found), workers=1), (), {}, Listener())
    hashes = [c.sha1 for h in document.handshakes for c in h.certificates]
    verdicts = [(e.device, e.verdict) for e in document.expectations]
    problems = "; ".join(problem.message for problem in document.problems)
    if hashes != wanted.sha1 or problems:
        seen = (
            problems or f"found {', '.join(hashes) or 'no certificate'} instead of {', '.join(wanted.sha1)}"
        )
        return Check(
            "self-test",
            "broken",
            visible(seen, 400),
            "do not use this installation; report the output of certhash doctor --json",
        )
    if document.tool.hash_source == "plugin" and verdicts != [(wanted.device, wanted.verdict)]:
        return Check(
            "self-test",
            "broken",
            f"wrong verdicts: {verdicts}",
            "report the output of certhash doctor --json",
        )
    hasher = "the plugin" if document.tool.hash_source == "plugin" else "Python"
    return Check(
        "self-test",
        "good",
        f"{len(hashes)} certificates hashed correctly by {hasher}",
    )


# ---------------------------------------------------------------- what an analyst sees in Wireshark


def _in_wireshark(found: Tshark) -> Check:
    """Check the plugin as this user's Wireshark loads it."""
    name = "in Wireshark"
    try:
        wireshark = plugin_install.ask((found.path,))
    except InputError as error:
        return Check(name, "mend", *_parted(str(error)))
    if not wireshark.copies:
        return Check(name, "note", "the plugin is not installed", "install it: certhash plugin install")
    state = plugin_install.state(wireshark, __version__)
    said = [visible(line, 400) for line in state.lines]
    if state.good:
        return Check(name, "good", said[0])
    problems = "; ".join(line.removeprefix("problem: ") for line in said if line.startswith("problem: "))
    if plugin_install.loads_no_lua(wireshark):
        return Check(name, "note", problems, "start Wireshark as an ordinary user")
    return Check(
        name, "mend", problems, "reinstall it: certhash plugin install; for details: certhash plugin status"
    )


def _preferences(found: Tshark) -> Check:
    """Check this user's preferences; audits set their own."""
    said = plugin_install.answer(found.path, "-G", "currentprefs").stdout
    values = dict(re.findall(r"^#?([a-z0-9_.]+): (TRUE|FALSE)$", said, re.MULTILINE))
    if not values:
        return Check("preferences", "note", "tshark does not print this user's preferences")
    off = {name: place for name, place in SHOWING.items() if values.get(name) == "FALSE"}
    if not off:
        return Check("preferences", "good", "Wireshark reassembles messages like an audit")
    return Check(
        "preferences",
        "mend",
        f"{', '.join(off)}: off, so Wireshark may hide a certificate that an audit finds",
        "in Wireshark, select the profile certhash (`certhash plugin install` adds it), or go to"
        f" Edit > Preferences and enable {'; '.join(off.values())}",
    )


# ---------------------------------------------------------------- what watch needs, and the rest


def _right_to_capture(found: Tshark) -> Check:
    try:
        program = dumpcap.find(found)
    except InputError as error:
        return Check("capture", "mend", *_parted(str(error)))
    # Listing the link types opens the device like a capture, but captures nothing.
    answer = plugin_install.answer(program, "-i", "lo", "-L")
    if answer.returncode == 0:
        return Check("capture", "good", f"{program} can capture")
    if "permi" not in answer.stderr:
        return Check("capture", "mend", f"{program}: {visible(' '.join(answer.stderr.split()), 300)}")
    return Check(
        "capture",
        "mend",
        f"this user has no permission to capture with {program}",
        _group(program) or dumpcap.how_to_capture(),
    )


def _group(program: str) -> str | None:
    """Return how to use the group of dumpcap, if there is a group for users who may capture."""
    try:
        group = grp.getgrgid(os.stat(program).st_gid)  # noqa: PTH116
        user = pwd.getpwuid(os.getuid()).pw_name
    except (OSError, KeyError):
        return None
    if group.gr_gid == 0 or os.geteuid() == 0:
        return None
    if user in group.gr_mem and group.gr_gid not in os.getgroups():
        return f"log in again: you joined the group {group.gr_name} after you logged in"
    if group.gr_gid not in os.getgroups():
        return f"run sudo usermod -aG {group.gr_name} {user}, and log in again"
    return None


def _pyshark(found: Tshark) -> Check:
    try:
        from certhash.capture import programs

        names = programs.interfaces(found)
        rows = programs.try_out(found, (package_folder() / "selftest.pcap").read_bytes())
        if not any(row.certificates for row in rows):
            raise InputError("it finds no certificate in the self-test capture; report this")  # noqa: TRY301
    except InputError as error:
        return Check("pyshark", "mend", *_parted(str(error)))
    except Exception as error:  # noqa: BLE001 - any failure is the result of the check
        python = ".".join(map(str, sys.version_info[:2]))
        return Check(
            "pyshark",
            "mend",
            f"does not work with Python {python}: {visible(str(error), 200)}",
            "only certhash watch needs it: capture with dumpcap -i INTERFACE -w FILE instead, and audit FILE",
        )
    return Check("pyshark", "good", f"works; {len(names)} interfaces")


def _cache() -> Check:
    from platformdirs import user_cache_dir

    folder = Path(user_cache_dir("certhash"))
    there = next((each for each in (folder, *folder.parents) if each.exists()), folder)
    if there.is_dir() and os.access(there, os.W_OK | os.X_OK):
        try:
            with tempfile.TemporaryFile(dir=there):
                pass
        except OSError as error:
            return Check(
                "cache", "mend", f"{there}: {error.strerror}", "free some space, or set XDG_CACHE_HOME"
            )
        return Check("cache", "good", str(folder))
    return Check("cache", "mend", f"{folder}: not writable", "make it writable, or set XDG_CACHE_HOME")


# ---------------------------------------------------------------- tools


def _numbers(found: Tshark) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", found.version)[:2])


def _parted(message: str) -> tuple[str, str | None]:
    found, _, advice = message.partition("; ")
    return found, advice or None
