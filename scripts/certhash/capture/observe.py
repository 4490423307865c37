"""One capture in, one observation out: the edge where files and tshark are."""

from __future__ import annotations

import base64
import hashlib
import os
import stat
import zlib
from typing import BinaryIO

from msgspec import Struct

from certhash.capture import records, tshark
from certhash.capture.handshakes import Handshakes
from certhash.model import Download, HashSource, NameAnswer, Observation, Problem

_PEEK = 64

_MAGICS = (
    b"\xd4\xc3\xb2\xa1",  # pcap, and its byte orders, resolutions and dialects
    b"\xa1\xb2\xc3\xd4",
    b"\x4d\x3c\xb2\xa1",
    b"\xa1\xb2\x3c\x4d",
    b"\x34\xcd\xb2\xa1",
    b"\xa1\xb2\xcd\x34",
    b"\x0a\x0d\x0d\x0a",  # pcapng
    b"snoop\0\0\0",
    b"RTSS",  # Network Monitor 1
    b"GMBU",  # Network Monitor 2
    b"btsnoop\0",
    b"TRSNIFF data    \x1a",
    b"XCP\0",  # NetXRay, Sniffer for Windows
    b"iptrace ",
    b"\x05\xaaSNIFF",
    b"LOGG",  # Vector BLF
)
_COMPRESSED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"\x04\x22\x4d\x18": "lz4"}


class Settings(Struct, frozen=True):
    """How captures are read; the same for all of an audit."""

    tshark: tshark.Tshark
    keylog: str | None = None
    decode_as: tuple[str, ...] = ()


def looks_like_capture(start: bytes) -> bool:
    """Tell by its first bytes whether a file is a capture, compressed or not."""
    if start.startswith(b"\x1f\x8b"):
        try:
            start = zlib.decompressobj(wbits=31).decompress(start, _PEEK)
        except zlib.error:
            return False
    return start.startswith(_MAGICS) or start[:4] in _COMPRESSED


def open_capture(path: str) -> BinaryIO:
    """Open a capture file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is none; one line, that says what it is.
    """
    # A FIFO would block the open, and a device could be anything.
    if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116 - a path, as it was given
        raise ValueError("not a regular file; give a capture file, or a folder of them")
    source = open(path, "rb")  # noqa: SIM115, PTH123 - the caller closes it
    start = source.read(_PEEK * 64)
    source.seek(0)
    if not start:
        source.close()
        raise ValueError("the file is empty; record the capture again")
    if not looks_like_capture(start):
        source.close()
        raise ValueError(
            "not a capture file (pcap, pcapng, snoop, Network Monitor...); convert it with editcap"
        )
    return source


def observe(path: str, settings: Settings) -> Observation:
    """Read one capture; whatever happens is told in the observation, nothing is raised for a bad file."""
    try:
        with open_capture(path) as source, tshark.workplace(keylog=settings.keylog) as place:
            return _observe(path, source, settings, place)
    except OSError as error:
        return _unreadable(path, f"{error.strerror or error}")
    except ValueError as error:
        return _unreadable(path, str(error))


def _unreadable(path: str, error: str) -> Observation:
    return Observation(path, "unreadable", 0, error, "plugin", problems=(Problem(path, error),))


def _observe(path: str, source: BinaryIO, settings: Settings, place: tshark.Workplace) -> Observation:
    plugin = settings.tshark.lua is not None
    reading = Reading(path, plugin=plugin)
    outcome = reading.run(source, settings, place)
    if outcome.missing_fields and plugin:
        source.seek(0)
        reading = Reading(path, plugin=False)
        outcome = reading.run(source, settings, place)
    return reading.observation(outcome)


class Reading:
    """The rows of one run of tshark, as they become an observation."""

    def __init__(self, path: str, *, plugin: bool) -> None:
        self._path = path
        self._plugin = plugin
        self._handshakes = Handshakes(self._keep)
        self._certificates: dict[bytes, bytes] = {}
        self._sha256_of: dict[bytes, bytes] = {}
        self._downloads: list[Download] = []
        self._answers: dict[tuple[str, str], NameAnswer] = {}
        self._problems: list[str] = []

    def run(self, source: BinaryIO, settings: Settings, place: tshark.Workplace) -> tshark.Outcome:
        """Take all rows of one run of tshark; return how it ended."""
        command = tshark.arguments(
            settings.tshark,
            place,
            fields=records.fields(plugin=self._plugin),
            display_filter=records.display_filter(plugin=self._plugin),
            decode_as=settings.decode_as,
        )
        run = tshark.Run(command, place, source)
        for line in run.lines():
            try:
                row = records.parse(line, plugin=self._plugin)
            except ValueError as error:
                self._problems.append(f"a line of tshark's could not be read ({error}); please report it")
                continue
            self.take(row)
        return run.outcome()

    def take(self, row: records.Row) -> None:
        """Take the next row."""
        self._handshakes.add(row)
        for name, address in row.answers:
            self._answers.setdefault((name, address), NameAnswer(name, address, row.frame, row.time))
        for found in row.downloads:
            client, server = found.client or row.destination.address, found.server or row.source.address
            self._downloads.append(Download(found.name, row.frame, row.time, client, server, found.content))
        if row.plugin_error:
            self._problems.append(
                f"frame {row.frame}: the plugin failed on it; please report it with the capture"
            )
        if row.unpaired_hashes:
            self._problems.append(
                f"frame {row.frame}: the plugin hashed {len(row.certificates) + row.unpaired_hashes} of "
                f"{len(row.certificates)} certificates, and Python hashed them instead; please report it"
            )

    def _keep(self, record: records.CertificateRecord, frame: int) -> bytes:
        """Keep a certificate once, and hold the plugin's hash of it against our own."""
        der = record.der
        sha256 = self._sha256_of.get(der)
        if sha256 is None:
            sha256 = hashlib.sha256(der).digest()
            self._sha256_of[der] = sha256
            self._certificates[sha256] = der
        if not record.whole:
            self._problems.append(
                f"frame {frame}: certificate {record.position} is damaged, and tshark shows a part of it: "
                "its hash is not known"
            )
        if record.sha1 is not None:
            ours = base64.b64encode(hashlib.sha1(der, usedforsecurity=False).digest()).decode()
            if record.sha1 != ours:
                self._problems.append(
                    f"frame {frame}: the plugin's hash {record.sha1} of certificate {record.position} is not "
                    f"{ours}, which Python computes; trust neither, and please report it with the capture"
                )
        return sha256

    def observation(self, outcome: tshark.Outcome) -> Observation:
        """Return what the rows until now show."""
        source: HashSource = "plugin" if self._plugin else "python"
        problems = [*self._problems, *outcome.complaints]
        if outcome.error is not None:
            problems.insert(0, outcome.error)
        return Observation(
            path=self._path,
            status=outcome.status,
            packets=outcome.packets,
            error=outcome.error,
            hash_source=source,
            handshakes=self._handshakes.finish(),
            downloads=tuple(self._downloads),
            answers=tuple(self._answers.values()),
            certificates=self._certificates,
            problems=tuple(Problem(self._path, message) for message in problems),
        )
