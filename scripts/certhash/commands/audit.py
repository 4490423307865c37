"""Check captures against cnf files, and print a verdict per phone.

Examples:
  certhash audit captures --cnf captures/cnf
  certhash audit office.pcapng --cnf /srv/tftp -f json -o result.json
  certhash audit phone.pcapng --expect fZ2xQHMBcWj/fSoNs5IkPbA2Pt8=
  certhash audit captures --resolve vpn.example.com=203.0.113.40
  certhash audit --cnf cme-config.txt --cnf asa-config.txt
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from certhash import report
from certhash.commands import options
from certhash.errors import InputError

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `audit`."""
    options.add_expected(parser)
    options.add_captures(parser, optional=True)
    report.add_output_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the audit, and write the result."""
    if not (arguments.captures or arguments.cnf):
        raise InputError("audit: no input; give captures, --cnf, or both")
    wanted = report.outputs(arguments)  # reports a wrong option before a long audit
    resolve = options.resolve(arguments)
    options.end_on_sigterm()
    with options.started(arguments) as begun:
        from certhash.audit import audit
        from certhash.commands.progress import Console, Lines

        stated = options.stated(arguments)
        report.prepare(wanted)
        streamed = report.Output("ndjson", None) in wanted
        request = options.request(arguments, begun)
        quiet = arguments.quiet
        console = Lines(request.settings.tshark, quiet=quiet) if streamed else Console(quiet=quiet)
        try:
            document = audit(request, arguments.cnf, resolve, console, stated)
        finally:
            console.end()
    if isinstance(console, Lines):
        console.finish(document)
    options.complain(document.problems)
    report.write(document, arguments, streamed=streamed)
    return document.exit_status
