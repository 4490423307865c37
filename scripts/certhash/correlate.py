"""The verdicts: a pure function of what was seen and what is expected.

For every device and URL the newest handshake with that head-end that can be verified decides. A handshake
can be verified where the server's certificates are seen, and, if one of them carries a hash of the device,
where it
is also seen what the client made of it: a certificate with the right hash that nobody answered is not yet a
match.
"""

from __future__ import annotations

import base64
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from certhash import document
from certhash.certificate import details
from certhash.diagnose import Case, Decision, diagnose
from certhash.evidence import Evidence, Presented, Seen, is_before
from certhash.headend import HeadEnd, parse_url
from certhash.model import CnfFile, ExpectedHash, HeadEndUrl, Observation, Problem, Sources, VpnGroup
from certhash.times import iso

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

SHA1_ONLY = (None, "", "0")
"""The values of hashAlg beside which a phone compares SHA-1; no other value was ever seen."""


class Told(NamedTuple):
    """One device told to use one head-end: the internal side of an expectation."""

    cnf: CnfFile
    group: VpnGroup
    url: HeadEndUrl
    head_end: HeadEnd
    warnings: tuple[str, ...] = ()


def correlate(
    observations: Iterable[Observation],
    sources: Sources,
    tool: document.Tool,
    *,
    resolve: Mapping[str, Iterable[str]] | None = None,
) -> document.Document:
    """Hold what was seen against what is expected.

    Args:
        observations: one a capture, in the order in which they are to be reported.
        sources: all cnf files, those seen on the wire included (they have a `fetch`).
        tool: what read the captures.
        resolve: names in URLs to addresses, as the user states them.
    """
    observations = list(observations)
    evidence = Evidence(observations, sources.cnf_files, sources.known, resolve)
    problems = [p for o in observations for p in o.problems] + list(sources.problems)
    current, superseded = _in_force(sources.cnf_files)
    told, unusable = _told(current)
    history, _ = _told(superseded)
    expectations = sorted(
        [*(_expectation(t, evidence) for t in told), *unusable],
        key=lambda e: (e.device, e.url or "", e.source),
    )
    handshakes = _handshakes(evidence, told, history)
    problems += _collisions(evidence)
    return document.Document(
        schema_version=document.SCHEMA_VERSION,
        tool=tool,
        captures=tuple(document.Capture(o.path, o.status, o.packets, o.error) for o in observations),
        handshakes=handshakes,
        expectations=tuple(expectations),
        problems=tuple(dict.fromkeys(problems)),
        summary=_summary(observations, handshakes, expectations),
    )


def unjudged(observation: Observation) -> tuple[document.Handshake, ...]:
    """Return the handshakes of one capture, before it is known what they mean: no verdict, no devices."""
    return _handshakes(Evidence([observation]), [], [])


# ---------------------------------------------------------------- which files are in force


def _in_force(cnf_files: Sequence[CnfFile]) -> tuple[list[CnfFile], list[CnfFile]]:
    """Part the files that say what a device expects now from those that a later fetch replaced.

    What the phone was seen to fetch last is what it expects. A copy in a folder that says the same stands for
    it; one that says otherwise is stale, or was never fetched, and the expectation warns of it.
    """
    files: dict[str, list[CnfFile]] = defaultdict(list)
    fetched: dict[str, list[CnfFile]] = defaultdict(list)
    for cnf in cnf_files:
        (fetched if cnf.fetch else files)[cnf.device].append(cnf)
    current: list[CnfFile] = []
    superseded: list[CnfFile] = []
    for device in sorted({*files, *fetched}):
        copies = _distinct(files[device])
        if fetched[device]:
            *older, newest = sorted(fetched[device], key=lambda c: c.fetch.time if c.fetch else 0)
            superseded += older
            same = next((c for c in copies if _says(c) == _says(newest)), None)
            warnings = tuple(_differs(c, newest) for c in copies if c is not same)
            in_force = newest if same is None else replace(same, fetch=newest.fetch)
            current.append(replace(in_force, warnings=(*in_force.warnings, *warnings)))
        else:
            current += copies
    return current, superseded


