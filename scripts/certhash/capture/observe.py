"""Read one capture into one observation, with the files and processes that this needs."""

from __future__ import annotations

import contextlib
import io
import os
from time import monotonic
from typing import TYPE_CHECKING, BinaryIO

from msgspec import Struct
from msgspec.structs import replace

from certhash.capture import tshark
from certhash.capture.engine import Engine, is_usable
from certhash.capture.first_pass.source import Unpacked, is_carvable, open_capture
from certhash.capture.reading import unreadable
from certhash.capture.warm import is_small, observe_warm
from certhash.capture.workplace import Workplace, workplace
from certhash.model import Observation, Problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from certhash.model import CaptureStatus

_LARGE = 64 << 20
"""Minimum size in bytes of a capture that several tsharks may share."""
_MANY = 40_000
"""Packets that take tshark twice as long as its start."""

TIMEOUT = 3600.0
"""Seconds: a hundred times as long as the largest captures in use take."""


class Settings(Struct, frozen=True):
    """Settings for the reading of captures; the same for a whole audit."""

    tshark: tshark.Tshark
    keylog: str | None = None
    decode_as: tuple[str, ...] = ()
    carve: bool = True
    """Drop packets that cannot change a verdict before tshark reads the capture."""
    timeout: float = TIMEOUT
    """Seconds allowed for reading one capture."""
    warm: bool = True
    """An engine that stays running may dissect small captures, if one is available."""


def observe(
    path: str,
    settings: Settings,
    place: Workplace | None = None,
    opened: Callable[[BinaryIO], None] | None = None,
    tsharks: int = 1,
) -> Observation:
    """Read one capture; the observation reports all errors of the file, and none is raised.

    Args:
        path: the path of the capture.
        settings: how to read it.
        place: where tshark runs; it may serve several readings in parallel, but only one at a time if it has
            an engine. None creates one for this reading.
        opened: receives the open capture file, whose position shows the progress.
        tsharks: the maximum number of tsharks that share the capture; the observation does not depend on it.

    Raises:
        InputError: the key log cannot be read.
    """
    try:
        with open_capture(path) as source, contextlib.ExitStack() as stack:
            if opened is not None:
                opened(source)
            place = place or stack.enter_context(workplace(settings.tshark.path, keylog=settings.keylog))
            seen = _observe(path, source, settings, place, tsharks)
            damage = source.damage if isinstance(source, Unpacked) else ""
            return _damaged(seen, damage) if damage else seen
    except OSError as error:
        return unreadable(path, f"{error.strerror or error}")
    except ValueError as error:
        return unreadable(path, str(error))


def observe_at_once(path: str, settings: Settings, engine: Engine) -> Observation | None:
    """Let an engine read a small capture in this process; None if this needs more, or does not work."""
    if not is_small(path):
        return None
    try:
        with open_capture(path) as source:
            if not isinstance(source, Unpacked):
                return observe_warm(path, source, engine, settings.timeout / 2)
    except (OSError, ValueError):
        pass  # the full read reports the error
    return None


def _damaged(seen: Observation, damage: str) -> Observation:
    """Return the observation of a capture whose archive is damaged after the capture."""
    status: CaptureStatus = "truncated" if seen.status == "complete" else seen.status
    return replace(seen, status=status, error=damage, problems=(Problem(seen.path, damage), *seen.problems))


def with_engine(settings: Settings, place: Workplace) -> Workplace:
    """Return the place with an engine, which starts when it is first needed; the caller must close it.

    An engine that is there already is kept. If the settings exclude an engine, the place has none.
    """
    usable = is_usable(carve=settings.carve, decode_as=settings.decode_as)
    if place.engine is not None or not (settings.warm and usable):
        return place
    engine = Engine(settings.tshark.path, place, settings.timeout, settings.tshark)
    return place._replace(engine=engine)


def is_worth_sharing(path: str) -> bool:
    """Return whether, by its start, a capture is large enough to be worth another tshark."""
    try:
        with open_capture(path) as source:
            size = os.fstat(source.fileno()).st_size
            if size < _LARGE or not is_carvable(source):
                return False
            from certhash.capture.first_pass.carve import carve
            from certhash.capture.first_pass.decompress import Source
            from certhash.capture.first_pass.pcap import WINDOW

            carved = carve(Source(io.BytesIO(source.read(WINDOW))), lambda _: None)
    except Exception:  # noqa: BLE001 - the full read reports the error
        return False
    return len(carved.frames) * size > _MANY * WINDOW


def _observe(path: str, source: BinaryIO, settings: Settings, place: Workplace, tsharks: int) -> Observation:
    """Let the engine read a capture, or tshark."""
    end = monotonic() + settings.timeout
    if place.engine is not None:
        seen = observe_warm(path, source, place.engine, settings.timeout / 2)
        if seen is not None:
            return seen
        settings = replace(settings, timeout=max(end - monotonic(), 0.001))
    from certhash.capture.cold import observe_cold  # with numpy, which a small capture does not need

    return observe_cold(path, source, settings, place, tsharks)
