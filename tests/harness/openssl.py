"""Create certificates and keys with openssl, to compare certhash with."""

from __future__ import annotations

import base64
import hashlib
import subprocess
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path


class Certificate(NamedTuple):
    """A certificate and its private key, as files and as bytes."""

    path: Path
    """PEM."""
    key: Path
    """PEM."""
    der: bytes

    @property
    def pem(self) -> str:
        """The text of the file."""
        return self.path.read_text("ascii")

    @property
    def cert_hash(self) -> str:
        """The value for ``<certHash1>``."""
        return base64.b64encode(hashlib.sha1(self.der, usedforsecurity=False).digest()).decode()

    @property
    def fingerprint(self) -> str:
        """SHA-1 in hex, upper case."""
        return hashlib.sha1(self.der, usedforsecurity=False).hexdigest().upper()


def make(folder: Path, name: str, *options: str, subject: str | None = None, bits: int = 2048) -> Certificate:
    """Create ``NAME.pem`` and ``NAME.key`` for ``/CN=NAME``, self-signed unless the options say otherwise."""
    path, key = folder / f"{name}.pem", folder / f"{name}.key"
    command = (
        f"openssl req -x509 -newkey rsa:{bits} -nodes -days 30 -keyout {key.name} -out {path.name} -subj"
    )
    run(folder, *command.split(), subject or f"/CN={name}", *options)
    return Certificate(path, key, run(folder, "openssl", "x509", "-in", path.name, "-outform", "der"))


def run(folder: Path, *command: str) -> bytes:
    """Run a program in a folder, and return its output."""
    return subprocess.run(command, cwd=folder, capture_output=True, check=True).stdout
