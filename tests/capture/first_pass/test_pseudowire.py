"""Test Ethernet inside MPLS without a control word, which tshark recognises by the MAC addresses' vendors."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest
from tests.capture.first_pass.files import as_pcap
from tests.harness.benchmarks.captures import make_identity, tls_flow, tls_transcript
from tests.harness.fidelity.tunnels import TUNNELS

from certhash.capture import tshark
from certhash.capture.observe import Settings, observe

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("carve", [True, False])
def test_a_certificate_in_a_pseudowire_is_seen(tmp_path: Path, carve: bool) -> None:
    identity = make_identity(tmp_path, "vpn.example.com")
    turns = tls_transcript(identity, version=ssl.TLSVersion.TLSv1_2)
    _, wrap = TUNNELS["mpls-ethernet-bare"]
    frames = [wrap(frame) for frame in tls_flow(1, turns)]
    path = tmp_path / "pseudowire.pcap"
    path.write_bytes(as_pcap([(frame, len(frame)) for frame in frames]))
    seen = observe(str(path), Settings(tshark.find(), carve=carve))
    assert len(seen.certificates) == 1
