"""Read small files completely, with a size limit, and without blocking on a pipe that has no writer."""

from __future__ import annotations

import os
import stat
import sys

LARGEST = 16 * 1024 * 1024
"""Bytes. A certificate has 1 to 5 kB, a phone's configuration about 10 kB, a router's about 100 kB."""

STANDARD_INPUT = "-"
NOT_PERMITTED = "this user has no permission to read it"


def read_small_file(path: str, limit: int = LARGEST) -> bytes:
    """Return the content of a file, or of standard input for ``-``.

    Raises:
        ValueError: it is not a regular file, larger than `limit`, or cannot be read; one line that says so.
    """
    data = read_start(path, limit + 1)
    if len(data) > limit:
        raise ValueError(f"it is larger than {limit // 1024 // 1024} MB: no certificate or configuration is")
    return data


def read_start(path: str, count: int) -> bytes:
    """Return the first bytes of a file, or of standard input for ``-``.

    Raises:
        ValueError: it is not a regular file, or cannot be read; the message is one line.
    """
    if path == STANDARD_INPUT:
        return sys.stdin.buffer.read(count)
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - a path may be bytes that are no UTF-8
        if stat.S_ISDIR(mode):
            raise ValueError("it is a folder, not a file")
        # A shell passes /dev/fd/63 for <(command): that pipe has a writer.
        if not (stat.S_ISREG(mode) or (stat.S_ISFIFO(mode) and path.startswith("/dev/fd/"))):
            raise ValueError("it is a pipe or a device: save it to a file, or pass it on standard input (-)")
        with open(path, "rb") as file:  # noqa: PTH123 - pathlib takes longer to import than this to read
            return file.read(count)
    except OSError as error:
        raise ValueError(explain(error)) from error


def explain(error: OSError) -> str:
    """Return a short phrase that says why a file cannot be read."""
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, PermissionError):
        return NOT_PERMITTED
    return f"it cannot be read ({error.strerror or error})"
