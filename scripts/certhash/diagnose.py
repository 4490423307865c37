"""From a verdict to its cause: why the hash and the certificate differ, with the evidence, and what to type.

Every rule looks at evidence that is named in the explanation; where none applies, the cause is that nobody
knows. The meanings and the commands, with their sources, are in :mod:`certhash.causes`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import textwrap
from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from certhash.causes import CAUSES, CME_SHOW, HIDDEN, VERDICTS
from certhash.certificate import details, public_key, was_issued_by
from certhash.digest import to_base64
from certhash.headend import plain_name, read_address
from certhash.times import iso

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from certhash.document import Cause, Verdict
    from certhash.evidence import Evidence, Presented, Seen
    from certhash.headend import HeadEnd
    from certhash.model import CnfFile, ExpectedHash, KnownCertificate, VpnGroup
    from certhash.verdict import Decision


ON_PAPER = "This rests on configuration alone: no handshake with the head-end was seen."


class Diagnosis(NamedTuple):
    """Why, and what to do."""

    cause: Cause | None
    explanation: str
    advice: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class Case(NamedTuple):
    """All that an explanation may look at."""

    decision: Decision
    cnf: CnfFile
    """The file of the device, and what it says."""
    group: VpnGroup
    head_end: HeadEnd
    """Where its URL points."""
    handshakes: Sequence[Seen]
    """All with that head-end, oldest first."""
    evidence: Evidence
    """Everything else that was seen."""

    @property
    def seen(self) -> Seen:
        """The handshake that decides; asked only where there is one."""
        assert self.decision.seen is not None  # noqa: S101
        return self.decision.seen

    @property
    def chain(self) -> tuple[Presented, ...]:
        """The server's certificates: as they were presented, or as a configuration has them."""
        seen = self.decision.seen
        return seen.chain if seen else tuple(presented for _, presented in self.decision.configured)

    @property
    def certificate(self) -> Presented:
        """The presented certificate that carries a hash; asked only where there is one."""
        assert self.decision.certificate is not None  # noqa: S101
        return self.decision.certificate

    @property
    def expected(self) -> ExpectedHash:
        """The hash that it carries; asked only where there is one."""
        assert self.decision.expected is not None  # noqa: S101
        return self.decision.expected


def diagnose(case: Case) -> Diagnosis:
    """Explain a decision, and say what to do about it."""
    return _EXPLAIN[case.decision.verdict](case)


# ---------------------------------------------------------------- match


def _match(case: Case) -> Diagnosis:
    end = f". {ON_PAPER}" if case.decision.configured else ", and the client went on."
    return Diagnosis(None, _carried(case) + end, (), tuple(_doubts(case).values()))


def _doubts(case: Case) -> dict[Cause | None, str]:
    """Return what would be a cause if the phone had refused: warnings where it is none."""
    doubts: dict[Cause | None, str] = {}
    if case.decision.seen and (error := _validity(case.seen, case.certificate)):
        doubts["validity"] = f"the certificate {error}; whether these phones mind is not documented"
    if case.group.host_id_check and not _names_host(case.chain[0], case.head_end):
        doubts["host-id"] = f"the host-ID check is on, and the certificate does not name {case.head_end.host}"
    if case.expected.algorithm != "SHA-1":
        doubts[None] = (
            f"the hash is a {case.expected.algorithm} beside hashAlg {case.group.hash_algorithm}: "
            "no source says which phones compare that"
        )
    return doubts


# ---------------------------------------------------------------- mismatch


def _mismatch(case: Case) -> Diagnosis:
    fact = (
        f"{_presented(case)} {_chain_text(case.chain)}{_in_place(case)}, and {case.cnf.device} expects "
        f"{_hashes_text(case.group.hashes)}.{_refusal(case)}"
    )
    for rule in _MISMATCH_RULES:
        for expected in case.group.hashes or (None,):
            if finding := rule(case, expected):
                return finding._replace(explanation=f"{fact} {finding.explanation}")
    which = "this hash" if len(case.group.hashes) == 1 else "one of these hashes"
    explanation = f"{fact} No certificate that was seen or given has {which}."
    return Diagnosis("unknown-certificate", explanation, CAUSES["unknown-certificate"].advice)


