"""Text for people: findings first, then a line for every expectation, then how much was looked at."""

from __future__ import annotations

import io
from collections import Counter
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from certhash.causes import HIDDEN, VERDICTS, is_typed
from certhash.document import FINDINGS
from certhash.report.groups import ORDER, findings, presented
from certhash.report.text import LONGEST_HASH, count, visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from certhash.document import Certificate, Document, Expectation, Handshake
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
_NAMES = 3  # so many devices of a group are named
_LONG = 300  # characters of a stranger's text
_SENTENCES = 2000  # characters of an explanation


def render(document: Document, look: Look) -> str:
    """Return the report as text, as wide as `look` says; a hash is never cut nor wrapped."""
    report = _Report(document, look)
    report.set()
    return report.text()


class Page:
    """Text for people, set line by line."""

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
            _environ={},  # what the environment wishes is in `look` already
        )

    def text(self) -> str:
        """Return what was set, without blanks at the ends of lines."""
        file = self.console.file
        assert isinstance(file, io.StringIO)  # noqa: S101 - for the type checker
        return "\n".join(line.rstrip() for line in file.getvalue().split("\n"))

    def line(self, *parts: str | Text | tuple[str, str]) -> None:
        """Print a line that may be wrapped."""
        self.console.print(Text.assemble(*parts))

    def unbroken(self, *parts: str | Text) -> None:
        """Print a line that is never wrapped, however narrow the terminal."""
        self.console.print(Text.assemble(*parts), no_wrap=True, overflow="ignore", crop=False)

    def heading(self, text: str) -> None:
        """Print a heading, after an empty line."""
        self.console.print()
        self.console.print(Text(text, "bold"))

    def field(self, label: str, text: str) -> None:
        """Print words beside their label."""
        grid = Table.grid(padding=0)
        grid.add_column(width=_INDENT)
        grid.add_column(overflow="fold")
        grid.add_row(Text(f"  {label}", "dim"), Text(visible(text, _SENTENCES)))
        self.console.print(grid)

    def value(self, label: str, prefix: str, value: str, remark: str) -> None:
        """Print a hash beside its label: on one line, and the remark below it where it does not fit."""
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
        self.handshakes = {handshake.id: handshake for handshake in document.handshakes}
        self.said: dict[tuple[str, ...], str] = {}

    def set(self) -> None:
        self.headline()
        self.findings()
        if self.look.verbosity >= 0:
            self.expectations()
            self.warnings()
            self.undecided()
            if self.look.verbosity > 0 or not self.document.expectations:
                self.head_ends()
        self.coverage()

    def headline(self) -> None:
        summary = self.document.summary
        numbers = {verdict: getattr(summary, verdict) for verdict in ORDER}
        total = sum(numbers.values())
        if not total:
            self.line(Text("Nothing is expected of any head-end: no cnf file was given or seen.", "bold"))
            return
        parts = [
            Text(f"{number:,} {verdict}", COLORS[verdict]) for verdict, number in numbers.items() if number
        ]
        listed = Text(", ").join(parts)
        self.line(Text(f"{count(total, 'expectation')} (a device and a URL each): ", "bold"), listed)

    def findings(self) -> None:
        for group in findings(self.document):
            if self.look.verbosity > 0:
                for expectation in group:
                    self.finding([expectation])
            else:
                self.finding(group)

    def finding(self, group: list[Expectation]) -> None:
        first = group[0]
        decided = self.handshakes.get(first.decided_by or "")
        self.console.print()
        self.line(
            Text(first.verdict.upper(), COLORS[first.verdict]),
            "  ",
            Text(visible(first.device, _LONG), "bold"),
            Text(_and_more(group), "bold"),
            "  at  ",
            Text(visible(first.url or "(no URL can be read)", _LONG)),
        )
        if len(group) > 1:
            names = ", ".join(each.device for each in group[1 : _NAMES + 1])
            more = len(group) - 1 - _NAMES
            self.field(
                "likewise",
                names + (f", and {count(more, 'device')} more (-v names them)" if more > 0 else ""),
            )
        for label, expected in zip(_once("expected"), first.hashes, strict=False):
            line = f", line {expected.line}" if expected.line is not None else ""
            remark = f"{expected.algorithm or 'malformed'}{line}"
            self.value(label, f"certHash{expected.number}", expected.value, remark)
        self.field("in", first.source + (f", frame {first.frame}" if first.frame is not None else ""))
        if decided is not None:
            self.evidence(decided)
        self.field("cause", f"{first.cause or 'not known'}: {first.explanation}")
        if len(group) > 1 and len({each.explanation for each in group}) > 1:
            self.field("", f"(of {first.device}; -v explains each)")
        for warning in first.warnings:
            self.field("besides", warning)
        self.advice(first)

    def advice(self, expectation: Expectation) -> None:
        """Print what to do; what was said word for word is not said again."""
        said = self.said.setdefault(expectation.advice, expectation.device)
        if said != expectation.device and expectation.advice and self.look.verbosity <= 0:
            self.field("do", f"as said of {said}")
            return
        for label, step in zip(_once("do"), expectation.advice, strict=False):
            if is_typed(step):
                self.unbroken(" " * _INDENT, Text(visible(step, _LONG), "cyan"))
            else:
                self.field(label, step)

    def evidence(self, handshake: Handshake) -> None:
        for label, certificate in zip(_once("presented"), presented(handshake), strict=False):
            self.value(
                label,
                f"{certificate.position}",
                certificate.sha1,
                certificate.subject or "subject unreadable",
            )
        self.field("by", f"{_where(handshake)}, {_when(handshake)}")
        for alert in handshake.alerts:
            self.field(
                "alert",
                f"{alert.level} {alert.name} ({alert.code}) of the {alert.sender}, frame {alert.frame}",
            )

    def expectations(self) -> None:
        rows = sorted(
            self.document.expectations,
            key=lambda each: (ORDER.index(each.verdict), each.device, each.url or ""),
        )
        if not rows:
            return
        self.console.print()
        wide = self.look.width >= 120  # noqa: PLR2004
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        table.add_column("verdict", no_wrap=True)
        table.add_column("device", overflow="fold")
        table.add_column("head-end", overflow="fold")
        table.add_column("cause", overflow="fold")
        if wide:
            table.add_column("matched", no_wrap=True)
        for each in rows:
            cells = [
                Text(each.verdict, COLORS[each.verdict]),
                Text(visible(each.device, _LONG)),
                Text(visible(each.url or "-", _LONG)),
                Text(each.cause or ""),
            ]
            table.add_row(*cells, *([Text(visible(each.matched or ""))] if wide else []))
        self.console.print(table)

    def warnings(self) -> None:
        """Print what is odd about expectations that are no findings."""
        odd: dict[str, list[str]] = {}
        for each in self.document.expectations:
            for warning in each.warnings if each.verdict not in FINDINGS else ():
                odd.setdefault(warning, []).append(each.device)
        if odd:
            self.heading("Warnings")
        for warning, devices in odd.items():
            said = visible(warning, _LONG * 2)
            self.line((visible(devices[0], _LONG), "bold"), f"{_and_more(devices)}: {said}")

    def undecided(self) -> None:
        """Print why a verdict could not be told: once for all devices of which the same holds."""
        groups: dict[object, list[Expectation]] = {}
        for each in self.document.expectations:
            if each.verdict in {"unverifiable", "unseen"}:
                alone = each.device if self.look.verbosity > 0 else ""
                groups.setdefault((each.verdict, each.url, each.explanation, alone), []).append(each)
        if groups:
            self.heading("Not decided")
        for group in sorted(groups.values(), key=lambda group: ORDER.index(group[0].verdict)):
            first = group[0]
            device, url = visible(first.device, _LONG), visible(first.url or "(no URL can be read)", _LONG)
            verdict = Text(first.verdict, COLORS[first.verdict])
            self.line(verdict, "  ", Text(device + _and_more(group), "bold"), f"  at  {url}")
            self.field("why", first.explanation)
            self.advice(first)

    def head_ends(self) -> None:
        """Print who presented what: once for every server and chain."""
        seen: dict[tuple[str, str, tuple[str, ...]], list[Handshake]] = {}
        for handshake in self.document.handshakes:
            chain = tuple(each.sha256 for each in presented(handshake))
            if chain:
                key = (str(handshake.server), handshake.server_name or "", chain)
                seen.setdefault(key, []).append(handshake)
        if seen:
            self.heading("What head-ends presented")
        for (server, name, _), handshakes in seen.items():
            times = sorted(each.time for each in handshakes)
            shown = f" as {visible(name, _LONG)}" if name else ""
            self.line(
                Text(f"{visible(server)}{shown}", "bold"),
                f"  {count(len(handshakes), 'handshake')}, first {times[0]}",
            )
            for certificate in presented(handshakes[0]):
                self.value("", f"{certificate.position}", certificate.sha1, certificate.subject or "")
        self.clients()

    def clients(self) -> None:
        """Print the certificates of clients (a phone's own), once each."""
        seen: dict[str, tuple[Certificate, Handshake]] = {}
        for handshake in self.document.handshakes:
            for certificate in handshake.certificates:
                if certificate.sender == "client":
                    seen.setdefault(certificate.sha256, (certificate, handshake))
        if seen:
            self.heading("What clients presented")
        for certificate, handshake in seen.values():
            self.line((f"{visible(str(handshake.client))}", "bold"), f"  first {handshake.time}")
            self.value("", f"{certificate.position}", certificate.sha1, certificate.subject or "")

    def coverage(self) -> None:
        document, summary = self.document, self.document.summary
        self.heading("Looked at")
        states = Counter(each.status for each in document.captures)
        self.line(f"{count(summary.captures, 'capture')}{_among(states)}")
        for capture in document.captures:
            if capture.status != "complete":
                self.field(
                    capture.status, f"{capture.path}: {capture.error or 'only the packets before the cut'}"
                )
        hidden = sum(summary.hidden.values())
        self.line(
            f"{count(summary.handshakes, 'handshake')}, {count(summary.certificates, 'certificate')};"
            f" in {hidden:,} the server's certificate cannot be seen"
        )
        for reason, number in summary.hidden.items():
            self.field(f"{number:,}", f"{reason}: {HIDDEN[reason].title}" if reason in HIDDEN else reason)
        if summary.unlisted:
            self.line(f"{count(summary.unlisted, 'handshake')} unlisted: {VERDICTS['unlisted'].title}")
        if document.tool.hash_source == "python":
            self.line("The Wireshark plugin could not be used: the hashes are Python's alone.")
        if document.problems:
            self.heading(f"{count(len(document.problems), 'problem')}: this could not be done")
            for problem in document.problems:
                self.line(Text(visible(f"{problem.path}: {problem.message}", _LONG * 2), overflow="fold"))


def _once(label: str) -> Iterable[str]:
    """Yield the label for the first line, and nothing for those below it."""
    yield label
    while True:
        yield ""


def _and_more(devices: Sequence[object]) -> str:
    """Count the devices behind the one that is named."""
    return f" and {count(len(devices) - 1, 'device')} more" if len(devices) > 1 else ""


def _where(handshake: Handshake) -> str:
    name = f" ({handshake.server_name})" if handshake.server_name else ""
    return f"{handshake.server}{name} to {handshake.client}, {handshake.version or 'TLS'}"


def _when(handshake: Handshake) -> str:
    certificates = presented(handshake)
    frame = certificates[0].frame if certificates else handshake.frame
    return f"{handshake.time}, {handshake.capture} frame {frame}"


def _among(states: Counter[CaptureStatus]) -> str:
    if set(states) <= {"complete"}:
        return ""
    return ": " + ", ".join(f"{number:,} {state}" for state, number in states.items())
