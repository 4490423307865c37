"""Dissect small captures with sharkd, which stays running and takes milliseconds for each.

tshark takes a fifth of a second to start, regardless of the size of the capture. sharkd is in the same
packages and runs the same dissectors. As a server it forks a process for every connection, so each capture
has its own process: a capture that crashes or bloats its process does not affect the others.

The plugin's rows are the same as with tshark: they come from the same first pass, and there is no second one.
In that pass sharkd builds no protocol tree, so the plugin would find no fields. MATE, a plugin that is part
of Wireshark, can request fields in the first pass (Wireshark's manual, "MATE"): it is configured to request
exactly the fields that our plugin reads, for a protocol data unit that never occurs.

Anything unusual (a message on standard error, an answer other than OK, a process that ends) raises
:class:`EngineError`, and tshark reads the capture instead.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
from functools import cache
from pathlib import Path
from time import monotonic
from typing import IO, TYPE_CHECKING, Any, NamedTuple, cast

import msgspec

from certhash.capture import tshark
from certhash.capture.process import confined
from certhash.capture.workplace import surroundings

if TYPE_CHECKING:
    from collections.abc import Collection

    from certhash.capture.workplace import Workplace

_PATIENCE = 30.0
"""Seconds allowed for the start of sharkd, and for the dissection of a small capture."""
_MOST_OUTPUT = 64 << 20
"""Maximum size in bytes of the rows of a small capture."""
_MOST_FAILURES = 3
"""Consecutive failed captures after which the engine is not used any more."""

_PREFERENCES = (
    # Equivalent of tshark's -n.
    "nameres.mac_name:FALSE",
    "nameres.network_name:FALSE",
    "nameres.transport_name:FALSE",
    "nameres.dns_pkt_addr_resolution:FALSE",
    "nameres.use_external_name_resolver:FALSE",
    "nameres.vlan_name:FALSE",
)
_DECODE_AS = "decode_as_entry: tcp.port,3804,HiQnet,TLS\n"
"""``tshark.DECODE_AS`` in the format of Wireshark's file ``decode_as_entries``."""
_CHATTER = ("Hello in child.", "load: filename=")
"""The message that sharkd prints on standard error for every capture."""
_MATE_STARTS = "[MATE MESSAGE] -- initialize_mate: entering"
"""The message that it prints once, after it has read its configuration."""
_KEEPER = """\
{ read -r _; echo; read -r _; kill -KILL 0; } | { (trap "" CHLD; exec "$@"); echo "started $?"; }"""
"""A shell script that starts sharkd. It passes the first line of its standard input on to the plugin. At the
end of its input (we closed the pipe, or ended) it kills its process group: sharkd and all its children. With
SIGCHLD ignored, the system reaps the children of sharkd."""


class EngineError(Exception):
    """The engine failed on a capture, or cannot be used: tshark must read the capture."""


class Dissected(NamedTuple):
    """The engine's output for a capture."""

    lines: list[str]
    """The plugin's lines, for :class:`certhash.capture.records.Lines`."""
    packets: int


def missing(program: str) -> str | None:
    """Return one line that says what the engine of a tshark lacks, or None if it is complete."""
    if sys.platform != "linux":
        return "it needs Linux"
    if not _sharkd(program).is_file():
        return f"there is no sharkd beside {program}"
    if not _mate(program):
        return "Wireshark's plugin MATE is not installed"
    return None


