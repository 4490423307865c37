"""Check the table of peers in README.md: run each installed one on our samples, and look for what it shows.

``python -m tests.harness.benchmarks.peers`` prints what each program shows of the certificates, and ends with
1 where this is not what the table says. A program that is not installed is named. It is not part of CI.
"""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

TOP = Path(__file__).resolve().parents[3]
CAPTURES = TOP / "captures"
TLS, CHAIN, DTLS, ALERT = (CAPTURES / f"{name}.pcapng" for name in ("match", "ca-hash", "dtls", "rejected"))


class Shows(NamedTuple):
    """What a program shows: hash algorithms, for TLS, for DTLS and for the rest of a chain; alerts."""

    tls: tuple[str, ...]
    dtls: tuple[str, ...]
    chain: tuple[str, ...]
    alert: bool
    base64: bool = False
    """Whether any hash is in Base64, as in a cnf file."""


TABLE = {
    "tshark": Shows((), (), (), alert=True),
    "ndpiReader": Shows(("sha1",), (), (), alert=False),
    "suricata": Shows(("sha1",), (), (), alert=False),
    "zeek": Shows(("sha256",), ("sha256",), ("sha256",), alert=True),
}
"""By program, what README.md says. Zeek and Suricata show more if they are configured to."""
COMMANDS = {
    "tshark": ("tshark", "-V", "-r"),
    "ndpiReader": ("ndpiReader", "-v", "2", "-i"),
    "suricata": ("suricata", "-S", "/dev/null", "-k", "none", "-l", ".", "-r"),
    "zeek": ("zeek", "-C", "-r"),
}


def output(program: str, capture: Path) -> bytes:
    """Return everything that a program prints of a capture, and writes into its folder."""
    with tempfile.TemporaryDirectory() as folder:
        ended = subprocess.run(
            [*COMMANDS[program], str(capture)], cwd=folder, capture_output=True, check=True
        )
        return b"\n".join([ended.stdout, *(path.read_bytes() for path in sorted(Path(folder).iterdir()))])


def certificates(capture: Path) -> list[dict[str, Any]]:
    """Return the server's certificates in a capture, as its recorder wrote them down."""
    recorded = json.loads((CAPTURES / "expected.json").read_text("utf-8"))["captures"]
    (found,) = [each for each in recorded if each["path"] == capture.name]
    handshakes = [h["certificates"] for h in found["handshakes"] if h["certificates"]]
    return [each for each in handshakes[0] if each["sender"] == "server"]


def hashes(said: bytes, certificate: dict[str, Any]) -> tuple[str, ...]:
    """Return the algorithms whose hash of a certificate is in an output, in hex with or without colons."""
    plain = re.sub(rb"(?<=[0-9A-Fa-f]{2}):(?=[0-9A-Fa-f]{2})", b"", said).lower()
    return tuple(
        name for name in ("sha1", "sha256") if base64.b64decode(certificate[name]).hex().encode() in plain
    )


def shown(program: str) -> Shows:
    """Return what a program shows of our samples."""
    outputs = {capture: output(program, capture) for capture in (TLS, CHAIN, DTLS, ALERT)}
    in_base64 = any(
        each[name].encode() in said
        for capture, said in outputs.items()
        for each in certificates(capture)
        for name in ("sha1", "sha256")
    )
    return Shows(
        hashes(outputs[TLS], certificates(TLS)[0]),
        hashes(outputs[DTLS], certificates(DTLS)[0]),
        hashes(outputs[CHAIN], certificates(CHAIN)[1]),
        re.search(rb"alert", outputs[ALERT], re.IGNORECASE) is not None,
        in_base64,
    )


def main() -> int:
    """Check every program that is installed."""
    wrong = 0
    for program, expected in TABLE.items():
        if shutil.which(program) is None:
            print(f"{program}: not installed, so not checked")
            continue
        seen = shown(program)
        wrong += seen != expected
        print(f"{program}: {'as in the table' if seen == expected else f'not {expected}'}: {seen}")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
