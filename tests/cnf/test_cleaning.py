"""Test the cleaning of pasted and logged texts: it removes the additions, and never a digit."""

from __future__ import annotations

import random
import re
import textwrap
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.cnf.running_configs import ASA, chain, cme, only, pki, read_text
from tests.conftest import TOP

from certhash.cnf.cleaning import clean
from certhash.cnf.pasted import read_pasted
from certhash.cnf.terminal import read_lines

__all__ = ["pki"]  # pytest finds the fixture by its name in this module

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cnf.running_configs import Pki

PHONE = (TOP / "captures/cnf/SEP00005E005312.cnf.xml").read_text()

STAMPS = {
    "SecureCRT": "[%Y-%m-%d %H:%M:%S.%f] ",
    "MobaXterm": "[%d/%m/%Y %H:%M:%S] ",
    "Tera Term": "[%a %b %d %H:%M:%S.%f %Y] ",
    "clock in brackets": "[%H:%M:%S] ",
    "clock in round brackets": "(%H:%M:%S.%f) ",
    "clock": "%H:%M:%S ",
    "clock and colon": "%H:%M:%S.%f: ",
    "clock and arrow": "%H:%M:%S.%f -> ",
    "twelve hours": "%m/%d/%Y %I:%M:%S %p ",
    "ts": "%b %d %H:%M:%S ",
    "asctime": "%a %b %d %H:%M:%S %Y ",
    "RFC 3339": "%Y-%m-%dT%H:%M:%S.%fZ ",
    "RFC 3339 with an offset": "%Y-%m-%dT%H:%M:%S+02:00 ",
    "day and zone": "%d-%b-%Y %H:%M:%S CET ",
    "eight digits": "%Y%m%d %H:%M:%S.%f ",
    "bar": "%Y/%m/%d %H:%M:%S | ",
    "tab": "%Y-%m-%d %H:%M:%S\t",
    "syslog": "%b %d %H:%M:%S R1 logger[123]: ",
    "syslog with its priority": "<189>%b %d %H:%M:%S 192.0.2.1 console: ",
    "RFC 5424": "<189>1 %Y-%m-%dT%H:%M:%S.%fZ R1 console 12 - - ",
    "Kiwi": "%Y-%m-%d %H:%M:%S\tLocal7.Notice\t192.0.2.1\t123: ",
}


def stamped(text: str, form: str, lines: slice = slice(None)) -> str:
    """Put a different time stamp before each line, as a terminal program does."""
    now = datetime(2026, 3, 11, 10, 0, 0, 123000, UTC)
    out = text.split("\n")
    for place in range(*lines.indices(len(out))):
        out[place] = (now + timedelta(milliseconds=700 * place)).strftime(form) + out[place]
    return "\n".join(out)


def numbered(text: str) -> str:
    return "\n".join(f"{number:6}\t{line}" for number, line in enumerate(text.split("\n"), 1))


def wrapped(text: str, columns: int = 80) -> str:
    """Wrap lines as a terminal window does."""
    return "\n".join(
        line[at : at + columns] for line in text.split("\n") for at in range(0, max(len(line), 1), columns)
    )


def bare(text: str) -> list[str]:
    """Return the lines without trailing blanks."""
    return [line.rstrip() for line in text.rstrip().split("\n")]


@pytest.fixture(scope="module")
def samples(pki: Pki) -> list[str]:
    asa = ASA.format(chain=chain("VPN", ("02", pki.leaf), word="ca"), trustpoint="VPN outside")
    return [cme(pki), asa, PHONE, "R1#show running-config\n" + cme(pki) + "R1#"]


@pytest.mark.parametrize("form", STAMPS.values(), ids=STAMPS)
def test_stamps_go_and_nothing_else(samples: list[str], form: str) -> None:
    for text in samples:
        assert bare(clean(stamped(text, form))) == bare(text)


def test_first_line_of_a_log_has_no_stamp(samples: list[str]) -> None:
    text = "=~=~=~=~=~= PuTTY log 2026.03.01 10:00:00 =~=~=~=~=~=\n" + stamped(samples[0], "[%H:%M:%S] ")
    assert bare(clean(text))[1:] == bare(samples[0])


