"""Define the result of an audit: the document behind every report, which can be loaded from JSON again.

This is the layout of ``audit -f json``. Keys may be added, but not removed. Times are ISO 8601 text, UTC with
microseconds; hashes are Base64 unless the key says otherwise; frame numbers are those that Wireshark shows
for the original file.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from certhash.model import (
    STATED,
    CaptureStatus,
    Endpoint,
    FailedReason,
    HashSource,
    Hidden,
    Problem,
    Sender,
    TransferProtocol,
    Transport,
)

SCHEMA_VERSION = 1

Verdict = Literal["match", "mismatch", "rejected", "unverifiable", "unseen"]
HandshakeVerdict = Literal["match", "mismatch", "rejected", "unverifiable", "unlisted"]
Cause = Literal[
    "stale-hash",
    "other-head-end",
    "issuer-hash",
    "wrong-input",
    "malformed-hash",
    "unknown-certificate",
    "host-id",
    "validity",
    "alert-only",
]
FINDINGS: frozenset[Verdict] = frozenset({"mismatch", "rejected"})
"""The verdicts that make the exit status 1."""


class Tool(Struct, frozen=True):
    """The program that created the document."""

    certhash: str
    tshark: str | None
    lua: str | None
    hash_source: HashSource


class Capture(Struct, frozen=True):
    """One requested capture, whether it could be read or not."""

    path: str
    status: CaptureStatus
    packets: int
    error: str | None
    notes: tuple[str, ...] = ()
    """Notes about how the capture was read. A note never means that data is missing."""


class Certificate(Struct, frozen=True):
    """A presented certificate; a part that could not be parsed is None, but the hashes are always set."""

    position: int
    sender: Sender
    frame: int
    sha1: str
    thumbprint: str
    """Hex, upper case."""
    sha256: str
    subject: str | None
    issuer: str | None
    serial: str | None
    """Hex."""
    not_before: str | None
    not_after: str | None
    names: tuple[str, ...]
    """Subject alternative names (DNS names and addresses); without these, the common name."""


class Alert(Struct, frozen=True):
    """An alert of the handshake."""

    frame: int
    time: str
    sender: Sender
    level: str
    code: int
    name: str


class Handshake(Struct, frozen=True):
    """One handshake, with its verdict for the devices configured for this head-end."""

    id: str
    capture: str
    frame: int
    time: str
    transport: Transport
    stream: int | None
    client: Endpoint
    server: Endpoint
    server_name: str | None
    version: str | None
    resumed: bool
    encrypted: bool
    client_proceeded: bool
    hidden: Hidden | None
    certificates: tuple[Certificate, ...]
    alerts: tuple[Alert, ...]
    verdict: HandshakeVerdict
    devices: tuple[str, ...]
    """The devices configured for this head-end."""


class Hash(Struct, frozen=True):
    """One `certHashN`; `algorithm` is None if it is malformed."""

    number: int
    value: str
    algorithm: str | None
    line: int | None


class Download(Struct, frozen=True):
    """A download of a cnf file, seen in a capture."""

    capture: str
    frame: int
    time: str
    client: str
    server: str


class FailedDownload(Struct, frozen=True):
    """A failed download of the device's cnf file, seen in a capture, with no later one that succeeded."""

    capture: str
    frame: int
    time: str
    client: str
    server: str
    name: str
    reason: FailedReason
    code: int | None
    """The error code of TFTP, or the status of HTTP."""
    message: str
    protocol: TransferProtocol


NO_DEVICE = STATED
"""The device name of an expectation from ``--expect``."""


class Expectation(Struct, frozen=True):
    """One device and one URL, with all the hashes of its file: the row that operators act on."""

    device: str
    source: str
    """The cnf file; for a download seen in a capture, that capture, and `frame` is set."""
    frame: int | None
    url: str | None
    """None if the file is encrypted, or if the user stated a hash without a URL."""
    line: int | None
    hashes: tuple[Hash, ...]
    host_id_check: bool | None
    verdict: Verdict
    cause: Cause | None
    explanation: str
    advice: tuple[str, ...]
    """What to do, and the IOS or ASA lines to type; one line per item."""
    warnings: tuple[str, ...]
    """Irregularities that are not the cause: expired, an uncommon hashAlg, a stale copy."""
    handshakes: tuple[str, ...]
    """Ids of all handshakes with this head-end, oldest first."""
    decided_by: str | None
    """The id of the handshake that decided the verdict."""
    matched: str | None
    """The SHA-1 of the presented certificate that matches one of the hashes, if any."""
    download: Download | None
    on_paper: bool = False
    """The verdict is based on configurations alone: no handshake was seen."""
    failed_download: FailedDownload | None = None
    """Why the phone may still use an older file. It never changes the verdict."""

    @property
    def where(self) -> str:
        """Return the URL, or a phrase that says why there is none."""
        return where(self.device, self.url)

    @property
    def who(self) -> str:
        """Return the device, or a phrase for a stated hash, which belongs to none."""
        return who(self.device)

    @property
    def key(self) -> tuple[str, ...]:
        """Return what identifies it within a result: device and URL, and the hashes of a stated one."""
        stated = tuple(each.value for each in self.hashes) if self.device == STATED else ()
        return self.device, self.url or "", *stated


def who(device: str) -> str:
    """Return a device, or a phrase for a stated hash, which belongs to none."""
    return "any phone" if device == STATED else device


def where(device: str, url: str | None) -> str:
    """Return a URL, or a phrase that says why an expectation has none."""
    return url or ("any head-end" if device == STATED else "(no URL can be read)")


class Summary(Struct, frozen=True):
    """Counts: captures, handshakes and certificates seen; expectations by verdict; handshakes unlisted."""

    captures: int
    handshakes: int
    certificates: int
    """Certificates presented, each time counted."""
    match: int
    mismatch: int
    rejected: int
    unverifiable: int
    unseen: int
    unlisted: int
    """Handshakes with a head-end that no expectation names."""
    hidden: dict[str, int]
    """Number of handshakes without a visible server certificate, by reason."""
    match_on_paper: int = 0
    """Number of matches that are based on configurations alone."""


class Document(Struct, frozen=True):
    """The whole result."""

    schema_version: int
    tool: Tool
    captures: tuple[Capture, ...]
    handshakes: tuple[Handshake, ...]
    expectations: tuple[Expectation, ...]
    problems: tuple[Problem, ...]
    summary: Summary

    @property
    def exit_status(self) -> int:
        """Return 2 if there are problems, else 1 if there are findings, else 0."""
        if self.problems:
            return 2
        return 1 if any(e.verdict in FINDINGS for e in self.expectations) else 0
