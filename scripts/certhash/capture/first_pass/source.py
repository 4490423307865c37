"""Recognise and open captures, and decompress them if tshark cannot."""

from __future__ import annotations

import io
import lzma
import os
import re
import stat
import struct
import tempfile
import zipfile
import zlib
from typing import BinaryIO, cast

from certhash.capture.first_pass.decompress import (
    BZ2,
    FREE_BYTES,
    GZIP,
    LZ4,
    MOST_TIMES,
    XZ,
    XZ_MEMORY,
    ZSTD,
    Source,
    SourceError,
)
from certhash.capture.first_pass.layout import PCAP_MAGIC, PEEK, may_be_variant, recognise

_PEEK = 64
"""Number of bytes needed to recognise a file's format."""

_MAGICS = (
    *PCAP_MAGIC,
    b"\x34\xcd\xb2\xa1",  # a dialect of pcap
    b"\xa1\xb2\xcd\x34",
    b"\x0a\x0d\x0d\x0a",  # pcapng
    b"snoop\0\0\0",
    b"RTSS",  # Network Monitor 1
    b"GMBU",  # Network Monitor 2
    b"btsnoop\0",
    b"TRSNIFF data    \x1a",
    b"XCP\0",  # NetXRay, Sniffer for Windows
    b"iptrace ",
    b"\x05\xaaSNIFF",
    b"LOGG",  # Vector BLF
    b"\xaa\xaa\xaa\xaa",  # InfoVista 5View
    b"\x05VNF",  # Visual Networks
    b"ObserverPktBuffer",  # Viavi Observer
    b"TR\0d\0",  # HP-UX nettl
    b"\x01\x10\x4c\0\x01\x05",  # Novell LANalyzer
    b"+---------+---------------+----------+",  # K12 text
)
_NETSCALER = re.compile(rb"(?i:NetScaler) (?:V\d\d )?Performance Data\0")
"""Follows a header of some bytes."""
NAMES = re.compile(
    r"\.(?:pcap|pcapng|ntar|cap|dmp|snoop|trc|trace\d*|erf|ncfx?|enc|syc|5vw|rf5|vwr)\d*(?:\.(?:gz|zst|lz4|xz|bz2|zip|7z|rar|tar|lz|lzma|z))?$",
    re.IGNORECASE,
)
"""File names of captures."""
_OTHER_ARCHIVE = re.compile(r"\.(?:7z|rar|tar|lz|lzma|z)$", re.IGNORECASE)
_COMMVIEW = struct.Struct("<HHBHBBBBBI")
_ZIP = b"PK\x03\x04"
_PIECE = 1 << 20

NOT_A_CAPTURE = "not a capture file (pcap, pcapng, snoop, Network Monitor...); convert it with editcap"


def looks_like_capture(start: bytes) -> bool:
    """Return whether a file is a capture, compressed or not, by its first bytes.

    They do not suffice for bzip2, whose blocks are large: there the name decides.
    """
    if start.startswith(GZIP):
        try:
            start = zlib.decompressobj(wbits=31).decompress(start, _PEEK)
        except zlib.error:
            return False
    if start.startswith(_ZIP):
        # The name of its first file follows 30 bytes (APPNOTE.TXT, section 4.3.7).
        size = int.from_bytes(start[26:28], "little")
        return NAMES.search(start[30 : 30 + size].decode("utf-8", "replace")) is not None
    try:
        if start.startswith(XZ):
            start = lzma.LZMADecompressor(lzma.FORMAT_XZ, XZ_MEMORY).decompress(start, _PEEK)
    except lzma.LZMAError:
        return False
    return (
        start.startswith((*_MAGICS, ZSTD, LZ4))  # tshark reads zstd and lz4 if it was built with support
        or _is_commview(start)
        or _NETSCALER.search(start) is not None
    )


