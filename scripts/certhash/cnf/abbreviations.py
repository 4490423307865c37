"""Expand abbreviated commands: IOS and ASA accept any unambiguous prefix of a keyword.

Only typed lines are abbreviated; a device writes its configuration in full. Whether a prefix is unambiguous
depends on all commands of a mode, which are not known here. But a device answers an ambiguous prefix with an
error, and lines with an error are ignored (:mod:`certhash.cnf.sections`).
"""

from __future__ import annotations

_COMMANDS = tuple(
    tuple(command.split())
    for command in """\
crypto pki export
crypto ca export
crypto pki authenticate
crypto ca authenticate
crypto pki enroll
crypto ca enroll
crypto pki import
crypto ca import
clear configure ssl
crypto pki trustpoint
crypto ca trustpoint
crypto pki certificate chain
crypto ca certificate chain
show crypto pki certificates verbose
show crypto pki trustpoints status
show crypto ca certificates
show running-config
show ssl
show archive log config
show voice vpn
show webvpn gateway
voice service voip
vpn-group
vpn-gateway
vpn-trustpoint
vpn-hash-algorithm sha-1
vpn-profile
host-id-check enable
host-id-check disable
ephone
mac-address
webvpn gateway
webvpn context
ssl trustpoint
ssl trust-point
inservice
ip address
ip interface
interface
nameif
telephony-service""".splitlines()
)
_ENDS = {"vpn-trustpoint": (("raw", "trustpoint"), ("leaf", "root"))}
"""Keywords among a command's arguments: the second, and the last."""
_SHORTEST = 2
"""Letters."""


def expand(text: str) -> str:
    """Return a typed command with all known keywords expanded and the rest unchanged."""
    words = text.split()
    negated = words[:1] in (["no"], ["do"])
    start = 1 if negated else 0
    candidates = _COMMANDS
    depth = 0
    while start + depth < len(words):
        word = words[start + depth].lower()
        fitting = [c for c in candidates if depth < len(c) and _is_short_for(word, c[depth])]
        exact = [c for c in fitting if c[depth] == word]
        keywords = {c[depth] for c in exact or fitting}
        if len(keywords) != 1:
            break
        words[start + depth] = keywords.pop()
        candidates = tuple(exact or fitting)
        depth += 1
    if depth and words[start] in _ENDS:
        form, end = _ENDS[words[start]]
        _expand_at(words, start + 2, form)
        if len(words) > start + 4:
            _expand_at(words, len(words) - 1, end)
    return " ".join(words[start:] if words[:1] == ["do"] else words) if depth else text


def _is_short_for(word: str, keyword: str) -> bool:
    return len(word) >= _SHORTEST and keyword.startswith(word)


def _expand_at(words: list[str], place: int, keywords: tuple[str, ...]) -> None:
    if place < len(words):
        found = [k for k in keywords if k.startswith(words[place].lower())]
        if len(found) == 1:
            words[place] = found[0]
