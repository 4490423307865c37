"""Wait for what a test needs, as long as a busy machine may take."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE = 180.0
"""Seconds; a busy machine starts programs slowly."""


def until(
    condition: Callable[[], Any], what: str = "what the test expects", patience: float = PATIENCE
) -> Any:
    """Wait until a function returns something, and return it.

    Raises:
        AssertionError: it returned nothing in `patience` seconds.
    """
    end = time.monotonic() + patience
    while not (found := condition()):
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.02)
    return found
