"""Test single rules of the readers that whole configurations rarely need: wrapping, numbers, locations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.cnf.running_configs import ASA, chain, cme, pki, read_text
from tests.cnf.test_phone_xml import DECLARATION, DEVICE, TAC, URL, device
from tests.cnf.test_phone_xml import read as read_xml

from certhash.cnf.signed import unwrap
from certhash.cnf.terminal import read_lines

__all__ = ["pki"]  # pytest finds the fixture by its name in this module

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cnf.running_configs import Pki

LONG = "vpn-gateway 1 https://vpn.example.com/" + "a" * 190


# ---------------------------------------------------------------------------------- line wrapping


@pytest.mark.parametrize("window", [79, 80])
def test_a_line_that_a_window_broke_into_several_is_one(window: int) -> None:
    text = "\n".join(LONG[at : at + window] for at in range(0, len(LONG), window))
    lines = read_lines(f"{text}\nshutdown\n inservice\nR1#exit\n")
    assert (lines[0].number, lines[0].text) == (1, LONG)
    assert [line.text for line in lines[1:]] == ["shutdown", "inservice", "exit"]


@pytest.mark.parametrize(
    "following", [" inservice", "ssl encryption aes", "!", "quit", "exit", "end", "R1#show"]
)
def test_line_after_a_full_line_is_joined_only_if_it_can_continue_it(following: str) -> None:
    first = LONG[:80]
    lines = [line.text for line in read_lines(f"{first}\n{following}\n")]
    assert lines == [first, following.strip().removeprefix("R1#")]


def test_long_lines_of_other_kinds_or_with_a_trailing_blank_are_not_joined() -> None:
    for first in ("description " + "x" * 68, LONG[:79] + " "):
        assert [line.text for line in read_lines(f"{first}\nrest\n")] == [first.strip(), "rest"]


def test_a_short_line_is_whole() -> None:
    assert [line.text for line in read_lines(f"{LONG[:78]}\nrest\n")] == [LONG[:78], "rest"]


# ------------------------------------------------------------------------------------- configurations


def test_hashes_with_numbers_that_no_phone_takes_are_named_each(pki: Pki, tmp_path: Path) -> None:
    line = "  vpn-trustpoint 1 trustpoint cme_cert leaf"
    more = "".join(f"\n{line.replace(' 1 ', f' {number} ')}" for number in (0, 11, 12, 10))
    (file,) = read_text(tmp_path, cme(pki).replace(line, line + more)).cnf_files
    assert file.group is not None
    assert [item.number for item in file.group.hashes] == [1, 10]
    assert len([warning for warning in file.warnings if "is ignored" in warning]) == 3


@pytest.mark.parametrize("stored", ["aaa", "zzz"])
def test_a_certificate_of_another_trustpoint_does_not_stand_for_what_is_served(
    pki: Pki,
    tmp_path: Path,
    stored: str,
) -> None:
    certificates = chain(stored, ("02", pki.leaf), word="ca")
    (problem,) = read_text(tmp_path, ASA.format(chain=certificates, trustpoint="cme_cert outside")).problems
    assert "crypto ca export cme_cert identity-certificate" in problem.message
    text = cme(pki, chains=chain(stored, ("02", pki.leaf)))
    problems = [problem.message for problem in read_text(tmp_path, text).problems]
    assert any('"ssl trustpoint cme_cert"' in message for message in problems)


def test_twenty_lines_that_cannot_be_read_are_all_named(tmp_path: Path) -> None:
    outside = "\n!\nvoice service voip\n vpn-gateway 1 https://a.example/\n"
    for count, last in ((20, "is outside"), (21, "1 more")):
        problems = read_text(tmp_path, outside * count).problems
        assert last in problems[-1].message
        assert len(problems) == min(count, 21)


# ------------------------------------------------------------------------------------------ cnf files


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (b"\x01\x00\x02\x01\x00\x01\x00\x02\x00\x0a", "damaged"),
        (b"\x01\x00\x02\x01\x00\x02\x00\x01\x00\x0a", "damaged"),
        (b"\x01\x00\x02\x01\x00\x02\x00\x03\x00\x0a", "damaged"),
        (b"\x01\x00\x02\x01\x00\x02\x00\x02\x00", "damaged"),
        (b"\x01\x00\x02\x01\x00\x02\x00\x02\x00\x0a", "cut short"),
    ],
)
def test_a_signed_header_is_exact(header: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        unwrap(header)


def test_a_signed_header_that_is_nothing_but_its_length_is_taken_off() -> None:
    assert unwrap(b"\x01\x00\x02\x01\x00\x02\x00\x02\x00\x0a<").payload == b"<"


def test_only_full_config_false_marks_the_stub_of_an_encrypted_file() -> None:
    kinds = [
        ("", "plain"),
        ("<fullConfig>true</fullConfig>", "plain"),
        ("<fullConfig>False</fullConfig>", "encrypted"),
    ]
    for said, kind in kinds:
        cnf = read_xml(f"{DECLARATION}{DEVICE}{said}<mtu>1</mtu></device>")
        assert (cnf.kind, cnf.group) == (kind, None)


def test_hashes_and_urls_count_only_in_their_places() -> None:
    inner = (
        f"<vpnGroup><addresses><url1>{URL}</url1><certHash1>{TAC}</certHash1></addresses>"
        f"<credentials><hashAlg>0</hashAlg><url2>{URL}</url2></credentials></vpnGroup>"
    )
    cnf = read_xml(device(inner))
    assert cnf.group is not None
    assert [url.number for url in cnf.group.urls] == [1]
    assert cnf.group.hashes == ()
