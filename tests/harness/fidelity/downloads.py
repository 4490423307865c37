"""Compare the downloads that certhash learns with independent readers.

``python -m tests.harness.fidelity.downloads N`` makes N transfers (TFTP and HTTP) and compares what was sent
with the plugin's ``certhash.cnf_downloaded``, the audit's downloads, the ``tftp`` package (which decodes
captures with ``pktcap``), and h11 over TCP that pktcap puts together.
"""

from __future__ import annotations

import argparse
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import zlib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import h11
import pktcap
from tests.conftest import TOP, need
from tests.harness.fidelity.transfers import HTTP_PORTS, PORTS, generate
from tests.harness.packets import pcap
from tftp.capture import analyze

from certhash.capture import tshark
from certhash.capture.observe import Settings, observe

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.harness.fidelity.transfers import Transfer

Files = frozenset[tuple[str, bytes]]
"""The name of each file, without its folder, and its content."""

INDEPENDENT = "tftp and h11"

BATCH = 100
"""Number of transfers in one capture."""


class Difference(NamedTuple):
    """A file that a reader returned but was not sent, or that was sent but it did not return."""

    reader: str
    kind: str
    name: str
    what: str
    explained: bool = False
    """The documentation states why this file is not read."""


# --------------------------------------------------------------------------------------- the readers


def by_tftp(path: Path) -> Files:
    """Read the TFTP transfers with the ``tftp`` package."""
    return frozenset(
        (found.filename.rpartition("/")[2], found.data())
        for found in analyze(path, ports=sorted(set(PORTS))).transfers
        if found.operation == "read" and found.error is None and not found.missing_blocks and _ended(found)
    )


def _ended(found: object) -> bool:
    """Return whether the last block arrived: the package also requires its acknowledgement."""
    size, length = getattr(found, "blksize", 512), getattr(found, "size", 0)
    return bool(getattr(found, "is_complete", False)) or (length > 0 and length % size != 0)


def by_h11(path: Path) -> Files:
    """Read the HTTP transfers with h11."""
    found = set()
    for asked, said in _conversations(path):
        found |= set(_exchanges(asked, said))
    return frozenset(found)


def _conversations(path: Path) -> Iterator[tuple[bytes, bytes]]:
    """Return what client and server sent on each TCP connection, up to the first gap."""
    said: dict[tuple[int, bool], bytes] = {}
    broken = set()
    for piece in pktcap.read_tcp_streams(str(path)):
        side = (piece.stream, piece.destination[1] in HTTP_PORTS)
        if piece.missing:
            broken.add(side)
        if side not in broken:
            said[side] = said.get(side, b"") + piece.data
    for (stream, from_client), asked in said.items():
        if from_client:
            yield asked, said.get((stream, False), b"")


def _exchanges(asked: bytes, said: bytes) -> Iterator[tuple[str, bytes]]:
    """Return the files in complete responses with status 200."""
    client = h11.Connection(h11.CLIENT)
    client.receive_data(said)
    try:
        for request in _requests(asked):
            client.send(request)
            client.send(h11.EndOfMessage())
            status, body, headers = 0, b"", {}
            while not isinstance(event := client.next_event(), h11.EndOfMessage):
                if event is h11.NEED_DATA:
                    return
                if isinstance(event, h11.Response):
                    status, headers = event.status_code, dict(event.headers)
                elif isinstance(event, h11.Data):
                    body += event.data
            name = request.target.decode().partition("?")[0].rpartition("/")[2]
            if status == 200 and request.method == b"GET" and name.startswith("SEP"):
                yield name, zlib.decompress(body, 47) if b"content-encoding" in headers else body
            client.start_next_cycle()
    except h11.RemoteProtocolError:
        return


def _requests(asked: bytes) -> Iterator[h11.Request]:
    heads = asked.split(b"\r\n\r\n")[:-1]
    for head in heads:
        server = h11.Connection(h11.SERVER)
        server.receive_data(head + b"\r\n\r\n")
        event = server.next_event()
        if isinstance(event, h11.Request):
            yield event


