"""What reports for people put together: findings that one step mends, and what was presented where."""

from __future__ import annotations

from typing import TYPE_CHECKING

from certhash.document import FINDINGS

if TYPE_CHECKING:
    from certhash.document import Certificate, Document, Expectation, Handshake, Verdict

ORDER: tuple[Verdict, ...] = ("mismatch", "rejected", "unverifiable", "unseen", "match")
"""The worst first."""


def findings(document: Document) -> list[list[Expectation]]:
    """Return the findings, the worst first; those alike in verdict, cause, URL, hashes and chain together."""
    handshakes = {handshake.id: handshake for handshake in document.handshakes}
    groups: dict[object, list[Expectation]] = {}
    found = [each for each in document.expectations if each.verdict in FINDINGS]
    for each in sorted(found, key=lambda each: ORDER.index(each.verdict)):
        chain = tuple(shown.sha256 for shown in presented(handshakes.get(each.decided_by or "")))
        hashes = tuple(expected.value for expected in each.hashes)
        groups.setdefault((each.verdict, each.cause, each.url, hashes, chain), []).append(each)
    return list(groups.values())


def presented(handshake: Handshake | None) -> tuple[Certificate, ...]:
    """Return the server's certificates."""
    certificates = handshake.certificates if handshake else ()
    return tuple(each for each in certificates if each.sender == "server")
