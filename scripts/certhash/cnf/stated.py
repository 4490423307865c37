"""Read ``--expect HASH[=URL]``: what phones expect, stated by the user without a file."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from certhash.cnf.given import read_given
from certhash.digest import to_base64
from certhash.errors import InputError
from certhash.headend import parse_url
from certhash.model import STATED, CnfFile, ExpectedHash, HeadEndUrl, VpnGroup
from certhash.visible import visible

if TYPE_CHECKING:
    from collections.abc import Iterable

SOURCE = "--expect"
_WITH_URL = re.compile(r"(?s)(?P<hash>.*?)=(?P<url>[A-Za-z][A-Za-z0-9+.-]*://.*)")
"""Base64 may end in ``=``; with a URL after it there are two."""
_FORM = "write HASH or HASH=https://HOST/PATH"
_MORE = re.compile(r"://|\S\s+\S|=[^=]")
"""What follows the hash, in no form that is read."""


def read_stated(texts: Iterable[str]) -> tuple[CnfFile, ...]:
    """Read hashes, in any form that ``certhash hash`` takes, each with or without ``=`` and the URL.

    A file with several certificates means that any of them is expected.

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
        if url is not None:
            parse_url(url)
    except ValueError as error:
        form = "" if os.path.lexists(given) or parts or not _MORE.search(text) else f"; {_FORM}"
        raise InputError(f"--expect {visible(text)}: {visible(str(error))}{form}") from error
    hashes = tuple(
        ExpectedHash(number, to_base64(each.digest), each.digest, each.algorithm)
        for number, each in enumerate({each.digest: each for each in found}.values(), 1)
    )
    # A phone compares the SHA-1; a user who states another digest asks whether it is presented.
    others = {each.algorithm for each in hashes if each.algorithm and each.algorithm != "SHA-1"}
    algorithm = ", ".join(sorted(others)) or None
    urls = (HeadEndUrl(1, url),) if url is not None else ()
    return CnfFile(STATED, SOURCE, "stated", VpnGroup(urls, hashes, None, algorithm))
