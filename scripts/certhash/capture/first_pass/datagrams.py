"""Find the datagrams that cannot change a verdict: encrypted DTLS and QUIC, and voice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from certhash.capture.first_pass.headers import LISP
from certhash.capture.first_pass.packets import Bools, Window, is_one_of
from certhash.capture.first_pass.streams import APPLICATION_DATA

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from certhash.capture.first_pass.follow import Lanes
    from certhash.capture.first_pass.pcap import Ints

_WORD = 0xFFFFFFFF
_DTLS_HEADER = 13
_DTLS = (0xFEFF, 0xFEFD, 0x0100)
_QUIC = (0x00000001, 0x6B3343CF)
_QUIC_LONG, _QUIC_SMALLEST = 0xC0, 1200
_RTP_VERSION, _RTP_HEADER = 2, 12
_RTP_STEPS = 100
_RTCP = range(64, 96)
"""Payload types that would be RTCP (RFC 5761 4)."""
_FREE_PORTS = 1024


def droppable(lanes: Lanes, known: NDArray[Any], *, keys: bool) -> Ints:
    """Return the packets to drop, and record what the next window must know of their directions.

    Args:
        lanes: the packets over UDP. Datagrams are independent, so each is judged alone.
        known: the state of the directions, as in ``Directions``.
        keys: TLS secrets for decryption are available.
    """
    packets, look, at, direction = lanes.packets, lanes.look, lanes.at, lanes.direction
    seen = known["born"][direction] < lanes.place[at]
    size, payload = packets.size[at], packets.payload[at]
    whole = packets.here[at] >= size
    head = look.u64(payload).astype(np.int64)
    first = head >> 56 & 0xFF
    drop = np.zeros(len(at), bool)
    if not keys:
        tunnel = np.flatnonzero(whole & (first == APPLICATION_DATA) & (size > _DTLS_HEADER))
        drop[tunnel] = _only_dtls_data(look, payload[tunnel], size[tunnel])
        # RFC 9000: both top bits, a version (17.2), large at first (14.1); later the short header (17.3).
        long = (first >= _QUIC_LONG) & is_one_of(head >> 24 & _WORD, _QUIC) & (size >= _QUIC_SMALLEST)
        known["quic"][direction[long]] = True
        known["quic"][direction[long] ^ 1] = True
        drop |= (first >> 6 == 1) & known["quic"][direction]
    # RFC 3550 5.1: version 2, and a number that goes up by one a packet; its ports are not reserved ones.
    spoken = whole & (first >> 6 == _RTP_VERSION) & (size >= _RTP_HEADER)
    spoken &= (head >> 48 & 0x7F) - _RTCP.start & _WORD >= len(_RTCP)
    ports = packets.source_port[at], packets.destination_port[at]
    spoken &= np.minimum(*ports) >= _FREE_PORTS
    # LISP with a nonce that counts up (RFC 9300 5.1), which encapsulates packets, looks the same.
    spoken &= (ports[0] != LISP) & (ports[1] != LISP)
    voice = np.where(spoken, look.u32(payload + 8) | first << 32, 0).astype(np.uint64)
    count = (head >> 32 & 0xFFFF).astype(np.uint16)
    step = (count - lanes.previous(count, known["count"])).astype(np.uint16)
    drop |= spoken & (voice == lanes.previous(voice, known["voice"])) & (step - np.uint16(1) < _RTP_STEPS)
    last = lanes.last()
    known["voice"][direction[last]] = voice[last]
    known["count"][direction[last]] = count[last]
    dropped: Ints = at[drop & seen]
    return dropped


def _only_dtls_data(look: Window, at: Ints, size: Ints) -> Bools:
    """Return which datagrams contain only encrypted application data (RFC 6347 4.1)."""
    end = at + size
    good = np.ones(len(at), bool)
    going = np.arange(len(at))
    while len(going):
        here = at[going]
        version, epoch = look.u16(here + 1), look.u16(here + 3)
        fits = here + _DTLS_HEADER <= end[going]
        fits &= (look.u8(here) == APPLICATION_DATA) & is_one_of(version, _DTLS) & (epoch > 0)
        after = here + _DTLS_HEADER + look.u16(here + 11)
        fits &= after <= end[going]
        good[going[~fits]] = False
        at[going] = after
        going = going[fits & (after < end[going])]
    return good
