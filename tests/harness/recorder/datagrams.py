"""Speak DTLS through GnuTLS and ctypes, because GnuTLS supports the early DTLS of Cisco's clients.

openconnect and ocserv use that version (0x0100 on the wire, older than the standard) for compatibility with
AnyConnect. GnuTLS's library can start it, but its command-line tools cannot.
"""

from __future__ import annotations

import ctypes
from contextlib import contextmanager
from threading import Thread
from typing import TYPE_CHECKING

from tests.harness.recorder import certificates, network

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.harness.recorder.certificates import Identity

EARLY, DTLS_1_0, DTLS_1_2 = (1, 0), (254, 255), (254, 253)

_NAMES = {EARLY: "VERS-DTLS0.9", DTLS_1_0: "VERS-DTLS1.0", DTLS_1_2: "VERS-DTLS1.2"}
_SERVER, _CLIENT, _DATAGRAM = 1, 2, 4  # flags of gnutls_init
_CERTIFICATE_CREDENTIALS = 1
_PEM = 1
_FATAL = 2
_BOTH_WAYS, _ONE_WAY = 0, 1
_REFUSED = -43  # GNUTLS_E_CERTIFICATE_ERROR
_AGAIN = -28  # GNUTLS_E_AGAIN: after a cookie, for example
_PATIENCE_MS = 5000


class _Datum(ctypes.Structure):
    _fields_ = (("data", ctypes.c_void_p), ("size", ctypes.c_uint))


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)


class DatagramError(Exception):
    """A call of GnuTLS failed."""


def connect(
    line: socket.socket, version: tuple[int, int], trusts: Callable[[tuple[bytes, ...]], bool], alert: int
) -> tuple[tuple[bytes, ...], int | None]:
    """Do a handshake over a connected UDP socket; return the chain as DER and the alert sent, if any."""
    library = _library()
    session, credentials = _session(library, _CLIENT, version)
    presented: list[bytes] = []

    def judge(peer: int) -> int:
        number = ctypes.c_uint()
        chain = library.gnutls_certificate_get_peers(ctypes.c_void_p(peer), ctypes.byref(number))
        presented.extend(ctypes.string_at(chain[at].data, chain[at].size) for at in range(number.value))
        return 0 if trusts(tuple(presented)) else -1

    callback = _Callback(judge)  # keep a reference: GnuTLS does not
    library.gnutls_certificate_set_verify_function(credentials, callback)
    library.gnutls_transport_set_int2(session, line.fileno(), line.fileno())
    try:
        status = _handshake(library, session)
        if status == _REFUSED:
            _check(library.gnutls_alert_send(session, _FATAL, alert), "alert")
            return tuple(presented), alert
        _check(status, "handshake")
        _check(library.gnutls_record_send(session, b"hello", 5), "send")
        library.gnutls_bye(session, _BOTH_WAYS)
        return tuple(presented), None
    finally:
        library.gnutls_deinit(session)


@contextmanager
def head_end(
    identity: Identity, address: str, client: tuple[str, int], folder: Path, version: tuple[int, int] = EARLY
) -> Iterator[None]:
    """Serve the handshake of one client on UDP port 443; its address and port must be known."""
    network.add_address(network.SERVERS, address)
    library = _library()
    session, credentials = _session(library, _SERVER, version)
    certificate, key, _ = certificates.write(identity, folder)
    _check(
        library.gnutls_certificate_set_x509_key_file(credentials, bytes(certificate), bytes(key), _PEM), "key"
    )
    line = network.datagram_socket(network.SERVERS, (address, 443))
    line.connect(client)
    library.gnutls_transport_set_int2(session, line.fileno(), line.fileno())

    def serve() -> None:
        if _handshake(library, session) == 0:
            library.gnutls_record_recv(session, ctypes.create_string_buffer(100), 100)
            library.gnutls_bye(session, _ONE_WAY)

    thread = Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        thread.join()
        line.close()
        library.gnutls_deinit(session)


def _library() -> ctypes.CDLL:
    library = ctypes.CDLL("libgnutls.so.30")
    library.gnutls_certificate_get_peers.restype = ctypes.POINTER(_Datum)
    library.gnutls_transport_set_int2.restype = None
    library.gnutls_certificate_set_verify_function.restype = None
    library.gnutls_handshake_set_timeout.restype = None
    return library


def _session(
    library: ctypes.CDLL, side: int, version: tuple[int, int]
) -> tuple[ctypes.c_void_p, ctypes.c_void_p]:
    session, credentials = ctypes.c_void_p(), ctypes.c_void_p()
    _check(library.gnutls_init(ctypes.byref(session), side | _DATAGRAM), "session")
    _check(library.gnutls_certificate_allocate_credentials(ctypes.byref(credentials)), "credentials")
    _check(library.gnutls_credentials_set(session, _CERTIFICATE_CREDENTIALS, credentials), "credentials")
    wanted = f"NONE:+{_NAMES[version]}:+COMP-NULL:+AES-128-CBC:+SHA1:+RSA:+SIGN-ALL:+CTYPE-ALL:%COMPAT"
    _check(library.gnutls_priority_set_direct(session, wanted.encode(), None), wanted)
    library.gnutls_handshake_set_timeout(session, _PATIENCE_MS)
    return session, credentials


def _handshake(library: ctypes.CDLL, session: ctypes.c_void_p) -> int:
    status = _AGAIN
    while status == _AGAIN:
        status = library.gnutls_handshake(session)
    return status


def _check(status: int, what: str) -> None:
    if status < 0:
        raise DatagramError(f"GnuTLS, {what}: error {status}")
