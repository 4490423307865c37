"""The words of explanations and warnings for certificates, handshakes, configurations and downloads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from certhash.certificate import details
from certhash.times import iso

if TYPE_CHECKING:
    from certhash.judgement.evidence import Configured, Presented, Seen
    from certhash.model import ExpectedHash, FailedTransfer, KnownCertificate, MissedFetch

NO_SUCH_FILE = {"TFTP": 1, "HTTP": 404}
"""Error code of TFTP (RFC 1350, appendix), and status of HTTP (RFC 9110, section 15.5.5)."""

REDIRECTIONS = range(300, 400)
"""Status of HTTP (RFC 9110, section 15.4); 304, which brings no file either, is no failure."""


def name_of(expected: ExpectedHash) -> str:
    """Return how messages name a hash."""
    return f"certHash{expected.number}"


def position_of(chain: tuple[Presented, ...], certificate: Presented) -> str:
    """Return which certificate of a chain it is, and its subject."""
    position = chain.index(certificate)
    what = "the head-end's own certificate" if position == 0 else f"certificate {position} of the chain"
    return f"{what} ({subject_of(certificate.der)})"


def subject_of(der: bytes) -> str:
    """Return the subject of a certificate (DER, or empty)."""
    if not der:
        return "a certificate of which only the fingerprint is known"
    return details(der).subject or "a certificate that cannot be parsed"


def place_of(seen: Seen) -> str:
    """Return the capture and the frame of the server's certificate, or of the handshake."""
    frame = next((c.frame for c in seen.handshake.certificates if c.sender == "server"), seen.handshake.frame)
    return f"{seen.capture}, frame {frame}"


def time_of(seen: Seen) -> str:
    """Return when a handshake began, to the second."""
    return iso(seen.handshake.time)[:19].replace("T", " ") + " UTC"


def line_of(known: KnownCertificate) -> str:
    """Return the file and the line of a certificate."""
    return f"{known.source}, line {known.line}" if known.line else known.source


def stated_by(configured: Configured) -> str:
    """Return, in brackets, the trustpoint and the configuration line that assigns it to the head-end."""
    known, _, place = configured
    trustpoint = f"trustpoint {known.trustpoint}" if known.trustpoint else ""
    stated = ", ".join(filter(None, [trustpoint, f'line {place.line} "{place.says}"' if place.line else ""]))
    return f" ({stated})" if stated else ""


def warning_of_missed(missed: MissedFetch) -> str:
    """Return the warning for a device's expectations that it did not get its cnf file."""
    place = f"{missed.capture}, frame {missed.failed.frame}"
    failed = missed.failed
    if failed.reason == "incomplete":
        return f"the phone may use another cnf file than this one: {_failure(failed)} ({place})"
    if failed.reason == "other-file":
        what = f"it last downloaded {failed.name}, which is for all phones, and not its own file ({place})"
    else:
        what = f"{_failure(failed)} ({place})"
    if missed.instead:
        what += (
            f"; it then downloaded {missed.instead}, which is for all phones (frame {missed.instead_frame})"
        )
    return f"the phone may still use an older cnf file, with an older hash: {what}"


def note_of_missed(missed: MissedFetch) -> str:
    """Return the same as a note for the capture, if nothing is expected of the device."""
    return f"frame {missed.failed.frame}: {_failure(missed.failed)}"


def _failure(failed: FailedTransfer) -> str:
    asked = f"the {failed.protocol} request of {failed.client} to {failed.server} for {failed.name}"
    if failed.reason == "unanswered":
        return f"{asked} has no answer in the capture" + (
            ", or none that tshark can read" if failed.protocol == "HTTP" else ""
        )
    if failed.reason == "incomplete":
        return f"{asked} brought a file, and the capture lacks a part of it"
    if failed.reason == "unfinished":
        return f"{asked} was answered, and the capture does not show the whole file"
    text = f" ({failed.message})" if failed.message else ""
    also = ": the server has no file of this name" if failed.code == NO_SUCH_FILE[failed.protocol] else ""
    if failed.protocol == "HTTP" and failed.code in REDIRECTIONS:
        also = ", which names another URL, and the captures show no such file from there"
    kind = "error" if failed.protocol == "TFTP" else "status"
    return f"{asked} ended with {kind} {failed.code}{text}{also}"
