"""Recognise where TLS begins in packets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from certhash.capture.first_pass.follow import Lanes, are_records
from certhash.capture.first_pass.packets import Bools, is_one_of
from certhash.capture.first_pass.streams import APPLICATION_DATA, HEADER

if TYPE_CHECKING:
    from certhash.capture.first_pass.pcap import Ints

_HANDSHAKE = 22
_HELLOS = (1, 2)


def beginnings(lanes: Lanes, paying: Ints) -> tuple[Ints, Bools]:
    """Return where TLS begins.

    Return where the first TLS record that may be dropped starts, counted from the first byte of data of each
    packet (-1 where TLS does not begin), and whether the packet is exactly one record of application data.
    """
    at = lanes.at[paying]
    here, size = lanes.packets.here[at], lanes.packets.size[at]
    head = lanes.look.u64(lanes.packets.payload[at]).astype(np.int64)
    kind, version, length, message = (
        head >> 56 & 0xFF,
        head >> 40 & 0xFFFF,
        head >> 24 & 0xFFFF,
        head >> 16 & 0xFF,
    )
    record = are_records(kind, version, length)
    hello = (kind == _HANDSHAKE) & record & is_one_of(message, _HELLOS) & (here > HEADER)
    closed = (kind == APPLICATION_DATA) & record & (length + HEADER == size) & (here == size)
    # A ClientHello of SSL 2.0 form, which older clients send: length with the top bit set, type 1, version
    # 3.x.
    old = (
        (head < 0)
        & (head >> 40 & 0xFF == 1)
        & are_records(kind * 0 + _HANDSHAKE, head >> 24 & 0xFFFF, kind * 0)
    )
    old &= here > HEADER
    # Application data that are the first to be seen are kept: by them tshark recognises TLS.
    begins = np.where(closed, size, np.where(old, (head >> 48 & 0x7FFF) + 2, -1))
    return np.where(hello, 0, begins), closed
