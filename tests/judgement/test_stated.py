"""Test ``--expect``: a hash without a file, compared with what servers present."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
from typing import TYPE_CHECKING, Any

import pytest
from lxml import etree
from tests.conftest import TOP, certhash
from tests.harness.openssl import make
from tests.judgement.test_correlate import LEAF, OLD, OTHER, TOOL, handshake, observation

from certhash.cnf.stated import read_stated
from certhash.errors import InputError
from certhash.judgement.correlate import correlate
from certhash.model import Endpoint, Sources

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Ended
    from tests.judgement.test_correlate import Seen

    from certhash.judgement.document import Document

CAPTURES = TOP / "captures"
PRESENTED: dict[str, Any] = json.loads((CAPTURES / "expected.json").read_text("utf-8"))
SECOND = Endpoint("203.0.113.2", 443)
TAC = "fZ2xQHMBcWj/fSoNs5IkPbA2Pt8="


def cert_hash(der: bytes, algorithm: str = "sha1") -> str:
    return base64.b64encode(hashlib.new(algorithm, der, usedforsecurity=False).digest()).decode()


def first_certificate(capture: str) -> str:
    """Return the recorded hash of the first certificate in a capture."""
    (found,) = (each for each in PRESENTED["captures"] if each["path"] == capture)
    return str(found["handshakes"][0]["certificates"][0]["sha1"])


def judged(*texts: str, seen: tuple[Seen, ...]) -> Document:
    return correlate([observation(*seen)], Sources(read_stated(texts)), TOOL)


def verdict(*seen: Seen, text: str = cert_hash(LEAF)) -> str:
    (expectation,) = judged(text, seen=seen).expectations
    return expectation.verdict


# ---------------------------------------------------------------- the rule, without a URL


def test_one_server_that_presents_it_is_enough() -> None:
    assert verdict(handshake(1, [OTHER]), handshake(9, [LEAF], server=SECOND)) == "match"
    assert verdict(handshake(1, [LEAF]), handshake(9, server=SECOND)) == "match"
    assert verdict(handshake(1, [OTHER, LEAF])) == "match"


def test_a_refusal_is_one_unless_somebody_went_on() -> None:
    refused = handshake(1, [LEAF], alert=42)
    assert verdict(refused) == "rejected"
    assert verdict(refused, handshake(9, [OTHER], server=SECOND)) == "rejected"
    assert verdict(refused, handshake(9, [LEAF], server=SECOND)) == "match"


def test_a_certificate_that_nobody_answered_is_no_match() -> None:
    assert verdict(handshake(1, [LEAF], proceeded=False)) == "unverifiable"


def test_no_server_presents_it() -> None:
    seen = (handshake(1, [OTHER]), handshake(9, [OLD], server=SECOND))
    (expectation,) = judged(cert_hash(LEAF), seen=seen).expectations
    assert (expectation.device, expectation.url, expectation.source) == ("-", None, "--expect")
    assert (expectation.verdict, expectation.cause) == ("mismatch", "unknown-certificate")
    for server, der, frame in (("203.0.113.1:443", OTHER, 2), ("203.0.113.2:443", OLD, 10)):
        assert server in expectation.explanation
        assert cert_hash(der) in expectation.explanation
        assert f"frame {frame}" in expectation.explanation


def test_server_with_a_hidden_certificate_makes_a_stated_hash_unverifiable() -> None:
    assert verdict(handshake(1, [OTHER]), handshake(9, server=SECOND)) == "unverifiable"
    assert verdict(handshake(1)) == "unverifiable"
    # The same server, once with and once without visible certificates: the visible ones decide, as for a URL.
    assert verdict(handshake(1, [OTHER]), handshake(9)) == "mismatch"


def test_what_a_server_presented_before() -> None:
    """A head-end with a renewed certificate does not present it any more, and the cause says so."""
    (expectation,) = judged(cert_hash(OLD), seen=(handshake(1, [OLD]), handshake(9, [LEAF]))).expectations
    assert (expectation.verdict, expectation.cause) == ("mismatch", "stale-hash")


def test_no_handshake_at_all() -> None:
    assert verdict() == "unseen"
    (expectation,) = correlate([], Sources(read_stated([cert_hash(LEAF)])), TOOL).expectations
    assert expectation.verdict == "unseen"
    assert expectation.explanation.startswith("No capture was given.")


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_the_order_of_captures_does_not_matter(order: tuple[int, ...]) -> None:
    hidden = handshake(20, server=Endpoint("203.0.113.3", 443))
    seen = (handshake(1, [OTHER]), handshake(9, [LEAF], server=SECOND), hidden)
    observations = [observation(seen[at], path=f"{at}.pcap") for at in order]
    result = correlate(observations, Sources(read_stated([cert_hash(LEAF)])), TOOL)
    assert result.expectations[0].verdict == "match"


def test_handshakes_have_the_verdict_of_what_they_show() -> None:
    def verdicts(*seen: Seen) -> list[tuple[str, tuple[str, ...]]]:
        return [(each.verdict, each.devices) for each in judged(cert_hash(LEAF), seen=seen).handshakes]

    elsewhere = handshake(9, [OTHER], server=SECOND)
    assert verdicts(handshake(1, [LEAF]), elsewhere) == [("match", ("-",)), ("unlisted", ())]
    assert verdicts(handshake(1, [OLD]), elsewhere) == [("mismatch", ("-",)), ("mismatch", ("-",))]
    assert verdicts(handshake(1), elsewhere) == [("unlisted", ()), ("unlisted", ())]


# ---------------------------------------------------------------- with a URL


def test_with_a_url_only_that_head_end_counts() -> None:
    seen = (handshake(1, [OTHER]), handshake(9, [LEAF], server=SECOND))
    assert verdict(*seen, text=f"{cert_hash(LEAF)}=https://203.0.113.1/x") == "mismatch"
    assert verdict(*seen, text=f"{cert_hash(LEAF)}=https://203.0.113.2/x") == "match"
    assert verdict(*seen, text=f"{cert_hash(LEAF)}=https://203.0.113.3/x") == "unseen"


@pytest.mark.parametrize("url", ["", "=https://203.0.113.1/x", "=HTTPS://203.0.113.1"])
@pytest.mark.parametrize(
    "form",
    [
        lambda value: base64.b64encode(value).decode(),
        lambda value: base64.b64encode(value).decode().rstrip("="),
        bytes.hex,
        lambda value: value.hex(":").upper(),
        lambda value: "\N{LEFT-TO-RIGHT MARK}" + value.hex(" "),
        lambda value: f"SHA1 Fingerprint={value.hex(':').upper()}",
        lambda value: f"SHA1(leaf.der)= {value.hex()}",
    ],
)
def test_every_form_that_hash_takes(form: Any, url: str) -> None:
    digest = hashlib.sha1(LEAF, usedforsecurity=False).digest()
    assert verdict(handshake(1, [LEAF]), text=form(digest) + url) == "match"


def test_a_certificate_file_states_its_hash(tmp_path: Path) -> None:
    pem = next((CAPTURES / "certificates").glob("cme*"))
    (stated,) = read_stated([f"{pem}=https://203.0.113.1/x"])
    assert stated.group is not None
    der = base64.b64decode("".join(pem.read_text("ascii").splitlines()[1:-1]))
    assert [each.value for each in stated.group.hashes] == [cert_hash(der)]
    (tmp_path / "two.pem").write_text(pem.read_text() * 2)
    (same,) = read_stated([str(tmp_path / "two.pem")])
    assert same.group is not None
    assert len(same.group.hashes) == 1


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_of_a_chain_the_leaf_is_expected(tmp_path: Path, order: tuple[int, ...]) -> None:
    """A CA's certificate, which other servers of the same CA send too, is no match."""
    root = make(tmp_path, "root")
    middle = make(tmp_path, "middle", "-CA", "root.pem", "-CAkey", "root.key")
    leaf = make(tmp_path, "leaf", "-CA", "middle.pem", "-CAkey", "middle.key")
    (tmp_path / "chain.pem").write_text("".join((leaf.pem, middle.pem, root.pem)[at] for at in order))
    (stated,) = read_stated([str(tmp_path / "chain.pem")])
    assert stated.group is not None
    assert [each.digest for each in stated.group.hashes] == [hashlib.sha1(leaf.der).digest()]  # noqa: S324
    (warning,) = stated.warnings
    assert "CN=leaf" in warning
    other = make(tmp_path, "other", "-CA", "middle.pem", "-CAkey", "middle.key")
    seen = (handshake(1, [other.der, middle.der]),)
    assert verdict(*seen, text=str(tmp_path / "chain.pem")) == "mismatch"
    (tmp_path / "two.pem").write_text(leaf.pem + other.pem + middle.pem)
    with pytest.raises(InputError, match="which of them is the head-end's own is not clear"):
        read_stated([str(tmp_path / "two.pem")])


