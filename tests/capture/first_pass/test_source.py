"""Test compressed captures: damage, decompression bombs and missing packages are reported."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import sys
import zipfile
from contextlib import contextmanager
from typing import TYPE_CHECKING

import lz4.frame
import pytest
import zstandard
from tests.capture.first_pass.files import as_pcap

from certhash.archive.walk import find_captures
from certhash.capture.first_pass.carve import carve
from certhash.capture.first_pass.decompress import Source, SourceError
from certhash.capture.first_pass.source import Unpacked, looks_like_capture, open_capture

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "none": bytes,
    "gzip": gzip.compress,
    "two gzip members": lambda data: gzip.compress(data[:5000]) + gzip.compress(data[5000:]),
    "zstd": zstandard.ZstdCompressor().compress,
    "lz4": lz4.frame.compress,
    "xz": lzma.compress,
    "two xz streams": lambda data: lzma.compress(data[:5000]) + bytes(4) + lzma.compress(data[5000:]),
    "bzip2": bz2.compress,
}


@contextmanager
def opened(path: Path) -> Iterator[Source]:
    """Open a capture as an audit does, without a check of its format."""
    with path.open("rb", buffering=0) as raw:
        yield Source(raw)


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


@pytest.mark.parametrize("name", ["gzip", "lz4", "xz", "bzip2"])
def test_data_that_end_early_are_told(name: str, capture: bytes, tmp_path: Path) -> None:
    path = tmp_path / "some.pcap"
    path.write_bytes(COMPRESSORS[name](capture)[:-5000])
    with opened(path) as source:
        carved = carve(source, lambda _: None)
        assert "too early" in source.error
        assert source.readinto(memoryview(bytearray(10))) == 0  # another read also returns nothing
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
    path.write_bytes(gzip.compress(as_pcap([])) + 10 * gzip.compress(bytes(20 << 20)))
    with opened(path) as source:
        passed: list[int] = []
        carve(source, lambda part: passed.append(len(part)))
        assert "when decompressed" in source.error
    assert 1 << 20 < sum(passed) < 150 << 20


@pytest.mark.parametrize(("name", "package"), [("zstd", "zstandard"), ("lz4", "lz4")])
def test_a_missing_package_is_named(
    name: str, package: str, capture: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "some.pcap"
    path.write_bytes(COMPRESSORS[name](capture))
    for module in (package, f"{package}.frame"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(SourceError, match=f"pip install {package}"), opened(path):
        pass


@pytest.mark.parametrize("data", [b"", b"\x1f", b"PK"])
def test_file_shorter_than_a_magic_number_is_passed_on_unchanged(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "short.pcap"
    path.write_bytes(data)
    out = bytearray()
    with opened(path) as source:
        carve(source, out.extend)
        assert not source.compressed
    assert bytes(out) == data


def zipped(**files: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name.replace("_", "."), data)
    return out.getvalue()


def test_what_tshark_does_not_unpack_is_unpacked(capture: bytes, tmp_path: Path) -> None:
    path = tmp_path / "some.pcap.packed"
    for data in (lzma.compress(capture), bz2.compress(capture), zipped(a_pcap=capture, read_txt=b"me")):
        path.write_bytes(data)
        assert looks_like_capture(data[:4096]) or data.startswith(b"BZh")
        with open_capture(str(path)) as source:
            assert isinstance(source, Unpacked)
            assert source.damage == ""
            assert source.read() == capture


def test_an_archive_that_is_not_unpacked_is_no_capture(capture: bytes, tmp_path: Path) -> None:
    path = tmp_path / "some.pcap.7z"
    path.write_bytes(b"7z\xbc\xaf\x27\x1c" + bytes(60))
    (tmp_path / "some.7z").write_bytes(path.read_bytes())
    assert find_captures([str(tmp_path)]).captures == (str(path),)
    with pytest.raises(ValueError, match="unpack it"):
        open_capture(str(path))
    path.write_bytes(capture)  # only its name is that of an archive
    with open_capture(str(path)) as source:
        assert source.read() == capture


def test_a_damaged_archive_gives_what_is_before_the_damage(capture: bytes, tmp_path: Path) -> None:
    path = tmp_path / "some.pcap.xz"
    path.write_bytes(lzma.compress(capture)[:-5000])
    with open_capture(str(path)) as source:
        assert isinstance(source, Unpacked)
        assert "too early" in source.damage
        assert capture.startswith(source.read(1000))


@pytest.mark.parametrize("files", [{"a_pcap": b"1", "b_pcap": b"2"}, {"a_txt": b"1"}])
def test_zip_file_without_exactly_one_capture_is_refused(files: dict[str, bytes], tmp_path: Path) -> None:
    path = tmp_path / "some.zip"
    path.write_bytes(zipped(**files))
    with pytest.raises(ValueError, match="unpack it, and give its folder"):
        open_capture(str(path))


def test_a_zip_bomb_is_not_unpacked_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "some.zip"
    path.write_bytes(zipped(a_pcap=as_pcap([]) + bytes(200 << 20)))
    with open_capture(str(path)) as source:
        assert isinstance(source, Unpacked)
        assert "grow more than" in source.damage