def _stale_hash(case: Case, expected: ExpectedHash | None) -> Diagnosis | None:
    """The certificate is one that this head-end itself presented, at another time."""
    if expected is None or not expected.digest:
        return None
    if case.decision.seen is None:
        return None
    address = case.seen.handshake.server.address
    here = [s for s in case.handshakes if s.chain and s.handshake.server.address == address]
    having = [s for s in here if _has(s, expected)]
    if not having:
        return None
    last = having[-1]
    first_other = next((s for s in here if s.order > last.order), case.seen)
    return Diagnosis(
        "stale-hash",
        f"{_name(expected)} is of the certificate that this head-end presented until {_when(last)} "
        f"({_place(last)}); since {_when(first_other)} it presents another, and the phone's file was not "
        "made again.",
        CAUSES["stale-hash"].advice,
    )


def _other_head_end(case: Case, expected: ExpectedHash | None) -> Diagnosis | None:
    """The certificate is one that another server presents, or is configured to."""
    if expected is None or not expected.digest:
        return None
    # This address never presented it, or the hash would be called stale.
    other = case.evidence.presenters.get(expected.digest)
    if other:
        return Diagnosis(
            "other-head-end",
            f"{_name(expected)} is of the certificate that another server, {other[-1].handshake.server}, "
            f"presents ({_place(other[-1])}).",
            CAUSES["other-head-end"].advice,
        )
    for known in case.evidence.known.get(expected.digest, ()):
        served = f", which it makes {known.served_at[0].address} present" if known.served_at else ""
        return Diagnosis(
            "other-head-end",
            f"{_name(expected)} is of a certificate{_trustpoint(known)} in {_line(known)}{served}, and not "
            "of one that this head-end presents.",
            CAUSES["other-head-end"].advice,
        )
    return None


def _issuer_hash(case: Case, expected: ExpectedHash | None) -> Diagnosis | None:
    """The certificate belongs to the same chain, and the head-end does not send it."""
    if expected is None or not expected.digest:
        return None
    for der, where in _known_certificates(case.evidence, expected.digest):
        for link in case.chain:
            if was_issued_by(link.der, der):
                return Diagnosis(
                    "issuer-hash",
                    f"{_name(expected)} is of the certificate that issued {_position(case.chain, link)} "
                    f"({_subject(der)}, known from {where}), and the head-end does not send that one: "
                    "a phone can compare only what it receives.",
                    CAUSES["issuer-hash"].advice,
                )
            # What an issuer further up signed need not belong here: another server may have the same CA.
            if link is case.chain[0] and was_issued_by(der, link.der):
                return Diagnosis(
                    "issuer-hash",
                    f"{_name(expected)} is of {_subject(der)} (known from {where}), a certificate that "
                    f"{_position(case.chain, link)} issued, and not of one that the head-end sends.",
                    CAUSES["issuer-hash"].advice,
                )
    return None


def _wrong_input(case: Case, expected: ExpectedHash | None) -> Diagnosis | None:
    """The value was made from the right certificate in the wrong way."""
    if expected is None:
        return None
    raw = _raw(expected.value)
    for link in case.chain:
        what = _digests_of_something_else(link.der).get(raw)
        if what is None and expected.algorithm is None and _as_hex(expected.value) == link.sha1:
            what = "its SHA-1 in hex, where Base64 belongs"
        if what:
            return Diagnosis(
                "wrong-input",
                f"{_name(expected)} was made from {_position(case.chain, link)}, but is {what}; "
                f"the phone compares the SHA-1 of the DER bytes, in Base64: {to_base64(link.sha1)}.",
                CAUSES["wrong-input"].advice,
            )
    return None


