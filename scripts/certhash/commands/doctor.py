"""Say what is installed, what works, and what to do about the rest.

Audits a small capture that comes with certhash, and looks at tshark, the plugin, the Wireshark of this user,
and the right to capture. Nothing is changed.

exit status: 0 all is well, 1 something is to be mended, 2 certhash cannot work
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from certhash.commands import options

if TYPE_CHECKING:
    import argparse

_WIDTH = 13


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `doctor` takes."""
    parser.epilog = None  # what its exit status means stands above
    parser.add_argument("--tshark", metavar="PATH", help="the tshark to look at (the one on the PATH)")
    parser.add_argument("--json", action="store_true", help="print a JSON object instead of text")


def run(arguments: argparse.Namespace) -> int:
    """Print a check after the other."""
    try:
        from certhash.commands.doctor_checks import examine, exit_status
    except ImportError as error:
        # Without its packages certhash cannot even look.
        missing = error.name or str(error)
        options.note(f"the Python package {missing} is missing: {sys.executable} -m pip install {missing}")
        return 2
    checks = []
    for check in examine(arguments.tshark):
        checks.append(check)
        if not arguments.json:
            print(f"{check.state:6} {check.name:{_WIDTH}} {check.found}")
            if check.advice:
                print(f"{'':6} {'':{_WIDTH}} {check.advice}", flush=True)
    status = exit_status(checks)
    if arguments.json:
        import msgspec

        result = {"exit_status": status, "checks": checks}
        print(msgspec.json.format(msgspec.json.encode(result), indent=2).decode())
    return status
