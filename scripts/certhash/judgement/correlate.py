"""Combine observations and expectations into the document; a pure function, the core of an audit.

This module decides which of a device's files is in force, :mod:`~certhash.judgement.verdict` the verdict, and
:mod:`~certhash.judgement.diagnose` the cause.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from msgspec.structs import replace

from certhash.certificate import details
from certhash.digest import thumbprint, to_base64
from certhash.headend import parse_url
from certhash.judgement import document, verdict
from certhash.judgement.anywhere import concerned, of_any_server
from certhash.judgement.causes import GET_THE_PLAIN_FILE
from certhash.judgement.diagnose import Case, Diagnosis, diagnose
from certhash.judgement.evidence import Evidence, Presented, Seen, is_before
from certhash.judgement.phrases import note_of_missed, warning_of_missed
from certhash.judgement.verdict import Told
from certhash.model import (
    CnfFile,
    Fetch,
    HeadEndUrl,
    MissedFetch,
    Observation,
    PresentedCertificate,
    Problem,
    Sources,
)
from certhash.times import iso

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


def correlate(
    observations: Iterable[Observation],
    sources: Sources,
    tool: document.Tool,
    *,
    resolve: Mapping[str, Iterable[str]] | None = None,
    whole: bool = True,
) -> document.Document:
    """Compare the captures with what phones expect, and return the document.

    Args:
        observations: one per capture, in the order of the report.
        sources: all cnf files, including those from captures (which have a `fetch`).
        tool: what read the captures.
        resolve: host names in URLs, with the addresses that the user gives.
        whole: the observations are complete, so that a certificate that no server presents is known.
    """
    observations = list(observations)
    evidence = Evidence(observations, sources, resolve)
    problems = [p for o in observations for p in o.problems] + list(sources.problems)
    current, superseded = _in_force(sources.cnf_files)
    told, unusable = _told(current)
    history, _ = _told(superseded)
    expectations = [*(_expectation(t, evidence) for t in told), *unusable]
    everywhere: list[tuple[Seen, Told]] = []
    for cnf in current:
        if cnf.kind == "stated" and cnf.group and not cnf.group.urls:
            row = _row(cnf, None, *of_any_server(cnf, cnf.group, evidence))
            expectations.append(row)
            everywhere += concerned(cnf, cnf.group, evidence, nowhere=whole and row.verdict == "mismatch")
    expectations.sort(key=lambda e: (e.device, e.url or "", e.source))
    missed = {each.device: each for each in sources.missed}
    expectations = [_with_missed(each, missed.get(each.device)) for each in expectations]
    notes = _notes_of_missed(sources.missed, {each.device for each in expectations})
    handshakes = _handshakes(evidence, [*told, *history], sources.cnf_files, everywhere)
    problems += _collisions(evidence)
    return document.Document(
        schema_version=document.SCHEMA_VERSION,
        tool=tool,
        captures=tuple(
            document.Capture(o.path, o.status, o.packets, o.error, (*o.notes, *notes.get(o.path, ())))
            for o in observations
        ),
        handshakes=handshakes,
        expectations=tuple(expectations),
        problems=tuple(dict.fromkeys(problems)),
        summary=_summary(observations, handshakes, expectations),
    )


def _with_missed(expectation: document.Expectation, found: MissedFetch | None) -> document.Expectation:
    """Add that the phone did not get its file, so that it may use an older one than this."""
    if found is None:
        return expectation
    failed = found.failed
    return replace(
        expectation,
        warnings=(*expectation.warnings, warning_of_missed(found)),
        failed_download=document.FailedDownload(
            found.capture,
            failed.frame,
            iso(failed.time),
            failed.client,
            failed.server,
            failed.name,
            failed.reason,
            failed.code,
            failed.message,
            failed.protocol,
        ),
    )


def _notes_of_missed(missed: tuple[MissedFetch, ...], expected: set[str]) -> dict[str, list[str]]:
    """Return, for each capture, the notes about devices of which nothing is expected."""
    notes: dict[str, list[str]] = {}
    for each in missed:
        if each.device not in expected and each.failed.reason != "other-file":
            notes.setdefault(each.capture, []).append(note_of_missed(each))
    return notes


def unjudged(observation: Observation) -> tuple[document.Handshake, ...]:
    """Return the handshakes of one capture without verdicts and devices, before they are judged."""
    return _handshakes(Evidence([observation], Sources()), [], [])


# ---------------------------------------------------------------- which files are in force


def _in_force(cnf_files: Sequence[CnfFile]) -> tuple[list[CnfFile], list[CnfFile]]:
    """Split the cnf files into those in force and those that a later download replaced.

    A phone expects what it downloaded last. An equal copy in a folder represents that download; a copy that
    differs is stale, or was never downloaded, and the expectation has a warning about it.
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
            in_force, older = _fetched_last(fetched[device])
            superseded += older
            current += [_with_copies(newest, copies) for newest in in_force]
        else:
            current += copies
    return current, superseded


