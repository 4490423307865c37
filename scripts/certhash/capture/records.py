"""Describe what tshark says of one frame, and parse the lines that the plugin prints.

The lines are described in ``plugin/certhash/batch.lua``. A tshark without Lua, or for a live capture, prints
fields instead (:mod:`certhash.capture.columns`), which costs more. Everything that a verdict can depend on is
the same in both. A row only repeats what was printed; :mod:`certhash.capture.handshakes` interprets the rows
of a connection together.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

from msgspec import Struct

from certhash.capture.tshark import AGGREGATOR, SEPARATOR
from certhash.headend import plain_name
from certhash.model import Endpoint, TransferProtocol, Transport
from certhash.times import on_calendar

Values = Callable[[str], Sequence[str]]
"""Returns the values of one frame for the name of a field."""


class AlertRecord(NamedTuple):
    """Level and description of an alert, as numbers (RFC 8446, section 6)."""

    level: int
    code: int


class CertificateRecord(NamedTuple):
    """A certificate of a frame."""

    position: int
    """Position in the Certificate message, from 0."""
    der: bytes
    whole: bool
    """`der` has the length that the message states. Wireshark's own field of damaged DER ends where the
    damage begins; the plugin returns all of it."""
    sha1: str | None
    """Base64, computed by the plugin; None if it computed none."""


class DownloadRecord(NamedTuple):
    """A cnf file whose last block is in this frame."""

    name: str
    content: bytes
    client: str | None
    server: str | None


class TransferRecord(NamedTuple):
    """What a packet says of a cnf file's download, other than that it is complete; only the plugin tells."""

    what: str
    """``asks``, ``begins``, ``ends``, ``error``, ``pipelined``; of HTTP also ``other`` (status 304)."""
    protocol: TransferProtocol
    name: str
    source: str
    target: str
    request: int
    """The frame of the request; 0 if this is one."""
    code: int | None
    message: str


class Row(Struct, frozen=True, gc=False):
    """tshark's output for one frame."""

    frame: int
    time: int
    """Microseconds since 1970-01-01 UTC; 0 if the capture does not say (see `timed`)."""
    timed: bool
    """The capture contains the packet's time; pcapng's simple packet blocks have none."""
    transport: Transport
    stream: int | None
    source: Endpoint
    destination: Endpoint
    dtls: bool
    lost: tuple[Endpoint, ...]
    """The senders of segments that are not in the capture: those before this one are of its source, and those
    that it acknowledges of its destination."""
    cut: bool
    """The packet was cut by a snapshot length."""
    content_types: tuple[int, ...]
    types: tuple[int, ...]
    record_version: int | None
    """Of the first record, like everything up to `server_name`; None or empty if the frame has none."""
    version: int | None
    supported_version: int | None
    random: str | None
    """Hex, in lower case."""
    session_id: str | None
    """The same."""
    cipher_suite: int | None
    server_name: str | None
    has_pre_shared_key: bool
    """A message has the extension pre_shared_key."""
    certificates: tuple[CertificateRecord, ...]
    unpaired_hashes: int
    """Number of hashes of the plugin minus the number of certificates."""
    alerts: tuple[AlertRecord, ...]
    answers: tuple[tuple[str, str], ...]
    """DNS: name, address."""
    downloads: tuple[DownloadRecord, ...]
    plugin_error: bool
    transfers: tuple[TransferRecord, ...] = ()

    @property
    def connection(self) -> object:
        """Return the key of the row's connection: its stream, or its ends if it has no stream."""
        if self.stream is not None:
            return self.transport, self.stream
        return frozenset((self.source.address, self.destination.address))


_CELLS_OF_FRAME, _CELLS_WITH_TLS, _CELLS_WITH_ALL = 7, 20, 30
_CELLS_OF_FAILURE, _CELLS_OF_CERTIFICATE, _CELLS_OF_GREETING = 2, 4, 5
_GREETING = "certhash"
_NOTHING = [""] * _CELLS_WITH_ALL


