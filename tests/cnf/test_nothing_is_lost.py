"""Test that no reader of configurations and show output skips anything silently.

Every fingerprint, certificate, ``vpn-trustpoint``, ``ssl trust(-)point`` and ``certHash`` in a text is either
used or named in a problem. This module searches the text for these itself, without the readers. Each line of
every sample is removed, misspelt, cut and changed in turn.
"""

from __future__ import annotations

import binascii
import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.cnf.show_outputs import SAMPLES

from certhash.certfile import NoCertificateError, decode_text
from certhash.cnf.read import read_source
from certhash.model import Sources

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CONFIGURATIONS = Path(__file__).parent.parent / "captures" / "config"
TEXTS = {path.name: decode_text(path.read_bytes()) for path in sorted(CONFIGURATIONS.iterdir())} | SAMPLES

FINGERPRINT = re.compile(r"fingerprint.*?sha1.*?((?:[0-9a-f]{8} ?){5})", re.IGNORECASE)
HASH = re.compile(r"\W*vpn-trustpoint \d+ \S", re.IGNORECASE)
SHOWN_HASH = re.compile(r"VPN Trustpoint \d .* (\S{27}=)(?: |$)|certHash\d>([^<]+)<")
HEX_LINE = re.compile(r"(?:[0-9A-Fa-f]{8} ?){5,}[0-9A-Fa-f]*")