@pytest.mark.parametrize(
    "added",
    [
        lambda text: textwrap.indent(text, "> ", lambda _: True),
        lambda text: textwrap.indent(text, ">", lambda _: True),
        lambda text: textwrap.indent(text, "> > ", lambda _: True),
        lambda text: textwrap.indent(text, ">> ", lambda _: True),
        lambda text: "On Sunday somebody wrote:\n" + textwrap.indent(text, "> ", lambda _: True),
        lambda text: textwrap.indent(text, "    "),
        lambda text: f"```xml\n{text}\n```",
        lambda text: f"~~~\n{text}\n~~~",
        numbered,
        lambda text: "\n".join(f"{n}: {line}" for n, line in enumerate(text.split("\n"), 17)),
        lambda text: text.replace(" ", "\u00a0"),
        lambda text: text.replace(" ", "\u202f"),
        lambda text: "\ufeff" + text.replace("<", "\u200b<").replace("vpn", "v\u00adpn"),
        lambda text: text.replace("-", "\u2011").replace('"', "\u201c"),
        lambda text: text.replace("\n", "\x1b[0m\r\n\x1b[1;32m").replace("\r", ""),
        lambda text: text.replace("\n", "<br>\n"),
        lambda text: "<pre><code>" + text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"),
        lambda text: text.replace(" ", "&nbsp;"),
        lambda text: re.sub(r"\n(?=<\w+>\n)", "\n- ", text),
        lambda text: re.sub(r"\n(?=<\w+>\n)", "\n\u25bc", text),
        lambda text: textwrap.indent(stamped(text, "[%H:%M:%S] "), "> ", lambda _: True),
        lambda text: stamped(numbered(text), "%Y-%m-%d %H:%M:%S "),
    ],
)
def test_what_pages_and_mails_add_goes(samples: list[str], added: Callable[[str], str]) -> None:
    for text in samples:
        lines = bare(clean(added(text)))
        start = next(place for place, line in enumerate(lines) if line == bare(text)[0])
        while lines and not lines[-1]:
            lines.pop()
        assert lines[start:] == bare(text)


PAGERS = [
    " --More-- " + "\b" * 9 + " " * 8 + "\b" * 9,
    " --More--" + "\b" * 9 + " " * 9 + "\b" * 9,
    " --More-- " + " " * 8,
    "--More--",
    "<--- More --->" + "\b" * 14 + " " * 14 + "\b" * 14,
    " \u2014More\u2014 ",
]


@pytest.mark.parametrize("pager", PAGERS)
@pytest.mark.parametrize("form", ["", "[%H:%M:%S.%f] "])
def test_pager_prompt_and_its_erasing_backspaces_are_removed(
    samples: list[str], pager: str, form: str
) -> None:
    for text in samples:
        lines = text.split("\n")
        paged = "\n".join(pager + line if place % 7 == 3 else line for place, line in enumerate(lines))
        cleaned = clean(stamped(paged, form))
        assert [line.strip() for line in cleaned.split("\n")] == [line.strip() for line in lines]
        if "\b" in pager:
            assert bare(cleaned) == bare(text)


def test_some_lines_with_a_stamp_before_other_stamps_are_refused(pki: Pki) -> None:
    """Dropped silently, such a line may be the one that names the phone."""
    text = cme(pki)
    expected = read_pasted(clean(text), "x")
    assert expected is not None
    twice = stamped(stamped(text, STAMPS["SecureCRT"]), STAMPS["SecureCRT"])
    refused = 0
    for first in range(0, text.count("\n"), 3):
        try:
            found = read_pasted(clean(stamped(twice, STAMPS["clock"], slice(first, first + 3))), "x")
        except ValueError:
            refused += 1
            continue
        assert found is not None
        assert found.problems or [cnf.device for cnf in found.cnf_files] == [
            cnf.device for cnf in expected.cnf_files
        ]
    assert refused


def test_what_a_diff_takes_out_stays_marked() -> None:
    for line in (
        "-<certHash2>fZ2xQHMBcWj/fSoNs5IkPbA2Pt8=</certHash2>",
        "- <url1>https://203.0.113.1/x</url1>",
    ):
        assert clean(f"<x>\n{line}\n</x>") == f"<x>\n{line}\n</x>"


def test_text_erased_with_backspace_at_a_prompt_is_ignored() -> None:
    typed = "R1(conf-vpn-group)#vpn-gateway 1 https://203.0.113.9" + "\b \b" * 11 + "192.0.2.1/x"
    assert clean(typed) == "R1(conf-vpn-group)#vpn-gateway 1 https://192.0.2.1/x"
    assert clean("ab\b\b\b\b\bxyz\b") == "xyz"


@given(st.data())
def test_hex_is_never_taken_for_a_stamp(data: st.DataObject) -> None:
    """Lines of digits and separators of fingerprints only, with and without stamps."""
    draw = random.Random(data.draw(st.integers()))
    mark = draw.choice(["", " ", ":", "-", "  "])
    step, length = draw.choice([(2, 20), (4, 32), (8, 40), (8, 64)])
    digits = "0123456789" if draw.random() < 0.5 else "0123456789ABCDEF"
    lines = []
    for _ in range(draw.randint(1, 12)):
        row = "".join(draw.choice(digits) for _ in range(length))
        lines.append(mark.join(row[at : at + step] for at in range(0, length, step)))
    text = "\n".join(lines)
    assert clean(text) == text
    form = draw.choice(list(STAMPS.values()))
    assert clean(stamped(text, form)) == text


