"""Define the shared data types: what captures show, and what phones are configured to expect.

Everything here is plain, immutable data. Times are whole microseconds since 1970-01-01 UTC, digests and
certificates are raw bytes (DER), addresses are text, frame numbers are those of the original capture file.
What an audit concludes from these is in :mod:`certhash.judgement.document`.
"""

from __future__ import annotations

from itertools import chain
from typing import Literal

from msgspec import Struct
from msgspec.structs import astuple

Sender = Literal["server", "client"]
Transport = Literal["tcp", "udp", "other"]
"""`other`: no transport at all, as under EAP-TLS."""
CaptureStatus = Literal["complete", "truncated", "unreadable"]
HashSource = Literal["plugin", "python"]

Hidden = Literal[
    "resumed",  # an abbreviated handshake carries no Certificate message
    "tls-1.3",  # the Certificate message is encrypted, and there are no keys
    "packets-missing",  # segments are not in the capture
    "snaplen",  # packets were cut when they were recorded
    "too-long",  # 64 KB or more: tshark does not dissect such a Certificate message
    "no-certificate",  # the cipher suite needs none (anonymous, pre-shared key)
    "incomplete",  # the capture, or the connection, ends before the server answered
]
"""Why the server certificate of a handshake is not available."""


TransferProtocol = Literal["TFTP", "HTTP"]

FailedReason = Literal[
    "error",  # an ERROR packet ended it, or the status of HTTP is 400 or more
    "unanswered",  # no answer is in the capture
    "unfinished",  # it began, and its end is not in the capture
    "incomplete",  # its last block was seen, and others are missing in the capture
    "other-file",  # the phone downloaded a file for all phones, and not its own
]
"""Why a phone did not get its cnf file."""


class Endpoint(Struct, frozen=True):
    """One end of a connection; the port is None if the transport has no ports (EAP-TLS)."""

    address: str
    port: int | None

    def __str__(self) -> str:
        """Return ``address:port`` as in a URL."""
        if self.port is None:
            return self.address
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


# ---------------------------------------------------------------- what was seen in a capture


class PresentedCertificate(Struct, frozen=True):
    """A certificate from a Certificate message."""

    position: int
    """Position in the chain; 0 is the sender's own certificate."""
    sender: Sender
    frame: int
    """The frame that completes the Certificate message."""
    sha256: bytes
    """SHA-256 of the DER: the key into :attr:`Observation.certificates`."""


class Alert(Struct, frozen=True):
    """An unencrypted TLS or DTLS alert."""

    frame: int
    time: int
    sender: Sender
    level: str
    """``warning`` or ``fatal``."""
    code: int
    """Alert description (RFC 8446, section 6); 42 is bad_certificate."""
    name: str


class Handshake(Struct, frozen=True):
    """One TLS or DTLS handshake, assembled from all its frames."""

    frame: int
    """Its first frame in the capture."""
    time: int
    transport: Transport
    stream: int | None
    """Wireshark's ``tcp.stream`` or ``udp.stream``."""
    client: Endpoint
    server: Endpoint
    server_name: str | None
    """SNI."""
    version: str | None
    """For example ``TLS 1.0`` or ``DTLS 1.2``."""
    resumed: bool
    encrypted: bool
    """The certificates are encrypted (TLS 1.3), and no keys are available."""
    client_proceeded: bool
    """The client continued the handshake after the server's certificate."""
    hidden: Hidden | None
    """Why :attr:`certificates` has no certificate of the server; None if it has one."""
    certificates: tuple[PresentedCertificate, ...]
    alerts: tuple[Alert, ...]


class Download(Struct, frozen=True):
    """A cnf file that was transferred over TFTP or HTTP in a capture."""

    name: str
    frame: int
    """The frame of the last block."""
    time: int
    client: str
    """Address of the client that downloaded it."""
    server: str
    content: bytes
    """The file, as transferred."""


class FailedTransfer(Struct, frozen=True):
    """A request for a cnf file that brought no file."""

    name: str
    frame: int
    """The frame of the error, or of the request if there was none."""
    time: int
    client: str
    server: str
    reason: FailedReason
    code: int | None = None
    """The error code of TFTP (RFC 1350), of which 1 is "File not found", or the status of HTTP."""
    message: str = ""
    """The text of a TFTP error."""
    protocol: TransferProtocol = "TFTP"


class NameAnswer(Struct, frozen=True):
    """A DNS answer: `name` (lower case, no final dot) resolves to `address`."""

    name: str
    address: str
    frame: int
    time: int


class Problem(Struct, frozen=True):
    """Something that failed: one line that also says what to do about it."""

    path: str
    message: str


class Observation(Struct, frozen=True):
    """Everything that one capture shows. The cache stores observations, never verdicts."""

    path: str
    status: CaptureStatus
    packets: int
    error: str | None
    hash_source: HashSource
    handshakes: tuple[Handshake, ...] = ()
    downloads: tuple[Download, ...] = ()
    answers: tuple[NameAnswer, ...] = ()
    certificates: dict[bytes, bytes] = {}
    """SHA-256 to DER of every certificate that was presented."""
    problems: tuple[Problem, ...] = ()
    failed: tuple[FailedTransfer, ...] = ()
    notes: tuple[str, ...] = ()
    """Notes about how the capture was read, one line each. A note never means that data is missing."""
    interrupted: bool = False
    """tshark was stopped before it had read everything: a retry may see more."""


