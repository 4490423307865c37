"""Capture live: pass what dumpcap captures to tshark, without application data and voice.

tshark keeps state for every packet, and would eventually exhaust memory. So it is replaced from time to time.
Its successor first gets the most recent packets again, so that handshakes in progress are dissected without
interruption. Its output for packets that were already dissected is discarded.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import TYPE_CHECKING

from pyshark.capture.capture import TSharkCrashException

from certhash.capture import dumpcap
from certhash.capture.first_pass.carve import Carving
from certhash.capture.first_pass.traces import MOST, not_shown
from certhash.capture.programs import BUFFER, Dissector, Recorder
from certhash.capture.splice import DESCRIPTIONS, PACKET, Blocks, Splice
from certhash.capture.workplace import Workplace, workplace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from certhash.capture.first_pass.traces import Trace
    from certhash.capture.observe import Settings
    from certhash.capture.records import Row
    from certhash.model import Endpoint

SHIFT_PACKETS = 25_000
SHIFT_BYTES = 32 << 20
"""Amount of input after which a tshark is replaced, as soon as no handshake is in progress."""
PATIENCE = 2
"""After this multiple of it, tshark is replaced even during a handshake."""
_MOST_CONNECTIONS = 25_000
"""Number of connections with handshakes to remember: their certificates need no report of their own. A tshark
does not see more, because each has two packets or more."""
AGAIN_PACKETS = 5_000
AGAIN_BYTES = 4 << 20
"""Maximum amount of input that its successor gets again."""
_FAILURES = 3


class Live:
    """A live capture on one interface.

    Args:
        interface: its name, as for dumpcap.
        settings: how packets are dissected.
        plugin: whether the plugin loads, so that its fields are available.
        capture_filter: a filter for `dumpcap -f`, or empty.
        take: receives the rows in order; frame numbers count from the first packet of the capture, and a
            connection keeps its stream number.
        waiting_since: returns the first frame number of the oldest handshake in progress, or None. A new
            tshark must get the packets from there on.
        ready: called when the interface is open.
    """

    def __init__(  # noqa: PLR0913 - what a live capture is made of
        self,
        interface: str,
        settings: Settings,
        *,
        plugin: bool,
        capture_filter: str = "",
        take: Callable[[Row], None],
        waiting_since: Callable[[], int | None],
        ready: Callable[[], None] = lambda: None,
    ) -> None:
        self.packets = 0
        """Number of packets captured so far."""
        self.dropped = 0
        """Number of packets that the kernel dropped, because they were not read in time; set at the end."""
        self.problems: list[str] = []
        self._traces: dict[tuple[bytes, frozenset[Endpoint]], Trace] = {}
        """Those that the present tshark and its predecessor got."""
        self._not_shown: dict[bytes, Trace] = {}
        """One of each certificate that an earlier tshark got, and no tshark showed."""
        self._shown: set[bytes] = set()
        self._handshakes: dict[frozenset[Endpoint], None] = {}
        """The ends of connections, the latest last."""
        self._interface = interface
        self._settings = settings
        self._plugin = plugin
        self._filter = capture_filter
        self._take = take
        self._waiting_since = waiting_since
        self._ready = ready
        self._splice = Splice()
        self._blocks = Blocks()
        self._preamble: list[bytes] = []
        self._again: deque[bytes] = deque()
        self._again_bytes = 0
        self._recorder: Recorder | None = None
        self._stopping = False
        self._ended = False

    async def run(self) -> None:
        """Capture until :meth:`stop` is called, or until the interface disappears.

        Raises:
            InputError: there is no such interface, or no right to capture from it.
        """
        found = self._settings.tshark
        recorder = self._recorder = Recorder(self._interface, found, dumpcap.find(found), self._filter)
        try:
            with workplace() as place:
                first, output = await recorder.start()
                self._blocks = Blocks(first)
                self._ready()
                if self._stopping:
                    recorder.stop()
                failures = 0
                while not self._ended and failures < _FAILURES:
                    before = self.packets
                    try:
                        failed = await self._shift(place, output)
                    except ValueError as error:  # dumpcap's output cannot be parsed from here on
                        self.problems.append(f"the capture ended early: {error}")
                        break
                    failures = failures + 1 if failed and self.packets - before < AGAIN_PACKETS else 0
                if failures:
                    self.problems.append(f"stopped: tshark failed {failures} times in a row")
        finally:
            await recorder.close_async()
        self.dropped = recorder.dropped
        if recorder.trouble:
            self.problems.append(recorder.trouble)

    @property
    def not_shown(self) -> list[Trace]:
        """Return a trace of each certificate that tshark did not show; its frame number is of one tshark."""
        left = self._left((*self._not_shown.values(), *self._traces.values()))
        return list({trace.beginning: trace for trace in reversed(left)}.values())[::-1]

    def _left(self, traces: Iterable[Trace]) -> list[Trace]:
        """Return the traces of what was not shown.

        Connections with a handshake are excluded: the handshake itself says why no certificate is seen.
        """
        left = not_shown(traces, self._shown, self._handshakes)
        return [trace for trace in left if trace.ends not in self._handshakes]

    def stop(self) -> None:
        """End the capture; packets that were already captured are still dissected."""
        self._stopping = True
        if self._recorder is not None:
            self._recorder.stop()

    async def _shift(self, place: Workplace, output: asyncio.StreamReader) -> bool:
        """Let one tshark dissect until it must be replaced; return whether it failed."""
        dissector = Dissector(self._settings, place, self.problems, plugin=self._plugin)
        carving = Carving() if self._settings.carve else None
        frame_of = carving.numbers.frame if carving else int
        self._splice.begin(self.packets, again=len(self._again), frame_of=frame_of)
        reading = asyncio.create_task(dissector.packets_from_tshark(self._row))
        feeding = asyncio.create_task(self._feed(dissector, output, carving))
        try:
            await asyncio.wait({reading, feeding}, return_when=asyncio.FIRST_COMPLETED)
            failed = not feeding.done()
            if failed:
                # Its successor must not get the packet that crashed it.
                self._again.clear()
                self._again_bytes = 0
            else:
                await feeding
            try:
                await reading
            except (TSharkCrashException, OSError):
                failed = True
        finally:
            for task in (feeding, reading):
                task.cancel()
            await asyncio.gather(feeding, reading, return_exceptions=True)
            await dissector.end()
        if failed:
            self.problems.append(
                f"tshark ended before it had dissected packet {self.packets} ({dissector.last_words}); "
                "it was restarted, and a handshake at that time may be missing"
            )
        return failed

    async def _feed(
        self, dissector: Dissector, output: asyncio.StreamReader, carving: Carving | None
    ) -> None:
        """Pass packets to tshark until it must be replaced or there are no more."""
        stdin = await dissector.stdin
        size = 0

        def show(blocks: bytes) -> None:
            nonlocal size
            left = carving.feed(blocks) if carving and blocks else blocks
            size += len(left)
            stdin.write(left)

        show(b"".join((*self._preamble, *self._again)))
        begun = self.packets, len(carving.numbers) if carving else 0
        size = 0
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while not self._is_enough(
                len(carving.numbers) - begun[1] if carving else self.packets - begun[0], size
            ):
                data = await output.read(BUFFER)
                if not data:
                    self._ended = True
                    break
                whole = []
                for kind, block in self._blocks.feed(data):
                    whole.append(block)
                    if kind == PACKET:
                        self._remember(block)
                    elif kind in DESCRIPTIONS:
                        self._preamble.append(block)
                show(b"".join(whole))
                await stdin.drain()
            stdin.close()
            await stdin.wait_closed()
        if carving:
            # By now, all rows of the predecessor have come, also of handshakes that it did not see whole.
            left = self._left(self._traces.values())
            self._not_shown |= {trace.beginning: trace for trace in left}
            self._traces = {(each.beginning, each.connection): each for each in reversed(carving.traces)}
        if carving and carving.doubtful:
            self.problems.append(
                f"{carving.doubtful} connections had gaps that were filled late, so parts of them may be "
                "missing: capture with dumpcap, and audit the file"
            )

    def _remember(self, block: bytes) -> None:
        self.packets += 1
        self._again.append(block)
        self._again_bytes += len(block)
        while len(self._again) > AGAIN_PACKETS or self._again_bytes > AGAIN_BYTES:
            self._again_bytes -= len(self._again.popleft())

    def _is_enough(self, packets: int, size: int) -> bool:
        share = max(packets / SHIFT_PACKETS, size / SHIFT_BYTES)
        if share < 1:
            return False
        since = self._waiting_since()
        return share >= PATIENCE or since is None or since > self.packets - len(self._again)

    def _row(self, row: Row) -> None:
        self._shown |= {certificate.der[:MOST] for certificate in row.certificates}
        if row.types:
            ends = frozenset((row.source, row.destination))
            self._handshakes.pop(ends, None)
            self._handshakes[ends] = None
            if len(self._handshakes) > _MOST_CONNECTIONS:
                del self._handshakes[next(iter(self._handshakes))]
        spliced = self._splice.row(row)
        if spliced is not None:
            self._take(spliced)
