"""Other Wiresharks than this machine's, for tests: Debian's packages, unpacked and run by their own loader.

``unpacked("4.4")`` returns Wireshark 4.4 of Debian 13, ``"4.0"`` that of Debian 12, and ``"4.6"`` that of
unstable Debian.  The first call on a machine downloads the packages and unpacks them; later calls find the
folder.  It needs apt-get and dpkg-deb, but no root, no chroot, no mount::

    newer = wiresharks.unpacked("4.4")                       # raises RuntimeError, which says what to do
    certhash("audit", folder, "--tshark", newer.tshark)      # as any other tshark
    subprocess.run([newer.programs / "sharkd", "-"], ...)    # or editcap, dumpcap, mergecap, wireshark ...

A test calls ``wiresharks.need("4.4")``: it fails where 4.4 cannot be had, and is skipped where 4.6 cannot.
``python -m tests.harness.wiresharks`` makes them all and prints where they are.

The folder is $CERTHASH_TEST_CACHE; by default ~/.cache/certhash-test, and for root /var/cache/certhash-test,
because root's tests run tshark as an unprivileged user.  Remove ``wireshark-4.4`` to get newer packages.

How it works: each program is a script that starts the real one by the loader of the unpacked libc.  A copy of
that loader lies beside the scripts.  Wireshark asks /proc/self/exe for its own folder, gets the scripts' one,
and finds dumpcap from there; from 4.4 on, its data and plugins, too.  Wireshark 4.0 would read those of the
machine, which may be of another version, so the scripts name the folders.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

SUITES = {"4.0": "bookworm", "4.4": "trixie", "4.6": "sid"}
"""The suite of Debian that has each version."""
PACKAGES = ("tshark", "wireshark")
LEFT_OUT = ("libegl-mesa0", "libgbm1", "libglx-mesa0")
"""Drivers of graphics cards, and LLVM with them: a third of the size, and no window here needs them."""
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
NEEDED = {"apt-get": "apt", "dpkg-deb": "dpkg", "tar": "tar"}


@dataclass(frozen=True)
class Wireshark:
    """An unpacked Wireshark.  ``programs`` is the folder of its programs: put it first in PATH."""

    version: str
    programs: Path

    @property
    def tshark(self) -> Path:
        """The path of its tshark."""
        return self.programs / "tshark"


def unpacked(version: str) -> Wireshark:
    """Return a Wireshark of :data:`SUITES`, made first where it is missing.

    Raises:
        RuntimeError: it is not there and cannot be made; the text says why and what to do.
    """
    root = cache_folder() / f"wireshark-{version}"
    if not root.is_dir():
        root.parent.mkdir(parents=True, exist_ok=True)
        with root.with_name(f"{root.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # tests run in several processes, and one of them makes it
            if not root.is_dir():
                _make(root, version)
    return Wireshark(version, root / "usr" / "bin")


def need(version: str) -> Wireshark:
    """Return a Wireshark of :data:`SUITES`; fail the test without it, or skip it for unstable Debian's.

    Unstable Debian changes: some day it has another version, or one that cannot be installed.
    """
    try:
        return unpacked(version)
    except RuntimeError as error:
        (pytest.skip if SUITES[version] == "sid" else pytest.fail)(f"Wireshark {version}: {error}")


@cache
def others() -> tuple[str, ...]:
    """Return the versions of :data:`SUITES` that are not this machine's own."""
    found = shutil.which("tshark")
    said = (
        subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout
        if found
        else ""
    )
    return tuple(version for version in SUITES if f" {version}." not in said.partition("\n")[0])


NAME_TABLES = ("services", "enterprises.tsv", "wka", "manuf")


