"""Get the certificates of a live head-end with one TLS handshake.

Old versions are offered on purpose, because 7900 phones support only TLS 1.0. Nothing is verified, because
the phone verifies only the hash. Nothing is sent after the handshake.

The client is tlslite-ng. Python's ``ssl`` returns the chain as sent only from 3.13 on, and its old versions
depend on its OpenSSL. The Certificate message is read before it is parsed, so that it is available even if
the library refuses a certificate, or the head-end ends the handshake for lack of the phone's certificate.
"""

from __future__ import annotations

import select
import socket
import time
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from tlslite.constants import ContentType, HandshakeType
from tlslite.errors import BaseTLSException, TLSAlert, TLSClosedConnectionError
from tlslite.handshakesettings import ALL_CIPHER_NAMES, ALL_MAC_NAMES, HandshakeSettings
from tlslite.tlsconnection import TLSConnection
from tlslite.utils.dns_utils import is_valid_hostname

if TYPE_CHECKING:
    from certhash.headend import HeadEnd

PATIENCE = 15.0
"""Seconds for connection and handshake together."""

VERSIONS = {"1.0": (3, 1), "1.1": (3, 2), "1.2": (3, 3), "1.3": (3, 4)}
SSL_3 = (3, 0)
TLS_1_3 = VERSIONS["1.3"]
FALLBACKS = ("1.3", "1.2", "1.0")
"""Highest versions to offer, in this order: old head-ends fail on the additions of new versions."""

ABORTED = 0.2
"""Seconds: with less time left, no further attempt is made."""


class Answer(Struct, frozen=True):
    """The answer of a head-end."""

    address: str
    """The address of the connection."""
    port: int
    version: str
    """``TLS 1.0`` and so on; ``SSL 3.0``."""
    chain: tuple[bytes, ...]
    """DER, as sent, the head-end's own certificate first."""
    unfinished: str | None
    """Why the handshake ended after the certificates; None if it was completed."""


def ask(
    head_end: HeadEnd, highest: str | None = None, patience: float = PATIENCE, *, with_name: bool = True
) -> Answer:
    """Connect and return the chain; `highest` is the newest version to offer (a key of ``VERSIONS``).

    If the URL has a name, it is sent as SNI, unless `with_name` is false: an ASA may choose its certificate
    by SNI, and it is not documented whether phones send it.

    Raises:
        ValueError: the head-end sends no certificate; the message is one line.
    """
    end = time.monotonic() + patience
    attempts = (highest,) if highest else FALLBACKS
    failure = ""
    for version in attempts:
        if end - time.monotonic() < ABORTED:
            break
        try:
            with _connect(head_end, end) as connection:
                name = head_end.host if with_name and not head_end.is_address else None
                return _handshake(connection, head_end, VERSIONS[version], end, name)
        except _NoCertificateError as error:
            failure = failure or str(error)
    raise ValueError(failure or f"{head_end} does not answer in time")


class _NoCertificateError(Exception):
    """An attempt ended before a certificate; another version may succeed."""