def _is_commview(start: bytes) -> bool:
    """Return whether a file is from CommView (NCF), by its first record: sizes, version 0, a date."""
    if len(start) < _COMMVIEW.size:
        return False
    size, whole, version, year, month, day, hour, minute, second, micro = _COMMVIEW.unpack_from(start)
    return (
        0 < size <= whole
        and version == 0
        and (year, month, day) >= (1990, 1, 1)
        and (year, month, day, hour, minute, second, micro) <= (2200, 12, 31, 23, 59, 60, 999_999)
        and month <= 12  # noqa: PLR2004
        and day <= 31  # noqa: PLR2004
    )


def open_capture(path: str) -> BinaryIO:
    """Open a capture file; unpack it if it is in an archive that tshark does not open.

    Formats without a signature (ERF, CommView) are accepted: tshark decides whether they are captures.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not a capture; the message is one line that says what it is.
    """
    # A FIFO would block the open, and a device could be anything.
    if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116 - a path, as it was given
        raise ValueError("not a regular file; give a capture file, or a folder of them")
    source = open(path, "rb", buffering=0)  # noqa: SIM115, PTH123 - the caller closes it
    start = source.read(_PEEK * 64)
    source.seek(0)
    if start.startswith((_ZIP, XZ, BZ2)):
        with source:
            return cast("BinaryIO", _unpacked(source, start))
    if start and not (_OTHER_ARCHIVE.search(path) and NAMES.search(path) and not looks_like_capture(start)):
        return cast("BinaryIO", source)
    source.close()
    if start:
        raise ValueError("an archive that certhash does not unpack; unpack it, and give the capture in it")
    raise ValueError("the file is empty; record the capture again")


class Unpacked(io.FileIO):
    """A capture from an archive that tshark does not open, in a temporary file without a name."""

    damage = ""
    """The damage of the archive, in one line; then the file contains the data before the damage."""


def _unpacked(source: BinaryIO, start: bytes) -> Unpacked:
    """Return the capture in an xz or bzip2 file, or in a zip file with one capture.

    Raises:
        OSError: there is no space for it.
        ValueError: it contains no capture, or several; the message is one line that says what to do.
    """
    with tempfile.TemporaryFile(buffering=0) as temporary:
        whole = Unpacked(os.dup(temporary.fileno()), "r+b")
    try:
        whole.damage = _unzip(source, whole) if start.startswith(_ZIP) else _decompress(source, whole)
    except BaseException:
        whole.close()
        raise
    whole.seek(0)
    return whole


def _decompress(source: BinaryIO, whole: Unpacked) -> str:
    inner = Source(source)
    piece = memoryview(bytearray(_PIECE))
    while count := inner.readinto(piece):
        whole.write(piece[:count])
    return inner.error


def _unzip(source: BinaryIO, whole: Unpacked) -> str:
    try:
        with zipfile.ZipFile(source) as archive:
            captures = [member for member in archive.infolist() if NAMES.search(member.filename)]
            if len(captures) != 1:
                raise ValueError(
                    f"a zip file with {len(captures)} captures, not with one; unpack it, and give its folder"
                )
            limit = FREE_BYTES + MOST_TIMES * captures[0].compress_size
            with archive.open(captures[0]) as member:
                while piece := member.read(_PIECE):
                    whole.write(piece)
                    if whole.tell() > limit:
                        return f"the data grow more than {MOST_TIMES} times, so the rest is not read"
    except (RuntimeError, NotImplementedError) as error:
        raise ValueError(f"a zip file that cannot be unpacked here ({error}); unpack it first") from None
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        if not whole.tell():
            raise ValueError(f"a damaged zip file ({error}); copy it again") from None
        return f"the zip file is damaged ({error})"
    return ""


def is_carvable(source: BinaryIO) -> bool:
    """Return whether this module can split the capture into packets; only tshark reads other formats."""
    source.seek(0)
    start = bytearray(PEEK)
    count = 0
    try:
        reader = Source(source)
        while more := reader.readinto(memoryview(start)[count:]):  # the first read may be a short one
            count += more
    except SourceError:
        return False  # a package for the compression is missing, but tshark may support it
    finally:
        source.seek(0)
    layout = recognise(start[:count])
    return layout == "pcapng" or (layout == "pcap" and not may_be_variant(start[:count], whole=count < PEEK))
