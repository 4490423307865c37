"""Find two oddities of TCP that make tshark lose a connection of which nothing is missing, and mend them.

- Some recorders count the padding of Ethernet as part of the IP packet. The zero bytes after the
  headers of a short packet then look like data, and the real data that follow overlap them.
- A second SYN-ACK has another initial sequence number than the first, as with two servers behind one address.
  tshark numbers the connection by the second, and waits for data that nobody sent.

Both are rare. A capture with them is read once more, mended: the padding is cut off, and each SYN-ACK but the
first is left out (:mod:`certhash.capture.again`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from certhash.capture.first_pass.headers import PADDED, PSH, SYN, TCP, V4
from certhash.capture.first_pass.overlooked import ends
from certhash.capture.first_pass.packets import is_one_of

if TYPE_CHECKING:
    from certhash.capture.first_pass.packets import Bools, Packets, Window
    from certhash.capture.first_pass.pcap import Ints
    from certhash.model import Endpoint

MOST_PADDING = 6
"""Bytes after the smallest headers of IPv4 and TCP."""


class Oddities:
    """The oddities of a capture, window by window.

    Args:
        mend: whether to mend them.
    """

    def __init__(self, *, mend: bool) -> None:
        self.mend = mend
        self.connections: set[frozenset[Endpoint]] = set()
        """The connections with oddities, each identified by its two ends."""
        self.padding: Bools = np.zeros(0, bool)
        """Of each packet of the window, whether its data are padding."""

    def look(self, look: Window, packets: Packets) -> None:
        """Find the padding in the packets of a window, and cut it off if it is to be mended."""
        size = packets.size
        padding = (
            (packets.protocol == TCP)
            & (packets.flags & PSH == 0)
            & (size > 0)
            & (size <= MOST_PADDING)
            & (packets.here == size)
        )
        some = np.flatnonzero(padding)
        if len(some):
            ip, payload = packets.ip[some], packets.payload[some]
            padding[some] = (
                is_one_of(payload + size[some] - ip, PADDED)
                & (look.u8(ip) >> 4 == V4)
                & (look.u64(payload).astype(np.int64) >> (64 - 8 * size[some]) == 0)
            )
        self.padding = padding
        if self.mend:
            size[padding] = 0
            packets.here[padding] = 0

    def overlap(self, look: Window, packets: Packets, at: Ints, direction: Ints) -> None:
        """Record the connections in which data follow padding with the same sequence number.

        Args:
            look: the window.
            packets: its packets.
            at: the packets with data, grouped by direction.
            direction: their directions.
        """
        padding, seq = self.padding[at], packets.seq[at]
        begin = seq + (packets.flags[at] & SYN != 0) & 0xFFFFFFFF
        over = padding[:-1] & ~padding[1:] & (direction[:-1] == direction[1:]) & (begin[:-1] == seq[1:])
        self.record(look, packets, at[1:][over])

    def record(self, look: Window, packets: Packets, at: Ints) -> None:
        """Record the connections of some packets."""
        self.connections |= {frozenset(ends(look.buffer, packets, one)) for one in at.tolist()}
