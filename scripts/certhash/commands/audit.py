"""Captures and cnf files in, a verdict per phone out.

Examples:
  certhash audit captures --cnf captures/cnf
  certhash audit office.pcapng --cnf /srv/tftp -f json -o result.json
  certhash audit captures --resolve vpn.example.com=203.0.113.40
"""

from __future__ import annotations

import argparse
import signal
import sys
from typing import TYPE_CHECKING

from certhash import report
from certhash.errors import InputError
from certhash.report.text import visible

if TYPE_CHECKING:
    from types import FrameType


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `audit` takes."""
    parser.add_argument(
        "captures",
        nargs="*",
        metavar="CAPTURE",
        help="a capture file, or a folder that is searched; none, to hold configurations against each other",
    )
    parser.add_argument(
        "--cnf",
        action="append",
        default=[],
        metavar="PATH",
        help="what phones expect: SEP<MAC>.cnf.xml files, running-configs, show output, certificates, "
        "folders of them, or tftp://HOST/FILE and http://HOST:6970/FILE; may be repeated",
    )
    parser.add_argument(
        "--keylog", metavar="FILE", help="TLS keys, as SSLKEYLOGFILE writes them: for TLS 1.3"
    )
    parser.add_argument(
        "--decode-as",
        action="append",
        default=[],
        metavar="SPEC",
        help="as tshark's -d, for TLS on a port that it gives to another protocol: tcp.port==5000,tls",
    )
    parser.add_argument(
        "--resolve",
        action="append",
        default=[],
        metavar="NAME=ADDRESS",
        help="the address of a URL's name, where the captures do not show it; may be repeated",
    )
    parser.add_argument(
        "-j", "--jobs", type=_jobs, default=0, metavar="N", help="captures read at once (one a processor)"
    )
    parser.add_argument(
        "--no-carve",
        dest="carve",
        action="store_false",
        help="hand tshark every packet, also those that no verdict can depend on",
    )
    parser.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="read the captures on a Dask cluster, tcp://HOST:8786, whose workers see the same paths",
    )
    cache = parser.add_mutually_exclusive_group()
    cache.add_argument(
        "--cache", metavar="FILE", help="where to keep what captures showed (the user's cache folder)"
    )
    cache.add_argument("--no-cache", action="store_true", help="read every capture anew, and keep nothing")
    parser.add_argument("--tshark", metavar="PATH", help="the tshark to use (the one on the PATH)")
    report.add_output_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Audit, and write the result."""
    if not (arguments.captures or arguments.cnf):
        raise InputError("audit: nothing to do: give captures, configurations (--cnf), or both")
    report.outputs(arguments)  # a mistake there is said before hours are spent
    resolve = _resolve(arguments.resolve)
    from certhash.audit import Request, audit
    from certhash.cache import default_path
    from certhash.capture import tshark
    from certhash.capture.observe import Settings
    from certhash.progress import Console, Lines

    signal.signal(signal.SIGTERM, _interrupt)
    settings = Settings(
        tshark.find(arguments.tshark), arguments.keylog, tuple(arguments.decode_as), arguments.carve
    )
    request = Request(
        tuple(arguments.captures),
        settings,
        tuple(arguments.cnf),
        resolve,
        arguments.jobs,
        arguments.scheduler,
        None if arguments.no_cache else arguments.cache or default_path(),
    )
    streams = report.Output("ndjson", None) in report.outputs(arguments)
    quiet = arguments.quiet
    console = Lines(settings.tshark, quiet=quiet) if streams else Console(quiet=quiet)
    try:
        document = audit(request, console)
    finally:
        console.end()
    if isinstance(console, Lines):
        console.finish(document)
    for problem in document.problems:
        print(f"certhash: {visible(problem.path)}: {visible(problem.message)}", file=sys.stderr)
    report.write(document, arguments, streamed=streams)
    return document.exit_status


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _jobs(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of captures, 1 or more")
    return int(text)


def _resolve(pairs: list[str]) -> dict[str, tuple[str, ...]]:
    from certhash.headend import read_address

    addresses: dict[str, tuple[str, ...]] = {}
    for pair in pairs:
        name, _, text = pair.partition("=")
        name = name.lower().rstrip(".")
        address = read_address(text.strip("[]"))
        if not name or address is None:
            raise InputError(f"--resolve {pair}: give a name and an address, as vpn.example.com=203.0.113.1")
        addresses[name] = (*addresses.get(name, ()), address)
    return addresses
