"""Read a small capture with the warm engine."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, BinaryIO

from certhash.capture import records
from certhash.capture.first_pass.decompress import Source
from certhash.capture.first_pass.small import look
from certhash.capture.first_pass.traces import not_shown
from certhash.capture.reading import Reading, connections
from certhash.capture.tshark import CUT_SHORT, Outcome

if TYPE_CHECKING:
    from certhash.capture.engine import Engine
    from certhash.model import Observation

SMALL = 4 << 20
"""Maximum size in bytes of a capture for the engine; the number of packets has a limit, too (``small``)."""


def is_small(path: str) -> bool:
    """Return whether the size of a file permits that the engine reads it."""
    try:
        return os.stat(path).st_size <= SMALL  # noqa: PTH116 - a path may be bytes that are no UTF-8
    except OSError:
        return False


def observe_warm(path: str, source: BinaryIO, engine: Engine, seconds: float) -> Observation | None:
    """Return the observation of a small capture, or None if tshark must read it.

    A file that ends in the middle of a packet is read up to there, as tshark reads it. tshark must read what
    is large, unusual or damaged in another way, and whatever the engine has any trouble with.
    """
    if engine.trouble is not None or os.fstat(source.fileno()).st_size > SMALL:
        return None
    try:
        return _observe(path, source, engine, seconds)
    except Exception:  # noqa: BLE001 - whatever it was, tshark reads the capture, and nothing is missed
        return None


def _observe(path: str, source: BinaryIO, engine: Engine, seconds: float) -> Observation | None:
    capture = _content(source)
    if capture is None:
        return None
    seen = look(capture)
    ended = Outcome("complete", seen.packets, None, ())
    if seen.whole < len(capture):
        ended = Outcome("truncated", seen.packets, CUT_SHORT, ())
        del capture[seen.whole :]
    dissected = engine.dissect(capture, seconds)
    lines = records.Lines(lambda number: number)
    reading = Reading(path, plugin=True)
    for line in dissected.lines:
        row = lines.parse(line)
        if row is not None:
            reading.take(row)
    observation = reading.observation(ended)
    as_it_should = (
        dissected.packets == seen.packets
        and not lines.failures
        and not not_shown(seen.traces, observation.certificates.values(), connections(observation))
        and not any(each.hidden == "packets-missing" for each in observation.handshakes)
    )
    return observation if as_it_should else None


def _content(source: BinaryIO) -> bytearray | None:
    """Return the content of a file, decompressed; None if it is large or damaged."""
    source.seek(0)
    inner = Source(source)
    limit = SMALL if inner.compressed else os.fstat(source.fileno()).st_size
    content = bytearray(limit + 1)
    held = 0
    with memoryview(content) as view:
        while held <= limit and (count := inner.readinto(view[held:])):
            held += count
    if held > limit or inner.error:
        return None
    del content[held:]
    return content
