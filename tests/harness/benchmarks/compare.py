"""Compare the speed of certhash with its peers: write captures, run all tools in turn, print the ratios.

``python -m tests.harness.benchmarks.compare --scale 0.1`` takes minutes; the full size takes most of an hour
on two cores. Every round runs all tools in turn on the same capture, so that a temporary load affects all of
them. On a busy machine, the ratios of CPU seconds are more reliable than those of elapsed time. If certhash
and stock tshark do not find the same hashes, the figures are invalid, and it says so. ``--before`` is the
folder ``scripts`` of an earlier build (from ``git worktree add``), which is measured in the same way.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.harness.benchmarks.cost import Cost, Group

from certhash.archive.cache import SETTLED

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).resolve().parent
ONCE = ("pyshark + hashlib",)
"""Tools that run only in the first round, because they are slow."""
NAMES = ("first", "bulk", "busy", "dtls", "mix", "many", "archive")
FOLDERS = {"many": 1000, "archive": 10_000}
"""How many small captures are in each, at scale 1."""
TOP = HERE.parents[2]
SCRIPTS = str(TOP / "scripts")
CAPTURE, CNF = TOP / "captures" / "match.pcapng", TOP / "captures" / "cnf" / "SEP00005E005311.cnf.xml"

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
    subprocess.run([*command[:at], path], stderr=subprocess.DEVNULL, check=True)
"""
SHA1 = re.compile(rb"Certificate SHA-1: ([0-9A-F:]{59})")
"""As ndpiReader prints it."""


class Tool(NamedTuple):
    """A program that reads captures, and how many different certificates it names in its output."""

    command: list[str]
    certificates: Callable[[Path], int]
    scripts: str = SCRIPTS
    """The folder of the certhash that it runs, if it does."""


def run(group: Group, tool: Tool, output: Path | None = None) -> Cost:
    """Run a tool to its end."""
    os.environ["PYTHONPATH"] = tool.scripts
    most = 1 if "certhash" in tool.command else 0  # 1: an audit with findings
    return group.run(tool.command, output, most)


def in_document(output: Path) -> int:
    """Count the certificates in certhash's JSON."""
    return len(thumbprints(output))


def thumbprints(output: Path) -> set[str]:
    """Return the hashes of all certificates in certhash's JSON."""
    document = json.loads(output.read_text("utf-8"))
    return {c["thumbprint"].lower() for h in document["handshakes"] for c in h["certificates"]}


def in_lines(output: Path) -> int:
    """Count lines, each of which is the hash of another certificate."""
    return len(set(output.read_text("utf-8").split()))


def by_ndpi(output: Path) -> int:
    """Count the certificates that ndpiReader names."""
    return len(set(SHA1.findall(output.read_bytes())))


def audit(paths: list[str], *more: str) -> list[str]:
    """Return the command that audits captures with this interpreter's certhash."""
    return [sys.executable, "-m", "certhash", "audit", *paths, "-f", "json", "-q", *more]


def peers(paths: list[str], scratch: Path, before: str | None) -> dict[str, Tool]:
    """Return every installed tool; each reads all of the captures."""
    own = audit(paths, "--no-cache")
    tools = {"certhash": Tool(own, in_document)}
    if before:
        tools["certhash before"] = Tool(own, in_document, before)
    tools["tshark + hashlib"] = Tool([sys.executable, "-c", STOCK, FILTER, *paths], in_lines)
    tools["pyshark + hashlib"] = Tool([sys.executable, "-c", PYSHARK, FILTER, *paths], in_lines)
    loop = [sys.executable, "-c", LOOP]
    if shutil.which("ndpiReader"):
        tools["ndpiReader -v 2"] = Tool([*loop, "ndpiReader", "-v", "2", "-i", "--", *paths], by_ndpi)
    if shutil.which("suricata"):
        (scratch / "no.rules").touch()
        log = scratch / "eve.json"

        def by_suricata(_output: Path) -> int:
            lines = log.read_text("utf-8").splitlines() if log.exists() else []
            log.unlink(missing_ok=True)
            return len({json.loads(line).get("tls", {}).get("fingerprint") for line in lines} - {None})

        quiet = ("suricata", "-S", str(scratch / "no.rules"), "-l", str(scratch), "-r")
        tools["suricata"] = Tool([*loop, *quiet, "--", *paths], by_suricata)
    return tools


def compare(group: Group, path: Path, rounds: int, tools: dict[str, Tool], scratch: Path) -> list[str]:
    """Run all tools in turn, and return the lines of a table."""
    size = sum(each.stat().st_size for each in (path.iterdir() if path.is_dir() else [path]))
    costs: dict[str, list[Cost]] = {tool: [] for tool in tools}
    found: dict[str, int] = {}
    for number in range(rounds):
        for name, tool in tools.items():
            if number == 0 or name not in ONCE:
                output = scratch / f"{name}.out"
                costs[name].append(run(group, tool, output))
                found[name] = tool.certificates(output)
    stock = set((scratch / "tshark + hashlib.out").read_text("utf-8").split())
    if thumbprints(scratch / "certhash.out") != stock:
        sys.exit(f"{path.name}: certhash and tshark find different certificates, so no figure counts")
    return table(f"{path.name}, {size / 1e6:,.0f} MB", costs, found)


