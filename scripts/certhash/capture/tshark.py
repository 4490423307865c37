"""Run tshark with fixed preferences, independent of the user's profile, and with few privileges.

Every run has its required preferences on the command line and the capture on standard input. It runs in a
:mod:`certhash.capture.workplace`, with limits on its resources.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import struct
import subprocess
import tempfile
import threading
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, cast

from msgspec import Struct

from certhash.capture.process import confined, kill, start, widen
from certhash.capture.workplace import workplace
from certhash.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from certhash.capture.first_pass.layout import Readable
    from certhash.capture.workplace import Workplace
    from certhash.model import CaptureStatus

SEPARATOR = "\x1e"
AGGREGATOR = "\x1f"

PREFERENCES = (
    # Off by default; without it, a certificate in out-of-order segments is not shown.
    "tcp.reassemble_out_of_order:TRUE",
    # A head-end may listen on any port. 292 TCP ports belong to protocols that would claim a TLS connection
    # and show no certificate; the heuristic, if tried first, recognises TLS.
    "tcp.try_heuristic_first:TRUE",
    "udp.try_heuristic_first:TRUE",  # for DTLS, the same
    # Defaults that certhash relies on: a system-wide preferences file may have changed them.
    "tcp.desegment_tcp_streams:TRUE",
    "tcp.analyze_sequence_numbers:TRUE",
    "tcp.check_checksum:FALSE",
    "ip.defragment:TRUE",
    "ip.check_checksum:FALSE",
    "ipv6.defragment:TRUE",
    "udp.check_checksum:FALSE",
    "tls.desegment_ssl_records:TRUE",
    "tls.desegment_ssl_application_data:TRUE",
)
DISABLED_PROTOCOLS = (
    # They add a layer per attribute of a certificate; with more than 22 certificates in a frame tshark aborts
    # its dissection, and the post-dissector never sees it. certhash does not use their fields.
    "x509sat",
    "x509ce",
    "pkix1explicit",
    "pkix1implicit",
)
_FIELDS = ("-T", "fields", "-E", f"separator={SEPARATOR}")
_COUNT = ("-z", "io,stat,0")
"""Statistics that count the frames in every file format, unless all frames have the same time."""
_EVERY_PACKET = ("-e", "frame.number", "-e", "frame.len", *_COUNT)
DECODE_AS = ("tcp.port==3804,tls",)
"""Cisco's CAPF port, which Wireshark assigns to another protocol (HiQnet)."""

_EMPTY_PCAP = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1)
"""The header of a pcap file (draft-ietf-opsawg-pcap) without packets."""

TOOK_TOO_LONG = "tshark exceeded the --timeout and was stopped: the rest was not read"

INSTALL_TSHARK = "install it: apt-get install tshark (Debian, Ubuntu), or give its path with --tshark"


class Tshark(Struct, frozen=True):
    """A working tshark."""

    path: str
    version: str
    lua: str | None
    """Its version of Lua, as Lua itself states it ("5.4"); None if it was built without Lua."""


class Outcome(NamedTuple):
    """The outcome of a run."""

    status: CaptureStatus
    packets: int
    error: str | None
    """One line, if the status is not ``complete``."""
    complaints: tuple[str, ...]
    """Errors of tshark during the dissection: each may hide a certificate."""
    failed: bool = False
    """tshark itself failed or was stopped: a retry may see more."""
    missing_fields: bool = False
    """tshark refused the plugin's fields: the plugin did not load, and nothing was read."""
    timed_out: bool = False
    """It was stopped at its time limit: a retry would exceed it, too."""
    uncounted: bool = False
    """tshark read everything, but its statistics do not give the number of packets."""


def locate(path: str | None = None) -> str:
    """Return the absolute path of the tshark on the PATH, or at `path`.

    Raises:
        InputError: there is none.
    """
    found = shutil.which(path or "tshark")
    if found is None:
        where = f"{path}: no such program" if path else "tshark is not installed"
        raise InputError(f"{where}; {INSTALL_TSHARK}")
    return os.path.abspath(found)  # noqa: PTH100 - a link is kept: it may be what selects a version


