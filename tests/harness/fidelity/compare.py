"""Compare certhash with the independent readers, and explain the differences."""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import json
import os
import subprocess
import sys
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from tests.conftest import TOP
from tests.harness.fidelity.readers import Finding, ndpi, repeats, separate, stock

from certhash.archive.walk import find_captures
from certhash.capture import records, tshark
from certhash.capture.engine import EngineError
from certhash.capture.first_pass.carve import Carved, carve
from certhash.capture.first_pass.decompress import Source
from certhash.capture.first_pass.source import is_carvable, open_capture
from certhash.capture.observe import Settings, observe, with_engine
from certhash.capture.reading import Reading
from certhash.capture.tshark import Outcome
from certhash.capture.warm import observe_warm
from certhash.capture.workplace import workplace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tests.harness.fidelity.generate import Generated

    from certhash.capture.engine import Engine
    from certhash.model import Observation


class Capture(NamedTuple):
    """The result of certhash for a capture."""

    path: str
    handshakes: tuple[dict[str, Any], ...]
    problems: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def findings(self) -> list[Finding]:
        """Return the certificates in the order of their frames."""
        found = [
            Finding(c["frame"], base64.b64decode(c["sha1"]).hex())
            for h in self.handshakes
            for c in h["certificates"]
        ]
        return sorted(found, key=lambda finding: finding.frame)

    @property
    def found_later(self) -> set[Finding]:
        """Return the certificates of which a note says that only a second reading shows them."""
        return {
            Finding(c["frame"], base64.b64decode(c["sha1"]).hex())
            for h in self.handshakes
            for c in h["certificates"]
            if any(note.startswith(f"frame {h['certificates'][0]['frame']}: ") for note in self.notes)
        }

    @property
    def hidden(self) -> set[str]:
        """Return the reasons of the handshakes whose certificates are hidden."""
        return {h["hidden"] for h in self.handshakes if h["hidden"]}


class Difference(NamedTuple):
    """A disagreement about one capture."""

    path: str
    reader: str
    what: str
    explained: str | None


class Comparison(NamedTuple):
    """The result of a comparison."""

    seen: tuple[Capture, ...]
    read: Counter[str]
    """Number of certificates that each reader found."""
    agreed: Counter[str]
    """Number of captures in which each reader agrees completely."""
    differences: tuple[Difference, ...]

    @property
    def certificates(self) -> int:
        """Number of certificates that certhash found."""
        return sum(len(capture.findings) for capture in self.seen)

    @property
    def defects(self) -> list[Difference]:
        """Return the differences without an explanation."""
        return [difference for difference in self.differences if difference.explained is None]


def audit(captures: Sequence[Path], *more: str) -> dict[str, Any]:
    """Run the audit as a user does, and return its JSON."""
    ended = subprocess.run(
        [
            sys.executable,
            "-m",
            "certhash",
            "audit",
            "-f",
            "json",
            "--no-cache",
            "-q",
            *more,
            *map(str, captures),
        ],
        capture_output=True,
        check=False,
        timeout=1800,
        env={**os.environ, "PYTHONPATH": str(TOP / "scripts")},
    )
    if b"Traceback" in ended.stderr or not ended.stdout:
        raise AssertionError(ended.stderr.decode("utf-8", "replace"))
    result: dict[str, Any] = json.loads(ended.stdout)
    return result


def by_capture(document: dict[str, Any]) -> list[Capture]:
    """Split a result by capture."""
    handshakes, problems = defaultdict(list), defaultdict(list)
    for handshake in document["handshakes"]:
        handshakes[handshake["capture"]].append(handshake)
    for problem in document["problems"]:
        problems[problem["path"]].append(problem["message"])
    return [
        Capture(path, tuple(handshakes[path]), tuple(problems[path]), tuple(notes))
        for path, notes in ((capture["path"], capture["notes"]) for capture in document["captures"])
    ]


_find = functools.cache(tshark.find)


def both(path: Path) -> Observation:
    """Read a capture with tshark, carved and whole; the results must be equal."""
    carved, whole = (observe(str(path), Settings(_find(), carve=carve)) for carve in (True, False))
    assert carved == whole
    return carved


def _captured(seen: Observation) -> Capture:
    """Return what an audit tells of an observation, as far as it is compared."""
    handshakes: tuple[dict[str, Any], ...] = tuple(
        {
            "certificates": [
                {"frame": c.frame, "position": c.position, "sha1": _base64_sha1(seen.certificates[c.sha256])}
                for c in handshake.certificates
            ],
            "hidden": handshake.hidden,
        }
        for handshake in seen.handshakes
    )
    return Capture(seen.path, handshakes, tuple(each.message for each in seen.problems), seen.notes)


def _base64_sha1(der: bytes) -> str:
    return base64.b64encode(hashlib.sha1(der, usedforsecurity=False).digest()).decode()