def test_of_a_routers_output_the_own_certificate_is_expected(tmp_path: Path) -> None:
    path = tmp_path / "show.txt"
    lines = ("CA Certificate", "00" * 20, "Certificate", "11" * 20)
    path.write_text("{}\n  Fingerprint SHA1: {}\n{}\n  Fingerprint SHA1: {}\n".format(*lines))
    (stated,) = read_stated([str(path)])
    assert stated.group is not None
    assert [each.digest for each in stated.group.hashes] == [b"\x11" * 20]
    path.write_text(f"{'00' * 20}\n{'11' * 20}\n")
    (stated,) = read_stated([str(path)])
    assert stated.group is not None
    assert len(stated.group.hashes) == 2  # hashes, each of them stated


def test_another_digest_is_compared_as_what_it_is() -> None:
    assert verdict(handshake(1, [LEAF]), text=cert_hash(LEAF, "sha256")) == "match"
    assert verdict(handshake(1, [OTHER]), text=cert_hash(LEAF, "sha256")) == "mismatch"


@pytest.mark.parametrize(
    "text", ["", "zzz", "=https://203.0.113.1/x", f"{TAC}=http://203.0.113.1/x", f"{TAC}=https:///x"]
)
def test_what_is_no_hash_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"^--expect "):
        read_stated([text])


