"""Write a result as CSV: one row per expectation, safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING

from certhash.report.findings import ON_PAPER, deciding, frame_of, presented
from certhash.report.text import visible

if TYPE_CHECKING:
    from certhash.judgement.document import Document, Expectation, Handshake

COLUMNS = (
    "verdict",
    "cause",
    "device",
    "url",
    "hashes",
    "matched",
    "presented",
    "subject",
    "server",
    "time",
    "capture",
    "frame",
    "source",
    "source_frame",
    "source_line",
    "explanation",
    "advice",
    "warnings",
    "basis",
)

# At the start of a cell, or after a semicolon, which separates cells where the comma is the decimal sign.
_FORMULA = re.compile(r"(^\s*|;\s*)(?=[-=+@＝＋－＠])")  # noqa: RUF001 - the full-width signs count as well
_CELL = 32_000  # characters; spreadsheets take 32,767 in a cell


def render(document: Document) -> str:
    """Return the rows (RFC 4180); an apostrophe precedes text that a spreadsheet would take for a formula."""
    decided = deciding(document)
    stream = io.StringIO()
    writer = csv.writer(stream)
    writer.writerow(COLUMNS)
    for expectation in document.expectations:
        row = _row(expectation, decided(expectation))
        writer.writerow([_safe(row[column]) for column in COLUMNS])
    return stream.getvalue()


def _row(expectation: Expectation, decided: Handshake | None) -> dict[str, str | int | None]:
    chain = presented(decided)
    return {
        "verdict": expectation.verdict,
        "cause": expectation.cause,
        "device": expectation.device,
        "url": expectation.url,
        "hashes": " ".join(f"certHash{each.number} {each.value}" for each in expectation.hashes),
        "matched": expectation.matched,
        "presented": " ".join(f"{each.position} {each.sha1}" for each in chain),
        "subject": chain[0].subject if chain else None,
        "server": decided.server.address if decided else None,
        "time": decided.time if decided else None,
        "capture": decided.capture if decided else None,
        "frame": frame_of(decided) if decided else None,
        "source": expectation.source,
        "source_frame": expectation.frame,
        "source_line": expectation.line,
        "explanation": expectation.explanation,
        "advice": " | ".join(each.strip() for each in expectation.advice),
        "warnings": " | ".join(expectation.warnings),
        "basis": ON_PAPER if expectation.on_paper else "handshake" if decided else None,
    }


def _safe(value: str | int | None) -> str | int:
    if not isinstance(value, str):
        return "" if value is None else value
    return _FORMULA.sub(r"\1'", visible(value, _CELL))
