"""Find the cause of a verdict: why hash and certificate differ, the evidence for it, and what to type.

Each rule names its evidence in the explanation. If no rule applies, the cause is `unknown-certificate` or
`alert-only`. An explanation does not repeat what the document has in its own fields: the expected
hashes, the presented certificates, the alert. Meanings, commands and their sources are in
:mod:`certhash.judgement.causes`.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from certhash.certificate import details, was_issued_by
from certhash.digest import to_base64
from certhash.hostid import doubt
from certhash.judgement.causes import CAUSES, CME_SHOW, HIDDEN, VERDICTS
from certhash.judgement.phrases import (
    line_of,
    name_of,
    place_of,
    position_of,
    stated_by,
    subject_of,
    time_of,
)
from certhash.mistakes import as_hex, digests_of_something_else, raw
from certhash.times import iso

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from certhash.headend import HeadEnd
    from certhash.judgement.document import Cause, Verdict
    from certhash.judgement.evidence import Evidence, Presented, Seen
    from certhash.judgement.verdict import Decision
    from certhash.model import CnfFile, ExpectedHash, Unsettled, VpnGroup


ON_PAPER = "No handshake with this head-end was seen, so this rests on the configuration alone."


class Diagnosis(NamedTuple):
    """The cause of a verdict, and what to do about it."""

    cause: Cause | None
    explanation: str
    advice: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class Case(NamedTuple):
    """Everything that a rule may use."""

    decision: Decision
    cnf: CnfFile
    """The device's cnf file."""
    group: VpnGroup
    head_end: HeadEnd
    """The head-end that the URL names."""
    handshakes: Sequence[Seen]
    """All handshakes with that head-end, oldest first."""
    evidence: Evidence
    """Everything else in the captures and configurations."""

    @property
    def seen(self) -> Seen:
        """Return the deciding handshake; call it only if there is one."""
        assert self.decision.seen is not None  # noqa: S101
        return self.decision.seen

    @property
    def chain(self) -> tuple[Presented, ...]:
        """Return the server's certificates, from the handshake or else from a configuration."""
        seen = self.decision.seen
        return seen.chain if seen else tuple(each.presented for each in self.decision.configured)

    @property
    def certificate(self) -> Presented:
        """Return the presented certificate that has an expected hash; call it only if there is one."""
        assert self.decision.certificate is not None  # noqa: S101
        return self.decision.certificate

    @property
    def expected(self) -> ExpectedHash:
        """Return the expected hash of that certificate; call it only if there is one."""
        assert self.decision.expected is not None  # noqa: S101
        return self.decision.expected


def diagnose(case: Case) -> Diagnosis:
    """Return the cause, the explanation and the advice for a decision."""
    return _EXPLAIN[case.decision.verdict](case)


# ---------------------------------------------------------------- match


def _match(case: Case) -> Diagnosis:
    end = ON_PAPER if case.decision.configured else "The client continued the handshake."
    return Diagnosis(None, f"{_carried(case)}. {end}", (), tuple(_doubts(case).values()))


def _doubts(case: Case) -> dict[Cause | None, str]:
    """Return the possible causes if the phone had rejected the certificate; for a match, only warnings."""
    doubts: dict[Cause | None, str] = {}
    if case.decision.seen and (error := _validity(case.seen, case.certificate)):
        doubts["validity"] = f"the certificate {error}; Cisco does not document whether phones check this"
    if unnamed := _host_id(case):
        doubts["host-id"] = unnamed
    if case.expected.algorithm != "SHA-1":
        doubts[None] = (
            f"the hash is a {case.expected.algorithm} (hashAlg {case.group.hash_algorithm}); Cisco does not "
            "document which phones compare it"
        )
    return doubts


def _host_id(case: Case) -> str | None:
    """Return the warning of the host-ID check; None for a hash that the user states without a phone."""
    if case.cnf.kind == "stated":
        return None
    return doubt(case.group.host_id_check, case.chain[0].der, case.head_end)


# ---------------------------------------------------------------- mismatch


def _mismatch(case: Case) -> Diagnosis:
    on_paper = f"{_on_paper(case)} " if case.decision.configured else ""
    for rule in _MISMATCH_RULES:
        for expected in case.group.hashes or (None,):
            if finding := rule(case, expected):
                return finding._replace(explanation=f"{on_paper}{finding.explanation}")
    which = "this hash" if len(case.group.hashes) == 1 else "one of these hashes"
    explanation = f"{on_paper}No certificate in the captures or the given files has {which}."
    return _because("unknown-certificate", explanation)


def _because(cause: Cause, explanation: str) -> Diagnosis:
    return Diagnosis(cause, explanation, CAUSES[cause].advice)


