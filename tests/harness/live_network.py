"""Create a network namespace for live captures, with a loopback interface, a cable and traffic.

``python -m tests.harness.live_network PACKETS [EXCHANGES_A_SECOND]`` (as root) measures how much memory
`certhash watch` needs while at least this number of packets crosses the loopback interface.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import select
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.harness import openssl

if TYPE_CHECKING:
    from collections.abc import Iterator

TOP = Path(__file__).resolve().parents[2]
CABLE, OTHER_END = "cable0", "cable1"
PORT = 443
_PATIENCE = 90.0


@contextlib.contextmanager
def namespace() -> Iterator[str]:
    """Create a network namespace with loopback and a cable on which nobody answers; return its name."""
    name = f"certhash-live-{secrets.token_hex(4)}"
    _ip("netns", "add", name)
    try:
        _ip("-n", name, "link", "set", "lo", "up")
        _ip("-n", name, "link", "add", CABLE, "type", "veth", "peer", "name", OTHER_END)
        quiet = "for f in /proc/sys/net/ipv6/conf/cable*/disable_ipv6; do echo 1 > $f; done"
        subprocess.run([*inside(name), "sh", "-c", quiet], check=True)
        for end in (CABLE, OTHER_END):
            _ip("-n", name, "link", "set", end, "up")
        yield name
    finally:
        _ip("netns", "del", name)


def inside(name: str) -> list[str]:
    """Return the prefix of a command to run in the namespace."""
    return ["ip", "netns", "exec", name]


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


class Watch:
    """A running `certhash watch`; tests wait for its output, never for a fixed time.

    Args:
        network: the namespace.
        arguments: of `certhash watch`.
        before: Python code to run first in its process.
    """

    def __init__(self, network: str, *arguments: str | Path, before: str = "") -> None:
        code = f"import sys\n{before}\nfrom certhash.cli import main\nsys.exit(main(sys.argv[1:]))"
        self.process = subprocess.Popen(
            [*inside(network), sys.executable, "-u", "-c", code, "watch", *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(TOP / "scripts")},
        )
        self.said = ""
        self.complained = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()

    def wait_until_ready(self) -> None:
        """Wait until it reports that the interface is open."""
        self._wait(lambda: "watching" in self.complained, "the interface to be open")

    def wait_for(self, pattern: str, times: int = 1) -> None:
        """Wait until it has printed a text a number of times."""
        self._wait(lambda: len(re.findall(pattern, self.said)) >= times, f"{pattern!r}, {times} times")

    def end(self, how: signal.Signals = signal.SIGINT) -> int:
        """Send a signal, by default that of Ctrl-C; return the exit status."""
        self.process.send_signal(how)
        said, complained = self.process.communicate(timeout=_PATIENCE)
        self.said += said.decode()
        self.complained += complained.decode()
        return self.process.returncode

    def _wait(self, condition: object, what: str) -> None:
        assert callable(condition)
        out, err = self.process.stdout, self.process.stderr
        assert out is not None
        assert err is not None
        end = time.monotonic() + _PATIENCE
        while not condition():
            if self.process.poll() is not None or time.monotonic() > end:
                self.end(signal.SIGTERM)
                raise AssertionError(f"waited for {what}: {self.said[-2000:]}{self.complained[-2000:]}")
            for ready in select.select([out, err], [], [], 0.05)[0]:
                text = os.read(ready.fileno(), 1 << 16).decode()
                if ready is out:
                    self.said += text
                else:
                    self.complained += text


def memory(pid: int) -> dict[str, int]:
    """Return the resident memory (VmRSS, in bytes) of a process and all below it, by program name."""
    found: dict[str, int] = {}
    with contextlib.suppress(OSError, ValueError):
        status = Path(f"/proc/{pid}/status").read_text()
        name = re.search(r"Name:\s*(\S+)", status)
        resident = re.search(r"VmRSS:\s*(\d+) kB", status)
        if name and resident:
            found[name[1]] = int(resident[1]) * 1024
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            for program, size in memory(int(child)).items():
                found[program] = found.get(program, 0) + size
    return found


def talk(certificate: Path, key: Path, connections: int, exchanges: int, a_second: int) -> None:
    """Open TLS connections on loopback in sequence, and exchange small messages over each.

    Limited to `a_second` exchanges per second, because the capture shares the processors and must keep up.
    """
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    server.load_cert_chain(certificate, key)
    server.maximum_version = ssl.TLSVersion.TLSv1_2
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    listening = socket.create_server(("127.0.0.1", PORT))

    def answer() -> None:
        for _ in range(connections):
            line, _address = listening.accept()
            with server.wrap_socket(line, server_side=True) as tls:
                while data := tls.recv(4096):
                    tls.sendall(data)

    threading.Thread(target=answer, daemon=True).start()
    began, made = time.monotonic(), 0
    for _ in range(connections):
        with client.wrap_socket(socket.create_connection(("127.0.0.1", PORT))) as tls:
            for _ in range(exchanges):
                tls.sendall(b"x" * 100)
                tls.recv(4096)
                made += 1
                time.sleep(max(0.0, began + made / a_second - time.monotonic()))


def measure(packets: int, a_second: int = 2000) -> tuple[int, int, int, str]:
    """Watch loopback while at least this number of packets crosses it, twice `a_second` per second.

    Returns:
        the memory of all processes before the first packet, the maximum afterwards (bytes), the number of
        connections, and the output.
    """
    exchanges = 500
    connections = packets // (2 * exchanges) + 1  # an exchange is two packets, or more
    with namespace() as network, tempfile.TemporaryDirectory() as folder:
        certificate, key, _ = openssl.make(Path(folder), "vpn.example.com")
        with Watch(network, "lo") as watch:
            watch.wait_until_ready()
            before = most = 0
            for _ in range(20):  # until tshark has started
                time.sleep(0.25)
                before = max(before, sum(memory(watch.process.pid).values()))
            arguments = [str(certificate), str(key), str(connections), str(exchanges), str(a_second)]
            talking = subprocess.Popen(
                [*inside(network), sys.executable, "-m", "tests.harness.live_network", "--talk", *arguments],
                cwd=TOP,
            )
            while talking.poll() is None:
                most = max(most, sum(memory(watch.process.pid).values()))
                time.sleep(0.05)
            with contextlib.suppress(AssertionError):
                watch.wait_for(r"  unlisted  ", connections)
            most = max(most, sum(memory(watch.process.pid).values()))
            if watch.process.returncode is None:
                watch.end()
    return before, most, connections, watch.said + watch.complained


def main() -> int:
    """Measure, or generate the traffic with ``--talk``."""
    if sys.argv[1] == "--talk":
        talk(Path(sys.argv[2]), Path(sys.argv[3]), *map(int, sys.argv[4:]))
        return 0
    before, most, connections, said = measure(*map(int, sys.argv[1:]))
    seen = len(re.findall(r"  unlisted  ", said))
    print(f"{connections} connections, {seen} handshakes seen")
    print(f"memory: {before >> 20} MB before, at most {most >> 20} MB after, growth {most - before >> 20} MB")
    print(said.partition("Coverage")[2])
    return 0


if __name__ == "__main__":
    sys.exit(main())
