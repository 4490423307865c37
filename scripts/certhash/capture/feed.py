"""Run the first pass over a capture in a separate process, with pipes to the tsharks.

In one process, the pass and the reader of tshark's output would take turns. The pass also starts while tshark
is still starting.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
from functools import partial
from itertools import pairwise
from multiprocessing.connection import Connection, Pipe
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, NoReturn, cast

from certhash.capture.first_pass.carve import Carved, Ends, NotShareableError, carve
from certhash.capture.first_pass.decompress import Source
from certhash.capture.first_pass.remains import Numbers
from certhash.capture.process import widen

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

_PATIENCE = 10.0
"""Seconds within which a number that was sent arrives, and within which the pass notices that its readers
have gone; only a read that hangs takes longer."""


class Fed(NamedTuple):
    """How a first pass ended."""

    carved: Carved | None = None
    """None if it did not reach the end of the capture."""
    damage: str = ""
    """The damage of the file, in one line."""
    failed: str = ""
    """An error of the pass itself: relevant packets may have been dropped."""
    not_shareable: bool = False
    """The capture cannot be shared by several tsharks."""


class Feed:
    """A running first pass.

    Args:
        source: the capture, at its beginning. Its position advances while it is read.
        shares: number of tsharks that share the connections of the capture.
        keys: TLS secrets for decryption are available.
        only: as for :func:`certhash.capture.first_pass.carve.carve`.
        mend: as for the same.
    """

    def __init__(
        self,
        source: BinaryIO,
        shares: int,
        *,
        keys: bool,
        only: Ends = frozenset(),
        mend: bool = False,
    ) -> None:
        self.numbers = tuple(Numbers() for _ in range(shares))
        self._fed: Fed | None = None
        self._ended = False
        self._miscounted = False
        self._news = threading.Condition()
        pipes = [os.pipe() for _ in range(shares)]
        self.outlets = [cast("BinaryIO", os.fdopen(outlet, "rb", buffering=0)) for outlet, _ in pipes]
        """What each of the tsharks reads; to be closed when it has it."""
        inlets = [inlet for _, inlet in pipes]
        here, there = Pipe(duplex=False)
        self._process = os.fork()
        if not self._process:
            _be_the_pass(source, inlets, there, partial(carve, keys=keys, only=only, mend=mend))
        there.close()
        for inlet in inlets:
            os.close(inlet)
        self._listener = threading.Thread(target=self._listen, args=(here,), daemon=True)
        self._listener.start()

    def frame(self, share: int, passed: int) -> int:
        """Return the number in the capture of the n-th packet (1, 2...) in a tshark's input.

        It is 0 if another tshark reports the packet.
        """
        numbers = self.numbers[share]
        if passed > len(numbers) and not self._miscounted:
            with self._news:  # tshark may get the packet before its number arrives here
                known = self._news.wait_for(lambda: self._ended or passed <= len(numbers), _PATIENCE)
            # Waiting for a number that never arrives would block tshark, and with it the pass.
            self._miscounted = not known
        return numbers.frame(passed)

    def end(self) -> Fed:
        """Wait for the end of the pass, which also ends when its readers have gone, and return its result."""
        for outlet in self.outlets:
            outlet.close()
        self._listener.join(_PATIENCE)
        hangs = self._listener.is_alive()
        if hangs:
            os.kill(self._process, signal.SIGKILL)
            self._listener.join()
        status = _reap(self._process)
        if self._miscounted:
            return Fed(failed="tshark counts more packets than it passed on")
        if self._fed is not None:
            carved = self._fed.carved
            return self._fed._replace(carved=carved and carved._replace(shares=self.numbers))
        return Fed() if hangs else Fed(failed=f"its process ended with status {status}")

    def _listen(self, here: Connection) -> None:
        """Receive the messages of the pass until its end."""
        with here, contextlib.suppress(EOFError, OSError):
            while True:
                told = here.recv()
                with self._news:
                    if isinstance(told, Fed):
                        self._fed = told
                    else:
                        share, numbers, packets = told
                        self.numbers[share].add(numbers, packets)
                    self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()


def _reap(process: int) -> int | None:
    """Wait for a process and return its exit status, or None if the system has already reaped it."""
    try:
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    except ChildProcessError:  # with SIGCHLD ignored by the parent, the system has reaped it
        return None


# ------------------------------------------------------------------------------------------- in its process


def _be_the_pass(
    source: BinaryIO, inlets: list[int], there: Connection, how: Callable[..., Carved]
) -> NoReturn:
    status = 1
    try:
        # Close inherited descriptors: a reader of another pipe would wait until this process ends, too.
        used = sorted((2, source.fileno(), there.fileno(), *inlets))
        for before, after in pairwise((*used, os.sysconf("SC_OPEN_MAX"))):
            os.closerange(before + 1, after)
        there.send(_pass(source, inlets, there, how))
        status = 0
    finally:
        os._exit(status)  # the clean-up of inherited objects belongs to the parent process


def _pass(source: BinaryIO, inlets: list[int], there: Connection, how: Callable[..., Carved]) -> Fed:
    """Read the capture, and write each tshark's packets to its pipe."""
    capture = Source(source)
    sinks = [_Sink(inlet) for inlet in inlets]
    numbers = [_ToldNumbers(share, there) for share in range(len(inlets))]
    try:
        carved = how(capture, *(sink.write for sink in sinks), numbers=numbers)
        return Fed(carved._replace(shares=()), damage=capture.error)
    except BrokenPipeError:
        return Fed()  # the outcome of that tshark says why
    except NotShareableError:
        return Fed(not_shareable=True)
    except OSError as error:
        return Fed(damage=f"the file could not be read to its end ({error.strerror or error})")
    except Exception as error:  # noqa: BLE001 - whatever it was, nothing may be missed for it
        return Fed(failed=f"{type(error).__name__}: {error}")


class _ToldNumbers(Numbers):
    """Sends the numbers to the other process; they are not queried in this one."""

    def __init__(self, share: int, there: Connection) -> None:
        super().__init__()
        self._share = share
        self._there = there

    def add(self, numbers: NDArray[np.uint32], packets: int) -> None:
        self._there.send((self._share, numbers, packets))


class _Sink:
    """Receives the packets for one tshark."""

    def __init__(self, inlet: int) -> None:
        self._inlet = inlet
        self._end = select.poll()
        self._end.register(inlet, 0)
        widen(inlet)

    def write(self, data: bytes | memoryview, /) -> None:
        """Write the next bytes, which may be empty.

        Raises:
            BrokenPipeError: the reader has gone; detected even if there is nothing to write.
        """
        if self._end.poll(0):
            raise BrokenPipeError
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._inlet, rest) :]
