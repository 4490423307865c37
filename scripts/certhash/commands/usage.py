"""Build one parser for the whole command line, for shell completion and the man page.

A normal run does not use it: it imports only the requested command.
"""

from __future__ import annotations

import argparse
from importlib import import_module

from certhash.commands import COMMANDS, EXIT_STATUS
from certhash.version import __version__


def whole_parser() -> argparse.ArgumentParser:
    """Return a parser with a subparser for every command."""
    parser = argparse.ArgumentParser(
        prog="certhash",
        description="Check whether Cisco IP phones trust their VPN head-end, and find out why not.",
        epilog=EXIT_STATUS,
    )
    parser.add_argument("--version", action="version", version=f"certhash {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        module = import_module(f"certhash.commands.{name}")
        command = commands.add_parser(
            name,
            help=summary,
            description=module.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(command)
    return parser
