"""Test that damaged captures cause no Lua error, with selected fields and with the whole tree."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from tests.harness.fuzz.test_fuzz import MUTANTS, SAMPLES, make
from tests.harness.packets import pcap
from tests.plugin.machines import TOP

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from tests.plugin.machines import Machine

FIELDS = (
    *("certificate", "sha1", "thumbprint", "sha256", "position", "match", "device", "cnf", "url", "verdict"),
    *("story", "certificate_in", "rejected_in", "cnf_downloaded"),
)


def test_damaged_captures_make_no_lua_error(place: Machine, tmp_path: Path) -> None:
    make(tmp_path, range(MUTANTS))
    paths = sorted(tmp_path.iterdir())
    # Those of one batch are of different samples, so that no connection is in it twice.
    batches = [paths[at : at + len(SAMPLES)] for at in range(0, len(paths), len(SAMPLES))]
    for number, batch in enumerate(batches):
        (tmp_path / f"batch-{number}").write_bytes(joined(path.read_bytes() for path in batch))
    assert sum(check(place, path) for path in tmp_path.glob("batch-*")) > 0
    assert check(place, next(path for path in paths if not is_whole(path.read_bytes()))) >= 0


def records(capture: bytes) -> Iterator[bytes]:
    """Yield the packets of a pcap file, with their headers, as far as it is one."""
    at = 24
    while at + 16 <= len(capture):
        captured, length = struct.unpack_from("<8xII", capture, at)
        if captured > min(length, 1 << 18) or at + 16 + captured > len(capture):
            return
        yield capture[at : at + 16 + captured]
        at += 16 + captured


def joined(captures: Iterable[bytes]) -> bytes:
    """Return one capture with the packets of several pcap files."""
    return pcap(()) + b"".join(record for capture in captures for record in records(capture))


def is_whole(capture: bytes) -> bool:
    """Return whether a pcap file ends where its last packet ends."""
    return len(capture) == 24 + sum(map(len, records(capture)))


def check(place: Machine, path: Path) -> int:
    """Read a damaged capture in both ways; return the number of frames with certificates."""
    capture = place.put("damaged.pcap", path.read_bytes())
    for file in (TOP / "captures" / "cnf").iterdir():
        place.put(f"cnf/{file.name}", file.read_bytes())
    asked = ("-o", f"certhash.cnf_directory:{place.folder / 'cnf'}")
    columns = [part for name in FIELDS for part in ("-e", f"certhash.{name}")]
    fields = place.tshark(capture, "-T", "fields", "-e", "_ws.lua.error", *columns, *asked)
    whole = place.tshark(capture, "-2", "-T", "pdml", *asked)
    for done in (fields, whole):
        # A positive status is the fault of the file, for example a truncated one; a negative one is a signal.
        assert done.returncode >= 0, f"{path.name}: {done.stderr}"
        assert "Lua" not in done.stderr, path.name
    lines = fields.stdout.splitlines()
    assert not [line for line in lines if not line.startswith("\t")], path.name
    assert "_ws.lua.error" not in whole.stdout, path.name
    return sum(line.startswith("\t0 ") for line in lines)
