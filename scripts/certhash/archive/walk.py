"""Find the captures among files and folders."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from certhash.capture.first_pass.source import NAMES, looks_like_capture
from certhash.files import explain
from certhash.model import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable


class Found(NamedTuple):
    """The result of :func:`find_captures`."""

    captures: tuple[str, ...]
    """Sorted by name within each folder. A file with several names is listed once, by the first."""
    problems: tuple[Problem, ...]
    skipped: int
    """Number of files in folders that are not captures, neither by content nor by name."""


def find_captures(paths: Iterable[str]) -> Found:
    """Return the captures in files and folders.

    A path that is a file is always listed, so that a file that is not a capture is reported later. A file in
    a folder is listed for its first bytes or for its name.
    """
    walk = _Walk()
    for path in paths:
        walk.add(path)
    return Found(tuple(walk.captures), tuple(walk.problems), walk.skipped)


class _Walk:
    def __init__(self) -> None:
        self.captures: list[str] = []
        self.problems: list[Problem] = []
        self.skipped = 0
        self._files: set[tuple[int, int]] = set()

    def add(self, path: str) -> None:
        try:
            status = os.stat(path)  # noqa: PTH116 - a path may hold bytes that are not UTF-8
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
            self._complain(folder, "a symbolic link to a folder above it: remove the link")
            return
        if not self._is_new(status):
            return
        for entry in entries:
            self._entry(entry, (*above, here))

    def _entry(self, entry: os.DirEntry[str], above: tuple[tuple[int, int], ...]) -> None:
        try:
            status = entry.stat()
        except OSError as error:
            if NAMES.search(entry.name) or not isinstance(error, FileNotFoundError):
                self._complain(entry.path, explain(error))
            else:
                self.skipped += 1
            return
        if stat.S_ISDIR(status.st_mode):
            self._folder(entry.path, above)
        elif not stat.S_ISREG(status.st_mode):
            self._complain(entry.path, "a pipe, a socket or a device, not a capture: move it elsewhere")
        elif NAMES.search(entry.name) or _starts_like_capture(entry.path):
            if self._is_new(status):
                self.captures.append(entry.path)
        else:
            self.skipped += 1

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
        return False  # neither its name nor its content says that it is a capture
