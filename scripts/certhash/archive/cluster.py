"""Read captures on a Dask cluster, whose workers see them on the same paths."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import socket
import threading
from collections import deque
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec.structs import replace

from certhash.archive.tasks import as_completed
from certhash.capture.engine import is_usable
from certhash.capture.observe import Settings, observe
from certhash.capture.reading import unreadable
from certhash.capture.start import started
from certhash.errors import InputError
from certhash.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from certhash.capture.tshark import Tshark
    from certhash.capture.workplace import Workplace
    from certhash.model import Observation

_ENOUGH = 1000
"""Number of captures to submit to a cluster at once: more than it has processors, and few enough to track."""


def on_cluster(address: str, paths: Sequence[str], settings: Settings) -> Iterator[Observation]:
    """Yield the observation of each capture, in the order in which they finish.

    Raises:
        InputError: the scheduler does not answer, or a worker has another setup.
    """
    if settings.keylog is not None:
        settings = replace(settings, keylog=os.path.abspath(settings.keylog))  # noqa: PTH100 - as a worker needs it
    submitted: dict[Future[Observation], str] = {}
    audit = _Audit(os.urandom(16).hex(), __version__, settings)
    with _client(address) as client:
        pool = client.get_executor(pure=False)

        def submit(path: str) -> Future[Observation]:
            return pool.submit(_observe_there, path, os.path.abspath(path), audit)  # type: ignore[no-any-return]  # noqa: PTH100

        try:
            for observation in as_completed(submit, deque(paths), submitted, _ENOUGH):
                if observation is not None:
                    yield observation
        except CancelledError:
            raise InputError(
                f"--scheduler {address}: the scheduler went away while captures were read"
            ) from None
        with contextlib.suppress(
            Exception
        ):  # everything is read; a worker that does not answer clears up later
            client.run(_leave, audit.identity)


@contextmanager
def _client(address: str) -> Iterator[Any]:
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
        yield client


# ---------------------------------------------------------------- in a worker of the cluster


class _Audit(NamedTuple):
    """The settings of every task of an audit."""

    identity: str
    """Different for every audit."""
    version: str
    settings: Settings


class _Bench(NamedTuple):
    """What a thread of a worker keeps from one capture of an audit to the next."""

    tshark: Tshark
    place: Workplace
    """With an engine, if there is one."""
    stack: contextlib.ExitStack


_benches: dict[tuple[str, int], _Bench] = {}
"""By audit and thread."""


def _observe_there(path: str, shared_path: str, audit: _Audit) -> Observation:
    """Read a capture on another machine, which must have the same setup as the client.

    Raises:
        InputError: the setup differs.
    """
    here = f"the Dask worker on {socket.gethostname()}"
    settings = audit.settings
    if audit.version != __version__:
        raise InputError(
            f"{here} has certhash {__version__}; install version {audit.version} on it, which is used here"
        )
    try:
        bench = _bench(audit)
    except InputError as error:
        raise InputError(f"{here}: {error}") from None
    if bench.tshark != settings.tshark:
        raise InputError(
            f"{here} has tshark {bench.tshark.version}; install version {settings.tshark.version} on it, "
            "which is used here"
        )
    if not os.path.exists(shared_path):  # noqa: PTH110 - a path may be bytes that are no UTF-8
        return unreadable(path, f"{here} cannot find this file; use a path that all workers share")
    seen = observe(shared_path, settings, bench.place)
    return replace(seen, path=path, problems=tuple(replace(p, path=path) for p in seen.problems))


def _bench(audit: _Audit) -> _Bench:
    """Return the bench of this thread; set it up with the first capture of an audit.

    Raises:
        InputError: there is no tshark, or the key log cannot be read.
    """
    thread = threading.get_ident()
    bench = _benches.get((audit.identity, thread))
    if bench is None:
        for key in [key for key in list(_benches) if key[1] == thread]:
            _benches.pop(key).stack.close()  # of an audit that was interrupted
        how = audit.settings
        warm = how.warm and is_usable(carve=how.carve, decode_as=how.decode_as)
        with contextlib.ExitStack() as stack:
            begun = stack.enter_context(
                started(how.tshark.path, keylog=how.keylog, seconds=how.timeout, warm=warm)
            )
            bench = _Bench(begun.tshark(), begun.place, stack.pop_all())
        _benches[audit.identity, thread] = bench
    return bench


def _leave(audit: str) -> None:
    """End what the threads of this worker keep of an audit."""
    for key in [key for key in list(_benches) if key[0] == audit]:
        _benches.pop(key).stack.close()


@atexit.register
def _clear_up() -> None:
    while _benches:
        _benches.popitem()[1].stack.close()
