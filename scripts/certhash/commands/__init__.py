"""The commands: a module each, with ``add_arguments`` and ``run``; imported one at a time."""

from __future__ import annotations

COMMANDS = {
    "audit": "captures and cnf files in, a verdict per phone out",
    "hash": "certificate files and thumbprints: the hash, every way round",
    "cnf": "what phones expect, per cnf file",
    "probe": "ask a live head-end for its chain, hash it, compare",
    "watch": "the same verdicts live, from an interface",
    "export": "every distinct certificate of captures as a .cer file",
    "report": "turn a saved JSON result into another form",
    "diff": "compare two saved JSON results",
    "explain": "what a cause means, how it is found out, what to do",
    "schema": "print the JSON schema of the result",
    "completion": "print a script that completes commands in bash, zsh or fish",
    "man": "print the manual page",
    "plugin": "install, uninstall or check the Wireshark plugin",
    "doctor": "what is installed, what works, what to do about the rest",
}
"""Each is a module of this package with ``add_arguments(parser)`` and ``run(arguments)``."""

EXIT_STATUS = (
    "exit status: 0 nothing wrong, 1 a finding (mismatch or rejection), 2 something could not be done"
)