class Engine:
    """A sharkd that starts with the first capture and dissects one capture after another.

    It must be used by one thread only. It has its own process group, which ends with :meth:`close` or with
    this process.

    Args:
        program: the path of the tshark that it replaces.
        place: the folder and the user to run it in.
        seconds: limit of processor time for one capture, as for tshark.
        expected: the versions that it must have; None if :meth:`identify` is to find them out.
    """

    def __init__(
        self,
        program: str,
        place: Workplace,
        seconds: float | None = None,
        expected: tshark.Tshark | None = None,
    ) -> None:
        self._program = program
        self._place = place
        self._seconds = seconds
        self._expected = expected
        self._server: _Server | None = None
        self._failures = 0
        without_lua = expected is not None and expected.lua is None
        self.trouble = "this tshark was built without Lua" if without_lua else missing(program)
        """Why it cannot be used, in one line."""

    def start(self) -> None:
        """Start it without waiting for it.

        Raises:
            EngineError: the engine cannot be used.
        """
        if self.trouble:
            raise EngineError(self.trouble)
        if self._server is None:
            try:
                self._server = _Server(self._program, self._place, self._seconds)
            except OSError as error:
                raise self._failed(f"it cannot be started ({error.strerror or error})") from None

    def identify(self) -> tshark.Tshark:
        """Start it, and return the tshark beside it, with the versions that the plugin states.

        Raises:
            EngineError: only tshark itself can tell.
        """
        server = self._started()
        try:
            found = server.greet(monotonic() + _PATIENCE)
            _check_alike(self._program, found.version)
        except Exception as error:  # noqa: BLE001 - what it answers may be anything
            raise self._failed(str(error) or type(error).__name__) from None
        self._expected = found
        return found

    def dissect(self, capture: bytes | bytearray, seconds: float = _PATIENCE) -> Dissected:
        """Return the plugin's output for a capture (the bytes of a capture file).

        Raises:
            EngineError: tshark must read the capture.
        """
        server = self._started()
        end = monotonic() + min(seconds, _PATIENCE)
        try:
            found = server.greet(end)
            if self._expected is not None and found.version != self._expected.version:
                raise EngineError(f"sharkd has version {found.version}, and tshark {self._expected.version}")  # noqa: TRY301
            dissected = server.dissect(capture, end)
        except Exception as error:  # noqa: BLE001 - what it answers may be anything
            raise self._failed(str(error) or type(error).__name__) from None
        self._failures = 0
        return dissected

    def close(self) -> None:
        """Stop it; the next capture starts it again."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def _started(self) -> _Server:
        self.start()
        assert self._server is not None  # noqa: S101 - it was started
        return self._server

    def _failed(self, why: str) -> EngineError:
        self.close()
        self._failures += 1
        if self._failures >= _MOST_FAILURES:
            self.trouble = why
        return EngineError(why)


def _sharkd(program: str) -> Path:
    return Path(program).resolve().with_name("sharkd")


@cache
def _mate(program: str) -> list[Path]:
    """Return the paths of the MATE installed with a tshark: ``plugins/VERSION/epan/mate.so``."""
    above = Path(program).resolve().parents[1]
    return sorted(
        path
        for libraries in ("lib", "lib64", "lib/*")
        for path in above.glob(f"{libraries}/wireshark/plugins/*/epan/mate.so")
    )


def is_usable(*, carve: bool, decode_as: Collection[str]) -> bool:
    """Return whether an engine dissects as tshark does with these settings."""
    return carve and not decode_as


def _check_alike(program: str, version: str) -> None:
    """Check by their files that tshark and the sharkd beside it have the same version.

    Wireshark up to 4.2 has its version in every program, and later ones only in a library that all share.

    Raises:
        EngineError: they may differ.
    """
    contents = (path.read_bytes() for path in (Path(program).resolve(), _sharkd(program)))
    one, other = ((content[:2], version.encode() in content) for content in contents)
    if one != other:
        raise EngineError(f"{program} may have another version than sharkd, which has {version}")


class _Server:
    """One running sharkd."""

    def __init__(self, program: str, place: Workplace, seconds: float | None) -> None:
        self._program = program
        self._place = place
        self._folder = place.folder / f"engine-{os.urandom(8).hex()}"
        self._found: tshark.Tshark | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._stdin: IO[bytes]
        self._stdout: IO[bytes]
        self._stderr: IO[bytes]
        self._errors = b""
        self._said = b""
        self._capture = os.memfd_create("capture")
        try:
            os.fchmod(self._capture, 0o444)  # sharkd's user must be able to read it
            _furnish(self._folder, place, program)
            process = self._process = self._start(seconds)
        except BaseException:
            self.close()
            raise
        pipes = process.stdin, process.stdout, process.stderr
        self._stdin, self._stdout, self._stderr = cast("tuple[IO[bytes], IO[bytes], IO[bytes]]", pipes)

    def dissect(self, capture: bytes | bytearray, end: float) -> Dissected:
        """Return the plugin's output for a capture.

        Raises:
            EngineError, OSError, ValueError: the output is not as expected.
        """
        os.ftruncate(self._capture, 0)
        os.pwrite(self._capture, capture, 0)
        self._take_errors()
        self._errors = b""
        load = {"file": f"/proc/self/fd/{self._capture}"}
        with self._connect(end) as connection:
            connection.sendall(_request(1, "load", **load) + _request(2, "status"))
            lines, answers = _told(self._receive(connection, end))
        self._take_errors()
        for line in self._errors.decode("utf-8", "replace").splitlines():
            if line.strip() and not line.startswith(_CHATTER) and not line.endswith(_MATE_STARTS):
                raise EngineError(f"sharkd says: {line.strip()}")
        if answers.get(1, {}).get("status") != "OK":
            raise EngineError("sharkd could not read the capture to its end")
        return Dissected(lines, int(answers[2]["frames"]))

    def close(self) -> None:
        """Stop it and all its children."""
        process = self._process
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()
        os.close(self._capture)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self, seconds: float | None) -> subprocess.Popen[bytes]:
        how = surroundings(self._place._replace(manufacturers=False))
        folder = str(self._folder)
        how["cwd"] = folder
        how["env"] |= {"HOME": folder, "XDG_CONFIG_HOME": folder, "WIRESHARK_CONFIG_DIR": folder}
        how["env"] |= {
            "WIRESHARK_PLUGIN_DIR": str(self._folder / "server-plugins"),
            "CERTHASH_BATCH": "engine",
        }
        how["start_new_session"] = False
        command = confined([str(_sharkd(self._program)), "unix:socket/s"], seconds)
        return subprocess.Popen(
            ["/bin/sh", "-c", _KEEPER, "sh", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(self._capture,),
            process_group=0,
            bufsize=0,
            **how,
        )

    def greet(self, end: float) -> tshark.Tshark:
        """Wait until sharkd is ready, and return what it is; later calls return it at once.

        Raises:
            EngineError, OSError: it did not start as expected.
        """
        if self._found is None:
            self._found = self._greet(end)
        return self._found

    def _greet(self, end: float) -> tshark.Tshark:
        """Read the plugin's greeting, tell MATE the fields to request, and wait until sharkd listens."""
        found = None
        started = False
        while not (found and started):  # the order depends on the version
            line = self._line(end)
            if line.startswith("started "):
                if line != "started 0":
                    raise EngineError("sharkd did not start")
                started = True
                if not found:
                    self._await_greeting(end)
                continue
            cells = line.split(tshark.SEPARATOR)
            if (
                len(cells) != len(("certhash", "plugin", "Wireshark", "Lua", "names"))
                or cells[0] != "certhash"
            ):
                raise EngineError("the plugin does not load into sharkd")
            found = tshark.Tshark(self._program, cells[2], cells[3])
            (self._folder / "mate").write_text(_wanting(cells[4].split(tshark.AGGREGATOR)), "utf-8")
            self._stdin.write(b"\n")
        if b"No such preference" in self._take_errors():
            raise EngineError("sharkd does not know a preference that tshark knows")
        if self._place.user is not None:  # so that no other process can replace the server
            os.chown(self._folder / "socket", 0, 0)
        return found

    def _await_greeting(self, end: float) -> None:
        """Wait for the first output of the plugin; without the plugin, sharkd answers first."""
        output = self._stdout.fileno()
        if self._said:
            return
        with self._connect(end) as connection:
            connection.sendall(_request(1, "status"))
            if output not in self._wait(output, connection.fileno(), end=end):
                raise EngineError("the plugin does not load into sharkd")

    def _line(self, end: float) -> str:
        """Return the next line of standard output."""
        while b"\n" not in self._said:
            self._wait(self._stdout.fileno(), end=end)
            more = os.read(self._stdout.fileno(), 1 << 16)
            if not more:
                raise EngineError("sharkd ended during its start")
            self._said += more
        line, _, self._said = self._said.partition(b"\n")
        return line.decode("utf-8", "replace")

    def _connect(self, end: float) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        folder = os.open(self._folder / "socket", os.O_PATH | os.O_DIRECTORY)
        try:
            connection.settimeout(max(end - monotonic(), 0.001))
            connection.connect(
                f"/proc/self/fd/{folder}/s"
            )  # the path itself may exceed the length limit of a socket
        except BaseException:
            connection.close()
            raise
        finally:
            os.close(folder)
        return connection

    def _receive(self, connection: socket.socket, end: float) -> bytes:
        """Return all bytes up to the second answer."""
        received = bytearray()
        while not (received.endswith(b"\n") and b'\n{"jsonrpc":"2.0","id":2,' in received[-1024:]):
            self._wait(connection.fileno(), end=end)
            more = connection.recv(1 << 18)
            if not more:
                raise EngineError("the process that dissected it ended")
            received += more
            if len(received) > _MOST_OUTPUT:
                raise EngineError("its output is too long for a small capture")
        return bytes(received)

    def _wait(self, *descriptors: int, end: float) -> set[int]:
        """Wait for readable descriptors and return them; meanwhile, read standard error."""
        errors = self._stderr.fileno()
        poll = select.poll()
        for descriptor in (*descriptors, errors):
            poll.register(descriptor, select.POLLIN)
        while True:
            left = end - monotonic()
            if left <= 0:
                raise EngineError("it took too long")
            ready = dict(poll.poll(left * 1000))
            if ready.get(errors, 0) & select.POLLIN:
                self._take_errors()
            elif errors in ready:  # all writers have closed it
                poll.unregister(errors)
            if found := set(descriptors) & set(ready):
                return found

    def _take_errors(self) -> bytes:
        """Read standard error, and return everything read so far, up to a limit."""
        poll = select.poll()
        poll.register(self._stderr, select.POLLIN)
        while poll.poll(0):
            more = os.read(self._stderr.fileno(), 1 << 16)
            if not more:
                break
            self._errors = (self._errors + more)[: 1 << 20]
        return self._errors


