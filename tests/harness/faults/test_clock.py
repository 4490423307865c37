"""Test that a clock that is set back during a capture does not cause a false match."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import ssl
from typing import TYPE_CHECKING

import pytest
from tests.conftest import certhash
from tests.harness.benchmarks.captures import PCAP_HEADER, make_identity, tls_flow, tls_transcript, write_pcap
from tests.harness.packets import configuration

if TYPE_CHECKING:
    from pathlib import Path

NOW, HOUR = 1_700_000_000, 3600


@pytest.mark.parametrize(("second", "verdict"), [(HOUR, "mismatch"), (-HOUR, "unverifiable")])
def test_a_renewed_certificate_after_the_clock_was_set(tmp_path: Path, second: int, verdict: str) -> None:
    """The phone's hash is that of the first of two certificates that a head-end presents."""
    capture, digests = PCAP_HEADER, []
    for number, start in ((1, NOW), (9, NOW + second)):  # the same head-end
        identity = make_identity(tmp_path, f"vpn{number}.example.com")
        der = ssl.PEM_cert_to_DER_cert(identity.certificate.read_text("ascii"))
        digests.append(hashlib.sha1(der, usedforsecurity=False).digest())
        turns = tls_transcript(identity, version=ssl.TLSVersion.TLSv1_2)
        part = io.BytesIO()
        write_pcap(part, tls_flow(number, turns), start)
        capture += part.getvalue()[len(PCAP_HEADER) :]
    (tmp_path / "clock.pcap").write_bytes(capture)
    cnf = tmp_path / "SEP001122334455.cnf.xml"
    cnf.write_bytes(configuration(["https://192.0.2.2/phone"], [base64.b64encode(digests[0]).decode()]))
    done = certhash("audit", tmp_path / "clock.pcap", "--cnf", cnf, "-f", "json", "--no-cache")
    (row,) = json.loads(done.out)["expectations"]
    assert row["verdict"] == verdict