# ---------------------------------------------------------------- as a user runs it


def audit(*arguments: str | Path) -> Ended:
    return certhash("audit", "--no-cache", *arguments, cwd=TOP)


def test_a_capture_and_a_hash() -> None:
    right = first_certificate("match.pcapng")
    done = audit("captures/match.pcapng", "--expect", right)
    assert done.status == 0
    assert "1 match" in done.out
    assert "203.0.113.10:443" in done.out
    both = audit("captures/match.pcapng", "--expect", TAC, "--expect", right)
    assert both.status == 1
    assert "1 mismatch" in both.out
    assert audit("captures/tls13.pcapng", "--expect", TAC).status == 0
    assert audit("captures/match.pcapng", "--expect", "zzz").status == 2


@pytest.mark.parametrize("form", ["table", "json", "ndjson", "csv", "html", "junit", "sarif"])
def test_every_report_has_it(form: str) -> None:
    done = audit("captures/mismatch.pcapng", "--expect", TAC, "--expect", "11" * 20, "-f", form)
    assert done.status == 1
    assert TAC in done.out
    assert "(no URL can be read)" not in done.out
    if form == "junit":
        cases = etree.fromstring(done.out.encode()).iter("testcase")
        assert [case.get("name") for case in cases] == ["any head-end", "any head-end"]
    if form == "sarif":
        results = json.loads(done.out)["runs"][0]["results"]
        assert len({each["partialFingerprints"]["certhash/v1"] for each in results}) == 2


def test_diff_tells_stated_hashes_apart(tmp_path: Path) -> None:
    right = first_certificate("match.pcapng")
    for name in ("match", "mismatch"):
        capture = f"captures/{name}.pcapng"
        audit(capture, "--expect", right, "--expect", TAC, "-f", "json", "-o", tmp_path / name)
    done = certhash("diff", tmp_path / "match", tmp_path / "mismatch", cwd=TOP)
    assert "any phone  at  any head-end" in done.out
    assert right in done.out


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("", "no hash is given: write HASH or HASH=https://HOST/PATH"),
        ("=https://203.0.113.1/x", "no hash is given: write HASH or HASH=https://HOST/PATH"),
        (f"{TAC} https://203.0.113.1/x", "; write HASH or HASH=https://HOST/PATH"),
        (f"{TAC}=203.0.113.1", "; write HASH or HASH=https://HOST/PATH"),
    ],
)
def test_error_for_an_unsupported_form_names_the_supported_one(given: str, words: str) -> None:
    with pytest.raises(InputError) as raised:
        read_stated([given])
    assert words in str(raised.value)
