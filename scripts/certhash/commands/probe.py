"""Get the certificates of a live head-end, hash them, and compare with what phones expect.

It makes a TLS handshake, like a phone, and sends nothing after it. If the URL contains a name, it asks again
without SNI. With --cnf, it checks the phones whose files name this head-end: the exit status is 0 for a
match, 1 for a mismatch, and 2 if it cannot tell.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from certhash import digest
from certhash.certificate import CertificateDetails, details
from certhash.cnf import describe_copies, read
from certhash.cnf.stated import read_stated
from certhash.commands import options
from certhash.commands.probe_head_end import PATIENCE, VERSIONS, Answer, ask
from certhash.headend import HeadEnd, parse_url
from certhash.hostid import doubt
from certhash.judgement.document import who
from certhash.judgement.evidence import Presented
from certhash.judgement.verdict import carries
from certhash.model import Problem
from certhash.times import iso_of
from certhash.visible import visible

if TYPE_CHECKING:
    import argparse

    from certhash.model import CnfFile, VpnGroup


class Shown(msgspec.Struct, frozen=True):
    """One certificate of the chain."""

    position: int
    sha1: str
    thumbprint: str
    sha256: str
    details: CertificateDetails


class Comparison(msgspec.Struct, frozen=True):
    """The comparison of one file with the chain; `verdict` is match, mismatch or unverifiable."""

    device: str
    source: str
    url: str
    verdict: str
    explanation: str
    warnings: tuple[str, ...] = ()
    """What may prevent the connection despite a matching hash, such as the host-ID check."""


class Result(msgspec.Struct, frozen=True):
    """The output of `--json`."""

    url: str
    address: str
    port: int
    version: str
    unfinished: str | None
    certificates: tuple[Shown, ...]
    comparisons: tuple[Comparison, ...]
    without_name: tuple[Shown, ...] = ()
    """What it presents to a client that does not ask for the URL's name; empty if that is the same."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("url", metavar="URL", help="the head-end, as in <url1>: https://HOST[:PORT]/...")
    parser.add_argument(
        "--cnf", action="append", default=[], metavar="PATH", help="what phones expect; repeat for several"
    )
    options.add_stated(parser)
    parser.add_argument(
        "--tls",
        choices=VERSIONS,
        help="newest TLS version to offer (default: the newest that works); a 7900 phone offers 1.0",
    )
    parser.add_argument(
        "--timeout",
        type=options.seconds,
        default=PATIENCE,
        metavar="SECONDS",
        help="time limit for connection and handshake (default: %(default)g)",
    )
    parser.add_argument("--json", action="store_true", help="print a JSON object instead of text")


def run(arguments: argparse.Namespace) -> int:
    """Print the chain and the comparisons; return 1 for a mismatch, 2 for a problem."""
    stated = read_stated(arguments.expect)
    try:
        head_end = parse_url(arguments.url)
        answer = ask(head_end, arguments.tls, arguments.timeout)
    except ValueError as error:
        return _fail(arguments.url, str(error))
    nameless = _without_name(head_end, arguments, answer)
    sources = read(arguments.cnf)
    comparisons = [
        comparison
        for cnf in (*sources.cnf_files, *stated)
        for comparison in _compare(cnf, head_end, answer, nameless)
    ]
    certificates = tuple(_show(position, der) for position, der in enumerate(answer.chain))
    result = Result(
        arguments.url,
        answer.address,
        answer.port,
        answer.version,
        answer.unfinished,
        certificates,
        tuple(comparisons),
        tuple(_show(position, der) for position, der in enumerate(nameless or ())),
    )
    if arguments.json:
        from certhash.report import jsonform

        print(jsonform.render(result), end="")
    else:
        print(_describe(result))
    status = 1 if any(comparison.verdict == "mismatch" for comparison in comparisons) else 0
    if any(comparison.verdict == "unverifiable" for comparison in comparisons):
        status = 2
    if sources.copies:
        options.note(describe_copies(sources.copies))
    for problem in sources.problems:
        status = _fail(problem.path, problem.message)
    if (arguments.cnf or stated) and not comparisons:
        files = (*sources.cnf_files, *stated)
        named = sorted({url.value for cnf in files if cnf.group for url in cnf.group.urls})
        more = " and others" if named[5:] else ""
        others = f"; they name {', '.join(named[:5])}{more}" if named else ""
        status = _fail(arguments.url, f"no URL in --cnf or --expect names this head-end{others}")
    return status


