"""Test the reading of phones' configurations in a text: fragments and terminal logs, whole and truncated."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.cnf.running_configs import read_text
from tests.cnf.test_cleaning import PAGERS, STAMPS, numbered, stamped, wrapped
from tests.cnf.test_phone_xml import sign
from tests.conftest import TOP

from certhash.certfile import NoCertificateError
from certhash.cnf import read_phone_xml
from certhash.cnf.cleaning import clean
from certhash.cnf.excerpts import read_excerpts
from certhash.cnf.read import read_source

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from certhash.model import CnfFile, Sources

ONE, TWO, THREE = "SEP00005E005312", "SEP00005E005314", "SEP00005E005311"
TAC = "fZ2xQHMBcWj/fSoNs5IkPbA2Pt8="
GROUP = f"""\
<vpnGroup> <enableHostIDCheck>0</enableHostIDCheck>
<addresses>
  <url1>https://203.0.113.20/SSLVPNphone</url1>
</addresses>
<credentials>
  <hashAlg>0</hashAlg>
  <certHash1>{TAC}</certHash1>
  <certHash2>1eD9l3VEI9DGWQGKlNBGE1bRhUg=</certHash2>
</credentials>
</vpnGroup>
"""


def sample(device: str) -> str:
    """Return a phone's file of the samples as text."""
    (path,) = (TOP / "captures/cnf").glob(f"{device}.cnf.xml*")
    data = path.read_bytes()
    return data[data.index(b"<device") :].decode()


def says(cnf: CnfFile) -> object:
    return cnf.device, cnf.group and (
        [(url.number, url.value) for url in cnf.group.urls],
        [(item.number, item.digest) for item in cnf.group.hashes],
        cnf.group.host_id_check,
    )


def expected(device: str) -> object:
    name = f"{device}.cnf.xml"
    return says(read_phone_xml(name, sample(device).encode(), name))


def shown(sources: Sources) -> list[object]:
    assert sources.problems == ()
    return [says(cnf) for cnf in sources.cnf_files]


# ---------------------------------------------------------------- fragments


@pytest.mark.parametrize(
    "text",
    [
        GROUP,
        "near the end of the file content:\n\n" + GROUP + "\n</device>\n",
        "<deviceProtocol>SCCP</deviceProtocol>\n" + GROUP + "</device>\n",
        "".join(GROUP.split("\n")),
        GROUP.replace("\n", "\r\n"),
        GROUP.replace("\n", "<br>\n").replace(" ", "&nbsp;"),
        "<p>So:</p><pre>" + GROUP.replace("<", "&lt;").replace(">", "&gt;") + "</pre>",
        "```xml\n" + GROUP + "```\n",
        "".join(f"> {line}\n" for line in GROUP.split("\n")),
        GROUP.replace("\n", "\n\u200b").replace(" ", "\u00a0"),
        stamped(GROUP, "[%Y-%m-%d %H:%M:%S.%f] "),
        GROUP.replace("<addresses>", "[Some Lines Omitted]\n<addresses>"),
        "<!-- <vpnGroup><credentials><certHash1>x</certHash1></credentials></vpnGroup> -->\n" + GROUP,
        GROUP + "\nand the same again\n" + "R1#\n" + GROUP,
        "This XML file does not appear to have any style information associated with it.\n- " + GROUP,
        "<html><body><div>" + GROUP.replace("<", "&lt;") + "</div></body></html>",
    ],
)
def test_a_vpn_group_by_itself(tmp_path: Path, text: str) -> None:
    for name in ("fragment.txt", f"{ONE}.cnf.xml", f"{ONE}.log"):
        sources = read_text(tmp_path, text, name)
        (cnf,) = sources.cnf_files
        assert cnf.device == (name if name == "fragment.txt" else ONE)
        assert cnf.group is not None
        assert [url.value for url in cnf.group.urls] == ["https://203.0.113.20/SSLVPNphone"]
        assert [item.value for item in cnf.group.hashes] == [TAC, "1eD9l3VEI9DGWQGKlNBGE1bRhUg="]
        assert cnf.group.host_id_check is False
        assert any("only the vpnGroup" in warning for warning in cnf.warnings)
        assert sources.problems == ()


