"""Define the exception with which a command reports that it cannot do its task."""

from __future__ import annotations


class InputError(Exception):
    """Bad input, or a missing part: one line that names it and says what to do; exit status 2."""
