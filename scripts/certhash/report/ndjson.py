"""Write a result as NDJSON: one object per line, during the audit.

Every line has a ``type``. The first is ``start`` (`schema_version`, `tool`). As each capture finishes, its
``handshake``, ``capture`` and ``problem`` lines follow. At the end come ``verdict`` (per handshake, by `id`),
``expectation``, and ``summary`` with `exit_status`. An interrupted run has no ``summary``. The verdict of a
handshake is known only after all captures, so `verdict` and `devices` have their own lines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from certhash.judgement.document import SCHEMA_VERSION, Document, Handshake, Tool
from certhash.report.jsonform import encode

if TYPE_CHECKING:
    from collections.abc import Iterator

Kind = Literal["start", "handshake", "capture", "problem", "verdict", "expectation", "summary"]

_JUDGED = ("verdict", "devices")


def event(kind: Kind, struct: msgspec.Struct) -> bytes:
    """Return one line (UTF-8, with line end). A handshake is written without verdict and devices."""
    fields = msgspec.structs.asdict(struct)
    if isinstance(struct, Handshake):
        for judged in _JUDGED:
            del fields[judged]
    return _line(kind, fields)


def start(tool: Tool) -> bytes:
    """Return the first line."""
    return _line("start", {"schema_version": SCHEMA_VERSION, "tool": tool})


def end(document: Document) -> Iterator[bytes]:
    """Yield the lines that are known only after all captures."""
    for handshake in document.handshakes:
        yield _line(
            "verdict", {"id": handshake.id, "verdict": handshake.verdict, "devices": handshake.devices}
        )
    for expectation in document.expectations:
        yield event("expectation", expectation)
    summary = msgspec.structs.asdict(document.summary)
    yield _line("summary", {**summary, "exit_status": document.exit_status})


def render(document: Document) -> str:
    """Return all lines of a finished document."""
    lines = [start(document.tool)]
    lines += [event("handshake", handshake) for handshake in document.handshakes]
    lines += [event("capture", capture) for capture in document.captures]
    lines += [event("problem", problem) for problem in document.problems]
    lines += end(document)
    return b"".join(lines).decode()


def _line(kind: Kind, fields: dict[str, object]) -> bytes:
    return encode({"type": kind, **fields}) + b"\n"
