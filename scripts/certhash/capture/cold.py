"""Read one capture with a tshark of its own, and again in other ways where it fails or misses something."""

from __future__ import annotations

import os
import shutil
import tempfile
from time import monotonic
from typing import TYPE_CHECKING, BinaryIO, cast

from msgspec.structs import replace

from certhash.capture import again, tshark
from certhash.capture.first_pass.carve import carve
from certhash.capture.first_pass.decompress import Source
from certhash.capture.first_pass.packets import is_plain
from certhash.capture.first_pass.pcap import WINDOW
from certhash.capture.first_pass.source import (
    NOT_A_CAPTURE,
    is_carvable,
    looks_like_capture,
)
from certhash.capture.first_pass.traces import not_shown
from certhash.capture.reading import connections, unreadable
from certhash.capture.runs import Run, Way
from certhash.capture.warm import SMALL
from certhash.model import Observation, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from certhash.capture.again import Place
    from certhash.capture.first_pass.carve import Ends
    from certhash.capture.first_pass.traces import Trace
    from certhash.capture.observe import Settings
    from certhash.capture.workplace import Workplace

_MOST_FAILURES = 5


def observe_cold(
    path: str, source: BinaryIO, settings: Settings, place: Workplace, tsharks: int
) -> Observation:
    """Let tshark read a capture, and retry in other ways if it fails.

    Args:
        path: the path of the capture.
        source: the capture.
        settings: how to read it.
        place: where tshark runs.
        tsharks: the maximum number of tsharks that share it.
    """
    carved = settings.carve and is_carvable(source)
    plain = carved and not settings.decode_as and _is_plain(source)
    place = place._replace(manufacturers=not plain)
    way = _first_way(source, settings, tsharks, carved=carved)
    for last_try in (False, True):
        run = Run(path, source, settings, place, way)
        if run.must_not_be_shared:
            way = way._replace(tsharks=1)
            run = Run(path, source, settings, place, way)
        if way.plugin and (run.missing_plugin or run.plugin_failures):
            # No other fields depend on the plugin, and Python computes the hashes then.
            failures, way = run.plugin_failures, way._replace(plugin=False, tsharks=1)
            run = Run(path, source, settings, place, way)
            for frame, reason in failures[:_MOST_FAILURES]:
                run.complain(
                    f"the plugin failed on frame {frame} ({reason}), so Python alone computed the hashes; "
                    "please report it with the capture"
                )
        if run.must_read_whole:
            # A dropped packet may have been relevant: then read everything. Apparent damage may be one of the
            # variants of pcap with the same magic number and other headers.
            failure = run.fed.failed
            way = way._replace(carve=False, tsharks=1)
            run = Run(path, source, settings, place, way)
            if failure:
                run.complain(
                    f"the first pass failed ({failure}), so tshark read the whole capture; please report it"
                )
        if last_try or not run.outcome.failed or run.outcome.timed_out:
            break
    if run.looked_at is None or not run.looked_at.packets:
        source.seek(0)
        if not looks_like_capture(source.read(4096)) and not run.outcome.timed_out:
            # tshark accepts any text, and many pictures, as a capture.
            return unreadable(path, NOT_A_CAPTURE)
    return _look_again(run, lambda again: _read_again(path, source, settings, place, again), way)


def _first_way(source: BinaryIO, settings: Settings, tsharks: int, *, carved: bool) -> Way:
    """Return how to read a capture at first, behind the first pass if it is of use."""
    # A decode-as rule may be for a tunnel, with inner connections that the first pass does not count.
    shared = carved and not settings.decode_as
    if carved and _is_in_doubt(source, settings):
        carved = shared = False  # tshark would have to read it again
    return Way(
        settings.tshark.lua is not None, carved, tsharks if shared else 1, monotonic() + settings.timeout
    )


def _read_again(path: str, source: BinaryIO, settings: Settings, place: Workplace, way: Way) -> Run:
    if not way.mend or is_carvable(source):
        return Run(path, source, settings, place, way)
    # The first pass repairs the capture. It cannot read this format, so tshark converts it first.
    source.seek(0)
    with (
        tshark.as_pcapng(settings.tshark, place, source) as packets,
        tempfile.TemporaryFile(buffering=0) as converted,
    ):
        shutil.copyfileobj(cast("BinaryIO", packets), converted)
        return Run(path, converted, settings, place, way)


