"""Read certificates from the output of show and export commands.

``show crypto pki certificates verbose``, ``show crypto pki trustpoints status``, and PEM in a log. Formats as
the genieparser project's samples (``Fingerprint SHA1:`` in groups of eight, ``Associated Trustpoints:``) and
Cisco's export pages print them. A phone compares the SHA-1: MD5 fingerprints are ignored, and SHA-256
fingerprints beside a SHA-1. One alone is reported.
"""

from __future__ import annotations

import re
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

from certhash.certfile import pem_blocks, pem_certificates
from certhash.cnf.abbreviations import expand
from certhash.cnf.configuration import Configuration, Role, Stored
from certhash.digest import sha1

if TYPE_CHECKING:
    from certhash.cnf.terminal import Line

SHA1_DIGITS = 40

_HEADINGS: dict[str, Role | None] = {
    "Certificate": "leaf",
    "Router Certificate": "leaf",
    "CA Certificate": "ca",
    "Router Self-Signed Certificate": "self-signed",
    "Certificate has the following attributes:": "ca",
}
_OTHER = r"Fingerprint[ (]*(?:MD5|SHA-?(?:256|384|512))\)?\s*:"
_FINGERPRINT = re.compile(rf"(?:{_OTHER}[0-9A-F ]*)?Fingerprint[ (]*SHA-?1\)?\s*:", re.IGNORECASE)
"""Texts that lost their line ends have several fingerprints on one line."""
_SHA1_LABEL = re.compile(r"Fingerprint[ (]*SHA-?1\b", re.IGNORECASE)
_LONGER = re.compile(r"Fingerprint[ (]*SHA-?(?:256|384|512)\)?\s*:", re.IGNORECASE)
_TRUSTPOINT = re.compile(r"Trustpoint (\S+):", re.IGNORECASE)
"""The heading of each kind of certificate in ``show crypto pki trustpoints status``."""
_CONFIGURED = re.compile(
    r"(?:(?P<ca>Issuing CA)|(?P<own>Router [\w ]+)|[\w ]+) certificate configured:", re.IGNORECASE
)
_STATE = re.compile(r"(?:State|Last enrollment status):.*", re.IGNORECASE)
"""The line after the certificates of a trustpoint in that output."""
_PEM_OF = re.compile(r"-+Trustpoint: (\S+?)-+", re.IGNORECASE)
"""The heading of ``show crypto pki certificates pem``."""
_ANY_HEADING = re.compile(
    r"((?:[A-Z][\w-]* )*Certificate)(?: \(([\w ,-]+)\))?|(Certificate has the following attributes:)"
)
"""``Certificate (subordinate CA certificate)`` is also the router's own; one with ``Rollover`` in the
brackets is not in use yet (genieparser lists the variants)."""


def read_certificates(lines: list[Line], configuration: Configuration) -> None:
    """Add the fingerprints in the output of show commands to `configuration`, without certificate bytes.

    ``show crypto pki certificates verbose`` names the trustpoints below a fingerprint, ``show crypto pki
    trustpoints status`` above it, ``crypto pki authenticate NAME`` in the command itself.
    """
    reader = _Certificates(configuration)
    for index, line in enumerate(lines):
        reader.take(line, lines, index)
    reader.begin(None)


