"""Test that damaged captures cause no Lua error, with selected fields and with the whole tree."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.harness.fuzz.test_fuzz import MUTANTS, make
from tests.plugin.machines import TOP

if TYPE_CHECKING:
    from pathlib import Path

    from tests.plugin.machines import Machine

FIELDS = (
    *("certificate", "sha1", "thumbprint", "sha256", "position", "match", "device", "cnf", "url", "verdict"),
    *("story", "certificate_in", "rejected_in", "cnf_downloaded"),
)


def test_damaged_captures_make_no_lua_error(place: Machine, tmp_path: Path) -> None:
    make(tmp_path, range(MUTANTS))
    assert sum(check(place, path) for path in sorted(tmp_path.iterdir())) > 0


def check(place: Machine, path: Path) -> int:
    """Read a damaged capture in both ways; return in how many frames the plugin showed certificates."""
    capture = place.put("damaged.pcap", path.read_bytes())
    for file in (TOP / "captures" / "cnf").iterdir():
        place.put(f"cnf/{file.name}", file.read_bytes())
    asked = ("-o", f"certhash.cnf_directory:{place.folder / 'cnf'}")
    columns = [part for name in FIELDS for part in ("-e", f"certhash.{name}")]
    fields = place.tshark(capture, "-T", "fields", "-e", "_ws.lua.error", *columns, *asked)
    whole = place.tshark(capture, "-2", "-T", "pdml", *asked)
    for done in (fields, whole):
        # Above 0 is what the file itself is to blame for, as one that is cut off; below is a signal's number.
        assert done.returncode >= 0, f"{path.name}: {done.stderr}"
        assert "Lua" not in done.stderr, path.name
    lines = fields.stdout.splitlines()
    assert not [line for line in lines if not line.startswith("\t")], path.name
    assert "_ws.lua.error" not in whole.stdout, path.name
    return sum(line.startswith("\t0 ") for line in lines)
