"""Hash certificates, and turn hashes round: Base64 as in <certHash1>, hex as in a thumbprint.

Each argument is a certificate file (.cer .der .pem .p7b, or what `crypto pki export` printed), a thumbprint
in hex as Windows, IOS or openssl show it, or a hash in Base64. Without an argument, standard input is read.
"""

from __future__ import annotations

import itertools
import os
import re
import sys

from certhash import digest
from certhash.files import STANDARD_INPUT, read_small_file
from certhash.visible import visible

TYPE_CHECKING = False  # type checkers know the name; typing would take longer to import than the rest to run
if TYPE_CHECKING:
    import argparse

_GROUP = re.compile(r"(?:[0-9A-Fa-f]{2}){1,8}")
"""As IOS (eight digits) and Windows (two) set them."""

LONGEST_SHOWN = 60
"""Characters of an argument that is repeated in a message."""


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
    """Print the hashes of every input; 2 where one of them is neither a certificate nor a hash."""
    inputs = arguments.inputs
    if not inputs:
        if sys.stdin.isatty():
            print("certhash hash: name a file or a hash, or give one on standard input", file=sys.stderr)
            return 2
        inputs = [STANDARD_INPUT]
    entries: list[dict[str, object]] = []
    status = 0
    for given in _joined(inputs):
        try:
            found = _entries(given)
        except ValueError as error:
            print(f"certhash: {visible(_shorten(given))}: {error}", file=sys.stderr)
            status = 2
            continue
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
    """Put together what a shell took apart: a thumbprint in groups, pasted without quotes."""
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


def _entries(given: str) -> list[dict[str, object]]:
    """Read one argument: a file if there is one of that name, else a hash, else a whole certificate."""
    if given == STANDARD_INPUT or os.path.lexists(given):
        name = "standard input" if given == STANDARD_INPUT else given
        return _from_content(read_small_file(given), name)
    try:
        return [_hash_entry(given, *digest.read_hash(given))]
    except ValueError as error:
        reason = error
    from certhash.certfile import certificates_in

    try:
        return _certificate_entries(given, certificates_in(given.encode("utf-8", "surrogateescape")))
    except ValueError:
        raise ValueError(f"there is no such file, and as a hash {reason}") from reason


def _from_content(data: bytes, name: str) -> list[dict[str, object]]:
    """Read a file: certificates, one hash (its lines may be wrapped), or a hash a line."""
    from certhash.certfile import certificates_in, decode_text

    try:
        return _certificate_entries(name, certificates_in(data))
    except ValueError as error:
        no_certificate = error
    text = decode_text(data)
    try:
        return [_hash_entry(name, *digest.read_hash(text))]
    except ValueError as error:
        no_hash = error
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) > 1:
        try:
            return [_hash_entry(line.strip(), *digest.read_hash(line)) for line in lines]
        except ValueError:
            pass
    # A short text was meant as a hash; anything else as a certificate.
    short = len(text) < 2 * digest.LONGEST_TEXT and text.strip() and text.isascii()
    raise no_hash if short and "-----BEGIN" not in text else no_certificate


def _certificate_entries(name: str, certificates: list[bytes]) -> list[dict[str, object]]:
    from certhash.certificate import details

    entries: list[dict[str, object]] = []
    for number, der in enumerate(certificates, 1):
        seen = details(der)
        title = name if len(certificates) == 1 else f"{name} (certificate {number} of {len(certificates)})"
        entries.append(
            {
                "input": title,
                **_forms("SHA-1", digest.sha1(der)),
                "sha256": digest.to_base64(digest.sha256(der)),
                "subject": seen.subject,
                "issuer": seen.issuer,
                "serial": seen.serial,
                "not_before": seen.not_before,
                "not_after": seen.not_after,
                "names": list(seen.names),
            }
        )
    return entries


def _hash_entry(name: str, value: bytes, algorithm: str) -> dict[str, object]:
    return {"input": _shorten(name), **_forms(algorithm, value)}


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
