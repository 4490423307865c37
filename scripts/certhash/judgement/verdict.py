"""Decide the verdict for a device and a URL, from the handshakes with the head-end.

For each device and URL, the newest verifiable handshake with that head-end decides. A handshake is verifiable
if the server's certificates are visible and, if one of them has a hash of the device, the client's reaction
is visible too: a certificate with the right hash and no answer from the client is not a match.
``plugin/certhash/verdict.lua`` judges each handshake separately with the same rules.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from certhash.judgement.evidence import as_without_a_name, chooses_by_name, is_before, of_kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from certhash.headend import HeadEnd
    from certhash.judgement.document import HandshakeVerdict, Verdict
    from certhash.judgement.evidence import Configured, Evidence, Presented, Seen
    from certhash.model import CnfFile, ExpectedHash, HeadEndUrl, Unsettled, VpnGroup

SHA1_ONLY = (None, "", "0")
"""The values of hashAlg with which a phone compares SHA-1; no other value has been seen so far."""


class Told(NamedTuple):
    """A device and a head-end that its cnf file names; the internal form of an expectation."""

    cnf: CnfFile
    group: VpnGroup
    url: HeadEndUrl
    head_end: HeadEnd


class Decision(NamedTuple):
    """A verdict, and its evidence."""

    verdict: Verdict
    seen: Seen | None = None
    """The deciding handshake; None if there is none, or if a configuration decides."""
    certificate: Presented | None = None
    """The presented certificate that has one of the hashes, and that hash."""
    expected: ExpectedHash | None = None
    configured: tuple[Configured, ...] = ()
    """If no handshake was seen: what the head-end presents according to a configuration."""
    contradicted_by: Seen | None = None
    """A handshake that is later in its capture than a matching one, although its time is earlier."""
    contradicted_by_name: Seen | None = None
    """A handshake with another certificate, which depends on whether the client sends SNI."""
    contradicted_on_paper: Configured | None = None
    """What the head-end presents by a configuration, in contradiction to the matching certificate."""
    unsettled: tuple[Unsettled, ...] = ()
    """If no handshake was seen: lines that do not determine what the head-end presents."""

    elsewhere: tuple[str, ...] = ()
    """If no handshake was seen: addresses of the head-end's name that no configuration covers."""

    @property
    def on_paper(self) -> bool:
        """Return whether configurations alone decide, because no handshake was seen."""
        return self.seen is None and bool(self.configured)


def carries(chain: Sequence[Presented], group: VpnGroup) -> tuple[Presented, ExpectedHash] | None:
    """Return the first certificate of a presented chain that has one of the hashes, with that hash.

    Digests are compared as bytes. With hashAlg 0 a phone compares SHA-1, so a longer digest does not match,
    even if it is the digest of the right certificate.
    """
    for certificate in chain:
        for expected in group.hashes:
            if expected.algorithm is None or not expected.digest:
                continue
            if expected.algorithm != "SHA-1" and group.hash_algorithm in SHA1_ONLY:
                continue
            if certificate.digest(expected.algorithm) == expected.digest:
                return certificate, expected
    return None


def decide(told: Told, handshakes: Sequence[Seen], evidence: Evidence) -> Decision:
    """Return the verdict of one expectation from the handshakes with its head-end, oldest first.

    The newest handshake is known if time and packet order agree. If a clock was set back during a capture (or
    a file was appended to a newer one), a match counts only if it is the result in both orders.
    """
    if told.head_end.is_address:
        handshakes = as_without_a_name(handshakes)
    decision = _of_all(told, handshakes, evidence)
    if decision.verdict == "match" and any(s.not_before > s.handshake.time for s in handshakes):
        other = _of_all(told, sorted(handshakes, key=lambda s: s.order_of_packets), evidence)
        if other.verdict != "match":
            decision = decision._replace(verdict="unverifiable", contradicted_by=other.seen)
    if not told.head_end.is_address and decision.verdict in {"match", "mismatch"}:
        decision = _as_either_kind(decision, told, handshakes, evidence)
    if decision.verdict == "mismatch" and told.group.unresolved:
        # The unknown hash may be the one that matches.
        return decision._replace(verdict="unverifiable")
    return decision


def _as_either_kind(
    decision: Decision, told: Told, handshakes: Sequence[Seen], evidence: Evidence
) -> Decision:
    """Return an open decision if the head-end chooses by name and the phone could get either certificate.

    It is not documented whether a phone sends the name in its URL as SNI, so it may get either certificate.
    If this phone itself was seen, its behaviour is known.
    """
    seen = decision.seen
    if seen is None or not chooses_by_name(handshakes):
        return decision
    own = [each for each in handshakes if each.chain and evidence.device_of(each) == told.cnf.device]
    if own:
        return _of_all(told, of_kind(handshakes, own[-1])[0], evidence)
    alike, others = of_kind(handshakes, seen)
    decision = _of_all(told, alike, evidence)
    other = _of_all(told, others, evidence)
    if decision.verdict == other.verdict or decision.verdict not in {"match", "mismatch"}:
        return decision
    return decision._replace(verdict="unverifiable", contradicted_by_name=other.seen)