def _look_again(run: Run, read: Callable[[Way], Run], way: Way) -> Observation:
    """Return the observation of a run, with what other ways show in addition.

    If the run showed everything, nothing is read again.
    """
    seen = run.observation()
    missing, cut, odd = _not_seen(run, seen)
    if run.outcome.failed or not (missing or cut or odd):
        return seen
    places = run.places(missing) if missing else None
    known = {trace: place for trace in missing if places and (place := places.of.get(trace.frame))}
    missing = _still_missing(missing, seen, known)
    known = {trace: known[trace] for trace in missing if trace in known}
    if not (missing or cut or odd):
        return seen
    names = {trace: places.above(place) for trace, place in known.items() if places}
    asked = cut | odd | {place.ends for place in known.values() if place.transport}
    asked |= {trace.ends for trace in missing}
    # Connections in a tunnel cannot be found by their ends.
    outside = all(trace in known and trace.ends == known[trace].ends for trace in missing)
    way = way._replace(tsharks=1, only=asked if outside else frozenset())
    notes: list[str] = []
    # No setting shows a message of which the capture does not have enough.
    whole = [trace for trace in known if places and not places.is_cut(trace, in_any_order=True)]
    tries = tuple(again.ways([(known[trace], names[trace]) for trace in whole]))
    for each in (
        *((again.MENDED,) if odd else ()),
        *(tries or ((again.STOCK,) if cut else ())),
    ):
        other = read(way._replace(arguments=each.arguments, mend=each.mend, carve=way.carve or each.mend))
        if other.outcome.failed or other.missing_plugin:
            continue
        as_tls = each in {again.MENDED, again.STOCK}
        seen, taken = again.merged(seen, other.observation(), asked - {frozenset()}, missing, as_tls=as_tls)
        notes += [again.note(handshake, each) for handshake in taken]
        missing = _still_missing(missing, seen, known)
        if not missing and (tries or not _cut(seen)):
            break
    left = [t for t in missing if not again.is_told(t, known.get(t), names.get(t, ()), seen.handshakes)]
    left = list({trace.beginning: trace for trace in reversed(left)}.values())[::-1]
    problems = [
        (f"frame {trace.frame}: " if trace.frame else "")
        + again.words(trace, known.get(trace), cut=places is not None and places.is_cut(trace))
        for trace in left
    ]
    return replace(
        seen,
        problems=(*(Problem(seen.path, message) for message in problems), *seen.problems),
        notes=(*seen.notes, *notes),
    )


def _not_seen(run: Run, seen: Observation) -> tuple[list[Trace], Ends, Ends]:
    """Return what a run may not have shown.

    These are the traces of certificates, the connections with lost packets, and those that tshark may lose
    although nothing of them is missing.
    """
    odd = run.looked_at.odd if run.looked_at is not None else frozenset()
    missing = not_shown(run.traces, seen.certificates.values(), connections(seen))
    return missing, _cut(seen), odd


def _still_missing(missing: list[Trace], seen: Observation, known: Mapping[Trace, Place]) -> list[Trace]:
    """Return what is not shown; a connection in a tunnel is shown with other ends, which tshark knows."""
    shown = connections(seen)
    nowhere = set(not_shown(missing, seen.certificates.values()))
    return [
        trace
        for trace in not_shown(missing, seen.certificates.values(), shown)
        if trace in nowhere or trace not in known or known[trace].ends not in shown
    ]


def _cut(seen: Observation) -> Ends:
    return frozenset(
        frozenset((each.client, each.server))
        for each in seen.handshakes
        if each.hidden == "packets-missing" and each.transport == "tcp"
    )


def _is_in_doubt(source: BinaryIO, settings: Settings) -> bool:
    """Return whether the first pass would drop packets of a small capture that may be relevant."""
    source.seek(0)
    try:
        capture = Source(source)
        if capture.compressed or os.fstat(source.fileno()).st_size > SMALL:
            return False
        return carve(capture, keys=settings.keylog is not None).in_doubt
    except Exception:  # noqa: BLE001 - the full read reports the error
        return False


def _is_plain(source: BinaryIO) -> bool:
    """Return whether a small capture contains nothing that can encapsulate a packet in a packet."""
    source.seek(0)
    try:
        return os.fstat(source.fileno()).st_size <= WINDOW and is_plain(Source(source))
    except Exception:  # noqa: BLE001 - the full read reports the error
        return False
