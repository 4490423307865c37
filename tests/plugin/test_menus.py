"""Test the text and the actions of the menus, with real verdicts and without a window."""

from __future__ import annotations

import subprocess
from collections import defaultdict
from pathlib import Path

from tests.plugin.machines import PLUGIN

SCRIPT = Path(__file__).parent / "lua" / "menus.lua"
ONE, TWO, THREE = (
    "AQEBAQEBAQEBAQEBAQEBAQEBAQE=",
    "AgICAgICAgICAgICAgICAgICAgI=",
    "AwMDAwMDAwMDAwMDAwMDAwMDAwM=",
)


def said(lua: str, saved: Path, given: str = "") -> dict[str, list[str]]:
    """Use every menu once; return the texts shown, copied and so on."""
    done = subprocess.run(
        [lua, SCRIPT, PLUGIN / "certhash", saved, given], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = defaultdict(list)
    for line in done.stdout.splitlines():
        kind, _, text = line.partition("|")
        found[kind].append(text)
    return found


def test_overview(lua: str, tmp_path: Path) -> None:
    shown = said(lua, tmp_path / "saved")
    text = "\n".join(shown["TEXT"])
    rows = [line.split() for line in shown["TEXT"][:9]]
    assert rows[:2] == [["VERDICT", "FRAME", "SEEN", "REJECTED", "HEAD-END"], ["CERTHASH"]]
    assert rows[2:8] == [
        ["mismatch", "30", "2", "2", "203.0.113.2:443"],
        [TWO],
        ["match", "20", "1", "0", "203.0.113.1:443"],
        [ONE],
        ["unlisted", "10", "1", "0", "203.0.113.3:443", "vpn.example"],
        [THREE],
    ]
    assert (
        max(map(len, shown["TEXT"])) <= 70
    )  # Wireshark 4.0's window wraps lines of 76 characters, even within a hash
    assert f"  mismatch: SEP000000000002 expects {ONE}, but\n    203.0.113.2:443 presents {TWO}\n" in text
    assert "match: certHash1 of SEP000000000001 matches certificate 0" in text
    assert (tmp_path / "saved").read_text() in text + "\n"
    assert "Known cnf files: 2; cnf folder: /cnf." in text
    again = [
        line.split()[1] for line in shown["TEXT"] if line.startswith(("mismatch ", "match ", "unlisted "))
    ]
    assert again == ["30", "20", "10", "10", "20", "30"]  # and after "Change order"


def test_equal_findings_are_shown_once_with_all_their_phones(lua: str, tmp_path: Path) -> None:
    text = "\n".join(said(lua, tmp_path / "saved", "shared")["TEXT"])
    first = text[: text.index("VERDICT", 10)]  # the text is shown again in another order
    assert first.count("mismatch: ") == 1
    assert "203.0.113.2:443, first in frame 30\n203.0.113.2:443 vpn.example, first in frame 40\n" in first
    finding = first[first.index("mismatch: ") : first.index("certificate 0: ")]
    phones = " ".join(finding[finding.index("phones: ") :].split())
    assert phones == "phones: " + ", ".join(f"SEP00000000000{number}" for number in range(2, 7))


def test_lines_to_copy(lua: str, tmp_path: Path) -> None:
    assert said(lua, tmp_path / "saved")["COPY"][:3] == [
        f"<certHash1>{TWO}</certHash1>",
        f"<certHash2>{ONE}</certHash2>",
        f"<certHash3>{THREE}</certHash3>",
    ]


def test_packet_menu(lua: str, tmp_path: Path) -> None:
    shown = said(lua, tmp_path / "saved")
    assert shown["COPY"][3:] == ["AQEBAQ==", "01010101"]
    assert shown["FILTER"] == ['certhash.sha1 == "AQEBAQ=="']
    assert shown["ASKED"] == ["certhash.sha1", "certhash.thumbprint", "certhash.sha1"]
    assert "Copy Base64" not in said(lua, tmp_path / "saved", "old")["MENUS"][0]


def test_what_goes_wrong_is_said_in_a_dialog(lua: str, tmp_path: Path) -> None:
    assert "it is empty" in "".join(said(lua, tmp_path / "saved", "broken")["FAIL"])
    assert "Problems:" in said(lua, tmp_path / "saved", "broken")["TEXT"]
    assert "no cnf folder is set" in "".join(said(lua, tmp_path / "saved", "unset")["FAIL"])
    assert "shows no server certificate" in "".join(said(lua, tmp_path / "saved", "nothing")["FAIL"]).lower()
    assert "This capture shows no server certificate." in said(lua, tmp_path / "saved", "nothing")["TEXT"][0]
    assert "cannot/be" in "".join(said(lua, tmp_path / "cannot" / "be")["FAIL"])
