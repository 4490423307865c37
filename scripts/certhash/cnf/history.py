"""Recognise ``show archive log config``: IOS' list of typed commands, which is not what is in force.

A later command may have removed what an earlier one set, and commands from before the log was switched on are
not in it. The Cisco IOS guide on configuration change notification prints the table, and the form
``provisioning``, which has none.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from certhash.cnf.abbreviations import expand

if TYPE_CHECKING:
    from certhash.cnf.terminal import Line

MARKER = r"\d+\s+\S+@\S+\s*\||archive\s+log\s+config"
_ENTRY = re.compile(r"(?:\d+\s+){1,2}\S+@\S+\s*\|")
_HEADING = re.compile(r"idx\s+sess\s+user@line\s+Logged command", re.IGNORECASE)
_COMMAND = re.compile(r"show archive log config\b", re.IGNORECASE)


def without_history(lines: list[Line]) -> tuple[list[Line], list[str]]:
    """Return the lines without such a list, and a problem that says what to type instead."""
    kept: list[Line] = []
    first: Line | None = None
    within = False
    for line in lines:
        if line.typed:
            within = _COMMAND.match(expand(line.text)) is not None
        listed = within or _ENTRY.match(line.text) or _HEADING.match(line.text)
        if listed:
            first = first or line
        else:
            kept.append(line)
    if first is None:
        return lines, []
    what = "this is `show archive log config`, a list of typed commands"
    return kept, [f"line {first.number}: {what}: the settings in force are in `show running-config`"]
