"""Test the verdicts on live traffic, without a network: the rows of the samples as if they came live."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.conftest import TOP

from certhash import cnf
from certhash.archive.walk import find_captures
from certhash.capture import columns, records, tshark
from certhash.capture.workplace import workplace
from certhash.cnf.stated import read_stated
from certhash.commands.watch_live import Changed, Judged, Watcher, is_finding, line
from certhash.judgement import document
from certhash.model import Endpoint, Sources

CAPTURES = TOP / "captures"


def _rows(path: str, found: tshark.Tshark) -> list[records.Row]:
    with workplace() as place, Path(path).open("rb") as source:
        command = tshark.arguments(
            found,
            place,
            fields=columns.names(plugin=True),
            display_filter=columns.display_filter(plugin=True),
        )
        run = tshark.Run(command, place, source)
        return [columns.parse(text, plugin=True) for text in run.lines()]


class _Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(name="rows", scope="module")
def _all_rows() -> list[records.Row]:
    """Return the rows of all samples as if they were one capture."""
    found = tshark.find()
    rows: list[records.Row] = []
    for number, path in enumerate(find_captures([str(CAPTURES)]).captures, 1):
        rows += [
            replace(row, frame=row.frame + 100_000 * number, stream=(row.stream or 0) + 1000 * number)
            for row in _rows(path, found)
        ]
    return sorted(rows, key=lambda row: row.time)


def _watcher(clock: _Clock) -> Watcher:
    sources = cnf.read([str(CAPTURES / "cnf")])
    return Watcher("samples", sources, document.Tool("", None, None, "plugin"), clock=clock)


def test_the_summary_has_the_verdicts_of_the_audit(rows: list[records.Row]) -> None:
    expected = json.loads((CAPTURES / "expected.json").read_text("utf-8"))
    clock = _Clock()
    watcher = _watcher(clock)
    events = []
    for row in rows:
        watcher.take(row)
        clock.now += 0.3
        events += watcher.news()
    last, result = watcher.finish(0)
    events += last
    found = {(e.device, e.url): (e.verdict, e.cause) for e in result.expectations}
    assert found == {(e["device"], e["url"]): (e["verdict"], e["cause"]) for e in expected["expectations"]}
    handshakes = [h for capture in expected["captures"] for h in capture["handshakes"]]
    assert result.summary.handshakes == len(handshakes)
    assert result.summary.certificates == sum(len(h["certificates"]) for h in handshakes)
    told = [e.handshake for e in events if isinstance(e, Judged)]
    for wanted in handshakes:
        mine = [h for h in told if h.client == Endpoint(**wanted["client"])]
        assert mine[-1].verdict == wanted["verdict"]
        assert [c.sha1 for c in mine[-1].certificates] == [c["sha1"] for c in wanted["certificates"]]
        assert list(mine[-1].devices) == wanted["devices"]
    findings = {e.expectation.device for e in events if isinstance(e, Changed) and is_finding(e)}
    assert findings == {
        e["device"] for e in expected["expectations"] if e["verdict"] in ("mismatch", "rejected")
    }


def test_clock_set_back_gives_no_false_match_in_live_traffic() -> None:
    """The head-end changes its certificate while a phone has the hash of the old one."""
    between = 20  # the old certificate is in frame 15, the new one in frame 34
    rows = _rows(str(CAPTURES / "fetched-over-tftp.pcapng"), tshark.find())
    verdicts = []
    for set_back in (0, 3600):
        watcher = _watcher(_Clock())
        for row in rows:
            late = row.frame > between
            watcher.take(replace(row, time=row.time - set_back * 1_000_000) if late else row)
        _, result = watcher.finish(0)
        verdicts += [e.verdict for e in result.expectations if e.device == "SEP00005E005313"]
    assert verdicts == ["mismatch", "unverifiable"]


def test_what_says_the_same_is_kept_once(rows: list[records.Row]) -> None:
    """The same phones connect repeatedly: all are reported, and memory does not grow."""
    clock = _Clock()
    watcher = _watcher(clock)
    told = 0
    sizes = []
    for again in range(30):
        for row in rows:
            moved = replace(
                row,
                frame=row.frame + again * 10_000_000,
                time=row.time + again * 86_400_000_000,
                stream=(row.stream or 0) + again * 100_000,
            )
            watcher.take(moved)
        clock.now += 3600
        told += sum(isinstance(event, Judged) for event in watcher.news())
        _, result = watcher.finish(0)
        sizes.append(len(result.handshakes))
    assert result.summary.handshakes == told
    assert sizes[-1] == sizes[1]
    assert not watcher._connections  # noqa: SLF001 - what is silent for an hour is let go


def test_strangers_cannot_write_on_the_terminal(rows: list[records.Row]) -> None:
    clock = _Clock()
    watcher = _watcher(clock)
    for row in rows:
        watcher.take(replace(row, server_name="\x1b]0;owned\x07\n2026 match") if row.server_name else row)
    events, _ = watcher.finish(0)
    lines = [line(event) for event in events]
    assert any("owned" in each for each in lines)
    assert all(each.isprintable() for each in lines)


def test_a_stated_hash_is_watched_for(rows: list[records.Row]) -> None:
    """One server that presents it is enough; the others, which appear one by one, are not findings."""
    stated = read_stated(["4qTQRt8KuAEbBHilnXE9s7WjEPc=", "11" * 20])
    watcher = Watcher("samples", Sources(stated), document.Tool("", None, None, "plugin"), clock=_Clock())
    for row in rows:
        watcher.take(row)
    events, result = watcher.finish(len(rows))
    verdicts = {each.hashes[0].value: each.verdict for each in result.expectations}
    assert verdicts["4qTQRt8KuAEbBHilnXE9s7WjEPc="] == "match"
    assert verdicts["ERERERERERERERERERERERERERE="] == "unverifiable"  # two servers show no certificate
    judged = [e.handshake.verdict for e in events if isinstance(e, Judged) and "-" in e.handshake.devices]
    assert judged
    assert set(judged) <= {"match", "rejected"}