@cache
def without_names() -> dict[str, str]:
    """Return the environment in which this machine's tshark starts fastest: its data without tables of names.

    Wireshark 4.0 parses them at every start, even with -n, which shows no name of theirs; that is nearly half
    of a start.  For root it always takes the installed folder.  Where they are built in, nothing is returned.
    """
    installed = Path(shutil.which("tshark") or "tshark").resolve().parents[1] / "share" / "wireshark"
    if not all((installed / name).is_file() for name in NAME_TABLES):
        return {}
    folder = Path(tempfile.mkdtemp(prefix="certhash-data-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    folder.chmod(0o755)
    for path in installed.iterdir():
        if path.name not in NAME_TABLES:
            (folder / path.name).symlink_to(path)
    return {"WIRESHARK_DATA_DIR": str(folder)}


def cache_folder() -> Path:
    """Return the folder for what tests unpack and use again."""
    given = os.environ.get("CERTHASH_TEST_CACHE")
    if given:
        return Path(given).absolute()
    if os.geteuid() == 0:
        return Path("/var/cache/certhash-test")
    return Path.home() / ".cache" / "certhash-test"


def mirror() -> str:
    """Return the Debian mirror that this machine uses.

    Raises:
        RuntimeError: apt's lists of sources name none.
    """
    for source in (Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("*")):
        if source.is_file():
            found = re.search(
                r"https?://[^\s\]]+/debian(?=/?\s|/?$)", source.read_text(errors="replace"), re.MULTILINE
            )
            if found:
                return found[0]
    raise RuntimeError("/etc/apt/sources.list names no Debian mirror: add the line of one")


def _make(root: Path, version: str) -> None:
    """Download, unpack and move into place.  A folder of that name is a whole one."""
    for program, package in NEEDED.items():
        if shutil.which(program) is None:
            raise RuntimeError(f"{program} is missing: it is in Debian's package {package}")
    if not KEYRING.exists():
        raise RuntimeError(f"{KEYRING} is missing: apt-get install debian-archive-keyring")
    unfinished = root.with_name(f"{root.name}.unfinished")
    if unfinished.exists():  # an earlier run was cut short
        shutil.rmtree(unfinished)
    archives = _download(unfinished / "apt", SUITES[version])
    found = [match[1] for path in archives if (match := re.match(r"tshark_([\d.]+)", path.name))]
    if not found or not found[0].startswith(f"{version}."):
        raise RuntimeError(f"Debian {SUITES[version]} has version {' '.join(found)} now")
    tree = unfinished / "tree"
    for name in ("bin", "sbin", "lib", "lib64"):  # some packages still name these
        (tree / "usr" / name).mkdir(parents=True)
        (tree / name).symlink_to(f"usr/{name}")
    for archive in archives:
        _unpack(archive, tree)
    _write_scripts(tree, root)
    tree.rename(root)
    shutil.rmtree(unfinished)


def _download(folder: Path, suite: str) -> list[Path]:
    """Download the packages and all they depend on, down to libc, by an apt of its own; return the files."""
    for name in ("etc/preferences.d", "etc/trusted.gpg.d", "state/lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True)
    installed = "Status: install ok installed\nArchitecture: all\nMulti-Arch: foreign\nVersion: 999:1\n"
    (folder / "status").write_text("".join(f"Package: {name}\n{installed}\n" for name in LEFT_OUT))
    (folder / "etc/sources.list").write_text(f"deb [signed-by={KEYRING}] {mirror()} {suite} main\n")
    settings = {
        "Dir::Etc": folder / "etc",
        "Dir::Etc::SourceParts": "-",
        "Dir::State": folder / "state",
        "Dir::State::status": folder / "status",
        "Dir::Cache": folder / "cache",
        "Acquire::Check-Valid-Until": "false",  # a mirror may stand still
        "Acquire::Languages": "none",
        "APT::Install-Recommends": "false",
        "APT::Sandbox::User": "",
    }
    options = [part for name, value in settings.items() for part in ("-o", f"{name}={value}")]
    _run("apt-get", *options, "--quiet=2", "--error-on=any", "update")
    _run("apt-get", *options, "--quiet=2", "--yes", "--download-only", "install", *PACKAGES)
    return sorted((folder / "cache/archives").glob("*.deb"))


def _unpack(archive: Path, tree: Path) -> None:
    """Unpack the files of a package; unlike ``dpkg-deb -x``, keep the links into usr."""
    command = ["tar", "-x", "--no-same-owner", "--keep-directory-symlink", "-C", str(tree)]
    command += [f"--exclude=./usr/share/{name}" for name in ("doc", "locale", "man")]
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", archive], stdout=subprocess.PIPE) as reading:
        done = subprocess.run(command, stdin=reading.stdout, capture_output=True, text=True, check=False)
    if done.returncode or reading.returncode:
        raise RuntimeError(f"{archive.name} cannot be unpacked: {done.stderr.strip() or 'dpkg-deb failed'}")


def _write_scripts(tree: Path, root: Path) -> None:
    """Move Wireshark's programs aside, and write a script for each that works when `tree` is `root`."""
    (libraries,) = (tree / "usr/lib").glob("*-linux-gnu")
    (loader,) = libraries.glob("ld-linux*.so.*")
    shutil.copy(loader, tree / "usr/bin/loader")
    # Some libraries lie in folders of their own, which ldconfig or their users name.
    folders = [libraries, *sorted({path.parent for path in libraries.glob("*/lib*.so*")})]
    path = ":".join(str(root / folder.relative_to(tree)) for folder in folders)
    own = root / libraries.relative_to(tree)
    (qt,) = libraries.glob("qt[56]")
    environment = {
        "FONTCONFIG_FILE": root / "fonts.conf",
        "GCONV_PATH": own / "gconv",
        "QT_PLUGIN_PATH": own / f"{qt.name}/plugins",
        "QT_XCB_GL_INTEGRATION": "none",
        "XKB_CONFIG_ROOT": root / "usr/share/X11/xkb",
    }
    (tree / "fonts.conf").write_text(
        f"<fontconfig><dir>{root}/usr/share/fonts</dir>"
        '<cachedir prefix="xdg">fontconfig</cachedir></fontconfig>'
    )
    for link in (tree / "usr/share/wireshark").iterdir():  # 4.0 has its init.lua in /etc
        if link.is_symlink():
            target = tree / str(link.readlink()).lstrip("/")
            link.unlink()
            shutil.copy(target, link)
    exports = "".join(f"export {name}='{value}'\n" for name, value in environment.items())
    own_folders = {
        "WIRESHARK_DATA_DIR": root / "usr/share/wireshark",
        "WIRESHARK_PLUGIN_DIR": own / "wireshark/plugins",
    }
    exports += "".join(f'export {name}="${{{name}:-{folder}}}"\n' for name, folder in own_folders.items())
    for folder in tree.glob("usr/lib*/**/wireshark/extcap"):  # programs that no test uses, without a script
        shutil.rmtree(folder)
    (tree / "usr/programs").mkdir()
    for name in ("capinfos", "dumpcap", "editcap", "mergecap", "sharkd", "text2pcap", "tshark", "wireshark"):
        script = tree / "usr/bin" / name
        program = script.rename(tree / "usr/programs" / name)
        program.chmod(0o755)
        start = f"exec '{root}/usr/bin/loader' --library-path '{path}' --argv0 \"$0\""
        script.write_text(f"#!/bin/sh\n{exports}{start} '{root}/usr/programs/{name}' \"$@\"\n")
        script.chmod(0o755)


def _run(*command: str) -> None:
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, cwd="/"
    )
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise RuntimeError(f"{command[0]} failed: {said[-1] if said else f'exit status {done.returncode}'}")


def main() -> int:
    """Make them all, and print where they are."""
    status = 0
    for version in SUITES:
        try:
            print(unpacked(version).tshark)
        except RuntimeError as error:
            print(f"Wireshark {version}: {error}", file=sys.stderr)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
