"""Say that a phone did not get its cnf file: a reason why it may still use an older one, never a verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from certhash.model import FailedTransfer, MissedFetch

FILE_NOT_FOUND = 1
"""Error code of TFTP (RFC 1350, appendix)."""


def warning(missed: MissedFetch) -> str:
    """Return the warning for the device's expectations."""
    place = f"{missed.capture}, frame {missed.failed.frame}"
    failed = missed.failed
    if failed.reason == "incomplete":
        return f"the phone may use another cnf file than this one: {_what(failed)} ({place})"
    if failed.reason == "other-file":
        what = f"it last downloaded {failed.name}, which is for all phones, and not its own file ({place})"
    else:
        what = f"{_what(failed)} ({place})"
    if missed.instead:
        what += (
            f"; it then downloaded {missed.instead}, which is for all phones (frame {missed.instead_frame})"
        )
    return f"the phone may still use an older cnf file, with an older hash: {what}"


def note(missed: MissedFetch) -> str:
    """Return the note for the capture, if nothing is expected of the device."""
    return f"frame {missed.failed.frame}: {_what(missed.failed)}"


def _what(failed: FailedTransfer) -> str:
    asked = f"the TFTP request of {failed.client} to {failed.server} for {failed.name}"
    if failed.reason == "unanswered":
        return f"{asked} has no answer in the capture"
    if failed.reason == "incomplete":
        return f"{asked} brought a file, and the capture lacks a part of it"
    if failed.reason == "unfinished":
        return f"{asked} was answered, and the capture does not show the whole file"
    text = f" ({failed.message})" if failed.message else ""
    also = ": the server has no file of this name" if failed.code == FILE_NOT_FOUND else ""
    return f"{asked} ended with error {failed.code}{text}{also}"
