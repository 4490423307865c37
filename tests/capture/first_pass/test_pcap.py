"""Test that the records of a capture, read in windows, cover all its bytes."""

from __future__ import annotations

import io
import struct
import subprocess
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.capture.first_pass.files import as_pcap, as_pcapng
from tests.conftest import need
from tests.harness.packets import block

from certhash.capture.first_pass.carve import carve
from certhash.capture.first_pass.layout import recognise
from certhash.capture.first_pass.pcap import CUT_SHORT, windows

if TYPE_CHECKING:
    from pathlib import Path

Layout = Callable[[list[tuple[bytes, int]]], bytes]

frames = st.lists(st.binary(min_size=14, max_size=300).map(lambda data: (data, len(data))), max_size=40)
layouts = st.sampled_from(
    (
        as_pcap,
        lambda some: as_pcap(some, ">"),
        lambda some: as_pcap(some, ">", nanoseconds=True),
        as_pcapng,
    )
)


@given(frames, layouts, st.integers(1, 3000))
def test_the_records_are_the_file(some: list[tuple[bytes, int]], layout: Layout, window: int) -> None:
    data = layout(some)
    found, packets = b"", []
    for records in windows(io.BytesIO(data), window):
        found += bytes(records.buffer[int(records.start[0]) : int(records.end[-1])])
        for start, size in zip(records.data.tolist(), records.captured.tolist(), strict=True):
            if start:
                packets.append(bytes(records.buffer[start : start + size]))
        assert (records.status, records.error) == ("complete", "")
    assert found == data
    assert len(packets) == len(some)
    # One link type in pcapng has no Ethernet header.
    assert all(frame.endswith(packet) for packet, (frame, _) in zip(packets, some, strict=True))


@given(frames, layouts, st.data())
def test_a_file_cut_short_is_passed_on_to_its_last_byte(
    some: list[tuple[bytes, int]], layout: Layout, data: st.DataObject
) -> None:
    whole = layout(some)
    part = whole[: data.draw(st.integers(24, len(whole)))]
    out = bytearray()
    source = io.BytesIO(part)
    carved = carve(source, out.extend, window=500)
    assert source.tell() == len(part)
    assert bytes(out[-1:]) == part[-1:]
    assert (carved.status, carved.error) in (("complete", ""), ("truncated", CUT_SHORT))
    if carved.status == "complete":
        assert carved.packets <= len(some)


@given(st.binary(max_size=3000))
def test_what_is_no_capture_passes_as_it_is(data: bytes) -> None:
    out = bytearray()
    carved = carve(io.BytesIO(data), out.extend, window=700)
    assert bytes(out) == data
    assert carved.packets == 0
    assert carved.frames.frame(3) == 3


@given(frames, st.binary(min_size=1, max_size=200), st.integers(0, 40))
def test_damage_is_told_and_the_rest_passes(some: list[tuple[bytes, int]], junk: bytes, place: int) -> None:
    whole = as_pcap(some[:place])
    damaged = whole + b"\xff" * 16 + junk
    out = bytearray()
    carved = carve(io.BytesIO(damaged), out.extend, window=800)
    assert bytes(out).endswith(b"\xff" * 16 + junk)
    assert carved.status == "unreadable"
    assert "bytes" in carved.error
    assert carved.packets == len(some[:place])


@pytest.mark.parametrize(
    ("head", "layout"),
    [
        (as_pcap([]), "pcap"),
        (as_pcap([], ">"), "pcap"),
        (as_pcapng([])[:24], "pcapng"),
        (bytes.fromhex("a1b2cd34") + bytes(20), "other"),
        (as_pcap([])[:4] + b"\x02\x00\x03\x00" + bytes(16), "other"),
        (b"snoop\0\0\0" + bytes(16), "other"),
        (b"", "other"),
    ],
)
def test_layouts_are_told_by_their_first_bytes(head: bytes, layout: str) -> None:
    assert recognise(head) == layout


FRAME = bytes(12) + b"\x08\x00" + bytes(50)
THREE = [(FRAME, len(FRAME))] * 3
LARGE = struct.pack("<IIII", 0, 0, 300_000, 300_000)
"""A pcap file with the header of an impossibly large packet."""


@pytest.mark.parametrize(
    ("damaged", "says"),
    [
        pytest.param(as_pcap(THREE) + LARGE, "a packet of 300000 bytes", id="pcap"),
        pytest.param(as_pcapng(THREE) + struct.pack(">III", 6, 5, 0), "a block of 5 bytes", id="length"),
        pytest.param(
            as_pcapng(THREE) + struct.pack("<III", 0x0A0D0D0A, 28, 0x12345678),
            "unknown byte order",
            id="order",
        ),
        pytest.param(
            as_pcapng(THREE) + block(">", 3, struct.pack(">I", 60) + bytes(16)),
            "a packet of 60 bytes in a block of 32",
            id="simple",
        ),
    ],
)
@pytest.mark.parametrize("window", [200, 5000])
def test_damage_ends_what_is_read_where_tshark_ends(
    damaged: bytes, says: str, window: int, tmp_path: Path
) -> None:
    data = damaged + bytes(4000)
    passed, packets, last = b"", 0, ("", "")
    for records in windows(io.BytesIO(data), window):
        passed += bytes(records.buffer[int(records.start[0]) : int(records.end[-1])])
        packets += int((records.data > 0).sum())
        last = records.status, records.error
    assert passed == data
    assert last[0] == "unreadable"
    assert says in last[1]
    path = tmp_path / "damaged.pcap"
    path.write_bytes(data)
    read = subprocess.run([need("tshark"), "-r", path], capture_output=True, text=True, check=False)
    assert "damaged or corrupt" in read.stderr
    assert packets == len(read.stdout.splitlines()) == len(THREE)
