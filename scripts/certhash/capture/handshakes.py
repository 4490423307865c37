"""Assemble rows into handshakes: group frames, identify the client, and say what is hidden and why.

The client's random value distinguishes a handshake from the next one in the same connection. A second
ClientHello after a HelloRetryRequest or HelloVerifyRequest, and a retransmitted one, repeat it (RFC 8446,
section 4.1.2; RFC 6347, section 4.2.1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from certhash.capture.tls import (
    ALERTS,
    CERTIFICATE,
    CERTIFICATE_REQUEST,
    CHANGE_CIPHER_SPEC,
    CLIENT_HELLO,
    CLIENT_KEY_EXCHANGE,
    ENCRYPTED_EXTENSIONS,
    FINISHED,
    HANDSHAKE,
    HELLO_RETRY_RANDOM,
    HELLO_VERIFY,
    NEW_TICKET,
    SERVER_HELLO,
    SERVER_HELLO_DONE,
    SERVER_KEY_EXCHANGE,
    SUITES_WITHOUT_CERTIFICATE,
    is_tls13,
    version_text,
)
from certhash.digest import sha256
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


_FROM_SERVER = {
    SERVER_HELLO,
    HELLO_VERIFY,
    NEW_TICKET,
    SERVER_KEY_EXCHANGE,
    CERTIFICATE_REQUEST,
    SERVER_HELLO_DONE,
}


HIGHEST_RESERVED_PORT = 1023
"""No client has one of these ports unless it requests it (RFC 6335, section 6)."""


class _Connection:
    """State that all handshakes of one stream share."""

    def __init__(self) -> None:
        self.current: _Building | None = None
        self.lost: set[Endpoint] = set()
        """The senders of missing packets; only the server's missing packets can hide its certificate."""
        self.cut: set[Endpoint] = set()
        """The senders of packets that a snapshot length cut; the same holds for these."""


class _Building:
    """A handshake while its frames arrive."""

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
        self.client_ciphers = False
        """Sent after the server's answer."""
        self.client_finished = False
        self.ciphered: set[Sender] = set()
        """The senders of ChangeCipherSpec: their next records are encrypted."""
        self.chains: dict[Sender, tuple[PresentedCertificate, ...]] = {}
        self.alerts: list[Alert] = []

    @property
    def is_past_certificates(self) -> bool:
        """Whether packets that are missing later, among application data, hide no certificate."""
        tls13 = self.version is not None and is_tls13(self.version)
        return self.client_key_exchange or self.client_ccs or ("server" in self.ciphered and not tls13)


class Handshakes:
    """Collects the rows of a capture, in order for each connection, and returns the handshakes.

    Args:
        keep: stores the bytes of a certificate of a row (and the frame), and returns its SHA-256.
    """

    def __init__(self, keep: Callable[[CertificateRecord, int], bytes]) -> None:
        self._keep = keep
        self._connections: dict[object, _Connection] = {}
        self._all: list[_Building] = []

    def add(self, row: Row, reader: int = 0) -> None:
        """Add the next row.

        Args:
            row: one tshark's output for a frame.
            reader: the number of the tshark, if several share a capture. Each has its own connections, and
                numbers them differently if it opens packets that the others do not get.
        """
        key = reader, row.connection
        connection = self._connections.get(key)
        if connection is None:
            connection = self._connections[key] = _Connection()
        now = connection.current
        if (row.lost or row.cut) and (now is None or not now.is_past_certificates):
            connection.lost.update(row.lost)
            if row.cut:
                connection.cut.add(row.source)
        if not (row.types or row.content_types or row.certificates or row.alerts):
            return
        handshake = self._handshake_of(row, connection)
        if handshake is not None:
            self._note(row, handshake)

    def finish(self) -> tuple[Handshake, ...]:
        """Return all handshakes, in the order in which they began."""
        return tuple(_finished(building) for building in sorted(self._all, key=lambda b: b.frame))

    def _handshake_of(self, row: Row, connection: _Connection) -> _Building | None:
        """Return the handshake of a row; begin a new one if needed."""
        now = connection.current
        sender = _sender(row, now)
        if sender is None:
            return None
        begins = now is None or _begins_another(row, now, sender)
        if not begins:
            return now
        if not (set(row.types) - {FINISHED} or row.certificates):
            return now  # an alert, or data after a handshake that is not in the capture
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
            now.client_random = row.random or now.client_random
            now.client_session = row.session_id
            now.server_name = row.server_name or now.server_name
        else:
            now.client_key_exchange |= CLIENT_KEY_EXCHANGE in types
            now.client_finished |= FINISHED in types
        # With early data a client sends this before any answer, without meaning (RFC 8446, D.4).
        answers = sender == "server" or now.server_seen or now.client_key_exchange
        if sender == "client" and CHANGE_CIPHER_SPEC in row.content_types:
            now.client_ccs = True
            now.client_ciphers |= answers
        now.decrypted |= bool({ENCRYPTED_EXTENSIONS, FINISHED} & set(types))
        if row.certificates:
            chain = tuple(
                PresentedCertificate(record.position, sender, row.frame, self._keep(record, row.frame))
                for record in row.certificates
            )
            now.chains.setdefault(sender, chain)
        refusal = sender == "server" and row.alerts and not types
        if now.version is None and CLIENT_HELLO not in types and row.record_version and not refusal:
            now.version = row.record_version  # the ServerHello is not in the capture
        # An encrypted alert can look like a plain one; it must be ignored.
        readable = row.alerts if now.decrypted or sender not in now.ciphered else ()
        if CHANGE_CIPHER_SPEC in row.content_types and answers:
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
            now.version = row.supported_version or (now.version if row.version is None else row.version)
            if row.random != HELLO_RETRY_RANDOM:
                now.server_random = row.random
                now.suite = row.cipher_suite
                now.echoed_session = row.session_id is not None and row.session_id == now.client_session
                now.server_psk = row.has_pre_shared_key
        now.server_spoke_of_certificates |= bool(
            {SERVER_KEY_EXCHANGE, SERVER_HELLO_DONE, CERTIFICATE} & set(row.types)
        )
        if CHANGE_CIPHER_SPEC in row.content_types:
            if not (now.client_key_exchange or now.client_ccs or "server" in now.chains):
                # What is lost later is not the certificate, which the server would have sent before.
                incomplete = now.connection.lost | now.connection.cut
                now.server_ccs_first = now.server_random is not None and now.server not in incomplete
        elif (
            HANDSHAKE in row.content_types
            and not row.types
            and not (now.client_ccs or now.client_key_exchange or "server" in now.ciphered)
        ):
            now.undissected = True


