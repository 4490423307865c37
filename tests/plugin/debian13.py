"""A Debian 13 tree with tshark and Wireshark 4.4 (Lua 5.4), for tests on a machine with an older Wireshark.

``python tests/plugin/debian13.py`` makes it, or says where it is.  It is unpacked once by ``debootstrap`` and
used again; it lies in $CERTHASH_TEST_CACHE, or in ~/.cache/certhash-test, or, for root, in
/var/cache/certhash-test, since an unprivileged user must be able to reach it.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

PACKAGES = "tshark,wireshark,lua5.4,xauth,fonts-dejavu-core"
INSTALL = "apt-get install debootstrap"


def cache_folder() -> Path:
    """Return the folder for what tests unpack and use again."""
    given = os.environ.get("CERTHASH_TEST_CACHE")
    if given:
        return Path(given)
    if os.geteuid() == 0:
        return Path("/var/cache/certhash-test")
    return Path.home() / ".cache" / "certhash-test"


def mirror() -> str | None:
    """Return the Debian mirror that this machine uses, so that one that reaches no other still works."""
    sources = [Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("*")]
    for source in sources:
        if source.is_file():
            found = re.search(
                r"https?://[^\s\]]+/debian(?=/?\s|/?$)", source.read_text(errors="replace"), re.MULTILINE
            )
            if found:
                return found[0]
    return None


def tree() -> Path:
    """Return the tree, made first where it is missing.

    Raises:
        RuntimeError: it is not there and cannot be made; the text says what to do.
    """
    root = cache_folder() / "debian-13"
    if _is_whole(root):
        return root
    if shutil.which("debootstrap") is None:
        raise RuntimeError(f"debootstrap is missing: {INSTALL}")
    root.parent.mkdir(parents=True, exist_ok=True)
    with root.with_name("debian-13.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run in several processes, and one of them makes it
        if not _is_whole(root):
            _make(root)
    return root


def tshark(folder: Path) -> Path:
    """Return a script, written into `folder`, that runs the tree's tshark on this machine's files.

    It runs with the libraries of the system that it is from.

    Raises:
        RuntimeError: as of :func:`tree`.
    """
    root = tree()
    libraries = f"{root}/usr/lib/x86_64-linux-gnu"
    loader = f"{root}/lib64/ld-linux-x86-64.so.2 --library-path {libraries}"
    program = folder / "tshark"
    program.write_text(f'#!/bin/sh\nexec {loader} {root}/usr/bin/tshark "$@"\n')
    program.chmod(0o755)
    return program


def _is_whole(root: Path) -> bool:
    return (root / "usr/bin/tshark").exists() and (root / "usr/bin/wireshark").exists()


def _make(root: Path) -> None:
    as_root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    unfinished = root.with_name("debian-13.unfinished")
    # An earlier try may have been cut short, and debootstrap would trip over what it left.
    subprocess.run([*as_root, "rm", "-rf", "--one-file-system", str(unfinished)], check=False)
    command = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", "trixie", str(unfinished)]
    command += [found] if (found := mirror()) else []
    done = subprocess.run([*as_root, *command], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise RuntimeError(f"debootstrap cannot make {unfinished}: {' '.join(last)}")
    subprocess.run([*as_root, "mv", str(unfinished), str(root)], check=True)


if __name__ == "__main__":
    try:
        print(tree())
    except RuntimeError as error:
        sys.exit(str(error))