def test_lines_of_a_fragment_are_those_of_the_text(tmp_path: Path) -> None:
    (cnf,) = read_text(tmp_path, "R1#\n\nit says\n" + GROUP, "log.txt").cnf_files
    assert cnf.group is not None
    assert [item.line for item in cnf.group.hashes] == [10, 11]


@pytest.mark.parametrize("cut", range(GROUP.index("<addresses>"), GROUP.index("</vpnGroup>") + 11, 7))
def test_a_fragment_that_ends_early_is_never_half_a_list(tmp_path: Path, cut: int) -> None:
    sources = read_text(tmp_path, GROUP[:cut])
    assert sources.cnf_files == ()
    assert sources.problems


def test_a_fragment_without_its_end_says_what_to_copy(tmp_path: Path) -> None:
    (problem,) = read_text(tmp_path, "x\n" + GROUP.replace("</vpnGroup>", "")).problems
    assert (
        problem.message == "line 2: the vpnGroup has no end: copy everything from <vpnGroup> to </vpnGroup>"
    )
    (problem,) = read_text(tmp_path, GROUP.partition("<credentials>")[2]).problems
    assert "a certHash is outside a vpnGroup" in problem.message
    (problem,) = read_text(tmp_path, GROUP.lower()).problems
    assert "<vpngroup> is not <vpnGroup>" in problem.message


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            f"  <certHash1>{TAC}</certHash1>\n",
            "[lines omitted]\n",
            '"[lines omitted]" is among the credentials',
        ),
        (f"  <certHash1>{TAC}</certHash1>\n", "...\n", "where lines may be missing"),
        ("</addresses>", "...</addresses>", "where lines may be missing"),
        (f"  <certHash1>{TAC}</certHash1>\n", f"- <certHash1>{TAC}</certHash1>\n", '"-" is among'),
        ("<addresses>", "-<mtu>1290</mtu>\n<addresses>", "as in a diff"),
        ("</vpnGroup>\n", "</vpnGroup> -->\n", "may be in a comment"),
        ("</certHash1>", "</certHash>", "it is damaged"),
        (
            "</vpnGroup>\n",
            "</vpnGroup>\n<vpnGroup><addresses><url1>https://b/</url1></addresses></vpnGroup>\n",
            "one of 2 vpnGroups",
        ),
        (
            "</addresses>",
            "<url1>https://203.0.113.21/</url1></addresses>",
            "occurs twice with different values",
        ),
    ],
)
def test_what_may_not_be_whole_is_refused(tmp_path: Path, old: str, new: str, words: str) -> None:
    assert old in GROUP
    (problem, *_) = read_text(tmp_path, GROUP.replace(old, new, 1)).problems
    assert words in problem.message


def test_of_two_vpn_groups_neither_is_taken(tmp_path: Path) -> None:
    other = GROUP.replace("<hashAlg>0", "<hashAlg>1")
    sources = read_text(tmp_path, f"{GROUP}\nand the other phone:\n{other}")
    assert sources.cnf_files == ()
    assert len(sources.problems) == 2


def test_a_vpn_group_that_is_quoted_twice_is_one(tmp_path: Path) -> None:
    sources = read_text(tmp_path, f"{GROUP}\nonce more:\n{GROUP}")
    assert len(sources.cnf_files) == 1
    assert sources.problems == ()


@pytest.mark.parametrize(
    "text",
    [
        "The phone's file has a <vpnGroup> element, which ends with </vpnGroup>.",
        "Set <certHash1> to the hash.",
        "<devices><row>nothing</row></devices>",
    ],
)
def test_a_text_about_fragments_says_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "notes.txt").write_text(text)
    (tmp_path / f"{ONE}.cnf.xml").write_text(sample(ONE))
    from certhash.cnf import read

    assert shown(read([str(tmp_path)])) == [expected(ONE)]


def test_a_document_of_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="its root element is <phones>"):
        read_source("phones.xml", f"<phones><device>{GROUP}</device></phones>".encode())


def test_a_sound_that_begins_like_utf_16_says_nothing() -> None:
    with pytest.raises(NoCertificateError):
        read_source("ring.raw", b"\xff\xfe\x00\xd8\x7f" * 99)


# ---------------------------------------------------------------- terminal logs

