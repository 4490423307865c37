"""Text that strangers wrote, as a terminal may get it."""

from __future__ import annotations


def visible(text: str) -> str:
    r"""Return the text with every character that does not print as itself written out, as ``\x1b``."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode("ascii")
        for char in text
    )
