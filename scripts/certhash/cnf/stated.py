"""Read ``--expect HASH[=URL]``: what phones expect, stated by the user without a file."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from certhash.certificate import details, was_issued_by
from certhash.cnf.given import read_given
from certhash.digest import to_base64
from certhash.errors import InputError
from certhash.headend import parse_url
from certhash.model import STATED, CnfFile, ExpectedHash, HeadEndUrl, VpnGroup
from certhash.visible import visible

if TYPE_CHECKING:
    from collections.abc import Iterable

    from certhash.cnf.given import Given

SOURCE = "--expect"
_WITH_URL = re.compile(r"(?s)(?P<hash>.*?)=(?P<url>[A-Za-z][A-Za-z0-9+.-]*://.*)")
"""Base64 may end in ``=``; with a URL after it there are two."""
_FORM = "write HASH or HASH=https://HOST/PATH"
_MORE = re.compile(r"://|\S\s+\S|=[^=]")
"""What follows the hash, in no form that is read."""


def read_stated(texts: Iterable[str]) -> tuple[CnfFile, ...]:
    """Read hashes, in any form that ``certhash hash`` takes, each with or without ``=`` and the URL.

    Several hashes in a file mean that any of them is expected. Of several certificates, the head-end's own is
    meant: the one that issued none of the others.

    Raises:
        InputError: a text is not a hash, or its URL is not the URL of a head-end.
    """
    return tuple(map(_read, texts))


def _read(text: str) -> CnfFile:
    parts = _WITH_URL.fullmatch(text)
    given, url = (parts["hash"], parts["url"]) if parts else (text, None)
    if not given.strip():
        raise InputError(f"--expect {visible(text)}: no hash is given: {_FORM}")
    try:
        found, problems = read_given(given)
        if problems:
            raise ValueError(problems[0])  # noqa: TRY301 - said in one place
        meant, warnings = _own_certificate(found)
        if url is not None:
            parse_url(url)
    except ValueError as error:
        form = "" if os.path.lexists(given) or parts or not _MORE.search(text) else f"; {_FORM}"
        raise InputError(f"--expect {visible(text)}: {visible(str(error))}{form}") from error
    hashes = tuple(
        ExpectedHash(number, to_base64(each.digest), each.digest, each.algorithm)
        for number, each in enumerate({each.digest: each for each in meant}.values(), 1)
    )
    # A phone compares the SHA-1; a user who states another digest asks whether it is presented.
    others = {each.algorithm for each in hashes if each.algorithm and each.algorithm != "SHA-1"}
    algorithm = ", ".join(sorted(others)) or None
    urls = (HeadEndUrl(1, url),) if url is not None else ()
    return CnfFile(STATED, SOURCE, "stated", VpnGroup(urls, hashes, None, algorithm), None, warnings)


def _own_certificate(found: list[Given]) -> tuple[list[Given], tuple[str, ...]]:
    """Return the head-end's own certificate of a chain, and a warning that names it; hashes as they are.

    A chain has the certificates of its CAs, too, which other servers send as well: to count those would make
    any server of the same CA a match.

    Raises:
        ValueError: it is not clear which of several certificates is meant; the message is one line.
    """
    several = list({each.digest: each for each in found}.values())
    if len(several) == 1 or not any(each.der or each.is_ca for each in several):
        return several, ()
    issuers = {
        each.digest
        for each in several
        for other in several
        if each.is_ca or (each.der and other.der and was_issued_by(other.der, each.der))
    }
    own = [each for each in several if each.digest not in issuers]
    if len(own) != 1:
        raise ValueError(
            f"it has {len(several)} certificates, and which of them is the head-end's own is not clear: give "
            "that one alone"
        )
    which = details(own[0].der).subject if own[0].der else None
    return own, (
        f"{own[0].name} is expected ({which or to_base64(own[0].digest)}): it issued none of the others",
    )
