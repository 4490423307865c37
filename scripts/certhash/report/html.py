"""HTML: one file that needs nothing else, and reads without its script."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from msgspec import Struct

from certhash.causes import CAUSES, HIDDEN, VERDICTS, is_typed
from certhash.digest import decode_cert_hash
from certhash.document import FINDINGS, Certificate, Expectation, Handshake, Verdict
from certhash.report.groups import ORDER, findings, presented
from certhash.report.jsonform import encode
from certhash.report.ladder import WIDTH, Ladder, draw
from certhash.report.text import count, visible

if TYPE_CHECKING:
    from certhash.document import Document

_FOLDER = Path(__file__).parent
_LONG = 2000  # characters of a stranger's text; the JSON in the page has it all
_DRAWN = 200  # findings that get a section of their own; the tables have all of them
_SIGNS = {"match": "✓", "mismatch": "✕", "rejected": "⊘", "unverifiable": "?", "unseen": "–"}  # noqa: RUF001
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Finding(Struct, frozen=True):
    """A section of the page: findings that one step mends."""

    first: Expectation
    devices: tuple[str, ...]
    handshake: Handshake | None
    chain: tuple[Certificate, ...]
    ladder: Ladder | None
    steps: tuple[tuple[bool, tuple[str, ...]], ...]
    """Sentences, and blocks of lines to type, as they follow each other."""


class Span(Struct, frozen=True):
    """A chain that a head-end presented, from when to when."""

    chain: tuple[Certificate, ...]
    first: Handshake
    last: Handshake
    count: int
    left: float
    """Where its bar begins and how long it is, in hundredths of the time that all captures span."""
    width: float
    holders: tuple[str, ...]
    """Devices of this head-end whose file has the hash of one of these certificates."""


class HeadEnd(Struct, frozen=True):
    """A server, and all that it presented, the oldest first."""

    place: str
    names: tuple[str, ...]
    listed: bool
    """Some device is told to use it."""
    spans: tuple[Span, ...]
    changes: tuple[tuple[Handshake, Certificate, Certificate], ...]
    """Where another chain was presented than the time before: the handshake, old leaf, new leaf."""


class Row(Struct, frozen=True):
    """A device in the matrix, with its expectation at every URL."""

    device: str
    worst: Verdict
    cells: tuple[Expectation | None, ...]


def render(document: Document) -> str:
    """Return the page."""
    template = _environment().get_template("page.html.j2")
    style, script = _asset("page.css"), _asset("page.js")
    policy = (
        f"default-src 'none'; style-src '{_source_hash(style)}'; script-src '{_source_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    groups = findings(document)
    urls = list(dict.fromkeys(each.url for each in document.expectations))
    numbers = {verdict: getattr(document.summary, verdict) for verdict in ORDER}
    return template.render(
        document=document,
        summary=document.summary,
        policy=policy,
        style=Markup(style),  # noqa: S704 - ours
        script=Markup(script),  # noqa: S704 - ours
        data=Markup(_embedded(document)),  # noqa: S704 - no < is left in it
        numbers=numbers,
        total=sum(numbers.values()),
        devices=len({each.device for each in document.expectations}),
        affected=len({each.device for each in document.expectations if each.verdict in FINDINGS}),
        findings=[_finding(document, group) for group in groups[:_DRAWN]],
        left_out=max(len(groups) - _DRAWN, 0),
        head_ends=_head_ends(document),
        urls=urls,
        rows=_matrix(document, urls),
        causes=CAUSES,
        hidden=HIDDEN,
        verdicts=VERDICTS,
        signs=_SIGNS,
        states=Counter(each.status for each in document.captures),
        ladder_width=WIDTH,
    )


def _asset(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


def _source_hash(text: str) -> str:
    """Return what a Content-Security-Policy calls an inline style or script that may be obeyed."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _embedded(document: Document) -> str:
    """Return the document as JSON that cannot end the script element it stands in."""
    return encode(document).decode().replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


@cache
def _environment() -> Environment:
    """Return the templates' surroundings: everything is escaped, and first made visible."""
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.filters |= {"count": count, "time": _time, "lines": _lines}
    return environment


def _shown(value: object) -> object:
    if value is None:
        return ""
    return value if isinstance(value, Markup) else visible(str(value), _LONG)


def _time(text: str) -> str:
    """Return a time as people read it: to the second, in UTC."""
    return f"{text[:10]} {text[11:19]} UTC"


