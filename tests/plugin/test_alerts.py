"""Test alerts that share a record with another, or are split over two, which Wireshark does not show."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.conftest import certhash
from tests.harness.packets import Said, conversation, pcap, talk
from tests.plugin.desk import DEVICE, LEAF, TWICE, Desk, told, value

if TYPE_CHECKING:
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


@pytest.mark.parametrize(("payload", "alerts"), ALERTS.values(), ids=ALERTS.keys())
def test_a_fatal_alert_that_shares_its_record(
    place: Machine, tmp_path: Path, payload: bytes, alerts: list[tuple[str, int]]
) -> None:
    """Wireshark takes a record with two alerts, or with half of one, for an encrypted one."""
    name = f"{DEVICE}.cnf.xml"
    frames = conversation([*talk(LEAF)[:2], Said(from_client=True, payload=payload)])
    desk = Desk(place, {name: told(value(LEAF))}, frames)
    last = str(len(frames))
    assert desk.verdicts(*TWICE) == ["rejected"] * 2  # on the certificate, and on the alert
    assert desk.frames("certhash.certificate_in") == [last]
    (tmp_path / "alert.pcap").write_bytes(pcap(frames))
    (tmp_path / name).write_bytes(told(value(LEAF)))
    ended = certhash("audit", tmp_path / "alert.pcap", "--cnf", tmp_path / name, "-f", "json", "--no-cache")
    (handshake,) = ended.json["handshakes"]
    assert [(each["level"], each["code"]) for each in handshake["alerts"]] == alerts
    assert ended.json["expectations"][0]["verdict"] == "rejected"


@pytest.mark.parametrize("size", [18, 20, 32, 3, 17, 1])
def test_a_record_of_another_length_holds_no_plain_alert(place: Machine, size: int) -> None:
    """An encrypted alert has 18 bytes or more; what looks like alerts in it is ciphertext."""
    payload = ALERT + size.to_bytes(2, "big") + (b"\2\x2a" * 16)[:size]
    frames = conversation([*talk(LEAF)[:2], Said(from_client=True, payload=payload)])
    desk = Desk(place, {f"{DEVICE}.cnf.xml": told(value(LEAF))}, frames)
    assert desk.frames("certhash.certificate_in") == []
