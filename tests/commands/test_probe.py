"""Test `certhash probe` with openssl and ocserv on loopback, and with misbehaving servers."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import shutil
import socket
import struct
import subprocess
import time
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.conftest import certhash
from tests.harness import permitted
from tests.harness.answering import answering, free_port
from tests.harness.openssl import make

from certhash.commands.probe_head_end import ask, split_certificates
from certhash.headend import HeadEnd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class Pki(NamedTuple):
    """A chain of three in files, and the DER of each."""

    folder: Path
    leaf: bytes
    middle: bytes
    root: bytes


def cert_hash(der: bytes) -> str:
    return base64.b64encode(hashlib.sha1(der, usedforsecurity=False).digest()).decode()


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    """Create leaf.pem, signed by middle.pem, signed by root.pem; chain.pem has the two upper ones."""
    folder = tmp_path_factory.mktemp("pki")

    root = make(folder, "root")
    middle = make(folder, "middle", "-CA", "root.pem", "-CAkey", "root.key")
    name = ("-addext", "subjectAltName=DNS:localhost")
    leaf = make(folder, "leaf", "-CA", "middle.pem", "-CAkey", "middle.key", *name)
    (folder / "chain.pem").write_text(middle.pem + root.pem)
    return Pki(folder, leaf.der, middle.der, root.der)


@contextlib.contextmanager
def running(command: list[str], port: int, folder: Path) -> Iterator[int]:
    """Run a server and wait until it listens."""
    program = shutil.which(command[0], path=os.environ.get("PATH", "") + ":/usr/sbin")
    if program is None:
        pytest.fail(f"{command[0]} is missing: apt-get install {command[0]}")
    log = folder / "server.log"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [program, *command[1:]], cwd=folder, stdin=subprocess.PIPE, stdout=output, stderr=output
        ) as server,
    ):
        try:
            for _ in range(100):
                assert server.poll() is None, log.read_text()
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                time.sleep(0.05)
            yield port
        finally:
            server.terminate()


@contextlib.contextmanager
def openssl_server(pki: Pki, *options: str, chain: bool = True) -> Iterator[int]:
    port = free_port()
    command = ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-cert", "leaf.pem", "-key", "leaf.key"]
    command += ["-cipher", "ALL:@SECLEVEL=0", *(["-cert_chain", "chain.pem"] if chain else []), *options]
    with running(command, port, pki.folder):
        yield port


def at(port: int) -> HeadEnd:
    return HeadEnd("127.0.0.1", port, is_address=True)


@pytest.mark.parametrize(
    ("option", "version"),
    [("-tls1", "TLS 1.0"), ("-tls1_1", "TLS 1.1"), ("-tls1_2", "TLS 1.2"), ("-tls1_3", "TLS 1.3")],
)
def test_whole_chain_in_every_version(pki: Pki, option: str, version: str) -> None:
    with openssl_server(pki, option) as port:
        answer = ask(at(port))
    assert (answer.version, answer.unfinished) == (version, None)
    assert answer.chain == (pki.leaf, pki.middle, pki.root)
    assert (answer.address, answer.port) == ("127.0.0.1", port)


def test_the_chain_is_what_openssl_sees(pki: Pki) -> None:
    with openssl_server(pki, "-tls1_2") as port:
        seen = subprocess.run(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-showcerts"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        answer = ask(at(port))
    bodies = [block.split("-----END")[0] for block in seen.split("-----BEGIN CERTIFICATE-----")[1:]]
    assert [base64.b64decode(body) for body in bodies] == list(answer.chain)


def test_version_as_asked(pki: Pki) -> None:
    """A head-end may present different certificates to old and new phones."""
    with openssl_server(pki) as port:
        assert ask(at(port), "1.0").version == "TLS 1.0"
        assert ask(at(port), "1.2").version == "TLS 1.2"
        assert ask(at(port)).version == "TLS 1.3"


@pytest.mark.parametrize("cipher", ["RC4-MD5", "DES-CBC3-SHA", "AES128-SHA", "DHE-RSA-AES256-SHA"])
def test_what_old_head_ends_speak(pki: Pki, cipher: str) -> None:
    offered = subprocess.run(
        ["openssl", "ciphers", "ALL:@SECLEVEL=0"], capture_output=True, check=True, text=True
    )
    if cipher not in offered.stdout.strip().split(":"):
        cipher = "AES256-SHA"  # this openssl was built without it
    with openssl_server(pki, "-tls1", "-cipher", f"{cipher}:@SECLEVEL=0") as port:
        assert ask(at(port)).chain[0] == pki.leaf


@pytest.mark.parametrize("option", ["-tls1", "-tls1_2"])
def test_a_head_end_that_wants_the_phones_certificate(pki: Pki, option: str) -> None:
    """The server closes the connection after its certificate, which is all that probe needs."""
    with openssl_server(pki, option, "-Verify", "1") as port:
        answer = ask(at(port))
    assert answer.chain == (pki.leaf, pki.middle, pki.root)
    assert answer.unfinished is not None
    assert answer.version == {"-tls1": "TLS 1.0", "-tls1_2": "TLS 1.2"}[option]


def test_no_patience_at_all() -> None:
    with pytest.raises(ValueError, match="answer in time"):
        ask(at(443), patience=0.1)


def test_a_certificate_that_libraries_refuse() -> None:
    """The bytes are shown whatever they are, even if the server's certificate is not DER."""
    certificate = b"\x30\x03junk, not a certificate"
    listed = len(certificate).to_bytes(3, "big") + certificate
    body = len(listed).to_bytes(3, "big") + listed
    message = b"\x0b" + len(body).to_bytes(3, "big") + body
    hello = b"\x03\x01" + bytes(32) + b"\0" + b"\0\x2f" + b"\0"
    hello = b"\x02" + len(hello).to_bytes(3, "big") + hello
    records = b"".join(b"\x16\x03\x01" + struct.pack(">H", len(part)) + part for part in (hello, message))
    with answering(lambda connection: connection.sendall(records)) as port:
        answer = ask(at(port))
    assert answer.chain == (certificate,)
    assert answer.unfinished is not None


