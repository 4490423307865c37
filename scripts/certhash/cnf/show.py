"""Output of show and export commands.

``show voice vpn``, ``show crypto pki certificates verbose``, and PEM in a log. Formats as Cisco's CME VPN
guide (``show voice vpn`` prints the hash in Base64 already), the genieparser project's samples (``Fingerprint
SHA1:`` in groups of eight, ``Associated Trustpoints:``) and Cisco's export pages print them. MD5 fingerprints
are passed over: no phone compares them.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING

from certhash.certfile import pem_blocks, pem_certificates
from certhash.cnf.configuration import Configuration, Group, Role, Stored, Trustpoint
from certhash.digest import decode_cert_hash, sha1

if TYPE_CHECKING:
    from certhash.cnf.terminal import Line

SHA1_DIGITS = 40

_GROUP = re.compile(r"Voice\s+Service\s+VPN\s+Group\s+(\d{1,5})\s+setting")
_SETTING = re.compile(
    r"VPN\s+Gateway\s+(?P<gateway>\d{1,5})\s+URL\s+(?P<url>\S+)"
    r"|VPN\s+Trustpoint\s+(?P<number>\d{1,5})\s+(?P<form>raw|trustpoint)\s+(?P<name>\S+)(?:\s+(?P<end>leaf|root))?"
    r"\s+(?P<hash>(?:[A-Za-z0-9+/]\s*){27}=)"
    r"|VPN\s+Trustpoint\s+(?P<unread>\d{1,5})\b"
)
_PROFILE = re.compile(r"VPN\s+Profile\s+(\d{1,5})\s+setting:\s+The\s+host_id_check\s+setting:\s+([01])\b")

_HEADINGS: dict[str, Role | None] = {
    "Certificate": "leaf",
    "Router Certificate": "leaf",
    "CA Certificate": "ca",
    "Router Self-Signed Certificate": "self-signed",
    "Certificate has the following attributes:": "ca",
}
_ANY_HEADING = re.compile(
    r"((?:[A-Z][\w-]* )*Certificate)(?: \(([\w ,-]+)\))?|(Certificate has the following attributes:)"
)
"""``Certificate (subordinate CA certificate)`` is the router's own all the same; one with ``Rollover`` in the
brackets is not in use yet (genieparser has the list of them)."""


def read_voice_vpn(lines: list[Line], configuration: Configuration) -> dict[tuple[int, int], bytes]:
    """Read ``show voice vpn`` into `configuration`; return the digests by group and number of the trustpoint.

    A group that the text configures as well stays as configured.
    """
    text = "\n".join(line.text for line in lines)
    starts = list(accumulate((len(line.text) + 1 for line in lines), initial=0))

    def line_at(offset: int) -> Line:
        return lines[bisect_right(starts, offset) - 1]

    digests: dict[tuple[int, int], bytes] = {}
    headings = list(_GROUP.finditer(text))
    bounds = [heading.start() for heading in headings] + [len(text)]
    for heading, end in zip(headings, bounds[1:], strict=True):
        tag = int(heading[1])
        number = line_at(heading.start()).number
        group = Group(number, hash_algorithm=True)
        for found in _SETTING.finditer(text, heading.end(), end):
            line = line_at(found.start())
            if found["gateway"]:
                group.gateways[int(found["gateway"])] = (found["url"], line.number)
                continue
            place = int(found["number"] or found["unread"])
            group.trustpoints[place] = Trustpoint(
                place, found["form"] or "", found["name"] or "", found["end"], line.number, line.text
            )
            digest, _ = decode_cert_hash(found["hash"] or "")
            if digest:
                digests[tag, place] = digest
        configuration.groups.setdefault(tag, group)
    for found in _PROFILE.finditer(text):
        configuration.profiles.setdefault(int(found[1]), found[2] == "1")
    return digests


def read_certificates(lines: list[Line], configuration: Configuration) -> None:
    """Read ``show crypto pki certificates verbose`` into `configuration`: fingerprints, without the bytes."""
    role: Role | None = None
    fingerprint = b""
    at = 0
    typed: str | None = None
    for index, line in enumerate(lines):
        heading = _ANY_HEADING.fullmatch(line.text)
        if line.typed or heading:
            if fingerprint:
                configuration.stored.append(Stored(at, typed, role, fingerprint, None))
            fingerprint, role = b"", _role_under(heading)
            typed = _trustpoint_of(line) if line.typed else typed
        elif line.text.startswith("Fingerprint SHA1:"):
            digits = _hex_after(lines, index)
            if len(digits) == SHA1_DIGITS:
                fingerprint, at = bytes.fromhex(digits), line.number
            else:
                configuration.problems.append(f'line {line.number} "{line.text}" has not 40 hex digits')
        elif fingerprint and line.text.startswith("Associated Trustpoints:"):
            for name in line.text.partition(":")[2].split():
                configuration.stored.append(Stored(at, name, role, fingerprint, None))
            fingerprint = b""
    if fingerprint:
        configuration.stored.append(Stored(at, typed, role, fingerprint, None))


def read_pem(lines: list[Line], configuration: Configuration) -> None:
    """Read PEM certificates out of a log, with what the text around them says of each."""
    text = "\n".join(line.text for line in lines)
    exported = list(accumulate(lines, _last_typed, initial=None))
    try:
        for label, body, position, before in pem_blocks(text):
            line = lines[position - 1]
            if "CERTIFICATE" not in label.split() or "REQUEST" in label:
                continue
            try:
                certificates = pem_certificates(label, body)
            except ValueError as error:
                configuration.problems.append(f"the PEM block at line {line.number}: {error}")
                continue
            command = exported[position - 1]
            name = _trustpoint_of(command) if command else None
            role = _announced(before or (lines[position - 2].text if position > 1 else ""))
            configuration.stored += [Stored(line.number, name, role, sha1(der), der) for der in certificates]
    except ValueError as error:
        configuration.problems.append(str(error))


def _role_under(heading: re.Match[str] | None) -> Role | None:
    if heading is None or "Rollover" in (heading[2] or ""):
        return None
    return _HEADINGS.get(heading[1] or heading[3])


def _hex_after(lines: list[Line], index: int) -> str:
    """Join the digits after a label, which documents and terminals wrap, until there are enough."""
    digits = "".join(lines[index].text.partition(":")[2].split())
    for line in lines[index + 1 : index + 1 + SHA1_DIGITS]:
        more = "".join(line.text.split())
        if len(digits) >= SHA1_DIGITS or not re.fullmatch(r"[0-9A-Fa-f]+", more):
            break
        digits += more
    return digits if re.fullmatch(r"[0-9A-Fa-f]*", digits) else ""


def _last_typed(command: Line | None, line: Line) -> Line | None:
    return line if line.typed else command


def _trustpoint_of(command: Line) -> str | None:
    """Return the trustpoint that a typed command names."""
    found = re.match(r"crypto (?:pki|ca) (?:export|authenticate) (\S+)", command.text)
    return found[1] if found else None


def _announced(text: str) -> Role | None:
    """IOS: ``% CA certificate:``, ``% Self-signed CA certificate:``, ``% General Purpose Certificate:``."""
    if re.match(r"% (?:Self-signed )?CA certificate", text):
        return "ca"
    if re.match(r"% [\w ]+ Certificate", text) or "identity certificate" in text:
        return "leaf"
    return None
