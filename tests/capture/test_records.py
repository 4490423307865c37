"""Test rows of several versions of tshark, which print the same data in different formats."""

from __future__ import annotations

import pytest

from certhash.capture import columns
from certhash.capture.tshark import SEPARATOR


@pytest.mark.parametrize(
    ("text", "microseconds"),
    [
        ("1772442000.000777", 1_772_442_000_000_777),
        ("1772442000.000777999", 1_772_442_000_000_777),
        ("1772442000", 1_772_442_000_000_000),
        ("-1.250000", -1_250_000),
        ("2026-03-02T09:00:00.000777999Z", 1_772_442_000_000_777),  # from 4.6 on
        ("2026-03-02T09:00:00+00:00", 1_772_442_000_000_000),
        (f"{2**62}.000000", 253_402_300_799_999_999),  # no calendar has them, nor has a database
        (f"{-(2**63)}.000000", -62_135_596_800_000_000),
    ],
)
def test_times(text: str, microseconds: int) -> None:
    cells = dict.fromkeys(columns.names(plugin=False), "")
    cells |= {"frame.number": "1", "frame.time_epoch": text, "frame.protocols": "eth:ip:tcp"}
    cells |= {"ip.src": "192.0.2.1", "ip.dst": "192.0.2.2", "tcp.srcport": "443", "tcp.dstport": "40000"}
    assert columns.parse(SEPARATOR.join(cells.values()), plugin=False).time == microseconds
