"""Declare and read the options that several commands share."""

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
    from types import FrameType

    from certhash.audit import Request
    from certhash.capture.observe import Settings
    from certhash.capture.start import Started
    from certhash.model import CnfFile, Problem

_INTERRUPTS = (signal.SIGINT, signal.SIGTERM)
LONGEST_TIMEOUT = 10.0**6
"""Seconds (eleven days): the longest timeout that every platform supports."""


def add_captures(parser: argparse.ArgumentParser, *, optional: bool = False) -> None:
    """Add CAPTURE and the options for reading captures; :func:`request` reads them."""
    parser.add_argument(
        "captures",
        nargs="*" if optional else "+",
        metavar="CAPTURE",
        help="a capture file, or a folder to search for captures",
    )
    parser.add_argument(
        "--keylog", metavar="FILE", help="file with TLS keys (SSLKEYLOGFILE format), to read TLS 1.3"
    )
    add_dissecting(parser)
    parser.add_argument(
        "--no-carve",
        dest="carve",
        action="store_false",
        help="let tshark read every packet, also those that cannot change a verdict",
    )
    parser.add_argument(
        "--no-warm",
        dest="warm",
        action="store_false",
        help="start a tshark for every capture; by default one sharkd dissects all small ones",
    )
    parser.add_argument(
        "-j",
        "--jobs",
        type=_jobs,
        default=0,
        metavar="N",
        help="number of captures to read at once (default: one per processor)",
    )
    parser.add_argument(
        "--timeout",
        type=seconds,
        default=3600.0,
        metavar="SECONDS",
        help="stop reading a capture after this time, and report it (default: 3600)",
    )
    parser.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="read the captures on a Dask cluster (tcp://HOST:8786); its workers must see the same paths",
    )
    cache = parser.add_mutually_exclusive_group()
    cache.add_argument(
        "--cache", metavar="FILE", help="cache of what captures contain (default: in the user's cache folder)"
    )
    cache.add_argument("--no-cache", action="store_true", help="read every capture again, and store nothing")


def add_dissecting(parser: argparse.ArgumentParser) -> None:
    """Add ``--decode-as`` and ``--tshark``, for captures and for interfaces."""
    parser.add_argument(
        "--decode-as",
        action="append",
        default=[],
        metavar="SPEC",
        help="dissect a port as TLS, like tshark's -d: tcp.port==5000,tls",
    )
    parser.add_argument("--tshark", metavar="PATH", help="the tshark to use (default: the one on the PATH)")


def add_expected(parser: argparse.ArgumentParser) -> None:
    """Add ``--cnf`` and ``--resolve``; :func:`resolve` reads the latter."""
    parser.add_argument(
        "--cnf",
        action="append",
        default=[],
        metavar="PATH",
        help="what phones expect: SEP<MAC>.cnf.xml files or parts of them, running-configs, show output, "
        "certificates, folders of these, or tftp://HOST/FILE and http://HOST:6970/FILE; repeat for several",
    )
    add_stated(parser)
    parser.add_argument(
        "--resolve",
        action="append",
        default=[],
        metavar="NAME=ADDRESS",
        help="the address of a host name in a URL, if the captures do not show it; repeat for several",
    )


def add_stated(parser: argparse.ArgumentParser) -> None:
    """Add ``--expect``; :func:`certhash.cnf.stated.read_stated` reads it."""
    parser.add_argument(
        "--expect",
        action="append",
        default=[],
        metavar="HASH[=URL]",
        help="a hash that phones expect, instead of a file, in any form that `certhash hash` accepts; with a "
        "URL it is for this head-end, else for any server; repeat for several",
    )


@contextmanager
def started(arguments: argparse.Namespace) -> Iterator[Started]:
    """Start what reads captures, before the rest is imported; end it with the context.

    Raises:
        InputError: there is no tshark, or the key log cannot be read.
    """
    from certhash.capture.engine import is_usable
    from certhash.capture.start import started

    here = bool(arguments.captures) and not arguments.scheduler
    warm = here and arguments.warm and is_usable(carve=arguments.carve, decode_as=arguments.decode_as)
    keylog, seconds = arguments.keylog, arguments.timeout
    with started(arguments.tshark, keylog=keylog, seconds=seconds, warm=warm) as begun:
        yield begun


def request(arguments: argparse.Namespace, begun: Started) -> Request:
    """Return the captures to read, and how to read them.

    Raises:
        InputError: there is no tshark.
    """
    from certhash.audit import Request
    from certhash.capture.observe import Settings

    cache = None
    if not arguments.no_cache:
        from certhash.archive.cache import default_path

        cache = arguments.cache or default_path()
    rules = tuple(arguments.decode_as)
    how = Settings(
        begun.tshark(), arguments.keylog, rules, arguments.carve, arguments.timeout, arguments.warm
    )
    captures = tuple(arguments.captures)
    return Request(captures, how, arguments.jobs, arguments.scheduler, cache, begun.place)


def settings(arguments: argparse.Namespace) -> Settings:
    """Return how to dissect what an interface receives.

    Raises:
        InputError: there is no tshark.
    """
    from certhash.capture import tshark
    from certhash.capture.observe import Settings

    return Settings(tshark.find(arguments.tshark), decode_as=tuple(arguments.decode_as))


def resolve(arguments: argparse.Namespace) -> dict[str, tuple[str, ...]]:
    """Return the addresses that `--resolve` gives for each name.

    Raises:
        InputError: a value is not NAME=ADDRESS.
    """
    addresses: dict[str, tuple[str, ...]] = {}
    if not arguments.resolve:
        return addresses
    from certhash.headend import plain_name, read_address

    for pair in arguments.resolve:
        name, _, text = pair.partition("=")
        name = plain_name(name)
        address = read_address(text.strip("[]"))
        if not name or address is None:
            raise InputError(
                f"--resolve {pair}: not NAME=ADDRESS; write vpn.example.com=203.0.113.1, for example"
            )
        addresses[name] = (*addresses.get(name, ()), address)
    return addresses


def stated(arguments: argparse.Namespace) -> tuple[CnfFile, ...]:
    """Return what `--expect` states.

    Raises:
        InputError: a value is no hash.
    """
    if not arguments.expect:
        return ()
    from certhash.cnf.stated import read_stated

    return read_stated(arguments.expect)


def end_on_sigterm() -> None:
    """Let SIGTERM stop the run like Ctrl-C: with a partial result. Further signals are ignored."""
    for number in _INTERRUPTS:
        signal.signal(number, _interrupt)


def note(line: str) -> None:
    """Print a message on standard error; not part of the result."""
    print(f"certhash: {line}", file=sys.stderr)


def complain(problems: Iterable[Problem]) -> None:
    """Print problems on standard error, one per line."""
    for problem in problems:
        where = f"{visible(problem.path)}: " if problem.path else ""
        note(f"{where}{visible(problem.message)}")


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    for number in _INTERRUPTS:  # a second Ctrl-C must not interrupt the partial result
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def seconds(text: str) -> float:
    """Parse a number of seconds from the command line."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number <= LONGEST_TIMEOUT:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return number


def _jobs(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of captures, 1 or more")
    return int(text)