@pytest.mark.parametrize(
    "answer",
    [
        lambda _: None,
        lambda connection: connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n"),
        lambda connection: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        lambda connection: connection.sendall(b"\x15\x03\x01\x00\x02\x02\x46"),
        lambda connection: connection.sendall(b"\x16\x03\x01\x00\x04\x0b\x00\x00\x00"),
    ],
)
def test_servers_without_a_certificate(answer: Callable[[socket.socket], object]) -> None:
    with answering(answer) as port, pytest.raises(ValueError, match=r"^127\.0\.0\.1:\d+ s[^\n]+$"):
        ask(at(port))


def test_a_server_that_trickles_is_left_in_time() -> None:
    def trickle(connection: socket.socket) -> None:
        connection.sendall(b"\x16\x03\x01\x10\x00")
        for _ in range(100):
            connection.sendall(b"\x02")
            time.sleep(0.05)

    with answering(trickle) as port, pytest.raises(ValueError, match="answer in time"):
        ask(at(port), patience=0.5)


def test_nobody_there() -> None:
    with pytest.raises(ValueError, match="cannot be reached"):
        ask(at(free_port()))
    with pytest.raises(ValueError, match="cannot be resolved"):
        ask(HeadEnd("no-such-name.invalid", 443, is_address=False))


def test_nothing_is_sent_after_the_handshake(pki: Pki) -> None:
    """The server decrypts no data from the client, and the connection ends."""
    port = free_port()
    command = ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-cert", "leaf.pem", "-key", "leaf.key"]
    command += ["-tls1_2", "-msg", "-naccept", "2"]
    with running(command, port, pki.folder):
        ask(at(port))
        time.sleep(0.5)
    log = (pki.folder / "server.log").read_text()
    assert "<<< TLS 1.2, Handshake [length 0010], Finished" in log
    after = log.rpartition("<<< TLS 1.2, Handshake [length 0010], Finished")[2]
    assert "<<<" not in after


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=5), st.booleans())
def test_certificate_messages_come_apart(chain: list[bytes], with_extensions: bool) -> None:
    extra = b"\0\2ab" if with_extensions else b""
    listed = b"".join(len(der).to_bytes(3, "big") + der + extra for der in chain)
    body = (b"\1x" if with_extensions else b"") + len(listed).to_bytes(3, "big") + listed
    message = b"\x0b" + len(body).to_bytes(3, "big") + body
    assert split_certificates(message, with_extensions=with_extensions) == tuple(chain)
    for cut in range(4, len(message)):
        with pytest.raises(ValueError, match=r"a length is too large|bytes follow"):
            split_certificates(message[:cut], with_extensions=with_extensions)


