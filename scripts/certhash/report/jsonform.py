"""Write a result as JSON, and read it back."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import msgspec

from certhash.errors import InputError
from certhash.judgement.document import SCHEMA_VERSION, Document
from certhash.report.text import visible, without_surrogates

_FOREIGN = re.compile("[\x7f-\U0010ffff]+")


class _Head(msgspec.Struct):
    schema_version: int


def render(value: object) -> str:
    """Return a document, or another value, as indented JSON in a stable order."""
    return msgspec.json.format(encode(value), indent=2).decode() + "\n"


def encode(value: object) -> bytes:
    """Return `value` as JSON (UTF-8) on one line.

    Undecodable bytes of file names become text, and characters that do not print are escaped.
    """
    try:
        encoded = msgspec.json.encode(value)
    except UnicodeEncodeError:
        encoded = msgspec.json.encode(_map_text(msgspec.to_builtins(value)))
    if encoded.isascii():
        return encoded
    return _FOREIGN.sub(_escape, encoded.decode()).encode()


def load(path: str) -> Document:
    """Read a saved result; ``-`` is standard input.

    Raises:
        InputError: it cannot be read, is truncated, is not a result, or is from a newer certhash.
    """
    name = "standard input" if path == "-" else visible(path)
    try:
        content = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{name}: cannot be read: {reason}") from None
    if not content.strip():
        raise InputError(f"{name}: empty: save a result with `certhash audit ... -f json -o FILE`")
    try:
        version = msgspec.json.decode(content, type=_Head).schema_version
        if version > SCHEMA_VERSION:
            raise InputError(
                f"{name}: written by a newer certhash (schema {version}, this one reads {SCHEMA_VERSION}):"
                " update certhash"
            )
        return msgspec.json.decode(content, type=Document)
    except msgspec.ValidationError as error:
        raise InputError(
            f"{name}: not a result of `certhash audit -f json`: {visible(str(error), 300)}"
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{name}: {_complaint(str(error))}") from None


def _escape(found: re.Match[str]) -> str:
    """Escape characters that do not print; they occur only within JSON strings."""
    text = found[0]
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)


def _complaint(error: str) -> str:
    if "truncated" in error:
        return "truncated: save the result again"
    if "trailing characters" in error:
        return "contains several JSON values, like NDJSON: save the result with `-f json`"
    return f"not JSON: {visible(error, 300)}"


def _map_text(value: object) -> object:
    if isinstance(value, str):
        return without_surrogates(value)
    if isinstance(value, dict):
        return {_map_text(key): _map_text(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_map_text(item) for item in value]
    return value