def find(path: str | None = None) -> Tshark:
    """Return the tshark on the PATH or at `path`, with its version.

    Raises:
        InputError: there is none, or the program is not tshark.
    """
    found = locate(path)
    with workplace(found) as place:
        return Asked(found, place).answer()


class Asked:
    """A tshark that was asked for its version; it answers while the caller does other things.

    Args:
        program: its absolute path.
        place: where it runs.

    Raises:
        InputError: it cannot be started.
    """

    def __init__(self, program: str, place: Workplace) -> None:
        self._program = program
        try:
            self._process = start([program, "--version"], place, subprocess.DEVNULL)
        except OSError as error:
            raise self._unusable(error) from None

    def answer(self) -> Tshark:
        """Return it with its version.

        Raises:
            InputError: the program is not tshark.
        """
        try:
            answer = self._process.communicate(timeout=30)[0].decode("utf-8", "replace")
        except (OSError, subprocess.SubprocessError) as error:
            raise self._unusable(error) from None
        finally:
            self.close()
        version, lua = versions(answer)
        if version is None:
            raise InputError(f"{self._program}: does not work as tshark; {INSTALL_TSHARK}")
        return Tshark(self._program, version, lua)

    def close(self) -> None:
        """End it, answered or not."""
        kill(self._process)
        self._process.communicate()

    def _unusable(self, error: Exception) -> InputError:
        reason = getattr(error, "strerror", None) or error
        return InputError(f"{self._program}: cannot be run ({reason}); {INSTALL_TSHARK}")


def versions(answer: str) -> tuple[str | None, str | None]:
    """Return the versions of tshark and its Lua (as "5.4") from ``tshark --version``; None if not stated.

    Up to 4.4 it prints "with Lua 5.2.4" or "without Lua", from 4.6 on "+Lua 5.4.9" or "-Lua".
    """
    version = re.match(r"TShark \(Wireshark\) (\d[\w.]*)", answer)
    lua = re.search(r"(?:\bwith\s+|\+)Lua\s+(\d+\.\d+)", answer)
    return version and version[1].rstrip("."), lua and lua[1]


def plugin_trouble(tshark: Tshark) -> str | None:
    """Return one line that says why this tshark does not load the plugin, or None if it does.

    The exit status does not depend on plugins, so the test is whether tshark knows the plugin's fields.
    """
    if tshark.lua is None:
        return "this tshark was built without Lua"
    with workplace() as place, tempfile.TemporaryFile() as nothing:
        nothing.write(_EMPTY_PCAP)
        nothing.seek(0)
        run = Run(
            arguments(tshark, place, fields=("certhash.sha1",), display_filter="certhash"), place, nothing
        )
        for _ in run.lines():
            pass
        outcome = run.outcome()
        if not outcome.missing_fields:
            return None
        said = re.sub(r"\s*stack traceback:.*?(?=tshark:|$)", " ", outcome.error or "")
        reason = " ".join(re.findall(r"Lua: (.*?)\s*(?=tshark:|$)", said))
        return (
            reason.replace(f"{place.folder}/plugins/", "")
            or "tshark loaded no Lua script, and printed no reason"
        )


def arguments(
    tshark: Tshark,
    place: Workplace,
    *,
    fields: tuple[str, ...] = (),
    display_filter: str = "",
    decode_as: tuple[str, ...] = (),
) -> list[str]:
    """Return the command that prints `fields` of every frame that matches the filter, and counts frames.

    Without fields, tshark itself prints nothing, whatever the filter: see `batch` of :class:`Run`.
    """
    command = [tshark.path, "-n", "-r", "-"]
    for preference in PREFERENCES:
        command += ["-o", preference]
    if place.keylog is not None:
        command += ["-o", f"tls.keylog_file:{place.keylog}"]
    for protocol in DISABLED_PROTOCOLS:
        command += ["--disable-protocol", protocol]
    for rule in (*DECODE_AS, *decode_as):
        command += ["-d", rule]
    if not fields:
        return [*command, "-q", *_COUNT]
    command += ["-Y", display_filter, *_FIELDS, "-E", f"aggregator={AGGREGATOR}"]
    for field in fields:
        command += ["-e", field]
    return [*command, *_COUNT]


