"""From rows to handshakes: which frames belong together, who is the client, what could not be seen and why.

A handshake is told from the next one in the same connection by the client's random value, which a second
ClientHello after a HelloRetryRequest or HelloVerifyRequest, and a retransmitted one, repeats (RFC 8446,
section 4.1.2; RFC 6347, section 4.2.1).
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from certhash.model import (
    Alert,
    Endpoint,
    Handshake,
    Hidden,
    PresentedCertificate,
    Sender,
    Transport,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from certhash.capture.records import CertificateRecord, Row

CLIENT_HELLO, SERVER_HELLO, HELLO_VERIFY, NEW_TICKET = 1, 2, 3, 4
ENCRYPTED_EXTENSIONS, CERTIFICATE, SERVER_KEY_EXCHANGE, CERTIFICATE_REQUEST = 8, 11, 12, 13
SERVER_HELLO_DONE, CERTIFICATE_VERIFY, CLIENT_KEY_EXCHANGE, FINISHED = 14, 15, 16, 20
_FROM_SERVER = {
    SERVER_HELLO,
    HELLO_VERIFY,
    NEW_TICKET,
    SERVER_KEY_EXCHANGE,
    CERTIFICATE_REQUEST,
    SERVER_HELLO_DONE,
}
CHANGE_CIPHER_SPEC, HANDSHAKE = 20, 22  # content types
PRE_SHARED_KEY = 41
TLS13, DTLS13 = 0x0304, 0xFEFC
DRAFT, FACEBOOK_DRAFT = 0x7F, 0xFB  # the high byte of TLS 1.3 drafts, as they were deployed

HELLO_RETRY_RANDOM = hashlib.sha256(b"HelloRetryRequest").hexdigest()
"""RFC 8446, section 4.1.3."""

ALERTS = {
    0: "close_notify",
    10: "unexpected_message",
    20: "bad_record_mac",
    21: "decryption_failed",
    22: "record_overflow",
    30: "decompression_failure",
    40: "handshake_failure",
    41: "no_certificate",
    42: "bad_certificate",
    43: "unsupported_certificate",
    44: "certificate_revoked",
    45: "certificate_expired",
    46: "certificate_unknown",
    47: "illegal_parameter",
    48: "unknown_ca",
    49: "access_denied",
    50: "decode_error",
    51: "decrypt_error",
    60: "export_restriction",
    70: "protocol_version",
    71: "insufficient_security",
    80: "internal_error",
    86: "inappropriate_fallback",
    90: "user_canceled",
    100: "no_renegotiation",
    109: "missing_extension",
    110: "unsupported_extension",
    111: "certificate_unobtainable",
    112: "unrecognized_name",
    113: "bad_certificate_status_response",
    114: "bad_certificate_hash_value",
    115: "unknown_psk_identity",
    116: "certificate_required",
    120: "no_application_protocol",
}
"""IANA's TLS Alerts registry."""

_VERSIONS = {
    0x0002: "SSL 2.0",
    0x0300: "SSL 3.0",
    0x0301: "TLS 1.0",
    0x0302: "TLS 1.1",
    0x0303: "TLS 1.2",
    TLS13: "TLS 1.3",
    0x0100: "DTLS 1.0 (early)",
    0xFEFF: "DTLS 1.0",
    0xFEFD: "DTLS 1.2",
    DTLS13: "DTLS 1.3",
}

_SUITES_WITHOUT_CERTIFICATE = frozenset(
    (
        *range(0x0017, 0x001C),  # DH_anon
        *(0x0034, 0x003A, 0x0046, 0x006C, 0x006D, 0x0089, 0x009B, 0x00A6, 0x00A7, 0x00BF, 0x00C5),
        *(0x002C, 0x002D),  # PSK and DHE_PSK with NULL
        *range(0x008A, 0x0092),  # PSK, DHE_PSK
        *range(0x00A8, 0x00AC),
        *range(0x00AE, 0x00B6),
        *range(0xC015, 0xC01A),  # ECDH_anon
        *range(0xC033, 0xC03C),  # ECDHE_PSK
    )
)
"""IANA's TLS Cipher Suites registry: anonymous, and pre-shared key without RSA."""


class _Connection:
    """What all handshakes of one stream share."""

    def __init__(self) -> None:
        self.current: _Building | None = None
        self.lost = False
        self.cut = False


