"""Write results to files (complete or not at all), devices and standard output."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import sys

from certhash.errors import InputError
from certhash.report.text import visible


def save(path: str, content: bytes) -> None:
    """Write `content` to `path`, completely or not at all.

    The content goes to a temporary file in the same folder, which is synchronised and then renamed. The new
    file keeps the mode and owner of the old one, and a symbolic link is followed. A device or a pipe
    (``/dev/stdout``, a FIFO) is written directly.

    Raises:
        InputError: `path` cannot be written.
    """
    try:
        if _is_special(path):
            _write_all(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NOCTTY), content)
        else:
            _replace(os.path.realpath(path), content)
    except BrokenPipeError:
        raise InputError(f"{visible(path)}: the reader closed the pipe too early") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{visible(path)}: cannot be written: {reason}") from None


def to_standard_output(content: bytes) -> None:
    """Write `content` to standard output.

    Raises:
        InputError: it cannot be written: a full disk, for example.
        BrokenPipeError: the reader closed it.
    """
    try:
        sys.stdout.flush()
        binary = getattr(sys.stdout, "buffer", None)
        if binary is None:  # replaced by an object that accepts only text
            sys.stdout.write(content.decode())
        else:
            binary.write(content)
            binary.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        # The interpreter flushes the buffer at exit, which would fail again with a traceback.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        raise InputError(f"standard output: cannot be written: {error.strerror}") from None


def _is_special(path: str) -> bool:
    """Return whether `path` is a device, a pipe or an open file, rather than a file to create or replace."""
    if os.path.abspath(path).startswith(("/dev/std", "/dev/fd/", "/proc/")):  # noqa: PTH100 - follows no link
        return True
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - a path may hold undecodable bytes
    except FileNotFoundError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _replace(target: str, content: bytes) -> None:
    temporary = os.path.join(os.path.dirname(target), f".certhash-{secrets.token_hex(8)}")  # noqa: PTH118, PTH120
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        _write_all(descriptor, content, like=target)
        os.replace(temporary, target)  # noqa: PTH105
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)  # noqa: PTH108
        raise


def _write_all(descriptor: int, content: bytes, like: str | None = None) -> None:
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        if like is not None:
            _take_after(descriptor, like)
            os.fsync(descriptor)


def _take_after(descriptor: int, model: str) -> None:
    """Copy mode and, if permitted, owner from the file that is replaced."""
    with contextlib.suppress(FileNotFoundError, PermissionError):
        old = os.stat(model)  # noqa: PTH116
        os.fchmod(descriptor, stat.S_IMODE(old.st_mode))
        os.fchown(descriptor, old.st_uid, old.st_gid)
