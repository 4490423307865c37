"""Check the installation, and say how to fix it.

Audits a small capture that comes with certhash, and checks tshark, the plugin, this user's Wireshark and the
permission to capture. It changes nothing.

exit status: 0 everything works, 1 a part does not work, 2 certhash does not work
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from certhash.commands import options

if TYPE_CHECKING:
    import argparse

_WIDTH = 13
_WORDS = {"good": "ok", "mend": "fix"}
"""How the text output names states of the JSON."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `doctor`."""
    parser.epilog = None  # the description has its own
    parser.add_argument("--tshark", metavar="PATH", help="the tshark to check (default: the one on the PATH)")
    parser.add_argument("--json", action="store_true", help="print a JSON object instead of text")


def run(arguments: argparse.Namespace) -> int:
    """Print each check as soon as it is done."""
    try:
        from certhash.commands.doctor_checks import examine, exit_status
    except ImportError as error:
        # The checks themselves need the packages.
        missing = error.name or str(error)
        options.note(
            f"the Python package {missing} is missing; install it: {sys.executable} -m pip install {missing}"
        )
        return 2
    checks = []
    for check in examine(arguments.tshark):
        checks.append(check)
        if not arguments.json:
            print(f"{_WORDS.get(check.state, check.state):6} {check.name:{_WIDTH}} {check.found}")
            if check.advice:
                print(f"{'':6} {'':{_WIDTH}} {check.advice}", flush=True)
    status = exit_status(checks)
    if arguments.json:
        from certhash.report import jsonform

        print(jsonform.render({"exit_status": status, "checks": checks}), end="")
    return status
