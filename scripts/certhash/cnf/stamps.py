"""Remove prefixes that a program added to every line: time stamps, syslog headers, line numbers.

A prefix is removed only if (nearly) all lines of a text have it in the same form. No form matches digits that
could be hex: each has a clock time with colons, or brackets, or numbers that count the lines.
"""

from __future__ import annotations

import re
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_WEEKDAY = r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_DAY = rf"{_WEEKDAY},? "
_MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_DATE = (
    rf"(?:\d{{4}}([-/.])\d{{1,2}}\1\d{{1,2}}|\d{{1,2}}([-/.])\d{{1,2}}\2\d{{2,4}}|\d{{8}}"
    rf"|(?:{_DAY})?{_MONTH} {{1,2}}\d{{1,2}}(?:,? \d{{4}})?|(?:{_DAY})?\d{{1,2}}[ -]{_MONTH}[ -]\d{{2,4}})"
)
_ZONE = r"(?:Z|UTC|GMT|[A-Z]{1,3}[SD]T|CET|CEST|WET|EET|EEST|[+-]\d{2}:?\d{2})"
"""Excludes words that could be hex, such as ``FEED``."""
_TIME = rf"\d{{1,2}}:\d{{2}}:\d{{2}}(?:[.,]\d{{1,9}})?(?: ?[AP]M)?(?: ?{_ZONE}\b)?"
_STAMP = rf"[*.]?(?:{_DATE}(?:T|,? |_|-))?{_TIME}"
_HOST = r"[A-Za-z0-9][\w.-]*"
_SYSLOG = rf"(?:<\d{{1,3}}>(?:1 )?)?(?:\d+: )?{_STAMP}[ \t]+"
_TAG = r"(?:\d+|[A-Za-z][\w./-]*(?:\[\d+\])?)"

_BRACKETS = (
    rf"(?:\[{_STAMP}\]|\({_STAMP}\)|<{_STAMP}>|\{{{_STAMP}\}}"
    rf"|\[(?:{_DATE},? )?\d{{1,2}}:\d{{2}}(?::\d{{2}}:\d{{1,3}})?(?: ?[AP]M)?\]"
    rf"|\[{_DAY}{_MONTH} {{1,2}}\d{{1,2}} {_TIME} \d{{4}}\]|\[ *\d+\.\d{{3,9}}\])"
)
_YEAR_LAST = rf"{_DAY}{_MONTH} {{1,2}}\d{{1,2}} {_TIME} (?:19|20)\d\d"
_MARKS = (":", ",", ";", ">", r" \|", r" ?-+>", " :", " >", "")
"""Possible text between a stamp and the blank that ends it; the same on every line."""
_BLANK = r"(?: |\t|$)"

_FORMS = (
    ("syslog header", rf"{_SYSLOG}(?:\w+\.\w+[ \t]+)?{_HOST}[ \t]+{_TAG}:(?: |$)"),
    ("syslog header", rf"<\d{{1,3}}>1 {_STAMP} (?:\S+ ){{4}}(?:-|(?:\[[^]]*\])+)(?: |$)"),  # RFC 5424
    *(
        (name, stamp + mark + _BLANK)
        for mark in _MARKS
        for name, stamp in (
            ("time stamp in brackets", _BRACKETS),
            ("time stamp", _YEAR_LAST),
            ("time stamp", rf"(?:{_STAMP}|\d{{10}}\.\d{{3,9}})"),
        )
    ),
    ("time stamp in brackets", _BRACKETS),
)
"""Possible prefixes by name, the most specific first; each includes one blank."""

_BEGINS = re.compile(rf" *(?:[\d\[({{<*.]|{_WEEKDAY}|{_MONTH})")
"""How each of these forms begins, and a line number: few lines do, and the forms take long to search."""

_NUMBERS = [
    re.compile(rf" *(\d{{1,7}})(?:{mark}|{mark.rstrip() if mark.strip() else mark}$)")
    for mark in (r"\t", ": ", r"\. ", r"\) ", r" ?\| ", " ", ":", r"\|")
]
"""Line numbers as ``cat -n``, ``nl``, ``grep -n`` and editors write them."""
_BANNER = re.compile(r"=~|-+ ?(?:Log|Logging) |(?:Script|Log) (?:started|done)", re.IGNORECASE)
"""The first or last line of a terminal program's log, which has no stamp."""
_FEW = 10
"""One of this many lines may lack the prefix."""
_SAMPLE = 50
"""Number of lines that are checked first."""
_LEAST_NUMBERED = 3


@cache
def forms() -> list[tuple[str, re.Pattern[str]]]:
    """Return the name and the pattern of every form; they compile slowly, and few texts need them."""
    return [(name, re.compile(pattern)) for name, pattern in _FORMS]


def without_stamps(text: str) -> str:
    """Return the text without the time stamp, syslog header or line number before each of its lines.

    The number of lines and their indentation do not change.
    """
    lines = text.split("\n")
    counted = [line for line in lines if line.strip() and not _BANNER.match(line)]
    for _, form in forms() if _on_nearly_all(_BEGINS, counted) else ():
        if _on_nearly_all(form, counted):
            return "\n".join(form.sub("", line, count=1) if form.match(line) else line for line in lines)
    return _without_numbers(lines) or text


def stamped(lines: Iterable[str]) -> list[tuple[str, str]]:
    """Return, for each line with stamps or numbers, the form of the first, and the line without them."""
    found = []
    for line in lines:
        first = last = _stamp_of(line)
        while last and (inner := _stamp_of(last[1])):
            last = inner
        if first and last:
            found.append((first[0], last[1]))
    return found


def _stamp_of(line: str) -> tuple[str, str] | None:
    if not _BEGINS.match(line):
        return None
    for name, form in (*forms(), *(("number", form) for form in _NUMBERS)):
        if found := form.match(line):
            return name, line[found.end() :]
    return None


def _on_nearly_all(form: re.Pattern[str], counted: list[str]) -> bool:
    if sum(1 for line in counted[:_SAMPLE] if form.match(line)) * 2 < len(counted[:_SAMPLE]):
        return False
    hits = sum(1 for line in counted if form.match(line))
    return hits > 0 and len(counted) - hits <= (max(1, len(counted) // _FEW) if hits > _FEW // 3 else 0)


def _without_numbers(lines: list[str]) -> str | None:
    """Remove line numbers, whether they count empty lines or not; None if they do not count the lines."""
    for form in _NUMBERS:
        if not all(form.match(line) for line in lines[:_SAMPLE] if line.strip()):
            continue
        found = [(place, form.match(line)) for place, line in enumerate(lines) if line.strip()]
        if len(found) < _LEAST_NUMBERED or not all(match for _, match in found):
            continue
        numbers = [(place, int(match[1])) for place, match in found if match]
        steps = [(after - number, gap - place) for (place, number), (gap, after) in pairwise(numbers)]
        if all(step == 1 for step, _ in steps) or all(step == gap for step, gap in steps):
            return "\n".join(form.sub("", line, count=1) if line.strip() else line for line in lines)
    return None