def _of_all(told: Told, handshakes: Sequence[Seen], evidence: Evidence) -> Decision:
    decision = _newest(told, handshakes, evidence)
    if decision.verdict == "unseen":
        return _by_configuration(told, evidence)
    if decision.verdict == "match":
        # A client accepted this certificate. If this phone itself rejected the same one, the phone decides.
        own = [s for s in handshakes if told.cnf.device in evidence.devices_of(s)]
        own_decision = _newest(told, own, evidence)
        if own_decision.verdict == "rejected" and own_decision.certificate is decision.certificate:
            return own_decision
    return decision


def _newest(told: Told, handshakes: Sequence[Seen], evidence: Evidence) -> Decision:
    if not handshakes:
        return Decision("unseen")
    refused: Decision | None = None  # newer than the deciding handshake: rejection of a hidden certificate
    carried: Decision | None = None  # newer than the deciding handshake: a matching hash without an answer
    for seen in reversed(handshakes):
        concerns = seen.rejection is not None and _concerns(seen, told, evidence)
        if not seen.chain:
            refused = refused or (Decision("unverifiable", seen, None, None) if concerns else None)
            continue
        found = carries(seen.chain, told.group)
        if found is None:
            # An older certificate that differs does not contradict a newer one that matches.
            return carried or Decision("mismatch", seen, None, None)
        if concerns:
            rejected = Decision("rejected", seen, *found)
            return rejected if carried is None or carried.certificate is found[0] else carried
        if seen.rejection is None and seen.handshake.client_proceeded:
            return refused or Decision("match", seen, *found)
        carried = carried or Decision("unverifiable", seen, *found)
    return carried or refused or Decision("unverifiable", handshakes[-1], None, None)


def _by_configuration(told: Told, evidence: Evidence) -> Decision:
    """Without handshakes, compare the hashes with what the head-end presents by its configuration."""
    unsettled = evidence.unsettled_at(told.head_end)
    matching: Decision | None = None
    differing: list[Configured] = []
    for chain in _chains(evidence.configured(told.head_end)):
        found = carries([each.presented for each in chain], told.group)
        if found is not None:
            matching = matching or Decision("match", None, *found, configured=chain)
        elif chain[0].known.role != "ca":  # a chain without its first certificate proves nothing
            differing += chain
    if matching and differing:
        # It is unknown which of several is in use, so all must match.
        return matching._replace(verdict="unverifiable", contradicted_on_paper=differing[0])
    decision = matching or Decision("mismatch" if differing else "unseen", configured=tuple(differing))
    elsewhere = evidence.not_configured(told.head_end)
    if decision.configured and (elsewhere or any(line.presents for line in unsettled)):
        decision = decision._replace(verdict="unverifiable")
    return decision._replace(unsettled=unsettled, elsewhere=elsewhere)


def _chains(configured: Iterable[Configured]) -> list[tuple[Configured, ...]]:
    """Split the configured certificates of a head-end into chains, its own certificate first in each.

    One text may contain a trustpoint both before and after a renewal, or two trustpoints of one interface.
    """
    trustpoints: dict[tuple[str, str | None], list[Configured]] = defaultdict(list)
    for each in configured:
        trustpoints[each.known.source, each.known.trustpoint].append(each)
    chains: list[tuple[Configured, ...]] = []
    for certificates in trustpoints.values():
        issuers = [each for each in certificates if each.known.role == "ca"]
        own = [each for each in certificates if each.known.role != "ca"]
        chains += [(each, *issuers) for each in own] or [tuple(issuers)]
    return chains


def _concerns(seen: Seen, told: Told, evidence: Evidence) -> bool:
    """Return whether a client's rejection is relevant to this device and its current file."""
    devices = evidence.devices_of(seen)
    if not devices:
        return True
    return told.cnf.device in devices and not is_before(told.cnf.fetch, seen)


def of_handshake(seen: Seen, told: Iterable[Told]) -> HandshakeVerdict:
    """Return the verdict of one handshake alone, for the devices configured for its head-end."""
    told = list(told)
    if not told:
        return "unlisted"
    if not seen.chain:
        return "unverifiable"
    if not any(carries(seen.chain, t.group) for t in told):
        return "mismatch"
    return "match" if seen.rejection is None else "rejected"
