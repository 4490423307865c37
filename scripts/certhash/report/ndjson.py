"""NDJSON: an object a line, written while the audit runs.

Every line has a ``type``. First comes ``start`` (`schema_version`, `tool`); then, as captures finish, their
``handshake`` lines, ``capture`` and ``problem``; at the end ``verdict`` (of each handshake, by its `id`),
``expectation``, and last ``summary`` with `exit_status`. A run that was cut off has no ``summary``. What a
handshake means is known only when everything was read: so `verdict` and `devices` come in lines of their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from certhash.document import SCHEMA_VERSION, Document, Handshake, Tool
from certhash.report.jsonform import encode

if TYPE_CHECKING:
    from collections.abc import Iterator

Kind = Literal["start", "handshake", "capture", "problem", "verdict", "expectation", "summary"]

_JUDGED = ("verdict", "devices")


def event(kind: Kind, struct: msgspec.Struct) -> bytes:
    """Return one line (UTF-8, with its line end). Of a handshake, its verdict and devices are left out."""
    fields = msgspec.structs.asdict(struct)
    if isinstance(struct, Handshake):
        for judged in _JUDGED:
            del fields[judged]
    return _line(kind, fields)


def start(tool: Tool) -> bytes:
    """Return the first line."""
    return _line("start", {"schema_version": SCHEMA_VERSION, "tool": tool})


def end(document: Document) -> Iterator[bytes]:
    """Return the lines that can be written only when everything was read."""
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