class _Building:
    """A handshake while its frames come in."""

    def __init__(self, row: Row, client: Endpoint, server: Endpoint, connection: _Connection) -> None:
        self.frame = row.frame
        self.time = row.time
        self.transport: Transport = row.transport
        self.stream = row.stream
        self.client = client
        self.server = server
        self.connection = connection
        self.dtls = row.dtls
        self.server_name: str | None = None
        self.client_random: str | None = None
        self.server_random: str | None = None
        self.client_session: str | None = None
        self.version: int | None = None
        self.suite: int | None = None
        self.echoed_session = False
        self.server_psk = False
        self.asked_again = False
        self.server_seen = False
        self.server_spoke_of_certificates = False
        self.server_ccs_first = False
        self.undissected = False
        self.decrypted = False
        self.client_key_exchange = False
        self.client_ccs = False
        self.client_finished = False
        self.ciphered: set[Sender] = set()
        """Who has said that its next records are encrypted."""
        self.chains: dict[Sender, tuple[PresentedCertificate, ...]] = {}
        self.alerts: list[Alert] = []


class Handshakes:
    """Takes the rows of a capture, those of each connection in order, and gives the handshakes.

    Args:
        keep: takes a certificate of a row (and the frame), keeps its bytes, and returns its SHA-256.
    """

    def __init__(self, keep: Callable[[CertificateRecord, int], bytes]) -> None:
        self._keep = keep
        self._connections: dict[object, _Connection] = {}
        self._all: list[_Building] = []

    def add(self, row: Row) -> None:
        """Take the next row."""
        connection = self._connections.setdefault(_key(row), _Connection())
        now = connection.current
        if now is None or not (now.client_key_exchange or now.client_ccs):
            # What is missing later, among application data, hides no certificate.
            connection.lost |= row.lost
            connection.cut |= row.cut
        if not (row.types or row.content_types or row.certificates or row.alerts):
            return
        handshake = self._handshake_of(row, connection)
        if handshake is not None:
            self._note(row, handshake)

    def finish(self) -> tuple[Handshake, ...]:
        """Return all handshakes, in the order in which they began."""
        return tuple(_finished(building) for building in sorted(self._all, key=lambda b: b.frame))

    def _handshake_of(self, row: Row, connection: _Connection) -> _Building | None:
        """Find the handshake that a row belongs to, or begin one."""
        now = connection.current
        sender = _sender(row, now)
        if sender is None:
            return None
        begins = now is None or _begins_another(row, now, sender)
        if not begins:
            return now
        if not (set(row.types) - {FINISHED} or row.certificates):
            return now  # an alert, or what follows a handshake that is not in the capture
        client, server = (
            (row.source, row.destination) if sender == "client" else (row.destination, row.source)
        )
        connection.current = _Building(row, client, server, connection)
        self._all.append(connection.current)
        return connection.current

    def _note(self, row: Row, now: _Building) -> None:
        sender: Sender = "client" if row.source == now.client else "server"
        types = row.types
        if sender == "server":
            self._note_server(row, now)
        elif CLIENT_HELLO in types:
            now.client_random = row.randoms[0] if row.randoms else now.client_random
            now.client_session = row.session_ids[0] if row.session_ids else None
            now.server_name = row.server_name or now.server_name
        else:
            now.client_key_exchange |= CLIENT_KEY_EXCHANGE in types
            now.client_finished |= FINISHED in types
        if sender == "client":
            now.client_ccs |= CHANGE_CIPHER_SPEC in row.content_types
        now.decrypted |= bool({ENCRYPTED_EXTENSIONS, FINISHED} & set(types))
        if row.certificates:
            chain = tuple(
                PresentedCertificate(record.position, sender, row.frame, self._keep(record, row.frame))
                for record in row.certificates
            )
            now.chains.setdefault(sender, chain)
        refusal = sender == "server" and row.alerts and not types
        if now.version is None and CLIENT_HELLO not in types and row.record_versions and not refusal:
            now.version = row.record_versions[0]  # the ServerHello is not in the capture
        # An encrypted alert can look like a plain one, and says nothing to us.
        readable = row.alerts if now.decrypted or sender not in now.ciphered else ()
        if CHANGE_CIPHER_SPEC in row.content_types:
            now.ciphered.add(sender)
        now.alerts += [
            Alert(
                row.frame,
                row.time,
                sender,
                {1: "warning", 2: "fatal"}.get(alert.level, str(alert.level)),
                alert.code,
                ALERTS.get(alert.code, f"alert {alert.code}"),
            )
            for alert in readable
        ]

    def _note_server(self, row: Row, now: _Building) -> None:
        now.server_seen = True
        now.asked_again |= HELLO_VERIFY in row.types
        if SERVER_HELLO in row.types:
            random = row.randoms[0] if row.randoms else None
            version = row.supported_versions[0] if row.supported_versions else None
            now.version = version or (row.versions[0] if row.versions else now.version)
            if random != HELLO_RETRY_RANDOM:
                now.server_random = random
                now.suite = row.cipher_suites[0] if row.cipher_suites else None
                now.echoed_session = bool(
                    row.session_ids and row.session_ids[0] and row.session_ids[0] == now.client_session
                )
                now.server_psk = PRE_SHARED_KEY in row.extensions
        now.server_spoke_of_certificates |= bool(
            {SERVER_KEY_EXCHANGE, SERVER_HELLO_DONE, CERTIFICATE} & set(row.types)
        )
        if CHANGE_CIPHER_SPEC in row.content_types:
            if not (now.client_key_exchange or now.client_ccs or "server" in now.chains):
                now.server_ccs_first = True
        elif (
            HANDSHAKE in row.content_types
            and not row.types
            and not (now.client_ccs or now.client_key_exchange)
        ):
            now.undissected = True


