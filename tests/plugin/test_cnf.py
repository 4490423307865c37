"""Test that the plugin reads phone files like the Python companion, both whole and damaged ones."""

from __future__ import annotations

import base64
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.cnf.test_cleaning import stamped, wrapped
from tests.plugin.conftest import missing
from tests.plugin.machines import PLUGIN, TOP
from tests.plugin.mutants import mutants

from certhash.cnf import read_phone_xml
from certhash.cnf.read import read_source
from certhash.headend import parse_url

if TYPE_CHECKING:
    from tests.harness.once import Once

    from certhash.model import CnfFile

SCRIPT = Path(__file__).parent / "lua" / "read_cnf.lua"
ONE, TWO = "fZ2xQHMBcWj/fSoNs5IkPbA2Pt8=", "1eD9l3VEI9DGWQGKlNBGE1bRhUg="
GROUP = (
    "<vpnGroup><mtu>1290</mtu><addresses><url1>https://203.0.113.1/x</url1></addresses>"
    f"<credentials><hashAlg>0</hashAlg><certHash1>{ONE}</certHash1></credentials></vpnGroup>"
)
NAME = "SEP001F6C81110E.cnf.xml"


def device(*parts: str) -> bytes:
    return ("<device>" + "".join(parts) + "</device>\n").encode()


def header(payload: bytes, *fields: bytes, version: int = 1) -> bytes:
    """Prepend the header of a signed file to a payload."""
    start = b"\x01\0\x02" + bytes([version, 0])
    rest = b"".join(fields)
    length = len(start) + 5 + len(rest)
    return start + b"\x02\0\x02" + length.to_bytes(2, "big") + rest + payload


