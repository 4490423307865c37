"""Set up two network namespaces with a cable: phones, servers, and dumpcap on the cable."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.harness.recorder import frames
from tests.harness.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

PHONES = "certhash-phones"
SERVERS = "certhash-servers"
PHONE_LINK = "phone0"
SERVER_LINK = "server0"
GATEWAY = {4: "198.51.100.1", 6: "2001:db8:0:100::1"}

_CLONE_NEWNET = 0x40000000
_END_MARK = b"certhash: end of the recording"
_END_PORT = 9  # discard


def run(*command: str | Path) -> str:
    """Run a command; return its output, or raise an exception with its error message."""
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        words = " ".join(str(word) for word in command)
        raise RuntimeError(f"{words}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def says(log: Path, words: bytes) -> Callable[[], bool]:
    """Return a condition that is true once a program has written these words to its log."""
    return lambda: words in log.read_bytes()


@contextmanager
def inside(namespace: str) -> Iterator[None]:
    """Move this thread to a namespace during the block; sockets and processes created there stay there.

    ``os.setns`` exists only from Python 3.12 on, so this calls the C library.
    """
    library = ctypes.CDLL(None, use_errno=True)

    def enter(descriptor: int) -> None:
        if library.setns(descriptor, _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"setns to {namespace}")

    here = os.open("/proc/self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        enter(there)
        try:
            yield
        finally:
            enter(here)
    finally:
        os.close(here)
        os.close(there)


@contextmanager
def network(mac: str = "00:00:5e:00:53:01") -> Iterator[None]:
    """Create the two namespaces and the cable, and remove them at the end.

    Offloads are disabled, so that captured packets have the sizes and checksums of a real cable.
    """
    remove()
    for namespace in (PHONES, SERVERS):
        run("ip", "netns", "add", namespace)
    try:
        peer = ("type", "veth", "peer", "name", SERVER_LINK, "netns", SERVERS)
        run("ip", "link", "add", "name", PHONE_LINK, "netns", PHONES, *peer)
        run("ip", "-n", PHONES, "link", "set", PHONE_LINK, "address", mac)
        run("ip", "-n", SERVERS, "link", "set", SERVER_LINK, "address", "00:00:5e:00:53:fe")
        for namespace, link in ((PHONES, PHONE_LINK), (SERVERS, SERVER_LINK)):
            offloads = ("rx", "off", "tx", "off", "tso", "off", "gso", "off", "gro", "off")
            run("ip", "netns", "exec", namespace, "ethtool", "-K", link, *offloads)
            run("ip", "-n", namespace, "link", "set", "lo", "up")
            run("ip", "-n", namespace, "link", "set", link, "up")
        for family in (4, 6):
            add_address(SERVERS, GATEWAY[family], SERVER_LINK)
        yield
    finally:
        remove()


def remove() -> None:
    """Delete the namespaces that an interrupted run left behind."""
    for namespace in (PHONES, SERVERS):
        subprocess.run(["ip", "netns", "del", namespace], check=False, capture_output=True)


def add_address(namespace: str, address: str, link: str = "lo") -> None:
    """Add an address to a namespace; phones also get their default route."""
    six = ":" in address
    on_cable = link != "lo"
    length = {(False, False): 32, (False, True): 24, (True, False): 128, (True, True): 64}[six, on_cable]
    subprocess.run(
        [
            "ip",
            "-n",
            namespace,
            "address",
            "replace",
            f"{address}/{length}",
            "dev",
            link,
            *(["nodad"] if six else []),
        ],
        check=True,
        capture_output=True,
    )
    if namespace == PHONES:
        gateway = GATEWAY[6 if six else 4]
        family = "-6" if six else "-4"
        run("ip", family, "-n", namespace, "route", "replace", "default", "via", gateway, "dev", link)


def datagram_socket(namespace: str, own: tuple[str, int]) -> socket.socket:
    """Open a UDP socket in a namespace, bound to an address and a free port."""
    with inside(namespace):
        line = socket.socket(socket.AF_INET6 if ":" in own[0] else socket.AF_INET, socket.SOCK_DGRAM)
    line.bind(own)
    return line


def start(
    namespace: str, *command: str | Path, log: Path, cwd: Path | None = None
) -> subprocess.Popen[bytes]:
    """Start a program in a namespace; its standard input stays open, and its output goes to ``log``."""
    with inside(namespace), log.open("ab") as sink:
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=sink, stderr=sink, cwd=cwd, start_new_session=True
        )


def stop(process: subprocess.Popen[bytes], how: signal.Signals = signal.SIGTERM) -> None:
    """Terminate a program and its children; kill them after five seconds."""
    if process.poll() is None:
        os.killpg(process.pid, how)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(5)


def listening(kind: str, port: int) -> bool:
    """Return whether a server listens on a port (``kind``: tcp or udp)."""
    table = run("ip", "netns", "exec", SERVERS, "ss", "-Hln", f"--{kind}")
    return any(line.split()[3].endswith(f":{port}") for line in table.splitlines())


@contextmanager
def recording(folder: Path, capture_filter: str = "arp or ip or ip6") -> Iterator[list[frames.Frame]]:
    """Record the cable with dumpcap during the block; afterwards the yielded list contains the frames.

    A marker packet is sent at the end: once it is in dumpcap's file, so are all packets before it.
    """
    path, log = folder / "recording.pcap", folder / "dumpcap.log"
    path.unlink(missing_ok=True)
    command = ("dumpcap", "-q", "-P", "-i", PHONE_LINK, "-f", capture_filter, "-w", path)
    dumpcap = start(PHONES, *command, log=log)
    caught: list[frames.Frame] = []
    try:
        until(lambda: path.exists() and path.stat().st_size >= 24, "dumpcap to open its file")
        _mark()
        until(lambda: bool(_marks(path)), "dumpcap to see a packet")
        yield caught
        _mark()
        until(lambda: len(_marks(path)) == 2, "dumpcap to see the last packet")
    finally:
        stop(dumpcap, signal.SIGINT)
    first, last = _marks(path)
    caught += _worth_keeping(frames.read(path)[first + 1 : last])


def _mark() -> None:
    with inside(PHONES), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        line.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, PHONE_LINK.encode())
        line.sendto(_END_MARK, ("255.255.255.255", _END_PORT))


def _marks(path: Path) -> list[int]:
    return [index for index, frame in enumerate(frames.read(path)) if frame.payload == _END_MARK]


def _worth_keeping(caught: Sequence[frames.Frame]) -> list[frames.Frame]:
    """Drop the kernel's own packets: IPv6 neighbour discovery and multicast reports."""
    return [frame for frame in caught if not (frame.ethertype == 0x86DD and frame.data[20] in (0, 58))]
