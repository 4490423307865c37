"""Check a vpnGroup from any source: the limits of phones, and values that can match nothing."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from certhash.digest import MD5_BYTES
from certhash.headend import parse_url
from certhash.mistakes import raw
from certhash.model import Problem
from certhash.visible import visible

if TYPE_CHECKING:
    from certhash.model import CnfFile

LARGEST = 2 * 1024 * 1024
"""Bytes. Files of real phones have 5 to 40 KB."""
URLS, HASHES = 3, 10
LONGEST_URL = 255
"""Characters (usecallmanager.nz)."""


def problems_of(cnf: CnfFile) -> list[Problem]:
    """Return the problems that make a file impossible to check: malformed hashes and URLs."""
    if cnf.group is None:
        return []
    place = f"frame {cnf.fetch.frame}, " if cnf.fetch else ""
    problems = []
    for item in cnf.group.hashes:
        if item.algorithm is None:
            written = f'is "{shown(item.value)}"' if item.value else "is empty"
            message = f"{place}{cnf.device}: certHash{item.number} {written}: {why_malformed(item.value)}"
            problems.append(Problem(cnf.source, message))
    for url in cnf.group.urls:
        try:
            parse_url(url.value)
        except ValueError as error:
            message = f'{place}{cnf.device}: url{url.number} is "{visible(url.value)}": {visible(str(error))}'
            problems.append(Problem(cnf.source, message))
    return problems


CHECKED_TWICE = "enableHostIDCheck occurs twice with different values"


def why_longer(algorithm: str | None) -> str:
    """Return a phrase for a hash that is longer than the SHA-1 that a phone compares.

    ``plugin/certhash/digest.lua`` returns the same phrase.
    """
    return (
        f"is as long as a {algorithm}, of the certificate or of its public key (a pin): a phone compares "
        "the SHA-1 of the certificate"
    )


LONGEST_SHOWN = 90
"""Maximum number of characters of a value that a message quotes; a SHA-512 in Base64 has 88."""


def shown(value: str) -> str:
    """Return a ``certHashN`` for a message; a value too long for a hash is cut."""
    text = visible("".join(value.split()))
    return text if len(text) <= LONGEST_SHOWN else f"{text[:20]}... ({len(text):,} characters)"


def why_malformed(value: str) -> str:
    """Return a short phrase that says why a ``certHashN`` does not decode to a known digest.

    ``plugin/certhash/digest.lua`` returns the same phrase for the same value.
    """
    text = "".join(value.split())
    said = next((words for pattern, words in _WRITTEN if re.fullmatch(pattern, text)), None)
    if said:
        return said
    data = raw(text)
    if len(data) == MD5_BYTES:
        return "it has 16 bytes, like an MD5, but a phone compares the SHA-1, which has 20"
    if re.fullmatch(rb"(?:[0-9A-Fa-f]{2}[ :-]?){20}\s*", data):
        return "this is the Base64 of the thumbprint's hex text, but a phone needs the Base64 of its bytes"
    return "not the Base64 of a SHA-1, SHA-256 or SHA-512"


_WRITTEN = (
    ("", "no certificate can match it"),
    (r"(?:[0-9A-Fa-f][:-]*){40}", "this is the thumbprint in hex, but a phone needs Base64"),
    (r"(?:[0-9A-Fa-f][:-]*){32}", "this is an MD5 in hex, but a phone compares the SHA-1, in Base64"),
    (
        r"(?i:sha256/|pin-sha256=).*",
        "this is the pin of a public key, but a phone compares the SHA-1 of the certificate",
    ),
    # All certificates are longer in Base64, and all hashes shorter.
    (
        r"(?=.{201})(?:MI|-----BEGIN).*",
        "this is a whole certificate, not its hash; `certhash hash FILE` prints the hash",
    ),
)
"""Causes that the text itself shows, after white space is removed."""
