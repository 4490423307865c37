"""Test that the first pass runs: it changes no result, so only these tests or a timer detect its absence."""

from __future__ import annotations

import gzip
import subprocess
from typing import TYPE_CHECKING

import pytest
from tests.conftest import TOP, need

from certhash.capture.first_pass.source import is_carvable, open_capture

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("form", ["pcap", "nsecpcap", "pcapng"])
@pytest.mark.parametrize("compressed", [False, True])
def test_captures_whose_records_are_known_are_carved(tmp_path: Path, form: str, compressed: bool) -> None:
    capture = tmp_path / "capture"
    subprocess.run([need("editcap"), "-F", form, TOP / "captures" / "match.pcapng", capture], check=True)
    if compressed:
        capture.write_bytes(gzip.compress(capture.read_bytes()))
    with open_capture(str(capture)) as source:
        assert is_carvable(source)
        assert source.tell() == 0
