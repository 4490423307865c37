"""Test that tshark's results do not depend on its tables of names."""

from __future__ import annotations

import subprocess

import pytest

from certhash.capture import records, tshark
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
                found, place, fields=records.fields(plugin=plugin), display_filter="frame"
            )
            ended = subprocess.run(
                command, input=merged, capture_output=True, check=True, **surroundings(place)
            )
            said.append((ended.stdout, ended.stderr.replace(bytes(place.folder), b"")))
    assert said[0] == said[1]
    assert said[0][0].count(b"\n") > 500
