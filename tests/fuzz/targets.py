"""What is fuzzed: each target takes any bytes, and raises only where certhash is wrong."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from certhash.capture import records
from certhash.capture.carve import carve
from certhash.capture.tshark import AGGREGATOR, SEPARATOR
from certhash.certfile import certificates_in
from certhash.cnf import from_download, problems_of
from certhash.cnf.read import read_source
from certhash.model import Fetch
from tests.conftest import TOP

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_SAMPLES = (TOP / "captures", TOP / "tests" / "captures")


def _files(pattern: str) -> list[bytes]:
    found = [path for folder in _SAMPLES for path in sorted(folder.rglob(pattern)) if path.is_file()]
    return [path.read_bytes() for path in found if path.stat().st_size < 50_000]


def cnf(data: bytes) -> None:
    """Read a phone's config from a file, and from a transfer that was seen."""
    for name in ("SEP00005E005311.cnf.xml", "SEP00005E005311.cnf.xml.sgn"):
        try:
            problems_of(from_download(name, data, Fetch("a.pcap", 1, 0, "192.0.2.1", "192.0.2.2")))
        except ValueError as error:
            _one_line(error)
        _source(name, data)


def configuration(data: bytes) -> None:
    """Read a running-config, the output of show commands, a certificate, or whatever it is."""
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
    """Read a line of tshark's, as many cells as it should have."""
    line = data.decode("utf-8", "replace").replace("\n", "")
    for plugin in (True, False):
        count = len(records.fields(plugin=plugin))
        cells = (line.split(SEPARATOR) + [""] * count)[:count]
        try:
            found = records.parse(SEPARATOR.join(cells), plugin=plugin)
        except ValueError as error:
            _one_line(error)
        else:
            assert all(isinstance(c.der, bytes) for c in found.certificates)


def carved(data: bytes) -> None:
    """Carve: nothing is invented, and it does not matter how much is read at a time."""
    results = []
    for window in (1 << 23, 1 << 16):
        out = io.BytesIO()
        result = carve(io.BytesIO(data), out.write, window=window)
        numbers = result.frames.array().tolist()
        assert numbers == sorted(numbers)
        assert not numbers or 1 <= numbers[0] <= numbers[-1] <= result.packets
        assert out.tell() <= len(data) + 64 * (result.packets + 1)
        results.append((result.packets, result.status))
    assert results[0] == results[1]


TARGETS: dict[str, tuple[Callable[[bytes], None], Callable[[], list[bytes]]]] = {
    "cnf": (cnf, lambda: _files("*.cnf.xml*")),
    "configuration": (configuration, lambda: [*_files("config/*"), *_files("certificates/*")]),
    "row": (row, lambda: [_row()]),
    "carve": (carved, lambda: [*_files("*.pcapng"), *_files("*.pcap")]),
}
"""Each target with the samples that mutation starts from."""


def _row() -> bytes:
    """Return a line with something plausible in every cell."""
    values = {
        "frame.number": "1",
        "frame.time_epoch": "1700000000.000001",
        "frame.protocols": "eth:ip:tcp:tls",
    }
    cells = [values.get(field, "1" + AGGREGATOR + "2") for field in records.fields(plugin=True)]
    return SEPARATOR.join(cells).encode()


def found(folder: Path) -> list[tuple[str, bytes]]:
    """Return the inputs that were found to break something: files named TARGET-WHAT."""
    return [(path.name.split("-")[0], path.read_bytes()) for path in sorted(folder.iterdir())]
