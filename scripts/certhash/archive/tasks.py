"""Submit captures to a pool of processes, here or on a cluster, and take the observations that arrive."""

from __future__ import annotations

import signal
from concurrent.futures import FIRST_COMPLETED, CancelledError, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TYPE_CHECKING

from certhash.capture.reading import unreadable
from certhash.errors import InputError

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

    from certhash.model import Observation

LOST_WORKER = "the process that read it was killed twice: check whether there is enough memory"

TICK = 0.25
"""Seconds between two checks of the workers' progress."""
SIGNALS = (signal.SIGINT, signal.SIGTERM)


def as_completed(
    submit: Callable[[str], Future[Observation]],
    left: deque[str],
    in_pool: dict[Future[Observation], str],
    at_once: int,
) -> Iterator[Observation | None]:
    """Yield observations as they arrive, and None after a while without one.

    ``in_pool`` always contains the captures that were submitted and not yet yielded.
    """
    while left or in_pool:
        while left and len(in_pool) < at_once:
            with (
                undisturbed()
            ):  # the first submission starts processes, which must not get a signal until they are ready
                future = submit(left[0])
            in_pool[future] = left.popleft()
        finished, _ = wait(in_pool, TICK, return_when=FIRST_COMPLETED)
        for future in finished:
            try:
                observation = future.result()
            except (BrokenProcessPool, CancelledError, InputError):
                raise
            except Exception as error:  # noqa: BLE001 - whatever it was, it costs this capture alone
                observation = unreadable(in_pool[future], _what_happened(error))
            del in_pool[future]
            yield observation
        if not finished:
            yield None


def _what_happened(error: Exception) -> str:
    kind = type(error).__name__
    # Dask's exception, after it tried several workers; its module may not be installed, so compare the name.
    return (
        LOST_WORKER
        if kind == "KilledWorker"
        else f"certhash failed on it ({kind}: {error}); please report it"
    )


@contextmanager
def undisturbed() -> Iterator[None]:
    """Block signals: a second Ctrl-C must not interrupt the clean-up after the first."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