def _connect(head_end: HeadEnd, end: float) -> socket.socket:
    """Connect to the first address of the host that answers."""
    try:
        found = socket.getaddrinfo(head_end.host, head_end.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ValueError(f"the name {head_end.host} cannot be resolved") from error
    reason = "no answer in time"
    for family, kind, protocol, _, address in found:
        connection = socket.socket(family, kind, protocol)
        try:
            connection.settimeout(max(end - time.monotonic(), 0.01))
            connection.connect(address)
        except TimeoutError:
            connection.close()
        except OSError as error:
            connection.close()
            reason = error.strerror or str(error)
        else:
            return connection
    raise ValueError(f"{head_end} cannot be reached ({reason})")


def _handshake(
    connection: socket.socket, head_end: HeadEnd, highest: tuple[int, int], end: float, name: str | None
) -> Answer:
    address = connection.getpeername()[0]
    tls = TLSConnection(connection)
    messages = _listen(tls)
    unfinished = None
    try:
        _run(tls, connection, name, highest, end)
    except TLSAlert as error:
        unfinished = f"alert {error}"
    except TLSClosedConnectionError:
        unfinished = "the head-end closed the connection"
    except (BaseTLSException, OSError) as error:
        unfinished = str(error) or type(error).__name__
    except Exception as error:  # noqa: BLE001 - a TLS stack in Python, with input from outside
        unfinished = f"{type(error).__name__} in the TLS library"
    if not messages:
        raise _NoCertificateError(
            f"{head_end} sends no certificate: {unfinished or 'the handshake contains none'}"
        )
    used, message = messages[0]
    try:
        chain = split_certificates(message, with_extensions=used >= TLS_1_3)
    except ValueError as error:
        raise ValueError(f"{head_end} sends a Certificate message that cannot be read: {error}") from error
    if not chain:
        raise ValueError(f"{head_end} sends a Certificate message without a certificate")
    version = "SSL 3.0" if used == SSL_3 else f"TLS 1.{used[1] - 1}"
    address, port = (
        connection.getpeername()[:2] if connection.fileno() >= 0 else (head_end.host, head_end.port)
    )
    return Answer(address, port, version, chain, unfinished)


def _listen(tls: Any) -> list[tuple[tuple[int, int], bytes]]:  # noqa: ANN401 - an untyped library
    """Return a list that receives the Certificate messages: version and decrypted bytes."""
    seen: list[tuple[tuple[int, int], bytes]] = []
    defragmenter = tls._defragmenter  # noqa: SLF001 - the one place before the parser; the version is pinned
    original = defragmenter.get_message

    def get_message() -> Any:  # noqa: ANN401
        message = original()
        if message and message[0] == ContentType.handshake and message[1][0] == HandshakeType.certificate:
            # Store the version now: the library drops it when the handshake fails.
            seen.append((tls.version, bytes(message[1])))
        return message

    defragmenter.get_message = get_message
    return seen


def _run(
    tls: Any,  # noqa: ANN401
    connection: socket.socket,
    name: str | None,
    highest: tuple[int, int],
    end: float,
) -> None:
    """Run the handshake until it ends or the time is over."""
    connection.setblocking(False)
    asked = name if name and is_valid_hostname(name) else None
    for waits_to_write in tls.handshakeClientCert(settings=_settings(highest), serverName=asked, async_=True):
        left = end - time.monotonic()
        readers, writers = ([], [connection]) if waits_to_write else ([connection], [])
        if left <= 0 or not any(select.select(readers, writers, [], left)):
            raise TimeoutError("no answer in time")


def _settings(highest: tuple[int, int]) -> HandshakeSettings:
    """Offer everything that a phone may offer, even if weak: nothing secret is sent."""
    settings = HandshakeSettings()
    settings.minVersion, settings.maxVersion = SSL_3, highest
    settings.minKeySize, settings.maxKeySize = 512, 16384
    settings.cipherNames = list(
        dict.fromkeys(
            settings.cipherNames
            + [cipher for cipher in ALL_CIPHER_NAMES if "draft" not in cipher and cipher != "null"]
        )
    )
    settings.macNames = list(ALL_MAC_NAMES)
    # A compressed Certificate message would be another message type.
    settings.certificate_compression_receive = []
    return settings


def split_certificates(message: bytes, *, with_extensions: bool) -> tuple[bytes, ...]:
    """Return the certificates (DER) of a Certificate message: RFC 5246, 7.4.2, or RFC 8446, 4.4.2.

    Raises:
        ValueError: a length is wrong.
    """
    body = message[4:]
    if with_extensions:
        _, body = _vector(body, 1)
    entries, rest = _vector(body, 3)
    if rest:
        raise ValueError("bytes follow the list of certificates")
    found = []
    while entries:
        certificate, entries = _vector(entries, 3)
        if with_extensions:
            _, entries = _vector(entries, 2)
        found.append(certificate)
    return tuple(found)


def _vector(data: bytes, size: int) -> tuple[bytes, bytes]:
    """Split off a vector whose length is in its first `size` bytes."""
    end = size + int.from_bytes(data[:size], "big")
    if len(data) < end:
        raise ValueError("a length is too large")
    return data[size:end], data[end:]