def _fail(path: str, message: str) -> int:
    options.complain([Problem(path, message)])
    return 2


def _show(position: int, der: bytes) -> Shown:
    sha1 = digest.sha1(der)
    return Shown(
        position,
        digest.to_base64(sha1),
        digest.thumbprint(sha1),
        digest.to_base64(digest.sha256(der)),
        details(der),
    )


def _without_name(
    head_end: HeadEnd, arguments: argparse.Namespace, answer: Answer
) -> tuple[bytes, ...] | None:
    """Return the chain that a client without SNI gets, or None if it is the same."""
    if head_end.is_address:
        return None
    try:
        other = ask(head_end, arguments.tls, arguments.timeout, with_name=False)
    except ValueError:
        return None
    return other.chain if other.chain != answer.chain else None


def _compare(
    cnf: CnfFile, head_end: HeadEnd, answer: Answer, nameless: tuple[bytes, ...] | None
) -> list[Comparison]:
    """Compare the URLs of a file that name this head-end, by name or by the address that answered."""
    if cnf.group is None:
        return []
    found = []
    if cnf.kind == "stated" and not cnf.group.urls:
        found.append(Comparison(cnf.device, cnf.source, "", *_judge(cnf.group, answer.chain)))
    for url in cnf.group.urls:
        try:
            named = parse_url(url.value)
        except ValueError:
            continue  # already reported as a problem
        if named == head_end or (named.host, named.port) == (answer.address, answer.port):
            verdict, explanation = _judge(cnf.group, answer.chain)
            if nameless is not None and _judge(cnf.group, nameless)[0] != verdict:
                verdict = "unverifiable"
                explanation = (
                    f"{explanation}; but the head-end presents another certificate to a client that does not "
                    f"ask for {head_end.host}, and it is not documented whether phones do"
                )
            checks = verdict == "match" and cnf.kind != "stated"  # no phone belongs to a stated hash
            unnamed = doubt(cnf.group.host_id_check, answer.chain[0], named) if checks else None
            warnings = (*cnf.warnings, *([unnamed] if unnamed else []))
            found.append(Comparison(cnf.device, cnf.source, url.value, verdict, explanation, warnings))
    return found


def _judge(group: VpnGroup, chain: tuple[bytes, ...]) -> tuple[str, str]:
    """Compare the hashes of a file with the chain, as an audit does."""
    presented = tuple(map(Presented, chain))
    found = carries(presented, group)
    if found is not None:
        certificate, expected = found
        position = presented.index(certificate)
        return "match", f"certHash{expected.number} is the {expected.algorithm} of certificate {position}"
    if group.unresolved:
        return "unverifiable", "the certificate of a trustpoint is unknown: " + group.unresolved[0]
    if not group.hashes:
        return "mismatch", "the file lists no hash, so the phone trusts no head-end"
    return "mismatch", "no certificate of the chain has one of the expected hashes"


def _describe(result: Result) -> str:
    lines = [f"{visible(result.url)}  {result.address} port {result.port}  {result.version}"]
    if result.unfinished:
        lines.append(f"  warning: handshake incomplete ({visible(result.unfinished)})")
    for shown, note in [
        *((each, "") for each in result.certificates),
        *((each, ", to a client that does not ask for the name") for each in result.without_name),
    ]:
        seen = shown.details
        rows = [
            ("certHash", shown.sha1),
            ("thumbprint", shown.thumbprint),
            ("SHA-256", shown.sha256),
            ("subject", seen.subject or "(unreadable)"),
            ("issuer", seen.issuer or "(unreadable)"),
            ("valid", _validity(seen)),
            ("names", ", ".join(seen.names) or "none"),
        ]
        lines.append(f"  certificate {shown.position}{note}")
        lines += [f"    {label:10}  {value}" for label, value in rows]
    for item in result.comparisons:
        phone, source = visible(who(item.device)), visible(item.source)
        lines.append(f"{phone}  {source}  {item.verdict}: {visible(item.explanation)}")
        lines += [f"  warning: {visible(warning)}" for warning in item.warnings]
    return "\n".join(lines)


def _validity(seen: CertificateDetails) -> str:
    if not (seen.not_before and seen.not_after):
        return "(unreadable)"
    now = iso_of(datetime.now(UTC))
    note = "" if seen.not_before <= now <= seen.not_after else "  (not valid today)"
    return f"{seen.not_before[:19]}Z to {seen.not_after[:19]}Z{note}"
