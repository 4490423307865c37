"""Test that certhash finds the same TFTP and HTTP downloads as independent readers."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import need
from tests.harness.fidelity.downloads import INDEPENDENT, by_audit, by_tftp, compare
from tests.harness.fidelity.record_tftp import fetches

GENERATED = range(90)
"""The numbers of the transfers that every run makes and reads; any others may be tried by hand."""

RECORDED = Path(__file__).parent / "recorded" / "tftp-servers.pcapng"
REFUSED = "SEP00000000000D.cnf.xml"
"""curl 7.88 gave up atftpd's acknowledgement of blocks of 8 bytes: the file was not transferred."""


def test_generated_downloads_read_as_they_were_sent() -> None:
    counted, found = compare(GENERATED, [need("tshark")])
    ours = [each for each in found if each.reader != INDEPENDENT and not each.explained]
    assert ours == []
    # The tftp package does not read a file whose request was sent again in the middle.
    unread = [each for each in found if each.reader == INDEPENDENT]
    assert {each.kind for each in unread} <= {"tftp second server ended"}
    assert counted["sent"] - len(unread) == counted[INDEPENDENT] > len(GENERATED) // 2


def test_downloads_from_real_servers_read_as_they_were_served() -> None:
    """tftpd-hpa 5.2, atftpd 0.8.0 and dnsmasq 2.90, with curl, atftp and the tftp package."""
    served = {(fetch.name, fetch.content) for fetch in fetches() if fetch.name != REFUSED}
    assert by_tftp(RECORDED) == served
    assert by_audit(RECORDED) == served
