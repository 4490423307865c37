"""Compare two saved JSON results: new and fixed findings, and changed certificates.

The exit status is 1 if there is a new finding.

Examples:
  certhash diff march.json april.json
  certhash diff march.json april.json -f json -o changes.json
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from certhash import report
from certhash.report import difference, jsonform

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `diff`."""
    parser.add_argument("old", metavar="OLD.json", help="the older result of `audit -f json`")
    parser.add_argument("new", metavar="NEW.json", help="the newer result")
    report.add_output_arguments(parser, forms=("table", "json"))


def run(arguments: argparse.Namespace) -> int:
    """Write what changed."""
    report.outputs(arguments)  # reports a wrong option before the files are read
    changes = difference.compare(jsonform.load(arguments.old), jsonform.load(arguments.new))

    def renderer(form: str, look: report.Look) -> str:
        return jsonform.render(changes) if form == "json" else difference.render_table(changes, look)

    report.write_each(arguments, renderer)
    return 1 if changes.worse else 0
