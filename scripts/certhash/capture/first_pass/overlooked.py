"""Find traces of certificates (:mod:`certhash.capture.first_pass.traces`) in the windows of a capture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from certhash.capture.first_pass.headers import TCP
from certhash.capture.first_pass.pcap import windows
from certhash.capture.first_pass.traces import CHECKSUM, FEWEST, MOST, Trace, certificates_at, ends_at

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from certhash.capture.first_pass.layout import Readable
    from certhash.capture.first_pass.packets import Bools, Packets
    from certhash.capture.first_pass.pcap import Records
    from certhash.model import Endpoint

_SMALLEST = 100
"""Minimum size in bytes of a record that may contain this much of a certificate."""


class Traces:
    """Searches the windows of a capture for traces."""

    def __init__(self) -> None:
        self._found: dict[tuple[bytes, frozenset[Endpoint]], Trace] = {}

    def all(self) -> tuple[Trace, ...]:
        """Return the first trace of each certificate in each TCP connection, and outside of TCP."""
        return tuple(self._found.values())

    def look(self, records: Records, packets: Packets, keep: Bools, frame: NDArray[np.uint32]) -> None:
        """Search the kept records of a window; `frame` has their numbers."""
        edges = np.flatnonzero(np.diff(keep, prepend=False, append=False))
        begins, ends = records.start[edges[::2]], records.end[edges[1::2] - 1]
        large = ends - begins >= _SMALLEST
        bounds = zip(begins[large].tolist(), ends[large].tolist(), strict=True)
        found = [pair for begin, end in bounds for pair in certificates_at(records.buffer, begin, end)]
        # Nearly all handshakes of a capture come here: one search for all costs less than one for each.
        rows = np.searchsorted(records.start, np.array([at for at, _ in found], np.int64), "right") - 1
        indexes = np.searchsorted(packets.row, rows)
        for (at, message), row, index in zip(found, rows.tolist(), indexes.tolist(), strict=True):
            if records.data[row] and (trace := _trace(records, packets, row, index, at)):
                trace = trace._replace(frame=int(frame[row]), message=message)
                self._found.setdefault((trace.beginning, trace.connection), trace)


def traces_in_bytes(source: Readable) -> tuple[Trace, ...]:
    """Search a file that cannot be split into packets; the traces have frame 0, and no ends."""
    found: dict[bytes, Trace] = {}
    for records in windows(source):
        for at, message in certificates_at(records.buffer, 0, int(records.end[-1])):
            beginning = bytes(records.buffer[at : at + FEWEST])
            found.setdefault(beginning, Trace(0, beginning, None, None, None, message))
    return tuple(found.values())


def _trace(records: Records, packets: Packets, row: int, index: int, at: int) -> Trace | None:
    """Return the trace of a certificate that begins `at` in a record; None if too little is there.

    The packet of the record is at `index`, if it was parsed.
    """
    known = index < len(packets.row) and packets.row[index] == row
    if known:
        end = int(packets.payload[index] + packets.here[index])
    else:
        end = int(records.data[row] + records.captured[row]) - CHECKSUM
    beginning = bytes(records.buffer[at : min(at + MOST, end)])
    if len(beginning) < FEWEST:
        return None
    both = ends(records.buffer, packets, index) if known else (None, None)
    transport = ("tcp" if packets.protocol[index] == TCP else "udp") if known else None
    return Trace(0, beginning, transport, *both)


def ends(buffer: bytearray, packets: Packets, index: int) -> tuple[Endpoint, Endpoint]:
    """Return the source and the destination of a packet."""
    ports = int(packets.source_port[index]), int(packets.destination_port[index])
    return ends_at(buffer, int(packets.ip[index]), *ports)
