"""Check live traffic on an interface: one line per handshake, and a summary at the end.

Ctrl-C or SIGTERM stops it. A handshake is printed when the client continues or rejects the certificate, or
after two seconds of silence: time, verdict, client, server, presented hashes, and the phones that use this
head-end. Another line reports a new finding, or one that is over. cnf files that phones download are used
from then on. Of equal handshakes, the summary has the newest.

Examples:
  certhash watch eth0 --cnf /srv/tftp
  certhash watch eth0 --capture-filter "host 203.0.113.10 or udp port 69"
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from typing import TYPE_CHECKING

from msgspec.structs import replace

from certhash import report
from certhash.cnf.stated import read_stated
from certhash.commands import options
from certhash.errors import InputError
from certhash.visible import visible

if TYPE_CHECKING:
    import argparse

    from certhash.capture.live import Live
    from certhash.commands.watch_live import Event, Watcher

_LOOK = 0.25
"""Seconds between two checks for new events."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `watch`."""
    parser.add_argument(
        "interface", metavar="INTERFACE", help="the interface to capture from (dumpcap -D lists them)"
    )
    options.add_expected(parser)
    options.add_dissecting(parser)
    parser.add_argument(
        "--capture-filter",
        default="",
        metavar="FILTER",
        help="capture only these packets, like dumpcap's -f",
    )
    parser.add_argument("--seconds", type=options.seconds, metavar="N", help="stop after this many seconds")
    report.add_output_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Watch until a signal or the time limit, then write the summary."""
    wanted = report.outputs(arguments)
    resolve = options.resolve(arguments)
    stated = read_stated(arguments.expect)
    settings = options.settings(arguments)
    from certhash import cnf
    from certhash.audit import NO_PLUGIN
    from certhash.capture import again
    from certhash.capture.tshark import plugin_trouble
    from certhash.commands.watch_live import Watcher
    from certhash.judgement.document import Tool

    try:
        from certhash.capture.live import Live
    except (ImportError, AttributeError) as error:
        python = ".".join(map(str, sys.version_info[:2]))
        raise InputError(
            f"pyshark does not work with Python {python} ({error}), and live captures need it; capture with "
            f"`dumpcap -i {arguments.interface} -w FILE`, and audit that file"
        ) from None
    plugin = plugin_trouble(settings.tshark) is None
    if not plugin:
        options.note(NO_PLUGIN)
    sources = cnf.read(arguments.cnf)
    options.complain(sources.problems)
    if sources.copies:
        options.note(cnf.describe_copies(sources.copies))
    from certhash.version import __version__

    tool = Tool(__version__, settings.tshark.version, settings.tshark.lua, "plugin" if plugin else "python")
    sources = replace(sources, cnf_files=(*sources.cnf_files, *stated))
    watcher = Watcher(arguments.interface, sources, tool, resolve=resolve)
    live = Live(
        arguments.interface,
        settings,
        plugin=plugin,
        capture_filter=arguments.capture_filter,
        take=watcher.take,
        waiting_since=watcher.waiting_since,
        ready=lambda: options.note(f"watching {visible(arguments.interface)}; press Ctrl-C for the summary"),
    )
    # A summary in a machine-readable format must be alone on standard output.
    to_errors = any(each.path is None and each.form != "table" for each in wanted)
    printer = _Printer(to_errors=to_errors, quiet=arguments.quiet)
    asyncio.run(_watch(live, watcher, printer, arguments.seconds))
    problems = list(live.problems)
    if live.dropped:
        problems.append(
            f"{live.dropped} packets were dropped, and handshakes may be missing: this machine cannot "
            "keep up with the traffic; reduce it with --capture-filter"
        )
    problems += [
        f"{again.words(trace, None)}; record it with dumpcap, and audit the file" for trace in live.not_shown
    ]
    events, document = watcher.finish(live.packets, problems)
    printer.print(events)
    report.write(document, arguments)
    return document.exit_status


async def _watch(live: Live, watcher: Watcher, printer: _Printer, seconds: float | None) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, live.stop)
    if seconds is not None:
        loop.call_later(seconds, live.stop)

    async def look() -> None:
        pause = _LOOK
        while True:
            await asyncio.sleep(pause)
            began = loop.time()
            printer.print(watcher.news())
            pause = max(_LOOK, 2 * (loop.time() - began))  # with thousands of phones, a check takes long

    tasks = [asyncio.create_task(live.run()), asyncio.create_task(look())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done():
                await task
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task


class _Printer:
    def __init__(self, *, to_errors: bool, quiet: bool) -> None:
        self._to_errors = to_errors
        self._quiet = quiet

    def print(self, events: list[Event]) -> None:
        from certhash.commands.watch_live import is_finding, line
        from certhash.model import Problem

        for event in events:
            if isinstance(event, Problem):
                options.note(line(event))
            elif is_finding(event) or not self._quiet:
                print(line(event), file=sys.stderr if self._to_errors else sys.stdout, flush=True)