# ---------------------------------------------------------------- what phones are configured to expect


class ExpectedHash(Struct, frozen=True):
    """One ``certHashN``."""

    number: int
    value: str
    """As written in the file."""
    digest: bytes
    """The decoded value; empty if it is not Base64 of a digest of known length."""
    algorithm: str | None
    """``SHA-1``, ``SHA-256`` or ``SHA-512``, by the length; None if malformed."""
    line: int | None = None


class HeadEndUrl(Struct, frozen=True):
    """One ``urlN``."""

    number: int
    value: str
    line: int | None = None


class VpnGroup(Struct, frozen=True):
    """The content of a ``vpnGroup``. ``certHash1`` does not belong to ``url1``: the lists are independent."""

    urls: tuple[HeadEndUrl, ...]
    hashes: tuple[ExpectedHash, ...]
    host_id_check: bool | None
    """None if the file does not say (CME's and CUCM's default is on)."""
    hash_algorithm: str | None
    """The text of ``hashAlg``; the only value seen so far is ``0``, with SHA-1."""
    unresolved: tuple[str, ...] = ()
    """The ``vpn-trustpoint`` lines of a configuration that does not contain their certificates. The list of
    hashes is then incomplete, so a certificate that matches none of them is not a proven mismatch."""


class Fetch(Struct, frozen=True):
    """Where and when a phone's download of a cnf file was seen."""

    capture: str
    frame: int
    time: int
    client: str
    server: str


CnfKind = Literal["plain", "signed", "encrypted", "configuration", "stated"]
"""`stated`: no file; the user gave the hash with ``--expect``."""

STATED = "-"
"""The device name of an expectation that the user stated."""


class CnfFile(Struct, frozen=True):
    """The configuration of one device, from one source."""

    device: str
    """``SEP001122334455``, from the file name; for a shared file its own name (``XMLDefault7960``)."""
    source: str
    """The path of the file, or of the capture that contains its download."""
    kind: CnfKind
    group: VpnGroup | None
    """None if there is no vpnGroup, or the file is encrypted."""
    fetch: Fetch | None = None
    warnings: tuple[str, ...] = ()

    @property
    def says(self) -> object:
        """Return a comparable value of what the phone uses: equal values mean the same to a phone."""
        if self.group is None:
            return self.kind == "encrypted"
        hashes = frozenset(h.digest or h.value.encode() for h in self.group.hashes)
        urls = tuple(url.value for url in self.group.urls)
        # An incomplete list is not equal to a complete list with the same entries.
        return urls, hashes, self.group.host_id_check, self.group.hash_algorithm, self.group.unresolved


class MissedFetch(Struct, frozen=True):
    """A failed download of a device's own cnf file, with no later one that brought it."""

    device: str
    capture: str
    failed: FailedTransfer
    instead: str | None = None
    """The file for all phones that the phone downloaded instead (``XMLDefault.cnf.xml``)."""
    instead_frame: int | None = None


class ServedAt(Struct, frozen=True):
    """Where a head-end presents a certificate, according to one line of its configuration."""

    address: str | None
    """None if the configuration does not state it (DHCP, PPPoE)."""
    port: int
    line: int | None = None
    says: str = ""
    """The line itself, for example ``ssl trust-point NEW domain vpn.example.com``."""
    name: str | None = None
    """Only for URLs with this host name (lower case); a first label ``*`` matches any label."""
    stated: bool = False
    """The configuration itself assigns this name to this head-end (``group-url``, ``domain``)."""


class Unsettled(Struct, frozen=True):
    """A line of a configuration that does not determine what a head-end presents."""

    source: str
    line: int
    says: str
    """The line itself."""
    why: str
    """The reason, as a clause that follows the line: ``webvpn is not enabled on inside``."""
    at: tuple[ServedAt, ...] = ()
    """Where; empty if the configuration does not say."""
    presents: bool = True
    """True: an unknown certificate is presented there. False: this line causes none to be presented."""


class DtlsPort(Struct, frozen=True):
    """A line of a configuration that moves a head-end's DTLS to another UDP port (``dtls port``)."""

    source: str
    line: int
    says: str
    """The line itself."""
    address: str
    port: int
    """The TCP port, which the URL names."""
    dtls_port: int


class KnownCertificate(Struct, frozen=True):
    """A certificate, or its SHA-1, from a configuration or a certificate file rather than a capture."""

    source: str
    line: int | None
    trustpoint: str | None
    role: Literal["leaf", "ca", "self-signed"] | None
    sha1: bytes
    der: bytes | None
    """None if only the fingerprint is known."""
    served_at: tuple[ServedAt, ...] = ()
    """The head-ends that serve it by the same configuration (`webvpn gateway`, `ssl trust-point`)."""


class Sources(Struct, frozen=True):
    """Everything that was read from `--cnf`."""

    cnf_files: tuple[CnfFile, ...] = ()
    known: tuple[KnownCertificate, ...] = ()
    problems: tuple[Problem, ...] = ()
    copies: tuple[str, ...] = ()
    """Paths skipped in folders: copies of cnf files under names that no phone requests."""
    unsettled: tuple[Unsettled, ...] = ()
    missed: tuple[MissedFetch, ...] = ()
    dtls_ports: tuple[DtlsPort, ...] = ()


def joined(*several: Sources) -> Sources:
    """Return everything that several have, in their order."""
    return Sources(*(tuple(chain.from_iterable(each)) for each in zip(*map(astuple, several), strict=True)))
