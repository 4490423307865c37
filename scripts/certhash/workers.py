"""Several captures at once: on the processors of this machine, or on a Dask cluster.

There is one notion of a pool of workers, :class:`concurrent.futures.Executor`, and one function that runs in
it, :func:`certhash.capture.observe.observe`. One capture that takes its worker down costs that capture alone.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TYPE_CHECKING

from certhash.capture import tshark
from certhash.capture.observe import observe
from certhash.errors import InputError
from certhash.model import Observation, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import FrameType

    from certhash.capture.observe import Settings

LOST_WORKER = "the process that read it was killed, twice; is there enough memory?"


def observe_all(
    paths: Sequence[str], settings: Settings, *, workers: int = 0, scheduler: str | None = None
) -> Iterator[Observation]:
    """Yield what each capture shows, in the order in which they are finished.

    Whoever stops iterating (by an exception too) ends what is still being read.

    Args:
        paths: the captures.
        settings: how they are read.
        workers: how many at once; 0 is one a processor.
        scheduler: the address of a Dask scheduler, ``tcp://HOST:8786``, whose workers see the same paths.

    Raises:
        InputError: the scheduler cannot be used.
    """
    workers = min(workers or len(os.sched_getaffinity(0)), len(paths))
    if scheduler is not None:
        with _cluster(scheduler) as pool:
            yield from _run(pool, paths, settings)
    elif workers > 1:
        yield from _run_locally(paths, settings, workers)
    else:
        for path in paths:
            yield observe(path, settings)


def _run_locally(paths: Sequence[str], settings: Settings, workers: int) -> Iterator[Observation]:
    """Run in processes of this machine; what was under way when one of them died is read again, alone."""
    left = dict.fromkeys(paths)
    try:
        with _processes(workers) as pool:
            for observation in _run(pool, paths, settings):
                del left[observation.path]
                yield observation
    except BrokenProcessPool:
        for path in left:
            try:
                with _processes(1) as pool:
                    yield from _run(pool, [path], settings)
            except BrokenProcessPool:
                yield Observation(
                    path, "unreadable", 0, LOST_WORKER, "plugin", problems=(Problem(path, LOST_WORKER),)
                )


def _run(pool: Executor, paths: Sequence[str], settings: Settings) -> Iterator[Observation]:
    pending: set[Future[Observation]] = {pool.submit(observe, path, settings) for path in paths}
    while pending:
        finished, pending = wait(pending, return_when=FIRST_COMPLETED)
        for future in finished:
            yield future.result()


@contextmanager
def _processes(workers: int) -> Iterator[Executor]:
    # Forking is what starts fast; nothing else runs in this process while the workers are made.
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("fork"), initializer=_be_a_worker)
    try:
        yield pool
    except BaseException:
        processes = list((pool._processes or {}).values())  # noqa: SLF001 - there is no other way to end them
        for process in processes:
            process.terminate()
        pool.shutdown(wait=True, cancel_futures=True)
        raise
    pool.shutdown()


def _be_a_worker() -> None:
    """Leave Ctrl-C to the parent, and take the tshark along when the parent ends us."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)


def _leave(_signal: int, _frame: FrameType | None) -> None:
    if tshark.Run.starting:
        # What is being started cannot be ended yet: let the signal come again.
        threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGTERM)).start()
        return
    tshark.clean_up()
    os._exit(1)


@contextmanager
def _cluster(address: str) -> Iterator[Executor]:
    try:
        from distributed import Client
    except ImportError:
        raise InputError("--scheduler needs Dask: pip install 'certhash[cluster]'") from None
    try:
        client = Client(address, timeout=10)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise InputError(f"--scheduler {address}: no Dask scheduler answers there ({error})") from None
    with client:
        yield client.get_executor(pure=False, retries=1)  # type: ignore[no-untyped-call]
