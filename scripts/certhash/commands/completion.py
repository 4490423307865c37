"""Print a completion script for commands, options and topics.

Examples:
  eval "$(certhash completion bash)"                  (in ~/.bashrc)
  certhash completion zsh > ~/.zfunc/_certhash        (a folder of your fpath)
  certhash completion fish > ~/.config/fish/completions/certhash.fish

The script works without starting certhash.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from certhash.report.output import to_standard_output

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

SHELLS = ("bash", "zsh", "fish")
_FILES = frozenset({"CAPTURE", "FILE", "FILE.json", "OLD.json", "NEW.json", "PATH"})
"""Placeholders in the usage that stand for files."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `completion`."""
    parser.add_argument("shell", choices=SHELLS, help="the shell that reads the script")


def run(arguments: argparse.Namespace) -> int:
    """Print the script."""
    to_standard_output(script(arguments.shell).encode())
    return 0


def script(shell: str) -> str:
    """Return the completion script for one of :data:`SHELLS`."""
    import shtab

    from certhash.commands.usage import whole_parser
    from certhash.judgement.causes import TOPICS

    parser = whole_parser()
    for action in _actions(parser):
        if isinstance(action.metavar, str) and _FILES & set(action.metavar.split(" | ")):
            action.complete = shtab.FILE  # type: ignore[attr-defined]
        elif action.metavar == "DIR":
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
        elif action.dest == "topics":
            action.choices = tuple(TOPICS)
    return str(shtab.complete(parser, shell))


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Yield every argument of a parser and of its commands."""
    for action in parser._actions:  # noqa: SLF001 - argparse tells them no other way
        yield action
        if action.dest == "command" and isinstance(action.choices, dict):
            for command in action.choices.values():
                yield from _actions(command)