def read_twice(
    paths: Iterable[Path], cold: Callable[[Path], Observation] | None = None
) -> tuple[list[Capture], list[Difference]]:
    """Read captures after the first pass, and whole; return what certhash shows of each, and what differs.

    An engine reads both, unless there is something about a capture that only a tshark of its own can tell.

    Args:
        paths: the captures.
        cold: what such a tshark shows after the first pass, where it is known.
    """
    seen, differences = [], []
    settings = Settings(_find())
    with workplace(settings.tshark.path) as alone, contextlib.ExitStack() as stack:
        engine = with_engine(settings, alone).engine
        assert engine is not None
        stack.callback(engine.close)
        for path in map(str, paths):
            with open_capture(path) as source:
                found = observe_warm(path, source, engine, settings.timeout)
            if found is None or not _is_carved_the_same(found, engine):
                found = cold(Path(path)) if cold else observe(path, settings, alone)
                if not _is_left_as_it_is(path) and not _is_whole_the_same(found, engine):
                    whole = observe(path, Settings(_find(), carve=False), alone)
                    if whole != found:
                        what = f"carved: {found}; whole: {whole}"
                        differences.append(Difference(path, "--no-carve", what, None))
            seen.append(_captured(found))
    return seen, differences


def read_by_engine(path: Path, engine: Engine) -> list[Capture]:
    """Return what an engine shows of a capture, and what after the first pass if that changes the capture.

    The list is empty if only a tshark of its own can read it.
    """
    with open_capture(str(path)) as source:
        contents: list[tuple[bytes | bytearray, Callable[[int], int]]] = [(source.read(), int)]
        if is_carvable(source):
            left, carved = _carved(source)
            if not carved.in_doubt and left != contents[0][0]:
                contents.append((left, carved.frames.frame))
    seen = [_dissected(engine, str(path), *each) for each in contents]
    return [_captured(each) for each in seen if each] if all(seen) else []


def _carved(source: BinaryIO) -> tuple[bytearray, Carved]:
    """Return what the first pass leaves of a capture, and its result."""
    source.seek(0)
    left = bytearray()
    return left, carve(Source(source), left.extend)


def _is_left_as_it_is(path: str) -> bool:
    """Return whether tshark gets the same bytes with and without the first pass."""
    with open_capture(path) as source:
        if not is_carvable(source):
            return True
        left, carved = _carved(source)
        source.seek(0)
        return not carved.in_doubt and left == source.read()


def _is_carved_the_same(whole: Observation, engine: Engine) -> bool:
    """Return whether an engine shows the same of a capture after the first pass, if there is such a pass."""
    with open_capture(whole.path) as source:
        if not is_carvable(source):
            return True
        content, carved = _carved(source)
    if carved.doubtful or carved.status != "complete":
        return False
    return _shows(engine, whole, content, carved.frames.frame, carved.packets)


def _is_whole_the_same(carved: Observation, engine: Engine) -> bool:
    """Return whether an engine shows the same of a whole capture as tshark after the first pass."""
    with open_capture(carved.path) as source:
        return _shows(engine, carved, source.read(), int)


def _shows(
    engine: Engine,
    seen: Observation,
    content: bytes | bytearray,
    frame_of: Callable[[int], int],
    packets: int | None = None,
) -> bool:
    """Return whether an engine shows what was seen in the content of a capture, or in what is left of it."""
    return _dissected(engine, seen.path, content, frame_of, packets) == seen


def _dissected(
    engine: Engine,
    path: str,
    content: bytes | bytearray,
    frame_of: Callable[[int], int],
    packets: int | None = None,
) -> Observation | None:
    """Return what an engine shows of the content of a capture; None if it cannot read it."""
    lines = records.Lines(frame_of)
    reading = Reading(path, plugin=True)
    try:
        dissected = engine.dissect(content)
    except EngineError:
        return None
    for line in dissected.lines:
        if row := lines.parse(line):
            reading.take(row)
    return reading.observation(Outcome("complete", packets or dissected.packets, None, ()))


def compare(
    captures: Sequence[Path],
    stock: Callable[[Path], list[Finding]] = stock,
    cold: Callable[[Path], Observation] | None = None,
) -> Comparison:
    """Compare captures with every reader, and with and without carving.

    Args:
        captures: files, and folders of them.
        stock: reads the certificates that a tshark without the plugin shows.
        cold: as for :func:`read_twice`.
    """
    seen, differences = read_twice(map(Path, find_captures(map(str, captures)).captures), cold)
    read: Counter[str] = Counter()
    agreed: Counter[str] = Counter()
    paths = [Path(capture.path) for capture in seen]
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        readings = list(pool.map(lambda path: _Readings(stock(path), separate(path), ndpi(path)), paths))
    for capture, reading in zip(seen, readings, strict=True):
        judged = {
            "tshark": _to_tshark(capture, reading),
            "separate": _to_separate(capture, reading),
            "nDPI": _to_ndpi(capture, reading),
        }
        read += Counter(
            {"tshark": len(reading.stock), "separate": len(reading.separate), "nDPI": len(reading.ndpi)}
        )
        for reader, found in judged.items():
            agreed[reader] += not found
            differences += [Difference(capture.path, reader, what, why) for what, why in found]
    return Comparison(tuple(seen), read, agreed, tuple(differences))