# ---------------------------------------------------------------- the command


def phone(value: str, url: str, algorithm: str = "") -> str:
    return (
        f"<device><vpnGroup><addresses><url1>{url}</url1></addresses>"
        f"<credentials>{algorithm}<certHash1>{value}</certHash1></credentials></vpnGroup></device>"
    )


def test_command_compares(pki: Pki, tmp_path: Path) -> None:
    with openssl_server(pki, "-tls1") as port:
        url = f"https://127.0.0.1:{port}/SSLVPNphone"
        names = {"1": cert_hash(pki.leaf), "2": cert_hash(pki.middle), "3": "fZ2xQHMBcWj/fSoNs5IkPbA2Pt8="}
        for last, value in names.items():
            (tmp_path / f"SEP00000000000{last}.cnf.xml").write_text(phone(value, url))
        (tmp_path / "SEP000000000004.cnf.xml").write_text(phone(names["3"], "https://127.0.0.1:1/x"))
        matching = certhash("probe", url, "--cnf", str(tmp_path / "SEP000000000001.cnf.xml"))
        every = certhash("probe", url, "--cnf", str(tmp_path))
        result = certhash("probe", url, "--cnf", str(tmp_path), "--json").json
        missed = certhash("probe", url, "--cnf", str(tmp_path / "SEP000000000004.cnf.xml"))
        plain = certhash("probe", url)
    assert (matching.status, every.status, missed.status, plain.status) == (0, 1, 2, 0)
    assert "match: certHash1 is the SHA-1 of certificate 0" in matching.out
    assert [item["verdict"] for item in result["comparisons"]] == ["match", "match", "mismatch"]
    assert [item["sha1"] for item in result["certificates"]] == list(map(cert_hash, pki[1:]))
    assert "https://127.0.0.1:1/x" in missed.err
    assert "names       localhost" in plain.out
    assert "TLS 1.0" in plain.out


@pytest.mark.parametrize(("check", "state"), [("", "is on by default"), ("1", "is on"), ("0", "")])
def test_a_certificate_that_does_not_name_the_host(pki: Pki, tmp_path: Path, check: str, state: str) -> None:
    """The hash matches, but the phone still ends the connection."""
    with openssl_server(pki) as port:
        url = f"https://127.0.0.1:{port}/x"
        switch = f"<vpnGroup><enableHostIDCheck>{check}</enableHostIDCheck>" if check else "<vpnGroup>"
        content = phone(cert_hash(pki.leaf), url).replace("<vpnGroup>", switch)
        (tmp_path / "SEP000000000001.cnf.xml").write_text(content)
        done = certhash("probe", url, "--cnf", str(tmp_path))
    assert done.status == 0
    assert "match: certHash1 is the SHA-1 of certificate 0" in done.out
    warned = f"warning: the host-ID check {state}"
    assert (warned in done.out) is bool(state)
    assert ("does not name 127.0.0.1 (it names localhost)" in done.out) is bool(state)


def test_a_head_end_that_chooses_by_name(pki: Pki, tmp_path: Path) -> None:
    """It presents another certificate to a phone that asks for no name, so this is not a match."""
    permitted.localhost()
    other = make(pki.folder, "other")
    options = ("-servername", "localhost", "-cert2", "leaf.pem", "-key2", "leaf.key")
    port = free_port()
    command = [
        "openssl",
        "s_server",
        "-accept",
        f"{port}",
        "-cert",
        "other.pem",
        "-key",
        "other.key",
        *options,
    ]
    with running(command, port, pki.folder):
        url = f"https://localhost:{port}/x"
        results = {}
        for name, values in {"one": [pki.leaf], "both": [pki.leaf, other.der]}.items():
            listed = phone(cert_hash(values[0]), url)
            if len(values) > 1:
                more = f"<certHash2>{cert_hash(values[1])}</certHash2></credentials>"
                listed = listed.replace("</credentials>", more)
            (tmp_path / "SEP000000000001.cnf.xml").write_text(listed)
            results[name] = certhash("probe", url, "--cnf", str(tmp_path))
    assert "unverifiable" in results["one"].out
    assert "does not ask for localhost" in results["one"].out
    assert results["one"].status == 2
    assert "  match: " in results["both"].out
    assert results["both"].status == 0


