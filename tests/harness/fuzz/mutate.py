"""Apply small damage to bytes, as broken senders, broken disks and attackers do."""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random


def mutated(choose: random.Random, data: bytes, changes: int = 3) -> bytes:
    """Change, insert, repeat, remove or truncate a few bytes."""
    out = bytearray(data)
    for _ in range(choose.randrange(1, changes + 1)):
        if not out:
            return bytes(out)
        at = choose.randrange(len(out))
        end = min(at + choose.choice((1, 2, 4, 16, 200)), len(out))
        match choose.randrange(7):
            case 0:
                out[at] = choose.choice((0, 1, 0x7F, 0x80, 0xFF, choose.randrange(256)))
            case 1:
                out[at:at] = choose.randbytes(end - at)
            case 2:
                out[at:at] = out[at:end]
            case 3:
                del out[at:end]
            case 4:
                del out[at:]
            case 5:
                out[at:end] = bytes(end - at)
            case _:
                out[at] ^= 1 << choose.randrange(8)
    return bytes(out)


_RECORD = re.compile(rb"\x16\x03[\x00-\x04]..[\x01\x02\x0b\x0c\x0e]...", re.DOTALL)


def lying(choose: random.Random, data: bytes) -> bytes:
    """Change lengths in the TLS records and messages of a capture; the packets stay valid."""
    out = bytearray(data)
    places = [found.start() for found in _RECORD.finditer(data)]
    for at in choose.sample(places, min(len(places), choose.randrange(1, 4))):
        field, size = choose.choice(((3, 2), (6, 3), (9, 3), (12, 3)))
        most = (1 << 8 * size) - 1
        old = int.from_bytes(out[at + field : at + field + size], "big")
        new = choose.choice((0, 1, old - 1, old + 1, old // 2, old * 2, most, choose.randrange(most)))
        out[at + field : at + field + size] = (new % (most + 1)).to_bytes(size, "big")
    return bytes(out)


def struck(choose: random.Random, data: bytes, rate: float = 0.002) -> bytes:
    """Change bytes in the packets of a pcap file, but not its structure."""
    out = bytearray(data)
    at = 24
    while at + 16 <= len(data):
        (size,) = struct.unpack_from("<8xI", data, at)
        for place in range(at + 16 + 14, min(at + 16 + size, len(data))):
            if choose.random() < rate:
                out[place] = choose.randrange(256)
        at += 16 + size
    return bytes(out)
