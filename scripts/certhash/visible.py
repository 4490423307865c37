"""Make untrusted text safe to display: escape every character that is not visible.

Subjects, server names, file names and cnf files may hold escape sequences, control characters, marks that
change the direction of text, and bytes that are not UTF-8 (lone surrogates in Python, PEP 383).
"""

from __future__ import annotations

import re

_SURROGATE = re.compile("[\ud800-\udfff]")


def visible(text: str, limit: int = 0) -> str:
    r"""Return `text` with every character that does not print as itself written as ``\x1b`` or ``\u202e``.

    An undecodable byte of a file name is written as ``\xNN``. A text longer than `limit` is cut there, with a
    note of its full length.
    """
    if limit and len(text) > limit:
        return f"{visible(text[:limit])}… ({len(text):,} characters)"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escape(c) for c in text)


def without_surrogates(text: str) -> str:
    """Return `text` with lone surrogates, which UTF-8 cannot encode, escaped; the rest is unchanged."""
    return _SURROGATE.sub(lambda found: _escape(found[0]), text)


def _escape(character: str) -> str:
    point = ord(character)
    if 0xDC80 <= point <= 0xDCFF:  # noqa: PLR2004 - PEP 383: the byte NN of an undecodable name is U+DCNN
        return f"\\x{point & 0xFF:02x}"
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
