"""Which files of an archive are captures: the walk through folders."""

from __future__ import annotations

import os
import re
import stat
from typing import TYPE_CHECKING, NamedTuple

from certhash.capture.source import looks_like_capture
from certhash.files import explain
from certhash.model import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable

_CLAIMS = re.compile(
    r"\.(?:pcap|pcapng|ntar|cap|dmp|snoop|trc|trace\d*|erf)\d*(?:\.(?:gz|zst|lz4))?$", re.IGNORECASE
)
"""Names that say they are a capture: in a folder, such a file is read or complained about."""


class Found(NamedTuple):
    """What a walk found."""

    captures: tuple[str, ...]
    """In a stable order; each file once, by whatever name it was met first."""
    problems: tuple[Problem, ...]
    passed_over: int
    """How many files in folders are no captures, and do not claim to be."""


def find_captures(paths: Iterable[str]) -> Found:
    """List the captures in files and folders.

    A file that was named is listed whatever it is: whoever named it is told what is wrong with it. In a
    folder a file counts by its first bytes, or by a name that claims to be a capture.
    """
    walk = _Walk()
    for path in paths:
        walk.take(path)
    return Found(tuple(walk.captures), tuple(walk.problems), walk.passed_over)


class _Walk:
    def __init__(self) -> None:
        self.captures: list[str] = []
        self.problems: list[Problem] = []
        self.passed_over = 0
        self._files: set[tuple[int, int]] = set()

    def take(self, path: str) -> None:
        try:
            status = os.stat(path)  # noqa: PTH116 - a path may be bytes that are no UTF-8
        except OSError as error:
            self._complain(path, explain(error))
            return
        if stat.S_ISDIR(status.st_mode):
            self._folder(path, ())
        elif self._is_new(status):
            self.captures.append(path)

    def _folder(self, folder: str, above: tuple[tuple[int, int], ...]) -> None:
        try:
            status = os.stat(folder)  # noqa: PTH116
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            self._complain(folder, explain(error))
            return
        here = (status.st_dev, status.st_ino)
        if here in above:
            self._complain(folder, "a symbolic link that leads back to a folder above it: remove it")
            return
        if not self._is_new(status):
            return
        for entry in entries:
            self._entry(entry, (*above, here))

    def _entry(self, entry: os.DirEntry[str], above: tuple[tuple[int, int], ...]) -> None:
        try:
            status = entry.stat()
        except OSError as error:
            if _CLAIMS.search(entry.name) or not isinstance(error, FileNotFoundError):
                self._complain(entry.path, explain(error))
            else:
                self.passed_over += 1
            return
        if stat.S_ISDIR(status.st_mode):
            self._folder(entry.path, above)
        elif not stat.S_ISREG(status.st_mode):
            self._complain(entry.path, "a pipe, a socket or a device, not a capture file: move it elsewhere")
        elif _CLAIMS.search(entry.name) or _starts_like_capture(entry.path):
            if self._is_new(status):
                self.captures.append(entry.path)
        else:
            self.passed_over += 1

    def _is_new(self, status: os.stat_result) -> bool:
        key = (status.st_dev, status.st_ino)
        known = key in self._files
        self._files.add(key)
        return not known

    def _complain(self, path: str, message: str) -> None:
        self.problems.append(Problem(path, message))


def _starts_like_capture(path: str) -> bool:
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            return looks_like_capture(file.read(4096))
    except OSError:
        return False  # without a name that claims anything, there is nothing to miss
