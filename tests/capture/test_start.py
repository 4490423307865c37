"""Test that tshark's results do not depend on its tables of names."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from certhash.capture import columns, tshark
from certhash.capture.workplace import surroundings, workplace
from tests.conftest import TOP, need

FOLDERS = (TOP / "captures", TOP / "tests" / "captures")
CAPTURES = sorted(path for folder in FOLDERS for path in folder.glob("*.pcapng"))


@pytest.mark.parametrize("plugin", [True, False])
def test_without_tables_of_names_tshark_says_the_same(plugin: bool) -> None:
    """All captures in one file, so that tshark's state between them is the same in both runs."""
    need("tshark")
    found = tshark.find()
    merged = subprocess.run(
        [need("mergecap"), "-a", "-w", "-", *CAPTURES], check=True, capture_output=True
    ).stdout
    said = []
    for program in (found.path, None):
        with workplace(program) as place:
            command = tshark.arguments(
                found, place, fields=columns.names(plugin=plugin), display_filter="frame"
            )
            ended = subprocess.run(
                command, input=merged, capture_output=True, check=True, **surroundings(place)
            )
            said.append((ended.stdout, ended.stderr.replace(bytes(place.folder), b"")))
    assert said[0] == said[1]
    assert said[0][0].count(b"\n") > 500


@pytest.mark.parametrize("manufacturers", [True, False])
def test_it_starts_without_tables_of_names(manufacturers: bool) -> None:
    program = Path(need("tshark")).resolve()
    installed = program.parents[1] / "share" / "wireshark"
    if not (installed / "services").is_file():
        pytest.skip("the tables are built into this Wireshark: 4.0 has them in files")
    left_out = {"services", "enterprises.tsv", "wka"} | (set() if manufacturers else {"manuf"})
    with workplace(str(program)) as place:
        for _ in range(2):
            how = surroundings(place._replace(manufacturers=manufacturers))
            data = Path(how["env"]["WIRESHARK_DATA_DIR"])
            assert {path.name for path in installed.iterdir()} - {
                path.name for path in data.iterdir()
            } == left_out
            assert all(path.exists() for path in data.iterdir())
