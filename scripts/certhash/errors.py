"""The one way in which a command says that it cannot do what it was asked."""

from __future__ import annotations


class InputError(Exception):
    """Bad input or a missing part: one clear line that names the thing and what to do; exit status 2."""
