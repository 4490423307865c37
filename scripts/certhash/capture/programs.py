"""Run dumpcap and tshark for a live capture; pyshark controls both.

Only dumpcap needs permission to capture. tshark runs as in an audit: unprivileged, without a user's
configuration, with the plugin, and with the same fields, so that its rows are those of
:mod:`certhash.capture.records`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
import subprocess
from typing import TYPE_CHECKING

import pyshark.config
from packaging.version import Version
from pyshark.capture.capture import TSharkCrashException
from pyshark.capture.live_capture import LiveCapture
from pyshark.capture.pipe_capture import PipeCapture
from pyshark.tshark.output_parser.tshark_ek import TsharkEkJsonParser
from pyshark.tshark.tshark import get_all_tshark_interfaces_names

from certhash.capture import columns, dumpcap, tshark
from certhash.capture.observe import Settings
from certhash.capture.workplace import Workplace, surroundings, workplace
from certhash.errors import InputError
from certhash.visible import visible

if TYPE_CHECKING:
    from certhash.capture.records import Row

# pyshark reads the programs to run from a config.ini in the current folder, which may be untrusted.
pyshark.config.fp_config_path = pyshark.config.pyshark_config_path

KERNEL_BUFFER = 32
"""Size in MiB of the kernel's buffer for dumpcap, needed while one tshark replaces another."""
BUFFER = 1 << 18
"""Bytes of dumpcap's output to read at once."""

_TRIAL = 60  # seconds
_LAST_WORDS = 5  # seconds


def interfaces(found: tshark.Tshark) -> list[str]:
    """Return the names and the alternative names of the interfaces that can capture.

    Raises:
        InputError: tshark cannot list them.
    """
    try:
        names = [str(name) for name in get_all_tshark_interfaces_names(found.path)]
        # In a container without CAP_NET_ADMIN, tshark lists none of the kernel's.
        return [*names, *(name for _, name in socket.if_nameindex() if name not in names)]
    except (OSError, subprocess.SubprocessError, UnicodeError) as error:
        raise InputError(f"the interfaces cannot be listed ({error}); {dumpcap.how_to_capture()}") from None


def try_out(found: tshark.Tshark, capture: bytes) -> list[Row]:
    """Return the rows of a small capture (pcap or pcapng), read in the same way as a live capture.

    Exceptions from pyshark are not caught.
    """

    async def read() -> list[Row]:
        rows: list[Row] = []
        with workplace() as place:
            dissector = Dissector(Settings(found), place, [], plugin=False)

            async def write() -> None:
                stdin = await dissector.stdin
                stdin.write(capture)
                stdin.close()

            tasks = [
                asyncio.create_task(dissector.packets_from_tshark(rows.append)),
                asyncio.create_task(write()),
            ]
            await asyncio.wait(tasks, timeout=_TRIAL, return_when=asyncio.FIRST_EXCEPTION)
            for task in tasks:
                task.cancel()
            await dissector.close_async()
        return rows

    return asyncio.run(read())


class Recorder(LiveCapture):  # type: ignore[misc]  # pyshark has no types
    """dumpcap on an interface, with the arguments that pyshark gives it."""

    def __init__(self, interface: str, found: tshark.Tshark, program: str, capture_filter: str) -> None:
        self._found = found
        self._program = program
        self._process: asyncio.subprocess.Process | None = None
        self._said: list[str] = []
        self._stopped = False
        self.dropped = 0
        self.trouble = ""
        try:
            super().__init__(
                interface,
                bpf_filter=capture_filter,
                tshark_path=found.path,
                eventloop=asyncio.get_running_loop(),
            )
        except (OSError, subprocess.SubprocessError, UnicodeError) as error:
            raise InputError(
                f"the interfaces cannot be listed ({error}); {dumpcap.how_to_capture()}"
            ) from None

    def _get_tshark_version(self) -> Version:
        return _version(self._found)

    def _get_dumpcap_parameters(self) -> list[str]:
        return ["-B", str(KERNEL_BUFFER), *super()._get_dumpcap_parameters()]

    async def start(self) -> tuple[bytes, asyncio.StreamReader]:
        """Start it; return the first byte of its output (pcapng), and the stream with the rest.

        Raises:
            InputError: there is no such interface, or no right to capture from it.
        """
        command = [self._program, *self._get_dumpcap_parameters()]
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=BUFFER,
            start_new_session=True,  # certhash handles Ctrl-C itself
        )
        self._process = process
        self._create_stderr_handling_task(process.stderr)
        with contextlib.suppress(TSharkCrashException):  # it has already ended; its own message is read below
            self._created_new_process(command, process, process_name="Dumpcap")
        assert process.stdout is not None  # noqa: S101 - a pipe was asked for
        # It writes once the interface is open; if it cannot open it, it prints the reason and ends.
        first = await process.stdout.read(1)
        if not first:
            await process.wait()
            await asyncio.gather(*self._stderr_handling_tasks)
            raise InputError(self._why_not())
        return first, process.stdout

    def stop(self) -> None:
        """Let it write its remaining packets and end."""
        self._stopped = True
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()

    async def close_async(self) -> None:
        """Stop it, and read its last messages."""
        process = self._process
        if process is not None:
            by_itself = process.stdout is not None and process.stdout.at_eof() and not self._stopped
            self.stop()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(process.wait(), 5)
            if process.returncode is None:
                process.kill()
            self._running_processes.discard(process)
            await super().close_async()
            if counts := re.search(r"received/dropped on interface .*?: \d+/(\d+)", " ".join(self._said)):
                self.dropped = int(counts[1])
            if by_itself:
                said = [line for line in self._said if line.startswith("dumpcap:")]
                reason = visible(" ".join(said), 200) or "dumpcap printed no reason"
                self.trouble = f"the capture ended by itself: {reason}"

    async def _handle_process_stderr_forever(self, stderr: asyncio.StreamReader) -> None:
        async for line in stderr:
            text = line.decode("utf-8", "replace").strip()
            # In a container without CAP_NET_ADMIN, dumpcap prints this, but still captures.
            if "cap_set_proc()" not in text and len(self._said) < 100:  # noqa: PLR2004 - it prints little
                self._said.append(text)

    def _why_not(self) -> str:
        said = " ".join(line for line in self._said if line)
        name = visible(self.interfaces[0])
        if "permission" in said or "not permitted" in said:
            return f"{name}: this user has no permission to capture; {dumpcap.how_to_capture()}"
        if "No such device" in said or "no device" in said or "no interface" in said:
            known = ", ".join(interfaces(self._found)) or "(none that this user can capture from)"
            return f"{name}: no such interface; choose one of: {known}"
        reason = said.partition("dumpcap: ")[2] or said or "dumpcap printed no reason"
        return f"{name}: the capture cannot start: {visible(reason, 300)}"