def _stale_hash(case: Case, expected: ExpectedHash | None) -> Diagnosis | None:
    """Check whether this head-end presented a certificate with the hash at another time."""
    if expected is None or not expected.digest:
        return None
    if case.decision.seen is None:
        return None
    address = case.seen.handshake.server.address
    here = [s for s in case.handshakes if s.chain and s.handshake.server.address == address]
    having = [s for s in here if any(c.sha1 == expected.digest for c in s.chain)]
    if not having:
        return None
    last = having[-1]
    first_other = next((s for s in here if s.order > last.order), case.seen)
    return _because(
        "stale-hash",
        f"This head-end presented the certificate with {name_of(expected)} until {time_of(last)} "
        f"({place_of(last)}). Since {time_of(first_other)} it presents another one.",
    )


def _other_head_end(case: Case, expected: ExpectedHash | None) -> Diagnosis | None:
    """Check whether another server presents a certificate with the hash, or is configured to."""
    if expected is None or not expected.digest:
        return None
    # This address never presented it, or the rule for stale hashes would have applied.
    other = case.evidence.presenters.get(expected.digest)
    if other:
        return _because(
            "other-head-end",
            f"{name_of(expected)} is the hash of a certificate that another server presents: "
            f"{other[-1].handshake.server} ({place_of(other[-1])}).",
        )
    for known in case.evidence.known.get(expected.digest, ()):
        trustpoint = f" of trustpoint {known.trustpoint}" if known.trustpoint else ""
        served = f", presented at {known.served_at[0].address or 'a head-end'}" if known.served_at else ""
        return _because(
            "other-head-end",
            f"{name_of(expected)} is the hash of a certificate{trustpoint} in {line_of(known)}{served}. "
            "This head-end does not present it.",
        )
    return None


def _issuer_hash(case: Case, expected: ExpectedHash | None) -> Diagnosis | None:
    """Check whether the hash is of a certificate of the same chain that the head-end does not send."""
    if expected is None or not expected.digest:
        return None
    for der, where in _known_certificates(case.evidence, expected.digest):
        for link in case.chain:
            if was_issued_by(link.der, der):
                return _because(
                    "issuer-hash",
                    f"{name_of(expected)} is the hash of {subject_of(der)} (found in {where}), which issued "
                    f"{position_of(case.chain, link)}. The head-end does not send the issuer's certificate.",
                )
            # A certificate from an issuer further up may belong to another server with the same CA.
            if link is case.chain[0] and was_issued_by(der, link.der):
                return _because(
                    "issuer-hash",
                    f"{name_of(expected)} is the hash of {subject_of(der)} (found in {where}). "
                    f"It was issued by {position_of(case.chain, link)}. The head-end does not send it.",
                )
    return None


def _wrong_input(case: Case, expected: ExpectedHash | None) -> Diagnosis | None:
    """Check whether the value was computed from a presented certificate in a wrong way."""
    if expected is None:
        return None
    value = raw(expected.value)
    for link in case.chain:
        what = digests_of_something_else(link.der).get(value)
        if what is None and expected.algorithm is None and as_hex(expected.value) == link.sha1:
            what = "the SHA-1 in hex"
        if what:
            return _because(
                "wrong-input",
                f"{name_of(expected)} is {what} of {position_of(case.chain, link)}. "
                f"The phone compares the SHA-1 of the DER bytes, in Base64: {to_base64(link.sha1)}",
            )
    return None


def _malformed_hash(case: Case, expected: ExpectedHash | None) -> Diagnosis | None:
    """Check whether the file has no value that can match any certificate."""
    if any(h.digest for h in case.group.hashes):
        return None
    what = "The file lists no hash" if expected is None else f"{name_of(expected)} is not a digest in Base64"
    return _because("malformed-hash", f"{what}, so no certificate can match.")


_MISMATCH_RULES: tuple[Callable[[Case, ExpectedHash | None], Diagnosis | None], ...] = (
    _stale_hash,
    _issuer_hash,
    _other_head_end,
    _wrong_input,
    _malformed_hash,
)


# ---------------------------------------------------------------- rejected


def _rejected(case: Case) -> Diagnosis:
    fact = f"{name_of(case.expected)} matches {position_of(case.chain, case.certificate)}."
    devices = case.evidence.devices_of(case.seen)
    if not devices:
        fact += (
            " The client's device is not known, so its alert counts for every device that uses this head-end."
        )
    elif len(devices) > 1:
        where = f"{len(devices)} devices fetched their files from {case.seen.handshake.client.address}"
        fact += f" {where}, so its alert counts for each of them."
    cause, why = _why_rejected(case)
    warnings = tuple(text for doubt, text in _doubts(case).items() if doubt != cause)
    return Diagnosis(cause, f"{fact} {why}", CAUSES[cause].advice, warnings)


