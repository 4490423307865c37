"""The commands: one module each, with ``add_arguments`` and ``run``, imported only when used."""

from __future__ import annotations

COMMANDS = {
    "audit": "check captures against cnf files: a verdict per phone",
    "hash": "hash certificate files, and convert between Base64 and hex",
    "cnf": "show what phones expect, per cnf file",
    "probe": "get the certificates of a live head-end, and compare",
    "watch": "check live traffic on an interface",
    "export": "save every certificate of the captures as a .cer file",
    "report": "convert a saved JSON result to another format",
    "diff": "compare two saved JSON results",
    "explain": "explain a verdict, a cause or a hidden certificate",
    "schema": "print the JSON schema of the result",
    "completion": "print a completion script for bash, zsh or fish",
    "man": "print the manual page",
    "plugin": "install, uninstall or check the Wireshark plugin",
    "doctor": "check the installation, and say how to fix it",
}
"""Each is a module of this package with ``add_arguments(parser)`` and ``run(arguments)``."""

EXIT_STATUS = (
    "exit status: 0 no finding, 1 a finding (mismatch or rejected), 2 a problem (bad input or usage)"
)