COMMANDS = [
    *(
        "R009-3945-1#more flash:/its/{}.cnf.xml",
        "R1#more system:/its/vrf1_{}.cnf.xml",
        "R1>show file flash:{}.cnf.xml",
    ),
    *(
        "$ cat {}.cnf.xml",
        "root@tftp:/srv/tftp# cat ./{}.cnf.xml",
        "tftp> get {}.cnf.xml",
        "C:\\tftp>type {}.cnf.xml",
    ),
    *(
        "admin:file view tftp {}.cnf.xml",
        "==> {}.cnf.xml <==",
        "{}.cnf.xml:",
        "PS C:\\t> Get-Content {}.cnf.xml",
    ),
    "[root@tftp tftp]# curl tftp://192.0.2.1/{}.cnf.xml",
    "$ curl -v http://192.0.2.1/{0}.cnf.xml\n> GET /{0}.cnf.xml HTTP/1.1\n> Host: x\n< HTTP/1.1 200 OK",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_names_the_phone(tmp_path: Path, command: str) -> None:
    log = "".join(
        f"{command.format(device)}\n<?xml version='1.0'?>\n{sample(device)}\n\nR1#show clock\n10:00:00 UTC\n"
        for device in (ONE, THREE)
    )
    assert shown(read_text(tmp_path, log, "log.txt")) == [expected(ONE), expected(THREE)]


def test_a_listing_names_no_phone(tmp_path: Path) -> None:
    listing = f"R1#dir flash:/its\n   12  -rw-   5120   Mar 1 2026 10:00:00 +00:00  {TWO}.cnf.xml\n\n"
    (cnf,) = read_text(tmp_path, listing + sample(ONE), "log.txt").cnf_files
    assert cnf.device == "log.txt"


def test_a_prompt_ends_what_a_command_shows(tmp_path: Path) -> None:
    log = f"R1#more flash:{TWO}.cnf.xml\n%Error opening flash:{TWO}.cnf.xml (No such file)\nR1#\n" + GROUP
    (cnf,) = read_text(tmp_path, log, "log.txt").cnf_files
    assert cnf.device == "log.txt"


@pytest.mark.parametrize("command", [f"$ cat {ONE}.cnf.xml {TWO}.cnf.xml", f"R1#more flash:{TWO}.cnf.xml"])
def test_two_names_for_one_file_are_refused(tmp_path: Path, command: str) -> None:
    (problem,) = read_text(tmp_path, f"{command}\n{sample(ONE)}", f"{ONE}.cnf.xml").problems
    assert f"different devices ({ONE} and {TWO})" in problem.message


@pytest.mark.parametrize("pager", PAGERS)
@pytest.mark.parametrize("columns", [79, 80, 132, 10_000])
def test_pagers_and_windows(tmp_path: Path, pager: str, columns: int) -> None:
    log = f"R1#more flash:/its/{ONE}.cnf.xml\n{sample(ONE)}\nR1#\n"
    lines = wrapped(log, columns).split("\n")
    paged = "\r\n".join(pager + line if place % 5 == 3 else line for place, line in enumerate(lines))
    assert shown(read_text(tmp_path, paged, "log.txt")) == [expected(ONE)]


def test_the_pager_within_a_tag_that_the_window_broke(tmp_path: Path) -> None:
    """An 80-column window may wrap a line with a URL and a hash at any place."""
    group = "".join(line.strip() for line in GROUP.split("\n"))
    for shift in range(0, 240, 7):
        text = f"R1#more flash:{ONE}.cnf.xml\n<device>{' ' * shift}{group}</device>\nR1#\n"
        for pager in PAGERS[:2]:
            (cnf,) = read_text(tmp_path, wrapped(text).replace("\n", "\n" + pager), "log.txt").cnf_files
            assert cnf.group is not None
            assert [url.value for url in cnf.group.urls] == ["https://203.0.113.20/SSLVPNphone"]
            assert [item.value for item in cnf.group.hashes] == [TAC, "1eD9l3VEI9DGWQGKlNBGE1bRhUg="]


def test_a_signed_file_shown_in_a_terminal(tmp_path: Path) -> None:
    data = sign(sample(ONE).encode(), f"{ONE}.cnf.xml.sgn")
    screen = "".join(chr(byte) if 31 < byte < 127 or byte == 10 else "." for byte in data)
    log = f"$ cat {ONE}.cnf.xml.sgn\n{screen}$ \n"
    sources = read_text(tmp_path, log, "log.txt")
    assert shown(sources) == [expected(ONE)]
    assert any("in binary mode" in warning for warning in sources.cnf_files[0].warnings)
    (problem,) = read_text(tmp_path, screen, f"{ONE}.cnf.xml.sgn").problems
    assert problem.message == "line 2: its signed header is lost: copy the file itself, in binary mode"
    torn = log.replace("</vpnGroup>", "</vpnGroup><x>")
    assert read_text(tmp_path, torn, "log.txt").cnf_files == ()


def test_a_log_of_files_and_of_a_configuration(tmp_path: Path) -> None:
    log = (
        "R1#show voice vpn\nThe Voice Service VPN Group 1 setting:\nVPN Gateway 1 URL https://192.0.2.1/x\n"
        "VPN Trustpoint hash in sha-1\nVPN Trustpoint 1 trustpoint cme root fbUqFIbtWtaYSGSlTP/Umshcgyk=\n"
        f"R1#more flash:{ONE}.cnf.xml\n{sample(ONE)}\nR1#"
    )
    devices = [cnf.device for cnf in read_text(tmp_path, log, "log.txt").cnf_files]
    assert devices == [ONE, "vpn-group 1"]


@given(st.data())
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_log_makes_up_or_halves_a_list(data: st.DataObject) -> None:
    """With any stamps, wrapping, paging, quoting or cut, the result is the phone's own list, or a refusal."""
    device = data.draw(st.sampled_from([ONE, THREE, TWO]))
    text = f"R1#more flash:/its/{device}.cnf.xml\n{sample(device)}\nR1#\n"
    layers: dict[str, Callable[[str], str]] = {
        "stamp": lambda text: stamped(text, data.draw(st.sampled_from(list(STAMPS.values())))),
        "wrap": lambda text: wrapped(text, data.draw(st.sampled_from([40, 79, 80, 132]))),
        "quote": lambda text: "".join(f"> {line}\n" for line in text.split("\n")),
        "number": numbered,
        "page": lambda text: text.replace("\n", "\n" + data.draw(st.sampled_from(PAGERS[:2]))),
        "cut": lambda text: text[: data.draw(st.integers(0, len(text)))],
        "lose": lambda text: "\n".join(
            line for line in text.split("\n") if data.draw(st.integers(0, 30)) or "vpn" in line.lower()
        ),
        "blanks": lambda text: text.replace(" ", "\u00a0"),
    }
    chosen = data.draw(st.lists(st.sampled_from(list(layers)), max_size=3))
    for layer in chosen:
        text = layers[layer](text)
    try:
        found = read_excerpts(clean(text), "log.txt")
    except ValueError:
        return
    for cnf in found.files if found else ():
        if cnf.group is None and "cut" not in chosen and "lose" not in chosen:
            assert says(cnf) == expected(device)
        elif cnf.group and "lose" not in chosen:
            assert says(cnf)[1] == expected(device)[1]  # type: ignore[index]


@pytest.mark.parametrize(
    "piece", ["<vpnGroup>", "<device>", "<device", "<url1>", "</vpnGroup>", "<!--", "R1#\n", "a" * 80 + "\n"]
)
def test_hostile_texts_take_no_time(piece: str) -> None:
    start = time.process_time()
    for text in (piece * (400_000 // len(piece)), ("x.cnf.xml" + piece) * (100_000 // len(piece))):
        read_excerpts("<device><vpnGroup><url1>" + text, "log.txt")
    assert time.process_time() - start < 20  # seconds; a quadratic rule takes minutes


def test_unreadable_configuration_lines_are_kept_beside_a_vpn_group() -> None:
    """What a damaged line of a configuration leaves open stays open if the text has a vpnGroup, too."""
    asa = (
        "interface GigabitEthernet0/0\n nameif outside\n ip address 203.0.113.20 255.255.255.0\n!\n"
        "ssl trust-point VPN outside\nwebvpn\n enable outside\n!\n"
    )
    sources = read_source("log.txt", f"{asa}{GROUP}".encode())
    assert [cnf.group is not None for cnf in sources.cnf_files] == [True]
    assert [item.line for item in sources.unsettled] == [5]
