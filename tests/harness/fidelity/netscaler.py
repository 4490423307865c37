"""Write captures of NetScaler appliances (nstrace), which editcap writes only from others of their kind.

The formats are those that Wireshark reads: pages of 8 KB, with records that do not cross their borders.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_PAGE = 8192
_SECONDS = 1_700_000_000
_LATER = 0x80000000 | 100
"""A hundred microseconds after the packet before."""


def _paged(records: Iterable[bytes]) -> bytes:
    whole, page = b"", b""
    for record in records:
        if len(page) + len(record) > _PAGE:
            whole, page = whole + page.ljust(_PAGE, b"\0"), b""
        page += record
    return whole + page


def version_1(frames: Iterable[bytes]) -> bytes:
    """Return a capture of version 1.0; a record begins with its type and length, two bytes each."""

    def record(kind: int, body: bytes) -> bytes:
        return struct.pack("<HH", kind, 4 + len(body)) + body

    return _paged(
        [
            record(0x0101, b"\1\0\0\0" + b"NetScaler Performance Data".ljust(56, b"\0")),
            record(0x0107, struct.pack("<II", 0, _SECONDS)),
            *(record(0x0310, struct.pack("<II", 1, _LATER) + frame) for frame in frames),
        ]
    )


def version_2(frames: Iterable[bytes]) -> bytes:
    """Return a capture of version 2.0; the length has seven bits, or with the eighth bit eight more."""

    def packet(frame: bytes) -> bytes:
        size = 8 + len(frame)
        return bytes([0xC2, 0x80 | size & 0x7F, size >> 7]) + struct.pack("<BI", 1, _LATER) + frame

    signature = b"\1NetScaler V20 Performance Data\0"
    return _paged(
        [
            bytes([0x01, 2 + len(signature)]) + signature,
            bytes([0x07, 8]) + struct.pack("<HI", 0, _SECONDS),
            *map(packet, frames),
        ]
    )


WRITERS: dict[str, Callable[[Iterable[bytes]], bytes]] = {"nstrace-1": version_1, "nstrace-2": version_2}
