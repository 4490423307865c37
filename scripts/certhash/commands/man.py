"""Print the manual page.

Examples:
  certhash man | man -l -
  certhash man > ~/.local/share/man/man1/certhash.1
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from certhash.report.output import to_standard_output
from certhash.version import __version__

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add nothing: `man` takes no arguments."""


def run(arguments: argparse.Namespace) -> int:  # noqa: ARG001
    """Print the page."""
    to_standard_output(page().encode())
    return 0


def page() -> str:
    """Return the page (roff, man macros)."""
    from argparse_manpage.manpage import Manpage

    from certhash.commands.usage import whole_parser

    parser = whole_parser()
    exit_status, parser.epilog = parser.epilog, None
    manual = Manpage(parser, format="single-commands-section")
    manual.description = "check whether Cisco IP phones trust their VPN head-end, and find out why not"
    manual.manual = "certhash"
    manual.source = f"certhash {__version__}"
    manual.date = ""  # so that the same source gives the same page
    manual.add_section("exit status", "=", str(exit_status).partition(": ")[2])
    return str(manual)
