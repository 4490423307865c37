"""Test correlate with copies, several phones, and handshakes without an answer; one rule per test."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace
from tests.harness.openssl import make
from tests.judgement.test_correlate import (
    DAY,
    HEAD_END,
    LEAF,
    OLD,
    OTHER,
    PHONE,
    ROOT,
    TOOL,
    handshake,
    judged,
    observation,
    only,
    sha1,
    told,
)

from certhash.judgement.correlate import correlate
from certhash.model import (
    CnfFile,
    Endpoint,
    ExpectedHash,
    Fetch,
    HeadEndUrl,
    KnownCertificate,
    PresentedCertificate,
    ServedAt,
    Sources,
    VpnGroup,
)

if TYPE_CHECKING:
    from pathlib import Path

FIRST, SECOND = "SEP000000000001", "SEP000000000002"
ELSEWHERE = Endpoint("198.51.100.2", 50000)


def fetched(day: int, client: Endpoint = PHONE) -> Fetch:
    return Fetch("a.pcap", day, day * DAY, client.address, "192.0.2.1")


# ---------------------------------------------------------------------------------- copies of a file


def test_what_was_fetched_last_is_in_force_whatever_the_order() -> None:
    files = [told(OLD, fetch=fetched(1)), told(LEAF, fetch=fetched(3)), told(ROOT, fetch=fetched(2))]
    for order in (files, files[::-1]):
        row = only(judged([observation(handshake(4, [LEAF]))], *order))
        assert row.verdict == "match"
        assert row.download is not None
        assert row.download.frame == 3


def test_warning_of_an_outdated_copy_names_the_hashes_it_lists() -> None:
    stale = replace(told(OLD), source="stale.cnf.xml")
    row = only(judged([observation(handshake(4, [LEAF]))], stale, told(LEAF, fetch=fetched(1))))
    (warning,) = row.warnings
    assert "stale.cnf.xml" in warning
    assert base64.b64encode(sha1(OLD)).decode() in warning


def test_encrypted_file_gives_no_warning_of_an_outdated_copy() -> None:
    encrypted = CnfFile(FIRST, f"{FIRST}.cnf.xml.enc.sgn", "encrypted", None)
    assert only(judged([], encrypted, told(LEAF, fetch=fetched(1)))).warnings == ()
    assert only(judged([], told(LEAF), replace(encrypted, fetch=fetched(1)))).warnings == ()


def test_a_copy_that_writes_the_same_hash_otherwise_is_the_same() -> None:
    copy = told(LEAF)
    assert copy.group is not None
    unpadded = replace(copy.group.hashes[0], value=copy.group.hashes[0].value.rstrip("="))
    copy = replace(copy, group=replace(copy.group, hashes=(unpadded,)))
    assert only(judged([], copy, told(LEAF, fetch=fetched(1)))).warnings == ()


def test_handshake_devices_come_from_the_file_in_force_at_that_time() -> None:
    """A later file names this head-end, but the earlier one, which counts here, names another."""
    elsewhere = told(LEAF, url="https://203.0.113.9/x", fetch=fetched(1))
    result = judged(
        [observation(handshake(2, [LEAF]), handshake(4, [LEAF]))], elsewhere, told(LEAF, fetch=fetched(3))
    )
    assert [one.verdict for one in result.handshakes] == ["unlisted", "match"]
    assert [one.devices for one in result.handshakes] == [(), (FIRST,)]


def test_incomplete_list_does_not_replace_a_complete_one() -> None:
    """The phone downloaded one hash only; another trustpoint in a configuration does not matter."""
    whole = told(OLD, fetch=fetched(1))
    assert whole.group is not None
    group = replace(whole.group, unresolved=("vpn-trustpoint 2 trustpoint cme root",))
    partial = replace(whole, source="cme.txt", kind="configuration", group=group, fetch=None)
    seen = observation(handshake(2, [LEAF]))
    assert only(judged([seen], partial, whole)).verdict == "mismatch"
    rows = judged([seen], partial, replace(whole, fetch=None)).expectations
    assert {row.verdict for row in rows} == {"unverifiable", "mismatch"}


def test_malformed_hashes_are_the_same_only_if_they_read_the_same() -> None:
    def malformed(text: str, fetch: Fetch | None = None) -> CnfFile:
        file = told(fetch=fetch)
        assert file.group is not None
        return replace(file, group=replace(file.group, hashes=(ExpectedHash(1, text, b"", None),)))

    assert only(judged([], malformed("x"), malformed("x", fetched(1)))).warnings == ()
    assert len(only(judged([], malformed("y"), malformed("x", fetched(1)))).warnings) == 1


def test_every_copy_that_differs_stays_and_keeps_its_place() -> None:
    files = [replace(told(der), source=name) for der, name in ((LEAF, "1"), (OLD, "2"), (ROOT, "3"))]
    again = replace(told(LEAF), source="4")
    result = judged([observation(handshake(1, [LEAF]))], *files, again)
    assert [(e.source, e.verdict) for e in result.expectations] == [
        ("1", "match"),
        ("2", "mismatch"),
        ("3", "mismatch"),
    ]


def test_an_encrypted_file_is_not_lost_among_copies_and_other_files() -> None:
    nothing = CnfFile(FIRST, "plain.cnf.xml", "plain", None)
    encrypted = CnfFile(FIRST, "secret.cnf.xml.enc.sgn", "encrypted", None)
    result = judged([observation(handshake(1, [LEAF]))], nothing, encrypted, told(LEAF, device=SECOND))
    assert {(e.source, e.verdict) for e in result.expectations} == {
        ("secret.cnf.xml.enc.sgn", "unverifiable"),
        (f"{SECOND}.cnf.xml", "match"),
    }


@pytest.mark.parametrize("kind", ["plain", "signed", "configuration"])
def test_a_file_that_can_be_read_gives_one_row_a_url(kind: str) -> None:
    file = replace(told(LEAF), kind=kind)
    assert only(judged([observation(handshake(1, [LEAF]))], file)).verdict == "match"


# ------------------------------------------------------------------------------------ lists of hashes


def test_hashes_that_cannot_match_do_not_hide_one_that_does() -> None:
    digest = hashlib.sha256(LEAF).digest()
    hashes = (
        ExpectedHash(1, "no Base64", b"", None),
        ExpectedHash(2, base64.b64encode(digest).decode(), digest, "SHA-256"),
        ExpectedHash(3, base64.b64encode(sha1(LEAF)).decode(), sha1(LEAF), "SHA-1"),
    )
    group = VpnGroup((HeadEndUrl(1, "https://203.0.113.1/phone"),), hashes, False, "0")
    row = only(judged([observation(handshake(1, [LEAF]))], CnfFile(FIRST, "f", "plain", group)))
    assert (row.verdict, row.matched) == ("match", base64.b64encode(sha1(LEAF)).decode())


@pytest.mark.parametrize(
    ("hash_algorithm", "verdict"), [(None, "mismatch"), ("", "mismatch"), ("0", "mismatch"), ("1", "match")]
)
def test_a_longer_digest_counts_only_beside_another_hash_algorithm(
    hash_algorithm: str | None, verdict: str
) -> None:
    digest = hashlib.sha256(LEAF).digest()
    hashes = (ExpectedHash(1, base64.b64encode(digest).decode(), digest, "SHA-256"),)
    group = VpnGroup((HeadEndUrl(1, "https://203.0.113.1/phone"),), hashes, False, hash_algorithm)
    row = only(judged([observation(handshake(1, [LEAF]))], CnfFile(FIRST, "f", "plain", group)))
    assert row.verdict == verdict


# ---------------------------------------------------------------------------------- several handshakes


def test_of_handshakes_that_cannot_be_seen_the_newest_is_named() -> None:
    row = only(judged([observation(handshake(1), handshake(2), handshake(3))], told(LEAF)))
    assert row.verdict == "unverifiable"
    assert row.decided_by == row.handshakes[-1]


def test_rejection_stays_if_the_same_certificate_is_sent_again_without_answer() -> None:
    seen = observation(handshake(1, [LEAF, ROOT], alert=42), handshake(2, [LEAF, ROOT], proceeded=False))
    assert only(judged([seen], told(LEAF, ROOT))).verdict == "rejected"


def test_refusal_of_another_certificate_leaves_an_unanswered_one_unverifiable() -> None:
    seen = observation(handshake(1, [OLD], alert=42), handshake(2, [LEAF], proceeded=False))
    row = only(judged([seen], told(LEAF, OLD)))
    assert row.verdict == "unverifiable"
    assert row.decided_by == row.handshakes[1]


# --------------------------------------------------------------------------------------- several phones


def test_what_this_phone_did_itself_only_matters_where_it_refused() -> None:
    """An older handshake of the same phone, accepted or unanswered, does not replace the newest one."""
    file = told(LEAF, fetch=fetched(1))
    for own in (handshake(2, [LEAF]), handshake(2, [LEAF], proceeded=False)):
        row = only(judged([observation(own, handshake(3, [LEAF], client=ELSEWHERE))], file))
        assert (row.verdict, row.decided_by) == ("match", row.handshakes[1])
    own = handshake(2, [LEAF], alert=42)
    row = only(judged([observation(own, handshake(3, [LEAF], client=ELSEWHERE))], file))
    assert (row.verdict, row.decided_by) == ("rejected", row.handshakes[0])


def test_refusal_of_one_certificate_does_not_affect_another_that_other_clients_accepted() -> None:
    seen = observation(handshake(2, [OLD], alert=42), handshake(3, [LEAF], client=ELSEWHERE))
    assert only(judged([seen], told(LEAF, OLD, fetch=fetched(1)))).verdict == "match"


def test_a_refusal_concerns_the_phone_that_sent_it_and_no_other() -> None:
    files = [
        told(LEAF, device=FIRST, fetch=fetched(1)),
        told(LEAF, device=SECOND, fetch=fetched(1, ELSEWHERE)),
    ]
    for refuses, other in ((PHONE, ELSEWHERE), (ELSEWHERE, PHONE)):
        seen = observation(handshake(2, [LEAF], client=other), handshake(3, [LEAF], alert=48, client=refuses))
        rows = {e.device: e.verdict for e in judged([seen], *files).expectations}
        device = FIRST if refuses is PHONE else SECOND
        assert rows.pop(device) == "rejected"
        assert set(rows.values()) == {"match"}


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([fetched(1)], [fetched(5)], {FIRST: "rejected", SECOND: "match"}),
        # Both may be behind one address.
        ([fetched(1)], [fetched(2)], {FIRST: "rejected", SECOND: "rejected"}),
        ([fetched(1), fetched(3, ELSEWHERE)], [fetched(2)], {FIRST: "match", SECOND: "rejected"}),
        ([fetched(1, ELSEWHERE), fetched(2)], [fetched(3)], {FIRST: "rejected", SECOND: "rejected"}),
    ],
)
def test_an_address_belongs_to_the_phones_that_downloaded_their_files_there_and_since_nowhere_else(
    first: list[Fetch], second: list[Fetch], expected: dict[str, str]
) -> None:
    files = [told(LEAF, device=FIRST, fetch=each) for each in first]
    files += [told(LEAF, device=SECOND, fetch=each) for each in second]
    seen = observation(
        handshake(3, [LEAF], client=Endpoint("192.0.2.99", 50000)), handshake(4, [LEAF], alert=42)
    )
    for order in (files, files[::-1]):
        rows = judged([seen], *order).expectations
        assert {row.device: row.verdict for row in rows} == expected
        for row in rows:
            several = row.verdict == "rejected" == expected[FIRST] == expected[SECOND]
            assert ("2 devices fetched" in row.explanation) == several


def test_a_phone_with_another_head_end_is_not_the_client() -> None:
    other = told(LEAF, device=SECOND, url="https://203.0.113.9/x", fetch=fetched(2))
    for fetch in (fetched(1), None):
        rows = judged(
            [
                observation(
                    handshake(3, [LEAF], client=Endpoint("192.0.2.99", 50000)),
                    handshake(4, [LEAF], alert=42),
                )
            ],
            told(LEAF, device=FIRST, fetch=fetch),
            other,
        ).expectations
        assert {row.device: row.verdict for row in rows} == {FIRST: "rejected", SECOND: "unseen"}


def test_certificate_of_another_server_from_the_same_ca_is_not_in_the_chain(tmp_path: Path) -> None:
    """CME behind an ASA, both with certificates of one CA, which the ASA sends: CME pushes its own hash."""
    root = make(tmp_path, "CA", bits=1024)
    asa, cme = (
        make(tmp_path, name, "-CA", "CA.pem", "-CAkey", "CA.key", bits=1024).der for name in ("asa", "cme")
    )
    other = handshake(1, [cme], server=Endpoint("203.0.113.9", 443))
    seen = observation(handshake(3, [asa, root.der]), other)
    assert only(judged([seen], told(cme))).cause == "other-head-end"
    assert only(judged([observation(handshake(3, [root.der]), other)], told(cme))).cause == "issuer-hash"
    alone = observation(handshake(3, [asa]), handshake(1, [root.der], server=Endpoint("203.0.113.9", 443)))
    assert only(judged([alone], told(root.der))).cause == "issuer-hash"


# ------------------------------------------------------------------------- configurations and the document


def at(end: Endpoint) -> ServedAt:
    return ServedAt(end.address, end.port or 443)


def paper(source: str, der: bytes, trustpoint: str = "cme", line: int = 7) -> KnownCertificate:
    """Return a certificate that a head-end presents by its configuration; only ROOT is a CA certificate."""
    return KnownCertificate(
        source, line, trustpoint, "ca" if der is ROOT else "leaf", sha1(der), der, (at(HEAD_END),)
    )


@pytest.mark.parametrize(("served", "verdict"), [(LEAF, "match"), (OTHER, "mismatch")])
def test_where_nobody_connects_a_configuration_says_what_is_served(served: bytes, verdict: str) -> None:
    row = only(correlate([], Sources((told(LEAF),), known=(paper("running.txt", served),)), TOOL))
    assert row.verdict == verdict
    assert row.decided_by is None


def test_two_configurations_that_say_otherwise_make_no_match() -> None:
    """A folder of backups has a configuration from before a renewal and one from after it."""
    then, now, root = paper("then.txt", OLD), paper("now.txt", LEAF), paper("now.txt", ROOT)
    for known in ((then, now, root), (root, now, then)):
        row = only(correlate([], Sources((told(OLD),), known=known), TOOL))
        assert row.verdict == "unverifiable"
        assert "then.txt" in row.explanation
        assert "now.txt" in row.explanation
        assert only(correlate([], Sources((told(OLD, ROOT),), known=known), TOOL)).verdict == "match"
        assert only(correlate([], Sources((told(OTHER),), known=known), TOOL)).verdict == "mismatch"


@pytest.mark.parametrize(
    "elsewhere", [Endpoint("203.0.113.2", HEAD_END.port), Endpoint(HEAD_END.address, 8443)], ids=str
)
def test_what_a_configuration_serves_elsewhere_says_nothing_of_this_head_end(elsewhere: Endpoint) -> None:
    known = KnownCertificate("running.txt", 7, "cme", "leaf", sha1(LEAF), LEAF, (at(elsewhere),))
    assert only(correlate([], Sources((told(LEAF),), known=(known,)), TOOL)).verdict == "unseen"


@pytest.mark.parametrize("trustpoints", [("cme", "cme"), ("old", "new")])
def test_two_certificates_of_one_head_end_in_one_configuration_make_no_match(
    trustpoints: tuple[str, str],
) -> None:
    """A log has the configuration before and after a renewal; an interface has two trustpoints."""
    then, now = (
        paper("asa.txt", der, name, line)
        for der, name, line in zip((OLD, LEAF), trustpoints, (7, 9), strict=True)
    )
    roots = [paper("asa.txt", ROOT, trustpoint, 11) for trustpoint in dict.fromkeys(trustpoints)]
    for known in ((then, now, *roots), (*roots, now, then)):
        row = only(correlate([], Sources((told(OLD),), known=known), TOOL))
        assert row.verdict == "unverifiable"
        assert f"line 9 configures another certificate (trustpoint {trustpoints[1]})" in row.explanation
        assert only(correlate([], Sources((told(ROOT),), known=known), TOOL)).verdict == "match"
        assert only(correlate([], Sources((told(OTHER),), known=known), TOOL)).verdict == "mismatch"


def test_a_trustpoint_whose_own_certificate_is_missing_makes_no_mismatch() -> None:
    known = (paper("asa.txt", ROOT),)
    assert only(correlate([], Sources((told(LEAF),), known=known), TOOL)).verdict == "unseen"
    assert only(correlate([], Sources((told(ROOT),), known=known), TOOL)).verdict == "match"


def test_the_document_says_who_sent_a_certificate_and_how_many_head_ends_nobody_names() -> None:
    made, store = handshake(1, [LEAF])
    mine = PresentedCertificate(0, "client", 3, hashlib.sha256(OTHER).digest())
    both = replace(made, certificates=(*made.certificates, mine))
    others_seen = [handshake(n, [ROOT], server=Endpoint(f"203.0.113.{n}", 443)) for n in (2, 3)]
    seen = observation((both, {**store, mine.sha256: OTHER}), *others_seen)
    result = judged([seen], told(LEAF))
    assert [(c.sender, c.sha1) for c in result.handshakes[0].certificates] == [
        ("server", base64.b64encode(sha1(LEAF)).decode()),
        ("client", base64.b64encode(sha1(OTHER)).decode()),
    ]
    assert (result.summary.unlisted, result.summary.handshakes, result.summary.certificates) == (2, 3, 4)


def test_unusable_url_has_a_frame_only_if_its_file_is_from_a_capture() -> None:
    seen = replace(told(LEAF, url="ftp://203.0.113.1/x", fetch=fetched(3)), source="a.pcap")
    assert only(judged([], seen)).frame == 3
    assert only(judged([], replace(seen, source="copy.cnf.xml"))).frame is None


def test_rows_of_a_device_are_in_the_order_of_their_urls() -> None:
    file = told(LEAF)
    assert file.group is not None
    urls = [f"https://203.0.113.{number}/x" for number in (1, 2, 3)]
    backwards = tuple(HeadEndUrl(n, url) for n, url in enumerate(reversed(urls), 1))
    result = judged([], replace(file, group=replace(file.group, urls=backwards)))
    assert [e.url for e in result.expectations] == urls


def test_one_certificate_seen_twice_is_no_collision() -> None:
    result = judged([observation(handshake(1, [LEAF]), handshake(2, [LEAF]))], told(LEAF))
    assert result.problems == ()


def test_handshake_is_compared_with_the_file_in_force_at_that_time() -> None:
    files = [told(OLD, fetch=fetched(1)), told(LEAF, fetch=fetched(3)), told(ROOT, fetch=fetched(5))]
    seen = observation(handshake(2, [OLD]), handshake(4, [LEAF]), handshake(6, [ROOT]))
    assert [h.verdict for h in judged([seen], *files).handshakes] == ["match", "match", "match"]
    wrong = observation(handshake(2, [LEAF]), handshake(4, [OLD]), handshake(6, [LEAF]))
    assert [h.verdict for h in judged([wrong], *files).handshakes] == ["mismatch"] * 3


# ---------------------------------------------------------------------------------- clocks set back


def test_later_packets_with_an_earlier_time_make_a_match_unverifiable() -> None:
    """The clock was set back between two handshakes of one capture, and the later one is not a match."""
    first, (later, ders) = handshake(4, [LEAF]), handshake(6, [OTHER])
    later = replace(later, time=3 * DAY)
    row = only(judged([observation(first, (later, ders))], told(LEAF)))
    assert row.verdict == "unverifiable"
    assert "a.pcap, frame 7" in row.explanation
    assert "reordercap" in " ".join(row.advice)


def test_a_clock_that_was_set_back_makes_no_match_of_a_mismatch() -> None:
    """The newest handshake by time differs, and the newest by packet order matches."""
    first, (later, ders) = handshake(4, [OTHER]), handshake(6, [LEAF])
    later = replace(later, time=3 * DAY)
    assert only(judged([observation(first, (later, ders))], told(LEAF))).verdict == "mismatch"


def test_clock_set_back_hides_no_finding_that_holds_in_both_orders() -> None:
    for verdict, alert, chain in (("mismatch", None, [OTHER]), ("rejected", 42, [LEAF])):
        first, (later, ders) = handshake(4, chain, alert=alert), handshake(6, chain, alert=alert)
        seen = observation(first, (replace(later, time=3 * DAY), ders))
        assert only(judged([seen], told(LEAF))).verdict == verdict


def test_a_clock_that_was_set_back_does_not_matter_where_both_orders_agree() -> None:
    first, (later, ders) = handshake(4, [LEAF]), handshake(6, [LEAF])
    later = replace(later, time=3 * DAY)
    assert only(judged([observation(first, (later, ders))], told(LEAF))).verdict == "match"


def test_between_captures_only_the_clock_tells() -> None:
    older, newer = (
        observation(handshake(4, [OTHER]), path="z.pcap"),
        observation(handshake(6, [LEAF]), path="a.pcap"),
    )
    for order in ([older, newer], [newer, older]):
        assert only(judged(order, told(LEAF))).verdict == "match"


def test_both_files_count_if_a_clock_was_set_back_between_their_downloads() -> None:
    """By time, the phone has the matching file; by packet order, it has the other one."""
    early = replace(fetched(1), frame=9)
    by_time, behind = told(LEAF, fetch=fetched(3)), told(OTHER, fetch=early)
    seen = observation(handshake(2, [LEAF]))
    rows = judged([seen], by_time, behind, told(OLD, fetch=fetched(2))).expectations
    assert {row.verdict for row in rows} == {"match", "mismatch"}
    assert all("a clock was set back" in " ".join(row.warnings) for row in rows)
    assert only(judged([seen], by_time, replace(by_time, fetch=early))).warnings == ()
    elsewhere = replace(behind, fetch=replace(early, capture="b.pcap"))
    assert only(judged([seen], by_time, elsewhere)).verdict == "match"


# ----------------------------------------------------------------------- certificates by SNI


def test_url_without_name_is_checked_against_handshakes_without_sni() -> None:
    """A PC gets the certificate of the name; the phone sends no SNI, and gets another one."""
    default, named = handshake(1, [OTHER]), handshake(3, [LEAF], name="vpn.example.com")
    before = handshake(2, [OTHER])
    seen = observation(default, handshake(1, [LEAF], name="vpn.example.com"), before, named)
    assert only(judged([seen], told(LEAF))).verdict == "mismatch"
    assert only(judged([seen], told(OTHER))).verdict == "match"
    for expected in (LEAF, OTHER):
        row = only(judged([seen], told(expected, url="https://vpn.example.com/phone")))
        assert row.verdict == "unverifiable"  # it is not documented which of the two a phone gets
        assert "chooses by the name" in row.explanation
    both = told(LEAF, OTHER, url="https://vpn.example.com/phone")
    assert only(judged([seen], both)).verdict == "match"
    assert only(judged([seen], told(OLD, url="https://vpn.example.com/phone"))).verdict == "mismatch"
    # If the phone itself was seen, its behaviour is known: this one sends SNI.
    for expected, verdict in ((LEAF, "match"), (OTHER, "mismatch")):
        own = told(expected, url="https://vpn.example.com/phone", fetch=fetched(0))
        assert only(judged([seen], own)).verdict == verdict


def test_a_renewed_certificate_is_not_chosen_by_a_name() -> None:
    """A client without SNI got the old certificate, one with SNI the new one; the old one never recurs."""
    renewed = observation(handshake(1, [OLD]), handshake(2, [LEAF], name="vpn.example.com"))
    assert only(judged([renewed], told(LEAF))).verdict == "match"
    assert only(judged([renewed], told(OLD))).verdict == "mismatch"
    back = observation(handshake(1, [OLD], name="vpn.example.com"), handshake(2, [LEAF]))
    assert only(judged([back], told(LEAF))).verdict == "match"


def test_of_several_machines_behind_one_address_no_name_chooses() -> None:
    """If clients without SNI got both certificates, the newest one counts, with or without SNI."""
    seen = [handshake(1, [OTHER]), handshake(2, [LEAF]), handshake(3, [OTHER])]
    newest = handshake(4, [LEAF], name="vpn.example.com")
    assert only(judged([observation(*seen, newest)], told(LEAF))).verdict == "match"