DAMAGES: dict[str, Callable[[str], list[str]]] = {
    "lost": lambda _: [],
    "misspelt": lambda line: [re.sub(r"[a-z]{3,}", lambda word: word[0][:-2] + word[0][-1], line, count=1)],
    "last word lost": lambda line: [line.rstrip().rpartition(" ")[0]],
    "cut": lambda line: [line[: len(line) * 2 // 3]],
    "other case": lambda line: [line.swapcase()],
    "a blank within": lambda line: [line[: len(line) // 2] + " " + line[len(line) // 2 :]],
    "a word before": lambda line: ["x " + line.lstrip()],
    "digits lost": lambda line: [re.sub(r"[0-9A-F]{4}", "", line, count=1)],
    "twice": lambda line: [line, line],
}


def whole_certificates(lines: list[str]) -> Iterator[tuple[int, bytes]]:
    """Find DER certificates in runs of hex lines, by their own length; yields the line and the SHA-1."""
    at = 0
    while at < len(lines):
        run = at
        while run < len(lines) and re.fullmatch(r"[0-9A-Fa-f ]+", lines[run].strip()):
            run += 1
        digits = "".join("".join(lines[at:run]).split())
        if run > at + 5 and digits.startswith("3082") and len(digits) % 2 == 0:
            data = binascii.unhexlify(digits)
            if len(data) == 4 + int.from_bytes(data[2:4], "big"):
                yield at + 1, hashlib.sha1(data, usedforsecurity=False).digest()
        at = max(run, at + 1)


class Told:
    """The lines that the problems name; all lines, if the list of problems was cut short."""

    def __init__(self, sources: Sources) -> None:
        said = [problem.message for problem in sources.problems]
        self._all = any("more lines" in text for text in said)
        self._lines = {int(number) for text in said for number in re.findall(r"line (\d+)\b", text)}

    def __contains__(self, number: object) -> bool:
        return self._all or number in self._lines


def lost(text: str, sources: Sources) -> list[str]:
    """Return what a text contains that is neither used nor named in a problem."""
    lines = text.split("\n")
    told = Told(sources)
    groups = [cnf.group for cnf in sources.cnf_files if cnf.group]
    certificates = {item.sha1 for item in sources.known}
    used: set[bytes | str] = {
        lines[item.line - 1].strip() for group in groups for item in group.hashes if item.line
    }
    used |= certificates | {item.value for group in groups for item in group.hashes}
    missing = [
        f"line {number}: a certificate"
        for number, sha1 in whole_certificates(lines)
        if sha1 not in certificates and number not in told and number - 1 not in told
    ]
    missing += [
        f"line {number}: {fact!r}"
        for number, line in enumerate(lines, 1)
        if number not in told
        for fact in facts(line.strip())
        if fact not in used
    ]
    return missing


def facts(line: str) -> Iterator[bytes | str]:
    """Return the content of a line that must not be lost: a SHA-1, a hash in Base64, or the line itself."""
    found = FINGERPRINT.search(line)
    if found and "request" not in line.lower():
        yield bytes.fromhex(found[1])
    if HASH.match(line):
        yield line
    if found := SHOWN_HASH.search(line):
        yield found[1] or found[2]


def damaged(text: str) -> Iterator[tuple[str, str]]:
    """Yield the text with one line damaged; of the hex of certificates, only the first and last lines."""
    lines = text.split("\n")
    for at, line in enumerate(lines):
        near = (lines[at - 1] if at else "", lines[at + 1] if at + 1 < len(lines) else "")
        if not line.strip() or (HEX_LINE.search(line) and all(map(HEX_LINE.search, near))):
            continue
        for name, damage in DAMAGES.items():
            yield (
                f"line {at + 1} {name}: {line.strip()}",
                "\n".join(lines[:at] + damage(line) + lines[at + 1 :]),
            )


def read(text: str) -> Sources:
    try:
        return read_source("log.txt", text.encode())
    except NoCertificateError:  # in a folder, such a file is skipped
        return Sources()


@pytest.mark.parametrize("name", TEXTS)
def test_whole_samples_lose_nothing(name: str) -> None:
    assert lost(TEXTS[name], read(TEXTS[name])) == []


@pytest.mark.parametrize("name", TEXTS)
def test_damaged_samples_lose_nothing(name: str) -> None:
    failed = []
    for what, text in damaged(TEXTS[name].replace(" --More--         ", "")):
        failed += [f"{what}\n    {each}" for each in lost(text, read(text))]
    assert not failed, "\n".join(failed[:40])


def in_one_line(first: str) -> tuple[str, int]:
    """Return the sample with the section that begins at a line joined into that line, and its number."""
    lines = TEXTS["cme.cfg"].split("\n")
    at = lines.index(first)
    end = lines.index("!", at)
    return "\n".join([*lines[:at], " ".join(" ".join(lines[at:end]).split()), *lines[end:]]), at + 1


@pytest.mark.parametrize(
    "first",
    ["voice service voip", "ephone  1", "webvpn gateway sslvpn_gw", "crypto pki certificate chain cme_cert"],
)
def test_a_section_that_lost_its_line_ends_is_named(first: str) -> None:
    text, number = in_one_line(first)
    assert number in Told(read(text))


def test_a_policy_that_lost_its_line_ends_is_named() -> None:
    text = (
        TEXTS["cme.cfg"]
        + "crypto ssl policy P pki trustpoint cme_cert sign ip address local 203.0.113.9 no shut\n"
    )
    assert text.count("\n") in Told(read(text))


@pytest.mark.parametrize("number", ["xxxxxxxx", "XX", "***", "<removed>", "[redacted]"])
def test_a_certificate_needs_no_serial_number(number: str) -> None:
    text = TEXTS["cme.cfg"]
    assert read(re.sub(r"( certificate(?: ca| self-signed)?) [0-9A-F]+\n", rf"\1 {number}\n", text)) == read(
        text
    )


def test_a_removed_certificate_without_serial_number_is_named() -> None:
    text = (
        TEXTS["cme.cfg"]
        + "crypto pki certificate chain other\n certificate ca xxxx\n  xxxxxxxx xxxxxxxx\n  quit\n"
    )
    assert text.count("\n") - 2 in Told(read(text))


def test_the_fingerprint_that_a_trustpoint_accepts_is_no_problem() -> None:
    line = "crypto pki trustpoint other\n fingerprint 5A81D34C759CC4DACFCA9F650303AD83410B03AF\n!\n"
    assert read(line + TEXTS["cme.cfg"]).problems == read(TEXTS["cme.cfg"]).problems
