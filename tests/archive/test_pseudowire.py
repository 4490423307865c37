"""Ethernet inside MPLS without a control word: tshark knows it by the manufacturers of its addresses."""

from __future__ import annotations

import ssl
import struct
from typing import TYPE_CHECKING

import pytest

from certhash.capture import tshark
from certhash.capture.observe import Settings, observe
from tests.benchmarks.captures import make_identity, tls_flow, tls_transcript
from tests.carve.files import as_pcap

if TYPE_CHECKING:
    from pathlib import Path

CISCO, OTHER = bytes.fromhex("001b54000001"), bytes.fromhex("00000c000002")
LABEL = struct.pack(">I", 16 << 12 | 1 << 8 | 64)
"""RFC 3032: a label, the last of its stack, and how far it may go."""


@pytest.mark.parametrize("carve", [True, False])
def test_a_certificate_in_a_pseudowire_is_seen(tmp_path: Path, carve: bool) -> None:
    identity = make_identity(tmp_path, "vpn.example.com")
    turns = tls_transcript(identity, version=ssl.TLSVersion.TLSv1_2)
    frames = []
    for frame in tls_flow(1, turns):
        inner = CISCO + OTHER + frame[12:]
        frames.append((frame[:12] + b"\x88\x47" + LABEL + inner, 18 + len(inner)))
    path = tmp_path / "pseudowire.pcap"
    path.write_bytes(as_pcap(frames))
    seen = observe(str(path), Settings(tshark.find(), carve=carve))
    assert len(seen.certificates) == 1
