"""Opening a capture: what counts as one, and the bytes behind a compression."""

from __future__ import annotations

import os
import stat
import zlib
from typing import BinaryIO, cast

from certhash.capture.first_pass.decompress import Source, SourceError
from certhash.capture.first_pass.pcap import recognise

_PEEK = 64
"""Bytes that tell a file's format."""

_MAGICS = (
    b"\xd4\xc3\xb2\xa1",  # pcap, and its byte orders, resolutions and dialects
    b"\xa1\xb2\xc3\xd4",
    b"\x4d\x3c\xb2\xa1",
    b"\xa1\xb2\x3c\x4d",
    b"\x34\xcd\xb2\xa1",
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
_GZIP = b"\x1f\x8b"
_OTHER_COMPRESSION = (
    b"\x28\xb5\x2f\xfd",
    b"\x04\x22\x4d\x18",
)  # zstd, lz4: tshark reads them, if it was built so

NOT_A_CAPTURE = "not a capture file (pcap, pcapng, snoop, Network Monitor...); convert it with editcap"


def looks_like_capture(start: bytes) -> bool:
    """Tell by its first bytes whether a file is a capture, compressed or not."""
    if start.startswith(_GZIP):
        try:
            start = zlib.decompressobj(wbits=31).decompress(start, _PEEK)
        except zlib.error:
            return False
    return start.startswith(_MAGICS) or start[:4] in _OTHER_COMPRESSION


def open_capture(path: str) -> BinaryIO:
    """Open a capture file, as it lies on the disk.

    Raises:
        OSError: it cannot be read.
        ValueError: it is none; one line, that says what it is.
    """
    # A FIFO would block the open, and a device could be anything.
    if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116 - a path, as it was given
        raise ValueError("not a regular file; give a capture file, or a folder of them")
    source = open(path, "rb", buffering=0)  # noqa: SIM115, PTH123 - the caller closes it
    start = source.read(_PEEK * 64)
    source.seek(0)
    if start and looks_like_capture(start):
        return cast("BinaryIO", source)
    source.close()
    raise ValueError(NOT_A_CAPTURE if start else "the file is empty; record the capture again")


def is_carvable(source: BinaryIO) -> bool:
    """Return whether this module can split the capture into packets; only tshark reads other formats."""
    source.seek(0)
    start = bytearray(_PEEK)
    count = 0
    try:
        reader = Source(source)
        while more := reader.readinto(memoryview(start)[count:]):  # the first read may be a short one
            count += more
    except SourceError:
        return False  # tshark may know the compression for which a package is missing
    finally:
        source.seek(0)
    return recognise(bytes(start[:count])) != "other"
