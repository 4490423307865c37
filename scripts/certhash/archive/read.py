"""Read captures: at once, in processes of this machine, or on a Dask cluster."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from certhash.capture.observe import observe_at_once
from certhash.capture.warm import is_small
from certhash.capture.workplace import Workplace, workplace

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from certhash.capture.observe import Settings
    from certhash.model import Observation


class Listener:
    """Receives progress events; the default ignores them."""

    def note(self, line: str) -> None:
        """Show a progress message; not part of the result."""

    def begin(self, captures: Sequence[str]) -> None:
        """Receive the captures to read; those already observed came from the cache."""

    def observed(self, observation: Observation) -> None:
        """Receive the observation of one capture, as soon as it is read."""

    def under_way(self, count: int) -> None:
        """Receive the number of bytes read from unfinished captures, a few times a second."""


def observe_all(  # noqa: PLR0913 - the work, and who does it
    paths: Sequence[str],
    settings: Settings,
    listener: Listener,
    *,
    workers: int = 0,
    scheduler: str | None = None,
    place: Workplace | None = None,
) -> Generator[Observation]:
    """Yield the observation of each capture, in the order in which they finish.

    If the caller stops iterating, the unfinished captures are aborted.

    Args:
        paths: the captures.
        settings: how to read them.
        listener: receives progress events.
        workers: number of captures to read at once; 0: one per processor.
        scheduler: the address of a Dask scheduler, ``tcp://HOST:8786``, whose workers see the same paths.
        place: where tshark runs on this machine; None creates one. One process takes its engine.

    Raises:
        InputError: the scheduler does not answer, or the key log cannot be read.
    """
    if not paths:
        return
    if scheduler is not None:
        from certhash.archive.cluster import on_cluster

        yield from on_cluster(scheduler, paths, settings)
    else:
        with contextlib.ExitStack() as stack:
            place = place or stack.enter_context(workplace(settings.tshark.path, keylog=settings.keylog))
            yield from _on_this_machine(paths, settings, listener, workers, place)


def _on_this_machine(
    paths: Sequence[str], settings: Settings, listener: Listener, workers: int, place: Workplace
) -> Iterator[Observation]:
    engine = place.engine
    if engine is not None and len(paths) == 1 and (seen := observe_at_once(paths[0], settings, engine)):
        yield seen
        return
    if engine is not None and not any(map(is_small, paths)):
        engine.close()  # or it would take memory for nothing
    from certhash.archive.workers import (
        observe_here,
    )  # with multiprocessing, which a quick answer does not need

    yield from observe_here(paths, settings, listener, workers or len(os.sched_getaffinity(0)), place)
