"""Test the reasons for a hidden certificate where packets of one direction of a connection are missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from certhash.capture import tshark
from certhash.capture.observe import Settings, observe
from tests.capture.first_pass.files import as_pcap
from tests.capture.first_pass.soup import Kitchen, resumed
from tests.harness import wiresharks
from tests.harness.benchmarks.captures import Segment, tcp_frame, tcp_segments
from tests.harness.fidelity.carved import comparing
from tests.harness.fidelity.kinds import ENDS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from certhash.model import Observation

    Left = Callable[[list[Segment]], list[Segment]]

VERSIONS = ("", *wiresharks.others())
"""This machine's Wireshark, and the others."""
CLIENT_HELLO, SERVER_HELLO = 3, 5
"""The places of these among the segments of a resumed session."""
SIZE = 90
"""Bytes in each segment of a full handshake."""


def _without(*places: int) -> Left:
    return lambda segments: [each for place, each in enumerate(segments) if place not in places]


def _without_data(*, client: bool) -> Left:
    return lambda segments: [each for each in segments if each.from_client is not client or not each.payload]


def _only(*, client: bool) -> Left:
    return lambda segments: [each for each in segments if each.from_client is client]


def _from_the_last_flight(segments: list[Segment]) -> list[Segment]:
    """Return what follows the key exchange of the client: the server's ticket is the first of it."""
    ticket = b"\x16\x03\x03\x00\xba\x04"
    return segments[next(n for n, each in enumerate(segments) if each.payload.startswith(ticket)) :]


def _up_to_a_lost_packet(segments: list[Segment]) -> list[Segment]:
    """Return the start of a server's flight, and the acknowledgement of one more packet."""
    acknowledges = [n for n, each in enumerate(segments) if each.from_client and not each.payload]
    last = acknowledges[3]
    return [*segments[: last - 1], segments[last]]


RESUMED: dict[str, tuple[Left, str | None]] = {
    "whole": (list, "resumed"),
    "without the ClientHello": (_without(CLIENT_HELLO), "resumed"),
    "without the client's data": (_without_data(client=True), "resumed"),
    "only the server's packets": (_only(client=False), "resumed"),
    "without the ServerHello": (_without(SERVER_HELLO), "packets-missing"),
    "without the server's data": (_without_data(client=False), "packets-missing"),
    "only the client's packets": (_only(client=True), "packets-missing"),
}
"""What is left of a session that a ticket resumes (TLS 1.2), and the reason."""
FULL: dict[str, tuple[Left, str | None]] = {
    "without the start of the ClientHello": (_without(CLIENT_HELLO), None),
    "only the server's packets": (_only(client=False), None),
    "from the last flight on": (_from_the_last_flight, "packets-missing"),
    "the start, without that of the ClientHello": (lambda s: _without(CLIENT_HELLO)(s)[:14], "incomplete"),
    "the start, and the acknowledgement of a lost packet": (_up_to_a_lost_packet, "packets-missing"),
}
"""What is left of a full handshake (TLS 1.2), and the reason if it does not show the certificate."""


def _connections() -> tuple[bytes, list[str | None]]:
    """Return a capture of all cases, one connection each, and the reasons."""
    frames: list[bytes] = []
    reasons: list[str | None] = []
    full = Kitchen().full[0]
    whole = [list(tcp_segments(resumed())), list(tcp_segments(full, mss=SIZE))]
    for segments, cases in zip(whole, (RESUMED, FULL), strict=True):
        for left, reason in cases.values():
            ends = ENDS._replace(client_port=ENDS.client_port + len(reasons))
            frames += [tcp_frame(ends, segment) for segment in left(segments)]
            reasons.append(reason)
    return as_pcap([(frame, len(frame)) for frame in frames]), reasons


def _reasons(seen: Observation) -> dict[str, str | None]:
    """Return the reason of each connection, by the name of its case."""
    by_port = {each.client.port: each for each in seen.handshakes}
    assert len(by_port) == len(seen.handshakes)
    names = [*(f"resumed, {name}" for name in RESUMED), *(f"full, {name}" for name in FULL)]
    return {
        name: by_port[ENDS.client_port + number].hidden if ENDS.client_port + number in by_port else "unseen"
        for number, name in enumerate(names)
    }


@pytest.mark.parametrize("version", VERSIONS)
def test_only_what_is_missing_of_the_servers_packets_hides_its_certificate(
    version: str, tmp_path: Path
) -> None:
    """Missing packets of the client leave the reason that the server's packets state."""
    program = str(wiresharks.need(version).tshark) if version else None
    capture, expected = _connections()
    path = tmp_path / "one-sided.pcap"
    path.write_bytes(capture)
    settings = Settings(tshark.find(program))
    readings = {
        "the plugin": settings,
        "the plugin, without the first pass": replace(settings, carve=False),
        "without the plugin": replace(settings, tshark=replace(settings.tshark, lua=None)),
    }
    for name, how in readings.items():
        seen = _reasons(observe(str(path), how))
        assert seen == dict(zip(seen, expected, strict=True)), name
    with comparing(program) as comparison:
        seen = _reasons(comparison.seen(capture))
        assert seen == dict(zip(seen, expected, strict=True))
        assert comparison.difference(capture) == ""
        assert comparison.dropped > 0