@given(st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_wrapping_or_stamping_makes_another_hash(pki: Pki, data: st.DataObject) -> None:
    """With any stamps, wrapping and quoting, the result is the same, or a problem is reported."""
    text = cme(pki)
    expected = read_pasted(clean(text), "x")
    assert expected is not None
    lines = text.count("\n")
    layers: dict[str, Callable[[str], str]] = {
        "stamp": lambda text: stamped(text, data.draw(st.sampled_from(list(STAMPS.values())))),
        "half": lambda text: stamped(
            text,
            data.draw(st.sampled_from(list(STAMPS.values()))),
            slice(data.draw(st.integers(0, lines)), data.draw(st.integers(0, lines))),
        ),
        "wrap": lambda text: wrapped(text, data.draw(st.sampled_from([79, 80, 132]))),
        "quote": lambda text: textwrap.indent(text, "> ", lambda _: True),
        "number": numbered,
    }
    for layer in data.draw(st.lists(st.sampled_from(list(layers)), max_size=3)):
        text = layers[layer](text)
    try:
        found = read_pasted(clean(text), "x")
    except ValueError:
        return
    if found is None or found.problems:
        return  # None: a named file is then refused because it contains nothing relevant
    same = [
        (cnf.device, cnf.group and (cnf.group.hashes and cnf.group.hashes[0].value))
        for cnf in found.cnf_files
    ]
    assert same == [
        (cnf.device, cnf.group and (cnf.group.hashes and cnf.group.hashes[0].value))
        for cnf in expected.cnf_files
    ]


def test_half_a_text_with_stamps_is_refused(samples: list[str]) -> None:
    with pytest.raises(ValueError, match=r"^some lines have a time stamp in brackets and others do not"):
        clean(stamped(samples[0], "[%H:%M:%S] ", slice(20, 80)))


def test_what_a_device_logs_in_between_is_no_half_stamped_text(samples: list[str]) -> None:
    logged = "*Mar  1 10:00:00.123: %PARSER-5-CFGLOG_LOGGEDCMD: User:console  logged command:vpn-group 1 "
    text = samples[0].replace("\n!\n", f"\n{logged}\n!\n")
    assert bare(clean(text)) == bare(text)


@pytest.mark.parametrize(
    "line",
    [
        '3 D name="lte1" mac-address=00:00:5E:00:53:01 certificate none',
        "10:00:01 see the certificate chain and its Fingerprint",
        "[10:00:01] the phone's certHash1 is old",
    ],
)
def test_other_tables_and_chats_are_no_half_stamped_texts(samples: list[str], line: str) -> None:
    assert bare(clean(f"{samples[0]}{line}")) == [*bare(samples[0]), line]


def test_relevant_lines_both_quoted_and_unquoted_are_refused(samples: list[str]) -> None:
    quoted = textwrap.indent(samples[0], "> ", lambda _: True)
    with pytest.raises(ValueError, match=r"^relevant lines exist both with and without"):
        clean("Use this:\n vpn-trustpoint 1 trustpoint other leaf\n" + quoted)


def test_a_quoted_configuration_with_no_break_blanks_is_read(pki: Pki, tmp_path: Path) -> None:
    text = textwrap.indent(cme(pki).replace(" ", "\u00a0"), "> ", lambda _: True)
    (item,) = only(read_text(tmp_path, text)).group.hashes  # type: ignore[union-attr]
    assert item.value == pki.leaf.cert_hash


@pytest.mark.parametrize(
    "prompt",
    [
        *(
            "R1#",
            "R1>",
            "2811-CME(config)#",
            "Router (conf-vpn-group)#",
            "Router(conf-vpn-group)# ",
            "Router #",
        ),
        *("asa/pri/act(config-webvpn)#", "R1(ca-trustpoint)#", "R1(cs-server)#", "10-2-core.example.com#"),
    ],
)
def test_prompts(prompt: str) -> None:
    (line,) = read_lines(clean(f"{prompt}vpn-group 1"))
    assert (line.text, line.typed) == ("vpn-group 1", True)


@pytest.mark.parametrize(
    "piece", ["-", "\u2014", "<head>", "&amp;", "> ", "\x1b[", "\b", "<p ", "`", "[", "10:00:00 ", "1 "]
)
def test_hostile_texts_take_no_time(piece: str) -> None:
    start = time.process_time()
    clean(piece * (400_000 // len(piece)))
    clean((piece + "\n") * (200_000 // len(piece)))
    assert time.process_time() - start < 20  # seconds; a quadratic rule takes minutes