def _fetched_last(fetched: list[CnfFile]) -> tuple[list[CnfFile], list[CnfFile]]:
    """Split the downloads of a phone into the current file and those that it replaced.

    If a clock was set back during the capture, the newest file by time and the last one in the capture may
    differ. Which of them the phone has is unknown, so both count.
    """
    *older, newest = sorted(fetched, key=lambda c: c.fetch.time if c.fetch else 0)
    behind = max(
        (c for c in older if _place(c)[0] == _place(newest)[0]),
        key=lambda c: _place(c)[1],
        default=newest,
    )
    if _place(behind) <= _place(newest) or behind.says == newest.says:
        return [newest], older
    several = [
        replace(one, warnings=(*one.warnings, f"{CLOCK_SET_BACK} frame {_place(other)[1]}"))
        for one, other in ((newest, behind), (behind, newest))
    ]
    return several, [c for c in older if c is not behind]


CLOCK_SET_BACK = "a clock was set back, so this file or another one may be newer: see"


def _place(cnf: CnfFile) -> tuple[str, int]:
    """Return the capture in which a file was fetched, and the frame."""
    assert cnf.fetch is not None  # noqa: S101 - only fetched files are passed
    return cnf.fetch.capture, cnf.fetch.frame


def _with_copies(newest: CnfFile, copies: list[CnfFile]) -> CnfFile:
    """Replace a downloaded file by an equal copy in a folder, and warn of copies that differ.

    Encrypted files cannot be compared.
    """
    same = next((c for c in copies if c.says == newest.says), None)
    differing = tuple(
        _differs(c, newest) for c in copies if c is not same and "encrypted" not in {c.kind, newest.kind}
    )
    if same is None:
        return replace(newest, warnings=(*newest.warnings, *differing))
    return replace(same, fetch=newest.fetch, warnings=(*same.warnings, *differing))


def _distinct(copies: list[CnfFile]) -> list[CnfFile]:
    """Return one of each group of equal copies, under the first path."""
    return list({c.says: c for c in reversed(copies)}.values())[::-1]


def _differs(copy: CnfFile, newest: CnfFile) -> str:
    assert newest.fetch is not None  # noqa: S101 - only fetched files are passed
    hashes = ", ".join(h.value for h in copy.group.hashes) if copy.group else "nothing that can be read"
    return (
        f"{copy.source} differs from the file that the phone downloaded last ({newest.fetch.capture}, frame "
        f"{newest.fetch.frame}, {iso(newest.fetch.time)}): it lists {hashes}; one of the two is outdated"
    )


def _told(cnf_files: Iterable[CnfFile]) -> tuple[list[Told], list[document.Expectation]]:
    """Return the head-ends that the files name, and rows for files and URLs that cannot be used."""
    told: list[Told] = []
    unusable: list[document.Expectation] = []
    for cnf in cnf_files:
        if cnf.kind == "encrypted":
            unusable.append(_cannot_tell(cnf, None, ENCRYPTED, GET_THE_PLAIN_FILE))
        if cnf.group is None:
            continue
        for url in cnf.group.urls:
            try:
                head_end = parse_url(url.value)
            except ValueError as error:
                unusable.append(_cannot_tell(cnf, url, f"The URL cannot be used: {error}."))
                continue
            told.append(Told(cnf, cnf.group, url, head_end))
    return told, unusable


ENCRYPTED = (
    "The configuration is encrypted for this phone: whether it has a VPN, and which hashes, cannot be "
    "read. A VPN may be configured although no vpnGroup is visible."
)


def _cannot_tell(
    cnf: CnfFile, url: HeadEndUrl | None, explanation: str, advice: tuple[str, ...] = ()
) -> document.Expectation:
    return _row(cnf, url, verdict.Decision("unverifiable"), Diagnosis(None, explanation, advice), ())


def _expectation(told: Told, evidence: Evidence) -> document.Expectation:
    handshakes = evidence.with_head_end(told.head_end)
    decision = verdict.decide(told, handshakes, evidence)
    diagnosis = diagnose(Case(decision, told.cnf, told.group, told.head_end, handshakes, evidence))
    return _row(told.cnf, told.url, decision, diagnosis, handshakes)