class Dissector(PipeCapture):  # type: ignore[misc]  # pyshark has no types
    """A tshark that reads packets from a pipe and prints rows, with the arguments that pyshark gives it."""

    def __init__(self, settings: Settings, place: Workplace, problems: list[str], *, plugin: bool) -> None:
        self._found = settings.tshark
        self._place = place
        self._problems = problems
        self._plugin = plugin
        self.stdin: asyncio.Future[asyncio.StreamWriter] = asyncio.get_running_loop().create_future()
        self.last_words = "it printed no reason"
        fields = [part for name in columns.names(plugin=plugin) for part in ("-e", name)]
        disabled = [part for name in tshark.DISABLED_PROTOCOLS for part in ("--disable-protocol", name)]
        super().__init__(
            asyncio.subprocess.PIPE,
            display_filter=columns.display_filter(plugin=plugin),
            decode_as=dict(_halves(rule, ",") for rule in (*tshark.DECODE_AS, *settings.decode_as)),
            override_prefs=dict(_halves(preference, ":") for preference in tshark.PREFERENCES),
            custom_parameters=[*disabled, *fields],
            tshark_path=settings.tshark.path,
            eventloop=asyncio.get_running_loop(),
        )

    def _get_tshark_path(self) -> str:
        return self._found.path

    def _get_tshark_version(self) -> Version:
        return _version(self._found)

    def _setup_tshark_output_parser(self) -> _RowParser:
        return _RowParser(self._problems, plugin=self._plugin)

    async def _get_tshark_process(self, packet_count: int | None = None) -> asyncio.subprocess.Process:
        """Start tshark as pyshark would, but in the workplace and as its user."""
        command = [self._get_tshark_path(), "-l", "-n", "-T", "ek", *self.get_parameters(packet_count)]
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=self._pipe,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            **surroundings(self._place),
        )
        assert process.stdin is not None  # noqa: S101 - a pipe was asked for
        self.stdin.set_result(process.stdin)
        self._create_stderr_handling_task(process.stderr)
        self._created_new_process(command, process)  # fails if it has already ended
        return process

    async def end(self) -> None:
        """Stop it and ignore its exit status, which was already reported where its output was read."""
        with contextlib.suppress(TSharkCrashException):
            await self.close_async()
        self._running_processes.clear()
        # After a crash, close_async has not waited for the last words.
        if self._stderr_handling_tasks:
            await asyncio.wait(self._stderr_handling_tasks, timeout=_LAST_WORDS)
        # Up to Python 3.11, asyncio prints the error of a broken pipe unless something waits for the pipe.
        if self.stdin.done() and not self.stdin.cancelled():
            stdin = self.stdin.result()
            stdin.close()
            with contextlib.suppress(OSError, asyncio.TimeoutError):
                await asyncio.wait_for(stdin.wait_closed(), _LAST_WORDS)

    async def _cleanup_subprocess(self, process: asyncio.subprocess.Process) -> None:
        if self._eof_reached:  # it is about to end: wait for its exit status
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(process.wait(), 5)
        await super()._cleanup_subprocess(process)

    async def _handle_process_stderr_forever(self, stderr: asyncio.StreamReader) -> None:
        async for raw in stderr:
            line = raw.decode("utf-8", "replace").strip()
            if line and not line.startswith("Running as user"):
                self.last_words = visible(line, 200)
            if ("Dissector bug" in line or line.startswith("Lua: ")) and line not in self._problems:
                self._problems.append(visible(line, 200))


class _RowParser(TsharkEkJsonParser):  # type: ignore[misc]  # pyshark has no types
    """Parses each line of JSON into the same row as in a batch run."""

    def __init__(self, problems: list[str], *, plugin: bool) -> None:
        super().__init__()
        self._problems = problems
        self._plugin = plugin
        self._keys = [name.replace(".", "_") for name in columns.names(plugin=plugin)]

    def _parse_single_packet(self, packet: bytes) -> Row | None:
        try:
            layers = json.loads(packet.decode("utf-8", "replace"))["layers"]
            cells = (tshark.AGGREGATOR.join(layers.get(key, ())) for key in self._keys)
            return columns.parse(tshark.SEPARATOR.join(cells), plugin=self._plugin)
        except (ValueError, KeyError, TypeError) as error:
            self._problems.append(f"a line that tshark printed cannot be parsed ({error}); please report it")
            return None


def _version(found: tshark.Tshark) -> Version:
    numbers = re.match(r"\d+(?:\.\d+)*", found.version)
    return Version(numbers[0] if numbers else "0")


def _halves(text: str, separator: str) -> tuple[str, str]:
    first, _, second = text.partition(separator)
    return first, second
