"""What networks and recorders do to the packets of a connection.

Each disturbance is a function from a source of random numbers, the segments of a connection, and a rate.
"""

from __future__ import annotations

import struct
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from tests.harness.benchmarks.captures import Segment

_Segments = list["Segment"]


def _repeat(choose: random.Random, segments: _Segments, rate: float) -> _Segments:
    return [copy for segment in segments for copy in [segment] * (1 + (choose.random() < rate))]


def _reorder(choose: random.Random, segments: _Segments, rate: float) -> _Segments:
    out = list(segments)
    for index in range(3, len(out) - 3):
        other = index + choose.randrange(1, 4)
        # Only within a direction: an answer never precedes its request.
        if out[index].from_client == out[other].from_client and choose.random() < rate:
            out[index], out[other] = out[other], out[index]
    return out


def _overlap(choose: random.Random, segments: _Segments, _rate: float) -> _Segments:
    out = list(segments)
    for index, now in enumerate(segments):
        before = next((s for s in reversed(out[:index]) if s.payload), None)
        if not (now.payload and before and before.from_client == now.from_client):
            continue
        if before.seq + len(before.payload) == now.seq:
            back = choose.randrange(1, len(before.payload) + 1)
            out[index] = now._replace(seq=now.seq - back, payload=before.payload[-back:] + now.payload)
    return out


def _join(choose: random.Random, segments: _Segments, rate: float) -> _Segments:
    """Retransmit the data of a segment together with the following data."""
    out = list(segments)
    for index, (first, second) in enumerate(pairwise(segments)):
        same = first.from_client == second.from_client and first.payload and second.payload
        if same and choose.random() < rate:
            out[index + 1] = second._replace(seq=first.seq, payload=first.payload + second.payload)
    return out


def _other_data(choose: random.Random, segments: _Segments, rate: float) -> _Segments:
    """Retransmit segments with other bytes."""
    out: _Segments = []
    for segment in segments:
        out.append(segment)
        if segment.payload and choose.random() < rate:
            out.append(segment._replace(payload=choose.randbytes(len(segment.payload))))
    return out


def _lose(choose: random.Random, segments: _Segments, rate: float) -> _Segments:
    return [segment for segment in segments if choose.random() > rate]


def _late_start(choose: random.Random, segments: _Segments, _rate: float) -> _Segments:
    return segments[choose.randrange(1, len(segments)) :]


def _answer_twice(choose: random.Random, segments: _Segments, _rate: float) -> _Segments:
    return answered_twice(choose.choice((-5000, 5000)))(segments)


def _lose_of_client(choose: random.Random, segments: _Segments, rate: float) -> _Segments:
    return [segment for segment in segments if not segment.from_client or choose.random() > rate]


def _lose_the_first_of_client(choose: random.Random, segments: _Segments, _rate: float) -> _Segments:
    """Lose some of the packets of the ClientHello."""
    data = [place for place, segment in enumerate(segments) if segment.from_client and segment.payload]
    lost = data[: choose.choice((1, 1, 2))]
    return [segment for place, segment in enumerate(segments) if place not in lost]


def _only_server(_choose: random.Random, segments: _Segments, _rate: float) -> _Segments:
    return [segment for segment in segments if not segment.from_client]


def _only_client(_choose: random.Random, segments: _Segments, _rate: float) -> _Segments:
    return [segment for segment in segments if segment.from_client]


_HARMLESS = (_repeat, _reorder, _overlap, _join, _answer_twice)
"""Disturbances after which all sent data can still be reconstructed,"""
_OF_CLIENT = (_lose_of_client, _lose_the_first_of_client, _only_server)
"""or at least those of the server,"""
_HARMFUL = (_other_data, _lose, _late_start, _only_client)
"""or not even those."""


class Disturbed(NamedTuple):
    """The captured segments of a connection."""

    segments: _Segments
    is_whole: bool
    """They contain all of its data,"""
    is_servers_whole: bool
    """or at least all of the server's."""
    needs_mending: bool
    """tshark loses the connection unless the first pass can read its packets, and repairs them."""


def disturbed(choose: random.Random, segments: _Segments) -> Disturbed:
    """Return what is captured of a connection."""
    trouble = choose.choice((None, None, *_HARMLESS, *_OF_CLIENT, *_HARMFUL))
    rate = choose.choice((0.05, 0.3))
    left = trouble(choose, segments, rate) if trouble else segments
    whole, servers_whole = trouble not in {*_HARMFUL, *_OF_CLIENT}, trouble not in _HARMFUL
    return Disturbed(left, whole, servers_whole, needs_mending=trouble is _answer_twice)


def answered_twice(difference: int) -> Callable[[list[Segment]], list[Segment]]:
    """Add a second SYN-ACK with another number, as from two servers behind one address."""
    return lambda segments: [
        *segments[:2],
        segments[1]._replace(seq=segments[1].seq + difference),
        *segments[2:],
    ]


def counting_padding(frame: bytes, size: int) -> bytes:
    """Remove options of TCP, and count Ethernet's padding as part of IP packets of at least `size` bytes."""
    packet = frame[14:46] + b"\x50" + frame[47:54] + frame[66:]
    packet = packet.ljust(size, b"\0")
    return frame[:14] + packet[:2] + struct.pack(">H", len(packet)) + packet[4:]
