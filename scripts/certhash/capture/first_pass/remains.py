"""Write what remains of a window of a capture, and number its packets as in the capture."""

from __future__ import annotations

import struct
from bisect import bisect_left
from typing import TYPE_CHECKING

import numpy as np

from certhash.capture.first_pass.headers import V4

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from certhash.capture.first_pass.packets import Bools, Packets
    from certhash.capture.first_pass.pcap import Ints, Records
    from certhash.capture.first_pass.streams import Moved

_SIMPLE_HEADER = 12
"""Bytes before the data of a pcapng Simple Packet Block."""


class Numbers:
    """The capture's numbers of the packets that one sink got; grows during the pass."""

    def __init__(self) -> None:
        self.packets = 0
        """Number of packets of the capture that have been examined."""
        self._windows: list[NDArray[np.uint32]] = []
        self._ends: list[int] = []

    def add(self, numbers: NDArray[np.uint32], packets: int) -> None:
        """Add those of the next window, and the number of packets up to its end."""
        self._windows.append(numbers)
        self.packets = packets
        self._ends.append(len(self) + len(numbers))  # last, because another thread reads it meanwhile

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def frame(self, passed: int) -> int:
        """Return the number in the capture of the n-th packet (1, 2...), or 0 if it belongs to another sink.

        Packets that tshark finds in the bytes after damage come after all counted ones.
        """
        window = bisect_left(self._ends, passed)
        if window == len(self._ends):
            return self.packets + passed - len(self)
        before = self._ends[window - 1] if window else 0
        return int(self._windows[window][passed - before - 1])


def joined(records: Records, keep: Bools, made: dict[int, list[bytes]]) -> tuple[Ints, bytes | memoryview]:
    """Return the rows of the kept records, in order, and their bytes; ``made`` has replacements."""
    view = memoryview(records.buffer)
    if keep.all() and not made:
        return np.arange(len(keep)), view[int(records.start[0]) : int(records.end[-1])]
    plain = keep.copy()
    plain[list(made)] = False
    edges = np.flatnonzero(np.diff(plain, prepend=False, append=False))
    begin, end = edges[::2], edges[1::2] - 1
    bounds = zip(records.start[begin].tolist(), records.end[end].tolist(), strict=True)
    pieces: list[bytes | memoryview] = [view[a:b] for a, b in bounds]
    passed = np.flatnonzero(plain)
    if made:
        numbered = list(zip(begin.tolist(), pieces, strict=True))
        numbered += [(row, piece) for row, several in made.items() for piece in several]
        numbered.sort(key=lambda item: item[0])
        pieces = [piece for _, piece in numbered]
        counts = [len(several) for several in made.values()]
        passed = np.sort(np.concatenate((passed, np.repeat(np.array(list(made), np.int64), counts))))
    return passed, b"".join(pieces)


def remade(records: Records, packets: Packets, at: int, moved: Moved) -> bytes:
    """Return the record of a packet with another payload and sequence number."""
    row = int(packets.row[at])
    start, end, data = int(records.start[row]), int(records.end[row]), int(records.data[row])
    captured = int(records.captured[row])
    ip, transport, payload = int(packets.ip[at]), int(packets.transport[at]), int(packets.payload[at])
    buffer = records.buffer
    headers = buffer[data:payload]
    if buffer[ip] >> 4 == V4:
        struct.pack_into(">H", headers, ip - data + 2, payload - ip + len(moved.payload))
    else:
        struct.pack_into(">H", headers, ip - data + 4, payload - transport + len(moved.payload))
    struct.pack_into(">I", headers, transport - data + 4, moved.seq)
    trailer = buffer[payload + int(packets.size[at]) : data + captured]
    packet = b"".join((headers, moved.payload, trailer))
    head = buffer[start:data]
    if records.layout == "pcap":
        struct.pack_into(records.order + "II", head, 8, len(packet), len(packet))
        return bytes(head + packet)
    options = buffer[data + (captured + 3 & ~3) : end - 4]
    block = len(head) + (len(packet) + 3 & ~3) + len(options) + 4
    struct.pack_into(records.order + "I", head, 4, block)
    if data - start == _SIMPLE_HEADER:
        struct.pack_into(records.order + "I", head, 8, len(packet))
    else:
        struct.pack_into(records.order + "II", head, 20, len(packet), len(packet))
    return b"".join((head, packet, bytes(-len(packet) % 4), options, struct.pack(records.order + "I", block)))