class Lines:
    """Parses the lines that the plugin prints for one capture.

    Args:
        frame_of: maps the number of a packet in tshark's input to its number in the capture, or to 0 if the
            packet must not be reported.
    """

    def __init__(self, frame_of: Callable[[int], int] = int) -> None:
        self._frame_of = frame_of
        self.greeted = False
        """The plugin was there."""
        self.failures: list[tuple[int, str]] = []
        """Frames on which the plugin failed, and its error messages."""
        self._certificates: dict[str, tuple[bytes, str]] = {}

    def parse(self, line: str) -> Row | None:
        """Return the row in one line, or None if the line is not about a frame.

        Raises:
            ValueError: the line is not in the plugin's format.
        """
        cells = line.split(SEPARATOR)
        count = len(cells)
        if count in (_CELLS_OF_FRAME, _CELLS_WITH_TLS, _CELLS_WITH_ALL):
            try:
                return self._row(cells)
            except KeyError as error:
                raise ValueError(f"it names an unknown transport or certificate: {error}") from None
        if count == _CELLS_OF_CERTIFICATE and not cells[0]:
            _, number, sha1, der = cells
            self._certificates[number] = bytes.fromhex(der), sha1
        elif count == _CELLS_OF_GREETING and cells[0] == _GREETING:
            self.greeted = True
        elif count == _CELLS_OF_FAILURE:
            self.failures.append((self._frame_of(int(cells[0])), cells[1]))
        else:
            raise ValueError(f"the plugin wrote a line of {count} cells")
        return None

    def _row(self, cells: list[str]) -> Row | None:
        frame = self._frame_of(int(cells[0]))
        if not frame:
            return None
        cells += _NOTHING[len(cells) :]
        transport, stream, ends, ports, flags = cells[2:7]
        source, destination = _ends(ends, ports)
        levels, codes = numbers_in(cells[18]), numbers_in(cells[19])
        return Row(
            frame=frame,
            time=microseconds(cells[1] or "0"),
            timed=bool(cells[1]),
            transport=_TRANSPORTS[transport],
            stream=int(stream) if stream else None,
            source=source,
            destination=destination,
            dtls="d" in flags,
            lost=senders((source, "l" in flags), (destination, "a" in flags)) if flags else (),
            cut="s" in flags,
            content_types=numbers_in(cells[7]),
            types=numbers_in(cells[8]),
            record_version=_number(cells[9]),
            random=cells[10].replace(":", "").lower() or None,
            session_id=cells[11].replace(":", "").lower() or None,
            server_name=cells[12] or None,
            version=_number(cells[13]),
            supported_version=_number(cells[14]),
            cipher_suite=_number(cells[15]),
            has_pre_shared_key=cells[16] == "p",
            certificates=tuple(map(self._certificate, _texts(cells[17]))) if cells[17] else (),
            unpaired_hashes=0,
            alerts=tuple(map(AlertRecord, levels, codes)) if levels else (),
            answers=(
                answers_in(dict(zip(_DNS, map(_texts, cells[20:25]), strict=True)).__getitem__)
                if cells[20]
                else ()
            ),
            downloads=_download(*cells[25:29]) if cells[25] else (),
            transfers=self._transfer(cells[29]) if cells[29] else (),
            plugin_error=False,
        )

    def _transfer(self, cell: str) -> tuple[TransferRecord, ...]:
        what, protocol, name, source, target, request, code, message = cell.split(AGGREGATOR)
        frame = self._frame_of(int(request)) if request else 0
        number = int(code) if code else None
        return (
            TransferRecord(
                what, "HTTP" if protocol == "HTTP" else "TFTP", name, source, target, frame, number, message
            ),
        )

    def _certificate(self, text: str) -> CertificateRecord:
        number, position, whole = text.split(" ")
        der, sha1 = self._certificates[number]
        return CertificateRecord(int(position), der, whole == "1", sha1)


_DNS = ("dns.resp.name", "dns.resp.type", "dns.a", "dns.aaaa", "dns.cname")
_TRANSPORTS: dict[str, Transport] = {"tcp": "tcp", "udp": "udp", "": "other"}


@lru_cache(maxsize=4096)
def numbers_in(cell: str) -> tuple[int, ...]:
    """Parse a cell of numbers; cached, as few values differ in tens of thousands of rows."""
    return tuple(int(value, 0) for value in cell.split(AGGREGATOR)) if cell else ()


def _number(cell: str) -> int | None:
    return int(cell) if cell else None


def _texts(cell: str) -> tuple[str, ...]:
    return tuple(cell.split(AGGREGATOR)) if cell else ()


@lru_cache(maxsize=4096)
def _ends(ends: str, ports: str) -> tuple[Endpoint, Endpoint]:
    """Parse source and destination as in a frame's headers, or as text without IP."""
    if AGGREGATOR in ends or not ends:
        source, _, destination = ends.partition(AGGREGATOR)
    else:
        half = len(ends) // 2
        source, destination = _address(ends[:half]), _address(ends[half:])
    return (
        Endpoint(source, int(ports[:4], 16) if ports else None),
        Endpoint(destination, int(ports[4:], 16) if ports else None),
    )


@lru_cache(maxsize=4096)
def _address(text: str) -> str:
    """Return an IP address, given in hex, as it is usually written."""
    family = socket.AF_INET if len(text) == 8 else socket.AF_INET6  # noqa: PLR2004 - 4 bytes in hex
    return socket.inet_ntop(family, bytes.fromhex(text))


def senders(*missing: tuple[Endpoint, object]) -> tuple[Endpoint, ...]:
    """Return the ends of which something is missing."""
    return tuple(end for end, some in missing if some)


def _download(name: str, content: str, client: str, server: str) -> tuple[DownloadRecord, ...]:
    return (DownloadRecord(name, bytes.fromhex(content), client or None, server or None),)


def answers_in(values: Values) -> tuple[tuple[str, str], ...]:
    """Pair names with addresses: the records of each type are in the same order as their values."""
    addresses = {"1": iter(values("dns.a")), "28": iter(values("dns.aaaa"))}
    aliases = iter(values("dns.cname"))
    canonical: dict[str, str] = {}
    found: list[tuple[str, str]] = []
    for owner, kind in zip(values("dns.resp.name"), values("dns.resp.type"), strict=False):
        name = plain_name(owner)
        if kind == "5":
            canonical[name] = plain_name(next(aliases, ""))
        elif kind in addresses and (address := next(addresses[kind], None)):
            found.append((name, address))
    answers = list(found)
    for alias in canonical:
        target, hops = alias, 0
        while target in canonical and hops < len(canonical):
            target, hops = canonical[target], hops + 1
        answers += [(alias, address) for name, address in found if name == target]
    return tuple(answers)


def microseconds(text: str) -> int:
    """Parse ``frame.time_epoch``: seconds with a fraction, or (newer versions) ISO 8601."""
    if "T" in text:
        moment = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text))
        return int(moment.timestamp()) * 1_000_000 + moment.microsecond
    whole, _, fraction = text.partition(".")
    micros = int((fraction + "000000")[:6])
    return on_calendar(int(whole) * 1_000_000 + (-micros if whole.startswith("-") else micros))