def _why_rejected(case: Case) -> tuple[Cause, str]:
    if unnamed := _host_id(case):
        return "host-id", f"{unnamed[0].upper()}{unnamed[1:]}."
    if error := _validity(case.seen, case.certificate):
        return "validity", f"The certificate {error}. Cisco does not document whether phones check this."
    return "alert-only", "Nothing in the captures or the given files shows why the client rejected it."


# ---------------------------------------------------------------- unverifiable, unseen


def _unverifiable(case: Case) -> Diagnosis:
    if case.chain and case.decision.certificate is None and case.group.unresolved:
        return _unresolved(case)
    if case.decision.contradicted_by is not None:
        return Diagnosis(
            None,
            f"{_carried(case)}. {place_of(case.decision.contradicted_by)} follows it in the capture with an "
            "earlier time, and contradicts it. Which of the two is newer is unknown.",
            (
                "If a clock was set back, capture again. If only the packet order is wrong, sort them:",
                "  reordercap FILE.pcapng SORTED.pcapng",
            ),
        )
    if case.decision.contradicted_by_name is not None:
        return Diagnosis(
            None,
            f"{place_of(case.seen)} and {place_of(case.decision.contradicted_by_name)} show different "
            "certificates: the head-end chooses by the name that a client asks for. Whether a phone with "
            f"{case.head_end.host} in its URL asks for it is not documented, and only one of the two "
            "certificates has its hash.",
            ("Capture a handshake of this phone, with the download of its cnf file.",),
        )
    if case.decision.on_paper:
        return _unverifiable_on_paper(case)
    if case.decision.certificate is not None:
        others = case.evidence.devices_of(case.seen) if case.seen.rejection else ()
        other = " or ".join(sorted(others))
        why = (
            f"The client that rejected it was {other}, which says nothing about {case.cnf.device}."
            if other
            else "But the capture does not show whether the client accepted it."
        )
        return Diagnosis(None, f"{_carried(case)}. {why}", VERDICTS["unverifiable"].advice)
    return _hidden(case)


def _unresolved(case: Case) -> Diagnosis:
    """Explain that the file names a certificate whose hash is unknown."""
    chain = f"{subject_of(case.chain[0].der)} ({', '.join(to_base64(c.sha1) for c in case.chain)})"
    shown = (
        f"{case.seen.handshake.server} presented {chain} in {place_of(case.seen)}."
        if case.decision.seen
        else _on_paper(case)
    )
    return Diagnosis(
        None,
        f"Not all hashes that {case.cnf.device} expects are known. In {case.cnf.source}, "
        f"{'; '.join(case.group.unresolved)}. {shown}",
        ("Give the configuration with its certificates, or the output of:", *CME_SHOW),
    )


def _hidden(case: Case) -> Diagnosis:
    """Explain that no handshake shows the server's certificate."""
    reasons = Counter(s.handshake.hidden for s in case.handshakes if s.handshake.hidden)
    advice = next((HIDDEN[r].advice for r in reasons if HIDDEN[r].advice), VERDICTS["unverifiable"].advice)
    alert = case.seen.rejection
    if alert is not None:
        reason = HIDDEN[case.seen.handshake.hidden or "incomplete"].title
        explanation = (
            f"{_client(case)} rejected a certificate that the capture does not show: "
            f"{alert.name} ({alert.code}), {case.seen.capture}, frame {alert.frame}. Reason: {reason}."
        )
        return Diagnosis(None, explanation, advice)
    if len(case.handshakes) == 1:
        reason = HIDDEN[case.seen.handshake.hidden or "incomplete"].title
        explanation = (
            f"The handshake in {place_of(case.seen)} does not show the server's certificate: {reason}."
        )
        return Diagnosis(None, explanation, advice)
    listed = "; ".join(f"{HIDDEN[reason].title} ({count})" for reason, count in sorted(reasons.items()))
    explanation = (
        f"None of the {len(case.handshakes)} handshakes shows the server's certificate: {listed}. "
        f"The newest is in {place_of(case.seen)}."
    )
    return Diagnosis(None, explanation, advice)


