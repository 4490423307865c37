"""Test the variants of pcap that keep its magic number: tshark recognises them in a file, not in a pipe."""

from __future__ import annotations

import io
import ssl
import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.harness.benchmarks.captures import make_identity, tcp_frame, tcp_segments, tls_transcript
from tests.harness.fidelity.compare import both
from tests.harness.fidelity.kinds import ENDS

from certhash.capture.first_pass.source import is_carvable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MORE = {
    "pcap": b"",
    "nokia": b"\x01\xb6\xbf\x9f",
    "red hat 6.1": struct.pack("<IHBx", 2, 0x0008, 0),
}
"""What follows the fields of a record header: of Nokia's variant unknown, of the other one the interface."""


def written(frames: Sequence[bytes], more: bytes, micro: Sequence[int]) -> bytes:
    """Return a little-endian file; `micro` has the microseconds of each packet's time."""
    out = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1)]
    for number, frame in enumerate(frames):
        head = struct.pack("<IIII", 1_700_000_000, micro[number % len(micro)], len(frame), len(frame))
        out.append(head + more + frame)
    return b"".join(out)


@pytest.mark.parametrize("variant", MORE)
@given(
    frames=st.lists(st.binary(min_size=42, max_size=1514), min_size=3, max_size=5),
    micro=st.lists(st.integers(0, 999_999), min_size=1),
)
def test_only_pcap_itself_is_carved(variant: str, frames: list[bytes], micro: list[int]) -> None:
    source = io.BytesIO(written(frames, MORE[variant], micro))
    assert is_carvable(source) == (variant == "pcap")
    assert source.tell() == 0


@pytest.mark.parametrize("variant", ["nokia", "red hat 6.1"])
def test_a_variant_shows_the_same_with_and_without_the_first_pass(variant: str, tmp_path: Path) -> None:
    turns = tls_transcript(make_identity(tmp_path, "vpn.example"), version=ssl.TLSVersion.TLSv1_2)
    frames = [tcp_frame(ENDS, segment) for segment in tcp_segments(turns)]
    path = tmp_path / "variant.pcap"
    path.write_bytes(written(frames, MORE[variant], [200_000]))  # a length, for who takes it for pcap
    seen = both(path)
    assert (seen.status, seen.packets) == ("complete", len(frames))
    assert len(seen.certificates) == 1
