"""Store the state of each direction of each connection while a capture is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from certhash.capture.first_pass.streams import LOST, PLAIN, SKIP, Stream

if TYPE_CHECKING:
    from certhash.capture.first_pass.pcap import Ints

DIRECTION = np.dtype(
    [
        ("state", "u1"),  # of its Stream, like the next six
        ("top", "u4"),
        ("begun", "u4"),
        ("reached", "u4"),
        ("boundary", "u4"),
        ("shift", "u4"),
        ("stand", "u4"),
        ("more", "?"),  # its Stream is stored as an object, since it has more state
        ("born", "u8"),  # the place among all records of its first packet, from 1 on
        ("owner", "u1"),  # its sink
        ("heard", "?"),  # it has carried data,
        ("paid", "?"),  # even before the current window
        ("synced", "?"),  # TLS has been recognised in it
        ("mixed", "?"),  # something else came before TLS
        ("gappy", "?"),  # its packets were not contiguous
        ("never", "?"),  # nothing of it may be dropped
        ("since", "u8"),  # the place among all records of the first packet whose data were dropped
        ("quic", "?"),  # it has carried a QUIC packet with a long header
        ("opened", "?"),  # it has carried a SYN
        ("ended", "u8"),  # the place among all records of its first FIN or RST
        ("closed", "?"),  # its FIN was dropped
        ("based", "?"),  # base is known
        ("base", "u4"),  # the sequence number before its first byte of data
        ("end", "u4"),  # the sequence number after its last packet
        ("voice", "u8"),  # the constant part of the RTP headers of a call, from its last packet (0: no RTP)
        ("count", "u2"),  # the sequence number of that packet
    ]
)
_STREAM = ("state", "top", "begun", "reached", "boundary", "shift", "stand")


class Directions:
    """One row of ``known`` for each direction of each flow, and the additional state of some streams.

    ``doubtful`` counts directions of which a dropped packet may have been relevant, ``lost`` those with a gap
    that was given up.
    """

    def __init__(self) -> None:
        self.known = np.zeros(1 << 12, DIRECTION)
        self.doubtful = 0
        self.lost = 0
        self._streams: dict[int, Stream] = {}

    def reach(self, flows: int) -> None:
        """Allocate rows for this many flows."""
        if 2 * flows > len(self.known):
            larger = np.zeros(4 * flows, DIRECTION)
            larger[: len(self.known)] = self.known
            self.known = larger

    def stream(self, one: int) -> Stream:
        """Return the state of a direction as a stream; store it again after changes."""
        if self.known["more"][one]:
            return self._streams.pop(one)
        known = self.known[one]
        return Stream([int(known[name]) for name in _STREAM])

    def store(self, one: int, stream: Stream) -> None:
        """Store the state of a stream."""
        known = self.known[one]
        self.lost += stream.state == LOST and known["state"] != LOST
        for name, number in zip(_STREAM, stream.numbers(), strict=True):
            known[name] = number
        known["more"] = stream.has_more
        known["gappy"] = stream.gappy
        known["synced"] = stream.state != PLAIN or stream.shift
        self.doubtful += stream.doubtful
        if stream.has_more:
            self._streams[one] = stream

    def gaps(self) -> int:
        """Return the number of directions with permanently missing bytes."""
        return self.lost + sum(bool(stream.waiting) for stream in self._streams.values())

    def leave_alone(self, one: int) -> None:
        """Drop no more of a direction; if something was dropped, it counts as doubtful."""
        known = self.known[one]
        self.doubtful += bool(known["state"] in (SKIP, LOST) or known["shift"])
        known["never"] = True
        known["state"] = PLAIN
        known["more"] = False
        self._streams.pop(one, None)

    def may_skip(self, lanes: Ints) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Return of which directions application data may be dropped.

        They have TLS in both directions, or TLS from the start in one and nothing in the other.  A start that
        was not captured counts as TLS.
        """
        known, other = self.known, lanes ^ 1
        upgraded = known["mixed"][lanes] & (known["opened"][lanes] | known["opened"][other])
        may: np.ndarray[tuple[int], np.dtype[np.bool_]] = ~known["never"][lanes] & (
            known["synced"][other] | ~upgraded & ~known["heard"][other]
        )
        return may
