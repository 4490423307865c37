"""Run the servers: OpenSSL and ocserv as head-ends, tftpd-hpa and a web server for the phones' files."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.harness.recorder import certificates, network
from tests.harness.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cryptography.x509 import Certificate
    from tests.harness.recorder.certificates import Identity

USER, PASSWORD = "phone", "secret"
_ANY_CIPHER = "ALL:@SECLEVEL=0"
"""OpenSSL 3 supports TLS 1.0 and DTLS 1.0, the only versions of 7900 phones, at security level 0 only."""


@contextmanager
def _serving(
    kind: str, address: str, port: int, log: Path, *command: str | Path, cwd: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    network.add_address(network.SERVERS, address)
    process = network.start(network.SERVERS, *command, log=log, cwd=cwd)
    try:
        until(
            lambda: process.poll() is not None or network.listening(kind, port),
            f"{command[0]} to listen on {port}",
        )
        if process.poll() is not None:
            raise RuntimeError(f"{command[0]} did not start: {log.read_text()}")
        yield process
    finally:
        network.stop(process)


@contextmanager
def head_end(  # noqa: PLR0913 - each is one property of a head-end
    identity: Identity,
    address: str,
    folder: Path,
    *,
    protocol: str = "tls1",
    port: int = 443,
    chain: tuple[Certificate, ...] = (),
    options: tuple[str, ...] = (),
    answers: bool = True,
) -> Iterator[None]:
    """Run OpenSSL's s_server as a head-end that presents ``identity`` and then ``chain``.

    ``protocol`` is s_server's option: tls1, tls1_2, tls1_3, dtls1, dtls1_2. With
    ``answers`` a request gets a short answer over TLS, and the connection ends.
    """
    certificate, key, above = certificates.write(identity, folder, chain)
    literal = f"[{address}]" if ":" in address else address
    command: list[str | Path] = ["openssl", "s_server", f"-{protocol}", "-accept", f"{literal}:{port}"]
    command += ["-cert", certificate, "-key", key, "-cipher", _ANY_CIPHER]
    if chain:
        command += ["-cert_chain", above]
    datagrams = protocol.startswith("dtls")
    if answers and not datagrams:
        command += ["-WWW"]  # answer a request with a file or with "no such file", and close
    kind = "udp" if datagrams else "tcp"
    with _serving(kind, address, port, folder / "s_server.log", *command, *options, cwd=_empty(folder)):
        yield


@contextmanager
def by_name(identities: tuple[Identity, ...], address: str, folder: Path) -> Iterator[None]:
    """Run gnutls-serv as a head-end that chooses its certificate by the name in the ClientHello."""
    command: list[str | Path] = ["gnutls-serv", "--http", "--port", "443", "--disable-client-cert", "--quiet"]
    for identity in identities:
        certificate, key, _ = certificates.write(identity, folder)
        command += ["--x509certfile", certificate, "--x509keyfile", key]
    with _serving("tcp", address, 443, folder / "gnutls-serv.log", *command):
        yield


def _empty(folder: Path) -> Path:
    empty = folder / "empty"
    empty.mkdir(exist_ok=True)
    return empty


@contextmanager
def tftp(address: str, folder: Path, log: Path) -> Iterator[None]:
    """Run tftpd-hpa with ``folder`` as its root."""
    command = ("in.tftpd", "--foreground", "--listen", "--secure", "--address", f"{address}:69", folder)
    with _serving("udp", address, 69, log, *command):
        yield


@contextmanager
def web(address: str, folder: Path, log: Path, port: int = 6970) -> Iterator[None]:
    """Run Python's web server on CUCM's port for configuration files."""
    command = (sys.executable, "-m", "http.server", str(port), "--bind", address, "--directory", folder)
    with _serving("tcp", address, port, log, *command):
        yield


@contextmanager
def dns(
    address: str, hosts: dict[str, tuple[str, ...]], folder: Path, alias: tuple[str, str] | None = None
) -> Iterator[None]:
    """Run dnsmasq as a resolver of these names and of an alias only."""
    table = folder / "hosts"
    lines = [f"{address} {name}" for name, addresses in hosts.items() for address in addresses]
    table.write_text("\n".join(lines) + "\n")
    table.chmod(0o644)
    command = ["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts"]
    command += ["--user=root", "--pid-file=", f"--addn-hosts={table}", f"--listen-address={address}"]
    if alias:
        command.append(f"--cname={','.join(alias)}")
    with _serving("udp", address, 53, folder / "dnsmasq.log", *command, "--bind-interfaces"):
        yield


@contextmanager
def anyconnect(
    identity: Identity,
    address: str,
    folder: Path,
    *,
    chain: tuple[Certificate, ...] = (),
    early_dtls: bool = False,
) -> Iterator[None]:
    """Run ocserv, an AnyConnect head-end, with one user (``USER``, ``PASSWORD``)."""
    certificate, key, above = certificates.write(identity, folder, chain)
    served = folder / "ocserv.crt"
    served.write_text(certificate.read_text() + above.read_text())
    passwords = folder / "ocserv.passwd"
    subprocess.run(["ocpasswd", "-c", passwords, USER], input=f"{PASSWORD}\n" * 2, text=True, check=True)
    settings = folder / "ocserv.conf"
    settings.write_text(
        f"""auth = "plain[passwd={passwords}]"
listen-host = {address}
tcp-port = 443
udp-port = 443
run-as-user = nobody
run-as-group = nogroup
socket-file = {folder}/ocserv.socket
server-cert = {served}
server-key = {key}
isolate-workers = false
max-clients = 4
keepalive = 300
dpd = 60
tls-priorities = "NORMAL:-VERS-TLS1.3:+VERS-TLS1.0:+VERS-TLS1.1:%SERVER_PRECEDENCE"
auth-timeout = 40
cookie-timeout = 300
rekey-time = 172800
device = vpns
ipv4-network = 192.0.2.128
ipv4-netmask = 255.255.255.192
cisco-client-compat = true
dtls-legacy = {"true" if early_dtls else "false"}
use-occtl = false
pid-file = {folder}/ocserv.pid
"""
    )
    command = ("ocserv", "--foreground", "--config", settings)
    with _serving("tcp", address, 443, folder / "ocserv.log", *command):
        yield