def by_plugin(path: Path, program: str, plugin: Path) -> Files:
    """Read the downloads that tshark shows with the plugin."""
    command = [program, "-n", "-r", str(path), "-X", f"lua_script:{plugin}", "-T", "fields"]
    command += ["-o", "tcp.reassemble_out_of_order:TRUE"]  # as an audit sets it
    command += [
        "-e",
        "certhash.cnf_downloaded",
        "-e",
        "certhash.cnf_content",
        "-Y",
        "certhash.cnf_downloaded",
    ]
    nobody = pwd.getpwnam("nobody") if os.geteuid() == 0 else None  # a newer tshark loads no Lua for root
    with tempfile.TemporaryDirectory() as home:
        Path(home).chmod(0o755)
        ended = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=True,
            user=nobody and nobody.pw_uid,
            group=nobody and nobody.pw_gid,
            extra_groups=[] if nobody else None,
            env={"HOME": home, "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
        )
    rows = (line.split("\t") for line in ended.stdout.splitlines())
    return frozenset((name, bytes.fromhex(content)) for name, content in rows)


def by_audit(path: Path, program: str | None = None) -> Files:
    """Read the downloads that an audit learns from the capture."""
    seen = observe(str(path), Settings(tshark.find(program)))
    return frozenset((found.name, found.content) for found in seen.downloads)


# ------------------------------------------------------------------------------------ the comparison


def differences(reader: str, transfers: Iterable[Transfer], found: Files) -> Iterator[Difference]:
    """Return the differences between a reader's files and those that were sent."""
    known = {transfer.name: transfer for transfer in transfers}
    sent = {(t.name, t.content) for t in known.values() if t.content is not None}
    for name, content in sorted(sent - found):
        what = f"not read: {len(content or b'')} bytes"
        yield Difference(reader, known[name].kind, name, what, explained=not known[name].told)
    for name, content in sorted(found - sent):
        kind = known[name].kind if name in known else "?"
        yield Difference(reader, kind, name, f"read, and not sent: {len(content)} bytes")


def capture(folder: Path, transfers: list[Transfer]) -> Path:
    """Write the transfers to one capture that all users can read."""
    path = folder / "transfers.pcap"
    path.write_bytes(pcap([frame for transfer in transfers for frame in transfer.frames]))
    path.chmod(0o644)
    return path


def compare(numbers: range, programs: list[str]) -> tuple[Counter[str], list[Difference]]:
    """Generate and compare; return the number of files that each reader found, and all differences."""
    counted: Counter[str] = Counter()
    found: list[Difference] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        folder.chmod(0o755)
        plugin = _plugin(folder)
        for start in range(numbers.start, numbers.stop, BATCH):
            transfers = [generate(n) for n in range(start, min(start + BATCH, numbers.stop))]
            path = capture(folder, transfers)
            readings = {INDEPENDENT: by_tftp(path) | by_h11(path), "audit": by_audit(path)}
            readings |= {f"plugin in {program}": by_plugin(path, program, plugin) for program in programs}
            counted["sent"] += sum(transfer.content is not None for transfer in transfers)
            for reader, files in readings.items():
                counted[reader] += len(files)
                found += differences(reader, transfers, files)
    return counted, found


def _plugin(folder: Path) -> Path:
    """Copy the plugin to a folder that all users can read."""
    target = folder / "plugin"
    shutil.copytree(TOP / "plugin", target)
    for path in [target, *target.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    return target / "certhash.lua"


def main() -> int:
    """Compare, print the result, and return 1 if certhash differs from what was sent."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int, help="how many transfers to make")
    parser.add_argument("--seed", type=int, default=0, help="the number of the first")
    parser.add_argument(
        "--tshark", action="append", default=[], help="another tshark for the plugin; repeatable"
    )
    arguments = parser.parse_args()
    numbers = range(arguments.seed, arguments.seed + arguments.count)
    counted, found = compare(numbers, [need("tshark"), *arguments.tshark])
    for difference in found:
        known = " (explained)" if difference.explained else ""
        print(f"{difference.reader}: {difference.kind}: {difference.name}: {difference.what}{known}")
    print("files: " + ", ".join(f"{reader} {count}" for reader, count in counted.items()))
    ours = [difference for difference in found if difference.reader != INDEPENDENT]
    unexplained = [difference for difference in ours if not difference.explained]
    print(f"differences: {len(found)}, of certhash {len(ours)}, unexplained {len(unexplained)}")
    return bool(unexplained)


if __name__ == "__main__":
    sys.exit(main())
