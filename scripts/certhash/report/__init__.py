"""The writers of a result: one module a form, each a function of the document alone.

A writer is a module with ``render(document) -> str``; the table's takes a :class:`Look` besides. It is
imported when it is used, and counts on nothing but the document: a saved one makes the same report later.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from importlib import import_module
from pathlib import PurePath
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from certhash.errors import InputError
from certhash.report import output
from certhash.report.text import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from certhash.document import Document

FORMATS = {
    "table": "certhash.report.table",
    "json": "certhash.report.jsonform",
    "ndjson": "certhash.report.ndjson",
    "csv": "certhash.report.csvform",
    "html": "certhash.report.html",
    "junit": "certhash.report.junit",
    "sarif": "certhash.report.sarif",
}
"""Every form, and the module that writes it."""

SUFFIXES = {
    "": "table",
    ".txt": "table",
    ".json": "json",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".csv": "csv",
    ".html": "html",
    ".htm": "html",
    ".xml": "junit",
    ".sarif": "sarif",
}
"""The form that the name of an `-o` file tells."""

Color = Literal["auto", "always", "never"]
PLAIN_WIDTH = 100


class Look(Struct, frozen=True):
    """How text for people is set."""

    width: int = PLAIN_WIDTH
    """In columns."""
    color: bool = False
    verbosity: int = 0
    """-1 findings alone, 0 as usual, 1 everything there is."""


class Output(Struct, frozen=True):
    """One result that is asked for: its form, and where it goes (None is standard output)."""

    form: str
    path: str | None


def render(document: Document, form: str, look: Look | None = None) -> str:
    """Return the document in one of :data:`FORMATS`; encode it as UTF-8, it holds nothing that cannot be."""
    writer = import_module(FORMATS[form])
    text: str = writer.render(document, look or Look()) if form == "table" else writer.render(document)
    return text


def write(document: Document, arguments: argparse.Namespace, *, streamed: bool = False) -> None:
    """Write the document in every form that the options of :func:`add_output_arguments` ask for.

    Args:
        document: the result.
        arguments: what was asked for.
        streamed: standard output has had its lines already, while they became known.

    Raises:
        InputError, BrokenPipeError: see :func:`write_each`.
    """
    write_each(arguments, lambda form, set_as: render(document, form, set_as), streamed=streamed)


def write_each(
    arguments: argparse.Namespace, renderer: Callable[[str, Look], str], *, streamed: bool = False
) -> None:
    """Write what `renderer` returns for every form that is asked for; files first.

    Raises:
        InputError: one cannot be written (the others are, all the same).
        BrokenPipeError: the reader of standard output went away.
    """
    failures = []
    for wanted in sorted(outputs(arguments), key=lambda each: each.path is None):
        if streamed and wanted.path is None:
            continue
        text = renderer(wanted.form, look(arguments, to_terminal=wanted.path is None))
        try:
            put(wanted, text.encode("utf-8", "backslashreplace"))
        except InputError as error:
            failures.append(str(error))
    if failures:
        raise InputError("\ncerthash: ".join(failures))


def put(wanted: Output, content: bytes) -> None:
    """Write one finished result where it is wanted."""
    if wanted.path is None:
        output.to_standard_output(content)
    else:
        output.save(wanted.path, content)


def add_output_arguments(parser: argparse.ArgumentParser, forms: Sequence[str] = tuple(FORMATS)) -> None:
    """Add `-f`, `-o`, `--color`, `-q` and `-v`; :func:`outputs` and :func:`look` read them."""
    parser.set_defaults(forms=tuple(forms))
    group = parser.add_argument_group("output")
    group.add_argument(
        "-f",
        "--format",
        dest="outputs",
        action=_Ordered,
        choices=tuple(forms),
        help="form of the result (table, or what FILE's name tells); may be repeated, each with its own -o",
    )
    group.add_argument(
        "-o",
        "--output",
        dest="outputs",
        action=_Ordered,
        metavar="FILE",
        help="write there instead of to standard output (-); the file appears whole or not at all",
    )
    group.add_argument(
        "--color",
        choices=("auto", "always", "never"),
        default="auto",
        help="colour in the table (%(default)s)",
    )
    group.add_argument("-q", "--quiet", action="store_true", help="findings and counts alone")
    group.add_argument(
        "-v", "--verbose", action="store_true", help="every finding and every head-end in full"
    )


def outputs(arguments: argparse.Namespace) -> tuple[Output, ...]:
    """Return what is asked for: an `-f` belongs to the `-o` after it; one of each may change places.

    Raises:
        InputError: two results would go to one place, or a form cannot be told.
    """
    pairs: list[tuple[str | None, str | None]] = []
    form = None
    for option, value in arguments.outputs or ():
        if option == "path":
            if form and pairs and pairs[-1][0] is None:
                raise InputError(f"-f {form} stands between two -o: put each -f before its -o")
            pairs.append((form, value))
            form = None
        else:
            if form:
                pairs.append((form, None))
            form = value
    if form:
        path = pairs.pop()[1] if len(pairs) == 1 and pairs[0][0] is None else None
        pairs.append((form, path))
    wanted = [_output(*pair, arguments.forms) for pair in pairs] or [Output("table", None)]
    places = [each.path for each in wanted]
    for place in places:
        if places.count(place) > 1:
            name = "standard output" if place is None else visible(place)
            raise InputError(f"{name}: only one result fits there: give each -f an -o of its own")
    return tuple(wanted)


def look(arguments: argparse.Namespace, *, to_terminal: bool = True) -> Look:
    """Return how text is set: by the options, the terminal, and ``NO_COLOR`` and ``COLUMNS``."""
    terminal = to_terminal and sys.stdout.isatty()
    verbosity = -1 if arguments.quiet else int(arguments.verbose)
    if terminal:
        width = max(shutil.get_terminal_size((80, 24)).columns, 40)
    else:
        columns = os.environ.get("COLUMNS", "")
        width = min(max(int(columns), 80), 120) if to_terminal and columns.isdecimal() else PLAIN_WIDTH
    quiet_terminal = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    color = arguments.color == "always" or (arguments.color == "auto" and terminal and not quiet_terminal)
    return Look(width, color, verbosity)


class _Ordered(argparse.Action):
    """Keeps -f and -o in the order in which they were given: what stands together belongs together."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,  # noqa: ARG002
        namespace: argparse.Namespace,
        values: str | Sequence[object] | None,
        option_string: str | None = None,  # noqa: ARG002
    ) -> None:
        option = "form" if self.choices else "path"
        setattr(namespace, self.dest, [*(getattr(namespace, self.dest) or ()), (option, values)])


def _output(form: str | None, path: str | None, forms: Sequence[str]) -> Output:
    if path == "":
        raise InputError("-o needs the name of a file")
    form = form or SUFFIXES.get(PurePath(path or "").suffix.lower())
    if form is None or form not in forms:
        raise InputError(f"{visible(path or '')}: say with -f which form it is to have: {', '.join(forms)}")
    return Output(form, None if path == "-" else path)
