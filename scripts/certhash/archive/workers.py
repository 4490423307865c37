"""Read several captures in parallel, on the processors of this machine or on a Dask cluster.

Both pools of workers are a :class:`concurrent.futures.Executor` and run one function,
:func:`certhash.capture.observe.observe`. A capture that crashes its worker affects no other capture.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import logging
import multiprocessing
import os
import shutil
import signal
import socket
import threading
from collections import deque
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from ctypes import c_uint64
from multiprocessing.connection import wait as wait_for_end
from multiprocessing.sharedctypes import RawArray
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from certhash.capture import tshark
from certhash.capture.observe import is_worth_sharing, observe, with_engine
from certhash.capture.reading import unreadable
from certhash.capture.workplace import Workplace, workplace
from certhash.errors import InputError
from certhash.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence
    from ctypes import Array
    from multiprocessing.process import BaseProcess
    from multiprocessing.queues import SimpleQueue
    from typing import BinaryIO

    from certhash.capture.observe import Settings
    from certhash.model import Observation

LOST_WORKER = "the process that read it was killed twice: check whether there is enough memory"

_TICK = 0.25
"""Seconds between two checks of the workers' progress."""
_ENOUGH = 1000
"""Number of captures to submit to a cluster at once: more than it has processors, and few enough to track."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Listener:
    """Receives progress events; the default ignores them."""

    def note(self, line: str) -> None:
        """Show a progress message; not part of the result."""

    def under_way(self, count: int) -> None:
        """Receive the number of bytes read from unfinished captures, a few times a second."""


def observe_all(
    paths: Sequence[str],
    settings: Settings,
    listener: Listener,
    *,
    workers: int = 0,
    scheduler: str | None = None,
) -> Generator[Observation]:
    """Yield the observation of each capture, in the order in which they finish.

    If the caller stops iterating, the unfinished captures are aborted.

    Args:
        paths: the captures.
        settings: how to read them.
        listener: receives progress events.
        workers: number of captures to read at once; 0: one per processor.
        scheduler: the address of a Dask scheduler, ``tcp://HOST:8786``, whose workers see the same paths.

    Raises:
        InputError: the scheduler does not answer, or the key log cannot be read.
    """
    if not paths:
        return
    if scheduler is not None:
        yield from _on_cluster(scheduler, paths, settings)
    else:
        processors = workers or len(os.sched_getaffinity(0))
        tsharks, workers = max(1, processors // len(paths)), min(processors, len(paths))
        with workplace(settings.tshark.path, keylog=settings.keylog) as place:
            if _can_share():
                yield from _on_this_machine(paths, _Pool(workers, tsharks, settings, place, listener))
            else:
                for path in paths:
                    yield observe(path, settings, place)


def _can_share() -> bool:
    """Return whether processes can share locks; in some containers /dev/shm is missing or not accessible."""
    try:
        multiprocessing.get_context("fork").Lock()
    except OSError:
        return False
    return True


# ---------------------------------------------------------------- this machine


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

        for observation in _as_completed(submit, left, in_pool, shared.size + 1):
            if observation is not None:
                yield observation
            shared.listener.under_way(sum(positions))


def _as_completed(
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
                _undisturbed()
            ):  # the first submission starts processes, which must not get a signal until they are ready
                future = submit(left[0])
            in_pool[future] = left.popleft()
        finished, _ = wait(in_pool, _TICK, return_when=FIRST_COMPLETED)
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
        with _undisturbed():
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


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Block signals: a second Ctrl-C must not interrupt the clean-up after the first."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# ---------------------------------------------------------------- in a worker


class _Worker:
    """The worker of this process."""

    def __init__(self, shared: _Pool, positions: Array[c_uint64], slot: int) -> None:
        self.shared = shared
        self._positions = positions
        self._slot = slot
        self._source: BinaryIO | None = None
        self.place = with_engine(shared.settings, shared.place)
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
        while not wait_for_end([parent.sentinel], _TICK):
            self.note_position()
        shutil.rmtree(self.shared.place.folder, ignore_errors=True)
        os.killpg(0, signal.SIGKILL)


_worker: _Worker


def _be_a_worker(shared: _Pool, positions: Array[c_uint64], free: SimpleQueue[int]) -> None:
    """Start a process group for this worker and its tsharks, so that Ctrl-C does not reach them."""
    global _worker  # noqa: PLW0603 - a process is one worker
    os.setsid()
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
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


# ---------------------------------------------------------------- a cluster


def _on_cluster(address: str, paths: Sequence[str], settings: Settings) -> Iterator[Observation]:
    if settings.keylog is not None:
        settings = replace(settings, keylog=os.path.abspath(settings.keylog))  # noqa: PTH100 - as a worker needs it
    submitted: dict[Future[Observation], str] = {}
    with _cluster(address) as pool:

        def submit(path: str) -> Future[Observation]:
            return pool.submit(_observe_there, path, os.path.abspath(path), settings, __version__)  # noqa: PTH100

        try:
            for observation in _as_completed(submit, deque(paths), submitted, _ENOUGH):
                if observation is not None:
                    yield observation
        except CancelledError:
            raise InputError(
                f"--scheduler {address}: the scheduler went away while captures were read"
            ) from None


@contextmanager
def _cluster(address: str) -> Iterator[Executor]:
    try:
        from distributed import Client
    except ImportError:
        raise InputError("--scheduler needs Dask: pip install 'certhash[cluster]'") from None
    logging.disable()  # certhash reports errors itself
    try:
        client = Client(address, timeout=10)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise InputError(f"--scheduler {address}: no Dask scheduler answers ({error})") from None
    with client:
        yield client.get_executor(pure=False)  # type: ignore[no-untyped-call]


def _observe_there(path: str, shared_path: str, settings: Settings, version: str) -> Observation:
    """Read a capture on another machine, which must have the same setup as the client.

    Raises:
        InputError: the setup differs.
    """
    here = f"the Dask worker on {socket.gethostname()}"
    if version != __version__:
        raise InputError(
            f"{here} has certhash {__version__}; install version {version} on it, which is used here"
        )
    try:
        found = _find_tshark(settings.tshark.path)
    except InputError as error:
        raise InputError(f"{here}: {error}") from None
    if found != settings.tshark:
        raise InputError(
            f"{here} has tshark {found.version}; install version {settings.tshark.version} on it, "
            "which is used here"
        )
    if not os.path.exists(shared_path):  # noqa: PTH110 - a path may be bytes that are no UTF-8
        return unreadable(path, f"{here} cannot find this file; use a path that all workers share")
    seen = observe(shared_path, settings)
    return replace(seen, path=path, problems=tuple(replace(p, path=path) for p in seen.problems))


@functools.cache
def _find_tshark(path: str) -> tshark.Tshark:
    return tshark.find(path)
