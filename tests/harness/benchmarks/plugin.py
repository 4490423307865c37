"""Measure the plugin's cost: tshark with it against tshark with an empty post-dissector that reads one field.

    PYTHONPATH=scripts:. python tests/harness/benchmarks/plugin.py [--scale 0.05] [--rounds 5]

Prints, for this machine's tshark and for those of the other versions, the median of the
ratios of processor time (user and system), each ratio of two runs side by side.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.harness import wiresharks
from tests.harness.benchmarks import captures
from tests.plugin.machines import Machine, machine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EMPTY = """
local empty = Proto("empty", "Empty")
local field = Field.new("tls.handshake.certificate")
function empty.dissector() return field() end
register_postdissector(empty)
"""
FIELDS = ("-T", "fields", "-e", "tls.handshake.certificate")
ASKED = {"no output": ((), ()), "-e certhash.sha1": (FIELDS, (*FIELDS, "-e", "certhash.sha1"))}
"""The fields to print: with the empty post-dissector, and with the plugin."""


def no_tls(folder: Path, scale: float) -> Iterator[bytes]:
    """Yield HTTP downloads, calls and DNS queries."""
    del folder

    def flows() -> Iterator[Iterator[bytes]]:
        for index in range(int(400 * scale)):
            yield captures.http_download(100_000 + index, 400_000)
            yield captures.rtp_call(200_000 + index, 400)
            yield captures.dns_lookup(300_000 + index)

    return captures.interleave(flows(), 80)


def handshakes(folder: Path, scale: float) -> Iterator[bytes]:
    """Yield 10,000 connections without application data."""
    identities = [captures.make_identity(folder, f"bare{number}.example") for number in range(8)]
    scripts = [captures.tls_transcript(identities[number % 8]) for number in range(24)]
    return captures.interleave(
        (captures.tls_flow(index, scripts[index % 24]) for index in range(int(10_000 * scale))), 200
    )


CASES: dict[str, Callable[[Path, float], Iterator[bytes]]] = {
    "no TLS": no_tls,
    "bulk TLS": captures.bulk,
    "10,000 handshakes with 64 KB each": captures.busy,
    "10,000 bare handshakes": handshakes,
}


def seconds(place: Machine, capture: Path, script: Path, options: tuple[str, ...]) -> float:
    """Return the processor time of one run of tshark."""
    process = place.start("tshark", "-n", "-r", capture, "-X", f"lua_script:{script}", *(options or ("-q",)))
    for stream in (process.stdout, process.stderr):
        if stream:
            stream.read()
            stream.close()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"tshark ended with {process.returncode}")
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=0.05, help="1 gives captures of about 700 MB")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", help="a word of the case's name")
    arguments = parser.parse_args()
    places = [machine("this machine", None)]
    places += [machine(version, wiresharks.unpacked(version).programs) for version in wiresharks.others()]
    with tempfile.TemporaryDirectory() as keys:
        for name, make in CASES.items():
            if arguments.only and arguments.only not in name:
                continue
            measured: dict[tuple[Machine, str], list[tuple[float, float]]] = {}
            path = Path(keys) / "capture.pcap"
            with path.open("wb") as output:
                captures.write_pcap(output, make(Path(keys), arguments.scale))
            content = path.read_bytes()
            inside = {place: place.put("capture.pcap", content) for place in places}
            empty = {place: place.put("empty.lua", EMPTY.encode()) for place in places}
            for _ in range(arguments.rounds):
                for place in places:
                    for asked, (plain, ours) in ASKED.items():
                        pair = (
                            seconds(place, inside[place], empty[place], plain),
                            seconds(place, inside[place], place.plugin, ours),
                        )
                        measured.setdefault((place, asked), []).append(pair)
            for (place, asked), pairs in measured.items():
                ratio = statistics.median(with_plugin / base for base, with_plugin in pairs)
                median = statistics.median(base for base, _ in pairs)
                row = f"{place.name:14} {name:36} {asked:18} empty {median:6.2f} s   ratio {ratio:.2f}"
                print(row, flush=True)
    for place in places:
        shutil.rmtree(place.folder)


if __name__ == "__main__":
    main()