def _malformed_hash(case: Case, expected: ExpectedHash | None) -> Diagnosis | None:
    """Nothing in the file could ever match."""
    if any(h.digest for h in case.group.hashes):
        return None
    what = "The file lists no hash" if expected is None else f"{_name(expected)} is no digest in Base64"
    return Diagnosis(
        "malformed-hash", f"{what}, so no certificate can match.", CAUSES["malformed-hash"].advice
    )


_MISMATCH_RULES: tuple[Callable[[Case, ExpectedHash | None], Diagnosis | None], ...] = (
    _stale_hash,
    _issuer_hash,
    _other_head_end,
    _wrong_input,
    _malformed_hash,
)


def _refusal(case: Case) -> str:
    alert = case.decision.seen.rejection if case.decision.seen else None
    if alert is None:
        return f" {ON_PAPER}" if case.decision.configured else ""
    return f" It was refused by {_client(case)}: {alert.name} ({alert.code}), frame {alert.frame}."


# ---------------------------------------------------------------- rejected


def _rejected(case: Case) -> Diagnosis:
    alert = case.seen.rejection
    assert alert is not None  # noqa: S101 - that is what rejected means
    fact = (
        f"{_carried(case)}, and still {_client(case)} sent a fatal {alert.name} ({alert.code}) in frame "
        f"{alert.frame}."
    )
    if case.evidence.device_of(case.seen) is None:
        fact += (
            " Since the client's device is not known, this counts for every device told to use the head-end."
        )
    cause, why = _why_rejected(case)
    warnings = tuple(text for doubt, text in _doubts(case).items() if doubt != cause)
    return Diagnosis(cause, f"{fact} {why}", CAUSES[cause].advice, warnings)


def _why_rejected(case: Case) -> tuple[Cause, str]:
    leaf = case.seen.chain[0]
    if case.group.host_id_check is not False and not _names_host(leaf, case.head_end):
        names = ", ".join(details(leaf.der).names) or "no host at all"
        check = "is on" if case.group.host_id_check else "is not switched off in the file"
        return "host-id", (
            f"The host-ID check {check}, and the certificate names {names}, not {case.head_end.host} "
            "(a wildcard does not count)."
        )
    if error := _validity(case.seen, case.certificate):
        return "validity", f"The certificate {error}; whether these phones check that is not documented."
    return "alert-only", "Nothing that was seen says why."


# ---------------------------------------------------------------- unverifiable, unseen


def _unverifiable(case: Case) -> Diagnosis:
    if case.chain and case.decision.certificate is None:
        return Diagnosis(
            None,
            f"{_presented(case)} {_chain_text(case.chain)}{_in_place(case)}, and which certificate "
            f"{case.cnf.source} means by {', '.join(case.group.unresolved)} is not in it.",
            ("Give the configuration with its certificates, or the output of:", *CME_SHOW),
        )
    if case.decision.contradicted_by is not None:
        return Diagnosis(
            None,
            f"{_carried(case)}, but {_place(case.decision.contradicted_by)} stands behind it and says "
            "otherwise, though its time is earlier: nobody can tell which of the two is newer.",
            (
                "Record again if a clock was set back. If only the order of the packets is wrong, sort them:",
                "  reordercap FILE.pcapng SORTED.pcapng",
            ),
        )
    if case.decision.contradicted_on_paper is not None:
        paper = case.decision.contradicted_on_paper
        return Diagnosis(
            None,
            f"{_carried(case)}, but {_line(paper)} makes it present another certificate{_trustpoint(paper)}: "
            f"nobody can tell which of the two is in use. {ON_PAPER}",
            ("Leave out what is out of date of the configuration, or give a capture of a handshake.",),
        )
    if case.decision.certificate is not None:
        other = case.evidence.device_of(case.seen) if case.seen.rejection else None
        why = (
            f"but that client was {other}, and its refusal says nothing about {case.cnf.device}"
            if other
            else "but the capture does not show that the client went on"
        )
        return Diagnosis(None, f"{_carried(case)}, {why}.", VERDICTS["unverifiable"].advice)
    reasons = Counter(s.handshake.hidden for s in case.handshakes if s.handshake.hidden)
    listed = "; ".join(f"{count} x {HIDDEN[reason].title}" for reason, count in sorted(reasons.items()))
    advice = next((HIDDEN[r].advice for r in reasons if HIDDEN[r].advice), VERDICTS["unverifiable"].advice)
    handshakes = f"{len(case.handshakes)} handshake{'s' if len(case.handshakes) > 1 else ''}"
    if case.seen.rejection is not None:
        explanation = (
            f"A certificate that cannot be seen ({HIDDEN[case.seen.handshake.hidden or 'incomplete'].title}) "
            f"was refused in {_place(case.seen)}.{_refusal(case)}"
        )
        return Diagnosis(None, explanation, advice)
    explanation = (
        f"{handshakes} with this head-end, the newest in {_place(case.seen)}, and the server's certificate "
        f"is seen in none: {listed}."
    )
    return Diagnosis(None, explanation, advice)


