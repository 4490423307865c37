"""Record real TFTP servers and clients: ``python -m tests.harness.fidelity.record_tftp FILE``, as root.

tftpd-hpa, atftpd and dnsmasq serve files on the loopback of a network of their own; curl, atftp and the
``tftp`` package fetch each file once, with different block sizes, windows and modes.  What each file holds
follows from its number, so that a test knows it without the servers.  Two of the servers cannot be installed
side by side: they are only unpacked.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from tests.harness.packets import configuration

HPA, ATFTPD, DNSMASQ = SERVERS = ("192.0.2.1", "192.0.2.2", "192.0.2.3")
COMMANDS = {
    HPA: ("in.tftpd", "--foreground", "--address", f"{HPA}:69", "--user", "root", "--secure", "{served}"),
    ATFTPD: ("atftpd", "--daemon", "--no-fork", "--user", "root.root", "--bind-address", ATFTPD, "{served}"),
    DNSMASQ: (
        *("dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--port=0", "--enable-tftp"),
        *(f"--listen-address={DNSMASQ}", "--bind-interfaces", "--user=root", "--tftp-root={served}"),
    ),
}
UNPACKED = ("tftpd-hpa", "atftpd", "atftp", "libwrap0")
PROGRAMS = {"dnsmasq": "dnsmasq-base", "curl": "curl", "dumpcap": "tshark", "ip": "iproute2"}
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


class Fetch(NamedTuple):
    """A file and the command that fetches it from ``{server}``."""

    number: int
    server: str
    command: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"SEP{self.number:012X}.cnf.xml"

    @property
    def content(self) -> bytes:
        """What the file holds: text, since netascii is among the modes."""
        chance = random.Random(self.number)
        file = configuration(["https://203.0.113.1/vpn"], [f"{self.number:027d}="])
        return file.ljust(chance.choice((len(file), 1024, 1428 * 2, 4096)), b"\n")


def fetches() -> list[Fetch]:
    """Return all that is fetched, in order."""
    url, package = (
        "tftp://{server}/{name}",
        "import sys, tftp; tftp.download('{server}', '{name}', sys.argv[1], **{options})",
    )
    ways: list[tuple[str, ...]] = [
        ("curl", "-sS", "--tftp-blksize", str(size), "-o", "{target}", url) for size in (8, 512, 1428, 65464)
    ]
    ways.append(("curl", "-sS", "--tftp-no-options", "-o", "{target}", url))
    atftp = ("atftp", "--get", "--remote-file", "{name}", "--local-file", "{target}", "{server}", "69")
    options = ("blksize 1024", "windowsize 4", "tsize", "timeout 3", "mode netascii")
    ways += [(atftp[0], "--option", option, *atftp[1:]) for option in options]
    for options_of_package in ({"windowsize": 8}, {"blksize": 100, "windowsize": 3}, {"mode": "netascii"}):
        code = package.replace("{options}", repr(options_of_package))
        ways.append((sys.executable, "-c", code, "{target}"))
    numbered = enumerate((server, way) for server in SERVERS for way in ways)
    return [Fetch(number, server, way) for number, (server, way) in numbered]


def _unpack(folder: Path) -> None:
    subprocess.run(
        ["apt-get", "download", "-qq", *UNPACKED], cwd=folder, check=True, stderr=subprocess.DEVNULL
    )
    for package in sorted(folder.glob("*.deb")):
        subprocess.run(["dpkg-deb", "-x", package, folder], check=True)
    os.environ["PATH"] = f"{folder}/usr/bin:{folder}/usr/sbin:{PATH}"
    os.environ["LD_LIBRARY_PATH"] = f"{folder}/usr/lib/x86_64-linux-gnu"


def _record(target: Path, folder: Path) -> None:
    """Record in this network, which has nothing else on it."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for address in SERVERS:
        subprocess.run(["ip", "addr", "add", f"{address}/32", "dev", "lo"], check=True)
    served = folder / "served"
    served.mkdir()
    for fetch in fetches():
        (served / fetch.name).write_bytes(fetch.content)
    servers: list[subprocess.Popen[bytes]] = []
    with (folder / "log").open("w") as log:
        for command in COMMANDS.values():
            words = [word.replace("{served}", str(served)) for word in command]
            servers.append(subprocess.Popen(words, stdout=log, stderr=log))
    recorder = subprocess.Popen(
        ["dumpcap", "-q", "-i", "lo", "-f", "udp", "-w", str(target)], stderr=subprocess.PIPE, text=True
    )
    try:
        assert recorder.stderr
        while not (line := recorder.stderr.readline()).startswith("File:"):
            assert line, "dumpcap could not start"
        time.sleep(2)  # the servers answer no sooner, and a request that they missed would be in the capture
        for fetch in fetches():
            _fetch(fetch, folder / "got")
        time.sleep(1)
    finally:
        recorder.terminate()
        recorder.wait()
        for server in servers:
            server.terminate()
            server.wait()


def _fetch(fetch: Fetch, target: Path) -> None:
    target.unlink(missing_ok=True)
    command = []
    for word in fetch.command:
        named = word.replace("{server}", fetch.server).replace("{name}", fetch.name)
        command.append(named.replace("{target}", str(target)))
    subprocess.run(command, check=False, timeout=60, stdout=subprocess.DEVNULL)
    got = target.read_bytes() if target.exists() else b""
    if got != fetch.content:
        print(f"{fetch.server} {fetch.name}: {len(got)} of {len(fetch.content)} bytes: {' '.join(command)}")


def main() -> int:
    """Record into the file that was named; say which transfers failed."""
    missing = [package for program, package in PROGRAMS.items() if shutil.which(program, path=PATH) is None]
    if missing:
        print(f"install what is missing: apt-get install {' '.join(missing)}", file=sys.stderr)
        return 2
    if "--here" not in sys.argv:
        again = [
            "unshare",
            "--net",
            sys.executable,
            "-m",
            "tests.harness.fidelity.record_tftp",
            "--here",
            *sys.argv[1:],
        ]
        with tempfile.TemporaryDirectory() as folder:
            _unpack(Path(folder))
            return subprocess.run([*again, folder], check=False).returncode
    _record(Path(sys.argv[-2]).resolve(), Path(sys.argv[-1]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
