"""Define the fuzz targets: each accepts any bytes, and raises only for an error in certhash."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from tests.conftest import TOP

from certhash.capture import columns, records
from certhash.capture.first_pass.carve import carve
from certhash.capture.tshark import AGGREGATOR, SEPARATOR
from certhash.certfile import certificates_in
from certhash.cnf import from_download, problems_of
from certhash.cnf.read import read_source
from certhash.model import Fetch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_SAMPLES = (TOP / "captures", TOP / "tests" / "captures")


def _files(pattern: str) -> list[bytes]:
    found = [path for folder in _SAMPLES for path in sorted(folder.rglob(pattern)) if path.is_file()]
    return [path.read_bytes() for path in found if path.stat().st_size < 50_000]


def cnf(data: bytes) -> None:
    """Read a phone's config from a file, and from a captured transfer."""
    for name in ("SEP00005E005311.cnf.xml", "SEP00005E005311.cnf.xml.sgn"):
        try:
            problems_of(from_download(name, data, Fetch("a.pcap", 1, 0, "192.0.2.1", "192.0.2.2")))
        except ValueError as error:
            _one_line(error)
        _source(name, data)


def configuration(data: bytes) -> None:
    """Read a running-config, the output of show commands, a certificate, or any other text."""
    _source("pasted.txt", data)
    try:
        certificates_in(data)
    except ValueError as error:
        _one_line(error)


def _source(name: str, data: bytes) -> None:
    try:
        sources = read_source(name, data)
    except ValueError as error:
        _one_line(error)
        return
    for problem in sources.problems:
        assert problem.message


def _one_line(error: ValueError) -> None:
    assert str(error).strip()
    assert "Traceback" not in str(error)


def row(data: bytes) -> None:
    """Read a line of tshark's output with the right number of cells."""
    line = data.decode("utf-8", "replace").replace("\n", "")
    for plugin in (True, False):
        count = len(columns.names(plugin=plugin))
        cells = (line.split(SEPARATOR) + [""] * count)[:count]
        try:
            found = columns.parse(SEPARATOR.join(cells), plugin=plugin)
        except ValueError as error:
            _one_line(error)
        else:
            assert all(isinstance(c.der, bytes) for c in found.certificates)


def lines(data: bytes) -> None:
    """Read the plugin's lines for a capture: an invalid line is refused, and the next one is read."""
    reader = records.Lines()
    text = data.decode("utf-8", "replace")
    for line in text.split("\n"):
        try:
            read = reader.parse(line)
        except ValueError as error:
            _one_line(error)
            continue
        if read is not None:
            assert read.transport in ("tcp", "udp", "other")
            # Every certificate must have been printed before.
            assert all(c.der.hex() in "".join(text.lower().split()) for c in read.certificates)


def carved(data: bytes) -> None:
    """Carve: nothing is invented, and the size of the window does not matter."""
    results = []
    for window in (1 << 23, 1 << 16):
        out = io.BytesIO()
        result = carve(io.BytesIO(data), out.write, window=window)
        numbers = [result.frames.frame(n + 1) for n in range(len(result.frames))]
        assert numbers == sorted(numbers)
        assert not numbers or 1 <= numbers[0] <= numbers[-1] <= result.packets
        assert out.tell() <= len(data) + 64 * (result.packets + 1)
        results.append((result.packets, result.status))
    assert results[0] == results[1]


TARGETS: dict[str, tuple[Callable[[bytes], None], Callable[[], list[bytes]]]] = {
    "cnf": (cnf, lambda: _files("*.cnf.xml*")),
    "configuration": (configuration, lambda: [*_files("config/*"), *_files("certificates/*")]),
    "row": (row, lambda: [_row()]),
    "lines": (lines, lambda: [_lines()]),
    "carve": (carved, lambda: [*_files("*.pcapng"), *_files("*.pcap")]),
}
"""Each target, with the samples from which mutation starts."""


def _row() -> bytes:
    """Return a line with a plausible value in every cell."""
    values = {
        "frame.number": "1",
        "frame.time_epoch": "1700000000.000001",
        "frame.protocols": "eth:ip:tcp:tls",
    }
    cells = [values.get(field, "1" + AGGREGATOR + "2") for field in columns.names(plugin=True)]
    return SEPARATOR.join(cells).encode()


def _lines() -> bytes:
    """Return lines of each kind, in the plugin's format."""
    head = ["7", "1700000000.000001", "tcp", "0", "0a0900010a090002", "01bb9c41", "ls"]
    tls = ["22", "2", "0x0303", "00:11", "aa", "vpn.example", "0x0303", "", "0xc02f", "0"]
    certificates = AGGREGATOR.join(("0 0 1", "0 1 0"))
    cells = [*head, *tls, certificates, "2", "42"]
    names = ["vpn.example", "1", "192.0.2.1", "", "", "SEP00005E005311.cnf.xml", "3c3e", "192.0.2.7", ""]
    udp = ["8", "", "udp", "1", AGGREGATOR.join(("02:00:00:00:00:01", "02:00:00:00:00:02")), "", "d"]
    of_all_kinds = [
        ["certhash", "1.0"],
        ["", "0", "2jmj7l5rSw0yVb/vlWAYkK/YBwk=", "308201"],
        cells,
        [*cells, *names],
        udp,
        ["9", "certhash.lua:1: what went wrong"],
    ]
    return "\n".join(SEPARATOR.join(line) for line in of_all_kinds).encode()


def found(folder: Path) -> list[tuple[str, bytes]]:
    """Return the inputs that once caused a failure: files named TARGET-WHAT."""
    return [(path.name.split("-")[0], path.read_bytes()) for path in sorted(folder.iterdir())]