def test_command_with_a_hash_and_no_file(pki: Pki) -> None:
    with openssl_server(pki) as port:
        url = f"https://127.0.0.1:{port}/SSLVPNphone"
        for stated, status, verdict in (
            (cert_hash(pki.middle), 0, "match"),
            (hashlib.sha1(pki.leaf, usedforsecurity=False).hexdigest(), 0, "match"),
            (f"{cert_hash(pki.leaf)}={url}", 0, "match"),
            ("11" * 20, 1, "mismatch"),
        ):
            done = certhash("probe", url, "--expect", stated)
            assert done.status == status
            assert f"any phone  --expect  {verdict}: " in done.out
        elsewhere = certhash("probe", url, "--expect", f"{cert_hash(pki.leaf)}=https://127.0.0.1:1/x")
    assert elsewhere.status == 2
    assert "https://127.0.0.1:1/x" in elsewhere.err


def test_a_hash_counts_as_in_an_audit(pki: Pki, tmp_path: Path) -> None:
    """With hashAlg 0 a phone compares SHA-1: the SHA-256 of the right certificate is not a match."""
    sha256 = base64.b64encode(hashlib.sha256(pki.leaf).digest()).decode()
    with openssl_server(pki) as port:
        url = f"https://127.0.0.1:{port}/x"
        for last, algorithm in enumerate(("", "<hashAlg>0</hashAlg>", "<hashAlg>1</hashAlg>")):
            (tmp_path / f"SEP00000000000{last}.cnf.xml").write_text(phone(sha256, url, algorithm))
        result = certhash("probe", url, "--cnf", str(tmp_path), "--json").json
    assert [item["verdict"] for item in result["comparisons"]] == ["mismatch", "mismatch", "match"]


def test_command_with_a_configuration_that_is_not_whole(pki: Pki, tmp_path: Path) -> None:
    """A trustpoint without its certificate must not cause a mismatch."""
    with openssl_server(pki) as port:
        (tmp_path / "cme.txt").write_text(
            "voice service voip\n vpn-group 1\n"
            f"  vpn-gateway 1 https://127.0.0.1:{port}/x\n  vpn-trustpoint 1 trustpoint cme_cert leaf\n"
        )
        done = certhash("probe", f"https://127.0.0.1:{port}/x", "--cnf", str(tmp_path / "cme.txt"))
    assert done.status == 2
    assert "unverifiable" in done.out
    assert "mismatch" not in done.out


def test_command_failures() -> None:
    for url in ("http://127.0.0.1/", "127.0.0.1", f"https://127.0.0.1:{free_port()}/"):
        done = certhash("probe", url)
        assert done.status == 2
        assert done.out == ""
        assert len(done.err.splitlines()) == 1
        assert url in done.err


def test_ocserv(pki: Pki, tmp_path: Path) -> None:
    """A real AnyConnect head-end."""
    port = free_port()
    (tmp_path / "passwd").write_text("phone:*:x\n")
    shutil.copy(pki.folder / "leaf.key", tmp_path / "key.pem")
    (tmp_path / "cert.pem").write_text(
        "".join((pki.folder / f"{name}.pem").read_text() for name in ("leaf", "middle"))
    )
    (tmp_path / "ocserv.conf").write_text(
        f'auth = "plain[passwd={tmp_path}/passwd]"\n'
        f"listen-host = 127.0.0.1\ntcp-port = {port}\n"
        f"socket-file = {tmp_path}/socket\n"
        f"server-cert = {tmp_path}/cert.pem\nserver-key = {tmp_path}/key.pem\n"
        "isolate-workers = false\nmax-clients = 4\ndevice = vpns\n"
        "ipv4-network = 192.168.99.0\nipv4-netmask = 255.255.255.0\ncisco-client-compat = true\n"
    )
    command = ["ocserv", "--foreground", "--config", str(tmp_path / "ocserv.conf")]
    with running(command, port, tmp_path):
        answer = ask(at(port))
    assert answer.chain == (pki.leaf, pki.middle)
    assert answer.unfinished is None
