"""Test the verdicts over histories that hypothesis generates: above all, no false match.

Certificates are arbitrary bytes here, which is enough for a hash. The rules are checked against hashlib and
the wording of the contract, not against the code.
"""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from certhash.judgement import document
from certhash.judgement.correlate import correlate
from certhash.model import (
    Alert,
    CnfFile,
    Endpoint,
    ExpectedHash,
    Fetch,
    Handshake,
    HeadEndUrl,
    NameAnswer,
    Observation,
    PresentedCertificate,
    Sources,
    VpnGroup,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

TOOL = document.Tool("0", "4.0", "5.2", "plugin")
HEAD_END = Endpoint("203.0.113.1", 443)
PHONE = Endpoint("198.51.100.1", 50000)
DAY = 86_400_000_000


def sha1(der: bytes) -> bytes:
    return hashlib.sha1(der, usedforsecurity=False).digest()


def handshake(  # noqa: PLR0913 - each is what a test is about
    frame: int,
    chain: Sequence[bytes] = (),
    *,
    alert: int | None = None,
    proceeded: bool | None = None,
    server: Endpoint = HEAD_END,
    client: Endpoint = PHONE,
    name: str | None = None,
) -> tuple[Handshake, dict[bytes, bytes]]:
    """Return a handshake a day after the previous one; by default a client continues unless it alerts."""
    certificates = tuple(
        PresentedCertificate(i, "server", frame + 1, hashlib.sha256(der).digest())
        for i, der in enumerate(chain)
    )
    made = Handshake(
        frame=frame,
        time=frame * DAY,
        transport="tcp",
        stream=frame,
        client=client,
        server=server,
        server_name=name,
        version="TLS 1.0",
        resumed=False,
        encrypted=False,
        client_proceeded=(alert is None and bool(chain)) if proceeded is None else proceeded,
        hidden=None if chain else "packets-missing",
        certificates=certificates,
        alerts=() if alert is None else (Alert(frame + 2, frame * DAY, "client", "fatal", alert, "alert"),),
    )
    return made, {hashlib.sha256(der).digest(): der for der in chain}


Seen = tuple[Handshake, dict[bytes, bytes]]


def observation(*seen: Seen, path: str = "a.pcap", answers: tuple[NameAnswer, ...] = ()) -> Observation:
    store = {key: der for _, ders in seen for key, der in ders.items()}
    return Observation(
        path, "complete", 9, None, "plugin", tuple(h for h, _ in seen), answers=answers, certificates=store
    )


def told(
    *ders: bytes,
    url: str = "https://203.0.113.1/phone",
    device: str = "SEP000000000001",
    host_id_check: bool = False,
    fetch: Fetch | None = None,
) -> CnfFile:
    hashes = tuple(
        ExpectedHash(i + 1, base64.b64encode(sha1(der)).decode(), sha1(der), "SHA-1")
        for i, der in enumerate(ders)
    )
    group = VpnGroup((HeadEndUrl(1, url),), hashes, host_id_check, "0")
    return CnfFile(device, f"{device}.cnf.xml", "plain", group, fetch)


def judged(observations: Sequence[Observation], *files: CnfFile) -> document.Document:
    return correlate(observations, Sources(files), TOOL)


def only(result: document.Document) -> document.Expectation:
    (expectation,) = result.expectations
    return expectation


LEAF, OLD, ROOT, OTHER = b"leaf", b"old leaf", b"root", b"of another server"


# ---------------------------------------------------------------- no false match

_chains = st.lists(st.sampled_from([LEAF, OLD, ROOT, OTHER]), max_size=3)
_alerts = st.sampled_from([None, None, 0, 40, 42, 43, 44, 45, 46, 48, 80])
_histories = st.lists(st.tuples(_chains, _alerts, st.booleans()), max_size=6)


@settings(max_examples=400)
@given(_histories, st.lists(st.sampled_from([LEAF, OLD, ROOT, b"never seen"]), max_size=3))
def test_a_match_is_proved_by_the_bytes(
    history: list[tuple[list[bytes], int | None, bool]], expected: list[bytes]
) -> None:
    """A match requires a handshake with a certificate of a listed hash, which the client did not reject."""
    seen = [
        handshake(n, chain, alert=alert, proceeded=went) for n, (chain, alert, went) in enumerate(history, 1)
    ]
    row = only(judged([observation(*seen)], told(*expected)))
    listed = {sha1(der) for der in expected}
    if row.verdict == "match":
        number = int((row.decided_by or "").rsplit(":", 1)[1])
        chain, alert, went = history[number - 1]
        assert went
        assert alert not in {42, 43, 44, 45, 46, 48}
        assert listed & {sha1(der) for der in chain}
        assert row.matched in {base64.b64encode(digest).decode() for digest in listed}
        # and nothing newer contradicts it
        for later, later_alert, _ in history[number:]:
            assert not later or listed & {sha1(der) for der in later}
            assert later_alert not in {42, 43, 44, 45, 46, 48}
    if row.verdict == "mismatch":
        number = int((row.decided_by or "").rsplit(":", 1)[1])
        assert not listed & {sha1(der) for der in history[number - 1][0]}
        assert not any(chain for chain, _, _ in history[number:])
    if row.verdict == "unseen":
        assert not history
    if row.verdict == "rejected":
        assert any(
            alert in {42, 43, 44, 45, 46, 48} and listed & set(map(sha1, c)) for c, alert, _ in history
        )


@given(_histories, st.randoms())
def test_the_order_of_captures_does_not_matter(
    history: list[tuple[list[bytes], int | None, bool]], random: object
) -> None:
    seen = [
        handshake(n, chain, alert=alert, proceeded=went) for n, (chain, alert, went) in enumerate(history, 1)
    ]
    captures = [observation(each, path=f"{n}.pcap") for n, each in enumerate(seen)]
    shuffled = list(captures)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one, two = only(judged(captures, told(LEAF))), only(judged(shuffled, told(LEAF)))
    assert (one.verdict, one.cause, one.decided_by) == (two.verdict, two.cause, two.decided_by)


@given(st.binary(max_size=40), st.sampled_from([None, "SHA-256", "SHA-512"]))
def test_what_is_no_sha1_of_the_certificate_never_matches(digest: bytes, algorithm: str | None) -> None:
    """HashAlg 0 means SHA-1: a longer digest does not match, even if it is that of the right certificate."""
    right = {"SHA-256": hashlib.sha256(LEAF).digest(), "SHA-512": hashlib.sha512(LEAF).digest()}
    wrong = ExpectedHash(1, "?", right.get(algorithm or "", digest), algorithm)
    file = told(LEAF)
    assert file.group is not None
    file = replace(file, group=replace(file.group, hashes=(wrong,)))
    assert only(judged([observation(handshake(1, [LEAF]))], file)).verdict == "mismatch"


# ---------------------------------------------------------------- the rules, one by one


def test_the_newest_handshake_decides() -> None:
    march, april = handshake(3, [OLD], alert=42), handshake(4, [LEAF])
    assert only(judged([observation(march, april)], told(LEAF))).verdict == "match"
    stale = only(judged([observation(march, april)], told(OLD)))
    assert (stale.verdict, stale.cause) == ("mismatch", "stale-hash")


def test_a_hash_of_the_issuer_matches_where_the_issuer_is_sent() -> None:
    row = only(judged([observation(handshake(1, [LEAF, ROOT]))], told(ROOT)))
    assert row.verdict == "match"
    assert "certificate 1 of the chain" in row.explanation


@pytest.mark.parametrize("code", [42, 43, 44, 45, 46, 48])
def test_a_refusal_of_the_right_certificate_is_a_rejection(code: int) -> None:
    assert only(judged([observation(handshake(1, [LEAF], alert=code))], told(LEAF))).verdict == "rejected"


def test_a_certificate_that_nobody_answered_is_no_match() -> None:
    row = only(judged([observation(handshake(1, [LEAF], proceeded=False))], told(LEAF)))
    assert row.verdict == "unverifiable"
    assert "does not show whether the client accepted it" in row.explanation


def test_an_older_mismatch_says_nothing_against_a_newer_certificate_without_answer() -> None:
    seen = observation(handshake(1, [OLD], alert=42), handshake(2, [LEAF], proceeded=False))
    assert only(judged([seen], told(LEAF))).verdict == "unverifiable"


def test_a_refusal_of_a_certificate_that_cannot_be_seen_undoes_an_older_match() -> None:
    seen = observation(handshake(1, [LEAF]), handshake(2, [], alert=42))
    assert only(judged([seen], told(LEAF))).verdict == "unverifiable"


def test_hidden_certificates_leave_an_older_match_standing() -> None:
    assert only(judged([observation(handshake(1, [LEAF]), handshake(2))], told(LEAF))).verdict == "match"


def test_no_hash_at_all_cannot_match() -> None:
    row = only(judged([observation(handshake(1, [LEAF]))], told()))
    assert (row.verdict, row.cause) == ("mismatch", "malformed-hash")


def test_the_hash_of_another_server_is_told_from_a_stale_one() -> None:
    elsewhere = handshake(1, [OTHER], server=Endpoint("203.0.113.2", 443))
    row = only(judged([observation(elsewhere, handshake(2, [LEAF]))], told(OTHER)))
    assert (row.verdict, row.cause) == ("mismatch", "other-head-end")
    assert "203.0.113.2:443" in row.explanation


def test_another_port_is_another_head_end_but_dtls_has_its_own() -> None:
    other_port = handshake(1, [LEAF], server=Endpoint("203.0.113.1", 8443))
    assert only(judged([observation(other_port)], told(LEAF))).verdict == "unseen"
    datagrams = handshake(1, [LEAF])
    datagrams = (replace(datagrams[0], transport="udp"), datagrams[1])
    file = told(LEAF, url="https://203.0.113.1:8443/phone")
    assert only(judged([observation(datagrams)], file)).verdict == "match"


# ---------------------------------------------------------------- names


def test_head_end_name_is_found_by_sni_dns_and_resolve_option() -> None:
    by_name = told(LEAF, url="https://VPN.Example.COM/phone")
    plain, named = handshake(1, [LEAF]), handshake(1, [LEAF], name="vpn.example.com")
    answer = NameAnswer("vpn.example.com", "203.0.113.1", 1, 0)
    assert only(judged([observation(plain)], by_name)).verdict == "unseen"
    assert only(judged([observation(named)], by_name)).verdict == "match"
    assert only(judged([observation(plain, answers=(answer,))], by_name)).verdict == "match"
    stated = correlate(
        [observation(plain)], Sources((by_name,)), TOOL, resolve={"vpn.example.com": ["203.0.113.1"]}
    )
    assert only(stated).verdict == "match"


def test_ipv6_address_in_a_dns_answer_is_compared_in_any_notation() -> None:
    answers = (NameAnswer("vpn.example", "2001:0DB8:0::0001", 1, 0),)
    seen = observation(handshake(1, [LEAF], server=Endpoint("2001:db8::1", 443)), answers=answers)
    assert only(judged([seen], told(LEAF, url="https://vpn.example/x"))).verdict == "match"


def test_another_name_at_the_same_address_is_another_head_end() -> None:
    answer = NameAnswer("vpn.example.com", "203.0.113.1", 1, 0)
    other = handshake(1, [OTHER], name="www.example.com")
    row = only(judged([observation(other, answers=(answer,))], told(LEAF, url="https://vpn.example.com/")))
    assert row.verdict == "unseen"


# ---------------------------------------------------------------- the sender of an alert


def fetched(client: str, device: str, *ders: bytes, at: int = 0) -> CnfFile:
    return replace(
        told(*ders, device=device), source="a.pcap", fetch=Fetch("a.pcap", 1, at * DAY, client, "192.0.2.1")
    )


def test_an_unknown_clients_alert_counts_for_every_device_and_says_so() -> None:
    seen = observation(handshake(1, [LEAF], alert=42))
    rows = judged([seen], told(LEAF), told(LEAF, device="SEP000000000002")).expectations
    assert [row.verdict for row in rows] == ["rejected", "rejected"]
    assert all("device is not known" in row.explanation for row in rows)


@pytest.mark.parametrize("proceeded", [False, True])
def test_a_known_devices_alert_counts_for_that_device_alone(proceeded: bool) -> None:
    """It is not a match for other phones either, even if the client had continued before the rejection."""
    seen = observation(handshake(2, [LEAF], alert=42, proceeded=proceeded))
    mine = fetched(PHONE.address, "SEP000000000001", LEAF)
    rows = {r.device: r for r in judged([seen], mine, told(LEAF, device="SEP000000000002")).expectations}
    assert rows["SEP000000000001"].verdict == "rejected"
    assert rows["SEP000000000002"].verdict == "unverifiable"


def test_a_phone_that_refused_is_believed_before_others_that_went_on() -> None:
    other = Endpoint("198.51.100.9", 50000)
    seen = observation(handshake(2, [LEAF], alert=42), handshake(3, [LEAF], client=other))
    assert only(judged([seen], fetched(PHONE.address, "SEP000000000001", LEAF))).verdict == "rejected"


def test_handshakes_before_the_newest_file_do_not_count_for_it() -> None:
    """The phone rejected, got a new file, and has not tried since."""
    seen = observation(handshake(2, [LEAF], alert=42))
    old = fetched(PHONE.address, "SEP000000000001", OLD, at=1)
    new = fetched(PHONE.address, "SEP000000000001", LEAF, at=3)
    result = judged([seen], old, new)
    assert only(result).verdict == "unverifiable"
    assert result.handshakes[0].verdict == "mismatch"  # the verdict for the file of that day


# ---------------------------------------------------------------- copies


def test_a_copy_that_says_the_same_is_one_expectation() -> None:
    result = judged(
        [observation(handshake(2, [LEAF]))], told(LEAF), fetched(PHONE.address, "SEP000000000001", LEAF)
    )
    row = only(result)
    assert (row.verdict, row.source, row.frame) == ("match", "SEP000000000001.cnf.xml", None)
    assert row.download is not None


def test_a_copy_that_says_otherwise_is_warned_of() -> None:
    result = judged(
        [observation(handshake(2, [LEAF]))], told(OLD), fetched(PHONE.address, "SEP000000000001", LEAF)
    )
    row = only(result)
    assert (row.verdict, row.source, row.frame) == ("match", "a.pcap", 1)
    assert any("outdated" in warning for warning in row.warnings)


def test_an_encrypted_file_is_told_apart_from_no_vpn() -> None:
    row = only(judged([], CnfFile("SEP000000000001", "a.cnf.xml.enc.sgn", "encrypted", None)))
    assert (row.verdict, row.url) == ("unverifiable", None)
    assert "cannot be read" in row.explanation


def test_a_url_that_cannot_be_used_is_no_guess() -> None:
    row = only(judged([observation(handshake(1, [LEAF]))], told(LEAF, url="http://203.0.113.1/phone")))
    assert row.verdict == "unverifiable"
    assert "cannot be used" in row.explanation


def test_a_list_of_hashes_that_is_not_complete_proves_no_mismatch() -> None:
    """A configuration names a trustpoint without its certificate, whose hash may be the matching one."""
    file = told(OLD)
    assert file.group is not None
    partial = replace(file, group=replace(file.group, unresolved=("vpn-trustpoint 2 trustpoint cme root",)))
    row = only(judged([observation(handshake(1, [LEAF]))], partial))
    assert row.verdict == "unverifiable"
    assert "vpn-trustpoint 2 trustpoint cme root" in row.explanation
    assert only(judged([observation(handshake(1, [OLD]))], partial)).verdict == "match"


def test_one_sha1_with_two_certificates_is_said_loudly(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test cannot create a collision, so the digest is replaced."""
    monkeypatch.setattr("certhash.judgement.evidence.Presented.sha1", property(lambda _: b"\0" * 20))
    result = judged([observation(handshake(1, [LEAF]), handshake(2, [OTHER]))], told(LEAF))
    assert any("COLLISION" in problem.message for problem in result.problems)
    assert result.exit_status == 2


def test_exit_status_rests_on_expectations_alone() -> None:
    """A head-end that was wrong in March and right in April is a match today."""
    seen = observation(handshake(3, [OLD], alert=42), handshake(4, [LEAF]))
    result = judged([seen], told(LEAF))
    assert [h.verdict for h in result.handshakes] == ["mismatch", "match"]
    assert result.exit_status == 0
