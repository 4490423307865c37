"""Test packets quoted in ICMP errors: they belong to their original hosts, not to the sender of the error."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace
from tests.capture.first_pass.files import as_pcap
from tests.harness import packets
from tests.harness.benchmarks.captures import make_identity, tls_flow, tls_transcript

from certhash.capture import tshark
from certhash.capture.observe import Settings, observe

if TYPE_CHECKING:
    from pathlib import Path

ETHERNET = 14
ROUTER, SENDER = "10.9.9.8", "10.9.9.9"


def quoted(frame: bytes) -> bytes:
    """Return an ICMP error from a router to a third host, with the packet in it (RFC 1812 4.3.2.3)."""
    return packets.ip(ROUTER, SENDER, packets.ICMP, b"\3\1" + bytes(6) + frame[ETHERNET:])


@pytest.mark.parametrize("carve", [True, False])
@pytest.mark.parametrize("plugin", [True, False])
def test_a_quoted_handshake_is_of_the_hosts_that_had_it(tmp_path: Path, carve: bool, plugin: bool) -> None:
    turns = tls_transcript(make_identity(tmp_path, "vpn.example.com"), version=ssl.TLSVersion.TLSv1_2)
    frames = list(tls_flow(1, turns))
    found = tshark.find()
    settings = Settings(found if plugin else replace(found, lua=None), carve=carve)
    seen = []
    for name, some in (("plain", frames), ("quoted", [quoted(frame) for frame in frames])):
        path = tmp_path / f"{name}.pcap"
        path.write_bytes(as_pcap([(frame, len(frame)) for frame in some]))
        seen.append(observe(str(path), settings))
    plain, inside = seen
    assert inside.certificates == plain.certificates
    ends = [[(one.client, one.server) for one in each.handshakes] for each in seen]
    assert {server.address for _, server in ends[1]} == {server.address for _, server in ends[0]}
    assert not {ROUTER, SENDER} & {end.address for pair in ends[1] for end in pair}
