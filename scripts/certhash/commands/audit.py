"""Captures and cnf files in, a verdict per phone out.

Examples:
  certhash audit captures --cnf captures/cnf
  certhash audit office.pcapng --cnf /srv/tftp -f json -o result.json
  certhash audit captures --resolve vpn.example.com=203.0.113.40
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from certhash import options, report

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `audit` takes."""
    options.add_captures(parser)
    options.add_expected(parser)
    report.add_output_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Audit, and write the result."""
    report.outputs(arguments)  # a mistake there is said before hours are spent
    resolve = options.resolve(arguments)
    from certhash.audit import Request, audit

    options.end_on_sigterm()
    request = Request(
        tuple(arguments.captures),
        tuple(arguments.cnf),
        options.settings(arguments),
        resolve,
        arguments.jobs,
    )
    document = audit(request, (lambda _: None) if arguments.quiet else options.note)
    options.complain(document.problems)
    report.write(document, arguments)
    return document.exit_status
