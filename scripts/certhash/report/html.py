"""Write a result as one HTML file that needs no network and no script."""

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

from certhash.digest import decode_cert_hash
from certhash.judgement.causes import CAUSES, HIDDEN, TYPED, VERDICTS
from certhash.judgement.document import FINDINGS, NO_DEVICE, Certificate, Expectation, Handshake, Verdict
from certhash.report.findings import ON_PAPER, ORDER, checked, deciding, described, findings, presented, steps
from certhash.report.jsonform import encode
from certhash.report.ladder import WIDTH, Ladder, draw
from certhash.report.text import count, visible

if TYPE_CHECKING:
    from certhash.judgement.document import Document

_FOLDER = Path(__file__).parent
_LONG = 2000  # characters to show of a text from outside; the JSON in the page has all of it
_DRAWN = 200  # findings with a section of their own; the tables list all
_SIGNS = {"match": "✓", "mismatch": "✕", "rejected": "⊘", "unverifiable": "?", "unseen": "–"}  # noqa: RUF001
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Finding(Struct, frozen=True):
    """A section of the page: a group of equal findings."""

    first: Expectation
    devices: tuple[str, ...]
    handshake: Handshake | None
    chain: tuple[Certificate, ...]
    ladder: Ladder | None
    differ: bool
    """Whether the explanations of the devices differ."""
    steps: list[list[str]]
    """What to do: of each step the sentence, and the commands to type."""


class Span(Struct, frozen=True):
    """A chain that a head-end presented, and when."""

    chain: tuple[Certificate, ...]
    first: Handshake
    last: Handshake
    count: int
    left: float
    """Start and length of its bar, in percent of the time that all captures span."""
    width: float
    holders: tuple[str, ...]
    """Devices of this head-end whose cnf file has a hash of this chain."""


class HeadEnd(Struct, frozen=True):
    """A server, and the chains that it presented, oldest first."""

    place: str
    names: tuple[str, ...]
    listed: bool
    """Whether a cnf file names it."""
    spans: tuple[Span, ...]
    changes: tuple[tuple[Handshake, Certificate, Certificate], ...]
    """Each change of the chain: the first handshake with the new one, the old leaf, the new leaf."""


class Row(Struct, frozen=True):
    """A device in the matrix, and its expectation for each URL."""

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
    groups, decided = findings(document), deciding(document)
    urls = list(dict.fromkeys(each.where for each in document.expectations))
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
        checked=checked(document),
        devices=len({each.device for each in document.expectations} - {NO_DEVICE}),
        affected=len(
            {each.device for each in document.expectations if each.verdict in FINDINGS} - {NO_DEVICE}
        ),
        described=described,
        on_paper=ON_PAPER,
        warned=sum(bool(each.warnings) for each in document.expectations),
        wrong=any(each.verdict in FINDINGS for each in document.expectations),
        findings=[_finding(group, decided(group[0])) for group in groups[:_DRAWN]],
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
    """Return the source expression that permits an inline style or script in a Content-Security-Policy."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _embedded(document: Document) -> str:
    """Return the document as JSON that cannot end its script element."""
    return encode(document).decode().replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


@cache
def _environment() -> Environment:
    """Return the template environment: every value is made visible, then escaped."""
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
    """Return a time in UTC, to the second."""
    return f"{text[:10]} {text[11:19]} UTC"


def _lines(commands: list[str]) -> Markup:
    """Return commands, one per line. Each is made visible first, so that no text can add a line."""
    return Markup("\n").join(visible(line.removeprefix(TYPED), _LONG) for line in commands)


def _finding(group: list[Expectation], handshake: Handshake | None) -> Finding:
    first = group[0]
    return Finding(
        first=first,
        devices=tuple(each.device for each in group),
        handshake=handshake,
        chain=presented(handshake),
        ladder=draw(first, handshake) if handshake else None,
        differ=len({each.explanation for each in group}) > 1,
        steps=steps(first.advice),
    )


def _matrix(document: Document, urls: list[str]) -> list[Row]:
    """Return a row per device, the worst first. If two files name one URL, the worse verdict counts."""
    devices: dict[str, dict[str, Expectation]] = {}
    for each in document.expectations:
        # No device belongs to a stated hash, so the hash itself names the row.
        stated = each.device == NO_DEVICE
        name = ", ".join(expected.value for expected in each.hashes) if stated else each.device
        cells, url = devices.setdefault(name, {}), each.where
        if url not in cells or ORDER.index(each.verdict) < ORDER.index(cells[url].verdict):
            cells[url] = each
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
    """Return what each server presented over time; servers with changed certificates come first."""
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
    """Return the devices whose cnf file has a hash, by the bytes of the hash."""
    holders: dict[bytes, set[str]] = {}
    for each in document.expectations:
        for expected in each.hashes:
            digest, algorithm = decode_cert_hash(expected.value)
            if algorithm is not None:
                holders.setdefault(digest, set()).add(each.device)
    return holders


def _seconds(time: str) -> float:
    """Return a time in seconds since 1970; 0 for a saved result with an invalid time."""
    try:
        return (datetime.fromisoformat(time) - _EPOCH).total_seconds()
    except (ValueError, TypeError):
        return 0.0
