"""What holds of a vpnGroup, whatever it was read from: how much a phone takes, and what can match nothing."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from certhash.headend import parse_url
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
    """Name what makes a file impossible to check: hashes and URLs that are none."""
    if cnf.group is None:
        return []
    place = f"frame {cnf.fetch.frame}, " if cnf.fetch else ""
    problems = []
    for item in cnf.group.hashes:
        if item.algorithm is None:
            written = f'is "{visible(item.value)}"' if item.value else "is empty"
            message = f"{place}{cnf.device}: certHash{item.number} {written}: {why_malformed(item.value)}"
            problems.append(Problem(cnf.source, message))
    for url in cnf.group.urls:
        try:
            parse_url(url.value)
        except ValueError as error:
            message = f'{place}{cnf.device}: url{url.number} is "{visible(url.value)}": {visible(str(error))}'
            problems.append(Problem(cnf.source, message))
    return problems


def why_malformed(value: str) -> str:
    """Say in a few words what is wrong with a ``certHashN`` that decodes to no known digest."""
    text = "".join(value.split())
    if not text:
        return "no certificate can match it"
    if re.fullmatch(r"(?:[0-9A-Fa-f]{2}[:-]?){20}", text):
        return "that is the thumbprint in hex, where a phone needs Base64"
    return "not the Base64 of a SHA-1, SHA-256 or SHA-512"
