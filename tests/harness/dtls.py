"""Record the datagrams of real DTLS handshakes between OpenSSL's client and server."""

from __future__ import annotations

import contextlib
import re
import selectors
import socket
import subprocess
import time
from typing import TYPE_CHECKING, Literal

from tests.conftest import need

if TYPE_CHECKING:
    from pathlib import Path

PATIENCE = 20.0
"""Seconds to wait for a handshake."""
QUIET = 0.4
"""Seconds of silence that end a recording."""


Side = Literal["client", "server"]


def shake_hands(
    server_file: Path, version: str, *, client_file: Path | None = None, mtu: int = 1400
) -> list[tuple[Side, bytes]]:
    """Run a handshake of ``openssl s_server`` and ``s_client``; return each datagram, with its side.

    Args:
        server_file: key and chain of the server, PEM.
        version: ``dtls1`` or ``dtls1_2``.
        client_file: key and chain of the client, if the server requests them.
        mtu: the maximum size of a datagram, which determines the number of fragments.
    """
    openssl = need("openssl")
    # Both ends use a free port; the server prints the one that it got.
    common = [f"-{version}", "-mtu", str(mtu), "-cipher", "ALL:@SECLEVEL=0"]
    serve = [openssl, "s_server", "-accept", "127.0.0.1:0", "-cert", str(server_file), *common]
    serve += ["-cert_chain", str(server_file), *(["-verify", "5"] if client_file else [])]
    connect = [openssl, "s_client", *common]
    if client_file:
        connect += ["-cert", str(client_file), "-cert_chain", str(client_file)]
    pipe = subprocess.PIPE
    with subprocess.Popen(serve, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT) as server:
        client = None
        try:
            port = _port(server)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
                line.bind(("127.0.0.1", 0))
                connect += ["-connect", f"127.0.0.1:{line.getsockname()[1]}"]
                client = subprocess.Popen(
                    connect, stdin=pipe, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
                )
                return _relayed(line, port)
        finally:
            for process in (server, client):
                if process is not None:
                    process.kill()
                    with contextlib.suppress(OSError):
                        process.communicate()


def _port(server: subprocess.Popen[bytes]) -> int:
    assert server.stdout is not None
    for line in server.stdout:
        if found := re.match(rb"ACCEPT .*:(\d+)", line):
            return int(found[1])
    raise AssertionError("openssl s_server did not start")


def _relayed(line: socket.socket, server_port: int) -> list[tuple[Side, bytes]]:
    """Forward and record datagrams until the silence after the handshake."""
    noted: list[tuple[Side, bytes]] = []
    client: tuple[str, int] | None = None
    end = time.monotonic() + PATIENCE
    with selectors.DefaultSelector() as ready:
        ready.register(line, selectors.EVENT_READ)
        while time.monotonic() < end:
            if not ready.select(QUIET):
                # Record type 20 is ChangeCipherSpec: after both, the handshake is complete.
                if len({side for side, data in noted if b"\x14\xfe" in data}) == 2:
                    return noted
                continue
            data, sender = line.recvfrom(65536)
            from_client = sender[1] != server_port
            if from_client:
                client = sender
            noted.append(("client" if from_client else "server", data))
            target = ("127.0.0.1", server_port) if from_client else client
            if target is not None:
                line.sendto(data, target)
    raise AssertionError(f"no DTLS handshake in {PATIENCE:.0f} s: {len(noted)} datagrams")
