"""Options that several commands take, and what they mean; one wording for all of them."""

from __future__ import annotations

import argparse
import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from certhash.errors import InputError
from certhash.visible import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from concurrent.futures import Future
    from types import FrameType

    from certhash.audit import Request
    from certhash.capture.observe import Settings
    from certhash.capture.tshark import Tshark
    from certhash.model import Problem

_INTERRUPTS = (signal.SIGINT, signal.SIGTERM)
LONGEST_TIMEOUT = 10.0**6
"""Seconds, eleven days: what clocks can be set to everywhere."""


def add_captures(parser: argparse.ArgumentParser, *, optional: bool = False) -> None:
    """Add CAPTURE and how captures are read; :func:`request` reads it."""
    parser.add_argument(
        "captures",
        nargs="*" if optional else "+",
        metavar="CAPTURE",
        help="a capture file, or a folder that is searched for them",
    )
    parser.add_argument(
        "--keylog", metavar="FILE", help="TLS keys, as SSLKEYLOGFILE writes them: for TLS 1.3"
    )
    add_dissecting(parser)
    parser.add_argument(
        "--no-carve",
        dest="carve",
        action="store_false",
        help="hand tshark every packet, also those that nothing can depend on",
    )
    parser.add_argument(
        "-j", "--jobs", type=_jobs, default=0, metavar="N", help="captures read at once (one a processor)"
    )
    parser.add_argument(
        "--timeout",
        type=seconds,
        default=3600.0,
        metavar="SECONDS",
        help="give up on a capture after so long, and say so (3600)",
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


def add_dissecting(parser: argparse.ArgumentParser) -> None:
    """Add what holds for files and for interfaces: ``--decode-as`` and ``--tshark``."""
    parser.add_argument(
        "--decode-as",
        action="append",
        default=[],
        metavar="SPEC",
        help="as tshark's -d, for TLS on a port that it gives to another protocol: tcp.port==5000,tls",
    )
    parser.add_argument("--tshark", metavar="PATH", help="the tshark to use (the one on the PATH)")


def add_expected(parser: argparse.ArgumentParser) -> None:
    """Add ``--cnf`` and ``--resolve``; :func:`resolve` reads the latter."""
    parser.add_argument(
        "--cnf",
        action="append",
        default=[],
        metavar="PATH",
        help="what phones expect: SEP<MAC>.cnf.xml files, running-configs, show output, certificates, "
        "folders of them, or tftp://HOST/FILE and http://HOST:6970/FILE; may be repeated",
    )
    parser.add_argument(
        "--resolve",
        action="append",
        default=[],
        metavar="NAME=ADDRESS",
        help="the address of a URL's name, where the captures do not show it; may be repeated",
    )


def request(arguments: argparse.Namespace) -> Request:
    """Return which captures are to be read, and how.

    Raises:
        InputError: there is no tshark.
    """
    with _asked(arguments) as tshark:
        from certhash.archive.cache import default_path
        from certhash.audit import Request

        cache = None if arguments.no_cache else arguments.cache or default_path()
        captures = tuple(arguments.captures)
        how = _settings(arguments, tshark)
        return Request(captures, how, arguments.jobs, arguments.scheduler, cache)


def settings(arguments: argparse.Namespace) -> Settings:
    """Return how captures are to be read.

    Raises:
        InputError: there is no tshark.
    """
    with _asked(arguments) as tshark:
        return _settings(arguments, tshark)


@contextmanager
def _asked(arguments: argparse.Namespace) -> Iterator[Future[Tshark]]:
    """Ask tshark who it is; the answer takes as long as to load what reads captures, so do that meanwhile."""
    from concurrent.futures import ThreadPoolExecutor

    from certhash.capture import tshark

    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(tshark.find, arguments.tshark)


def _settings(arguments: argparse.Namespace, tshark: Future[Tshark]) -> Settings:
    from certhash.capture.observe import TIMEOUT, Settings

    keylog, carve = getattr(arguments, "keylog", None), getattr(arguments, "carve", True)
    timeout = getattr(arguments, "timeout", TIMEOUT)
    return Settings(tshark.result(), keylog, tuple(arguments.decode_as), carve, timeout)


def resolve(arguments: argparse.Namespace) -> dict[str, tuple[str, ...]]:
    """Return the addresses of each name, as the user states them.

    Raises:
        InputError: one is no name with an address.
    """
    from certhash.headend import plain_name, read_address

    addresses: dict[str, tuple[str, ...]] = {}
    for pair in arguments.resolve:
        name, _, text = pair.partition("=")
        name = plain_name(name)
        address = read_address(text.strip("[]"))
        if not name or address is None:
            raise InputError(f"--resolve {pair}: give a name and an address, as vpn.example.com=203.0.113.1")
        addresses[name] = (*addresses.get(name, ()), address)
    return addresses


def end_on_sigterm() -> None:
    """Let SIGTERM end the run as Ctrl-C does: with what was done until then, however often it comes."""
    for number in _INTERRUPTS:
        signal.signal(number, _interrupt)


def note(line: str) -> None:
    """Say something to people that is no part of a result."""
    print(f"certhash: {line}", file=sys.stderr)


def complain(problems: Iterable[Problem]) -> None:
    """Say what could not be done, a line each."""
    for problem in problems:
        where = f"{visible(problem.path)}: " if problem.path else ""
        note(f"{where}{visible(problem.message)}")


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    for number in _INTERRUPTS:  # the end is on its way, and a second Ctrl-C must not cut it short
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def seconds(text: str) -> float:
    """Read a number of seconds of the command line."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number <= LONGEST_TIMEOUT:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds, more than 0")
    return number


def _jobs(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of captures, 1 or more")
    return int(text)
