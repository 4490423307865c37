"""Make real handshakes: OpenSSL's, in memory, with certificates of all kinds."""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import ssl
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID
from tests.harness import dtls
from tests.harness.benchmarks.captures import (
    Turn,
)

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes


class Script(NamedTuple):
    """The data of both sides of a handshake, and the SHA-1 (hex) of every unencrypted certificate."""

    turns: list[Turn]
    clear: tuple[str, ...]
    of_client: int = 0
    """The number of the client's certificates, which come last."""
    hidden: str | None = None
    """The reason if there are no certificates."""


class Kitchen:
    """The handshakes to choose from; created once per run, because the keys take time.

    What is pickled are the handshakes, those of DTLS among them.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        keys: list[CertificateIssuerPrivateKeyTypes] = [
            rsa.generate_private_key(65537, 2048),
            rsa.generate_private_key(65537, 3072),
            ec.generate_private_key(ec.SECP256R1()),
            ec.generate_private_key(ec.SECP384R1()),
            ed25519.Ed25519PrivateKey.generate(),
        ]
        self._root_key = ec.generate_private_key(ec.SECP256R1())
        self._root = _certificate("Root", self._root_key, None, self._root_key)
        self._chains: list[tuple[Path, list[bytes]]] = []
        for number, key in enumerate(keys):
            for length in (1, 2, 3, 12):
                self._chains.append(self._chain(f"vpn{number}-{length}.example", key, length))
        self.scripts = [
            self._script(chain, client, version)
            for chain in self._chains
            for version in ssl.TLSVersion
            if version in _VERSIONS
            for client in (None, self._chains[9])
            if not (client and version is not ssl.TLSVersion.TLSv1_2)
            if not ("vpn4" in chain[0].name and version < ssl.TLSVersion.TLSv1_2)
        ]
        self.resumed = [
            Script(resume(self._chains[0][0], tickets=tickets), (), hidden="resumed")
            for tickets in (True, False)
        ]

    @cached_property
    def datagrams(self) -> list[Script]:
        """DTLS handshakes, created on demand, because each takes a moment."""
        return [
            self._datagram_script(self._chains[number], client, version, mtu)
            for number, mtu in ((0, 1400), (2, 300), (7, 600), (10, 1400))
            for version in ("dtls1", "dtls1_2")
            for client in (None, self._chains[9])
        ]

    def __getstate__(self) -> dict[str, list[Script]]:
        return {"scripts": self.scripts, "resumed": self.resumed, "datagrams": self.datagrams}

    def _datagram_script(
        self,
        chain: tuple[Path, list[bytes]],
        client: tuple[Path, list[bytes]] | None,
        version: str,
        mtu: int,
    ) -> Script:
        sent = dtls.shake_hands(chain[0], version, client_file=client[0] if client else None, mtu=mtu)
        turns = [Turn(*one) for one in sent]
        # OpenSSL's commands send the first certificate, and then the file that it comes from.
        of_client = client[1][:1] + client[1] if client else []
        clear = [
            hashlib.sha1(der, usedforsecurity=False).hexdigest()
            for der in chain[1][:1] + chain[1] + of_client
        ]
        return Script(turns, tuple(clear), len(of_client))

    def _chain(
        self, name: str, key: CertificateIssuerPrivateKeyTypes, length: int
    ) -> tuple[Path, list[bytes]]:
        chain: list[x509.Certificate] = []
        issuer, issuer_key = self._root, self._root_key
        for number in range(length - 2):
            between = ec.generate_private_key(ec.SECP256R1())
            chain.insert(0, _certificate(f"CA {number} of {name}", between, issuer, issuer_key))
            issuer, issuer_key = chain[0], between
        leaf = _certificate(name, key, issuer if length > 1 else None, issuer_key if length > 1 else key)
        chain.insert(0, leaf)
        if length > 1:
            chain.append(self._root)
        path = self._folder / f"{name}.pem"
        pem = serialization.Encoding.PEM
        private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        path.write_bytes(private + b"".join(c.public_bytes(pem) for c in chain))
        return path, [c.public_bytes(serialization.Encoding.DER) for c in chain]

    def _script(
        self,
        chain: tuple[Path, list[bytes]],
        client: tuple[Path, list[bytes]] | None,
        version: ssl.TLSVersion,
    ) -> Script:
        turns = shake_hands(chain[0], client[0] if client else None, version)
        if version is ssl.TLSVersion.TLSv1_3:
            return Script(turns, (), hidden="tls-1.3")
        sent = chain[1] + (client[1] if client else [])
        clear = tuple(hashlib.sha1(der, usedforsecurity=False).hexdigest() for der in sent)
        return Script(turns, clear, len(client[1]) if client else 0)


_VERSIONS = (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)


def _certificate(
    name: str,
    key: CertificateIssuerPrivateKeyTypes,
    issuer: x509.Certificate | None,
    issuer_key: CertificateIssuerPrivateKeyTypes,
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    begin = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
    algorithm = None if isinstance(issuer_key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + dt.timedelta(days=3650))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(issuer_key, algorithm)
    )


def shake_hands(server_file: Path, client_file: Path | None, version: ssl.TLSVersion) -> list[Turn]:
    """Run a handshake between two OpenSSL objects, send data both ways, and return all bytes sent."""
    server_context, client_context = (
        ssl.SSLContext(p) for p in (ssl.PROTOCOL_TLS_SERVER, ssl.PROTOCOL_TLS_CLIENT)
    )
    client_context.check_hostname = False
    client_context.verify_mode = ssl.CERT_NONE
    server_context.load_cert_chain(server_file)
    if client_file:
        client_context.load_cert_chain(client_file)
        server_context.verify_mode = ssl.CERT_OPTIONAL
        # The server trusts the chain that the client sends.
        server_context.load_verify_locations(client_file)
    for context in (server_context, client_context):
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = version
    return _talk(server_context, client_context, server_file.stem)[0]


def resume(server_file: Path, *, tickets: bool) -> list[Turn]:
    """Return a connection that resumes the session of another, by a ticket or by its identifier (TLS 1.2)."""
    server_context, client_context = (
        ssl.SSLContext(p) for p in (ssl.PROTOCOL_TLS_SERVER, ssl.PROTOCOL_TLS_CLIENT)
    )
    client_context.check_hostname = False
    client_context.verify_mode = ssl.CERT_NONE
    server_context.load_cert_chain(server_file)
    for context in (server_context, client_context):
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        if not tickets:
            context.options |= ssl.OP_NO_TICKET
    _, session = _talk(server_context, client_context, server_file.stem)
    return _talk(server_context, client_context, server_file.stem, session)[0]


def _talk(
    server_context: ssl.SSLContext,
    client_context: ssl.SSLContext,
    name: str,
    session: ssl.SSLSession | None = None,
) -> tuple[list[Turn], ssl.SSLSession | None]:
    """Return all bytes that two sides send, up to the close_notify of both, and the session."""
    to_server, from_client, to_client, from_server = (ssl.MemoryBIO() for _ in range(4))
    client = client_context.wrap_bio(to_client, from_client, server_hostname=name, session=session)
    server = server_context.wrap_bio(to_server, from_server, server_side=True)
    turns: list[Turn] = []
    open_ends = {"client", "server"}
    while open_ends:
        for side, end, out, to in (
            ("client", client, from_client, to_server),
            ("server", server, from_server, to_client),
        ):
            try:
                end.do_handshake()
                open_ends.discard(side)
            except ssl.SSLWantReadError:
                pass
            _pass_on(turns, side == "client", out, to)
    client.write(b"GET / HTTP/1.1\r\n\r\n")
    _pass_on(turns, True, from_client, to_server)
    server.read(100)
    server.write(b"HTTP/1.1 200 OK\r\n\r\n" + bytes(5000))
    _pass_on(turns, False, from_server, to_client)
    client.read(9000)
    for is_client, end, out, to in (
        (True, client, from_client, to_server),
        (False, server, from_server, to_client),
    ):
        with contextlib.suppress(ssl.SSLWantReadError):
            end.unwrap()  # its close_notify, which does not wait for the other's
        _pass_on(turns, is_client, out, to)
    assert client.session_reused is bool(session)
    return turns, client.session


def _pass_on(turns: list[Turn], from_client: bool, out: ssl.MemoryBIO, to: ssl.MemoryBIO) -> None:
    data = out.read()
    if data:
        turns.append(Turn("client" if from_client else "server", data))
        to.write(data)
