"""Build one parser for the whole command line, for shell completion and the man page.

A normal run does not use it: it imports only the requested command.
"""

from __future__ import annotations

import argparse
from importlib import import_module

from certhash.commands import COMMANDS, EXIT_STATUS
from certhash.version import __version__

WIDTH = 72
"""The width of the usage lines: with the indent of a man page, they fit 80 columns."""


def whole_parser() -> argparse.ArgumentParser:
    """Return a parser with a subparser for every command."""
    parser = argparse.ArgumentParser(
        prog="certhash",
        description="Check whether Cisco IP phones trust their VPN head-end, and find out why not.",
        epilog=EXIT_STATUS,
    )
    parser.add_argument(
        "--version", action="version", version=f"certhash {__version__}", help="show the version and exit"
    )
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        module = import_module(f"certhash.commands.{name}")
        command = commands.add_parser(
            name,
            help=summary,
            description=module.__doc__,
            formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, width=WIDTH),
        )
        module.add_arguments(command)
    return parser
