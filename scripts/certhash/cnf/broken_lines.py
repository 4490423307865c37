"""Join the lines of a configuration that a window, a mail or a page broke in two.

A line is joined only if one way of joining it gives a whole command: ``ssl trust-point`` with an interface
that the text has, ``vpn-trustpoint`` with ``leaf`` or ``root``. Read alone, the first half may name another
trustpoint, or another interface, than the whole line.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec.structs import replace

if TYPE_CHECKING:
    from certhash.cnf.terminal import Line

_INTERFACE = re.compile(r"(?:nameif|enable) (\S+)", re.IGNORECASE)
_SSL = "ssl trust-point"
_SSL_INTERFACE = re.compile(r"ssl trust-point \S+ (\S+)(?: vpnlb-ip)?", re.IGNORECASE)
_SSL_DOMAIN = re.compile(r"ssl trust-point \S+ domain [\"']?[\w*-]+(?:\.[\w*-]+)+[\"']?", re.IGNORECASE)
_SSL_REST = re.compile(
    r"(?!(?:webvpn|names|quit|exit|end)$)"
    r"(?:[\w.*\"'-]+|[-_.\d]\S*(?: \S+)?|domain(?: \S+)?|t?rust-?point .*|-?point .*)",
    re.IGNORECASE,
)
"""What may follow the first half of such a line; ``webvpn`` and ``names`` are commands."""
_COMMANDS_FOR_INTERFACES = frozenset(
    {"enable", "nameif", "no", "management-access", "monitor-interface", "ssl"}
)
_VPN_WHOLE = re.compile(r"vpn-trustpoint \d+ (?:(?:raw|trustpoint) )?\S+ (?:leaf|root)", re.IGNORECASE)
_VPN_HALF = re.compile(r"vpn-trustpoint(?: \d+(?: (?:raw|trustpoint))?(?: \S+)?)?", re.IGNORECASE)
_VPN_REST = re.compile(
    r"(?!vpn-)(?:(?:\S+ )?(?:leaf|root)|[-_.]\S*|(?:raw|trustpoint) \S+(?: (?:leaf|root))?)", re.IGNORECASE
)
_IOS_HALF = re.compile(r"ssl trustpoint \S+", re.IGNORECASE)
_IOS_REST = re.compile(r"[-_.]\S*", re.IGNORECASE)
_DTLS_WHOLE = re.compile(r"dtls port \d+", re.IGNORECASE)
_DTLS_REST = re.compile(r"(?:port )?\d+", re.IGNORECASE)
"""``port 4433`` alone would be the port of TLS."""
_MOST_HALVES = 4
"""Maximum number of pieces of one line, in a narrow window."""

WHY = "continues on the next line in an unclear way: paste it as one line"


def joined(lines: list[Line]) -> tuple[list[Line], list[Line]]:
    """Return the lines, the broken ones in one piece, and the lines that may be broken and are not joined."""
    interfaces = {found[1].lower() for line in lines if (found := _INTERFACE.match(line.text))}
    whole: list[Line] = []
    unclear: list[Line] = []
    at = 0
    while at < len(lines):
        line, count, clear = _from(lines[at : at + _MOST_HALVES], interfaces)
        whole.append(line)
        if not clear:
            unclear.append(line)
        at += count
    return whole, unclear


def _from(lines: list[Line], interfaces: set[str]) -> tuple[Line, int, bool]:
    """Return the line that begins here, of how many it is joined, and whether its end is clear."""
    first = lines[0]
    kind = _kind(first.text)
    if kind is None:
        return first, 1, True
    ends = kind == "ssl" and _ends_with_interface(first.text, interfaces)
    texts, pieces, last = [first.text], 1, first.number
    for following in lines[1:]:
        # In a text with doubled line ends, every other line is blank.
        apart = following.typed or following.number > last + 2
        last = following.number
        if (
            apart
            or (ends and following.text.lower() != "vpnlb-ip")
            or not _goes_on(kind, following, interfaces)
        ):
            break
        pieces += 1
        texts = [text + blank + following.text for text in texts for blank in ("", " ")]
        found = [text for text in texts if _is_whole(kind, text, interfaces)]
        if len(found) == 1:
            return replace(first, text=found[0]), pieces, True
    if pieces == 1:
        return first, 1, True
    if kind == "vpn":
        # Joined like this, it cannot be read, so that the list of hashes counts as incomplete.
        return replace(first, text=texts[-1]), pieces, True
    return first, 1, False


def _kind(text: str) -> str | None:
    """Return which command a line begins that may be broken."""
    lower = text.lower()
    if lower.startswith(_SSL) or (len(lower) > 2 and _SSL.startswith(lower)):  # noqa: PLR2004 - "ssl" is the first word
        return "ssl"
    if _VPN_HALF.fullmatch(text):
        return "vpn"
    if lower in {"dtls", "dtls port"}:
        return "dtls"
    return "ios" if _IOS_HALF.fullmatch(text) else None


def _goes_on(kind: str, line: Line, interfaces: set[str]) -> bool:
    text = line.text
    if kind == "vpn":
        return _VPN_REST.fullmatch(text) is not None
    if kind == "ios":
        return _IOS_REST.fullmatch(text) is not None
    if kind == "dtls":
        return _DTLS_REST.fullmatch(text) is not None
    words = text.lower().split()
    ends = len(words) == 2 and words[1] in {*interfaces, "vpnlb-ip"}  # noqa: PLR2004
    return (ends and words[0] not in _COMMANDS_FOR_INTERFACES) or _SSL_REST.fullmatch(text) is not None


def _is_whole(kind: str, text: str, interfaces: set[str]) -> bool:
    if kind == "vpn":
        return _VPN_WHOLE.fullmatch(text) is not None
    if kind == "ios":
        return _IOS_HALF.fullmatch(text) is not None
    if kind == "dtls":
        return _DTLS_WHOLE.fullmatch(text) is not None
    return _SSL_DOMAIN.fullmatch(text) is not None or _ends_with_interface(text, interfaces)


def _ends_with_interface(text: str, interfaces: set[str]) -> bool:
    found = _SSL_INTERFACE.fullmatch(text)
    return found is not None and found[1].lower() in interfaces
