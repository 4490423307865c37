"""Convert a saved JSON result to another format.

Examples:
  certhash audit captures --cnf captures/cnf -f json -o result.json
  certhash report result.json
  certhash report result.json -f csv -o phones.csv -f json -o -
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from certhash import report
from certhash.report.jsonform import load

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `report`."""
    parser.add_argument("file", metavar="FILE.json", help="a result of `audit -f json`; - is standard input")
    report.add_output_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write the result in the requested formats; return the exit status of the audit."""
    report.outputs(arguments)  # reports a wrong option before the file is read
    document = load(arguments.file)
    report.write(document, arguments)
    return document.exit_status