def _lines(lines: tuple[str, ...]) -> Markup:
    """Return lines to type, each made visible first: no text of a stranger's can make a line of its own."""
    return Markup("\n").join(visible(line, _LONG) for line in lines)


def _finding(document: Document, group: list[Expectation]) -> Finding:
    first = group[0]
    handshake = _by_id(document).get(first.decided_by or "")
    return Finding(
        first=first,
        devices=tuple(each.device for each in group),
        handshake=handshake,
        chain=presented(handshake),
        ladder=draw(first, handshake) if handshake else None,
        steps=_steps(first.advice),
    )


def _by_id(document: Document) -> dict[str, Handshake]:
    return {handshake.id: handshake for handshake in document.handshakes}


def _steps(advice: tuple[str, ...]) -> tuple[tuple[bool, tuple[str, ...]], ...]:
    blocks: list[tuple[bool, list[str]]] = []
    for line in advice:
        typed = is_typed(line)
        if not blocks or blocks[-1][0] is not typed:
            blocks.append((typed, []))
        blocks[-1][1].append(line[2:] if typed else line)
    return tuple((typed, tuple(lines)) for typed, lines in blocks)


def _matrix(document: Document, urls: list[str | None]) -> list[Row]:
    """Return a row for every device, the worst first; of two files that name one URL, the worse counts."""
    devices: dict[str, dict[str | None, Expectation]] = {}
    for each in document.expectations:
        cells = devices.setdefault(each.device, {})
        if each.url not in cells or ORDER.index(each.verdict) < ORDER.index(cells[each.url].verdict):
            cells[each.url] = each
    rows = [
        Row(
            device,
            min((cell.verdict for cell in cells.values()), key=ORDER.index),
            tuple(map(cells.get, urls)),
        )
        for device, cells in devices.items()
    ]
    return sorted(rows, key=lambda row: (ORDER.index(row.worst), row.device))


def _head_ends(document: Document) -> list[HeadEnd]:
    """Return what every server presented over time, those first whose certificate changed."""
    servers: dict[str, list[Handshake]] = {}
    for handshake in sorted(document.handshakes, key=lambda each: each.time):
        if presented(handshake):
            servers.setdefault(str(handshake.server), []).append(handshake)
    times = [_seconds(each.time) for each in document.handshakes]
    start, length = min(times, default=0.0), max(times, default=0.0) - min(times, default=0.0)
    holders = _holders(document)
    found = [_head_end(name, each, start, length or 1.0, holders) for name, each in servers.items()]
    return sorted(found, key=lambda each: not each.changes)


def _head_end(
    name: str, handshakes: list[Handshake], start: float, length: float, holders: dict[bytes, set[str]]
) -> HeadEnd:
    chains: dict[tuple[str, ...], list[Handshake]] = {}
    changes = []
    for before, handshake in zip([None, *handshakes], handshakes, strict=False):
        chain = presented(handshake)
        chains.setdefault(tuple(each.sha256 for each in chain), []).append(handshake)
        if before and presented(before)[0].sha256 != chain[0].sha256:
            changes.append((handshake, presented(before)[0], chain[0]))
    told = {device for each in handshakes for device in each.devices}
    spans = []
    for shown in chains.values():
        left = 100 * (_seconds(shown[0].time) - start) / length
        width = 100 * (_seconds(shown[-1].time) - _seconds(shown[0].time)) / length
        chain = presented(shown[0])
        having = {
            device
            for each in chain
            for value in (each.sha1, each.sha256)
            for device in holders.get(decode_cert_hash(value)[0], ())
            if device in told
        }
        spans.append(
            Span(
                chain, shown[0], shown[-1], len(shown), round(left, 2), round(width, 2), tuple(sorted(having))
            )
        )
    names = tuple(dict.fromkeys(each.server_name for each in handshakes if each.server_name))
    listed = any(each.verdict != "unlisted" for each in handshakes)
    return HeadEnd(name, names, listed, tuple(spans), tuple(changes))


def _holders(document: Document) -> dict[bytes, set[str]]:
    """Return the devices whose file has a hash, by its bytes."""
    holders: dict[bytes, set[str]] = {}
    for each in document.expectations:
        for expected in each.hashes:
            digest, algorithm = decode_cert_hash(expected.value)
            if algorithm is not None:
                holders.setdefault(digest, set()).add(each.device)
    return holders


def _seconds(time: str) -> float:
    """Return a time as a number; what a foreign hand made of it in a saved result stands at the very left."""
    try:
        return (datetime.fromisoformat(time) - _EPOCH).total_seconds()
    except (ValueError, TypeError):
        return 0.0
