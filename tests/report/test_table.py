"""Test the text report: it is complete, fits the width, cuts no hash, and escapes untrusted text."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace
from rich.cells import cell_len

from certhash.judgement.causes import CAUSES, is_typed
from certhash.judgement.document import FINDINGS
from certhash.report import Look, render

from . import documents
from .conftest import SCRIPTS

if TYPE_CHECKING:
    from pathlib import Path

    from certhash.judgement.document import Document


def _hashes(document: Document) -> set[str]:
    expected = {each.value for e in document.expectations if e.verdict in FINDINGS for each in e.hashes}
    presented = {each.sha1 for handshake in document.handshakes for each in handshake.certificates}
    return {each for each in expected | presented if each.endswith("=")}


def test_findings_come_first_then_every_expectation_then_coverage(everything: Document) -> None:
    text = render(everything, "table", Look(80))
    finding, table, coverage = (text.index(word) for word in ("MISMATCH", "verdict ", "Coverage"))
    assert finding < table < coverage
    rows = text[table:coverage]
    for expectation in everything.expectations:
        assert expectation.device in rows


def test_a_finding_says_what_was_expected_presented_why_and_what_to_type(everything: Document) -> None:
    text = render(everything, "table", Look(100))
    finding = text[text.index("SEP00AABBCC0000") : text.index("SEP00AABBCC0001")]
    old, new = documents.base64_sha1("vpn-2012.example.com"), documents.base64_sha1("vpn.example.com")
    assert finding.index(f"certHash1   {old}") < finding.index(new) < finding.index("stale-hash")
    assert "frame 6" in finding
    assert "bad_certificate (42)" in finding
    lines = finding.splitlines()
    for step in filter(is_typed, CAUSES["stale-hash"].advice):
        assert any(line.endswith(step) for line in lines), step


@pytest.mark.parametrize("width", [80, 100, 160])
@pytest.mark.parametrize("verbosity", [-1, 0, 1])
def test_fits_and_leaves_hashes_whole(width: int, verbosity: int, everything: Document) -> None:
    text = render(everything, "table", Look(width, verbosity=verbosity))
    for line in text.splitlines():
        assert cell_len(line) <= width or "==" in line, (
            "only a hash that is longer than the line may leave it"
        )


@pytest.mark.parametrize("width", [40, 60, 80])
def test_no_hash_is_cut_however_narrow(width: int, everything: Document) -> None:
    text = render(everything, "table", Look(width, verbosity=1))
    words = set(text.split())
    assert _hashes(everything) <= words


def test_hostile_texts_are_shown_and_not_obeyed(hostile: Document) -> None:
    text = render(hostile, "table", Look(80, verbosity=1))
    assert "\\x1b[31mred" in text
    assert "\\u202egnp.exe" in text
    assert "[red]markup[/red]" in text
    assert ":boom:" in text
    assert "caf\\xe9.pcap" in text
    assert "two\\r\\nlines\\u2028three" in text


def test_a_very_long_text_is_cut_and_its_length_told(hostile: Document) -> None:
    text = render(hostile, "table", Look(80))
    assert "(65,536 characters)" in text
    assert len(text) < 200_000


def test_colour_adds_nothing_but_colour(everything: Document) -> None:
    colored = render(everything, "table", Look(80, color=True))
    assert "\x1b[" in colored
    stripped = re.sub(r"\x1b\[[0-9;]*m", "", colored)
    plain = render(everything, "table", Look(80))
    assert [line.rstrip() for line in stripped.splitlines()] == plain.splitlines()


def test_equal_findings_are_printed_once(estate: Document) -> None:
    text = render(estate, "table", Look(80))
    before_table = text[: text.index("\nverdict ")]
    assert before_table.count("MISMATCH") == 2  # two head-ends with changed certificates have stale phones
    assert "and 49 more" in before_table
    full = render(estate, "table", Look(80, verbosity=1))
    assert full.count("MISMATCH") == estate.summary.mismatch


@pytest.mark.parametrize("verbosity", [0, 1])
def test_every_verdict_that_could_not_be_told_says_why(verbosity: int, everything: Document) -> None:
    text = render(everything, "table", Look(120, verbosity=verbosity))
    told = " ".join(text[text.index("Not verified") : text.index("Coverage")].split())
    undecided = [each for each in everything.expectations if each.verdict in {"unverifiable", "unseen"}]
    assert {each.verdict for each in undecided} == {"unverifiable", "unseen"}
    for each in undecided:
        assert " ".join(each.explanation.split()) in told


def test_the_same_reason_is_told_once_for_all_its_devices(everything: Document) -> None:
    unseen = next(each for each in everything.expectations if each.verdict == "unseen")
    devices = [f"SEP00AABBCC1{number:03}" for number in range(30)]
    estate = replace(
        everything, expectations=tuple(replace(unseen, device=device) for device in devices), handshakes=()
    )
    said = render(estate, "table", Look(120))
    assert said.count("  why  ") == 1
    assert f"{devices[0]} and 29 more" in said
    assert render(estate, "table", Look(120, verbosity=1)).count("  why  ") == len(devices)


def test_coverage_names_what_was_not_looked_at(everything: Document) -> None:
    text = render(everything, "table", Look(80, verbosity=-1))
    assert "3 captures (1 complete, 1 truncated, 1 unreadable)" in text
    assert "captures/cut.pcap" in text
    for reason in everything.summary.hidden:
        assert f"{reason}:" in text
    assert "captures/notes.txt: not a capture file: leave it out" in text


def test_without_cnf_files_the_hashes_that_were_seen_are_the_result() -> None:
    chain = documents.certificate("vpn.example.com"), documents.certificate("Lab CA", position=1)
    seen = documents.handshake(1, *chain, verdict="unlisted", name="vpn.example.com")
    text = render(documents.document(handshakes=(seen,)), "table", Look(80))
    assert "no cnf file was given" in text
    for certificate in chain:
        assert f"{certificate.position}           {certificate.sha1}  {certificate.subject}" in text


def test_a_column_without_a_value_is_left_out() -> None:
    row = documents.expectation("SEP1", "unseen")
    text = render(documents.document(expectations=(row,)), "table", Look(200))
    assert ["verdict", "device", "head-end"] in [line.split() for line in text.splitlines()]


def test_an_empty_result_is_a_report_too() -> None:
    text = render(documents.document(captures=()), "table", Look(80))
    assert "0 captures" in text


# ---------------------------------------------------------------- on a real terminal


def _on_terminal(saved: Path, *arguments: str, columns: int = 93, env: dict[str, str] | None = None) -> str:
    """Run `certhash report` on a pseudo-terminal, and return its output."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    unset = ("COLUMNS", "LINES", "NO_COLOR", "TERM")
    inherited = {key: value for key, value in os.environ.items() if key not in unset}
    process = subprocess.Popen(
        [sys.executable, "-m", "certhash", "report", str(saved), *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=subprocess.PIPE,
        env={**inherited, "PYTHONPATH": str(SCRIPTS), "TERM": "xterm", **(env or {})},
    )
    os.close(theirs)
    parts = []
    try:
        while part := os.read(ours, 65536):
            parts.append(part)
    except OSError:  # Linux raises this when the other side has closed
        pass
    os.close(ours)
    _, errors = process.communicate(timeout=30)
    assert not errors
    return b"".join(parts).decode()


def test_a_terminal_gets_colour_and_its_width(saved: Path) -> None:
    text = _on_terminal(saved, columns=140)
    assert "\x1b[" in text
    assert any(cell_len(line) > 100 for line in text.splitlines())


@pytest.mark.parametrize(
    ("arguments", "environment", "colored"),
    [
        ((), {"NO_COLOR": "1"}, False),
        ((), {"TERM": "dumb"}, False),
        (("--color", "never"), {}, False),
        (("--color", "always"), {"NO_COLOR": "1"}, True),
        ((), {"NO_COLOR": ""}, True),
    ],
)
def test_colour_is_as_asked(
    arguments: tuple[str, ...], environment: dict[str, str], colored: bool, saved: Path
) -> None:
    assert ("\x1b[" in _on_terminal(saved, *arguments, env=environment)) is colored