def _furnish(folder: Path, place: Workplace, program: str) -> None:
    """Create the folder of a server: its configuration, its plugins, and a folder for its socket."""
    folder.mkdir()
    folder.chmod(0o755)
    plugins = folder / "server-plugins"
    plugins.mkdir()
    for entry in (place.folder / "plugins").iterdir():
        (plugins / entry.name).symlink_to(entry)
    for library in _mate(program):
        there = plugins / library.parents[1].name / "epan"
        there.mkdir(parents=True)
        (there / library.name).symlink_to(library)
    preferences = [*tshark.PREFERENCES, *_PREFERENCES, f"mate.config:{folder / 'mate'}"]
    if place.keylog is not None:
        preferences.append(f"tls.keylog_file:{place.keylog}")
    lines = (": ".join(each.split(":", 1)) for each in preferences)
    (folder / "preferences").write_text("".join(f"{line}\n" for line in lines), "utf-8")
    (folder / "disabled_protos").write_text(
        "".join(f"{name}\n" for name in tshark.DISABLED_PROTOCOLS), "utf-8"
    )
    (folder / "decode_as_entries").write_text(_DECODE_AS, "utf-8")
    listening = folder / "socket"
    listening.mkdir(mode=0o700)
    if place.user is not None:
        os.chown(listening, place.user, -1)


def _wanting(names: list[str]) -> str:
    """Return a MATE configuration that requests fields, for a protocol that no packet of a batch has."""
    extracts = "".join(
        f"  Extract field{number} From {name};\n" for number, name in enumerate(dict.fromkeys(names))
    )
    return f"Pdu certhash_fields Proto certhash Transport ip {{\n{extracts}}};\nDone;\n"


def _request(number: int, method: str, **parameters: str) -> bytes:
    """Return a JSON-RPC request for sharkd, as one line."""
    request: dict[str, Any] = {"jsonrpc": "2.0", "id": number, "method": method}
    if parameters:
        request["params"] = parameters
    return msgspec.json.encode(request) + b"\n"


def _told(received: bytes) -> tuple[list[str], dict[int, dict[str, Any]]]:
    """Return the plugin's lines, and the results of our requests by request number."""
    lines: list[str] = []
    answers: dict[int, dict[str, Any]] = {}
    for line in received.decode("utf-8", "replace").split("\n"):
        if line.startswith("{"):
            answer = msgspec.json.decode(line)
            answers[int(answer["id"])] = answer.get("result") or {}
        elif line:
            lines.append(line)
    return lines, answers
