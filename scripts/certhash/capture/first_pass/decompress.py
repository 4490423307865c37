"""Read the bytes of a capture sequentially, and decompress them."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
from importlib import import_module
from typing import TYPE_CHECKING, Any, BinaryIO, cast

if TYPE_CHECKING:
    from collections.abc import Callable

    from certhash.capture.first_pass.layout import Readable

FREE_BYTES = 64 << 20
MOST_TIMES = 400
"""Maximum ratio of decompressed to compressed bytes, beyond some free bytes; captures are far below it."""

GZIP, ZSTD, LZ4, XZ, BZ2 = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18", b"\xfd7zXZ\0", b"BZh"
"""The first bytes of compressed files."""
XZ_MEMORY = 256 << 20
"""Memory limit in bytes for the decompression of xz: four times the requirement of ``xz -9``."""
_XZ_PIECE = 1 << 16


class SourceError(Exception):
    """A capture cannot be opened; the message says what to do about it."""


class Source:
    """The bytes of a capture (an open file or a pipe), decompressed, readable once, sequentially.

    If damage ends them early, ``error`` says so.
    """

    def __init__(self, raw: BinaryIO) -> None:
        self.error = ""
        self._raw = _Counted(raw)
        self._inner: Readable = self._raw
        self._came = 0
        start = self._raw.peek(_LONGEST_MAGIC)
        for magic, opener in _OPENERS.items():
            if start.startswith(magic):
                self._inner = opener(cast("BinaryIO", io.BufferedReader(self._raw, 1 << 20)))
        self.compressed = self._inner is not self._raw

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill the start of a buffer; return the number of bytes, 0 at a regular or premature end."""
        if not self.compressed:
            return self._raw.readinto(buffer) or 0
        if self.error:
            return 0
        try:
            count = self._inner.readinto(buffer) or 0
        except EOFError:
            self.error = "the compressed data end too early"
            return 0
        except Exception as error:  # noqa: BLE001  (each package has its own)
            self.error = f"the compressed data are damaged ({error})"
            return 0
        self._came += count
        if self._came > FREE_BYTES + MOST_TIMES * self._raw.count:
            self.error = (
                f"the data grow more than {MOST_TIMES} times when decompressed, so the rest is not read"
            )
            return 0
        return count


class _Counted(io.RawIOBase):
    """A file whose first bytes can be looked at before they are read, with a count of the bytes read."""

    def __init__(self, raw: BinaryIO) -> None:
        self._raw = raw
        self._head = b""
        self.count = 0

    def readable(self) -> bool:
        return True

    def peek(self, size: int) -> bytes:
        while len(self._head) < size:
            more = self._raw.read(size - len(self._head))
            if not more:
                break
            self._head += more
        return self._head[:size]

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        if self._head:
            count = min(len(buffer), len(self._head))
            buffer[:count] = self._head[:count]
            self._head = self._head[count:]
        else:
            count = cast("Readable", self._raw).readinto(buffer) or 0
        self.count += count
        return count


def _gzip(raw: BinaryIO) -> Readable:
    return cast("Readable", gzip.GzipFile(fileobj=raw))


def _zstd(raw: BinaryIO) -> Readable:
    module = _optional("zstandard", "zstd")
    reader = module.ZstdDecompressor(max_window_size=1 << 27).stream_reader(raw, read_across_frames=True)
    return cast("Readable", reader)


def _lz4(raw: BinaryIO) -> Readable:
    return cast("Readable", _optional("lz4.frame", "lz4").open(raw))


class _Xz(io.RawIOBase):
    """The data of all streams of an xz file, with the memory limit that ``lzma.open`` lacks."""

    def __init__(self, raw: BinaryIO) -> None:
        self._raw = raw
        self._stream = self._another()

    @staticmethod
    def _another() -> lzma.LZMADecompressor:
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        while True:
            if self._stream.eof:
                rest = self._stream.unused_data.lstrip(b"\0") or self._raw.read(_XZ_PIECE).lstrip(b"\0")
                if not rest:
                    return 0
                self._stream = self._another()
            else:
                rest = self._raw.read(_XZ_PIECE) if self._stream.needs_input else b""
                if self._stream.needs_input and not rest:
                    raise EOFError
            data = self._stream.decompress(rest, len(buffer))
            if data:
                buffer[: len(data)] = data
                return len(data)


def _bz2(raw: BinaryIO) -> Readable:
    return cast("Readable", bz2.BZ2File(raw))


def _optional(module: str, what: str) -> Any:  # noqa: ANN401  (packages without types)
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise SourceError(f"reading {what} needs another package: pip install {package}") from error


_OPENERS: dict[bytes, Callable[[BinaryIO], Readable]] = {
    GZIP: _gzip,
    ZSTD: _zstd,
    LZ4: _lz4,
    XZ: lambda raw: cast("Readable", _Xz(raw)),
    BZ2: _bz2,
}
_LONGEST_MAGIC = max(map(len, _OPENERS))