FOLDERS = ("captures/cnf", "tests/captures/cnf", "tests/captures/forms")
NAMED = b"\x0e\0\x18SEP001F6C81110E.cnf.xml\0"
FILES: dict[str, bytes] = {
    "plain": device(GROUP),
    "xsi not declared": b'<?xml version="1.0" encoding="UTF-8"?>\n<device  xsi:type="axl:XIPPhone">'
    + GROUP.encode()
    + b"</device>",
    "misspelled tag": device("<dateTemplate>M/D/YA</dateTempliate>", GROUP),
    "tag that is not closed": device("<TVS><port>2445</port><TVS>", GROUP),
    "stray bracket": device("<name>>us.pool.ntp.org</name>", GROUP),
    "in a comment": device("<!-- ", GROUP, " -->"),
    "comment within": device(
        GROUP.replace("<certHash1>", f"<!-- <certHash2>{TWO}</certHash2> --><certHash1>")
    ),
    "no group": device("<fullConfig>true</fullConfig><certHash>00112233445566778899aabbccddeeff</certHash>"),
    "other certHash": device("<certHash>00112233445566778899aabbccddeeff</certHash>", GROUP),
    "stub of an encrypted file": device("<fullConfig>false</fullConfig><encrConfig>true</encrConfig>"),
    "not its child": device("<other>", GROUP, "</other>"),
    "empty group": device("<vpnGroup/>"),
    "stub in capitals": device("<fullConfig>FALSE</fullConfig>"),
    "damaged stub in capitals": device("<fullConfig>FALSE</fullConfig><a>"),
    "root in small letters": b"<default><a>b</a></default>",
    "root in small letters, with a group": b"<Device>" + GROUP.encode() + b"</Device>",
    "damaged root in small letters": b"<default><a></default>",
    "host-ID check twice": device(
        GROUP.replace("<mtu>", "<enableHostIDCheck>0</enableHostIDCheck>" * 2 + "<mtu>")
    ),
    "host-ID check twice, otherwise": device(
        GROUP.replace(
            "<mtu>", "<enableHostIDCheck>0</enableHostIDCheck><enableHostIDCheck>1</enableHostIDCheck><mtu>"
        )
    ),
    "lines left out among the hashes": device(GROUP.replace("<hashAlg>", "[lines omitted]<hashAlg>")),
    "dots among the URLs": device(GROUP.replace("<url1>", "...<url1>")),
    "no-break blank among the hashes": device(GROUP.replace("<hashAlg>", "\u00a0<hashAlg>")),
    "lines left out in the group": device(GROUP.replace("<mtu>", "[lines omitted]<mtu>")),
    "diff": device(GROUP.replace("<certHash1>", "\n-<certHash1>")),
    "diff in the group": device(GROUP.replace("<mtu>", "\n-<mtu>")),
    "hashAlg twice": device(GROUP.replace("<hashAlg>", "<hashAlg>1</hashAlg><hashAlg>")),
    "backslash in a URL": device(GROUP.replace("203.0.113.1/", "good\\@evil/")),
    "group without anything": device("<vpnGroup></vpnGroup>"),
    "three URLs, ten hashes": device(
        "<vpnGroup><addresses>",
        *(f"<url{i}>https://vpn{i}.example:844{i}/x</url{i}>" for i in range(1, 4)),
        "</addresses><credentials>",
        *(f"<certHash{i}>{ONE if i % 2 else TWO}</certHash{i}>" for i in range(1, 11)),
        "</credentials></vpnGroup>",
    ),
    "more than a phone takes": device(
        GROUP.replace("</addresses>", "<url4>https://a.example/</url4></addresses>").replace(
            "</credentials>", f"<certHash11>{TWO}</certHash11><certHash0>{TWO}</certHash0></credentials>"
        )
    ),
    "URL without a number": device(GROUP.replace("url1>", "url>")),
    "outside of its parent": device(GROUP.replace("</vpnGroup>", f"<certHash2>{TWO}</certHash2></vpnGroup>")),
    "entities": device(GROUP.replace("/x<", "/x?a=1&amp;b=&#50;&#x33;<")),
    "bare ampersand": device(GROUP.replace("/x<", "/x?a=1&b=2<")),
    "CDATA": device(GROUP.replace(ONE, f"<![CDATA[{ONE}]]>")),
    "blanks": device(GROUP.replace(ONE, f"\r\n  {ONE[:9]}\n{ONE[9:]}\t").replace("https:", "\n https:")),
    "padding missing": device(GROUP.replace(ONE, ONE[:-1])),
    "no hash": device(GROUP.replace(ONE, "")),
    "hex hash": device(GROUP.replace(ONE, "7d9db1407301716 8ff7d2a0db392243db0363edf")),
    "hash of another length": device(GROUP.replace(ONE, "AAAA")),
    "SHA-256": device(GROUP.replace(ONE, "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=")),
    **{
        f"hash of {size} bytes": device(GROUP.replace(ONE, base64.b64encode(bytes(range(size))).decode()))
        for size in (16, 19, 20, 21, 28, 32, 48, 64, 65)
    },
    "SHA-512 and SHA-1": device(
        GROUP.replace("</certHash1>", f"</certHash1><certHash2>{'A' * 86}</certHash2>")
    ),
    "hashAlg 1": device(GROUP.replace("<hashAlg>0", "<hashAlg>1")),
    "other URLs": device(GROUP.replace("203.0.113.1", "[2001:DB8::1]:8443")),
    "http URL": device(GROUP.replace("https://203", "http://203")),
    "two groups": device(GROUP, GROUP),
    "twice with another value": device(
        GROUP.replace("</credentials>", f"<certHash1>{TWO}</certHash1></credentials>")
    ),
    "two lists of hashes": device(
        GROUP.replace("</vpnGroup>", f"<credentials><certHash2>{TWO}</certHash2></credentials></vpnGroup>")
    ),
    "two lists of URLs": device(GROUP.replace("<addresses>", "<addresses><url2/></addresses><addresses>")),
    "a second list with nothing in it": device(GROUP.replace("</vpnGroup>", "<credentials/></vpnGroup>")),
    "twice the same": device(GROUP.replace("</credentials>", f"<certHash1>{ONE}</certHash1></credentials>")),
    "cut in the group": device(GROUP)[:150],
    "cut before the group": device("<a>1</a>" * 20, GROUP)[:100],
    "BOM": b"\xef\xbb\xbf" + device(GROUP),
    "UTF-16": device(GROUP).decode().encode("utf-16"),
    "UTF-16 without BOM": device(GROUP).decode().encode("utf-16-le"),
    "NULs at the end": device(GROUP) + b"\0\0\0",
    "carriage returns at the end": device(GROUP) + b"\r\r",
    "Latin-1": device("<name>K\xfcche</name>", GROUP).decode().encode("latin-1"),
    "blank before the declaration": b"\n<?xml version='1.0'?>" + device(GROUP),
    "document type": b'<!DOCTYPE device [<!ENTITY a "b">]>' + device(GROUP),
    "other root": b"<html>" + GROUP.encode() + b"</html>",
    "default": b"<Default>" + GROUP.encode() + b"</Default>",
    "empty": b"",
    "blanks only": b" \r\n\0",
    "no XML": b"GIF89a",
    "signed": header(device(GROUP), NAMED, b"\x0d\x0d"),
    "encrypted": header(b"\x99" * 64, NAMED, version=2),
    "encrypted by its fields": header(b"\x99" * 64, NAMED, b"\x10\0\x02\0\0"),
    "signed, cut": header(device(GROUP), NAMED)[:20],
    "signed, damaged": b"\x01\0\x02\1\0\x07\0\2\0\x0a" + device(GROUP),
    "signed, field too long": header(device(GROUP), b"\x0e\x7f\xff"),
}
NAMES = [
    NAME,
    NAME.lower(),
    "vrf1_" + NAME,
    "SEP001F6C81110E.cnf.xml.sgn",
    "SEP001F6C81110E.cnf.xml.enc.sgn",
    "XMLDefault.cnf.xml",
    "XMLDefault7960.cnf.xml",
    "ATA001122334455.cnf.xml",
]


