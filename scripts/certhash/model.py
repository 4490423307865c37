"""The ground floor: what was seen in captures, and what phones were told to expect.

Everything here is plain, immutable data. Times are whole microseconds since 1970-01-01 UTC, digests and
certificates are raw bytes (DER), addresses are text, frame numbers are those of the original capture file.
What an audit concludes from these is in :mod:`certhash.judgement.document`.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

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
"""Why the server's certificate of a handshake cannot be seen."""


class Endpoint(Struct, frozen=True):
    """One end of a connection; the port is None where there is none (EAP-TLS)."""

    address: str
    port: int | None

    def __str__(self) -> str:
        """Return both as they are written in a URL."""
        if self.port is None:
            return self.address
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


# ---------------------------------------------------------------- what was seen in a capture


class PresentedCertificate(Struct, frozen=True):
    """A certificate as it stood in a Certificate message."""

    position: int
    """0 is the certificate that the sender's chain starts with."""
    sender: Sender
    frame: int
    """The frame that completes the Certificate message."""
    sha256: bytes
    """Of the DER: the key into :attr:`Observation.certificates`."""


class Alert(Struct, frozen=True):
    """A TLS or DTLS alert that could be read (an encrypted one cannot)."""

    frame: int
    time: int
    sender: Sender
    level: str
    """``warning`` or ``fatal``."""
    code: int
    """RFC 8446, section 6; 42 is bad_certificate."""
    name: str


class Handshake(Struct, frozen=True):
    """One TLS or DTLS handshake, put together from all its frames."""

    frame: int
    """The first frame of it that is in the capture."""
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
    """The certificates are encrypted (TLS 1.3), and no keys were given."""
    client_proceeded: bool
    """After the server's certificate the client sent what only a client sends that goes on."""
    hidden: Hidden | None
    """Why no certificate of the server is among :attr:`certificates`; None where there is one."""
    certificates: tuple[PresentedCertificate, ...]
    alerts: tuple[Alert, ...]


class Download(Struct, frozen=True):
    """A cnf file that crossed the wire, over TFTP or HTTP."""

    name: str
    frame: int
    """The frame of the last block."""
    time: int
    client: str
    """Address of the client that downloaded it."""
    server: str
    content: bytes
    """The file, as transferred."""


class NameAnswer(Struct, frozen=True):
    """A DNS answer: `name` (lower case, no final dot) is at `address`."""

    name: str
    address: str
    frame: int
    time: int


class Problem(Struct, frozen=True):
    """Something that could not be done, in one line that says what to do about it."""

    path: str
    message: str


class Observation(Struct, frozen=True):
    """All that one capture shows. This, and never a verdict, is what the cache keeps."""

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
    notes: tuple[str, ...] = ()
    """What is worth knowing of how it was read, and keeps nothing from being seen; a line each."""
    interrupted: bool = False
    """tshark was ended before it had read everything: another try may see more."""


# ---------------------------------------------------------------- what phones were told to expect


class ExpectedHash(Struct, frozen=True):
    """One ``certHashN``."""

    number: int
    value: str
    """As written in the file."""
    digest: bytes
    """The decoded value; empty where it is no Base64 of a known digest's length."""
    algorithm: str | None
    """``SHA-1``, ``SHA-256`` or ``SHA-512``, told by the length; None where malformed."""
    line: int | None = None


class HeadEndUrl(Struct, frozen=True):
    """One ``urlN``."""

    number: int
    value: str
    line: int | None = None


class VpnGroup(Struct, frozen=True):
    """What a ``vpnGroup`` says. No numbering pairs a hash with a URL: they are two independent lists."""

    urls: tuple[HeadEndUrl, ...]
    hashes: tuple[ExpectedHash, ...]
    host_id_check: bool | None
    """None where the file does not say (CME's and CUCM's default is on)."""
    hash_algorithm: str | None
    """The text of ``hashAlg``; only ``0`` was ever seen, beside SHA-1."""
    unresolved: tuple[str, ...] = ()
    """From a configuration: the ``vpn-trustpoint`` lines whose certificate is not in it. The list of hashes
    is then not complete, and that none of them matches proves nothing."""


class Fetch(Struct, frozen=True):
    """Where and when a cnf file was seen on its way to a phone."""

    capture: str
    frame: int
    time: int
    client: str
    server: str


CnfKind = Literal["plain", "signed", "encrypted", "configuration", "stated"]
"""`stated`: no file at all, the user gave the hash (``--expect``)."""

STATED = "-"
"""The device of an expectation that the user stated."""


class CnfFile(Struct, frozen=True):
    """What one device is told, from one source."""

    device: str
    """``SEP001122334455``, from the file's name; for a shared file its name (``XMLDefault7960``)."""
    source: str
    """The path of the file; of the capture, where it was seen on the wire."""
    kind: CnfKind
    group: VpnGroup | None
    """None if there is no vpnGroup, or the file is encrypted."""
    fetch: Fetch | None = None
    warnings: tuple[str, ...] = ()

    @property
    def says(self) -> object:
        """What a phone would make of the file: two files that agree in this are the same to it."""
        if self.group is None:
            return self.kind == "encrypted"
        hashes = frozenset(h.digest or h.value.encode() for h in self.group.hashes)
        urls = tuple(url.value for url in self.group.urls)
        # A list that is not complete does not say the same as one that ends there.
        return urls, hashes, self.group.host_id_check, self.group.hash_algorithm, self.group.unresolved


class ServedAt(Struct, frozen=True):
    """Where one line of a configuration makes a head-end present something."""

    address: str | None
    """None where the configuration does not state it (DHCP, PPPoE)."""
    port: int
    line: int | None = None
    says: str = ""
    """The line itself, for example ``ssl trust-point NEW domain vpn.example.com``."""
    name: str | None = None
    """Only for URLs with this host name (lower case); a first label ``*`` stands for any."""
    stated: bool = False
    """The configuration itself says that this name is here (``group-url``, ``domain``)."""


class Unsettled(Struct, frozen=True):
    """A line of a configuration that leaves open what a head-end presents."""

    source: str
    line: int
    says: str
    """The line itself."""
    why: str
    """A clause that follows the line: ``webvpn is not enabled on inside``."""
    at: tuple[ServedAt, ...] = ()
    """Where; empty where the configuration does not say."""
    presents: bool = True
    """Something is presented there that is not known. False: nothing is, as far as this line goes."""


class KnownCertificate(Struct, frozen=True):
    """A certificate, or its SHA-1, that a configuration or a certificate file shows; no capture is needed."""

    source: str
    line: int | None
    trustpoint: str | None
    role: Literal["leaf", "ca", "self-signed"] | None
    sha1: bytes
    der: bytes | None
    """None where only the fingerprint is known."""
    served_at: tuple[ServedAt, ...] = ()
    """The head-ends that the same configuration makes serve it (`webvpn gateway`, `ssl trust-point`)."""


class Sources(Struct, frozen=True):
    """All that was read from `--cnf`."""

    cnf_files: tuple[CnfFile, ...] = ()
    known: tuple[KnownCertificate, ...] = ()
    problems: tuple[Problem, ...] = ()
    copies: tuple[str, ...] = ()
    """Paths skipped in folders: copies of cnf files, with names that no phone requests."""
    unsettled: tuple[Unsettled, ...] = ()
