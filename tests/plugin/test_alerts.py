"""Test alerts that share a record with another, or are split over two, which Wireshark does not show."""

from __future__ import annotations

from itertools import accumulate, chain
from typing import TYPE_CHECKING

import pytest
from tests.conftest import certhash
from tests.harness.packets import Said, conversation, pcap, talk
from tests.plugin.desk import DEVICE, LEAF, TWICE, Desk, told, value

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tests.plugin.machines import Machine

ALERT = b"\x15\3\3"
ALERTS = {
    "alone": (ALERT + b"\0\2\2\x2a", [("fatal", 42)]),
    "after a warning in its record": (ALERT + b"\0\4\1\x5a\2\x2a", [("warning", 90), ("fatal", 42)]),
    "before close_notify in its record": (ALERT + b"\0\4\2\x2a\1\0", [("fatal", 42), ("warning", 0)]),
    "third in its record": (ALERT + b"\0\6\1\x5a\1\x5a\2\x30", [("warning", 90)] * 2 + [("fatal", 48)]),
    "after a warning in another record": (
        ALERT + b"\0\2\1\x5a" + ALERT + b"\0\2\2\x2a",
        [("warning", 90), ("fatal", 42)],
    ),
    "in two records": (ALERT + b"\0\1\2" + ALERT + b"\0\1\x2a", [("fatal", 42)]),
    "in two records, after a warning in two": (
        b"".join(ALERT + b"\0\1" + bytes([byte]) for byte in (1, 90, 2, 42)),
        [("warning", 90), ("fatal", 42)],
    ),
    "after another message": (b"\x16\3\3\0\7\x0b\0\0\3\0\0\0" + ALERT + b"\0\2\2\x2a", [("fatal", 42)]),
}


NAME = f"{DEVICE}.cnf.xml"


def after_the_certificate(payloads: Iterable[bytes]) -> list[list[bytes]]:
    """Return connections in which the phone answers the certificate with each of these bytes."""
    offered = talk(LEAF)[:2]
    return [
        conversation([*offered, Said(from_client=True, payload=payload)], client_port=49200 + number)
        for number, payload in enumerate(payloads)
    ]


def test_a_fatal_alert_that_shares_its_record(place: Machine) -> None:
    """Wireshark takes a record with two alerts, or with half of one, for an encrypted one."""
    connections = after_the_certificate(payload for payload, _ in ALERTS.values())
    desk = Desk(place, {NAME: told(value(LEAF))}, list(chain.from_iterable(connections)))
    assert desk.verdicts(*TWICE) == ["rejected"] * 2 * len(ALERTS)  # on each certificate, and each alert
    last = accumulate(len(frames) for frames in connections)
    assert desk.frames("certhash.certificate_in") == [str(number) for number in last]


@pytest.mark.parametrize(("payload", "alerts"), ALERTS.values(), ids=ALERTS.keys())
def test_the_audit_reads_it_too(tmp_path: Path, payload: bytes, alerts: list[tuple[str, int]]) -> None:
    (frames,) = after_the_certificate([payload])
    (tmp_path / "alert.pcap").write_bytes(pcap(frames))
    (tmp_path / NAME).write_bytes(told(value(LEAF)))
    ended = certhash("audit", tmp_path / "alert.pcap", "--cnf", tmp_path / NAME, "-f", "json", "--no-cache")
    (handshake,) = ended.json["handshakes"]
    assert [(each["level"], each["code"]) for each in handshake["alerts"]] == alerts
    assert ended.json["expectations"][0]["verdict"] == "rejected"


def test_a_record_of_another_length_holds_no_plain_alert(place: Machine) -> None:
    """An encrypted alert has 18 bytes or more; what looks like alerts in it is ciphertext."""
    sizes = (18, 20, 32, 3, 17, 1)
    connections = after_the_certificate(
        ALERT + size.to_bytes(2, "big") + (b"\2\x2a" * 16)[:size] for size in sizes
    )
    desk = Desk(place, {NAME: told(value(LEAF))}, list(chain.from_iterable(connections)))
    assert desk.frames("certhash.certificate_in") == []