def counting(command: list[str]) -> list[str]:
    """Return the command of :func:`arguments`, changed to print a line for every packet."""
    return [*command[: command.index("-n") + 3], *_FIELDS, *_EVERY_PACKET]


_WHEN = re.compile(r"^\*\* \(.*?:\d+\) [\d:.]+ (?:\[.*?\] -- )?")
"""GLib's prefix of a warning: process and time."""


@contextlib.contextmanager
def as_pcapng(tshark: Tshark, place: Workplace, source: BinaryIO) -> Iterator[Readable]:
    """Let tshark convert a capture of any format to pcapng, without dissection.

    Args:
        tshark: the tshark that converts it.
        place: the folder and the user to run it in.
        source: the capture, at its beginning.

    Raises:
        ValueError: at the end, if tshark could not convert all of it (for example an unsupported link type).
    """
    command = [tshark.path, "-n", "-r", "-", "-F", "pcapng", "-w", "-"]
    process = start(confined(command, None), place, source)
    assert process.stdout is not None  # noqa: S101 - a pipe was asked for
    assert process.stderr is not None  # noqa: S101
    silence = threading.Thread(target=process.stderr.read, daemon=True)
    silence.start()
    try:
        yield cast("Readable", process.stdout)
        if process.wait():
            raise ValueError(f"tshark failed with exit status {process.returncode}")
    finally:
        kill(process)
        process.wait()
        silence.join()
        process.stdout.close()
        process.stderr.close()


_BUG = re.compile(r"Dissector bug, protocol (.+?), in packet (\d+)")
_CARRIERS = re.compile(
    r"D?TLS|SSL|TCP|UDP|SCTP|IP|IPv[46]|Internet|Ethernet|802\.1|Frame|VLAN|PPP|GRE|GTP|VXLAN|Geneve|L2TP|CAPWAP|MPLS"
    r"|Teredo|EAP|RADIUS|QUIC|HTTP|DNS|TFTP|STUN|TURN|SOCKS|OpenVPN|X\.?509|PKIX|Lua|certhash|Certhash|data",
    re.IGNORECASE,
)
"""Protocols that carry TLS, DTLS, certificates or phone files: tshark's names, or their beginnings."""


