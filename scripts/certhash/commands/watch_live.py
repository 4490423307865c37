"""Judge live traffic: take rows, return events, and build a document at the end.

The functions of an audit turn rows into handshakes and verdicts. Memory is bounded: idle connections are
dropped, and of equal handshakes (same client, server, certificates and outcome) only the newest is kept,
since no verdict depends on the older ones.
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict, deque
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from msgspec.structs import replace

from certhash.audit import learn
from certhash.capture.reading import Reading
from certhash.capture.tshark import Outcome
from certhash.headend import plain_name
from certhash.judgement.correlate import correlate
from certhash.judgement.document import FINDINGS
from certhash.model import NameAnswer, Observation, Problem, Sources
from certhash.report.findings import presented
from certhash.times import iso
from certhash.visible import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from certhash.capture.records import Row
    from certhash.judgement import document
    from certhash.model import CnfFile, Endpoint, Handshake

K = TypeVar("K")
V = TypeVar("V")
_Name = tuple[int, "Endpoint", "Endpoint"]
"""First frame, client and server: together they identify a handshake."""

SETTLE = 2.0
"""Seconds of silence after which an incomplete handshake is judged."""
FORGET = 120.0
"""Seconds of silence after which a connection is dropped."""
MOST_CONNECTIONS = 10_000
MOST_OF_A_CONNECTION = 100
MOST_KEPT = 2_000
MOST_ANSWERS = 10_000
MOST_DEVICES = 10_000
FILES_OF_A_DEVICE = 3
MOST_PROBLEMS = 1_000

_SHARE = 9  # of ten parts of the time remain for other work than correlation
_NAMES = 3  # devices to name in a line
_LONG = 200  # characters to show of a text from outside
_GOING_ON = Outcome("complete", 0, None, (), missing_fields=False)


class Judged(NamedTuple):
    """A handshake with a new verdict."""

    handshake: document.Handshake


class Changed(NamedTuple):
    """A device and a URL that became a finding, or are no longer one."""

    time: str
    expectation: document.Expectation


class Learned(NamedTuple):
    """A cnf file that a phone downloaded."""

    time: str
    cnf: CnfFile


Event = Judged | Changed | Learned | Problem


class _Connection:
    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self.last = 0.0
        self.judged: dict[int, Handshake] = {}
        """The handshakes as they were judged last, by their first frame."""


class _Totals:
    """Counts of all handshakes that were judged, also of those that are no longer kept."""

    def __init__(self) -> None:
        self.handshakes = 0
        self.certificates = 0
        self.unlisted = 0
        self.hidden: Counter[str] = Counter()

    def add(self, handshake: Handshake, verdict: str, *, instead_of: Handshake | None) -> None:
        if instead_of is None:
            self.handshakes += 1
            self.unlisted += verdict == "unlisted"
        else:
            self.certificates -= len(instead_of.certificates)
            self.hidden[instead_of.hidden or ""] -= 1
        self.certificates += len(handshake.certificates)
        self.hidden[handshake.hidden or ""] += 1


class Watcher:
    """Takes rows, and returns new events on request.

    Args:
        interface: its name, used as the capture in the document.
        sources: what phones expect.
        tool: the versions for the document.
        resolve: host names in URLs, with the addresses that the user gives.
        clock: returns seconds from any origin.
    """

    def __init__(
        self,
        interface: str,
        sources: Sources,
        tool: document.Tool,
        *,
        resolve: Mapping[str, Iterable[str]] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._interface = interface
        self._sources = sources
        self._tool = tool
        self._resolve = resolve
        self._clock = clock
        self._connections: OrderedDict[object, _Connection] = OrderedDict()
        """The connection with the longest silence comes first."""
        self._pending: dict[object, _Connection] = {}
        self._kept: OrderedDict[object, Handshake] = OrderedDict()
        self._certificates: dict[bytes, bytes] = {}
        self._answers: OrderedDict[tuple[str, str], NameAnswer] = OrderedDict()
        self._learned: OrderedDict[str, deque[CnfFile]] = OrderedDict()
        self._told: dict[tuple[str, ...], tuple[str, str | None]] = {}
        self._untold: dict[str, str] = {}
        """The handshakes whose findings were not reported yet, with their times."""
        self._rest_until = 0.0
        self._totals = _Totals()
        self._problems: dict[Problem, None] = {}
        self._events: list[Event] = []

    def take(self, row: Row) -> None:
        """Add the next row."""
        if row.downloads or row.answers:
            self._take_data(row)
        key = row.connection
        connection = self._connections.get(key)
        if connection is None:
            connection = _Connection(self._reading())
            self._connections[key] = connection
        connection.reading.take(row)
        connection.last = self._clock()
        self._connections.move_to_end(key)
        self._pending[key] = connection

    def waiting_since(self) -> int | None:
        """Return the first frame of the oldest handshake that is not judged yet."""
        frames = [
            handshake.frame
            for connection in self._pending.values()
            for handshake in connection.reading.observation(_GOING_ON).handshakes
            if handshake.frame not in connection.judged
        ]
        return min(frames, default=None)

    def news(self) -> list[Event]:
        """Return the events since the last call."""
        self._judge(final=False)
        self._look_back()
        self._forget()
        events, self._events = self._events, []
        return events

    def finish(self, packets: int, problems: Iterable[str] = ()) -> tuple[list[Event], document.Document]:
        """Judge all remaining handshakes, and return the last events and the document.

        Args:
            packets: number of captured packets.
            problems: problems of the capture; if there are any, its status is truncated.
        """
        self._judge(final=True)
        problems = list(problems)
        for message in problems:
            self._complain(Problem(self._interface, message))
        result = self._correlate(list(self._kept.values()), packets, problems)
        self._tell(result.expectations)
        summary = replace(
            result.summary,
            handshakes=self._totals.handshakes,
            certificates=self._totals.certificates,
            unlisted=self._totals.unlisted,
            hidden={reason: n for reason, n in sorted(self._totals.hidden.items()) if reason and n},
        )
        every = dict.fromkeys((*self._problems, *result.problems))
        events, self._events = self._events, []
        return events, replace(result, summary=summary, problems=tuple(every))

    # ------------------------------------------------------------ input

    def _reading(self) -> Reading:
        return Reading(self._interface, plugin=self._tool.hash_source == "plugin")

    def _take_data(self, row: Row) -> None:
        """Add DNS answers and cnf files."""
        reading = self._reading()
        reading.take(row)
        found = reading.observation(_GOING_ON)
        for answer in found.answers:
            self._answer(answer)
        learned = learn([found])
        for cnf in learned.cnf_files:
            files = self._learned.setdefault(cnf.device, deque(maxlen=FILES_OF_A_DEVICE))
            files.append(cnf)
            self._learned.move_to_end(cnf.device)
            self._events.append(Learned(iso(row.time), cnf))
        _shorten(self._learned, MOST_DEVICES)
        for problem in learned.problems:
            self._complain(problem)

    def _answer(self, answer: NameAnswer) -> None:
        self._answers[answer.name, answer.address] = answer
        self._answers.move_to_end((answer.name, answer.address))
        _shorten(self._answers, MOST_ANSWERS)

    def _complain(self, problem: Problem) -> None:
        if problem not in self._problems and len(self._problems) < MOST_PROBLEMS:
            self._problems[problem] = None
            self._events.append(problem)

    # ------------------------------------------------------------ verdicts

    def _judge(self, *, final: bool) -> None:
        """Judge every handshake that is complete, or has changed since it was judged."""
        fresh: list[Handshake] = []
        outdated: dict[_Name, Handshake] = {}
        now = self._clock()
        for key, connection in list(self._pending.items()):
            found = connection.reading.observation(_GOING_ON)
            silent = final or now - connection.last >= SETTLE
            for handshake, following in zip(found.handshakes, (*found.handshakes[1:], None), strict=False):
                before = connection.judged.get(handshake.frame)
                if handshake != before and (silent or following or _is_settled(handshake)):
                    connection.judged[handshake.frame] = handshake
                    fresh.append(handshake)
                    if before is not None:
                        outdated[_name(before)] = before
            self._certificates.update(found.certificates)
            for problem in found.problems:
                self._complain(problem)
            if silent:
                del self._pending[key]
                if len(found.handshakes) > MOST_OF_A_CONNECTION:
                    del self._connections[key]
        if fresh:
            self._give_verdicts(fresh, outdated)

    def _give_verdicts(self, fresh: list[Handshake], outdated: Mapping[_Name, Handshake]) -> None:
        for kind in [k for k, kept in self._kept.items() if outdated and _name(kept) in outdated]:
            del self._kept[kind]
        self._keep(fresh)
        # What a handshake's own verdict depends on is in it, and in what is expected.
        result = self._correlate(fresh, whole=False)
        judged = {_name(h): h for h in result.handshakes}
        for handshake in fresh:
            verdict = judged[_name(handshake)]
            self._totals.add(handshake, verdict.verdict, instead_of=outdated.get(_name(handshake)))
            self._events.append(Judged(verdict))
            self._untold[verdict.id] = verdict.time

    def _look_back(self) -> None:
        """Correlate all handshakes, and report findings; less often if it takes long."""
        if not self._untold or self._clock() < self._rest_until:
            return
        began = self._clock()
        self._tell(self._correlate(list(self._kept.values())).expectations)
        ended = self._clock()
        self._rest_until = ended + _SHARE * (ended - began)

    def _tell(self, expectations: Iterable[document.Expectation]) -> None:
        """Report new findings, and findings that are over."""
        for expectation in expectations:
            times = [self._untold[id_] for id_ in expectation.handshakes if id_ in self._untold]
            if not times:
                continue
            key = expectation.key
            now = (expectation.verdict, expectation.cause)
            before = self._told.get(key)
            if now != before and (expectation.verdict in FINDINGS or (before and before[0] in FINDINGS)):
                self._events.append(Changed(times[-1], expectation))
            self._told[key] = now
        self._untold.clear()

    def _keep(self, fresh: Iterable[Handshake]) -> None:
        for handshake in fresh:
            kind = _kind(handshake)
            self._kept[kind] = handshake
            self._kept.move_to_end(kind)
            if handshake.server_name:
                # The name stays known when the handshake is dropped.
                name = plain_name(handshake.server_name)
                self._answer(NameAnswer(name, handshake.server.address, handshake.frame, handshake.time))
        _shorten(self._kept, MOST_KEPT)
        if len(self._certificates) > 2 * MOST_KEPT:
            wanted = {c.sha256 for h in self._kept.values() for c in h.certificates}
            self._certificates = {k: v for k, v in self._certificates.items() if k in wanted}

    def _forget(self) -> None:
        """Drop idle connections, and the oldest ones above the limit."""
        now = self._clock()
        while self._connections:
            key, connection = next(iter(self._connections.items()))
            if now - connection.last < FORGET and len(self._connections) <= MOST_CONNECTIONS:
                return
            if key in self._pending and now - connection.last < FORGET:
                connection.last = now - FORGET  # judge it before it is dropped
                self._judge(final=False)
            self._connections.pop(key, None)
            self._pending.pop(key, None)

    def _correlate(
        self,
        handshakes: list[Handshake],
        packets: int = 0,
        problems: list[str] | None = None,
        *,
        whole: bool = True,
    ) -> document.Document:
        observation = Observation(
            path=self._interface,
            status="truncated" if problems else "complete",
            packets=packets,
            error="; ".join(problems) if problems else None,
            hash_source=self._tool.hash_source,
            handshakes=tuple(handshakes),
            answers=tuple(self._answers.values()),
            certificates=self._certificates,
        )
        learned = [cnf for files in self._learned.values() for cnf in files]
        sources = replace(self._sources, cnf_files=(*self._sources.cnf_files, *learned))
        return correlate([observation], sources, self._tool, resolve=self._resolve, whole=whole)


def line(event: Event) -> str:
    """Return an event as one line of text."""
    if isinstance(event, Judged):
        return _handshake_line(event.handshake)
    if isinstance(event, Learned):
        return _learned_line(event)
    if isinstance(event, Problem):
        return f"{visible(event.path)}: {visible(event.message, _LONG)}"
    told = event.expectation
    verdict = told.verdict.upper() if is_finding(event) else told.verdict
    cause = f"{told.cause}: " if told.cause else ""
    where = f"{visible(told.who, _LONG)} at {visible(told.where, _LONG)}"
    expected = ", ".join(visible(each.value, _LONG) for each in told.hashes) or "no hash"
    return f"{event.time}  {verdict}: {where} expects {expected}: {cause}{visible(told.explanation)}"


def is_finding(event: Event) -> bool:
    """Return whether an event is a finding or a problem."""
    if isinstance(event, Judged):
        return event.handshake.verdict in FINDINGS
    return isinstance(event, Problem) or (
        isinstance(event, Changed) and event.expectation.verdict in FINDINGS
    )


def _handshake_line(handshake: document.Handshake) -> str:
    name = f" ({visible(handshake.server_name, _LONG)})" if handshake.server_name else ""
    parts = [
        handshake.time,
        f"{handshake.verdict:12}",
        f"{handshake.client} > {handshake.server}{name}",
        " ".join(each.sha1 for each in presented(handshake)) or f"no visible certificate: {handshake.hidden}",
    ]
    if handshake.devices:
        more = len(handshake.devices) - _NAMES
        names = ", ".join(visible(device, _LONG) for device in handshake.devices[:_NAMES])
        parts.append(names + (f" and {more:,} more" if more > 0 else ""))
    parts += [f"{a.sender} sent {a.level} {a.name} ({a.code})" for a in handshake.alerts]
    return "  ".join(parts)


def _learned_line(event: Learned) -> str:
    cnf = event.cnf
    fetch = cnf.fetch
    by = f", downloaded by {visible(fetch.client)} from {visible(fetch.server)}" if fetch else ""
    if cnf.kind == "encrypted":
        says = "encrypted"
    elif cnf.group is None:
        says = "no VPN"
    else:
        values = [url.value for url in cnf.group.urls] + [h.value for h in cnf.group.hashes]
        says = " ".join(visible(value, _LONG) for value in values)
    return f"{event.time}  learned       {visible(cnf.device, _LONG)}{by}: {says}"


def _is_settled(handshake: Handshake) -> bool:
    """Return whether the client has continued or sent a fatal alert."""
    return handshake.client_proceeded or any(alert.level == "fatal" for alert in handshake.alerts)


def _name(handshake: Handshake | document.Handshake) -> _Name:
    return handshake.frame, handshake.client, handshake.server


def _kind(handshake: Handshake) -> object:
    """Return everything but the time that a verdict depends on: of equal handshakes, the newest decides."""
    return (
        handshake.client.address,
        handshake.server,
        handshake.server_name,
        handshake.transport,
        tuple(c.sha256 for c in handshake.certificates),
        handshake.hidden,
        handshake.client_proceeded,
        tuple((a.sender, a.level, a.code) for a in handshake.alerts),
    )


def _shorten(kept: OrderedDict[K, V], most: int) -> None:
    while len(kept) > most:
        kept.popitem(last=False)
