"""Read a certificate or hash that a user gives: a file with either, or the hash itself."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from certhash import digest
from certhash.certfile import certificates_in, decode_text, is_der
from certhash.cnf.cleaning import clean
from certhash.cnf.pasted import read_pasted
from certhash.files import STANDARD_INPUT, read_small_file

if TYPE_CHECKING:
    from collections.abc import Iterator


class Given:
    """One certificate or one hash."""

    def __init__(
        self, name: str, value: bytes, algorithm: str, der: bytes | None = None, *, is_ca: bool = False
    ) -> None:
        self.name = name
        """The argument, the file, or the line of it."""
        self.digest = value
        self.algorithm = algorithm
        """``SHA-1``, ``SHA-256`` or ``SHA-512``."""
        self.der = der
        """None where only the hash is known."""
        self.is_ca = is_ca
        """The text around it names it as a CA's certificate."""


def read_given(given: str) -> tuple[list[Given], list[str]]:
    """Read one argument: a file if one of that name exists, else a hash, else a whole certificate as text.

    Returns the certificates or hashes, and a line for each entry of a file that cannot be read.

    Raises:
        ValueError: it is none of these; the message is one line.
    """
    if given == STANDARD_INPUT or os.path.lexists(given):
        name = "standard input" if given == STANDARD_INPUT else given
        return _from_content(read_small_file(given), name)
    try:
        return [Given(given, *digest.read_hash(given))], []
    except ValueError as error:
        reason = error
    try:
        return list(_of_certificates(given, certificates_in(given.encode("utf-8", "surrogateescape")))), []
    except ValueError:
        raise ValueError(f"no such file, and not a hash: {reason}") from reason


def _from_content(data: bytes, name: str) -> tuple[list[Given], list[str]]:
    """Read a file: certificates, one hash (possibly wrapped), a hash per line, or the output of a tool."""
    try:
        return list(_of_certificates(name, certificates_in(data))), []
    except ValueError as error:
        no_certificate = error
    if is_der(data):
        raise no_certificate
    text = decode_text(data)
    try:
        return [Given(name, *digest.read_hash(text))], []
    except ValueError as error:
        no_hash = error
    if found := _lines(text):
        return found, []
    found, problems = _from_configuration(text, name)
    if found:
        return found, problems
    if labelled := _labelled(text):
        # A trustpoint is not needed here.
        read = tuple(f'line {number} "' for number in labelled)
        return list(labelled.values()), [problem for problem in problems if not problem.startswith(read)]
    if re.search(_PHONES, text):
        raise ValueError(
            "it is a phone's config: give it to `certhash cnf`, or to `certhash audit` with --cnf"
        )
    if problems:
        raise ValueError(problems[0])
    # A short text is meant as a hash; anything else as a certificate.
    short = len(text) < 2 * digest.LONGEST_TEXT and text.strip() and text.isascii()
    raise no_hash if short and "-----BEGIN" not in text else no_certificate


_TOOL_SAYS = r"(?i)CertUtil: |\W*SHA\d+[ -]hash .*:\s*$"
"""The lines around the digits in the output of ``certutil -hashfile``."""


def _lines(text: str) -> list[Given]:
    """Read a text with a hash on every line, ignoring the lines around it from ``certutil -hashfile``."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    try:
        return [Given(line, *digest.read_hash(line)) for line in lines if not re.match(_TOOL_SAYS, line)]
    except ValueError:
        return []


def _from_configuration(text: str, name: str) -> tuple[list[Given], list[str]]:
    """Read the certificates and fingerprints of a configuration or of a show command's output."""
    sources = read_pasted(clean(text), name)
    if sources is None:
        return [], []
    found = [
        Given(f"{name}, line {known.line}", known.sha1, "SHA-1", known.der, is_ca=known.role == "ca")
        for known in sources.known
    ]
    return found, [problem.message for problem in sources.problems]


_PHONES = r"<(?:device|vpnGroup)\b"
_HEADING = r"(?i)\W*SHA-?\d+ (?:finger|thumb)print\W*$"
"""Browsers show the digits below."""
_LABELLED = r"(?i)\s*(?:(?:cert hash|(?:sha-?\d+ )?fingerprint|thumbprint)\b|sha-?\d+:)"
"""In what certutil -dump, openssl x509 -text -fingerprint and keytool print, among much else."""
_IN_TABLE = r"(?P<digits>[0-9A-Fa-f]{40})\s+\w+=\S.*"
"""PowerShell's list of certificates: the thumbprint, and the subject."""
_OF_KEY = r"(?i)\W*(?:public )?key (?:id|pin)"
"""GnuTLS prints the hashes of the public key below those of the certificate, in the same words."""


def _labelled(text: str) -> dict[int, Given]:
    """Find the hashes that a tool's output names as a certificate's, by the number of their line."""
    found: dict[int, Given] = {}
    above, of_key = "", False
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        of_key = bool(re.match(_OF_KEY, line)) or (of_key and not re.match(r"(?i)\W*fingerprint", line))
        in_table = re.match(_IN_TABLE, line.strip())
        if not of_key and (in_table or re.match(_LABELLED, line) or re.match(_HEADING, above)):
            try:
                digits = in_table["digits"] if in_table else line
                found[number] = Given(line.strip(), *digest.read_hash(digits))
            except ValueError:
                pass  # an MD5, or a heading
        above = line
    return found


def _of_certificates(name: str, certificates: list[bytes]) -> Iterator[Given]:
    for number, der in enumerate(certificates, 1):
        title = name if len(certificates) == 1 else f"{name} (certificate {number} of {len(certificates)})"
        yield Given(title, digest.sha1(der), "SHA-1", der)
