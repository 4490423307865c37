"""Write every distinct certificate of captures as a .cer (DER) file.

Each file is named by the certificate's subject and its thumbprint. Beside them, index.json says of each its
hashes and its subject, and where it was seen first: capture, frame, sender, position in the chain. What is in
the folder already stays as it is, so that several exports can share one.

Example:
  certhash export captures -o certificates
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from certhash.commands import options
from certhash.report.text import count
from certhash.visible import visible

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `export` takes."""
    options.add_captures(parser)
    parser.add_argument(
        "-o", "--output", required=True, metavar="DIR", help="the folder to write to; made if it is not there"
    )


def run(arguments: argparse.Namespace) -> int:
    """Export, and say how much; 2 where something could not be read or written."""
    from certhash.audit import read_captures
    from certhash.commands.export_files import INDEX, export, prepare
    from certhash.commands.progress import Console

    options.end_on_sigterm()
    prepare(arguments.output)
    console = Console(quiet=False)
    try:
        observations, problems = read_captures(options.request(arguments), console)
    finally:
        console.end()
    exported = export(observations, arguments.output)
    for observation in observations:
        problems += observation.problems
    problems += exported.problems
    options.complain(problems)
    hidden = sum(h.hidden is not None for o in observations for h in o.handshakes)
    print(
        f"{count(len(exported.entries), 'certificate')} of {count(len(observations), 'capture')} in "
        f"{visible(arguments.output)}, {exported.written:,} of them new; {INDEX} says where each was seen"
    )
    if hidden:
        print(f"in {count(hidden, 'handshake')} the server's certificate cannot be seen (audit tells why)")
    return 2 if problems else 0
