"""Read ``show voice vpn``, which prints the hashes of a vpn-group in Base64 (Cisco's CME VPN guide)."""

from __future__ import annotations

import re
from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING

from certhash.cnf.configuration import Group, Trustpoint
from certhash.digest import decode_cert_hash

if TYPE_CHECKING:
    from certhash.cnf.configuration import Configuration
    from certhash.cnf.terminal import Line

_GROUP = re.compile(r"Voice\s+Service\s+VPN\s+Group\s+(\d{1,5})\s+setting", re.IGNORECASE)
_SETTING = re.compile(
    r"VPN\s+Gateway\s+(?P<gateway>\d{1,5})\s+URL\s+(?P<url>\S+)"
    r"|VPN\s+Trustpoint\s+(?P<number>\d{1,5})\s+(?P<form>raw|trustpoint)\s+(?P<name>\S+)(?:\s+(?P<end>leaf|root))?"
    r"\s+(?P<hash>(?:[A-Za-z0-9+/]\s*){27}=)"
    r"|VPN\s+Trustpoint\s+(?P<unread>\d{1,5})\b"
    r"|VPN\s+Trustpoint\s+hash in\b.*",
    re.IGNORECASE,
)
_PROFILE = re.compile(
    r"VPN\s+Profile\s+(\d{1,5})\s+setting:\s+The\s+host_id_check\s+setting:\s+([01])\b", re.IGNORECASE
)


def read_voice_vpn(lines: list[Line], configuration: Configuration) -> dict[tuple[int, int], bytes]:
    """Add ``show voice vpn`` to `configuration`; return the digests by group and trustpoint number.

    A group that the text also configures is not changed.
    """
    return _Reader(lines, configuration).read()


class _Reader:
    """The output as one string, since documents and windows wrap it, with the line of each position."""

    def __init__(self, lines: list[Line], configuration: Configuration) -> None:
        self._lines = lines
        self._configuration = configuration
        self._text = "\n".join(line.text for line in lines)
        self._starts = list(accumulate((len(line.text) + 1 for line in lines), initial=0))
        self._digests: dict[tuple[int, int], bytes] = {}

    def read(self) -> dict[tuple[int, int], bytes]:
        groups: dict[int, Group] = {}
        headings = list(_GROUP.finditer(self._text))
        bounds = [heading.start() for heading in headings] + [len(self._text)]
        for heading, end in zip(headings, bounds[1:], strict=True):
            group = Group(self._take(heading).number, hash_algorithm=True)
            for found in _SETTING.finditer(self._text, heading.end(), end):
                self._setting(int(heading[1]), group, found)
            if group.gateways or group.trustpoints:
                groups[int(heading[1])] = group
        for tag, group in groups.items():
            self._configuration.groups.setdefault(tag, group)
        for found in _PROFILE.finditer(self._text):
            self._take(found)
            self._configuration.profiles.setdefault(int(found[1]), found[2] == "1")
        return self._digests

    def _take(self, found: re.Match[str]) -> Line:
        """Mark the lines of a match as used; return the first one."""
        first, last = (bisect_right(self._starts, offset) - 1 for offset in (found.start(), found.end() - 1))
        self._configuration.taken.update(line.number for line in self._lines[first : last + 1])
        return self._lines[first]

    def _setting(self, tag: int, group: Group, found: re.Match[str]) -> None:
        line = self._take(found)
        if found["gateway"]:
            place = int(found["gateway"])
            _, earlier = group.gateways.setdefault(place, (found["url"], line.number))
            if group.gateways[place][0] != found["url"]:
                self._stands_twice(line, earlier)
        elif found["number"] or found["unread"]:
            self._trustpoint(tag, group, found, line)

    def _trustpoint(self, tag: int, group: Group, found: re.Match[str], line: Line) -> None:
        place = int(found["number"] or found["unread"])
        digest, _ = decode_cert_hash(found["hash"] or "")
        earlier = group.trustpoints.get(place)
        if earlier and self._digests.get((tag, place)) != digest:
            self._stands_twice(line, earlier.line)
            digest = b""
        elif earlier:
            return
        form, name = (found["form"] or "").lower() if digest else "", found["name"] or ""
        end = found["end"].lower() if found["end"] else None
        group.trustpoints[place] = Trustpoint(place, form, name, end, line.number, line.text)
        self._digests[tag, place] = digest

    def _stands_twice(self, line: Line, earlier: int) -> None:
        """Report a missing line between two groups: it is unknown which setting belongs to which group."""
        self._configuration.problems.append(
            f'line {line.number} "{line.text}" has the same number as line {earlier}: '
            "a line between them is missing"
        )
