"""Skip tests of what this machine does not permit: each function tries it, and gives the system's reason.

A container without CAP_SYS_ADMIN has no namespaces and mounts, and one without CAP_NET_RAW no captures.  A
missing program is different: then the test fails.
"""

from __future__ import annotations

import functools
import os
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest
from tests.conftest import need


def capture() -> None:
    """Skip the test if this user may not capture from the loopback interface."""
    if said := _refused(need("dumpcap"), "-i", "lo", "-L"):
        pytest.skip(f"this machine permits no capture: {said}")


def namespaces() -> None:
    """Skip the test if this user may not create network namespaces, or not capture in them."""
    capture()
    name = f"certhash-try-{os.getpid()}"
    said = _refused(need("ip"), "netns", "add", name)
    said = said or _refused("ip", "netns", "exec", name, "ip", "link", "set", "lo", "up")
    subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
    if said:
        pytest.skip(f"this machine permits no network namespace: {said}")


def localhost() -> None:
    """Skip the test if the name localhost has no IPv4 address: a minimal file system has no hosts file."""
    try:
        socket.gethostbyname("localhost")
    except OSError as error:
        pytest.skip(f"this machine does not resolve localhost: {error}")


def mounts() -> None:
    """Skip the test if this user may not mount in a separate mount namespace."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("one", "two"):
            Path(folder, name).touch()
        bind = f"mount --bind '{folder}/one' '{folder}/two'"
        if said := _refused(need("unshare"), "--mount", "sh", "-ec", bind):
            pytest.skip(f"this machine permits no mount: {said}")


@functools.cache
def _refused(*command: str) -> str:
    """Return the first line of a command's error message; empty if it succeeds."""
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"}
    )
    lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
    return lines[0] if done.returncode else ""
