"""The result of an audit: one document, from which every report is made and which reads back from JSON.

The layout is the one that ``audit -f json`` promises. Keys may be added, these stay. Times are text, ISO 8601
UTC with microseconds; hashes are Base64 unless the key says otherwise; frame numbers are those that Wireshark
shows for the original file.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from certhash.model import STATED, CaptureStatus, Endpoint, HashSource, Hidden, Problem, Sender, Transport

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
    """What made the document."""

    certhash: str
    tshark: str | None
    lua: str | None
    hash_source: HashSource


class Capture(Struct, frozen=True):
    """One line for every capture that was asked for, whatever became of it."""

    path: str
    status: CaptureStatus
    packets: int
    error: str | None
    notes: tuple[str, ...] = ()
    """What is worth knowing of how it was read, and kept nothing from being seen."""


class Certificate(Struct, frozen=True):
    """A certificate as it was presented; what could not be parsed is None, the hashes never are."""

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
    """Evidence: one handshake, and what the devices told to use this head-end make of it."""

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
    """The devices told to use this head-end."""


class Hash(Struct, frozen=True):
    """One `certHashN`; `algorithm` is None where it is malformed."""

    number: int
    value: str
    algorithm: str | None
    line: int | None


class Download(Struct, frozen=True):
    """A cnf file as it was seen being fetched."""

    capture: str
    frame: int
    time: str
    client: str
    server: str


NO_DEVICE = STATED
"""The device of an expectation that ``--expect`` states."""


class Expectation(Struct, frozen=True):
    """One device and one URL, with all the hashes of its file: the row that operators act on."""

    device: str
    source: str
    """The cnf file; for one that was seen on the wire the capture, and `frame` is set."""
    frame: int | None
    url: str | None
    """None where the file is encrypted and its URLs cannot be told, and of a hash that was stated without."""
    line: int | None
    hashes: tuple[Hash, ...]
    host_id_check: bool | None
    verdict: Verdict
    cause: Cause | None
    explanation: str
    advice: tuple[str, ...]
    """What to do, and the IOS or ASA lines to type, one an item."""
    warnings: tuple[str, ...]
    """What is odd without being the cause: expired, an uncommon hashAlg, a stale copy."""
    handshakes: tuple[str, ...]
    """Ids of all handshakes with this head-end, oldest first."""
    decided_by: str | None
    """The id of the handshake that the verdict rests on."""
    matched: str | None
    """The presented certificate's SHA-1 that is among the hashes, if one is."""
    download: Download | None
    on_paper: bool = False
    """The verdict rests on configurations alone: no handshake was seen."""

    @property
    def where(self) -> str:
        """The URL, or words for why there is none."""
        return where(self.device, self.url)

    @property
    def key(self) -> tuple[str, ...]:
        """What tells it from the others of a result: device and URL; of stated ones the hashes, too."""
        stated = tuple(each.value for each in self.hashes) if self.device == STATED else ()
        return self.device, self.url or "", *stated


def where(device: str, url: str | None) -> str:
    """Return a URL, or words for why an expectation has none."""
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
    """How many handshakes showed no certificate of the server, by reason."""
    match_on_paper: int = 0
    """How many of the matches rest on configurations alone."""


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
        """2 where something could not be done, else 1 where there is a finding, else 0."""
        if self.problems:
            return 2
        return 1 if any(e.verdict in FINDINGS for e in self.expectations) else 0
