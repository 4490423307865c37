"""Draw the ladder diagram of a finding: the messages between phone, file server and head-end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from certhash.judgement.causes import HIDDEN
from certhash.report.findings import presented
from certhash.report.text import LONGEST_HASH, visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from certhash.judgement.document import Alert, Expectation, Handshake

Tone = Literal["plain", "good", "bad", "note"]

WIDTH = 760
_PHONE, _TFTP, _HEAD_END = 90, 380, 670  # x of the lifelines
_EDGE = 2
_LINE = 17  # height of a line of text
_GAP = 16  # between two steps
_TOP = 56  # below the names of the ends
_SHORT = 60  # characters to show of a text from outside
_CHUNK = 44  # a SHA-512 is written in two lines


class Text(Struct, frozen=True):
    """A line of text with its base line at `y`."""

    y: int
    text: str
    tone: Tone
    mono: bool


class Step(Struct, frozen=True):
    """One event: lines of text around `x`, and an arrow below them if `start` and `end` differ."""

    x: int
    start: int
    end: int
    y: int
    tone: Tone
    texts: tuple[Text, ...]


class Lifeline(Struct, frozen=True):
    """One participant: a vertical line with a name on top."""

    x: int
    label: int
    side: Literal["start", "middle", "finish"]
    """The part of the name at `label`: long names of the outer lifelines must stay within the drawing."""
    name: str
    address: str


class Ladder(Struct, frozen=True):
    """The whole drawing, in CSS pixels."""

    height: int
    lines: tuple[Lifeline, ...]
    steps: tuple[Step, ...]
    description: str
    """The same in words, for screen readers."""


Words = tuple[str, Tone, bool]


def draw(expectation: Expectation, handshake: Handshake) -> Ladder:
    """Return the ladder of the handshake that decided an expectation."""
    steps: list[Step] = []
    told: list[str] = []
    y = _TOP

    def step(start: int, end: int, tone: Tone, *words: Words) -> None:
        nonlocal y
        texts = []
        for text, word_tone, mono in words:
            y += _LINE
            texts.append(Text(y, text, word_tone, mono))
        y += 8
        steps.append(Step((start + end) // 2, start, end, y, tone, tuple(texts)))
        told.append(", ".join(text for text, _, _ in words))
        y += _GAP

    download = expectation.download
    if download is not None:
        captions = f"{_short(expectation.device, 24)}'s file", f"frame {download.frame}, {download.time}"
        step(_TFTP, _PHONE, "plain", *map(_plain, captions), *_expected(expectation))
    else:
        caption = f"expects ({_short(expectation.source.rsplit('/', 1)[-1], 36)})"
        step((_PHONE + _TFTP) // 2, (_PHONE + _TFTP) // 2, "note", _plain(caption), *_expected(expectation))
    name = f", asks for {_short(handshake.server_name)}" if handshake.server_name else ""
    hello = f"ClientHello{name}", f"frame {handshake.frame}, {handshake.time}"
    step(_PHONE, _HEAD_END, "plain", *map(_plain, hello))
    chain = presented(handshake)
    if chain:
        step(
            _HEAD_END,
            _PHONE,
            "plain",
            _plain(f"Certificate, frame {chain[0].frame}"),
            *_shown(expectation, handshake),
        )
    elif handshake.hidden is not None:
        step(_HEAD_END, _PHONE, "note", _plain(f"no visible certificate: {HIDDEN[handshake.hidden].title}"))
    for alert in handshake.alerts:
        client = alert.sender == "client"
        ends = (_PHONE, _HEAD_END) if client else (_HEAD_END, _PHONE)
        step(*ends, "bad" if client else "plain", _alert(alert))
    if handshake.client_proceeded:
        step(_PHONE, _HEAD_END, "good", ("the client continues", "good", False))
    lines = [
        Lifeline(
            _PHONE, _EDGE, "start", _short(expectation.device, 24), _short(handshake.client.address, 48)
        ),
        Lifeline(_HEAD_END, WIDTH - _EDGE, "finish", "head-end", _short(str(handshake.server), 48)),
    ]
    if download is not None:
        lines.insert(1, Lifeline(_TFTP, _TFTP, "middle", "file server", _short(download.server, 40)))
    return Ladder(y + 8, tuple(lines), tuple(steps), ". ".join(told))


def _expected(expectation: Expectation) -> list[Words]:
    words: list[Words] = []
    for expected in expectation.hashes:
        first, *rest = _chunks(expected.value)
        words.append((f"certHash{expected.number} {first}", "plain", True))
        words += [(chunk, "plain", True) for chunk in rest]
    return words or [_plain("no hash")]


def _shown(expectation: Expectation, handshake: Handshake) -> list[Words]:
    words: list[Words] = []
    for each in presented(handshake):
        text = f"{each.position}: {each.sha1}"
        if expectation.matched is None:
            words.append((f"{text} not expected", "bad", True))
        elif each.sha1 == expectation.matched:
            words.append((f"{text} expected", "good", True))
        else:  # one matching certificate of the chain is enough
            words.append((text, "plain", True))
    return words


def _alert(alert: Alert) -> Words:
    return (
        f"{alert.level} alert: {alert.name} ({alert.code}), frame {alert.frame}, {alert.time}",
        "bad",
        False,
    )


def _plain(text: str) -> Words:
    return visible(text, 100), "plain", False


def _short(text: str, limit: int = _SHORT) -> str:
    shown = visible(text)
    return shown if len(shown) <= limit else f"{shown[: limit - 1]}…"


def _chunks(value: str) -> Sequence[str]:
    """Split a hash into lines; a text that is too long for a hash is shortened."""
    shown = visible(value, LONGEST_HASH)
    return [shown[index : index + _CHUNK] for index in range(0, len(shown), _CHUNK)] or [""]
