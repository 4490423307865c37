"""Write results in all output formats, one module per format.

A writer is a module with ``render(document) -> str``; the table's also takes a :class:`Look`. It is imported
when it is used. It depends on the document alone, so that a saved document gives the same report later.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from importlib import import_module
from pathlib import PurePath
from typing import TYPE_CHECKING

from msgspec import Struct

from certhash.errors import InputError
from certhash.report import output
from certhash.report.text import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from certhash.judgement.document import Document

FORMATS = {
    "table": "certhash.report.table",
    "json": "certhash.report.jsonform",
    "ndjson": "certhash.report.ndjson",
    "csv": "certhash.report.csvform",
    "html": "certhash.report.html",
    "junit": "certhash.report.junit",
    "sarif": "certhash.report.sarif",
}
"""Every format, and the module that writes it."""

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
"""The format for each suffix of an `-o` file."""

PLAIN_WIDTH = 100


class Look(Struct, frozen=True):
    """Layout of the text formats."""

    width: int = PLAIN_WIDTH
    """In columns."""
    color: bool = False
    verbosity: int = 0
    """-1: findings only, 0: normal, 1: everything."""


class Output(Struct, frozen=True):
    """One requested output: its format, and its path (None: standard output)."""

    form: str
    path: str | None


def prepare(wanted: Iterable[Output]) -> None:
    """Import the writers of the requested formats, while something else takes its time."""
    for each in wanted:
        import_module(FORMATS[each.form])


def render(document: Document, form: str, look: Look | None = None) -> str:
    """Return the document in one of :data:`FORMATS`, as text that can be encoded as UTF-8."""
    writer = import_module(FORMATS[form])
    text: str = writer.render(document, look or Look()) if form == "table" else writer.render(document)
    return text


def write(document: Document, arguments: argparse.Namespace, *, streamed: bool = False) -> None:
    """Write the document in every format that the options of :func:`add_output_arguments` ask for.

    Args:
        document: the result.
        arguments: the parsed options.
        streamed: the lines for standard output were already written during the audit.

    Raises:
        InputError, BrokenPipeError: see :func:`write_each`.
    """
    write_each(arguments, lambda form, set_as: render(document, form, set_as), streamed=streamed)


def write_each(
    arguments: argparse.Namespace, renderer: Callable[[str, Look], str], *, streamed: bool = False
) -> None:
    """Write what `renderer` returns for every requested format; files first.

    Raises:
        InputError: an output cannot be written (all others are written).
        BrokenPipeError: the reader of standard output closed it.
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
    """Write one finished output to its file, or to standard output."""
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
        metavar="FORMAT",
        help=f"output format: {', '.join(forms)} (default: by the suffix of FILE, else table); repeat it "
        "with one -o each",
    )
    group.add_argument(
        "-o",
        "--output",
        dest="outputs",
        action=_Ordered,
        metavar="FILE",
        help="write to FILE; - is standard output. The file is replaced only when it is complete",
    )
    group.add_argument(
        "--color",
        choices=("auto", "always", "never"),
        default="auto",
        help="use colours in the table (default: %(default)s)",
    )
    group.add_argument("-q", "--quiet", action="store_true", help="print only findings and counts")
    group.add_argument(
        "-v", "--verbose", action="store_true", help="print every finding and every head-end in full"
    )


def outputs(arguments: argparse.Namespace) -> tuple[Output, ...]:
    """Return the requested outputs. An `-f` belongs to the `-o` after it; a single pair may be in any order.

    Raises:
        InputError: two outputs have the same path, or a format is unknown.
    """
    pairs: list[tuple[str | None, str | None]] = []
    form = None
    for option, value in arguments.outputs or ():
        if option == "path":
            if form and pairs and pairs[-1][0] is None:
                raise InputError(f"-f {form}: between two -o; put each -f before its -o")
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
            raise InputError(f"{name}: several results for one output; give each -f its own -o")
    return tuple(wanted)


def look(arguments: argparse.Namespace, *, to_terminal: bool = True) -> Look:
    """Return the layout, from the options, the terminal, ``NO_COLOR`` and ``COLUMNS``."""
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
    """Keep -f and -o in the order of the command line, because neighbours belong together."""

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
        raise InputError("-o: the file name is empty; give a name")
    form = form or SUFFIXES.get(PurePath(path or "").suffix.lower())
    if form is None or form not in forms:
        raise InputError(
            f"{visible(path or '')}: the suffix tells no output format; add -f ({', '.join(forms)})"
        )
    return Output(form, None if path == "-" else path)
