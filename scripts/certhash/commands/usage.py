"""The whole command line as one parser: what completion and the man page are made from.

The command itself never builds it: it imports no more than the one command that was asked for.
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
        description="Why a Cisco IP phone does not trust its VPN head-end.",
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
