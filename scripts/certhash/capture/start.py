"""Start what reads captures before the rest of certhash is imported: both take about as long.

The engine that dissects small captures also tells the version of tshark, so ``tshark --version`` is run only
where there is no engine.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from certhash.capture import tshark
from certhash.capture.engine import Engine, EngineError
from certhash.capture.workplace import Workplace, workplace

if TYPE_CHECKING:
    from collections.abc import Iterator


class Started:
    """A workplace with an engine that is starting, or with a tshark that was asked for its version."""

    def __init__(self, program: str, place: Workplace, seconds: float, *, warm: bool) -> None:
        self._program = program
        self._place = place
        self._asked: tshark.Asked | None = None
        self._engine = Engine(program, place, seconds) if warm else None
        try:
            if self._engine is not None:
                self._engine.start()
        except EngineError:
            self._engine = None
        if self._engine is None:
            self._asked = tshark.Asked(program, place)

    def tshark(self) -> tshark.Tshark:
        """Wait for the version of tshark, and return it.

        Raises:
            InputError: the program is not tshark.
        """
        if self._engine is not None:
            try:
                return self._engine.identify()
            except EngineError:
                self._engine = None
        asked, self._asked = self._asked or tshark.Asked(self._program, self._place), None
        return asked.answer()

    @property
    def place(self) -> Workplace:
        """The workplace, with the engine if it works; to be asked for after the version."""
        return self._place._replace(engine=self._engine)

    def close(self) -> None:
        """End what was started."""
        if self._engine is not None:
            self._engine.close()
        if self._asked is not None:
            self._asked.close()


@contextmanager
def started(path: str | None, *, keylog: str | None = None, seconds: float, warm: bool) -> Iterator[Started]:
    """Start the engine of a tshark, or ask tshark for its version; end it with the context.

    Args:
        path: the path of tshark; None: the one on the PATH.
        keylog: a file of TLS keys in the SSLKEYLOGFILE format.
        seconds: limit of processor time for one capture.
        warm: an engine can be used.

    Raises:
        InputError: there is no tshark, or the key log cannot be read.
    """
    program = tshark.locate(path)
    with workplace(program, keylog=keylog) as place:
        begun = Started(program, place, seconds, warm=warm)
        try:
            yield begun
        finally:
            begun.close()
