"""Split a cleaned text (:mod:`certhash.cnf.cleaning`) into lines, without prompts and line wrapping."""

from __future__ import annotations

import re

from msgspec import Struct
from msgspec.structs import replace

_PROMPT = re.compile(r"[A-Za-z0-9][\w.-]*(?:/[\w.-]+)*(?: ?\([a-z][\w-]*\)| )?[#>] ?")
"""IOS: ``R1#``, ``2811-CME(config)#``, ``R1(ca-trustpoint)#``; ASA: ``asa/pri/act(config-webvpn)#``. Cisco's
guides print a blank before the bracket. Host names may begin with a digit (RFC 1123)."""

_LOGGED = re.compile(r"(?:[^%]*: )?%[A-Z][A-Z0-9_-]*-[0-7]-[A-Z0-9_]+: ")
"""Log messages that IOS and ASA print between other output (``%SYS-5-CONFIG_I: ...``)."""

_LONGEST_SHOWN = 80
"""Characters of a line that a message repeats."""
_WINDOW = 79
"""Characters. A terminal of 80 columns wraps a line after 79 or 80."""

_LONG_LINES = re.compile(
    r"\s*(?:vpn-gateway|vpn-trustpoint|ssl trust-?point|VPN Gateway|VPN Trustpoint)\b", re.IGNORECASE
)
_ONE_WORD_COMMANDS = frozenset({"!", "quit", "exit", "end"})


class Line(Struct, frozen=True):
    """A line as the device wrote it."""

    number: int
    """Line number in the file, from 1."""
    text: str
    """The line without the prompt and surrounding blanks."""
    indented: bool
    typed: bool
    """The line follows a prompt, so a user typed it."""

    @property
    def shown(self) -> str:
        """The text as a message repeats it: not all of a very long one."""
        return self.text if len(self.text) <= _LONGEST_SHOWN else self.text[:_LONGEST_SHOWN] + "..."


def read_lines(text: str) -> list[Line]:
    """Return the non-empty lines of a cleaned text, with their line numbers in the file."""
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
            lines.append(replace(last, text=last.text + content))
            broken = len(raw) >= _WINDOW
            continue
        broken = len(shown) >= _WINDOW and raw[-1] != " " and bool(_LONG_LINES.match(content))
        if content:
            lines.append(Line(number, content, shown[:1] == " ", prompt is not None))
    return lines


def _continues(shown: str) -> bool:
    """Return whether a line is the wrapped rest of a word: not indented, without blanks, not a command."""
    return shown[:1] != " " and " " not in shown and shown not in _ONE_WORD_COMMANDS