def _sender(row: Row, now: _Building | None) -> Sender | None:
    """Return the sender of a row's records, by messages that only one side sends, else by known roles."""
    types = set(row.types)
    if CLIENT_HELLO in types:
        return "client"
    if now is not None:
        return "client" if row.source == now.client else "server"
    if types & _FROM_SERVER:
        return "server"
    if CLIENT_KEY_EXCHANGE in types:
        return "client"
    if not row.certificates:
        return None
    # The server's certificate comes first. A client's comes with its key exchange, but over UDP, or if it is
    # long, that may be in the next packet: then the ports decide.
    source, destination = row.source.port or 0, row.destination.port or 0
    return "client" if source > HIGHEST_RESERVED_PORT >= destination > 0 else "server"


def _begins_another(row: Row, now: _Building, sender: Sender) -> bool:
    random = row.random
    if CLIENT_HELLO in row.types:
        if now.server_random is None and now.asked_again:
            return False  # before DTLS was standardized, the second ClientHello had a new random value
        if now.client_random is None:
            return now.server_seen and now.client != row.source
        return random != now.client_random if random else now.server_random is not None
    if SERVER_HELLO in row.types and random != HELLO_RETRY_RANDOM:
        return now.server_random is not None and random != now.server_random
    # A handshake seen only from its Certificate message on; DTLS retransmits lost messages.
    if not row.certificates or sender not in now.chains:
        return False
    sent = [certificate.sha256 for certificate in now.chains[sender]]
    return row.transport == "tcp" or [sha256(record.der) for record in row.certificates] != sent


def _finished(now: _Building) -> Handshake:
    tls13 = now.version is not None and is_tls13(now.version)
    visible = "server" in now.chains
    resumed = (
        not visible
        and (now.server_psk if tls13 else now.echoed_session or now.server_ccs_first)
        and not now.server_spoke_of_certificates
    )
    encrypted = not visible and tls13 and not now.decrypted
    proceeded = now.client_finished or (not tls13 and (now.client_key_exchange or now.client_ciphers))
    return Handshake(
        frame=now.frame,
        time=now.time,
        transport=now.transport,
        stream=now.stream,
        client=now.client,
        server=now.server,
        server_name=now.server_name,
        version=None if now.version is None else version_text(now.version),
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
        (now.server in now.connection.cut, "snaplen"),
        (now.server in now.connection.lost, "packets-missing"),
        (now.undissected, "too-long"),
        (now.suite in SUITES_WITHOUT_CERTIFICATE, "no-certificate"),
        # There are messages that answer a certificate, but no certificate.
        (now.server_spoke_of_certificates or now.client_key_exchange or now.client_ccs, "packets-missing"),
        ("server" in now.ciphered, "packets-missing"),  # its hello is not in the capture
    )
    return next((reason for applies, reason in reasons if applies), "incomplete")
