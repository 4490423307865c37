"""Save every certificate of the captures as a .cer (DER) file.

Each file is named after the certificate's subject and thumbprint. The file index.json lists the hashes and
subject of each certificate, and where it first occurs: capture, frame, sender and position in the chain.
Existing files are kept, so that several exports can share a folder.

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
    """Add the arguments of `export`."""
    options.add_captures(parser)
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="DIR",
        help="the folder to write to; it is created if necessary",
    )


def run(arguments: argparse.Namespace) -> int:
    """Export, and print a summary; return 2 if something could not be read or written."""
    options.end_on_sigterm()
    with options.started(arguments) as begun:
        from certhash.audit import read_captures
        from certhash.commands.export_files import INDEX, export, prepare
        from certhash.commands.progress import Console

        prepare(arguments.output)
        console = Console(quiet=False)
        try:
            observations, problems = read_captures(options.request(arguments, begun), console)
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
        f"{visible(arguments.output)}, {exported.written:,} of them new; {INDEX} lists all"
    )
    if hidden:
        print(
            f"{count(hidden, 'handshake')} without a visible server certificate; `certhash audit` shows why"
        )
    return 2 if problems else 0
