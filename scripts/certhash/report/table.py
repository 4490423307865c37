"""Write a result as text: first the findings, then one line per phone and URL, then the coverage."""

from __future__ import annotations

import io
from collections import Counter
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from certhash.judgement.causes import CAUSES, HIDDEN, VERDICTS
from certhash.judgement.document import FINDINGS
from certhash.report.findings import (
    ON_PAPER,
    ORDER,
    checked,
    deciding,
    described,
    findings,
    frame_of,
    presented,
    steps,
)
from certhash.report.text import LONGEST_HASH, count, visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from certhash.judgement.document import Certificate, Document, Expectation, Handshake
    from certhash.model import CaptureStatus
    from certhash.report import Look

COLORS = {
    "mismatch": "bold red",
    "rejected": "bold magenta",
    "unverifiable": "yellow",
    "unseen": "yellow",
    "match": "green",
}

_INDENT = 13  # where the text of a finding starts
_NAMES = 3  # devices of a group to name
_LONG = 300  # characters to show of a text from outside
_SENTENCES = 2000  # characters to show of an explanation
_ALWAYS = 3  # columns of the table that are printed at any width, also if they are empty


def render(document: Document, look: Look) -> str:
    """Return the report as text of the width in `look`; hashes are neither cut nor wrapped."""
    report = _Report(document, look)
    report.set()
    return report.text()


class Page:
    """Text that is printed line by line into memory."""

    def __init__(self, look: Look) -> None:
        self.look = look
        self.console = Console(
            file=io.StringIO(),
            width=look.width,
            force_terminal=look.color,
            color_system="standard" if look.color else None,
            no_color=not look.color,
            legacy_windows=False,
            markup=False,
            emoji=False,
            highlight=False,
            _environ={},  # `look` already respects the environment
        )

    def text(self) -> str:
        """Return the printed text without trailing blanks."""
        file = self.console.file
        assert isinstance(file, io.StringIO)  # noqa: S101 - for the type checker
        return "\n".join(line.rstrip() for line in file.getvalue().split("\n"))

    def line(self, *parts: str | Text | tuple[str, str]) -> None:
        """Print a line, wrapped if it is too long."""
        self.console.print(Text.assemble(*parts))

    def unbroken(self, *parts: str | Text) -> None:
        """Print a line that is never wrapped."""
        self.console.print(Text.assemble(*parts), no_wrap=True, overflow="ignore", crop=False)

    def heading(self, text: str) -> None:
        """Print an empty line and a heading."""
        self.console.print()
        self.console.print(Text(text, "bold"))

    def field(self, label: str, text: str) -> None:
        """Print a label and its text."""
        grid = Table.grid(padding=0)
        grid.add_column(width=_INDENT)
        grid.add_column(overflow="fold")
        grid.add_row(Text(f"  {label}", "dim"), Text(visible(text, _SENTENCES)))
        self.console.print(grid)

    def value(self, label: str, prefix: str, value: str, remark: str) -> None:
        """Print a label and a hash on one line; the remark goes below if it does not fit."""
        head = f"{prefix:11} {visible(value, LONGEST_HASH)}"
        note = visible(remark, _LONG)
        beside = _INDENT + cell_len(head) + 2 + cell_len(note) <= self.look.width
        start = Text(f"  {label}".ljust(_INDENT), "dim")
        self.unbroken(start, Text(head), Text(f"  {note}" if beside and note else "", "dim"))
        if note and not beside:
            self.console.print(Padding(Text(note, "dim", overflow="fold"), (0, 0, 0, _INDENT + 12)))


