"""Read captures in parallel, on the processors of this machine.

A capture that crashes its worker affects no other capture.
"""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import shutil
import signal
import threading
from collections import deque
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from ctypes import c_uint64
from multiprocessing.connection import wait as wait_for_end
from multiprocessing.sharedctypes import RawArray
from typing import TYPE_CHECKING, NamedTuple

from certhash.archive.tasks import LOST_WORKER, SIGNALS, TICK, as_completed, undisturbed
from certhash.capture.observe import is_worth_sharing, observe, with_engine
from certhash.capture.reading import unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from ctypes import Array
    from multiprocessing.process import BaseProcess
    from multiprocessing.queues import SimpleQueue
    from typing import BinaryIO

    from certhash.archive.read import Listener
    from certhash.capture.observe import Settings
    from certhash.capture.workplace import Workplace
    from certhash.model import Observation


def observe_here(
    paths: Sequence[str], settings: Settings, listener: Listener, workers: int, place: Workplace
) -> Iterator[Observation]:
    """Yield the observation of each capture, in the order in which they finish.

    Args:
        paths: the captures.
        settings: how to read them.
        listener: receives progress events.
        workers: number of captures to read at once.
        place: where tshark runs. One process takes its engine.
    """
    if _can_share():
        tsharks, workers = max(1, workers // len(paths)), min(workers, len(paths))
        yield from _on_this_machine(paths, _Pool(workers, tsharks, settings, place, listener))
        return
    place = with_engine(settings, place)
    try:
        for path in paths:
            yield observe(path, settings, place)
    finally:
        if place.engine is not None:
            place.engine.close()


def _can_share() -> bool:
    """Return whether processes can share locks; in some containers /dev/shm is missing or not accessible."""
    try:
        multiprocessing.get_context("fork").Lock()
    except OSError:
        return False
    return True


class _Pool(NamedTuple):
    """The state that the worker processes of this machine share."""

    size: int
    tsharks: int
    """Number of workers that may share one capture, if there are fewer captures than processors."""
    settings: Settings
    place: Workplace
    listener: Listener


def _on_this_machine(paths: Sequence[str], shared: _Pool) -> Iterator[Observation]:
    """Read captures in processes of this machine.

    If a process dies, its pool breaks: each capture that was in it is read again in a separate pool, and a
    new pool continues with the others.
    """
    left = deque(paths)
    while left:
        in_pool: dict[Future[Observation], str] = {}
        try:
            yield from _read(left, in_pool, shared)
        except BrokenProcessPool:
            if shared.place.engine is not None:  # a process had it, and it may be in the middle of something
                shared.place.engine.close()
                shared = shared._replace(place=shared.place._replace(engine=None))
            for path in in_pool.values():
                shared.listener.note(f"a process that read captures was killed: reading {path} again")
                yield from _read_alone(path, shared)


def _read_alone(path: str, shared: _Pool) -> Iterator[Observation]:
    try:
        yield from _read(deque([path]), {}, shared._replace(size=1))
    except BrokenProcessPool:
        yield unreadable(path, LOST_WORKER)


def _read(left: deque[str], in_pool: dict[Future[Observation], str], shared: _Pool) -> Iterator[Observation]:
    positions = RawArray(c_uint64, shared.size)  # each is written by only one process, so no lock is needed
    with _processes(shared, positions) as pool:

        def submit(path: str) -> Future[Observation]:
            return pool.submit(_observe_here, path)

        for observation in as_completed(submit, left, in_pool, shared.size + 1):
            if observation is not None:
                yield observation
            shared.listener.under_way(sum(positions))


@contextmanager
def _processes(shared: _Pool, positions: Array[c_uint64]) -> Iterator[Executor]:
    # Forking starts fastest; nothing else runs in this process while the workers are created.
    context = multiprocessing.get_context("fork")
    free: SimpleQueue[int] = context.SimpleQueue()
    for slot in range(shared.size):
        free.put(slot)
    pool = ProcessPoolExecutor(
        shared.size, context, initializer=_be_a_worker, initargs=(shared, positions, free)
    )
    try:
        yield pool
    except BaseException:
        with undisturbed():
            for process in (pool._processes or {}).values():  # noqa: SLF001 - there is no other way to end them
                _end(process)
            pool.shutdown(wait=True, cancel_futures=True)
        raise
    pool.shutdown()


def _end(worker: BaseProcess) -> None:
    """End a worker together with its tshark: they are one process group."""
    assert worker.pid is not None  # noqa: S101 - it was started
    try:
        os.killpg(worker.pid, signal.SIGKILL)
    except ProcessLookupError:  # it has ended, or is not a process group yet
        worker.kill()


# ---------------------------------------------------------------- in a worker


class _Worker:
    """The worker of this process."""

    def __init__(self, shared: _Pool, positions: Array[c_uint64], slot: int) -> None:
        self.shared = shared
        self._positions = positions
        self._slot = slot
        self._source: BinaryIO | None = None
        # One process takes the engine that was started early, and every other starts its own.
        place = shared.place if slot == 0 else shared.place._replace(engine=None)
        self.place = with_engine(shared.settings, place)
        threading.Thread(target=self._keep_touch, daemon=True).start()

    def take(self, source: BinaryIO | None) -> None:
        """Set the capture that is being read from now on."""
        self._source = source
        self._positions[self._slot] = 0

    def note_position(self) -> None:
        """Record how far the capture has been read."""
        # Another thread may close the file at any time.
        with contextlib.suppress(ValueError, OSError):
            if (source := self._source) is not None:
                self._positions[self._slot] = source.tell()

    def _keep_touch(self) -> None:
        """Report the position to the parent; if the parent was killed, end this worker and its tshark."""
        parent = multiprocessing.parent_process()
        assert parent is not None  # noqa: S101 - a worker has one
        while not wait_for_end([parent.sentinel], TICK):
            self.note_position()
        shutil.rmtree(self.shared.place.folder, ignore_errors=True)
        os.killpg(0, signal.SIGKILL)


_worker: _Worker


def _be_a_worker(shared: _Pool, positions: Array[c_uint64], free: SimpleQueue[int]) -> None:
    """Start a process group for this worker and its tsharks, so that Ctrl-C does not reach them."""
    global _worker  # noqa: PLW0603 - a process is one worker
    os.setsid()
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    _worker = _Worker(shared, positions, free.get())


def _observe_here(path: str) -> Observation:
    shared = _worker.shared
    gc.disable()  # rows contain no reference cycles, and the search for them takes a tenth of the time
    try:
        tsharks = shared.tsharks if shared.tsharks > 1 and is_worth_sharing(path) else 1
        return observe(path, shared.settings, _worker.place, _worker.take, tsharks)
    finally:
        gc.enable()
        _worker.take(None)
