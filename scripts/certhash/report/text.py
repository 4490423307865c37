"""Words that several reports use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from certhash.visible import visible, without_surrogates

if TYPE_CHECKING:
    from certhash.model import Endpoint

__all__ = ["LONGEST_HASH", "count", "place", "visible", "without_surrogates"]

LONGEST_HASH = 128
"""Characters. The Base64 of a SHA-512 has 88; what is no longer than this is never cut."""


def place(end: Endpoint) -> str:
    """Return an address and port as they are written in a URL."""
    address = f"[{end.address}]" if ":" in end.address else end.address
    return address if end.port is None else f"{address}:{end.port}"


def count(number: int, noun: str, plural: str | None = None) -> str:
    """Return ``1 capture``, ``1,204 captures``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
