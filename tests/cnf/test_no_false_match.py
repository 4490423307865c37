"""Test that no damage to a configuration causes a false match, or silently hides a match.

Lines of every sample are removed, renamed, changed, swapped and repeated; the right result is known.
"""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING, NamedTuple

import pytest
from tests.cnf.running_configs import ASA, Pki, chain, cme, pki  # noqa: F401 - a fixture
from tests.judgement.test_on_paper import phone

from certhash.certfile import NoCertificateError
from certhash.cnf.read import read_source
from certhash.judgement.correlate import correlate
from certhash.judgement.document import Document, Tool
from certhash.model import Sources

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from certhash.model import CnfFile

TOOL = Tool("0", "4.0", "5.2", "plugin")
HEX_LINE = re.compile(r"\s*(?:[0-9A-Fa-f]{8} ?){5,}[0-9A-Fa-f]*\s*")


class Sample(NamedTuple):
    """A text, the URLs of its phones, and its certificates."""

    text: str
    url: str


def samples(made: Pki) -> dict[str, Sample]:
    """Return configurations of head-ends that present `leaf`, with one more (`alone`) beside it."""
    chains = (
        chain("cme_cert", ("02", made.leaf), ("ca 01", made.root)) + "\n" + chain("B", ("03", made.alone))
    )
    asa_chains = chains.replace("pki", "ca")
    router = cme(made, chains=chains)
    second = "webvpn gateway other\n ip address 192.0.2.77 port 443\n ssl trustpoint B\n inservice\n!\n"
    asa = ASA.format(chain=asa_chains, trustpoint="cme_cert outside")
    inside = asa.replace("webvpn\n port", "ssl trust-point B inside\nwebvpn\n port").replace(
        " enable outside", " enable outside\n enable inside"
    )
    policy = router.replace("webvpn gateway sslvpn_gw", "crypto ssl policy P").replace(
        " inservice\n !", " no shutdown\n !"
    )
    return {
        "router": Sample(router, "https://10.201.160.201/x"),
        "two gateways": Sample(
            router.replace("webvpn context", f"{second}webvpn context"), "https://10.201.160.201/x"
        ),
        "policy": Sample(
            policy.replace("ip address 10.201.160.201 port", "ip address local 10.201.160.201 port"),
            "https://10.201.160.201/x",
        ),
        "asa": Sample(asa, "https://203.0.113.1:8443/x"),
        "asa by name": Sample(
            asa.replace("webvpn\n port", "ssl trust-point B domain vpn.example.com\nwebvpn\n port"),
            "https://vpn.example.com:8443/x",
        ),
        "asa, two interfaces": Sample(inside, "https://203.0.113.1:8443/x"),
    }


NAMES = ["router", "two gateways", "policy", "asa", "asa by name", "asa, two interfaces"]

DAMAGES: dict[str, Callable[[str], list[str]]] = {
    "lost": lambda _: [],
    "misspelt": lambda line: [re.sub(r"[a-z]{3,}", lambda word: word[0][:-2] + word[0][-1], line, count=1)],
    "renamed": lambda line: [re.sub(r"\S+(\s*)$", r"other\1", line)],
    "last word lost": lambda line: [line.rstrip().rpartition(" ")[0]],
    "cut": lambda line: [line[: len(line) * 2 // 3]],
    "other case": lambda line: [line.swapcase()],
    "without its blanks": lambda line: [line.lstrip()],
    "more blanks": lambda line: [line.replace(" ", "  ")],
    "a blank within": lambda line: [line[: len(line) // 2] + " " + line[len(line) // 2 :]],
    "a word before": lambda line: ["x " + line.lstrip()],
    "taken back": lambda line: ["no " + line.lstrip()],
    "twice": lambda line: [line, line],
}


def damaged(text: str) -> Iterator[tuple[str, str]]:
    """Yield the text with one line damaged or several missing; of hex, only the first and last lines."""
    lines = text.split("\n")
    places = []
    for at, line in enumerate(lines):
        near = (lines[at - 1] if at else "", lines[at + 1] if at + 1 < len(lines) else "")
        if line.strip() and not (HEX_LINE.fullmatch(line) and all(map(HEX_LINE.fullmatch, near))):
            places.append(at)
    for at in places:
        for name, damage in DAMAGES.items():
            yield (
                f"line {at + 1} {name}: {lines[at]}",
                "\n".join(lines[:at] + damage(lines[at]) + lines[at + 1 :]),
            )
    choose = random.Random(116638)
    for _ in range(60):
        gone = set(choose.sample(places, choose.choice([2, 3, 5])))
        said = ", ".join(str(at + 1) for at in sorted(gone))
        yield f"lines {said} lost", "\n".join(line for at, line in enumerate(lines) if at not in gone)


def judged(text: str, *phones: CnfFile) -> tuple[Sources, Document]:
    """Audit phones' files with a configuration, without captures."""
    try:
        sources = read_source("config.txt", text.encode())
    except NoCertificateError:
        sources = Sources()
    sources = Sources(phones, sources.known, sources.problems, unsettled=sources.unsettled)
    resolve = {"vpn.example.com": ["203.0.113.1"]}
    return sources, correlate([], sources, TOOL, resolve=resolve)


@pytest.mark.parametrize("name", NAMES)
def test_no_damage_makes_a_match_that_was_none(name: str, pki: Pki) -> None:  # noqa: F811
    """Among phones with the hash of each certificate, only those that match the whole text may match.

    If a damaged line removes a match, a problem or the explanation must name it; an absent line cannot be
    named.
    """
    text, url = samples(pki)[name]
    phones = [
        read_source(f"SEP00005E00530{number}.cnf.xml", phone(made.cert_hash, url=url).encode()).cnf_files[0]
        for number, made in enumerate((pki.leaf, pki.root, pki.alone))
    ]
    whole = {row.device: row.verdict for row in judged(text, *phones)[1].expectations}
    assert ("match" in whole.values()) is (name != "asa by name")
    wrong, silent = [], []
    for what, bad in damaged(text):
        sources, document = judged(bad, *phones)
        for row in document.expectations:
            shown = f"{what}: {row.device} was {whole[row.device]}, is {row.verdict}: {row.explanation}"
            said = (
                sources.problems
                or "config.txt" in row.explanation
                or re.search(r"^lines? [\d, ]+ lost", what)
            )
            # Without its line, or with another name in it, that certificate is not presented.
            by_name = name == "asa by name" and (
                "no ssl" in bad
                or not re.search(r"trust-point \S+ +domain +vpn\.example\.com", bad, re.IGNORECASE)
            )
            if row.verdict == "match" != whole[row.device] and not by_name:
                wrong += [shown]
            elif row.verdict != "match" == whole[row.device] and not said:
                silent += [shown]
    assert not wrong + silent, "\n".join([*wrong[:10], *silent[:10]])