def _row(
    cnf: CnfFile,
    url: HeadEndUrl | None,
    decision: verdict.Decision,
    diagnosis: Diagnosis,
    handshakes: Sequence[Seen],
) -> document.Expectation:
    return document.Expectation(
        device=cnf.device,
        source=cnf.source,
        frame=cnf.fetch.frame if cnf.fetch and cnf.fetch.capture == cnf.source else None,
        url=url.value if url else None,
        line=url.line if url else None,
        hashes=tuple(
            document.Hash(h.number, h.value, h.algorithm, h.line)
            for h in (cnf.group.hashes if cnf.group else ())
        ),
        host_id_check=cnf.group.host_id_check if cnf.group else None,
        verdict=decision.verdict,
        cause=diagnosis.cause,
        explanation=diagnosis.explanation,
        advice=diagnosis.advice,
        warnings=(*cnf.warnings, *diagnosis.warnings),
        handshakes=tuple(s.id for s in handshakes),
        decided_by=decision.seen.id if decision.seen else None,
        matched=to_base64(decision.certificate.sha1) if decision.certificate else None,
        download=_download(cnf),
        on_paper=decision.on_paper,
    )


# ---------------------------------------------------------------- the verdict of a handshake


def _handshakes(
    evidence: Evidence,
    told: Iterable[Told],
    cnf_files: Iterable[CnfFile],
    everywhere: Iterable[tuple[Seen, Told]] = (),
) -> tuple[document.Handshake, ...]:
    using: dict[int, list[Told]] = defaultdict(list)
    for expectation in told:
        for seen in evidence.with_head_end(expectation.head_end):
            using[id(seen)].append(expectation)
    for seen, expectation in everywhere:
        using[id(seen)].append(expectation)
    fetches: dict[str, list[Fetch]] = defaultdict(list)
    for cnf in cnf_files:
        if cnf.fetch:
            fetches[cnf.device].append(cnf.fetch)
    return tuple(_handshake(seen, _then(seen, using[id(seen)], fetches), evidence) for seen in evidence.seen)


def _then(seen: Seen, told: list[Told], fetches: Mapping[str, list[Fetch]]) -> list[Told]:
    """Keep, for a device that downloaded its file before the handshake, only the file that it had then."""

    def had(device: str) -> Fetch | None:
        before = [fetch for fetch in fetches.get(device, ()) if not is_before(fetch, seen)]
        return max(before, key=lambda fetch: fetch.time, default=None)

    return [t for t in told if had(t.cnf.device) in (None, t.cnf.fetch)]


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
            _certificate(certificate, evidence.certificates[certificate.sha256])
            for certificate in handshake.certificates
        ),
        alerts=tuple(
            document.Alert(a.frame, iso(a.time), a.sender, a.level, a.code, a.name) for a in handshake.alerts
        ),
        verdict=verdict.of_handshake(seen, told),
        devices=tuple(sorted({t.cnf.device for t in told})),
    )


# ---------------------------------------------------------------- from the model to the document


def _certificate(certificate: PresentedCertificate, presented: Presented) -> document.Certificate:
    read = details(presented.der)
    return document.Certificate(
        position=certificate.position,
        sender=certificate.sender,
        frame=certificate.frame,
        sha1=to_base64(presented.sha1),
        thumbprint=thumbprint(presented.sha1),
        sha256=to_base64(presented.digest("SHA-256")),
        subject=read.subject,
        issuer=read.issuer,
        serial=read.serial,
        not_before=read.not_before,
        not_after=read.not_after,
        names=read.names,
    )


def _download(cnf: CnfFile) -> document.Download | None:
    fetch = cnf.fetch
    if fetch is None:
        return None
    return document.Download(fetch.capture, fetch.frame, iso(fetch.time), fetch.client, fetch.server)


def _collisions(evidence: Evidence) -> list[Problem]:
    """Report a SHA-1 of two different certificates: a phone cannot distinguish them."""
    by_sha1: dict[bytes, set[bytes]] = defaultdict(set)
    for presented in evidence.certificates.values():
        by_sha1[presented.sha1].add(presented.digest("SHA-256"))
    return [
        Problem(
            evidence.presenters[sha1][0].capture if sha1 in evidence.presenters else "",
            f"SHA-1 COLLISION: {to_base64(sha1)} is the hash of {len(several)} different certificates; "
            "a phone cannot distinguish them, so a match of this hash proves nothing",
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
        match_on_paper=sum(e.verdict == "match" and e.on_paper for e in expectations),
        hidden=dict(sorted(hidden.items())),
    )