def _unseen(case: Case) -> Diagnosis:
    head_end = case.head_end
    if head_end.is_address or case.evidence.addresses_of(head_end):
        explanation = f"No handshake with {head_end} is in the captures."
        return Diagnosis(None, explanation, VERDICTS["unseen"].advice)
    return Diagnosis(
        None,
        f"No handshake names {head_end}, and no DNS answer in the captures says what its address is.",
        (f"certhash audit ... --resolve {head_end.host}=ADDRESS", *VERDICTS["unseen"].advice),
    )


_EXPLAIN: dict[Verdict, Callable[[Case], Diagnosis]] = {
    "match": _match,
    "mismatch": _mismatch,
    "rejected": _rejected,
    "unverifiable": _unverifiable,
    "unseen": _unseen,
}


# ---------------------------------------------------------------- facts about certificates


def _names_host(leaf: Presented, head_end: HeadEnd) -> bool:
    """Tell whether the certificate names the host of the URL, in its SAN or, without one, in its CN.

    A wildcard counts as no: "the client fails to connect if they do not match or if a wildcard certificate
    with an asterisk (*) is used" (TAC 115785).
    """
    names = (plain_name(name) for name in details(leaf.der).names)
    return any((read_address(name) or name) == head_end.host for name in names)


def _validity(seen: Seen, certificate: Presented) -> str | None:
    read = details(certificate.der)
    now = iso(seen.handshake.time)
    if read.not_after is not None and read.not_after < now:
        return f"expired on {read.not_after[:10]}, before the handshake"
    if read.not_before is not None and read.not_before > now:
        return f"is valid only from {read.not_before[:10]} on, after the handshake"
    return None


@lru_cache(maxsize=4096)
def _digests_of_something_else(der: bytes) -> dict[bytes, str]:
    """Return raw digests that people make by mistake from a certificate, and what each is."""
    base64_text = base64.b64encode(der).decode("ascii")
    pem = (
        "-----BEGIN CERTIFICATE-----\n"
        + "\n".join(textwrap.wrap(base64_text, 64))
        + "\n-----END CERTIFICATE-----"
    )
    hex_text = hashlib.sha1(der, usedforsecurity=False).hexdigest()
    inputs: list[tuple[bytes, str]] = []
    for text in (pem, pem + "\n"):
        inputs += [(text.encode(), "the PEM text"), (text.replace("\n", "\r\n").encode(), "the PEM text")]
    inputs += [(base64_text.encode(), "the Base64 text"), (base64_text.encode() + b"\n", "the Base64 text")]
    inputs += [(key, "the public key alone") for key in public_key(der)]
    for text in (hex_text, hex_text.upper()):
        spaced = ":".join(textwrap.wrap(text, 2))
        inputs += [(t.encode() + end, "the hex text") for t in (text, spaced) for end in (b"", b"\n")]
    inputs += [(text.encode(), "the certificate's hex text") for text in (der.hex(), der.hex().upper())]
    found: dict[bytes, str] = {}
    for data, what in inputs:
        for name in ("sha1", "md5", "sha256", "sha512"):
            found.setdefault(
                hashlib.new(name, data, usedforsecurity=False).digest(), f"the {_ALGORITHM[name]} of {what}"
            )
    for name in ("md5", "sha256", "sha512", "sha384", "sha224"):
        digest = hashlib.new(name, der, usedforsecurity=False).digest()
        found.setdefault(digest, f"its {_ALGORITHM[name]} instead of its SHA-1")
    return found


