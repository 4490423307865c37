"""Compare the speed of certhash with its peers: write captures, run all tools in turn, print the ratios.

``python -m tests.harness.benchmarks.compare --scale 0.1`` takes minutes; the full size takes most of an hour
on two cores. Every round runs all tools in turn on the same capture, so that a temporary load affects all of
them. On a busy machine, the ratios of CPU seconds are more reliable than those of elapsed time. If certhash
and stock tshark do not find the same hashes, the figures are invalid, and it says so.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
ONCE = ("pyshark + hashlib",)
"""Tools that run only in the first round, because they are slow."""
NAMES = ("bulk", "busy", "dtls", "mix", "many")
SCRIPTS = str(HERE.parents[2] / "scripts")

FILTER = "tls.handshake.certificate || dtls.handshake.certificate"
STOCK = """
import hashlib, subprocess, sys
seen = set()
command = ["tshark", "-n", "-Y", sys.argv[1], "-T", "fields"]
command += ["-e", "tls.handshake.certificate", "-e", "dtls.handshake.certificate", "-r"]
for path in sys.argv[2:]:
    tshark = subprocess.Popen([*command, path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    for line in tshark.stdout:
        for der in line.replace(",", " ").split():
            seen.add(hashlib.sha1(bytes.fromhex(der)).hexdigest())
    tshark.wait()
print("\\n".join(sorted(seen)))
"""
PYSHARK = """
import hashlib, sys
import pyshark
seen = set()
for path in sys.argv[2:]:
    capture = pyshark.FileCapture(path, display_filter=sys.argv[1], keep_packets=False)
    for packet in capture:
        for name in ("tls", "dtls"):
            if name in packet:
                for field in getattr(packet, name).handshake_certificate.all_fields:
                    seen.add(hashlib.sha1(bytes.fromhex(field.raw_value)).hexdigest())
    capture.close()
print("\\n".join(sorted(seen)))
"""
LOOP = """
import subprocess, sys
*command, last = sys.argv[1:]
at = command.index("--")
for path in (*command[at + 1:], last):
    subprocess.run([*command[:at], path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
"""


class Cost(NamedTuple):
    """The cost of one run: elapsed seconds, CPU seconds of all processes, megabytes of the largest one."""

    wall: float
    cpu: float
    memory: float


def run(command: list[str], output: Path | None = None) -> Cost:
    """Run a command, and return its cost.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    with (output or Path(os.devnull)).open("wb") as out:
        begun = time.perf_counter()
        process = subprocess.Popen(
            command, stdout=out, stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": SCRIPTS}
        )
        # Unlike Popen.wait, it reports the process and all of its waited-for children.
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return Cost(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def audit(paths: list[str], *more: str) -> list[str]:
    """Return the command that audits captures with this interpreter's certhash."""
    return [sys.executable, "-m", "certhash", "audit", *paths, "-f", "json", "-q", *more]


def peers(paths: list[str], scratch: Path) -> dict[str, list[str]]:
    """Return the command of every installed tool; each reads all of the captures."""
    tools = {
        "certhash": audit(paths, "--no-cache"),
        "tshark + hashlib": [sys.executable, "-c", STOCK, FILTER, *paths],
        "pyshark + hashlib": [sys.executable, "-c", PYSHARK, FILTER, *paths],
    }
    loop = [sys.executable, "-c", LOOP]
    if shutil.which("ndpiReader"):
        tools["ndpiReader -v 2"] = [*loop, "ndpiReader", "-v", "2", "-i", "--", *paths]
    if shutil.which("suricata"):
        (scratch / "no.rules").touch()
        quiet = ("suricata", "-S", str(scratch / "no.rules"), "-l", str(scratch), "-r")
        tools["suricata"] = [*loop, *quiet, "--", *paths]
    return tools


def compare(name: str, path: Path, rounds: int, scratch: Path) -> list[str]:
    """Run all tools over one of the captures, in turn, and return the lines of a table."""
    paths = sorted(map(str, path.iterdir())) if path.is_dir() else [str(path)]
    size = sum(Path(each).stat().st_size for each in paths)
    tools = peers(paths, scratch)
    if name == "many":
        del tools["pyshark + hashlib"]  # a thousand starts would take most of an hour, and show nothing new
    costs: dict[str, list[Cost]] = {tool: [] for tool in tools}
    for number in range(rounds):
        for tool, command in tools.items():
            if number == 0 or tool not in ONCE:
                costs[tool].append(run(command, scratch / f"{tool}.out"))
    document = json.loads((scratch / "certhash.out").read_text("utf-8"))
    hashes = {c["thumbprint"].lower() for h in document["handshakes"] for c in h["certificates"]}
    if hashes != set((scratch / "tshark + hashlib.out").read_text("utf-8").split()):
        sys.exit(f"{name}: certhash and tshark find different certificates, so no figure counts")
    median = {tool: Cost(*map(statistics.median, zip(*each, strict=True))) for tool, each in costs.items()}
    lines = [
        f"| {name}, {size / 1e6:,.0f} MB | seconds | CPU seconds | largest | certhash / it | by CPU |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    ours = median["certhash"]
    for tool, cost in median.items():
        figures = f"{cost.wall:.2f} | {cost.cpu:.2f} | {cost.memory:,.0f} MB"
        lines.append(f"| {tool} | {figures} | {ours.wall / cost.wall:.2f} | {ours.cpu / cost.cpu:.2f} |")
    return lines


def again(path: Path, rounds: int, scratch: Path) -> list[str]:
    """Measure an audit of many captures that an earlier audit has read."""
    command = audit([str(path)], "--cache", str(scratch / "cache"))
    run(command)
    cost = statistics.median(run(command).wall for _ in range(rounds))
    return [f"The same {len(list(path.iterdir())):,} captures again, from the cache: {cost:.2f} s"]


def starts(rounds: int) -> list[str]:
    """Measure a command that has nothing to read."""
    certificate = next((HERE.parents[2] / "captures" / "certificates").glob("*.pem"))
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "certhash --help": [sys.executable, "-m", "certhash", "--help"],
        "certhash hash FILE": [sys.executable, "-m", "certhash", "hash", str(certificate)],
    }
    costs: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(5 * rounds):
        for name, command in commands.items():
            costs[name].append(run(command).wall * 1000)
    return [
        "| start | milliseconds |",
        "| --- | ---: |",
        *(f"| {name} | {statistics.median(each):.0f} |" for name, each in costs.items()),
    ]


def main() -> None:
    """Write the captures, and compare the tools."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", default=NAMES, help=f"among {', '.join(NAMES)}; all by default")
    parser.add_argument("--folder", type=Path, help="where the captures are or are to be made, and stay")
    parser.add_argument("--scale", type=float, default=1.0, help="1 gives about 700 MB for bulk and busy")
    parser.add_argument("--rounds", type=int, default=3, help="of which the median counts (3)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.folder or Path(scratch)
        maker = [sys.executable, str(HERE / "captures.py"), str(folder), *arguments.names]
        subprocess.run([*maker, "--scale", f"{arguments.scale:g}"], check=True, stdout=subprocess.DEVNULL)
        suffix = "" if arguments.scale == 1 else f"-{arguments.scale:g}"
        for name in arguments.names:
            path = folder / (f"{name}{suffix}" if name == "many" else f"{name}{suffix}.pcap")
            print(*compare(name, path, arguments.rounds, Path(scratch)), "", sep="\n", flush=True)
            if name == "many":
                print(*again(path, arguments.rounds, Path(scratch)), "", sep="\n", flush=True)
        print(*starts(arguments.rounds), "", sep="\n")
        load = " ".join(f"{each:.1f}" for each in os.getloadavg())
        rounds = f"medians of {arguments.rounds}, each round all tools in turn"
        print(f"{len(os.sched_getaffinity(0))} cores, load average {load} at the end; {rounds}")


if __name__ == "__main__":
    main()