def _key(row: Row) -> object:
    if row.stream is not None:
        return row.transport, row.stream
    return frozenset((row.source.address, row.destination.address))


def _sender(row: Row, now: _Building | None) -> Sender | None:
    """Tell who sent a row's records: by what only one side sends, else by who is who already."""
    types = set(row.types)
    if CLIENT_HELLO in types:
        return "client"
    if now is not None:
        return "client" if row.source == now.client else "server"
    if types & _FROM_SERVER:
        return "server"
    if CLIENT_KEY_EXCHANGE in types:
        return "client"
    # The server's certificate comes first; a client's comes with its key exchange.
    return "server" if row.certificates else None


def _begins_another(row: Row, now: _Building, sender: Sender) -> bool:
    random = row.randoms[0] if row.randoms else None
    if CLIENT_HELLO in row.types:
        if now.server_random is None and now.asked_again:
            return False  # before DTLS was standardized, the second ClientHello had a new random value
        if now.client_random is None:
            return now.server_seen and now.client != row.source
        return random != now.client_random if random else now.server_random is not None
    if SERVER_HELLO in row.types and random != HELLO_RETRY_RANDOM:
        return now.server_random is not None and random != now.server_random
    # A renegotiation that is seen only from its Certificate message on; DTLS repeats what was lost.
    return bool(row.certificates) and sender in now.chains and row.transport == "tcp"


def _finished(now: _Building) -> Handshake:
    tls13 = now.version is not None and _is_tls13(now.version)
    visible = "server" in now.chains
    resumed = (
        not visible
        and (
            now.server_psk
            if tls13
            else now.echoed_session or (now.server_ccs_first and not now.connection.lost)
        )
        and not now.server_spoke_of_certificates
    )
    encrypted = not visible and tls13 and not now.decrypted
    proceeded = now.client_finished or (not tls13 and (now.client_key_exchange or now.client_ccs))
    return Handshake(
        frame=now.frame,
        time=now.time,
        transport=now.transport,
        stream=now.stream,
        client=now.client,
        server=now.server,
        server_name=now.server_name,
        version=None if now.version is None else _version_text(now.version),
        resumed=resumed,
        encrypted=encrypted,
        client_proceeded=proceeded,
        hidden=None if visible else _hidden(now, resumed=resumed, encrypted=encrypted),
        certificates=(*now.chains.get("server", ()), *now.chains.get("client", ())),
        alerts=tuple(now.alerts),
    )


def _hidden(now: _Building, *, resumed: bool, encrypted: bool) -> Hidden:
    reasons: tuple[tuple[bool, Hidden], ...] = (
        (resumed, "resumed"),
        (encrypted, "tls-1.3"),
        (now.connection.cut, "snaplen"),
        (now.connection.lost, "packets-missing"),
        (now.undissected, "too-long"),
        (now.suite in _SUITES_WITHOUT_CERTIFICATE, "no-certificate"),
        # Whatever answers a certificate is there, the certificate is not.
        (now.server_spoke_of_certificates or now.client_key_exchange or now.client_ccs, "packets-missing"),
    )
    return next((reason for applies, reason in reasons if applies), "incomplete")


def _is_tls13(version: int) -> bool:
    return version in (TLS13, DTLS13) or version >> 8 in (DRAFT, FACEBOOK_DRAFT)


def _version_text(version: int) -> str:
    if version >> 8 == DRAFT:
        return f"TLS 1.3 (draft {version & 0xFF})"
    if version >> 8 == FACEBOOK_DRAFT:
        return "TLS 1.3 (draft)"
    return _VERSIONS.get(version, f"0x{version:04x}")