def _unverifiable_on_paper(case: Case) -> Diagnosis:
    """Name the line of a configuration that does not determine what the head-end presents."""
    start = (
        f"{_carried(case)}." if case.decision.certificate else _on_paper(case).removesuffix(f" {ON_PAPER}")
    )
    other = case.decision.contradicted_on_paper
    if other is not None:
        by_name = ""
        if any(" domain " in each.place.says.lower() for each in (case.decision.configured[0], other)):
            by_name = (
                " The head-end chooses by the name that a client asks for, and whether a phone with "
                f"{case.head_end.host} in its URL asks for it is not documented."
            )
        return Diagnosis(
            None,
            f"{start} But {line_of(other.known)} configures another certificate{stated_by(other)}. "
            f"It is unknown which of the two a phone gets.{by_name} {ON_PAPER}",
            ("Remove outdated parts of the configuration, or add a capture of a handshake.",),
        )
    open_lines = "; ".join(
        [
            *(_unsettled(line) for line in case.decision.unsettled if line.presents),
            *(f"no configuration is of its address {each}" for each in case.decision.elsewhere),
        ]
    )
    return Diagnosis(
        None,
        f"{start} But what else the head-end presents is unknown: {open_lines}. {ON_PAPER}",
        ("Add that certificate to the configuration, or add a capture of a handshake.",),
    )


def _unseen(case: Case) -> Diagnosis:
    head_end, advice = case.head_end, VERDICTS["unseen"].advice
    if head_end.is_address:
        advice = advice[:-1]  # there is no name to resolve
    if not case.evidence.has_captures:
        explanation = f"No capture was given, and no given file says what {head_end} presents."
    elif head_end.is_address or case.evidence.addresses_of(head_end):
        explanation = f"The captures contain no handshake with {head_end}."
    else:
        explanation = f"No handshake names {head_end}, and no DNS answer in the captures gives its address."
        advice = (
            "Give the address of the head-end:",
            f"  certhash audit ... --resolve {head_end.host}=ADDRESS",
            *advice[:-1],
        )
    # A line without a place may apply to this head-end.
    nowhere = [line for line in case.evidence.unsettled if not line.at]
    others = dict.fromkeys(
        f'{known.source}, line {place.line} "{place.says}": it is for port {place.port}'
        for known, place in case.evidence.at_other_ports(head_end)
    )
    lines = [*map(_unsettled, [*case.decision.unsettled, *nowhere]), *others]
    reasons = "; ".join(lines[:_MOST_REASONS])
    if reasons:
        explanation += f" The given configuration does not determine it: {reasons}."
    return Diagnosis(None, explanation, advice)


_MOST_REASONS = 5
"""Maximum number of configuration lines that an explanation names."""


def _unsettled(line: Unsettled) -> str:
    return f'{line.source}, line {line.line} "{line.says}": {line.why}'


_EXPLAIN: dict[Verdict, Callable[[Case], Diagnosis]] = {
    "match": _match,
    "mismatch": _mismatch,
    "rejected": _rejected,
    "unverifiable": _unverifiable,
    "unseen": _unseen,
}


# ---------------------------------------------------------------- facts about certificates


def _validity(seen: Seen, certificate: Presented) -> str | None:
    read = details(certificate.der)
    now = iso(seen.handshake.time)
    if read.not_after is not None and read.not_after < now:
        return f"expired on {read.not_after[:10]}, before the handshake"
    if read.not_before is not None and read.not_before > now:
        return f"is valid only from {read.not_before[:10]}, after the handshake"
    return None


def _known_certificates(evidence: Evidence, sha1: bytes) -> Iterator[tuple[bytes, str]]:
    """Yield the certificates (DER) with this digest, and where each was found."""
    for known in evidence.known.get(sha1, ()):
        if known.der is not None:
            yield known.der, known.source
    for seen in evidence.presenters.get(sha1, ())[:1]:
        certificate = next(c for c in seen.chain if c.sha1 == sha1)
        yield certificate.der, f"{seen.capture}, presented by {seen.handshake.server}"


# ---------------------------------------------------------------- words


def _carried(case: Case) -> str:
    matched = f"{name_of(case.expected)} matches {position_of(case.chain, case.certificate)}"
    if case.decision.seen:
        return f"{matched}, presented by {case.seen.handshake.server} in {place_of(case.seen)}"
    configured = case.decision.configured[0]
    return f"{matched}, configured in {line_of(configured.known)}{stated_by(configured)}"


def _on_paper(case: Case) -> str:
    """Return a sentence about the certificate that the head-end presents by its configuration."""
    configured = case.decision.configured[0]
    hashes = ", ".join(to_base64(c.sha1) for c in case.chain)
    return (
        f"{line_of(configured.known)} configures {case.head_end} to present {subject_of(case.chain[0].der)}, "
        f"{hashes}{stated_by(configured)}. {ON_PAPER}"
    )


def _client(case: Case) -> str:
    device = case.evidence.device_of(case.seen)
    address = case.seen.handshake.client.address
    return f"{device} at {address}" if device else f"The client {address}"
