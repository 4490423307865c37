"""Compare what a Wireshark of any version shows of a capture and of what the first pass leaves of it.

One sharkd dissects both: this takes milliseconds, where two tsharks would take a second.
"""

from __future__ import annotations

import contextlib
import io
from typing import TYPE_CHECKING

from certhash.capture import records, tshark
from certhash.capture.engine import Engine
from certhash.capture.first_pass.carve import carve
from certhash.capture.reading import Reading
from certhash.capture.workplace import workplace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from certhash.model import Observation


class Comparison:
    """What is seen of captures with and without the first pass.

    Args:
        engine: what dissects.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.dropped = 0
        """How many packets of all captures the first pass dropped."""

    def difference(self, capture: bytes, window: int = 8 << 20) -> str:
        """Return how the two differ; nothing if they do not, or if the pass says that it is in doubt."""
        left = bytearray()
        carved = carve(io.BytesIO(capture), left.extend, window=window)
        if carved.in_doubt or bytes(left) == capture:
            return ""
        whole, part = self.seen(capture), self.seen(left, carved.frames.frame)
        if whole != part:
            return f"whole: {whole}\ncarved: {part}"
        self.dropped += carved.packets - len(carved.frames)
        return ""

    def seen(self, capture: bytes | bytearray, frame_of: Callable[[int], int] = int) -> Observation:
        """Return what one reading of a capture shows."""
        reading = Reading("a capture", plugin=True)
        lines = records.Lines(frame_of)
        for line in self._engine.dissect(capture).lines:
            row = lines.parse(line)
            if row is not None:
                reading.take(row)
        return reading.observation(tshark.Outcome("complete", 0, None, ()))


@contextlib.contextmanager
def comparing(program: str | None = None) -> Iterator[Comparison]:
    """Compare with the sharkd beside a tshark (None: the one on the PATH)."""
    found = tshark.find(program)
    with (
        workplace(found.path) as place,
        contextlib.closing(Engine(found.path, place, expected=found)) as engine,
    ):
        yield Comparison(engine)
