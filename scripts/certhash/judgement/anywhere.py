"""Judge a hash that the user stated without a URL, against all servers in the captures.

Each server is judged separately, as a head-end is; a server is an address, a port, and the name that clients
asked for there. One server that presents the certificate is enough. A mismatch requires that every server
showed its certificates: a server that did not may be the one that presents it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from certhash.digest import to_base64
from certhash.headend import HeadEnd
from certhash.judgement.causes import CAUSES, HIDDEN, VERDICTS
from certhash.judgement.diagnose import Case, Diagnosis, diagnose
from certhash.judgement.phrases import place_of, subject_of
from certhash.judgement.verdict import Decision, Told, carries, decide
from certhash.model import HeadEndUrl

if TYPE_CHECKING:
    from collections.abc import Iterator

    from certhash.judgement.evidence import Evidence, Seen
    from certhash.model import CnfFile, Endpoint, VpnGroup

MOST_SERVERS = 10
"""Maximum number of servers that an explanation names."""


def of_any_server(
    cnf: CnfFile, group: VpnGroup, evidence: Evidence
) -> tuple[Decision, Diagnosis, tuple[Seen, ...]]:
    """Return the decision for all servers, its diagnosis, and the relevant handshakes."""
    cases = [_case(cnf, group, handshakes, evidence) for handshakes in _servers(evidence)]
    if not cases:
        explanation = "The captures contain no handshake."
        if not evidence.has_captures:
            explanation = "No capture was given. A hash without a URL is compared with captures only."
        return Decision("unseen"), Diagnosis(None, explanation, VERDICTS["unseen"].advice), ()
    best = min(cases, key=lambda case: (_rank(case), -case.seen.handshake.time))
    seen = tuple(evidence.seen)
    if best.decision.certificate is not None:
        return best.decision, _with_others(diagnose(best), best, cases), tuple(best.handshakes)
    if best.decision.verdict == "unverifiable":
        return best.decision, _hidden(cases), seen
    return best.decision, _differing(cases), seen


def concerned(
    cnf: CnfFile, group: VpnGroup, evidence: Evidence, *, nowhere: bool
) -> Iterator[tuple[Seen, Told]]:
    """Yield the handshakes that a stated hash applies to.

    These are the handshakes in which a server presents its certificate. If no server does (`nowhere`), they
    are all handshakes that show another certificate.
    """
    for seen in evidence.seen:
        if seen.chain and (nowhere or carries(seen.chain, group)):
            yield seen, Told(cnf, group, _NOWHERE, _head_end(seen.handshake.server))


_NOWHERE = HeadEndUrl(0, "")


def _servers(evidence: Evidence) -> list[list[Seen]]:
    """Group the handshakes by server, oldest first in each group."""
    servers: dict[tuple[Endpoint, str | None], list[Seen]] = defaultdict(list)
    for seen in evidence.seen:
        servers[seen.handshake.server, seen.handshake.server_name].append(seen)
    return list(servers.values())


def _head_end(server: Endpoint) -> HeadEnd:
    return HeadEnd(server.address, server.port or 0, is_address=True)


def _case(cnf: CnfFile, group: VpnGroup, handshakes: list[Seen], evidence: Evidence) -> Case:
    head_end = _head_end(handshakes[0].handshake.server)
    decision = decide(Told(cnf, group, _NOWHERE, head_end), handshakes, evidence)
    return Case(decision, cnf, group, head_end, handshakes, evidence)


def _rank(case: Case) -> int:
    """Return the sort key of a server's decision: presenting the certificate outranks not presenting it."""
    if case.decision.certificate is not None:
        return ("match", "rejected", "unverifiable").index(case.decision.verdict)
    return 3 if case.decision.verdict == "unverifiable" else 4


def _with_others(diagnosis: Diagnosis, best: Case, cases: list[Case]) -> Diagnosis:
    others = [case for case in cases if case is not best and case.decision.certificate is not None]
    if not others:
        return diagnosis
    named = ", ".join(f"{_server(case)} ({case.decision.verdict})" for case in others[:MOST_SERVERS])
    return diagnosis._replace(
        explanation=f"{diagnosis.explanation} Other servers with this certificate: {named}{_more(others)}."
    )


def _hidden(cases: list[Case]) -> Diagnosis:
    unseen = [case for case in cases if case.decision.verdict == "unverifiable"]
    reasons = Counter(s.handshake.hidden for case in unseen for s in case.handshakes if s.handshake.hidden)
    names = ", ".join(map(_server, unseen[:MOST_SERVERS])) + _more(unseen)
    why = "; ".join(HIDDEN[reason].title for reason in sorted(reasons))
    explanation = f"No visible certificate has this hash. The certificates of {names} are hidden: {why}."
    differing = [case for case in cases if case not in unseen]
    if differing:
        explanation += f" {_listing(differing)}"
    advice = next((HIDDEN[r].advice for r in reasons if HIDDEN[r].advice), VERDICTS["unverifiable"].advice)
    return Diagnosis(None, explanation, advice)


def _differing(cases: list[Case]) -> Diagnosis:
    """Explain what each server presents, with the cause if it is known for a server."""
    causes = [diagnose(case) for case in cases]
    found = next((each for each in causes if each.cause != "unknown-certificate"), None)
    if found is not None:
        return found._replace(explanation=f"{found.explanation} {_listing(cases)}")
    explanation = f"No certificate in the captures has this hash. {_listing(cases)}"
    return Diagnosis("unknown-certificate", explanation, CAUSES["unknown-certificate"].advice)


def _listing(cases: list[Case]) -> str:
    """Return what each server presented last, as text."""
    said = "; ".join(
        f"{_server(case)} presented {subject_of(case.chain[0].der)} ({to_base64(case.chain[0].sha1)}) "
        f"in {place_of(case.seen)}"
        for case in cases[:MOST_SERVERS]
    )
    return f"{said}{_more(cases)}."


def _server(case: Case) -> str:
    name = case.seen.handshake.server_name
    return f"{case.seen.handshake.server}" + (f" as {name}" if name else "")


def _more(cases: list[Case]) -> str:
    return f" and {len(cases) - MOST_SERVERS:,} more" if len(cases) > MOST_SERVERS else ""
