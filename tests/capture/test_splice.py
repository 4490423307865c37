"""Test the splitting of dumpcap's output, which arrives in arbitrary pieces."""

from __future__ import annotations

import struct
import subprocess
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certhash.capture.splice import PACKET, SECTION, Blocks
from tests.conftest import TOP, need

MATCH = TOP / "captures" / "match.pcapng"


@cache
def packets() -> int:
    """Return what Wireshark's capinfos prints."""
    said = subprocess.run([need("capinfos"), "-cM", MATCH], capture_output=True, check=True, text=True).stdout
    return int(said.rpartition(" ")[2])


@given(st.lists(st.integers(1, 700), min_size=1, max_size=50))
def test_the_blocks_are_the_file_however_it_is_cut(sizes: list[int]) -> None:
    whole, at = MATCH.read_bytes(), 0
    found: list[tuple[int, bytes]] = []
    blocks = Blocks()
    for size in (*sizes, len(whole)):
        found += blocks.feed(whole[at : at + size])
        at += size
    assert b"".join(block for _, block in found) == whole
    assert found[0][0] == SECTION
    assert sum(kind == PACKET for kind, _ in found) == packets()


@pytest.mark.parametrize("size", [8, 11, 14, (1 << 24) + 4])
def test_a_length_that_no_block_has_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"block of {size} bytes"):
        list(Blocks().feed(struct.pack("=III", PACKET, size, 0)))