class _Report(Page):
    def __init__(self, document: Document, look: Look) -> None:
        super().__init__(look)
        self.document = document
        self.decided = deciding(document)
        self.advised: dict[tuple[str, ...], str] = {}

    def set(self) -> None:
        self.headline()
        self.findings()
        if self.look.verbosity >= 0:
            self.expectations()
            self.warnings()
            self.undecided()
            if self.look.verbosity > 0:
                self.matches_on_paper()
            if self.look.verbosity > 0 or not self.document.expectations:
                self.head_ends()
        self.coverage()

    def headline(self) -> None:
        summary = self.document.summary
        numbers = {verdict: getattr(summary, verdict) for verdict in ORDER}
        if not self.document.expectations:
            captures = {each.path for each in self.document.captures}
            unread = any(each.path not in captures for each in self.document.problems)
            why = "what was given could not be read" if unread else "no cnf file was given"
            self.line(Text(f"Nothing to check: {why}, and the captures contain none.", "bold"))
            return
        parts = [
            Text(f"{number:,} {verdict}", COLORS[verdict]) for verdict, number in numbers.items() if number
        ]
        on_paper = sum(each.on_paper for each in self.document.expectations)
        if on_paper:
            some = "" if on_paper == len(self.document.expectations) else f"{on_paper:,} "
            parts[-1] = Text.assemble(parts[-1], f" ({some}{ON_PAPER})")
        self.line(Text(f"{checked(self.document)}: ", "bold"), Text(", ").join(parts))

    def findings(self) -> None:
        for group in findings(self.document):
            if self.look.verbosity > 0:
                for expectation in group:
                    self.finding([expectation])
            else:
                self.finding(group)

    def finding(self, group: list[Expectation]) -> None:
        """Print who, expected, presented, why and what to type, in this order."""
        first = group[0]
        decided = self.decided(first)
        self.console.print()
        self.line(
            Text(first.verdict.upper(), COLORS[first.verdict]),
            f" ({ON_PAPER})" if first.on_paper else "",
            "  ",
            Text(visible(first.who, _LONG), "bold"),
            Text(_and_more(group), "bold"),
            "  at  ",
            Text(visible(first.where, _LONG)),
        )
        if len(group) > 1:
            names = ", ".join(each.device for each in group[1 : _NAMES + 1])
            more = len(group) - 1 - _NAMES
            self.field("also", names + (f" and {more:,} more (-v lists all)" if more > 0 else ""))
        self.expected(first)
        if decided is not None:
            self.presented(decided)
        self.field("cause", _cause(first))
        self.field("why", first.explanation)
        if len(group) > 1 and len({each.explanation for each in group}) > 1:
            self.field("", f"(for {first.device}; -v shows the others)")
        for warning in first.warnings:
            self.field("warning", warning)
        self.advice(first)

    def expected(self, expectation: Expectation) -> None:
        for label, expected in zip(_once("expected"), expectation.hashes, strict=False):
            line = f", line {expected.line}" if expected.line is not None else ""
            remark = f"{expected.algorithm or 'malformed'}{line}"
            self.value(label, f"certHash{expected.number}", expected.value, remark)
        if not expectation.hashes:
            self.field("expected", "no hash")
        frame = f", frame {expectation.frame}" if expectation.frame is not None else ""
        self.field("from", f"{expectation.source}{frame}")

    def presented(self, handshake: Handshake) -> None:
        for label, certificate in zip(_once("presented"), presented(handshake), strict=False):
            self.value(
                label,
                f"cert {certificate.position}",
                certificate.sha1,
                certificate.subject or "subject unreadable",
            )
        name = f" ({handshake.server_name})" if handshake.server_name else ""
        self.field("by", f"{handshake.server}{name}, {handshake.version or 'TLS'}")
        self.field("to", f"{handshake.client}, {handshake.time}")
        self.field("in", f"{handshake.capture}, frame {frame_of(handshake)}")
        for alert in handshake.alerts:
            self.field(
                "alert",
                f"{alert.name} ({alert.code}), {alert.level}, sent by the {alert.sender} in frame"
                f" {alert.frame}",
            )

    def advice(self, expectation: Expectation) -> None:
        """Print what to do; commands that were printed before are only referred to."""
        for label, (sentence, *commands) in zip(_once("do"), steps(expectation.advice), strict=False):
            before = self.advised.setdefault((sentence, *commands), expectation.device)
            if commands and before != expectation.device and self.look.verbosity <= 0:
                self.field(label, f"{sentence.rstrip(':')}: see {before}.")
                continue
            self.field(label, sentence)
            for command in commands:
                self.unbroken(" " * _INDENT, Text(visible(command, _LONG), "cyan"))

    def _head_end(self, expectation: Expectation) -> str:
        """Return the URL; of a hash that was stated without one, the server that decides."""
        decided = self.decided(expectation)
        return expectation.where if expectation.url or decided is None else str(decided.server)

    def expectations(self) -> None:
        rows = sorted(
            self.document.expectations,
            key=lambda each: (ORDER.index(each.verdict), each.device, each.url or ""),
        )
        if not rows:
            return
        self.console.print()
        columns = {
            "verdict": [Text(described(each), COLORS[each.verdict]) for each in rows],
            "device": [Text(visible(each.device, _LONG)) for each in rows],
            "head-end": [Text(visible(self._head_end(each), _LONG)) for each in rows],
            "cause": [Text(each.cause or "") for each in rows],
            "matched": [Text(visible(each.matched or "")) for each in rows],
        }
        for name in list(columns)[_ALWAYS:]:
            if not any(columns[name]):
                del columns[name]
        # The findings above state the cause: on a narrow terminal, the whole URL is worth more.
        while len(columns) > _ALWAYS and _width(columns) > self.look.width:
            columns.popitem()
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        for name in columns:
            table.add_column(name, overflow="fold", no_wrap=name == "verdict")
        for cells in zip(*columns.values(), strict=True):
            table.add_row(*cells)
        self.console.print(table)

    def warnings(self) -> None:
        """Print the warnings of expectations that are not findings."""
        warnings: dict[str, list[str]] = {}
        for each in self.document.expectations:
            for warning in each.warnings if each.verdict not in FINDINGS else ():
                warnings.setdefault(warning, []).append(each.device)
        if warnings:
            self.heading("Warnings")
        for warning, devices in warnings.items():
            text = visible(warning, _LONG * 2)
            self.line((visible(devices[0], _LONG), "bold"), f"{_and_more(devices)}: {text}")

    def matches_on_paper(self) -> None:
        """Print which lines of configurations the matches without a handshake rest on."""
        rows = [each for each in self.document.expectations if each.verdict == "match" and each.on_paper]
        if rows:
            self.heading(f"Matches {ON_PAPER}")
        for each in rows:
            device, url = visible(each.who, _LONG), visible(each.where, _LONG)
            self.line(Text(described(each), COLORS[each.verdict]), "  ", (device, "bold"), f"  at  {url}")
            self.field("why", each.explanation)

    def undecided(self) -> None:
        """Print why phones could not be verified, once for all phones with the same reason."""
        groups: dict[object, list[Expectation]] = {}
        for each in self.document.expectations:
            if each.verdict in {"unverifiable", "unseen"}:
                alone = each.device if self.look.verbosity > 0 else ""
                groups.setdefault((each.verdict, each.url, each.explanation, alone), []).append(each)
        if groups:
            self.heading("Not verified")
        for group in sorted(groups.values(), key=lambda group: ORDER.index(group[0].verdict)):
            first = group[0]
            device, url = visible(first.who, _LONG), visible(first.where, _LONG)
            verdict = Text(described(first), COLORS[first.verdict])
            self.line(verdict, "  ", Text(device + _and_more(group), "bold"), f"  at  {url}")
            self.field("why", first.explanation)
            self.advice(first)

    def head_ends(self) -> None:
        """Print the certificates of head-ends, once per server and chain."""
        seen: dict[tuple[str, str, tuple[str, ...]], list[Handshake]] = {}
        for handshake in self.document.handshakes:
            chain = tuple(each.sha256 for each in presented(handshake))
            if chain:
                key = (str(handshake.server), handshake.server_name or "", chain)
                seen.setdefault(key, []).append(handshake)
        if seen:
            self.heading("Certificates of head-ends")
        for (server, name, _), handshakes in seen.items():
            times = sorted(each.time for each in handshakes)
            named = f" ({visible(name, _LONG)})" if name else ""
            self.line(
                Text(f"{visible(server)}{named}", "bold"),
                f"  {count(len(handshakes), 'handshake')}, first {times[0]}",
            )
            for certificate in presented(handshakes[0]):
                self.value("", f"{certificate.position}", certificate.sha1, certificate.subject or "")
        self.clients()

    def clients(self) -> None:
        """Print the certificates of clients (a phone's own), each once."""
        seen: dict[str, tuple[Certificate, Handshake]] = {}
        for handshake in self.document.handshakes:
            for certificate in handshake.certificates:
                if certificate.sender == "client":
                    seen.setdefault(certificate.sha256, (certificate, handshake))
        if seen:
            self.heading("Certificates of clients")
        for certificate, handshake in seen.values():
            self.line((f"{visible(str(handshake.client))}", "bold"), f"  first {handshake.time}")
            self.value("", f"{certificate.position}", certificate.sha1, certificate.subject or "")

    def coverage(self) -> None:
        document, summary = self.document, self.document.summary
        self.heading("Coverage")
        states = Counter(each.status for each in document.captures)
        self.line(
            f"{count(summary.captures, 'capture')}{_among(states)}, {count(summary.handshakes, 'handshake')},"
            f" {count(summary.certificates, 'certificate')}"
        )
        for capture in document.captures:
            if capture.status != "complete":
                error = capture.error or "only the packets before the damage were read"
                self.field(capture.status, f"{capture.path}: {error}")
            for note in capture.notes:
                self.field("note", f"{capture.path}: {note}")
        hidden = sum(summary.hidden.values())
        if hidden:
            self.line(f"{count(hidden, 'handshake')} could not be checked:")
        for reason, number in summary.hidden.items():
            self.field(f"{number:,}", f"{reason}: {HIDDEN[reason].title}" if reason in HIDDEN else reason)
        if summary.unlisted:
            self.line(f"{count(summary.unlisted, 'handshake')} unlisted: {VERDICTS['unlisted'].title}")
        if document.tool.hash_source == "python":
            self.line("The Wireshark plugin did not load: Python computed the hashes.")
        if document.problems:
            self.heading(f"{count(len(document.problems), 'problem')}:")
            for problem in document.problems:
                text = ": ".join(filter(None, (problem.path, problem.message)))
                self.line(Text(visible(text, _LONG * 2), overflow="fold"))


def _width(columns: Mapping[str, Sequence[Text]]) -> int:
    """Return the width that a table needs, two blanks after each column included."""
    return sum(max(len(name), *(text.cell_len for text in texts)) + 2 for name, texts in columns.items())


def _once(label: str) -> Iterable[str]:
    """Yield the label for the first line, and an empty one for each line below."""
    yield label
    while True:
        yield ""


def _and_more(devices: Sequence[object]) -> str:
    """Return how many devices there are besides the first."""
    return f" and {len(devices) - 1:,} more" if len(devices) > 1 else ""


def _cause(expectation: Expectation) -> str:
    cause = expectation.cause
    return f"{cause}: {CAUSES[cause].title}" if cause else "unknown"


def _among(states: Counter[CaptureStatus]) -> str:
    if set(states) <= {"complete"}:
        return ""
    return f" ({', '.join(f'{number:,} {state}' for state, number in states.items())})"
