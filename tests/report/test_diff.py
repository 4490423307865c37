"""Test the comparison of two results: it covers every pair of states, and only regressions are findings."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, get_args

import msgspec
import pytest

from certhash.judgement.document import FINDINGS, Verdict
from certhash.report import Look, jsonform, render
from certhash.report.difference import Difference, compare, render_table

from . import documents

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    from certhash.judgement.document import Document

    Certhash = Callable[..., subprocess.CompletedProcess[bytes]]

VERDICTS: tuple[Verdict | None, ...] = (None, *get_args(Verdict))
KINDS = ("worse", "mended", "changed", "unclear", "cleared", "appeared", "gone")


def _result(verdict: Verdict | None, **fields: object) -> Document:
    if verdict is None:
        return documents.document()
    cause = (
        "unknown-certificate" if verdict == "mismatch" else "alert-only" if verdict == "rejected" else None
    )
    fields.setdefault("cause", cause)
    return documents.document((documents.expectation("SEP1", verdict, **fields),))  # type: ignore[arg-type]


def _kinds(old: Document, new: Document) -> set[str]:
    difference = compare(old, new)
    return {kind for kind in KINDS if getattr(difference, kind)}


@pytest.mark.parametrize(("old", "new"), [*itertools.product(VERDICTS, VERDICTS)])
def test_every_pair_of_verdicts_has_its_place(old: Verdict | None, new: Verdict | None) -> None:
    finding_before, finding_now = old in FINDINGS, new in FINDINGS
    if old == new:
        expected = set()
    elif new is None:
        expected = {"gone"}
    elif finding_now:
        expected = {"changed" if finding_before else "worse"}
    elif old is None:
        expected = {"appeared"}
    elif new == "match":
        expected = {"mended" if finding_before else "cleared"}
    else:
        expected = {"unclear"} if finding_before or old == "match" else set()
    assert _kinds(_result(old), _result(new)) == expected


def test_another_cause_or_hash_is_a_change() -> None:
    assert _kinds(_result("mismatch"), _result("mismatch", cause="stale-hash")) == {"changed"}
    assert _kinds(_result("mismatch"), _result("mismatch", hashes=())) == {"changed"}
    assert _kinds(_result("match"), _result("match", hashes=())) == set()


def test_a_phone_that_one_result_lacks_is_not_checked_there() -> None:
    one, none = _result("mismatch"), documents.document()
    assert "  not checked -> mismatch" in render_table(compare(none, one), Look(80))
    assert "(unknown-certificate) -> not checked" in render_table(compare(one, none), Look(80))


def test_a_result_does_not_differ_from_itself(everything: Document, hostile: Document) -> None:
    for document in (everything, hostile):
        difference = compare(document, document)
        assert not any(getattr(difference, kind) for kind in KINDS)
        assert not difference.certificates
        assert "Nothing changed" in render_table(difference, Look(80))


def test_two_files_for_one_device_and_the_worse_counts() -> None:
    good, bad = (
        documents.expectation("SEP1", "match"),
        documents.expectation("SEP1", "mismatch", source="old copy"),
    )
    before = documents.document((good,))
    for both in ((good, bad), (bad, good)):
        (change,) = compare(before, documents.document(both)).worse
        assert change.new is not None
        assert change.new.verdict == "mismatch"


def test_tells_head_ends_that_present_another_certificate() -> None:
    old, new = documents.certificate("old"), documents.certificate("new")
    before = documents.document(handshakes=(documents.handshake(1, old), documents.handshake(2, old)))
    after = documents.document(
        handshakes=(
            documents.handshake(1, old),
            documents.handshake(5, new),
            documents.handshake(9, new),
            documents.handshake(3, new, server="10.0.0.9"),
        )
    )
    (renewal,) = compare(before, after).certificates
    assert renewal.server == "10.201.160.201:443"
    assert [each.sha1 for each in renewal.old] == [old.sha1]
    assert [each.sha1 for each in renewal.new] == [new.sha1]
    assert renewal.time == after.handshakes[1].time
    text = render_table(compare(before, after), Look(80))
    assert old.sha1 in text
    assert new.sha1 in text


def test_a_handshake_without_certificates_changes_nothing() -> None:
    old = documents.certificate("old")
    before = documents.document(handshakes=(documents.handshake(1, old),))
    after = documents.document(
        handshakes=(documents.handshake(1, old), documents.handshake(9, hidden="resumed"))
    )
    assert not compare(before, after).certificates


def test_json_says_what_the_types_say(everything: Document) -> None:
    difference = compare(documents.document(), everything)
    assert msgspec.json.decode(jsonform.render(difference), type=Difference) == difference


def test_hostile_texts_are_shown_and_not_obeyed(hostile: Document) -> None:
    text = render_table(compare(documents.document(), hostile), Look(80))
    assert not {c for c in text if not c.isprintable() and c != "\n"}
    assert "\\x1b[31mred" in text
    json.loads(jsonform.render(compare(documents.document(), hostile)))


class TestCommand:
    @pytest.fixture
    def save(self, tmp_path: Path) -> Callable[[str, Document], Path]:
        def write(name: str, document: Document) -> Path:
            path = tmp_path / name
            path.write_text(render(document, "json"), encoding="utf-8")
            return path

        return write

    @pytest.mark.parametrize(
        ("old", "new", "status"),
        [
            ("match", "mismatch", 1),
            ("mismatch", "match", 0),
            ("mismatch", "mismatch", 0),
            ("match", "unseen", 0),
        ],
    )
    def test_exit_status_tells_what_got_worse(
        self,
        old: Verdict,
        new: Verdict,
        status: int,
        certhash: Certhash,
        save: Callable[[str, Document], Path],
    ) -> None:
        done = certhash("diff", save("old.json", _result(old)), save("new.json", _result(new)))
        assert (done.returncode, done.stderr) == (status, b"")

    def test_writes_json_too(
        self, certhash: Certhash, save: Callable[[str, Document], Path], tmp_path: Path
    ) -> None:
        old, new = save("old.json", _result("match")), save("new.json", _result("mismatch"))
        done = certhash("diff", old, new, "-o", "changes.json")
        assert done.returncode == 1
        (change,) = json.loads((tmp_path / "changes.json").read_bytes())["worse"]
        assert (change["device"], change["old"]["verdict"], change["new"]["verdict"]) == (
            "SEP1",
            "match",
            "mismatch",
        )

    def test_has_no_other_form(self, certhash: Certhash, saved: Path) -> None:
        done = certhash("diff", saved, saved, "-o", "changes.html")
        assert done.returncode == 2
        assert (
            done.stderr
            == b"certhash: changes.html: the suffix tells no output format; add -f (table, json)\n"
        )

    def test_a_result_that_cannot_be_read(self, certhash: Certhash, saved: Path) -> None:
        done = certhash("diff", saved, "missing.json")
        assert done.returncode == 2
        assert done.stderr.startswith(b"certhash: missing.json: cannot be read")
