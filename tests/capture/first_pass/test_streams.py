"""Test that carving removes only application data from one direction of TLS, under any network conditions."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certhash.capture.first_pass.streams import PLAIN, WALK, Stream

if TYPE_CHECKING:
    import random

WORD = 0xFFFFFFFF


class Receiver:
    """Reassembles segments as a TCP receiver does."""

    def __init__(self, start: int) -> None:
        self.data = bytearray()
        self.start = start
        self.waiting: list[tuple[int, bytes]] = []

    def take(self, seq: int, payload: bytes) -> None:
        """Process a segment."""
        self.waiting.append(((seq - self.start) & WORD, payload))
        went_on = True
        while went_on:
            went_on = False
            for item in list(self.waiting):
                offset, piece = item
                if offset <= len(self.data):
                    self.waiting.remove(item)
                    self.data += piece[len(self.data) - offset :]
                    went_on = True


def records_of(data: bytes) -> list[tuple[int, bytes]]:
    """Split a stream into TLS records; a remainder that is not a record comes last, as type -1."""
    found = []
    at = 0
    while at + 5 <= len(data) and 20 <= data[at] <= 24 and data[at + 1] == 3:
        (length,) = struct.unpack_from(">H", data, at + 3)
        if at + 5 + length > len(data):
            break
        found.append((data[at], data[at + 5 : at + 5 + length]))
        at += 5 + length
    return [*found, (-1, data[at:])] if at < len(data) else found


def telling(records: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    """Remove irrelevant records: application data, and encrypted alerts after it."""
    kept = []
    data_seen = False
    for kind, body in records:
        data_seen |= kind == 23
        if kind != 23 and not (data_seen and kind == 21 and len(body) != 2):
            kept.append((kind, body))
    return kept


def sent(stream: Stream, segments: list[tuple[int, bytes]], may_skip: bool = True) -> list[tuple[int, bytes]]:
    """Return the bytes of some segments that the receiver gets."""
    out = []
    for seq, payload in segments:
        fate = stream.take(seq, memoryview(bytearray(payload)), may_skip)
        if fate == "keep":
            out.append((seq, payload))
        elif fate != "drop":
            out += [(moved.seq, bytes(moved.payload)) for moved in fate]
    return out


kinds = st.sampled_from((20, 21, 22, 22, 23, 23, 23, 24))
record = st.tuples(kinds, st.sampled_from((0, 1, 2, 3, 40, 700, 4000, 16384)))
script = st.lists(record, min_size=1, max_size=25)


def received(start: int, segments: list[tuple[int, bytes]]) -> tuple[Stream, Receiver]:
    """Follow a connection that begins with `start`; also return the receiver of the kept segments."""
    stream = Stream()
    stream.start(start, start)
    receiver = Receiver(start)
    for seq, payload in sent(stream, segments):
        receiver.take(seq, payload)
    return stream, receiver


def wire(choose: random.Random, parts: list[tuple[int, int]]) -> bytes:
    return b"".join(struct.pack(">BHH", kind, 0x303, size) + choose.randbytes(size) for kind, size in parts)


@given(
    script,
    st.integers(0, 2**32 - 1),
    st.sampled_from((1, 3, 97, 1448, 9000)),
    st.randoms(use_true_random=False),
)
def test_in_order_nothing_but_application_data_is_missing(
    parts: list[tuple[int, int]], start: int, mss: int, choose: random.Random
) -> None:
    data = wire(choose, [(kind, min(size, 40 * mss)) for kind, size in parts])
    segments = [((start + at) & WORD, data[at : at + mss]) for at in range(0, len(data), mss)]
    _, receiver = received(start, segments)
    assert telling(records_of(bytes(receiver.data))) == telling(records_of(data))
    assert not receiver.waiting


@given(script, st.integers(0, 2**32 - 1), st.sampled_from((97, 1448)), st.randoms(use_true_random=False))
def test_out_of_order_nothing_but_application_data_is_missing(
    parts: list[tuple[int, int]], start: int, mss: int, choose: random.Random
) -> None:
    data = wire(choose, parts)
    segments = [((start + at) & WORD, data[at : at + mss]) for at in range(0, len(data), mss)]
    segments += choose.choices(segments, k=len(segments) // 5)
    for _ in range(len(segments) // 4):
        first = choose.randrange(len(segments))
        second = min(first + choose.randrange(1, 6), len(segments) - 1)
        segments[first], segments[second] = segments[second], segments[first]
    stream, receiver = received(start, segments)
    assert telling(records_of(bytes(receiver.data))) == telling(records_of(data))
    assert not stream.doubtful


@given(script, st.randoms(use_true_random=False))
def test_without_leave_everything_passes(parts: list[tuple[int, int]], choose: random.Random) -> None:
    data = wire(choose, parts)
    segments = [(at, data[at : at + 500]) for at in range(0, len(data), 500)]
    stream = Stream()
    stream.start(0, 0)
    assert sent(stream, segments, may_skip=False) == segments


def test_a_long_transfer_takes_no_packets() -> None:
    data = (
        struct.pack(">BHH", 22, 0x303, 100)
        + bytes(100)
        + 50 * (struct.pack(">BHH", 23, 0x303, 16384) + bytes(16384))
    )
    segments = [(at, data[at : at + 1448]) for at in range(0, len(data), 1448)]
    stream = Stream()
    stream.start(0, 0)
    assert sent(stream, segments) == [(0, data[:105])]


def test_data_after_tls_passes_and_moves_up() -> None:
    data = struct.pack(">BHH", 23, 0x303, 1000) + bytes(1000)
    stream = Stream()
    stream.start(0, 0)
    assert sent(stream, [(0, data[:600]), (600, data[600:]), (1005, b"QUIT\r\n"), (1011, b"bye")]) == [
        (0, b"QUIT\r\n"),
        (6, b"bye"),
    ]
    assert stream.state == PLAIN


def test_a_gap_that_is_never_filled_is_waited_for_within_bounds() -> None:
    stream = Stream()
    stream.start(0, 0)
    packet = struct.pack(">BHH", 23, 0x303, 1443) + bytes(1443)
    assert sent(stream, [(0, packet)]) == []
    for number in range(2, 3000):
        assert sent(stream, [(number * 1448, packet)]) == []
    assert not stream.waiting
    # The gap was filled late: the data after it was dropped, which is reported.
    assert sent(stream, [(1448, packet)]) == []
    assert stream.doubtful


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_a_header_cut_in_two_is_put_together(size: int) -> None:
    alert = b"\x15\x03\x03\x00\x02\x02\x2a"
    data = struct.pack(">BHH", 23, 0x303, 100) + bytes(100)
    stream = Stream()
    stream.start(0, 0)
    assert sent(stream, [(0, data + alert[:size])]) == []
    ((seq, payload),) = sent(stream, [(105 + size, alert[size:])])
    assert seq == 0
    assert payload.endswith(alert)
    assert stream.state == WALK
