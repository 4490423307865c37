"""Hash certificates, and convert hashes between Base64 (<certHash1>) and hex (thumbprint).

Each argument is a certificate file (.cer .der .pem .p7b, or the output of `crypto pki export` or
`show running-config`), a thumbprint in hex as Windows, IOS, openssl or sha1sum print it, or a hash in Base64.
Without an argument, it reads standard input.
"""

from __future__ import annotations

import itertools
import os
import re
import sys

from certhash import digest
from certhash.files import STANDARD_INPUT
from certhash.visible import visible

TYPE_CHECKING = False  # type checkers know the name; typing would take longer to import than the rest to run
if TYPE_CHECKING:
    import argparse

    from certhash.cnf.given import Given

_GROUP = re.compile(r"(?:[0-9A-Fa-f]{2}){1,8}")
"""Groups of hex digits as IOS (eight) and Windows (two) print them."""

LONGEST_SHOWN = 60
"""Characters to show of an argument in a message."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "inputs",
        nargs="*",
        metavar="FILE | HEX | BASE64 | -",
        help="certificate file, thumbprint, Base64 hash, or - for standard input",
    )
    parser.add_argument("--json", action="store_true", help="print a JSON list instead of text")


def run(arguments: argparse.Namespace) -> int:
    """Print the hashes of every input; return 2 if one is neither a certificate nor a hash."""
    inputs = arguments.inputs
    if not inputs:
        if sys.stdin.isatty():
            print("certhash: no input; name a file or a hash, or pipe one to standard input", file=sys.stderr)
            return 2
        inputs = [STANDARD_INPUT]
    entries: list[dict[str, object]] = []
    status = 0
    for given in _joined(inputs):
        try:
            found, problems = _read(given)
        except ValueError as error:
            found, problems = [], [str(error)]
        for problem in problems:
            print(f"certhash: {visible(_shorten(given))}: {visible(problem)}", file=sys.stderr)
            status = 2
        if not arguments.json:
            for entry in found:
                print(("\n" if entries else "") + _lines(entry))
                entries.append(entry)
        else:
            entries += found
    if arguments.json:
        import json

        print(json.dumps(entries, indent=2))
    return status


def _joined(inputs: list[str]) -> list[str]:
    """Join the groups of a thumbprint that was pasted without quotes."""
    joined: list[str] = []
    left = list(inputs)
    while left:
        groups = list(
            itertools.takewhile(lambda each: _GROUP.fullmatch(each) and not os.path.lexists(each), left)
        )
        digits = itertools.accumulate(map(len, groups))
        ends = [number for number, length in enumerate(digits, 1) if length // 2 in digest.ALGORITHMS]
        number = ends[0] if ends else 1
        joined.append(" ".join(left[:number]))
        del left[:number]
    return joined


def _read(given: str) -> tuple[list[dict[str, object]], list[str]]:
    """Read one argument. A thumbprint is converted in less time than the import of what reads files takes."""
    if given != STANDARD_INPUT and not os.path.lexists(given):
        try:
            value, algorithm = digest.read_hash(given)
            return [_hash_entry(given, value, algorithm)], []
        except ValueError:
            pass  # the other reader says what is wrong
    from certhash.cnf.given import read_given

    found, problems = read_given(given)
    return list(map(_entry, found)), problems


def _hash_entry(name: str, value: bytes, algorithm: str) -> dict[str, object]:
    return {"input": _shorten(name), **_forms(algorithm, value)}


def _entry(given: Given) -> dict[str, object]:
    if given.der is None:
        return _hash_entry(given.name, given.digest, given.algorithm)
    from certhash.certificate import details

    seen = details(given.der)
    return {
        "input": given.name,
        **_forms(given.algorithm, given.digest),
        "sha256": digest.to_base64(digest.sha256(given.der)),
        "subject": seen.subject,
        "issuer": seen.issuer,
        "serial": seen.serial,
        "not_before": seen.not_before,
        "not_after": seen.not_after,
        "names": list(seen.names),
    }


def _forms(algorithm: str, value: bytes) -> dict[str, object]:
    return {
        "algorithm": algorithm,
        "base64": digest.to_base64(value),
        "thumbprint": digest.thumbprint(value),
        "fingerprint": digest.ios_fingerprint(value),
    }


def _lines(entry: dict[str, object]) -> str:
    rows = [
        ("certHash", f"{entry['base64']}  ({entry['algorithm']})"),
        ("thumbprint", entry["thumbprint"]),
        ("IOS", entry["fingerprint"]),
    ]
    if "sha256" in entry:
        rows += [
            ("SHA-256", entry["sha256"]),
            ("subject", entry["subject"] or "(cannot be read; the hash does not depend on it)"),
        ]
    return "\n".join([visible(str(entry["input"])), *(f"  {label:11} {value}" for label, value in rows)])


def _shorten(text: str) -> str:
    return text if len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + "..."
