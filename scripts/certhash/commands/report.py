"""Turn a saved JSON result into another form.

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
    """Add what `report` takes."""
    parser.add_argument(
        "file", metavar="FILE.json", help="a result that `audit -f json` saved; - is standard input"
    )
    report.add_output_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write the result in the forms that are asked for; the exit status is that of the audit."""
    report.outputs(arguments)  # a mistake there is said before the file is read
    document = load(arguments.file)
    report.write(document, arguments)
    return document.exit_status