def differs_from_what_was_made(made: Generated, seen: Capture) -> list[Difference]:
    """Return how certhash's reading of a generated capture differs from its known content."""
    found = sorted(finding.sha1 for finding in seen.findings)
    said = []
    if not made.presented.issuperset(found):
        said.append(f"nobody sent {sorted(set(found) - made.presented)}")
    if made.expected is not None and tuple(found) != made.expected:
        said.append(f"found {found}, sent {list(made.expected)}")
    if made.hidden is not None and seen.hidden != made.hidden:
        said.append(f"hidden for {sorted(seen.hidden)}, and in truth for {sorted(made.hidden)}")
    return [Difference(seen.path, "maker", what, None) for what in said]


class _Readings(NamedTuple):
    stock: list[Finding]
    separate: list[Finding]
    ndpi: list[str]


_FOUND_LATER = "only a second reading shows it, and a note says how"
_Judged = list[tuple[str, str | None]]
"""Return the differences, each with the reason if it is not a defect."""


def _to_tshark(capture: Capture, readings: _Readings) -> _Judged:
    """Compare with stock tshark, which differs in damaged DER and repeats a repeated datagram."""
    ours = capture.findings
    why = "of damaged DER tshark's own field ends where the damage begins; these are the bytes that were sent"
    damaged = {f.frame for f in ours if f in readings.separate} & {
        f.frame for f in set(ours) ^ set(readings.stock)
    }
    earlier = repeats(Path(capture.path)) if Counter(readings.stock) - Counter(ours) else {}

    def more(finding: Finding) -> str | None:
        if finding in capture.found_later:
            return _FOUND_LATER
        return why if finding.frame in damaged else None

    def less(finding: Finding) -> str | None:
        again = [n for n in earlier.get(finding.frame, ()) if finding._replace(frame=n) in ours]
        if again:
            return f"the datagram is that of frame {again[0]}, byte for byte: its messages count once"
        return more(finding)

    return _listed(ours, readings.stock, more, less)


def _to_separate(capture: Capture, readings: _Readings) -> _Judged:
    """Compare with the reader that sorts streams first; it has no keys, and reads nothing beyond a gap."""

    def more(finding: Finding) -> str | None:
        if finding in capture.found_later:
            return _FOUND_LATER
        return (
            "it stands beyond a gap or in what keys open; tshark shows it"
            if finding in readings.stock
            else None
        )

    def less(finding: Finding) -> str | None:
        if finding in readings.stock:
            return None
        early = [f.frame for f in capture.findings if f.sha1 == finding.sha1]
        if early:
            return f"certhash has it in frame {early[0]}"
        hidden = capture.hidden
        return (
            f"tshark does not show it, and certhash says so: {', '.join(sorted(hidden))}" if hidden else None
        )

    return _listed(capture.findings, readings.separate, more, less)


def _to_ndpi(capture: Capture, readings: _Readings) -> _Judged:
    """Compare with nDPI: certhash must find each of its certificates; it finds only the first of a flow."""
    ours = {
        base64.b64decode(c["sha1"]).hex()
        for h in capture.handshakes
        for c in h["certificates"]
        if not c["position"]
    }
    theirs = set(readings.ndpi)
    others = {finding.sha1 for finding in (*readings.stock, *readings.separate, *capture.found_later)}

    def not_there(sha1: str) -> str | None:
        if sha1 not in others:
            return "nobody who puts streams together has it: nDPI hashes bytes of a retransmission, too"
        return f"certhash says why: {', '.join(sorted(capture.hidden))}" if capture.hidden else None

    why = "nDPI gave up on this flow or cannot read it (compression, gaps, keys); another reader has it"
    return [
        *((f"only certhash: {sha1}", why if sha1 in others else None) for sha1 in sorted(ours - theirs)),
        *((f"certhash has not: {sha1}", not_there(sha1)) for sha1 in sorted(theirs - ours)),
    ]


def _listed(
    ours: list[Finding],
    theirs: list[Finding],
    more: Callable[[Finding], str | None],
    less: Callable[[Finding], str | None],
) -> _Judged:
    judged: _Judged = [
        *((f"only certhash: {f}", more(f)) for f in (Counter(ours) - Counter(theirs)).elements()),
        *((f"certhash has not: {f}", less(f)) for f in (Counter(theirs) - Counter(ours)).elements()),
    ]
    if not judged and ours != theirs:
        judged.append((f"the order differs: {ours}, {theirs}", None))
    return judged
