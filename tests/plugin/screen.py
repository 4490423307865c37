"""Run a real Wireshark on a virtual screen (Xvfb), and control it with the keyboard."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import time
from typing import TYPE_CHECKING, Self

from tests.harness.waiting import PATIENCE, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.plugin.machines import Machine

SIZE = (1480, 900)

PROGRAMS = {"Xvfb": "xvfb", "xdotool": "xdotool", "xclip": "xclip", "import": "imagemagick"}


def insist(act: Callable[[], object], done: Callable[[], object], what: str) -> None:
    """Do something, and again where nothing comes of it: a busy Wireshark loses a key now and then.

    Raises:
        AssertionError: nothing ever came of it.
    """
    for _ in range(5):
        act()
        with contextlib.suppress(AssertionError):
            until(done, what, PATIENCE / 6)
            return
    act()
    until(done, what, PATIENCE / 6)


class Screen:
    """One Xvfb, which chooses its display number."""

    def __init__(self) -> None:
        for program, package in PROGRAMS.items():
            assert shutil.which(program), f"{program} is missing: apt-get install {package}"
        reading, writing = os.pipe()
        # Without access control, because the programs on it run as another user. Without a reset when the
        # last of them ends: a program that starts during the reset cannot connect.
        options = ["-ac", "-noreset", "-screen", "0", f"{SIZE[0]}x{SIZE[1]}x24"]
        self.server = subprocess.Popen(
            ["Xvfb", "-displayfd", str(writing), *options],
            pass_fds=[writing],
            stderr=subprocess.DEVNULL,
        )
        os.close(writing)
        with os.fdopen(reading) as answer:
            self.display = f":{answer.readline().strip()}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.server.terminate()
        self.server.wait()

    def ask(self, *command: str) -> str:
        """Run a program on this screen; return its output, whatever its exit status."""
        done = subprocess.run(
            command,
            env={**os.environ, "DISPLAY": self.display},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
        return done.stdout.strip()

    def windows(self) -> dict[str, str]:
        """Return every visible window of Wireshark, by number; a message dialog has no name."""
        numbers = self.ask("xdotool", "search", "--onlyvisible", "--class", "wireshark").split()
        return {number: self.ask("xdotool", "getwindowname", number) for number in numbers}

    def named(self, name: str) -> list[str]:
        """Return the numbers of the windows with such a name (a pattern)."""
        return [number for number, title in self.windows().items() if re.search(name, title)]

    def window(self, name: str) -> str:
        """Wait for a window whose name matches a pattern; return its number."""
        until(lambda: self.named(name), f"a window {name}; there are {self.windows()}")
        return self.named(name)[0]

    def keys(self, *keys: str) -> None:
        """Press keys in sequence."""
        for key in keys:
            self.ask("xdotool", "key", "--clearmodifiers", key)
            time.sleep(0.15)

    def fill_clipboard(self, text: str) -> None:
        """Replace the text on the clipboard."""
        subprocess.run(
            ["xclip", "-selection", "clipboard"],
            input=text,
            text=True,
            env={**os.environ, "DISPLAY": self.display},
            check=True,
        )

    def clipboard(self) -> str:
        """Return the text on the clipboard, without surrounding blanks."""
        return self.ask("xclip", "-o", "-selection", "clipboard")

    def copied(self, *keys: str) -> str:
        """Press keys that copy something; return the copied text."""
        nothing = "nothing copied"
        self.fill_clipboard(nothing)
        text = ""

        def there() -> bool:
            nonlocal text
            self.keys(*keys)
            text = self.clipboard()
            return text not in {nothing, ""}

        until(there, "something on the clipboard")
        return text

    def picture(self, path: Path) -> None:
        """Take a screenshot."""
        self.ask("import", "-window", "root", str(path))


class Window:
    """A Wireshark with a capture open."""

    def __init__(self, screen: Screen, number: str) -> None:
        self.screen = screen
        self.number = number

    def focus(self) -> None:
        """Move the keyboard focus to the main window."""
        self.screen.ask("xdotool", "windowfocus", "--sync", self.number)

    def number_in(self, row: int) -> str:
        """Select the packet in a row of the packet list (the first is 1), and return the packet's number."""
        self.focus()
        # Any place in the packet list, below the toolbars, sets the keyboard focus.
        self.screen.ask("xdotool", "mousemove", "300", "170", "click", "1")
        self.screen.keys("ctrl+Home", *["Down"] * (row - 1))
        return self.row()[0]

    def select(self, number: int, *, row: int = 0) -> None:
        """Select a packet, in the row of its number if no other is given."""
        until(lambda: self.number_in(row or number) == str(number), f"packet {number} to be selected")

    def jump(self, number: int, *keys: str, to: int, before: Callable[[], object] = bool) -> None:
        """Go from a packet along a link, to which keys lead from the last item of its tree.

        `before` is called when the link is selected.
        """

        def go() -> None:
            self.select(number)
            # The item is folded first, as it was not if this is another try.
            self.screen.keys("Tab", "End", "Left", "Left", "Right", *keys)
            before()
            self.screen.keys("alt+g", "l")
            self.focus()
            self.screen.keys("shift+Tab")

        insist(go, lambda: self.row()[0] == str(to), f"the jump from packet {number} to {to}")

    def menu(self, entry: int, done: Callable[[], object]) -> None:
        """Choose from Tools > certhash, the last of the Tools (its first entry is 0), until it is done."""

        def choose() -> None:
            self.focus()
            self.screen.keys("Escape", "alt+t", "Up", "Right", *["Down"] * entry, "Return")

        insist(choose, done, f"what entry {entry} of the menu does")

    def row(self) -> list[str]:
        """Return the cells of the selected packet's row."""
        self.focus()
        return self.screen.copied("ctrl+c").split("\t")


@contextlib.contextmanager
def wireshark(place: Machine, screen: Screen, capture: Path, *options: str) -> Iterator[Window]:
    """Start Wireshark with the profile certhash; only its main window may open, without any error message."""
    process = place.start(
        "wireshark", "-C", "certhash", *options, "-r", capture, environment={"DISPLAY": screen.display}
    )
    try:
        # Wireshark shows its splash screen first, and the name of the capture after reading it.
        until(lambda: screen.windows() or process.poll() is not None, "Wireshark to start")
        assert process.poll() is None, process.communicate()
        number = screen.window(rf"^{re.escape(capture.name)}$")
        screen.ask("xdotool", "windowmove", number, "0", "0")
        screen.ask("xdotool", "windowsize", "--sync", number, *map(str, SIZE))
        window = Window(screen, number)
        window.focus()
        yield window
    finally:
        process.terminate()
        _, errors = process.communicate(timeout=PATIENCE)
    assert "Lua" not in errors, errors
    assert "certhash" not in errors, errors
