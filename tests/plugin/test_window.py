"""Test a real Wireshark window: columns, following a link, the menus, and a start without errors."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.harness import wiresharks
from tests.harness.waiting import until
from tests.plugin.machines import PLUGIN, TOP, Machine, machine
from tests.plugin.screen import Screen, insist, wireshark

from certhash.commands import plugin_install

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from tests.plugin.screen import Window

# The sample capture of a mismatch, as it was recorded, and the cnf file that belongs to it.
BOOK = json.loads((TOP / "captures" / "expected.json").read_text("utf-8"))
(ENTRY,) = [entry for entry in BOOK["captures"] if entry["path"] == "mismatch.pcapng"]
HASH = ENTRY["handshakes"][0]["certificates"][0]["sha1"]
(DEVICE,) = ENTRY["handshakes"][0]["devices"]
CNF = (TOP / "captures" / "cnf" / f"{DEVICE}.cnf.xml").read_text("utf-8")
EXPECTED = CNF.partition("<certHash1>")[2].partition("<")[0]
CERTIFICATE, ALERT = 8, 10
# The entries of Tools > certhash.
OVERVIEW, COPY, RELOAD = range(3)


@pytest.fixture(scope="module")
def screen() -> Iterator[Screen]:
    with Screen() as made:
        yield made


@pytest.fixture(scope="module")
def desk(place: Machine) -> Iterator[Machine]:
    """A home with the plugin and the profile installed, as ``certhash plugin install`` does it."""
    place = machine(place.name, place.programs)
    assert place.run("sh", "-c", "command -v wireshark").returncode == 0, "apt-get install wireshark"
    said = place.run("tshark", "-G", "folders").stdout
    folders = dict(re.findall(r"^([A-Z][A-Za-z ]+):\s+(.*)$", said, re.MULTILINE))
    there = plugin_install.Wireshark(
        command=("tshark",),
        version="4.0",
        plugins=Path(folders["Personal Lua Plugins"]),
        configuration=Path(folders["Personal configuration"]),
        copies=(),
        complaint=None,
    )
    plugin_install.install(there, PLUGIN, "0.1.0")
    for path in [place.home, *place.home.rglob("*")]:
        path.chmod(0o777 if path.is_dir() else 0o666)
    for path in (TOP / "captures" / "cnf").iterdir():
        place.put(f"cnf/{path.name}", path.read_bytes())
    place.put("mismatch.pcapng", (TOP / "captures" / "mismatch.pcapng").read_bytes())
    yield place
    shutil.rmtree(place.folder, ignore_errors=True)


def picture(screen: Screen, desk: Machine, name: str, tmp_path: Path) -> Path:
    """Take a screenshot, into $CERTHASH_SCREENSHOTS where that is set."""
    folder = Path(os.environ.get("CERTHASH_SCREENSHOTS", tmp_path))
    path = folder / f"{desk.name}-{name}.png"
    screen.picture(path)
    assert path.stat().st_size > 10_000  # an empty screen has some hundred bytes
    return path


def opened(
    desk: Machine, screen: Screen, *options: str, folder: Path | None = None
) -> AbstractContextManager[Window]:
    """Open the sample capture of a mismatch, with the folder of cnf files set."""
    folder = folder or desk.folder / "cnf"
    capture = desk.folder / "mismatch.pcapng"
    return wireshark(desk, screen, capture, "-o", f"certhash.cnf_directory:{folder}", *options)


def test_columns_and_the_jumps_along_the_links(desk: Machine, screen: Screen, tmp_path: Path) -> None:
    with opened(desk, screen) as window:
        assert list(screen.windows().values()) == ["mismatch.pcapng"]  # no dialog
        window.select(CERTIFICATE)
        row = window.row()
        assert row[5:8] == ["mismatch", HASH, DEVICE]
        assert row[8].endswith("[certhash: mismatch]")
        window.select(1)
        assert window.row()[5:8] == ["", "", ""]
        window.select(ALERT)
        assert window.row()[5:8] == ["mismatch", "", DEVICE]
        # Below our item of the tree stand the story, then the link.
        shot = partial(picture, screen, desk, "alert", tmp_path)
        window.jump(ALERT, "Down", "Down", to=CERTIFICATE, before=shot)
        assert window.row()[5:8] == ["mismatch", HASH, DEVICE]
        picture(screen, desk, "certificate", tmp_path)
        # Below the certificate's item stand the verdict, the story, then the link back.
        window.jump(CERTIFICATE, "Down", "Down", "Down", to=ALERT)


def test_display_filter(desk: Machine, screen: Screen) -> None:
    with opened(desk, screen, "-Y", 'certhash.verdict == "mismatch"') as window:
        window.select(ALERT, row=2)
        window.select(CERTIFICATE, row=1)
        assert window.row()[5:8] == ["mismatch", HASH, DEVICE]


def test_what_the_menu_copies(desk: Machine, screen: Screen) -> None:
    line = f"<certHash1>{HASH}</certHash1>"
    with opened(desk, screen) as window:
        screen.fill_clipboard("nothing copied")
        window.menu(COPY, lambda: screen.clipboard() == line)
        screen.ask("xdotool", "windowfocus", "--sync", screen.window("Copied to the clipboard"))
        assert screen.copied("ctrl+a", "ctrl+c") == line  # the text that the window shows


def test_the_overview_is_shown_and_saved(desk: Machine, screen: Screen, tmp_path: Path) -> None:
    saved = desk.home / "saved.txt"
    with opened(desk, screen) as window:
        window.menu(OVERVIEW, partial(screen.named, "Certificates in this capture"))
        number = screen.window("Certificates in this capture")
        screen.ask("xdotool", "windowfocus", "--sync", number)
        picture(screen, desk, "overview", tmp_path)
        text = screen.copied("ctrl+a", "ctrl+c")
        assert re.search(
            rf"^mismatch +8 +1 +1 +203\.0\.113\.20:443\n +{re.escape(HASH)}$", text, re.MULTILINE
        ), text
        assert f"  mismatch: {DEVICE} expects {EXPECTED}," in text
        assert "; cnf folder: " in text
        # From the text over the search field and "Change order" to "Save".
        screen.keys("Tab", "Tab", "Tab", "space")
        dialog = screen.window("Save the list of certificates")
        screen.ask("xdotool", "windowfocus", "--sync", dialog)
        # A click moves the keyboard focus to the file name.
        screen.ask("xdotool", "mousemove", "--window", dialog, "200", "22", "click", "1")
        name = str(saved)
        screen.ask("xdotool", "type", "--clearmodifiers", name)
        picture(screen, desk, "save", tmp_path)
        assert screen.copied("ctrl+a", "ctrl+c") == name
        screen.keys("Return")
        until(lambda: saved.exists() and saved.read_text("utf-8").strip() == text, "the saved list")


def test_reloaded_folder(desk: Machine, screen: Screen) -> None:
    name = f"changing/{DEVICE}.cnf.xml"
    folder = desk.put(name, CNF.encode()).parent
    with opened(desk, screen, folder=folder) as window:
        window.select(CERTIFICATE)
        assert window.row()[5:8] == ["mismatch", HASH, DEVICE]
        desk.put(name, CNF.replace(EXPECTED, HASH).encode())
        window.select(ALERT)
        window.select(CERTIFICATE)
        assert window.row()[5] == "mismatch"  # it is read once

        def verdict() -> str:
            window.select(CERTIFICATE)
            return window.row()[5]

        # The phone now expects this hash, but it had rejected the certificate.
        window.menu(RELOAD, lambda: verdict() == "rejected")
        assert list(screen.windows().values()) == ["mismatch.pcapng"]  # no error message


# Wireshark has menus of packets for Lua from 4.2 on.
NEWER = [version for version in ("4.4", "4.6") if version in wiresharks.others()]


@pytest.mark.parametrize("place", NEWER, indirect=True)
def test_packet_menu(desk: Machine, screen: Screen, tmp_path: Path) -> None:
    def choose(entry: int) -> None:
        window.select(CERTIFICATE)
        # The plugin's menu follows marking, ignoring, time reference, time shift and comments.
        screen.keys("Escape", "Menu", *["Down"] * 6, "Right", *["Down"] * entry)
        picture(screen, desk, f"packet-menu-{entry}", tmp_path)
        screen.keys("Return")

    def copied(text: str) -> bool:
        return screen.clipboard() == text

    thumbprint = base64.b64decode(HASH).hex().upper()
    with opened(desk, screen) as window:
        for entry, expected in enumerate([HASH, thumbprint]):
            screen.fill_clipboard("nothing copied")
            insist(partial(choose, entry), partial(copied, expected), f"{expected} on the clipboard")
        choose(2)
        # The last row of the list is the first, once the filter on the certificate's hash is there.
        until(lambda: window.number_in(ALERT) == str(CERTIFICATE), "the filter on the certificate's hash")


def test_missing_folder_is_said_in_a_dialog(desk: Machine, screen: Screen) -> None:
    with opened(desk, screen, folder=Path("/no/such/folder")) as window:
        until(lambda: len(screen.windows()) == 2, "a dialog beside the main window")
        (dialog,) = screen.windows().keys() - {window.number}
        screen.ask("xdotool", "windowfocus", "--sync", dialog)
        screen.keys("Return")
        until(lambda: len(screen.windows()) == 1, "the dialog to close")
        window.select(CERTIFICATE)
        assert window.row()[5:8] == ["unlisted", HASH, ""]