def ascii_hex(text: str) -> str:
    """Return a text's bytes in hex, with ? for non-ASCII characters, which the plugin does not decode."""
    return re.sub(r"[^\x00-\x7f]+", "?", text).encode().hex()


def python_says(name: str, data: bytes) -> list[str]:
    """Return how the companion reads a file, in the format of the Lua script."""
    try:
        return cells_of(read_phone_xml(name, data, name))
    except ValueError:
        return ["PROBLEM"]


def cells_of(file: CnfFile) -> list[str]:
    cells = ["FILE", file.device, file.kind, "group" if file.group else "none"]
    if file.group is None:
        return cells
    cells.append(ascii_hex(file.group.hash_algorithm or ""))
    cells.append({True: "1", False: "0", None: ""}[file.group.host_id_check])
    for url in file.group.urls:
        try:
            head_end = parse_url(url.value)
            where = f"{head_end.host} {head_end.port}"
        except ValueError:
            where = ""
        if not url.value.isascii():
            where = "?"
        cells.append(f"url{url.number}={ascii_hex(url.value)}={where.encode().hex()}")
    cells += [f"hash{one.number}={ascii_hex(one.value)}={one.digest.hex()}" for one in file.group.hashes]
    return cells


def lua_says(lua: str, folder: Path, files: list[tuple[str, bytes]], *options: str) -> list[list[str]]:
    """Return how the plugin reads files."""
    listed = []
    for number, (name, data) in enumerate(files):
        path = folder / str(number) / name
        path.parent.mkdir(parents=True)
        path.write_bytes(data)
        listed.append(f"{path}\n")
    (folder / "list").write_text("".join(listed))
    done = subprocess.run(
        [lua, SCRIPT, PLUGIN / "certhash", folder / "list", *options],
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = [line.split("\t") for line in done.stdout.split("\n")[:-1]]
    for row in rows:
        if row[0] == "PROBLEM":
            assert row[1]
            del row[1:]
        elif row[3] == "none":
            del row[4:]
    return rows


def test_files_of_the_field(lua: str, tmp_path: Path) -> None:
    """Files damaged as in public samples, and every form of a file."""
    said = lua_says(lua, tmp_path, [(NAME, data) for data in FILES.values()])
    assert len(said) == len(FILES)
    different = {
        kind: (row, expected)
        for (kind, data), row in zip(FILES.items(), said, strict=True)
        if row != (expected := python_says(NAME, data))
    }
    assert not different


def companion_says(name: str, data: bytes) -> list[str]:
    """Return how the companion reads a file that may be an excerpt."""
    try:
        sources = read_source(name, data)
    except ValueError:
        return ["PROBLEM"]
    if len(sources.cnf_files) != 1 or any("line " in problem.message for problem in sources.problems):
        return ["PROBLEM"]
    return cells_of(sources.cnf_files[0])


LINES = GROUP.replace("><", ">\n<")
WHOLE = f"<device>\n<deviceProtocol>SCCP</deviceProtocol>\n{LINES}\n</device>\n"
COMMAND = f"R009-3945-1#more flash:/its/{NAME}\n"
PAGER = " --More-- " + "\b" * 9 + " " * 8 + "\b" * 9

READ_BY_BOTH = {
    "fragment": LINES,
    "fragment on one line": GROUP,
    "fragment with text around": f"It says:\n{LINES}\nat its end",
    "end of a file": f"<a>b</a>\n{LINES}\n</device>\n",
    "fragment with its end left out above": LINES.replace("<mtu>", "[Some Lines Omitted]\n<mtu>"),
    "log": f"{COMMAND}{WHOLE}\nR009-3945-1#",
    "log with CR LF": f"{COMMAND}{WHOLE}\nR009-3945-1#".replace("\n", "\r\n"),
    "log with a pager": COMMAND + WHOLE.replace("\n<credentials>", f"\n{PAGER}<credentials>") + "R1#",
    "log with a pager without backspaces": COMMAND + WHOLE.replace("\n<cred", "\n --More-- <cred") + "R1#",
    "log of an ASA's pager": COMMAND
    + WHOLE.replace("\n<cred", "\n<--- More --->\r              \r<cred")
    + "R1#",
    "log with colours": COMMAND + WHOLE.replace("<hashAlg>", "\x1b[31m<hashAlg>\x1b[0m"),
    "log that is wrapped": COMMAND + wrapped(f"<device>{GROUP}</device>") + "\nR1#",
    "log that is wrapped and paged": COMMAND
    + wrapped(f"<device>{GROUP}</device>").replace("\n", f"\n{PAGER}"),
    "log cut after the group": COMMAND + WHOLE.partition("</device>")[0],
    "log with a declaration": f'{COMMAND}<?xml version="1.0"?>\n{WHOLE}R1#',
    "log of a file without a group": f"{COMMAND}<device>\n<a>b</a>\n</device>\nR1#",
    "log of a stub": f"{COMMAND}<device>\n<fullConfig>false</fullConfig>\n</device>\nR1#",
}
REFUSED_BY_BOTH = {
    "fragment without its end": LINES.replace("</vpnGroup>", ""),
    "fragment without its beginning": LINES.replace("<vpnGroup>", ""),
    "fragment with a gap among the hashes": LINES.replace("<hashAlg>", "...\n<hashAlg>"),
    "fragment with a gap among the URLs": LINES.replace("<url1>", "...\n<url1>"),
    "fragment in a comment that begins above": LINES + "-->",
    "two fragments": LINES + LINES.replace(ONE, TWO),
    "log cut within the group": COMMAND + WHOLE.partition("</credentials>")[0],
    "log cut before the group": COMMAND + WHOLE.partition("<vpnGroup>")[0],
    "log of another phone": COMMAND.replace("110E", "110F") + WHOLE,
    "document of another kind": f"<phones>{WHOLE}</phones>",
    "nothing": "R1#show clock",
}
"""Texts of files with the name of a phone's file."""
READ_BY_THE_COMPANION = {
    "stamps": stamped(COMMAND + WHOLE, "[%H:%M:%S] "),
    "quote": "".join(f"> {line}\n" for line in LINES.split("\n")),
    "escaped": LINES.replace("<", "&lt;"),
    "no-break blanks": LINES.replace("\n", "\n\u00a0"),
    "listing above": f"R1#dir\n 12 -rw- 5120 SEP001F6C81110F.cnf.xml\n{COMMAND}{WHOLE}",
}


def test_excerpts_are_read_alike(lua: str, tmp_path: Path) -> None:
    """The plugin reads a terminal's log like the companion, or refuses it."""
    texts = {**READ_BY_BOTH, **REFUSED_BY_BOTH, **READ_BY_THE_COMPANION}
    files = [(NAME, text.encode()) for text in texts.values()]
    said = dict(zip(texts, lua_says(lua, tmp_path, files, "excerpts"), strict=True))
    wanted = {kind: companion_says(NAME, text.encode()) for kind, text in texts.items()}
    assert {kind for kind in texts if wanted[kind] == ["PROBLEM"]} == set(REFUSED_BY_BOTH)
    assert {kind: said[kind] for kind in READ_BY_BOTH} == {kind: wanted[kind] for kind in READ_BY_BOTH}
    refused = {kind for kind in texts if said[kind] == ["PROBLEM"]}
    assert refused >= set(REFUSED_BY_BOTH)
    assert all(said[kind] == wanted[kind] for kind in set(texts) - refused)


def judged(row: list[str]) -> list[str]:
    """Return what a verdict depends on: hosts, ports and digests; nothing without a vpnGroup."""
    return [re.sub(r"=[0-9a-f]*=", "=", cell) for cell in row if re.match(r"(?:url|hash)\d+=", cell)]


def test_damaged_excerpts_are_read_alike_or_refused(lua: str, tmp_path: Path, once: Once) -> None:
    damaged = mutants([text.encode() for text in READ_BY_BOTH.values()], 1500)
    expected = once(lambda: [companion_says(NAME, data) for data in damaged], "damaged excerpts")
    said = lua_says(lua, tmp_path, [(NAME, data) for data in damaged], "excerpts")
    assert sum(row[0] == "FILE" and row[3] == "group" for row in said) > 200
    different = [
        (data, row, wanted)
        for data, row, wanted in zip(damaged, said, expected, strict=True)
        if row != ["PROBLEM"] and judged(row) != judged(wanted)
    ]
    assert not different


TORN = [
    GROUP.replace("</certHash1>", ""),
    GROUP.replace("</certHash1>", "</certHash2>"),
    GROUP.replace("</credentials>", ""),
    GROUP.replace("</url1>", ""),
    GROUP.replace("<certHash1>", "<certH<url1>ash1>"),
    GROUP.replace("</addresses>", "").replace("<hashAlg>", "</addresses><hashAlg>"),
    GROUP.replace("<certHash1>", "<certHash1<certHash1>"),
    GROUP.replace("<certHash1>", "<certHash1>\0"),
    GROUP.replace(ONE, f"{ONE[:9]}<certHash2/>{ONE[9:]}"),
    GROUP.replace("<vpnGroup>", ""),
    GROUP.replace("</vpnGroup>", ""),
]


def test_torn_lists_are_refused(lua: str, tmp_path: Path) -> None:
    """An incomplete list of hashes would cause a false mismatch, and a lost vpnGroup a false "none"."""
    files = [(NAME, device(group)) for group in TORN]
    assert [python_says(*file) for file in files] == [["PROBLEM"]] * len(TORN)
    assert lua_says(lua, tmp_path, files) == [["PROBLEM"]] * len(TORN)


def test_damaged_files_are_read_alike(lua: str, tmp_path: Path, once: Once) -> None:
    """Both readers read files with changed bytes and misplaced tags alike, or both refuse them."""
    samples = [data for data in FILES.values() if data.strip(b"\0 \r\n")] + [
        path.read_bytes() for folder in FOLDERS for path in sorted((TOP / folder).iterdir())
    ]
    damaged = mutants(samples, 2000)
    expected = once(lambda: [python_says(NAME, data) for data in damaged], "damaged files")
    assert sum(row[0] == "FILE" and row[3] == "group" for row in expected) > 200
    said = lua_says(lua, tmp_path, [(NAME, data) for data in damaged])
    different = [
        (data, row, wanted)
        for data, row, wanted in zip(damaged, said, expected, strict=True)
        if row != wanted
    ]
    assert not different


def test_names(lua: str, tmp_path: Path) -> None:
    said = lua_says(lua, tmp_path, [(name, device(GROUP)) for name in NAMES])
    assert said == [python_says(name, device(GROUP)) for name in NAMES]


def test_sample_files(lua: str, tmp_path: Path) -> None:
    files = [
        (path.name, path.read_bytes())
        for folder in FOLDERS
        for path in sorted((TOP / folder).iterdir())
        if path.suffix != ".pem"
    ]
    assert len(files) > 50
    assert lua_says(lua, tmp_path, files) == [python_says(name, data) for name, data in files]


# Starts without an end, and texts that take long to search.
PIECES = ["<?xml ", "<!--", "<!-- -->", "<vpnGroup>", "<vpnGroup ", "</vpnGroup ", " ", "\0", "<?", "<a "]
MORE_PIECES = ["</a> ", "]]>", "&", "<certHash1>", "<![CDATA[", "<url1>x</url1>", "<url1/>", "a", "<", ">"]


@pytest.mark.parametrize("piece", [*PIECES, *MORE_PIECES])
def test_hostile_files_take_no_time(tmp_path: Path, piece: str) -> None:
    """Of anything, 300,000 bytes are read or refused quickly: the script is stopped after ten seconds.

    A search whose time grows with the square of the size would take minutes. One interpreter tells it: how
    long a search takes depends on its patterns, and all search alike.
    """
    size = 300_000
    body = piece * (size // len(piece))
    files = [
        body,
        "<device>" + body,
        "<device>" + body + "</device>",
        "<device><vpnGroup><addresses><url1>" + body + "x</url1></addresses></vpnGroup></device>",
        "<device><vpnGroup><credentials>" + body + "</credentials></vpnGroup></device>",
        "<device><vpnGroup><addresses><url1>https://" + body + "/</url1></addresses></vpnGroup></device>",
    ]
    missing("lua5.2", "lua5.2")
    lua_says("lua5.2", tmp_path, [(NAME, text.encode()) for text in files])