def _distinct(copies: list[CnfFile]) -> list[CnfFile]:
    """Leave one of each of several copies that say the same; the first path names it."""
    return list({_says(c): c for c in reversed(copies)}.values())[::-1]


def _says(cnf: CnfFile) -> object:
    """Return what a phone would make of a file: two files that agree in this are the same to it."""
    if cnf.group is None:
        return cnf.kind == "encrypted"
    hashes = frozenset(h.digest or h.value.encode() for h in cnf.group.hashes)
    return tuple(u.value for u in cnf.group.urls), hashes, cnf.group.host_id_check, cnf.group.hash_algorithm


def _differs(copy: CnfFile, newest: CnfFile) -> str:
    assert newest.fetch is not None  # noqa: S101 - only fetched files are passed
    hashes = ", ".join(h.value for h in copy.group.hashes) if copy.group else "nothing that can be read"
    return (
        f"{copy.source} is not what the phone fetched last (in {newest.fetch.capture}, frame "
        f"{newest.fetch.frame}, {iso(newest.fetch.time)}): it lists {hashes}; one of the two is stale"
    )


def _told(cnf_files: Iterable[CnfFile]) -> tuple[list[Told], list[document.Expectation]]:
    """Part the files into head-ends that devices are told to use, and rows for what cannot be told."""
    told: list[Told] = []
    unusable: list[document.Expectation] = []
    for cnf in cnf_files:
        if cnf.kind == "encrypted":
            unusable.append(_cannot_tell(cnf, None, ENCRYPTED, ()))
        if cnf.group is None:
            continue
        for url in cnf.group.urls:
            try:
                head_end = parse_url(url.value)
            except ValueError as error:
                unusable.append(_cannot_tell(cnf, url, f"The URL cannot be used: {error}.", cnf.group.hashes))
                continue
            told.append(Told(cnf, cnf.group, url, head_end, cnf.warnings))
    return told, unusable


ENCRYPTED = (
    "The configuration is encrypted for this phone: whether it has a VPN, and which hashes it holds, cannot "
    "be told. That no vpnGroup can be read does not mean that none is configured."
)


def _cannot_tell(
    cnf: CnfFile, url: HeadEndUrl | None, explanation: str, hashes: tuple[ExpectedHash, ...]
) -> document.Expectation:
    return document.Expectation(
        device=cnf.device,
        source=cnf.source,
        frame=cnf.fetch.frame if cnf.fetch and cnf.fetch.capture == cnf.source else None,
        url=url.value if url else None,
        line=url.line if url else None,
        hashes=tuple(_hash(h) for h in hashes),
        host_id_check=cnf.group.host_id_check if cnf.group else None,
        verdict="unverifiable",
        cause=None,
        explanation=explanation,
        advice=(),
        warnings=cnf.warnings,
        handshakes=(),
        decided_by=None,
        matched=None,
        download=_download(cnf),
    )


# ---------------------------------------------------------------- the verdict of an expectation


