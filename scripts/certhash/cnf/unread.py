"""Report relevant lines that no reader used, so that nothing is skipped silently.

Each line of a known kind is either used or reported in a problem. Readers record the lines that they used in
``Configuration.taken``; this module recognises the kinds with looser patterns than the readers.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from certhash.cnf.sections import ONE_LINE

if TYPE_CHECKING:
    from certhash.cnf.configuration import Configuration
    from certhash.cnf.terminal import Line

_SHA1 = r"(?<![0-9a-f])(?:[0-9a-f]{2}[ :]?){20}(?![ :]?[0-9a-f])"
_FINGERPRINT = "is a fingerprint that cannot be read"
_NO_REQUEST = r"(?!.*(?:request|\bCSR\b))"
"""The fingerprint of a certificate request is not the fingerprint of a certificate."""
_HERE = "cannot be read, because the lines above it that it belongs to are missing"

_KINDS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), what)
    for pattern, what in (
        (rf"{_NO_REQUEST}.*\bfinger ?print\W*sha-? ?1\b.*?(?:[0-9a-f]{{2}}[ :]?){{4}}", _FINGERPRINT),
        (rf"{_NO_REQUEST}.*\b(?:finger|thumb) ?print\b.*?{_SHA1}", _FINGERPRINT),
        (r"\W*vpn-(?:ga|gr|trust|hash|prof)\S* +\S", _HERE),
        (r"\W*VPN +(?:Trustpoint|Gateway) +\d", _HERE),
        (r".*\bvpn-(?:gateway|trustpoint) +\d|(?:ephone|voice service voip) .*\bvpn-group \d", ONE_LINE),
        (r".*\bhost.?id.?check\b.*\S", _HERE),
        (r"\W*dtls port \S", _HERE),
        (r"\W*ssl +trust-?p|.*\bssl +trust-?point +\S|.*\btrust-?point \S+ domain \S", "cannot be read here"),
        (r"certificate (?:rollover |self-signed |ca )*[0-9A-F]{2,}$", "has no certificate below it"),
        (r".*-----BEGIN [A-Z0-9 ]*CERTIFICATE", "begins a certificate that cannot be read"),
        (
            r".*<certHash\d+\s*>\s*[A-Za-z0-9+/=]{8}",
            "cannot be read here: a phone's config is read as a file of its own",
        ),
        (
            r"(?:.*\bcertificate (?:\S+ +){1,3})?30 ?8[0-4](?: ?[0-9A-Fa-f]{2}){12,}",
            "begins a certificate in hex that cannot be read",
        ),
    )
)
_OPENS = re.compile(
    r".*(?:finger ?print|thumb ?print|ssl +trust-?p|trust-?point \S+ domain|BEGIN [A-Z0-9 ]*CERTIFICATE)"
    r"|.*\bcertificate |30 ?8",
    re.IGNORECASE,
)
"""Those lines that may change what a head-end presents."""


def unread(lines: list[Line], configuration: Configuration) -> list[str]:
    """Return one message for each unused line."""
    found = []
    for line in lines:
        if line.number in configuration.taken:
            continue
        what = next((what for kind, what in _KINDS if kind.match(line.text)), None)
        if what:
            if _OPENS.match(line.text):
                configuration.left_open.append((line, what))
            found.append(f'line {line.number} "{line.shown}" {what}')
    return found + _without_fingerprint(lines, configuration) + _without_status(lines, configuration)


_STATUS_OF = re.compile(r"Trustpoint (\S+):")


def _without_status(lines: list[Line], configuration: Configuration) -> list[str]:
    """Return the advice what to type instead of ``show crypto pki trustpoints``."""
    known = {item.trustpoint for item in configuration.stored if item.sha1}
    name, at = "", 0
    for line in lines:
        if found := _STATUS_OF.fullmatch(line.text):
            name, at = found[1], line.number
        elif line.text == "Certificate configured." and name and name not in known:
            what = "`show crypto pki trustpoints`", "`show crypto pki trustpoints status`"
            return [f"line {at}: this is {what[0]}, which prints no fingerprint: type {what[1]}"]
    return []


def _without_fingerprint(lines: list[Line], configuration: Configuration) -> list[str]:
    """Return one message that says what to type instead of a show command without fingerprints."""
    known = {item.trustpoint for item in configuration.stored if item.sha1}
    missing = [
        (line, names)
        for line, names in configuration.without_fingerprint
        if not known.issuperset(names or "?")
    ]
    if not missing:
        return []
    line, names = missing[0]
    on_asa = any(re.match(r"Public Key Type:|(?:sh\w* )?cry\w* ca cert", each.text) for each in lines)
    if on_asa:
        name = next(iter(names), "NAME")
        what = "`show crypto ca certificates`", f"`crypto ca export {name} identity-certificate`"
    else:
        verbose = "`show crypto pki certificates verbose`"
        what = "`show crypto pki certificates` without `verbose`", verbose
    return [f"line {line.number}: this is {what[0]}, which prints no fingerprint: type {what[1]}"]
