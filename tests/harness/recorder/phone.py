"""Simulate a phone: it downloads its file, connects, compares hashes, and continues or sends the alert."""

from __future__ import annotations

import base64
import hashlib
import re
import socket
import struct
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from cryptography import x509
from tests.harness.recorder import certificates, datagrams, network
from tlslite.api import X509, HandshakeSettings, TLSConnection, X509CertChain, parsePEMKey
from tlslite.constants import AlertDescription, AlertLevel
from tlslite.errors import TLSLocalAlert, TLSRemoteAlert
from tlslite.messages import Alert

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.harness.recorder.certificates import Identity
    from tlslite.session import Session

TLS_1_0, TLS_1_2, TLS_1_3 = (3, 1), (3, 3), (3, 4)
_ALERTS = {42: "bad_certificate", 46: "certificate_unknown", 48: "unknown_ca"}


@dataclass(frozen=True)
class Connection:
    """The phone's view of one connection: the certificates as DER, the head-end's own first."""

    client: tuple[str, int]
    server: tuple[str, int]
    version: tuple[int, int]
    presented: tuple[bytes, ...]
    alert: int | None
    resumed: bool = False
    session: Session | None = None
    transport: str = "tcp"
    server_alert: int | None = None
    warning: int | None = None


@dataclass
class Phone:
    """One phone. Its name is ``SEP`` and its MAC address, as in the name of its configuration file.

    ``hashes`` and ``check_host`` come from that file. With ``refuse`` it sends the alert although a hash
    matches, for rejections whose reason is not in the certificate. With ``sends_name`` it sends the URL's
    host name as SNI. With ``warns`` it sends the alert as a warning, and continues.
    """

    name: str
    address: str
    url: str = ""
    hashes: tuple[str, ...] = ()
    check_host: bool = False
    version: tuple[int, int] = TLS_1_0
    alert: int = AlertDescription.bad_certificate
    refuse: bool = False
    sends_name: bool = True
    warns: bool = False

    @property
    def file(self) -> str:
        """Return the name of the file that this phone requests first."""
        return f"{self.name}.cnf.xml"

    def plug_in(self) -> None:
        """Add the phone's address to the cable."""
        network.add_address(network.PHONES, self.address, network.PHONE_LINK)

    def fetch_over_tftp(self, server: str, folder: Path, name: str = "") -> bytes:
        """Download the phone's file with the TFTP client of the tftp-hpa package, and read it."""
        wanted = name or self.file
        said = self.ask_over_tftp(server, folder, wanted)
        if said:
            raise RuntimeError(f"tftp, {wanted}: {said}")
        return self.read((folder / wanted).read_bytes())

    def ask_over_tftp(self, server: str, folder: Path, name: str) -> str:
        """Request a file from a TFTP server; return the client's error message if it does not exist."""
        command = ("tftp", "-4", "-m", "binary", server, "-c", "get", name)
        with network.inside(network.PHONES):
            done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
        return done.stderr + done.stdout

    def fetch_over_http(self, server: str, port: int = 6970, name: str = "") -> bytes:
        """Download the phone's file from the HTTP port of CME or CUCM, and read it."""
        url = f"http://{server}:{port}/{name or self.file}"
        with network.inside(network.PHONES):
            done = subprocess.run(
                ["curl", "-sSf", "--interface", self.address, url], check=True, capture_output=True
            )
        return self.read(done.stdout)

    def read(self, content: bytes) -> bytes:
        """Set URL, hashes and host-ID check from the file."""
        if content[:1] == b"\x01":
            content = content[
                int.from_bytes(content[8:10]) :
            ]  # tags 1 and 2 come first; tag 2 is the header's length
        text = content.decode("utf-8")
        self.url = _elements(text, "url1")[0].replace("&amp;", "&")
        self.hashes = tuple(_elements(text, "certHash[0-9]+"))
        self.check_host = _elements(text, "enableHostIDCheck") == ["1"]
        return content

    def resolve(self, name: str, server: str) -> None:
        """Query a name server for the addresses of a name, and wait for the response."""
        labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
        question = struct.pack(">6H", 4711, 0x0100, 1, 0, 0, 0) + labels + struct.pack(">BHH", 0, 1, 1)
        with network.datagram_socket(network.PHONES, (self.address, 0)) as line:
            line.settimeout(5)
            line.sendto(question, (server, 53))
            line.recv(512)

    def connect(
        self,
        *,
        session: Session | None = None,
        address: str = "",
        own: Identity | None = None,
        own_port: int = 0,
    ) -> Connection:
        """Connect to the URL's head-end; continue if the phone trusts it, else send the alert.

        ``address`` is the address of the URL's host name. ``session`` is that of an earlier connection, to
        resume. ``own`` is the phone's own certificate, if the head-end requests one.
        """
        parts = urlsplit(self.url)
        host = parts.hostname or ""
        target = (address or host, parts.port or 443)
        with network.inside(network.PHONES):
            line = socket.socket(socket.AF_INET6 if ":" in target[0] else socket.AF_INET)
        with line:
            line.settimeout(10)
            line.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            line.bind((self.address, own_port))
            line.connect(target)
            client = line.getsockname()[:2]
            tls = _Handshake(line, self, host)
            alert = answer = None
            try:
                tls.handshakeClientCert(
                    *(_own(own) if own else ()),
                    session=session,
                    settings=self._settings(),
                    serverName=host if self.sends_name and re.search("[g-z]", host) else None,
                )
                tls.write(f"GET {parts.path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
                tls.read(min=1, max=4096)
                tls.close()
            except TLSLocalAlert as error:
                alert = error.description
            except TLSRemoteAlert as error:
                answer = error.description
            return Connection(
                client,
                target,
                self.version,
                tls.presented,
                alert,
                resumed=bool(tls.resumed),
                session=tls.session,
                server_alert=answer,
                warning=self.alert if self.warns else None,
            )

    def connect_with_datagrams(
        self, version: tuple[int, int] = datagrams.DTLS_1_0, own_port: int = 50443
    ) -> Connection:
        """Connect over DTLS, which a phone does only on UDP port 443, with the same checks."""
        host = urlsplit(self.url).hostname or ""
        with network.datagram_socket(network.PHONES, (self.address, own_port)) as line:
            line.connect((host, 443))
            presented, alert = datagrams.connect(
                line, version, lambda chain: self.trusts(chain, host), self.alert
            )
        return Connection((self.address, own_port), (host, 443), version, presented, alert, transport="udp")

    def trusts(self, presented: tuple[bytes, ...], host: str) -> bool:
        """Return whether a hash is that of one of the certificates, and the host-ID check passes."""
        shown = {hashlib.sha1(entry, usedforsecurity=False).digest() for entry in presented}
        wanted = {base64.b64decode(entry) for entry in self.hashes}
        if self.check_host and host not in certificates.names(x509.load_der_x509_certificate(presented[0])):
            return False
        return bool(shown & wanted) and not self.refuse

    def _settings(self) -> HandshakeSettings:
        settings = HandshakeSettings()
        settings.minVersion = settings.maxVersion = self.version
        if self.version == TLS_1_0:  # what a 7900 offers: RSA and AES in CBC mode, SHA-1
            settings.cipherNames = ["aes256", "aes128"]
            settings.macNames = ["sha"]
            settings.keyExchangeNames = ["rsa"]
        return settings


class _Handshake(TLSConnection):  # type: ignore[misc]
    """A TLS connection that checks the Certificate message as soon as it arrives, as a phone does."""

    def __init__(self, line: socket.socket, phone: Phone, host: str) -> None:
        super().__init__(line)
        self.phone = phone
        self.host = host
        self.presented: tuple[bytes, ...] = ()

    def _check_certchain_with_settings(self, cert_chain: Any, settings: Any) -> Iterator[Any]:
        self.presented = tuple(bytes(entry.writeBytes()) for entry in cert_chain.x509List)
        if self.phone.warns:
            yield from self._sendMsg(Alert().create(self.phone.alert, AlertLevel.warning))
        if not self.phone.trusts(self.presented, self.host):
            yield from self._sendError(self.phone.alert, _ALERTS.get(self.phone.alert, "refused"))
        yield from super()._check_certchain_with_settings(cert_chain, settings)


def _own(identity: Identity) -> tuple[X509CertChain, Any]:
    """Return certificate and key in tlslite's types."""
    certificate = X509().parse(certificates.pem(identity.certificate))
    return X509CertChain([certificate]), parsePEMKey(
        certificates.private_pem(identity).decode(), private=True
    )


def _elements(text: str, name: str) -> list[str]:
    return re.findall(rf"<{name}>\s*(.*?)\s*</{name}>", text, re.DOTALL)
