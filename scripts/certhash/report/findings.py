"""Group equal findings, and say of each what all forms of a report say of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from certhash.judgement.causes import is_typed
from certhash.judgement.document import FINDINGS, NO_DEVICE
from certhash.report.text import count

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from certhash.judgement.document import Certificate, Document, Expectation, Handshake, Verdict

ORDER: tuple[Verdict, ...] = ("mismatch", "rejected", "unverifiable", "unseen", "match")
"""The verdicts, the worst first."""


ON_PAPER = "on paper: no handshake was seen"
"""The remark on a verdict that is based on configurations alone."""


def described(expectation: Expectation) -> str:
    """Return a verdict for display: ``match (on paper)`` if no handshake was seen."""
    return f"{expectation.verdict} (on paper)" if expectation.on_paper else expectation.verdict


def deciding(document: Document) -> Callable[[Expectation], Handshake | None]:
    """Return the function that returns the handshake that decided an expectation, if one did."""
    handshakes = {handshake.id: handshake for handshake in document.handshakes}
    return lambda expectation: handshakes.get(expectation.decided_by or "")


def frame_of(handshake: Handshake) -> int:
    """Return the frame of the server's certificate, or of the handshake if it shows none."""
    certificates = presented(handshake)
    return certificates[0].frame if certificates else handshake.frame


def findings(document: Document) -> list[list[Expectation]]:
    """Return the findings in groups of equal ones, the worst first.

    Findings are equal if they have the same verdict, cause, URL, hashes and chain: one fix settles them all.
    """
    decided = deciding(document)
    groups: dict[object, list[Expectation]] = {}
    found = [each for each in document.expectations if each.verdict in FINDINGS]
    for each in sorted(found, key=lambda each: ORDER.index(each.verdict)):
        chain = tuple(shown.sha256 for shown in presented(decided(each)))
        hashes = tuple(expected.value for expected in each.hashes)
        groups.setdefault((each.verdict, each.cause, each.url, hashes, chain), []).append(each)
    return list(groups.values())


def presented(handshake: Handshake | None) -> tuple[Certificate, ...]:
    """Return the certificates that the server sent."""
    certificates = handshake.certificates if handshake else ()
    return tuple(each for each in certificates if each.sender == "server")


def checked(document: Document) -> str:
    """Return the number of checks, as in ``11 phones checked``.

    Each pair of a phone and a URL is a check. A hash that `--expect` states belongs to no phone.
    """
    total = len(document.expectations)
    phones = {each.device for each in document.expectations} - {NO_DEVICE}
    if total == len(phones):
        return f"{count(total, 'phone')} checked"
    return f"{count(total, 'check')} ({count(len(phones), 'phone')})" if phones else count(total, "check")


def steps(advice: Sequence[str]) -> list[list[str]]:
    """Split advice into steps: a sentence, and the commands that follow it."""
    found: list[list[str]] = []
    for line in advice:
        if is_typed(line) and found:
            found[-1].append(line)
        else:
            found.append([line])
    return found


def in_short(expectation: Expectation, handshake: Handshake | None) -> str:
    """Return the two sides of a finding on one line, as in ``Expected 51HY…=, presented cOXg…=.``."""
    expected = ", ".join(each.value for each in expectation.hashes) or "no hash"
    shown = ", ".join(each.sha1 for each in presented(handshake))
    return f"Expected {expected}, presented {shown}." if shown else f"Expected {expected}."
