"""certhash learns the files that were sent over TFTP and HTTP, as independent readers do."""

from __future__ import annotations

from tests.conftest import need
from tests.fidelity.downloads import INDEPENDENT, compare

GENERATED = range(90)
"""The numbers of the transfers that every run makes and reads; any others may be tried by hand."""


def test_generated_downloads_read_as_they_were_sent() -> None:
    counted, found = compare(GENERATED, [need("tshark")])
    assert [difference for difference in found if not difference.explained] == []
    assert counted["sent"] == counted[INDEPENDENT] > len(GENERATED) // 2