def carries(chain: Sequence[Presented], group: VpnGroup) -> tuple[Presented, ExpectedHash] | None:
    """Return the first certificate of a presented chain that one of the hashes is of, with that hash.

    Digests are compared as bytes. Beside hashAlg 0 a phone compares SHA-1, so a longer digest does not match
    there, even if it is of the right certificate.
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
    """Give the verdict of one expectation from the handshakes with its head-end, oldest first."""
    decision = _of_all(told, handshakes, evidence)
    if decision.verdict == "mismatch" and told.group.unresolved:
        # The hash that is not known may be the one that matches.
        return decision._replace(verdict="unverifiable")
    return decision


def _of_all(told: Told, handshakes: Sequence[Seen], evidence: Evidence) -> Decision:
    decision = _newest(told, handshakes, evidence)
    if decision.verdict == "unseen":
        return _by_configuration(told, evidence)
    if decision.verdict == "match":
        # Somebody got on with this certificate. If this phone itself refused the same one, believe the phone.
        own = [s for s in handshakes if evidence.device_of(s) == told.cnf.device]
        own_decision = _newest(told, own, evidence)
        if own_decision.verdict == "rejected" and own_decision.certificate is decision.certificate:
            return own_decision
    return decision


def _newest(told: Told, handshakes: Sequence[Seen], evidence: Evidence) -> Decision:
    if not handshakes:
        return Decision("unseen")
    refused: Decision | None = None  # newer than what decides: a refusal of a certificate that cannot be seen
    carried: Decision | None = None  # newer than what decides: a hash was carried, and nobody answered
    for seen in reversed(handshakes):
        concerns = seen.rejection is not None and _concerns(seen, told, evidence)
        if not seen.chain:
            refused = refused or (Decision("unverifiable", seen, None, None) if concerns else None)
            continue
        found = carries(seen.chain, told.group)
        if found is None:
            # An older certificate that differs says nothing against a newer one that does not.
            return carried or Decision("mismatch", seen, None, None)
        if concerns:
            rejected = Decision("rejected", seen, *found)
            return rejected if carried is None or carried.certificate is found[0] else carried
        if seen.rejection is None and seen.handshake.client_proceeded:
            return refused or Decision("match", seen, *found)
        carried = carried or Decision("unverifiable", seen, *found)
    return carried or refused or Decision("unverifiable", handshakes[-1], None, None)


def _by_configuration(told: Told, evidence: Evidence) -> Decision:
    """Where nobody was seen to connect, hold the hashes against what a configuration makes it present."""
    configured = evidence.configured(told.head_end)
    if not configured:
        return Decision("unseen")
    found = carries([presented for _, presented in configured], told.group)
    if found is None:
        return Decision("mismatch", configured=configured)
    return Decision("match", None, *found, configured=configured)


def _concerns(seen: Seen, told: Told, evidence: Evidence) -> bool:
    """Tell whether a client's rejection says something about this device, with the file that it has now."""
    device = evidence.device_of(seen)
    if device is None:
        return True
    return device == told.cnf.device and not is_before(told.cnf.fetch, seen)


def _expectation(told: Told, evidence: Evidence) -> document.Expectation:
    handshakes = evidence.with_head_end(told.head_end)
    decision = decide(told, handshakes, evidence)
    diagnosis = diagnose(Case(decision, told.cnf, told.group, told.head_end, handshakes, evidence))
    return document.Expectation(
        device=told.cnf.device,
        source=told.cnf.source,
        frame=told.cnf.fetch.frame if told.cnf.fetch and told.cnf.fetch.capture == told.cnf.source else None,
        url=told.url.value,
        line=told.url.line,
        hashes=tuple(_hash(h) for h in told.group.hashes),
        host_id_check=told.group.host_id_check,
        verdict=decision.verdict,
        cause=diagnosis.cause,
        explanation=diagnosis.explanation,
        advice=diagnosis.advice,
        warnings=(*told.warnings, *diagnosis.warnings),
        handshakes=tuple(s.id for s in handshakes),
        decided_by=decision.seen.id if decision.seen else None,
        matched=_base64(decision.certificate.sha1) if decision.certificate else None,
        download=_download(told.cnf),
    )


# ---------------------------------------------------------------- the verdict of a handshake


def _handshakes(evidence: Evidence, told: list[Told], history: list[Told]) -> tuple[document.Handshake, ...]:
    using: dict[int, list[Told]] = defaultdict(list)
    for expectation in (*told, *history):
        for seen in evidence.with_head_end(expectation.head_end):
            using[id(seen)].append(expectation)
    return tuple(_handshake(seen, _then(seen, using[id(seen)]), evidence) for seen in evidence.seen)


def _then(seen: Seen, told: list[Told]) -> list[Told]:
    """Leave, of several files of a device, the one that it had at the time of the handshake."""
    of_device: dict[tuple[str, HeadEnd], list[Told]] = defaultdict(list)
    for expectation in told:
        of_device[expectation.cnf.device, expectation.head_end].append(expectation)
    left: list[Told] = []
    for files in of_device.values():
        before = [t for t in files if t.cnf.fetch and not is_before(t.cnf.fetch, seen)]
        if before:
            left.append(max(before, key=lambda t: t.cnf.fetch.time if t.cnf.fetch else 0))
        else:
            left += files
    return left