def table(title: str, costs: dict[str, list[Cost]], found: dict[str, int]) -> list[str]:
    """Return the lines of a table of medians, and of ratios to the first tool."""
    median = {tool: Cost(*map(statistics.median, zip(*each, strict=True))) for tool, each in costs.items()}
    lines = [
        f"| {title} | certificates | seconds | CPU seconds | largest | certhash / it | by CPU |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    ours = next(iter(median.values()))
    for tool, cost in median.items():
        figures = f"{cost.wall:.2f} | {cost.cpu:.2f} | {cost.memory:,.0f} MB"
        ratios = f"{ours.wall / cost.wall:.2f} | {ours.cpu / cost.cpu:.2f}"
        lines.append(f"| {tool} | {found.get(tool, '')} | {figures} | {ratios} |")
    return lines


def again(group: Group, path: Path, rounds: int, scratch: Path) -> list[str]:
    """Measure an audit of many captures, and another one, which takes them from the cache."""
    time.sleep(SETTLED / 1e9)  # the cache keeps no capture that changed moments ago
    tool = Tool(audit([str(path)], "--cache", str(scratch / "cache")), in_document)
    first = run(group, tool)
    cost = statistics.median(run(group, tool).wall for _ in range(rounds))
    count = len(list(path.iterdir()))
    costs = f"{first.wall:.1f} s, {first.cpu:.1f} CPU seconds, {first.memory:,.0f} MB in the largest process"
    return [f"{count:,} captures: {costs}; again, from the cache: {cost:.2f} s"]


def first_answer(group: Group, rounds: int, before: str | None) -> list[str]:
    """Measure one small capture and one cnf file, to the finished table, beside tshark alone."""
    own = [sys.executable, "-m", "certhash", "audit", str(CAPTURE), "--cnf", str(CNF), "--no-cache"]
    tools = {"certhash": Tool(own, in_lines)}
    if before:
        tools["certhash before"] = Tool(own, in_lines, before)
    tools["tshark -r FILE -q"] = Tool(["tshark", "-r", str(CAPTURE), "-q"], in_lines)
    for tool in tools.values():
        run(group, tool)  # so that all is in memory and compiled
    costs: dict[str, list[Cost]] = {name: [] for name in tools}
    for _ in range(5 * rounds):
        for name, tool in tools.items():
            costs[name].append(run(group, tool))
    return table("first answer", costs, {})


def starts(group: Group, rounds: int) -> list[str]:
    """Measure a command that has nothing to read."""
    certificate = next((TOP / "captures" / "certificates").glob("*.pem"))
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "certhash --help": [sys.executable, "-m", "certhash", "--help"],
        "certhash hash FILE": [sys.executable, "-m", "certhash", "hash", str(certificate)],
    }
    costs: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(5 * rounds):
        for name, command in commands.items():
            costs[name].append(run(group, Tool(command, in_lines)).wall * 1000)
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
    parser.add_argument("--before", metavar="SCRIPTS", help="the folder of an earlier certhash to run, too")
    parser.add_argument("--without", action="append", default=[], help="a tool to leave out; repeatable")
    arguments = parser.parse_args()
    group = Group()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package is compiled
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        os.environ["PYTHONPYCACHEPREFIX"] = str(scratch / "compiled")
        folder = arguments.folder or scratch
        for name in arguments.names:
            for lines in measured(group, name, folder, scratch, arguments):
                print(*lines, "", sep="\n", flush=True)
        print(*starts(group, arguments.rounds), "", sep="\n")
        load = " ".join(f"{each:.1f}" for each in os.getloadavg())
        rounds = f"medians of {arguments.rounds}, each round all tools in turn"
        print(
            f"{len(os.sched_getaffinity(0))} cores, load average {load} at the end; {rounds}; {group.method}"
        )
    group.close()


def measured(
    group: Group, name: str, folder: Path, scratch: Path, arguments: argparse.Namespace
) -> list[list[str]]:
    """Return the tables of one kind of work."""
    rounds, before = arguments.rounds, arguments.before
    if name == "first":
        return [first_answer(group, rounds, before)]
    maker = [sys.executable, str(HERE / "captures.py"), str(folder), name]
    subprocess.run([*maker, "--scale", f"{arguments.scale:g}"], check=True, stdout=subprocess.DEVNULL)
    suffix = "" if arguments.scale == 1 else f"-{arguments.scale:g}"
    path = folder / (f"{name}{suffix}" if name in FOLDERS else f"{name}{suffix}.pcap")
    if name == "archive":
        return [again(group, path, rounds, scratch)]
    paths = sorted(map(str, path.iterdir())) if path.is_dir() else [str(path)]
    tools = peers(paths, scratch, before)
    if name in FOLDERS:
        del tools["pyshark + hashlib"]  # a thousand starts would take most of an hour, and show nothing new
    tools = {tool: each for tool, each in tools.items() if tool not in arguments.without}
    tables = [compare(group, path, rounds, tools, scratch)]
    return [*tables, again(group, path, rounds, scratch)] if name == "many" else tables


if __name__ == "__main__":
    main()
