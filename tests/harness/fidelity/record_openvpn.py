"""Record real OpenVPN: ``python -m tests.harness.fidelity.record_openvpn FILE``, as root.

A client and a server set up one tunnel after the other on the loopback of a network of their own, over UDP
and TCP, on OpenVPN's port and on others. What each server and client presents goes into a JSON file beside
the capture, from the certificates that were made for it.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, NamedTuple

from tests.harness.packets import Identity, identity

SERVER = "192.0.2.1"
PROGRAMS = {"openvpn": "openvpn", "dumpcap": "tshark", "ip": "iproute2", "unshare": "util-linux"}
READY = ("link remote: [AF_UNSPEC]", "Listening for incoming TCP connection")
UP = ("Initialization Sequence Completed",)


class Tunnel(NamedTuple):
    """One tunnel, and its options at both ends."""

    port: int
    transport: str
    options: tuple[str, ...] = ()


TUNNELS = (
    Tunnel(1194, "udp"),
    Tunnel(1194, "tcp"),
    Tunnel(5000, "udp"),
    Tunnel(5001, "tcp"),
    Tunnel(5002, "udp", ("--tls-auth", "{secret}", "--auth", "SHA1")),
    Tunnel(5003, "tcp", ("--tls-auth", "{secret}", "--auth", "SHA256")),
    Tunnel(5004, "udp", ("--tls-crypt", "{secret}")),
)
ENCRYPTED = 5004
"""The port whose control packets are encrypted: no reader sees a certificate."""


def _said(log: Path, words: tuple[str, ...]) -> None:
    """Wait until a process has written one of these words."""
    for _ in range(600):
        if any(each in log.read_text("utf-8") for each in words):
            return
        time.sleep(0.1)
    sys.exit(f"openvpn did not say {words}:\n{log.read_text('utf-8')}")


def _start(folder: Path, role: str, tunnel: Tunnel, one: Identity, log: IO[str]) -> subprocess.Popen[bytes]:
    pem = folder / f"{role}.pem"
    pem.write_bytes(one.pem())
    port = str(tunnel.port)
    ends = {
        "server": ("--local", SERVER, "--lport", port, "--dh", "none"),
        "client": ("--remote", SERVER, port, "--nobind"),
    }
    transport = {"udp": "udp4", "tcp": f"tcp4-{role}"}[tunnel.transport]
    command = [
        *("openvpn", f"--tls-{role}", *ends[role], "--proto", transport),
        *("--dev", "null", "--ifconfig-noexec", "--tls-version-max", "1.2", "--data-ciphers", "AES-256-GCM"),
        *("--ca", str(folder / "ca.pem"), "--cert", str(pem), "--key", str(pem)),
        *(word.replace("{secret}", str(folder / "secret")) for word in tunnel.options),
    ]
    return subprocess.Popen(command, stdout=log, stderr=log)


def _set_up(folder: Path, tunnel: Tunnel, ends: dict[str, Identity]) -> None:
    """Set up a tunnel and end it."""
    running: list[subprocess.Popen[bytes]] = []
    logs = {role: folder / f"{tunnel.port}-{tunnel.transport}-{role}.log" for role in ends}
    try:
        for role, one in ends.items():
            with logs[role].open("w") as log:
                running.append(_start(folder, role, tunnel, one, log))
            _said(logs[role], READY if role == "server" else UP)
        _said(logs["server"], UP)
    finally:
        for process in reversed(running):
            process.terminate()
            process.wait()


def _record(target: Path, folder: Path) -> None:
    """Record in this network, which has nothing else on it."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    subprocess.run(["ip", "addr", "add", f"{SERVER}/32", "dev", "lo"], check=True)
    subprocess.run(["openvpn", "--genkey", "secret", folder / "secret"], check=True)
    authority = identity("Example OpenVPN CA")
    (folder / "ca.pem").write_bytes(authority.pem())
    recorder = subprocess.Popen(
        ["dumpcap", "-q", "-i", "lo", "-w", str(target)], stderr=subprocess.PIPE, text=True
    )
    presented = {}
    try:
        assert recorder.stderr
        while not (line := recorder.stderr.readline()).startswith("File:"):
            assert line, "dumpcap could not start"
        for tunnel in TUNNELS:
            ends = {
                role: identity(f"{role}-{tunnel.transport}-{tunnel.port}.example.com", authority)
                for role in ("server", "client")
            }
            _set_up(folder, tunnel, ends)
            presented[f"{tunnel.transport} {tunnel.port}"] = [
                hashlib.sha1(der, usedforsecurity=False).hexdigest()
                for one in ends.values()
                for der in (one.der, *one.chain)
            ]
    finally:
        time.sleep(1)  # dumpcap writes what it has once a second
        recorder.terminate()
        recorder.wait()
    target.with_suffix(".json").write_text(json.dumps(presented, indent=2) + "\n")


def main() -> int:
    """Record into the file that was named."""
    missing = [package for program, package in PROGRAMS.items() if shutil.which(program) is None]
    if missing:
        print(f"install what is missing: apt-get install {' '.join(missing)}", file=sys.stderr)
        return 2
    if "--here" in sys.argv:
        with tempfile.TemporaryDirectory() as folder:
            _record(Path(sys.argv[-1]).resolve(), Path(folder))
        return 0
    again = [sys.executable, "-m", "tests.harness.fidelity.record_openvpn", "--here", *sys.argv[1:]]
    return subprocess.run(["unshare", "--net", *again], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
