"""Test the download of cnf files from a real TFTP server and from good and bad web servers on loopback."""

from __future__ import annotations

import contextlib
import http.server
import os
import shutil
import socket
import subprocess
import threading
import time
from typing import TYPE_CHECKING

import pytest
from tests.harness.answering import answering, free_port

from certhash.cnf import fetch, read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TAC = "fZ2xQHMBcWj/fSoNs5IkPbA2Pt8="
NAME = "SEP0011215A1AE3.cnf.xml"
PHONE = (
    f"<device><vpnGroup><addresses><url1>https://10.201.160.201/SSLVPNphone</url1></addresses>"
    f"<credentials><certHash1>{TAC}</certHash1></credentials></vpnGroup>{'<pad/>' * 500}</device>"
).encode()


@pytest.fixture(scope="module")
def tftp_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Start tftpd-hpa on a free port of loopback, as root, because it changes its root folder."""
    program = shutil.which("in.tftpd", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if program is None:
        pytest.fail("in.tftpd is missing: apt-get install tftpd-hpa")
    folder = tmp_path_factory.mktemp("tftp")
    folder.chmod(0o755)
    (folder / NAME).write_bytes(PHONE)
    (folder / "SEP000000000008.cnf.xml").touch(mode=0o600)
    (folder / "SEP000000000009.cnf.xml").write_bytes(b"<device>" + b"x" * 3_000_000)
    port = free_port(socket.SOCK_DGRAM)
    command = [program, "--foreground", "--listen", "--address", f"127.0.0.1:{port}", "--secure", str(folder)]
    if os.geteuid() != 0:
        command = ["sudo", "-n", *command]
    with subprocess.Popen(command) as server:
        try:
            for _ in range(50):
                with contextlib.suppress(ValueError):
                    fetch.fetch(f"tftp://127.0.0.1:{port}/{NAME}")
                    break
                assert server.poll() is None, "in.tftpd ended: it needs root, or sudo without a password"
                time.sleep(0.1)
            yield port
        finally:
            server.terminate()


def test_tftp(tftp_server: int) -> None:
    url = f"tftp://127.0.0.1:{tftp_server}/{NAME}"
    sources = read([url])
    (cnf,) = sources.cnf_files
    assert (cnf.device, cnf.source, sources.problems) == ("SEP0011215A1AE3", url, ())
    assert cnf.group is not None
    assert [item.value for item in cnf.group.hashes] == [TAC]


def test_tftp_failures(
    tftp_server: int, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "PATIENCE", 0.2)
    nobody = free_port(socket.SOCK_DGRAM)
    wanted = {
        f"tftp://127.0.0.1:{tftp_server}/SEP000000000001.cnf.xml": "no such file on 127.0.0.1",
        f"tftp://127.0.0.1:{tftp_server}/SEP000000000008.cnf.xml": "(Permission denied)",
        f"tftp://127.0.0.1:{tftp_server}/SEP000000000009.cnf.xml": "too large",
        f"tftp://127.0.0.1:{nobody}/{NAME}": "127.0.0.1",
        "tftp://127.0.0.1/": "does not name a host and a file",
        f"tftp://[::1]/{NAME}": "IPv4",
        f"tftp://127.0.0.1:99999/{NAME}": "not a valid address",
        f"tftp://no-such-name.invalid/{NAME}": "cannot be resolved",
        f"https://127.0.0.1:6971/{NAME}": "https is not fetched",
    }
    sources = read(wanted)
    assert [problem.path for problem in sources.problems] == list(wanted)
    for problem in sources.problems:
        assert wanted[problem.path] in problem.message
        assert "\n" not in problem.message
    assert capfd.readouterr() == ("", "")


def test_a_tftp_server_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "PATIENCE", 0.05)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        with pytest.raises(ValueError, match="no answer from 127\\.0\\.0\\.1 port"):
            fetch.fetch(f"tftp://127.0.0.1:{silent.getsockname()[1]}/{NAME}")


@contextlib.contextmanager
def web_server(folder: Path) -> Iterator[int]:
    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(folder))  # type: ignore[arg-type]

        def log_message(self, *_: object) -> None:
            """Do not log requests."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def test_http(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / NAME).write_bytes(PHONE)
    # A phone uses no proxy, so certhash uses none.
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with web_server(tmp_path) as port:
        (cnf,) = read([f"HTTP://127.0.0.1:{port}/{NAME}"]).cnf_files
        (problem,) = read([f"http://127.0.0.1:{port}/SEP000000000001.cnf.xml"]).problems
    assert cnf.device == "SEP0011215A1AE3"
    assert cnf.group is not None
    assert [item.value for item in cnf.group.hashes] == [TAC]
    assert "404" in problem.message


def _endless(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    for _ in range(100):
        connection.sendall(b"<device>" * 8192)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda c: c.sendall(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n"), "answers 302"),
        (lambda c: c.sendall(b"SSH-2.0-x\r\n"), "no valid HTTP response"),
        (
            lambda c: c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n<device>"),
            "before the file was complete",
        ),
        (lambda _: None, "no valid HTTP response"),
        (_endless, "too large"),
    ],
)
def test_http_servers_that_misbehave(answer: Callable[[socket.socket], object], words: str) -> None:
    with answering(answer) as port, pytest.raises(ValueError, match=words):
        fetch.fetch(f"http://127.0.0.1:{port}/{NAME}")


def test_an_http_server_that_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "LIMIT", 0.2)

    def trickle(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(100):
            connection.sendall(b"<")
            time.sleep(0.05)

    with answering(trickle) as port, pytest.raises(ValueError, match="took longer"):
        fetch.fetch(f"http://127.0.0.1:{port}/{NAME}")


def test_nobody_listens() -> None:
    with pytest.raises(ValueError, match="cannot be reached"):
        fetch.fetch(f"http://127.0.0.1:{free_port()}/{NAME}")