_ALGORITHM = {
    "sha1": "SHA-1",
    "md5": "MD5",
    "sha224": "SHA-224",
    "sha256": "SHA-256",
    "sha384": "SHA-384",
    "sha512": "SHA-512",
}


def _known_certificates(evidence: Evidence, sha1: bytes) -> Iterator[tuple[bytes, str]]:
    """Yield the certificates (DER) with this digest, and where each is known from."""
    for known in evidence.known.get(sha1, ()):
        if known.der is not None:
            yield known.der, known.source
    for seen in evidence.presenters.get(sha1, ())[:1]:
        certificate = next(c for c in seen.chain if c.sha1 == sha1)
        yield certificate.der, f"{seen.capture}, where {seen.handshake.server} presents it"


def _has(seen: Seen, expected: ExpectedHash) -> bool:
    return any(c.sha1 == expected.digest for c in seen.chain)


def _raw(value: str) -> bytes:
    """Decode a value as Base64 whatever its length: an MD5 has 16 bytes, and is no certHash."""
    try:
        return base64.b64decode("".join(value.split()), validate=True)
    except (binascii.Error, ValueError):
        return b""


def _as_hex(value: str) -> bytes:
    digits = re.sub(r"[\s:-]", "", value)
    return bytes.fromhex(digits) if re.fullmatch(r"(?:[0-9A-Fa-f]{2})+", digits) else b""


# ---------------------------------------------------------------- words


def _carried(case: Case) -> str:
    return (
        f"{_name(case.expected)} is of {_position(case.chain, case.certificate)}, which "
        f"{_presented(case)}{_in_place(case)}"
    )


def _client(case: Case) -> str:
    device = case.evidence.device_of(case.seen)
    address = case.seen.handshake.client.address
    return f"{device} at {address}" if device else f"the client {address}"


def _name(expected: ExpectedHash) -> str:
    return f"certHash{expected.number}"


def _presented(case: Case) -> str:
    if case.decision.seen:
        return f"{case.seen.handshake.server} presented"
    known = case.decision.configured[0][0]
    return f"{known.source} makes {case.head_end} present"


def _in_place(case: Case) -> str:
    if case.decision.seen:
        return f" in {_place(case.seen)}"
    known = case.decision.configured[0][0]
    return _trustpoint(known) + (f", line {known.line}" if known.line else "")


def _position(chain: tuple[Presented, ...], certificate: Presented) -> str:
    position = chain.index(certificate)
    what = (
        "the head-end's own certificate"
        if position == 0
        else f"certificate {position} of the chain, an issuer's"
    )
    return f"{what} ({_subject(certificate.der)})"


def _subject(der: bytes) -> str:
    return details(der).subject or "a certificate that cannot be parsed"


def _chain_text(chain: tuple[Presented, ...]) -> str:
    hashes = ", ".join(to_base64(c.sha1) for c in chain)
    return f"{_subject(chain[0].der)} ({hashes})"


def _hashes_text(hashes: Iterable[ExpectedHash]) -> str:
    return ", ".join(h.value or "an empty hash" for h in hashes) or "no hash at all"


def _place(seen: Seen) -> str:
    frame = next((c.frame for c in seen.handshake.certificates if c.sender == "server"), seen.handshake.frame)
    return f"{seen.capture}, frame {frame}"


def _when(seen: Seen) -> str:
    return iso(seen.handshake.time)[:19].replace("T", " ") + " UTC"


def _line(known: KnownCertificate) -> str:
    return f"{known.source}, line {known.line}" if known.line else known.source


def _trustpoint(known: KnownCertificate) -> str:
    return f" of trustpoint {known.trustpoint}" if known.trustpoint else ""
