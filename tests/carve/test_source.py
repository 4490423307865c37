"""Compressed captures are read like others; damage and bombs are told, and a missing package is named."""

from __future__ import annotations

import gzip
import random
import sys
from typing import TYPE_CHECKING

import lz4.frame
import pytest
import zstandard
from tests.carve.files import as_pcap

from certhash.capture.first_pass.carve import carve
from certhash.capture.first_pass.decompress import Source, SourceError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "none": bytes,
    "gzip": gzip.compress,
    "two gzip members": lambda data: gzip.compress(data[:5000]) + gzip.compress(data[5000:]),
    "zstd": zstandard.ZstdCompressor().compress,
    "lz4": lz4.frame.compress,
}


def opened(path: Path) -> Source:
    """Open a capture as an audit does, without a look at what it is."""
    return Source(path.open("rb", buffering=0))


@pytest.fixture(scope="module")
def capture() -> bytes:
    choose = random.Random(1)
    return as_pcap([(data, len(data)) for data in (choose.randbytes(900) for _ in range(200))])


@pytest.mark.parametrize("name", COMPRESSORS)
def test_all_bytes_come_out(name: str, capture: bytes, tmp_path: Path) -> None:
    path = tmp_path / "some.pcap"
    path.write_bytes(COMPRESSORS[name](capture))
    out = bytearray()
    with opened(path) as source:
        carved = carve(source, out.extend)
        assert source.error == ""
        assert source.compressed == (name != "none")
    assert bytes(out) == capture
    assert (carved.packets, carved.status) == (200, "complete")


@pytest.mark.parametrize("name", ["gzip", "lz4"])
def test_data_that_end_early_are_told(name: str, capture: bytes, tmp_path: Path) -> None:
    path = tmp_path / "some.pcap"
    path.write_bytes(COMPRESSORS[name](capture)[:-5000])
    with opened(path) as source:
        carved = carve(source, lambda _: None)
        assert "too early" in source.error
        assert source.readinto(memoryview(bytearray(10))) == 0  # asked again, there is still no more
    assert carved.status == "truncated"
    assert carved.error == source.error


def test_damaged_data_are_told(capture: bytes, tmp_path: Path) -> None:
    data = bytearray(gzip.compress(capture))
    data[1000:1100] = bytes(100)
    path = tmp_path / "some.pcap"
    path.write_bytes(data)
    with opened(path) as source:
        assert carve(source, lambda _: None).status == "truncated"
        assert "damaged" in source.error


def test_a_bomb_is_not_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "bomb.gz"
    with gzip.open(path, "wb", compresslevel=9) as file:
        file.write(as_pcap([]))
        for _ in range(200):
            file.write(bytes(1 << 20))
    with opened(path) as source:
        carved = carve(source, lambda _: None)
        assert "when decompressed" in source.error
    assert carved.bytes_read < 150 << 20


@pytest.mark.parametrize(("name", "package"), [("zstd", "zstandard"), ("lz4", "lz4")])
def test_a_missing_package_is_named(
    name: str, package: str, capture: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "some.pcap"
    path.write_bytes(COMPRESSORS[name](capture))
    for module in (package, f"{package}.frame"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(SourceError, match=f"pip install {package}"):
        opened(path)


@pytest.mark.parametrize("data", [b"", b"\x1f", b"PK"])
def test_what_is_shorter_than_any_magic_number_comes_out_as_it_is(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "short.pcap"
    path.write_bytes(data)
    out = bytearray()
    with opened(path) as source:
        carve(source, out.extend)
        assert not source.compressed
    assert bytes(out) == data


def test_bytes_read_before_come_first(capture: bytes, tmp_path: Path) -> None:
    path = tmp_path / "some.pcap.gz"
    path.write_bytes(gzip.compress(capture))
    out = bytearray()
    with path.open("rb", buffering=0) as raw:
        head = raw.read(1)
        assert carve(Source(raw, head), out.extend).packets == 200
    assert bytes(out) == capture
