"""Text helpers that several reports use."""

from __future__ import annotations

from certhash.visible import visible, without_surrogates

__all__ = ["LONGEST_HASH", "count", "visible", "without_surrogates"]

LONGEST_HASH = 128
"""Characters. The Base64 of a SHA-512 has 88; no text up to this length is cut."""


def count(number: int, noun: str, plural: str | None = None) -> str:
    """Return ``1 capture``, ``1,204 captures``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
