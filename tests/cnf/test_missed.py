"""Test which phones did not get their cnf file in the captures, and what was seen of it."""

from __future__ import annotations

import pytest

from certhash.cnf import missed_fetches
from certhash.model import Download, FailedTransfer, MissedFetch, Observation

PHONE, OTHER, SERVER = "192.0.2.7", "192.0.2.8", "192.0.2.1"
DEVICE = "SEP00005E005301"
NAME = f"{DEVICE}.cnf.xml"


def failed(frame: int, name: str = NAME, client: str = PHONE) -> FailedTransfer:
    return FailedTransfer(name, frame, frame, client, SERVER, "error", 1, "File not found")


def brought(frame: int, name: str = NAME, client: str = PHONE) -> Download:
    return Download(name, frame, frame, client, SERVER, b"<device/>")


def observed(*events: FailedTransfer | Download, path: str = "a.pcap") -> Observation:
    return Observation(
        path,
        "complete",
        9,
        None,
        "plugin",
        downloads=tuple(each for each in events if isinstance(each, Download)),
        failed=tuple(each for each in events if isinstance(each, FailedTransfer)),
    )


def test_a_request_that_failed() -> None:
    assert missed_fetches([observed(failed(3))]) == (MissedFetch(DEVICE, "a.pcap", failed(3)),)


def test_last_failed_download_counts_whichever_file_name_it_requested() -> None:
    events = failed(3, f"{NAME}.sgn"), failed(5)
    assert [each.failed.frame for each in missed_fetches([observed(*events)])] == [5]
    assert [each.failed.frame for each in missed_fetches([observed(*reversed(events))])] == [5]


@pytest.mark.parametrize("path", ["a.pcap", "b.pcap"])
def test_a_later_download_makes_up_for_it(path: str) -> None:
    captures = [observed(failed(3, f"{NAME}.sgn")), observed(brought(4), path=path)]
    assert missed_fetches(captures) == ()
    assert missed_fetches(captures[::-1]) == ()
    earlier = [observed(failed(3)), observed(brought(2), path=path)]
    assert [each.failed.frame for each in missed_fetches(earlier)] == [3]


def test_another_phones_download_does_not() -> None:
    (missed,) = missed_fetches([observed(failed(3), brought(5, "SEP00005E005302.cnf.xml", OTHER))])
    assert missed.device == DEVICE


def test_the_file_for_all_phones_that_it_got_instead() -> None:
    shared = brought(5, "XMLDefault.cnf.xml")
    (missed,) = missed_fetches([observed(failed(3), shared)])
    assert (missed.instead, missed.instead_frame) == ("XMLDefault.cnf.xml", 5)
    (elsewhere,) = missed_fetches([observed(failed(3), brought(5, "XMLDefault.cnf.xml", OTHER))])
    assert elsewhere.instead is None
    (before,) = missed_fetches([observed(failed(7), shared)])
    assert before.instead is None


def test_only_the_file_for_all_phones_after_its_own() -> None:
    own, shared = brought(3), brought(5, "XMLDefault.cnf.xml")
    (missed,) = missed_fetches([observed(own, shared)])
    assert (missed.device, missed.failed.reason, missed.failed.frame) == (DEVICE, "other-file", 5)
    assert missed_fetches([observed(own, shared, brought(6))]) == ()


def test_an_address_of_two_phones_tells_of_neither() -> None:
    two = brought(3), brought(4, "SEP00005E005302.cnf.xml")
    assert missed_fetches([observed(*two, brought(5, "XMLDefault.cnf.xml"))]) == ()


def test_names_of_no_device_are_passed_over() -> None:
    assert missed_fetches([observed(failed(3, "ringlist.xml"))]) == ()