def _handshake(seen: Seen, told: list[Told], evidence: Evidence) -> document.Handshake:
    handshake = seen.handshake
    return document.Handshake(
        id=seen.id,
        capture=seen.capture,
        frame=handshake.frame,
        time=iso(handshake.time),
        transport=handshake.transport,
        stream=handshake.stream,
        client=handshake.client,
        server=handshake.server,
        server_name=handshake.server_name,
        version=handshake.version,
        resumed=handshake.resumed,
        encrypted=handshake.encrypted,
        client_proceeded=handshake.client_proceeded,
        hidden=handshake.hidden,
        certificates=tuple(
            _certificate(c.position, c.sender, c.frame, evidence.certificates[c.sha256])
            for c in handshake.certificates
        ),
        alerts=tuple(
            document.Alert(a.frame, iso(a.time), a.sender, a.level, a.code, a.name) for a in handshake.alerts
        ),
        verdict=_handshake_verdict(seen, told),
        devices=tuple(sorted({t.cnf.device for t in told})),
    )


def _handshake_verdict(seen: Seen, told: list[Told]) -> document.HandshakeVerdict:
    if not told:
        return "unlisted"
    if not seen.chain:
        return "unverifiable"
    if not any(carries(seen.chain, t.group) for t in told):
        return "mismatch"
    return "match" if seen.rejection is None else "rejected"


# ---------------------------------------------------------------- from the model to the document


def _certificate(position: int, sender: str, frame: int, presented: Presented) -> document.Certificate:
    read = details(presented.der)
    return document.Certificate(
        position=position,
        sender="server" if sender == "server" else "client",
        frame=frame,
        sha1=_base64(presented.sha1),
        thumbprint=presented.sha1.hex().upper(),
        sha256=_base64(presented.digest("SHA-256")),
        subject=read.subject,
        issuer=read.issuer,
        serial=read.serial,
        not_before=read.not_before,
        not_after=read.not_after,
        names=read.names,
    )


def _hash(expected: ExpectedHash) -> document.Hash:
    return document.Hash(expected.number, expected.value, expected.algorithm, expected.line)


def _download(cnf: CnfFile) -> document.Download | None:
    fetch = cnf.fetch
    if fetch is None:
        return None
    return document.Download(fetch.capture, fetch.frame, iso(fetch.time), fetch.client, fetch.server)


def _collisions(evidence: Evidence) -> list[Problem]:
    """Say loudly where one SHA-1 is of two different certificates: a phone cannot tell them apart."""
    by_sha1: dict[bytes, set[bytes]] = defaultdict(set)
    for presented in evidence.certificates.values():
        by_sha1[presented.sha1].add(presented.digest("SHA-256"))
    return [
        Problem(
            evidence.presenters[sha1][0].capture if sha1 in evidence.presenters else "",
            f"SHA-1 COLLISION: {_base64(sha1)} is of {len(several)} different certificates; "
            "a phone cannot tell them apart, and a match of this hash proves nothing",
        )
        for sha1, several in by_sha1.items()
        if len(several) > 1
    ]


def _summary(
    observations: list[Observation],
    handshakes: tuple[document.Handshake, ...],
    expectations: list[document.Expectation],
) -> document.Summary:
    verdicts = Counter(e.verdict for e in expectations)
    hidden = Counter(h.hidden for h in handshakes if h.hidden)
    return document.Summary(
        captures=len(observations),
        handshakes=len(handshakes),
        certificates=sum(len(h.certificates) for h in handshakes),
        match=verdicts["match"],
        mismatch=verdicts["mismatch"],
        rejected=verdicts["rejected"],
        unverifiable=verdicts["unverifiable"],
        unseen=verdicts["unseen"],
        unlisted=sum(h.verdict == "unlisted" for h in handshakes),
        hidden=dict(sorted(hidden.items())),
    )


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode("ascii")
