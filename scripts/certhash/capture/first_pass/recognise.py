"""Recognise where TLS begins in packets, and datagrams that contain nothing but encrypted DTLS."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from certhash.capture.first_pass.follow import Lanes, are_records
from certhash.capture.first_pass.packets import Bools, Window, is_one_of
from certhash.capture.first_pass.streams import APPLICATION_DATA, HEADER

if TYPE_CHECKING:
    from certhash.capture.first_pass.pcap import Ints

DTLS_HEADER = 13
_DTLS = (0xFEFF, 0xFEFD, 0x0100)
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


def only_dtls_data(look: Window, at: Ints, size: Ints) -> Bools:
    """Return which datagrams contain only encrypted application data (RFC 6347 4.1)."""
    end = at + size
    good = np.ones(len(at), bool)
    going = np.arange(len(at))
    while len(going):
        here = at[going]
        version, epoch = look.u16(here + 1), look.u16(here + 3)
        fits = here + DTLS_HEADER <= end[going]
        fits &= (look.u8(here) == APPLICATION_DATA) & is_one_of(version, _DTLS) & (epoch > 0)
        after = here + DTLS_HEADER + look.u16(here + 11)
        fits &= after <= end[going]
        good[going[~fits]] = False
        at[going] = after
        going = going[fits & (after < end[going])]
    return good
