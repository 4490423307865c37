"""Time us and our peers on the same captures, in turn, and print medians and ratios.

``python tests/benchmarks/compare.py`` makes the captures in a temporary folder (some 3 GB; ``--scale`` for
less), runs every program that is installed on each of them, one after the other, and repeats that.  Taking
turns lets a busy machine be busy for all.  The memory is that of the largest process.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

if __package__ is None:
    # Run as a script, its folder is the only one that Python looks into.
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.benchmarks.captures import NAMES, make

HERE = Path(__file__).resolve().parent
SCRIPTS = HERE.parent.parent / "scripts"
STOCK = [sys.executable, str(HERE / "peers.py")]


class Peer(NamedTuple):
    """A program to compare with: the command before the capture, and what it needs to be installed."""

    name: str
    command: list[str]
    needs: str
    most_runs: int = 99


PEERS = (
    Peer("tshark + hashlib", [*STOCK, "tshark"], "tshark"),
    Peer("pyshark loop", [*STOCK, "pyshark"], "tshark", 1),
    Peer("ndpiReader -v 2", [*STOCK, "ndpi"], "ndpiReader"),
    Peer("Suricata, TLS log", [*STOCK, "suricata"], "suricata"),
)


class Run(NamedTuple):
    """What a run took."""

    seconds: float
    megabytes: float


def measure(command: list[str]) -> Run:
    """Run a command to its end."""
    started = time.perf_counter()
    process = os.posix_spawnp(
        command[0],
        command,
        {**os.environ, "PYTHONPATH": str(SCRIPTS)},
        file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)],
    )
    _, status, usage = os.wait4(process, 0)
    if os.waitstatus_to_exitcode(status) not in (0, 1, 2):
        sys.exit(f"{shlex.join(command)} ended with status {os.waitstatus_to_exitcode(status)}")
    return Run(time.perf_counter() - started, usage.ru_maxrss / 1024)


def ours(command: str | None) -> list[str]:
    """Return our own command, before the capture."""
    if command:
        return shlex.split(command)
    return [sys.executable, "-m", "certhash", "audit", "-f", "json", "--no-cache"]


def main() -> None:
    """Make the captures, run everything, print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help=f"among {', '.join(NAMES)}; all by default")
    parser.add_argument("--folder", type=Path, help="where the captures are, or are made and kept")
    parser.add_argument("--scale", type=float, default=1.0, help="1 gives about 700 MB for bulk and busy")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--ours", help="our command, instead of certhash audit -f json --no-cache")
    parser.add_argument(
        "--without", action="append", default=[], help="a peer to leave out, by its first word"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="certhash-benchmark-") as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        contenders = [Peer("certhash", ours(arguments.ours), "python3")]
        for peer in PEERS:
            if peer.name.split()[0].lower() in arguments.without:
                continue
            if shutil.which(peer.needs):
                contenders.append(peer)
            else:
                print(f"{peer.name}: not measured, {peer.needs} is not installed", file=sys.stderr)
        print(f"{'capture':10} {'program':20} {'seconds':>8} {'of':>24} {'MB':>6} {'us/peer':>8}")
        for name in arguments.names or NAMES:
            compare(name, make(name, folder, arguments.scale), contenders, arguments.runs)


def compare(name: str, capture: Path, contenders: list[Peer], runs: int) -> None:
    """Print a row for each program."""
    taken: dict[str, list[Run]] = {peer.name: [] for peer in contenders}
    for turn in range(runs):
        for peer in contenders:
            if turn < peer.most_runs:
                taken[peer.name].append(measure([*peer.command, str(capture)]))
    best = statistics.median(run.seconds for run in taken[contenders[0].name])
    for peer in contenders:
        seconds = [run.seconds for run in taken[peer.name]]
        median = statistics.median(seconds)
        spread = " ".join(f"{second:.2f}" for second in seconds)
        size = max(run.megabytes for run in taken[peer.name])
        print(
            f"{name:10} {peer.name:20} {median:8.2f} {spread:>24} {size:6.0f} {best / median:8.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