def sorted_complaints(complaints: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the tshark messages that may hide a certificate, and those that cannot; one per protocol.

    If a dissector fails in a protocol that carries nothing relevant, the rest of the packet is irrelevant,
    and everything before it has been read.
    """
    bugs: dict[str, list[str]] = {}
    failures: list[str] = []
    notes: list[str] = []
    for said in complaints:
        found = _BUG.search(said)
        if found is None:
            failures.append(said)
        else:
            bugs.setdefault(found[1], []).append(said)
    for protocol, every in bugs.items():
        more = f" (and in {len(every) - 1:,} more packets)" if len(every) > 1 else ""
        into = failures if _CARRIERS.match(protocol) else notes
        into.append(f"{every[0]}{more}")
    return tuple(failures), tuple(notes)


CUT_SHORT = "the file is cut short"


class Run:
    """One tshark that reads one capture: iterate over its lines, then get the outcome.

    Args:
        command: the result of :func:`arguments`.
        place: where it runs, and as whom.
        source: the capture, as an open file or a pipe that tshark inherits.
        timeout: seconds after which tshark is killed.
        batch: whether the plugin prints lines (:class:`certhash.capture.records.Lines`).
    """

    def __init__(
        self,
        command: list[str],
        place: Workplace,
        source: BinaryIO,
        timeout: float | None = None,
        *,
        batch: bool = False,
    ) -> None:
        self._timed_out = False
        self.process = start(
            confined(command, timeout), place, source, {"CERTHASH_BATCH": "1"} if batch else {}
        )
        if self.process.stdout is not None:
            widen(self.process.stdout)
        self._stderr: list[bytes] = []
        self._frames: int | None = None
        self._read_everything = False
        self._reader = threading.Thread(target=self._read_stderr, daemon=True)
        self._clock = threading.Timer(timeout or threading.TIMEOUT_MAX, self._time_is_up)
        self._clock.daemon = True
        if timeout is not None:
            self._clock.start()
        self._reader.start()

    def lines(self) -> Iterator[str]:
        """Yield the line of every frame that matched the filter."""
        output = self.process.stdout
        assert output is not None  # noqa: S101 - a pipe was asked for
        try:
            for raw in output:
                line = raw.decode("utf-8", "replace").rstrip("\n")
                if SEPARATOR in line:
                    yield line
                elif count := re.match(r"\|\s*[\d.]+ <> +[\d.]+ *\|\s*(\d+)\s*\|", line):
                    self._frames = int(count[1])
                self._read_everything |= line.startswith("| IO Statistics")
        finally:
            self.stop()

    def stop(self) -> None:
        """Kill the process, and end its thread."""
        if self.process.poll() is None:
            # After the end of its output, tshark only has to exit; a caller that stops earlier kills it.
            try:
                self.process.wait(0 if self._frames is None else 5)
            except subprocess.TimeoutExpired:
                kill(self.process)
        self.process.wait()
        self._clock.cancel()
        self._reader.join()
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe:
                pipe.close()

    def outcome(self) -> Outcome:
        """Return the outcome of the run; call it after the end of :meth:`lines`."""
        status = self.process.returncode
        said = [
            line
            for raw in self._stderr
            if (line := raw.decode("utf-8", "replace").strip()) and not line.startswith("Running as user")
        ]
        text = " ".join(said)
        complaints = tuple(
            _WHEN.sub("", line) for line in said if "Dissector bug" in line or line.startswith("Lua: ")
        )
        packets = self._frames or 0
        if status == 0 and self._read_everything:
            return Outcome("complete", packets, None, complaints, uncounted=self._frames is None)
        if "fields aren't valid" in text or "not a valid protocol or protocol field" in text:
            return Outcome("unreadable", 0, text, (), missing_fields=True)
        if "cut short" in text:
            return Outcome("truncated", packets, CUT_SHORT, complaints)
        if "damaged or corrupt" in text:
            detail = re.search(r"\((.*?)\)", text)
            error = f"the file is damaged: {detail[1] if detail else text}"
            return Outcome("truncated" if packets else "unreadable", packets, error, complaints)
        if "isn't a capture file" in text or "file format" in text:
            return Outcome("unreadable", 0, "not a capture file that tshark can read", ())
        if self._timed_out:
            error = TOOK_TOO_LONG
        elif status < 0:
            error = f"tshark was ended by signal {-status} before it had read everything"
        else:
            # For an unknown option, tshark prints the error first, and then a list of hundreds of options.
            last = said[-1] if said else "it printed no reason"
            why = next((line for line in said if line.startswith("tshark: ")), last)
            error = f"tshark failed with exit status {status}: {why.removeprefix('tshark: ')}"
        return Outcome("truncated", packets, error, complaints, failed=True, timed_out=self._timed_out)

    def _time_is_up(self) -> None:
        self._timed_out = self.process.poll() is None
        kill(self.process)

    def _read_stderr(self) -> None:
        assert self.process.stderr is not None  # noqa: S101 - a pipe was asked for
        kept = 0
        for line in self.process.stderr:
            kept += len(line)
            if kept < 1 << 20:  # messages from a file full of dissector errors must not exhaust memory
                self._stderr.append(line)
