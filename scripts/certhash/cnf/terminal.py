"""A cleaned text (:mod:`certhash.cnf.cleaning`) as lines: prompts and the window's line breaks gone."""

from __future__ import annotations

import re

from msgspec import Struct

_PROMPT = re.compile(r"[A-Za-z0-9][\w.-]*(?:/[\w.-]+)*(?: ?\([a-z][\w-]*\)| )?[#>] ?")
"""IOS: ``R1#``, ``2811-CME(config)#``, ``R1(ca-trustpoint)#``; ASA: ``asa/pri/act(config-webvpn)#``. Cisco's
guides set a blank before the bracket. Host names may begin with a digit (RFC 1123)."""

_LOGGED = re.compile(r"(?:[^%]*: )?%[A-Z][A-Z0-9_-]*-[0-7]-[A-Z0-9_]+: ")
"""What IOS and ASA log to the terminal in the middle of everything else (``%SYS-5-CONFIG_I: ...``)."""

_LONGEST_SHOWN = 80
"""Characters of a line that a message repeats."""
_WINDOW = 79
"""Characters. A terminal of 80 columns breaks a line after 79 or 80."""

_LONG_LINES = re.compile(
    r"\s*(?:vpn-gateway|vpn-trustpoint|ssl trust-?point|VPN Gateway|VPN Trustpoint)\b", re.IGNORECASE
)
_ONE_WORD_COMMANDS = frozenset({"!", "quit", "exit", "end"})


class Line(Struct, frozen=True):
    """A line as the device wrote it."""

    number: int
    """Of the file, from 1."""
    text: str
    """Without prompt and blanks around it."""
    indented: bool
    typed: bool
    """It follows a prompt: somebody typed it."""

    @property
    def shown(self) -> str:
        """The text as a message repeats it: not all of a very long one."""
        return self.text if len(self.text) <= _LONGEST_SHOWN else self.text[:_LONGEST_SHOWN] + "..."


def read_lines(text: str) -> list[Line]:
    """Return the lines of a cleaned text; empty ones are left out, numbers are those of the file."""
    lines: list[Line] = []
    broken = False
    for number, raw in enumerate(text.split("\n"), 1):
        shown = raw.replace("\t", "    ").rstrip()
        prompt = _PROMPT.match(shown)
        content = shown[prompt.end() :].strip() if prompt else shown.strip()
        if _LOGGED.match(content):
            continue
        if broken and content and not prompt and _continues(shown):
            last = lines.pop()
            lines.append(Line(last.number, last.text + content, last.indented, last.typed))
            broken = len(raw) >= _WINDOW
            continue
        broken = len(shown) >= _WINDOW and raw[-1] != " " and bool(_LONG_LINES.match(content))
        if content:
            lines.append(Line(number, content, shown[:1] == " ", prompt is not None))
    return lines


def _continues(shown: str) -> bool:
    """The rest of a word that did not fit: nothing before it, no blank in it, no command of its own."""
    return shown[:1] != " " and " " not in shown and shown not in _ONE_WORD_COMMANDS
