"""Find dumpcap, the only program here that needs permission to capture."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from certhash.errors import InputError

if TYPE_CHECKING:
    from certhash.capture.tshark import Tshark


def how_to_capture() -> str:
    """Return the instructions to give this user permission to capture."""
    if os.geteuid() == 0:
        return (
            "root has no right to capture here, as in most containers: start the container with "
            "--cap-add=NET_RAW --cap-add=NET_ADMIN, or run it outside"
        )
    return (
        "run it as root; or on Debian and Ubuntu: sudo dpkg-reconfigure wireshark-common, answer yes, "
        "sudo usermod -aG wireshark $USER, and log in again"
    )


def find(tshark: Tshark) -> str:
    """Return the path of the dumpcap that belongs to a tshark, or else of the one on the PATH.

    Raises:
        InputError: there is no dumpcap, or this user has no permission to run it.
    """
    beside = str(Path(tshark.path).with_name("dumpcap"))
    for path in (beside, shutil.which("dumpcap"), "/usr/sbin/dumpcap", "/usr/bin/dumpcap"):
        if path and os.access(path, os.X_OK):
            return path
    if Path(beside).exists():
        raise InputError(f"{beside}: this user has no permission to run it; {how_to_capture()}")
    raise InputError(
        "dumpcap is not installed; install it: apt-get install wireshark-common (Debian, Ubuntu)"
    )
