"""Test that the plugin parses any file names, URLs and addresses like the companion."""

from __future__ import annotations

import ipaddress
import random
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from tests.plugin.machines import PLUGIN

from certhash.cnf import is_cnf_name
from certhash.cnf.names import device_of, is_copy
from certhash.headend import parse_url

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SCRIPT = Path(__file__).parent / "lua" / "names.lua"
MANY = 6000

NAME_PIECES = (
    *(
        "SEP001F6C81110E",
        "sep001f6c81110e",
        "SEP001F6C81110",
        "SEP001F6C81110EE",
        "SEP001F6C81110G",
        "XMLDefault",
    ),
    *(
        "XMLDefault7960",
        "vrf1_",
        "VRF12_",
        "vrf_",
        "flash:",
        "its/",
        "C:\\tftp\\",
        "/",
        "_",
        "-",
        " ",
        ".",
        "old",
        "1",
    ),
    *(
        ".cnf",
        ".xml",
        ".sgn",
        ".enc",
        ".cnf.xml",
        ".cnf.xml",
        ".cnf.xml.sgn",
        ".cnf.xml.enc.sgn",
        ".CNF.XML",
        ".txt",
        ".bak",
        "(1)",
        " (1)",
        "BAK_",
    ),
)
URL_PIECES = (
    *(
        "https://",
        "https://",
        "HTTPS://",
        "http://",
        "https:/",
        "//",
        "/",
        ":",
        "@",
        "[",
        "]",
        "?",
        "#",
        "\\",
        " ",
        "-",
    ),
    *(
        "203.0.113.1",
        "010.0.0.1",
        "256.1.1.1",
        "1.2.3",
        "[2001:DB8::1]",
        "[::ffff:10.1.1.1]",
        "[::1%eth0]",
        "[fe80::]",
    ),
    *(
        "vpn.example",
        "VPN.Example",
        ".",
        "..",
        "a_b",
        "-a",
        "a-",
        "x" * 63,
        "x" * 64,
        "1",
        "443",
        "0",
        "8443",
        "65535",
    ),
    *("65536", ":8443", ":", ":0443", "/SSLVPNphone", "/a?b=c#d"),
)
ADDRESS_PIECES = (
    "0",
    "1",
    "00",
    "db8",
    "2001",
    "ffff",
    "FFFF",
    "10.1.1.1",
    "256.0.0.1",
    ".",
    ":",
    "::",
    ":0:0:",
    "g",
    "%1",
)


def mixed(pieces: Sequence[str], longest: int) -> list[str]:
    choose = random.Random(116638)
    return ["".join(choose.choices(pieces, k=choose.randint(1, longest))) for _ in range(MANY)]


def differences(
    lua: str, folder: Path, kind: str, texts: list[str], says: Callable[[str], str | None]
) -> list[tuple[str, str, str | None]]:
    """Return the texts for which the results differ: text, plugin, companion."""
    given = folder / "texts"
    given.write_text("".join(f"{kind} {text.encode().hex()}\n" for text in texts))
    command: list[str | Path] = [lua, SCRIPT, PLUGIN / "certhash", given]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    expected = [says(text) or "none" for text in texts]
    assert sum(each != "none" for each in expected) > MANY / 100
    shown = done.stdout.splitlines()
    return [each for each in zip(texts, shown, expected, strict=True) if each[1] != each[2]]


def test_devices(lua: str, tmp_path: Path) -> None:
    """If only one of the two recognised a phone's file, only that one would judge it."""

    def says(name: str) -> str | None:
        return device_of(name) if is_cnf_name(name) else None

    assert not differences(lua, tmp_path, "device", mixed(NAME_PIECES, 5), says)


def test_copies(lua: str, tmp_path: Path) -> None:
    """Both skip and count the copies in a folder."""

    def says(name: str) -> str | None:
        return "copy" if is_copy(name) else None

    assert not differences(lua, tmp_path, "copy", mixed(NAME_PIECES, 5), says)


def test_urls(lua: str, tmp_path: Path) -> None:
    def says(url: str) -> str | None:
        try:
            head_end = parse_url(url)
        except ValueError:
            return None
        return f"{head_end.host} {head_end.port} {'address' if head_end.is_address else 'name'}"

    urls = [*(f"https://{text}" for text in mixed(URL_PIECES, 4)), *mixed(URL_PIECES, 5)]
    assert not differences(lua, tmp_path, "url", urls, says)


def test_addresses(lua: str, tmp_path: Path) -> None:
    def says(text: str) -> str | None:
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            return None
        mapped = getattr(address, "ipv4_mapped", None)
        return str(mapped or address) if "%" not in text else None

    choose = random.Random(116638)
    packed = [choose.choices([0, 0, 1, 255, 0xFFFF, 0xDB8], k=8) for _ in range(MANY)]
    written = [":".join(f"{group:x}" for group in groups) for groups in packed]
    assert not differences(lua, tmp_path, "address", [*written, *mixed(ADDRESS_PIECES, 9)], says)