class _Certificates:
    """Parser state between lines: the last heading, and a fingerprint whose trustpoint must still follow."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._role: Role | None = None
        self._typed: str | None = None
        self._listed: str | None = None
        """The trustpoint under whose heading the lines stand (``show crypto pki trustpoints status``)."""
        self._issuer_seen = False
        self._fingerprint = b""
        self._at = 0
        self._described: Line | None = None
        """The heading of a certificate that has had no fingerprint yet."""
        self._has_status = False
        self._names: tuple[str, ...] = ()
        self._has_sha1 = False
        self._longer: list[Line] = []
        """The SHA-256 fingerprints of this certificate."""

    def take(self, line: Line, lines: list[Line], index: int) -> None:
        text = line.text
        if line.typed:
            self.begin(None)
            self._typed, self._listed = _trustpoint_of(line), None
        elif found := _TRUSTPOINT.fullmatch(text):
            self.begin(None)
            self._listed, self._issuer_seen = found[1], False
        elif _STATE.fullmatch(text):
            self.begin(None)
            self._listed = None
        elif found := _CONFIGURED.fullmatch(text):
            self.begin(None)
            self._role = "ca" if found["ca"] else "leaf" if found["own"] else None
            if self._role == "ca" and self._issuer_seen:
                self._listed = (
                    None  # each trustpoint has only one issuer: the heading of the next one is missing
                )
            self._issuer_seen = self._issuer_seen or self._role == "ca"
        elif heading := _ANY_HEADING.fullmatch(text):
            self.begin(line if heading[1] in _HEADINGS else None)
            self._role, self._listed = _role_under(heading), None
        elif _FINGERPRINT.match(text):
            self._take_fingerprint(line, lines, index)
        elif _LONGER.match(text):
            self._longer.append(line)
        else:
            self._take_detail(line)

    def _take_detail(self, line: Line) -> None:
        if line.text.startswith("Status:"):
            self._has_status = True
        elif line.text.startswith("Trustpool:"):
            self._described = None  # one of the hundreds of built-in IOS certificates, without a trustpoint
        elif line.text.startswith("Associated Trustpoint"):
            self._take_trustpoints(line)

    def _flush(self) -> None:
        """Store the pending fingerprint, whose trustpoints did not follow."""
        if self._fingerprint:
            self._store(self._listed or self._typed)
        self._fingerprint = b""
        if self._described and self._has_status:
            self._configuration.without_fingerprint.append((self._described, self._names))
        self._described = None

    def begin(self, described: Line | None) -> None:
        """Finish the last certificate, and begin another one, which its heading describes."""
        self._flush()
        self._settle_longer()
        self._role, self._described, self._has_status, self._names = None, described, False, ()

    def _settle_longer(self) -> None:
        """Report the SHA-256 fingerprints of a certificate that has no SHA-1."""
        self._configuration.taken.update(line.number for line in self._longer)
        for line in self._longer if not self._has_sha1 else ():
            self._configuration.complain(line, f"is not a SHA-1, which a phone compares: {SHA1_WANTED}")
            self._configuration.left_open.append((line, "it is not a SHA-1"))
        self._has_sha1, self._longer = False, []

    def _take_fingerprint(self, line: Line, lines: list[Line], index: int) -> None:
        role = self._role if not self._fingerprint else None  # a heading applies to one certificate only
        self._described = None
        self._flush()
        self._role = role
        digits = _hex_after(lines, index)
        self._has_sha1 = True
        if len(_SHA1_LABEL.findall(line.text)) > 1:
            self._configuration.complain(line, "has several fingerprints: only the first one is read")
        self._configuration.taken.add(line.number)
        if len(digits) == SHA1_DIGITS:
            self._fingerprint, self._at = bytes.fromhex(digits), line.number
        else:
            self._configuration.problems.append(
                f'line {line.number} "{line.text}" does not have 40 hex digits'
            )
        if self._listed:
            self._flush()
            self._role = None

    def _take_trustpoints(self, line: Line) -> None:
        names = tuple(line.text.partition(":")[2].split())
        self._names = names
        if self._fingerprint and names:
            for name in names:
                self._store(name)
            self._fingerprint, self._role = b"", None
        self._settle_longer()

    def _store(self, trustpoint: str | None) -> None:
        self._configuration.stored.append(Stored(self._at, trustpoint, self._role, self._fingerprint, None))


def read_pem(lines: list[Line], configuration: Configuration) -> None:
    """Add the PEM certificates of a log to `configuration`, with the role and trustpoint around each."""
    text = "\n".join(line.text for line in lines)
    exported = list(accumulate(lines, _last_typed, initial=None))
    try:
        for label, body, position, before in pem_blocks(text):
            line = lines[position - 1]
            configuration.taken.add(line.number)
            if label == "PKCS12":
                configuration.problems.append(f"line {line.number}: {PKCS12}")
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


def read_pkcs12(lines: list[Line], configuration: Configuration) -> None:
    """Report the output of ``crypto pki export NAME pkcs12 terminal`` on IOS, which is not PEM."""
    for line, following in pairwise(lines):
        if line.text.lower().startswith("% exported pkcs12 follows"):
            configuration.problems.append(f"line {following.number}: {PKCS12}")


SHA1_WANTED = "add the certificate itself (`crypto pki export NAME pem terminal`)"

PKCS12 = (
    "a PKCS#12 export cannot be opened without its passphrase: type `crypto pki export NAME pem terminal` "
    "(IOS) or `crypto ca export NAME identity-certificate` (ASA), which print the certificate itself"
)


def _role_under(heading: re.Match[str] | None) -> Role | None:
    if heading is None or "Rollover" in (heading[2] or ""):
        return None
    return _HEADINGS.get(heading[1] or heading[3])


def _hex_after(lines: list[Line], index: int) -> str:
    """Join the digits after a label, which documents and terminals wrap, up to the length of a SHA-1."""
    text = lines[index].text
    label = _FINGERPRINT.match(text)
    rest, other, _ = re.split(
        "(Fingerprint|$)", text[label.end() if label else 0 :], maxsplit=1, flags=re.IGNORECASE
    )
    digits = "".join(rest.split())
    if other:
        return digits
    for line in lines[index + 1 : index + 1 + SHA1_DIGITS]:
        more = "".join(line.text.split())
        if len(digits) >= SHA1_DIGITS or not re.fullmatch(r"[0-9A-Fa-f]+", more):
            break
        digits += more
    return digits if re.fullmatch(r"[0-9A-Fa-f]*", digits) else ""


def _last_typed(command: Line | None, line: Line) -> Line | None:
    return line if line.typed or _PEM_OF.fullmatch(line.text) else command


def _trustpoint_of(command: Line) -> str | None:
    """Return the trustpoint that a typed command names."""
    if found := _PEM_OF.fullmatch(command.text):
        return found[1]
    found = re.match(r"crypto (?:pki|ca) (?:export|authenticate) (\S+)", expand(command.text), re.IGNORECASE)
    return found[1] if found else None


def _announced(text: str) -> Role | None:
    """Return the role in ``% CA certificate:`` or ``% General Purpose Certificate:`` and the like (IOS)."""
    if re.match(r"% (?:Self-signed )?CA certificate", text):
        return "ca"
    if re.match(r"% [\w ]+ Certificate", text) or "identity certificate" in text:
        return "leaf"
    return None
