"""Create documents for reports: every verdict and cause, hostile texts, thousands of devices."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from typing import get_args

from certhash.judgement.causes import CAUSES
from certhash.judgement.document import (
    SCHEMA_VERSION,
    Alert,
    Capture,
    Cause,
    Certificate,
    Document,
    Download,
    Expectation,
    Handshake,
    HandshakeVerdict,
    Hash,
    Summary,
    Tool,
    Verdict,
)
from certhash.model import Endpoint, Hidden, Problem

TAC_HASH = "fZ2xQHMBcWj/fSoNs5IkPbA2Pt8="
"""The hash in Cisco TAC 116638."""

HOSTILE = (
    "\x1b[31mred\x1b]0;title\x07",
    "</script><script>document.title='owned'</script>",
    "<img src=x onerror=\"document.title='owned'\">",
    "]]></failure><testcase name='owned'/>",
    "\u202egnp.exe\u2066 \u200f\u200b\ufeff",
    "[red]markup[/red] [link=http://x]x[/link] :boom:",
    '=HYPERLINK("http://x","y")',
    "+1+cmd|' /C calc'!A0",
    "a;=1+1",
    "@SUM(1)",
    "-2+3",
    "caf\udce9.pcap",
    "\x00\x01\x7f\x85\x9b31m",
    "two\r\nlines\u2028three",
    "{{ 7*7 }}{% raw %}${7*7}`id`$(id)",
    "名前" * 50,
    "\U000e0041\U000e0042 \ufffe \ud800",
    "L" * 65536,
)
"""Hostile text for a subject, a server name, a file name or a cnf file."""


def digest(seed: str) -> bytes:
    return hashlib.sha1(seed.encode(), usedforsecurity=False).digest()


def base64_sha1(seed: str) -> str:
    return base64.b64encode(digest(seed)).decode()


def certificate(
    seed: str, *, position: int = 0, frame: int = 6, sender: str = "server", subject: str | None = None
) -> Certificate:
    return Certificate(
        position=position,
        sender="client" if sender == "client" else "server",
        frame=frame,
        sha1=base64_sha1(seed),
        thumbprint=digest(seed).hex().upper(),
        sha256=base64.b64encode(hashlib.sha256(seed.encode()).digest()).decode(),
        subject=f"CN={seed}" if subject is None else subject,
        issuer="CN=Lab CA",
        serial="0A1B2C",
        not_before="2013-01-01T00:00:00.000000Z",
        not_after="2023-01-01T00:00:00.000000Z",
        names=(seed,),
    )


def _time(number: int, month: int) -> str:
    day, hour, minute = 1 + number // 400 % 28, number // 60 % 24, number % 60
    return f"2013-{10 + month}-{day:02}T{hour:02}:{minute:02}:00.123456Z"


def handshake(  # noqa: PLR0913 - a factory
    number: int,
    *chain: Certificate,
    capture: str = "captures/phones.pcap",
    server: str = "10.201.160.201",
    name: str | None = None,
    verdict: HandshakeVerdict = "match",
    devices: tuple[str, ...] = (),
    alert: Alert | None = None,
    hidden: Hidden | None = None,
    later: int = 0,
) -> Handshake:
    return Handshake(
        id=f"h{number}",
        capture=capture,
        frame=4 + 20 * number,
        time=_time(number, later),
        transport="tcp",
        stream=number,
        client=Endpoint(f"10.1.{number // 250 % 250}.{1 + number % 250}", 49152 + number % 10000),
        server=Endpoint(server, 443),
        server_name=name,
        version="TLS 1.0",
        resumed=hidden == "resumed",
        encrypted=hidden == "tls-1.3",
        client_proceeded=alert is None,
        hidden=hidden,
        certificates=chain,
        alerts=() if alert is None else (alert,),
        verdict=verdict,
        devices=devices,
    )


def bad_certificate(frame: int = 8, code: int = 42, name: str = "bad_certificate") -> Alert:
    return Alert(
        frame=frame, time="2013-10-01T00:30:00.223456Z", sender="client", level="fatal", code=code, name=name
    )


def expectation(  # noqa: PLR0913 - a factory
    device: str,
    verdict: Verdict,
    *,
    cause: Cause | None = None,
    hashes: tuple[Hash, ...] | None = None,
    url: str | None = "https://10.201.160.201/SSLVPNphone",
    handshakes: tuple[str, ...] = (),
    explanation: str = "",
    source: str | None = None,
    warnings: tuple[str, ...] = (),
    download: Download | None = None,
    matched: str | None = None,
) -> Expectation:
    return Expectation(
        device=device,
        source=source or f"captures/cnf/{device}.cnf.xml",
        frame=download.frame if download else None,
        url=url,
        line=9,
        hashes=(Hash(1, TAC_HASH, "SHA-1", 13),) if hashes is None else hashes,
        host_id_check=False,
        verdict=verdict,
        cause=cause,
        explanation=explanation or f"{device}: {verdict}.",
        advice=CAUSES[cause].advice if cause else (),
        warnings=warnings,
        handshakes=handshakes,
        decided_by=handshakes[-1] if handshakes else None,
        matched=matched,
        download=download,
    )


def document(
    expectations: tuple[Expectation, ...] = (),
    handshakes: tuple[Handshake, ...] = (),
    captures: tuple[Capture, ...] = (Capture("captures/phones.pcap", "complete", 4242, None),),
    problems: tuple[Problem, ...] = (),
) -> Document:
    verdicts = Counter(each.verdict for each in expectations)
    hidden = Counter(each.hidden for each in handshakes if each.hidden)
    return Document(
        schema_version=SCHEMA_VERSION,
        tool=Tool("0.1.0", "4.0.17", "5.2", "plugin"),
        captures=captures,
        handshakes=handshakes,
        expectations=expectations,
        problems=problems,
        summary=Summary(
            captures=len(captures),
            handshakes=len(handshakes),
            certificates=sum(len(each.certificates) for each in handshakes),
            match=verdicts["match"],
            mismatch=verdicts["mismatch"],
            rejected=verdicts["rejected"],
            unverifiable=verdicts["unverifiable"],
            unseen=verdicts["unseen"],
            unlisted=sum(each.verdict == "unlisted" for each in handshakes),
            hidden={reason: hidden[reason] for reason in sorted(hidden)},
        ),
    )


def everything() -> Document:
    """Return a document with every verdict, every cause and every reason for a hidden certificate."""
    old = certificate("vpn-2012.example.com")
    new = certificate("vpn.example.com")
    root = certificate("Lab CA", position=1)
    asa = certificate("asa.example.com")
    handshakes = [
        handshake(1, old, root, devices=("SEP001F6C81110E",)),
        handshake(
            2,
            new,
            root,
            verdict="mismatch",
            devices=("SEP001F6C81110E",),
            alert=bad_certificate(),
            name="vpn.example.com",
        ),
        handshake(
            3, asa, server="2001:db8::1", verdict="rejected", alert=bad_certificate(48, 48, "unknown_ca")
        ),
        handshake(
            4, certificate("www.example.org"), server="192.0.2.80", name="www.example.org", verdict="unlisted"
        ),
        handshake(
            5,
            new,
            certificate("CP-7965G-SEP001F6C81110F", sender="client", frame=7),
            devices=("SEP001F6C81110F",),
        ),
    ]
    for number, reason in enumerate(get_args(Hidden), 10):
        handshakes.append(handshake(number, verdict="unverifiable", hidden=reason, server="10.9.9.9"))
    download = Download("captures/phones.pcap", 12, "2013-10-03T00:10:00.000000Z", "10.1.0.3", "10.201.160.1")
    expectations = [
        expectation(
            "SEP001F6C81110F",
            "match",
            hashes=(Hash(1, new.sha1, "SHA-1", 13), Hash(2, TAC_HASH, "SHA-1", 14)),
            handshakes=("h5",),
            matched=new.sha1,
            explanation="certHash1 is the hash of certificate 0.",
            warnings=("the certificate expired on 2023-01-01",),
        ),
        expectation("SEP001F6C811110", "unseen", url="https://vpn3.example.com/phone"),
        expectation(
            "SEP001F6C811111", "unverifiable", url="https://10.9.9.9/phone", handshakes=("h10", "h11")
        ),
        expectation(
            "SEP001F6C811112", "unverifiable", url=None, hashes=(), source="captures/cnf/x.cnf.xml.enc.sgn"
        ),
    ]
    for number, cause in enumerate(get_args(Cause)):
        rejected = cause in {"host-id", "validity", "alert-only"}
        hashes = {
            "stale-hash": (Hash(1, old.sha1, "SHA-1", 13),),
            "malformed-hash": (Hash(1, "not a hash!", None, 13),),
            "wrong-input": (
                Hash(3, base64.b64encode(hashlib.sha512(b"x").digest()).decode(), "SHA-512", 15),
            ),
        }.get(cause)
        expectations.append(
            expectation(
                f"SEP00AABBCC{number:04X}",
                "rejected" if rejected else "mismatch",
                cause=cause,
                hashes=hashes,
                handshakes=("h3",) if rejected else ("h1", "h2"),
                url="https://[2001:db8::1]/phone" if rejected else "https://10.201.160.201/SSLVPNphone",
                explanation=f"{CAUSES[cause].meaning}",
                download=download if cause == "stale-hash" else None,
                matched=asa.sha1 if rejected else None,
            )
        )
    captures = (
        Capture("captures/phones.pcap", "complete", 4242, None),
        Capture(
            "captures/cut.pcap", "truncated", 17, "cut short in the middle of a packet; audited up to there"
        ),
        Capture("captures/notes.txt", "unreadable", 0, "not a capture file"),
    )
    problems = (Problem("captures/notes.txt", "not a capture file: leave it out"),)
    return document(tuple(expectations), tuple(handshakes), captures, problems)


def hostile() -> Document:
    """Return a document in which every text from outside is hostile."""
    handshakes, expectations, captures, problems = [], [], [], []
    for number, text in enumerate(HOSTILE):
        chain = certificate(f"seed{number}", subject=text)
        handshakes.append(
            handshake(
                number,
                chain,
                capture=text,
                name=text,
                server=text,
                verdict="mismatch",
                devices=(text,),
                alert=bad_certificate(),
            )
        )
        expectations.append(
            expectation(
                text,
                "mismatch",
                cause="malformed-hash",
                hashes=(Hash(1, text, None, 13),),
                url=f"https://{text}/",
                handshakes=(f"h{number}",),
                explanation=f"certHash1 is {text}",
                source=text,
                warnings=(text,),
                download=Download(text, 3, "2013-10-01T00:00:00.000000Z", "10.0.0.1", text),
            )
        )
        captures.append(Capture(text, "truncated", 1, text))
        problems.append(Problem(text, text))
    return document(tuple(expectations), tuple(handshakes), tuple(captures), tuple(problems))


def estate(devices: int = 5000, head_ends: int = 4) -> Document:
    """Return a document of many phones: most match, some have the hash of a replaced certificate."""
    handshakes, expectations = [], []
    number = 0
    for index in range(devices):
        server = f"10.201.{index % head_ends}.1"
        url = f"https://{server}/SSLVPNphone"
        device = f"SEP{0x001F6C000000 + index:012X}"
        old, new = certificate(f"old-{index % head_ends}"), certificate(f"new-{index % head_ends}")
        root = certificate("Lab CA", position=1)
        stale = index % 50 == 0
        handshakes.append(handshake(number, old, root, server=server, devices=(device,), verdict="match"))
        alert = bad_certificate() if stale else None
        verdict: HandshakeVerdict = "mismatch" if stale else "match"
        handshakes.append(
            handshake(
                number + 1, new, root, server=server, devices=(device,), verdict=verdict, alert=alert, later=1
            )
        )
        expectations.append(
            expectation(
                device,
                "mismatch" if stale else "match",
                cause="stale-hash" if stale else None,
                hashes=(Hash(1, old.sha1 if stale else new.sha1, "SHA-1", 13),),
                url=url,
                handshakes=(f"h{number}", f"h{number + 1}"),
                matched=None if stale else new.sha1,
                explanation=f"{device} holds the hash of old-{index % head_ends}." if stale else "",
            )
        )
        number += 2
    return document(tuple(expectations), tuple(handshakes))


def branch() -> Document:
    """Return a document with slightly more devices than a page shows at once."""
    return estate(400, 2)
