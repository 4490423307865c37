"""A clock that is set back while a capture is recorded makes no match of what was seen last."""

from __future__ import annotations

import base64
import hashlib
import json
import ssl
import struct
from typing import TYPE_CHECKING

import pytest

from tests.benchmarks.captures import make_identity, tls_flow, tls_transcript
from tests.conftest import certhash
from tests.plugin.packets import configuration

if TYPE_CHECKING:
    from pathlib import Path

HOUR = 3600


def at(second: int, frames: list[bytes]) -> bytes:
    """Return frames as records of a pcap file, a millisecond after another."""
    return b"".join(
        struct.pack("<IIII", 1_700_000_000 + second, number * 1000, len(frame), len(frame)) + frame
        for number, frame in enumerate(frames)
    )


@pytest.mark.parametrize(("second", "verdict"), [(HOUR, "mismatch"), (-HOUR, "unverifiable")])
def test_a_renewed_certificate_after_the_clock_was_set(tmp_path: Path, second: int, verdict: str) -> None:
    """The phone's hash is of the first of two certificates that a head-end presents."""
    records, digests = [], []
    for number, start in ((1, 0), (9, second)):  # the same head-end
        identity = make_identity(tmp_path, f"vpn{number}.example.com")
        der = ssl.PEM_cert_to_DER_cert(identity.certificate.read_text("ascii"))
        digests.append(hashlib.sha1(der, usedforsecurity=False).digest())
        turns = tls_transcript(identity, version=ssl.TLSVersion.TLSv1_2)
        records.append(at(start, list(tls_flow(number, turns))))
    header = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1)
    (tmp_path / "clock.pcap").write_bytes(header + b"".join(records))
    cnf = tmp_path / "SEP001122334455.cnf.xml"
    cnf.write_bytes(configuration(["https://192.0.2.2/phone"], [base64.b64encode(digests[0]).decode()]))
    done = certhash("audit", tmp_path / "clock.pcap", "--cnf", cnf, "-f", "json", "--no-cache")
    (row,) = json.loads(done.out)["expectations"]
    assert row["verdict"] == verdict
