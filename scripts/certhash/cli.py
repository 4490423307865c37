"""Run a command of the command line, and turn its outcome into an exit status.

Start-up time matters, so only the requested command is imported.
"""

from __future__ import annotations

import os
import re
import sys

from certhash.commands import COMMANDS, EXIT_STATUS
from certhash.errors import InputError
from certhash.version import __version__


def main(argv: list[str] | None = None) -> int:
    """Run one command, and return the exit status (0, 1 or 2)."""
    argv = sys.argv[1:] if argv is None else argv
    # numpy's linear algebra, which no command needs, would start a thread for each processor.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    _open_streams()
    try:
        status = _dispatch(argv)
        sys.stdout.flush()
    except InputError as error:
        print(f"certhash: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # The reader closed the pipe (`| head`). Flushing the rest of the buffer at exit would fail again.
        print("certhash: standard output: closed before everything was written", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 2
    except OSError as error:
        # From print: code that opens files reports its own errors. Flushing the buffer would fail again.
        where = error.filename or "standard output: cannot be written"
        print(f"certhash: {where}: {error.strerror or error}", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 2
    except KeyboardInterrupt:
        print("certhash: interrupted", file=sys.stderr)
        return 2
    except RecursionError:
        print("certhash: the input is nested too deeply", file=sys.stderr)
        return 2
    return status


def _open_streams() -> None:
    """Open the null device for each standard stream that is closed at start.

    Otherwise the next open file would get its number, and receive output by mistake.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(descriptor, True)  # for tshark, too
            setattr(sys, name, os.fdopen(descriptor, mode))


def _dispatch(argv: list[str]) -> int:
    name = argv[0] if argv else ""
    if name not in COMMANDS:
        return _without_command(name)
    import argparse
    from importlib import import_module

    command = import_module(f"certhash.commands.{name}")
    width = _width()
    parser = argparse.ArgumentParser(
        prog=f"certhash {name}",
        description=_wrapped(command.__doc__ or "", width),
        epilog=_wrapped(EXIT_STATUS, width),
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, width=width),
    )
    command.add_arguments(parser)
    return int(command.run(parser.parse_args(argv[1:])))


def _width() -> int:
    """Return the width of help texts, without the import of shutil that argparse needs for it."""
    try:
        return int(os.environ.get("COLUMNS") or os.get_terminal_size().columns) - 2
    except (ValueError, OSError):
        return 78


def _wrapped(text: str, width: int) -> str:
    """Wrap the paragraphs of a text; an indented line, such as an example, stays a line of its own."""
    from textwrap import fill

    lines = re.sub(r"(?<=\S)\n(?=\S)", " ", text.strip()).split("\n")
    indents = [line[: len(line) - len(line.lstrip())] for line in lines]
    return "\n".join(
        fill(
            line.strip(),
            width,
            initial_indent=indent,
            subsequent_indent=2 * indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
        for line, indent in zip(lines, indents, strict=True)
    )


def _without_command(word: str) -> int:
    """Handle a command line without a command, without the slow import of argparse."""
    if word in ("-h", "--help"):
        print(_overview())
        return 0
    if word == "--version":
        print(f"certhash {__version__}")
        return 0
    if not word:
        print(_overview(), file=sys.stderr)
        return 2
    from certhash.visible import visible

    raise InputError(f"{visible(word)}: no such command; `certhash --help` lists all")


def _overview() -> str:
    width = max(map(len, COMMANDS))
    commands = "\n".join(f"  {name:{width}}  {text}" for name, text in COMMANDS.items())
    return f"""\
usage: certhash COMMAND ...

Check whether Cisco IP phones trust their VPN head-end, and find out why not.

commands:
{commands}

options:
  {"-h, --help":{width}}  show this help message and exit
  {"--version":{width}}  show the version and exit

`certhash COMMAND --help` shows the options of a command.
{_wrapped(EXIT_STATUS, _width())}"""
