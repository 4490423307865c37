"""The words for certificates, handshakes and lines of configurations that explanations share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from certhash.certificate import details
from certhash.times import iso

if TYPE_CHECKING:
    from certhash.judgement.evidence import Configured, Presented, Seen
    from certhash.model import ExpectedHash, KnownCertificate


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
