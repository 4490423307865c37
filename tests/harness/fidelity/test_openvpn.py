"""Test that an audit finds what real OpenVPN presents, on its own port and on others."""

from __future__ import annotations

import json
from pathlib import Path

from tests.conftest import certhash
from tests.harness.fidelity.record_openvpn import ENCRYPTED

RECORDED = Path(__file__).parent / "recorded" / "openvpn.pcapng"
"""OpenVPN 2.6.14: six tunnels whose control packets anybody can read, and one with ``--tls-crypt``."""


def presented() -> dict[str, list[str]]:
    """Return what server and client of each tunnel presented, as the recorder wrote it down: hex SHA-1."""
    tunnels: dict[str, list[str]] = json.loads(RECORDED.with_suffix(".json").read_bytes())
    del tunnels[f"udp {ENCRYPTED}"]
    return tunnels


def test_the_certificates_of_every_tunnel_are_found() -> None:
    ended = certhash("audit", RECORDED, "-f", "json")
    assert ended.status == 0, ended.err
    assert {
        f"{each['transport']} {each['server']['port']}": [
            one["thumbprint"].lower() for one in each["certificates"]
        ]
        for each in ended.json["handshakes"]
    } == presented()
