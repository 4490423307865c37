"""Compare two results, and write what changed as a table or as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from certhash.judgement.document import FINDINGS, Cause, Document, Handshake, Verdict, where, who
from certhash.report.findings import ORDER, presented
from certhash.report.text import count, visible

if TYPE_CHECKING:
    from collections.abc import Iterable

    from certhash.report import Look


class State(Struct, frozen=True):
    """The state of a device and a URL in one result."""

    verdict: Verdict
    cause: Cause | None
    hashes: tuple[str, ...]
    explanation: str


class Change(Struct, frozen=True):
    """A device and a URL that changed; a state is None if that result does not have them."""

    device: str
    url: str | None
    old: State | None
    new: State | None


class Presented(Struct, frozen=True):
    """A certificate of a head-end's newest chain; `sha1` is Base64."""

    position: int
    sha1: str
    subject: str | None


class Renewal(Struct, frozen=True):
    """A head-end that presents another chain than in the old result."""

    server: str
    server_name: str | None
    old: tuple[Presented, ...]
    new: tuple[Presented, ...]
    time: str
    """Time of the first handshake in the new result with the new chain."""


class Difference(Struct, frozen=True):
    """All changes, in the order of the new result."""

    worse: tuple[Change, ...]
    """New findings: they set the exit status to 1."""
    mended: tuple[Change, ...]
    """A finding before, a match now: fixed."""
    changed: tuple[Change, ...]
    """A finding before and now, with another verdict, cause or hash."""
    unclear: tuple[Change, ...]
    """Verified before, not verifiable now."""
    cleared: tuple[Change, ...]
    """Not verifiable before, a match now."""
    appeared: tuple[Change, ...]
    """Only in the new result, and not a finding."""
    gone: tuple[Change, ...]
    """Only in the old result."""
    certificates: tuple[Renewal, ...]


_TITLES = {
    "worse": "new findings",
    "mended": "fixed",
    "changed": "changed findings",
    "unclear": "no longer verifiable",
    "cleared": "now verified",
    "appeared": "added",
    "gone": "removed",
}
_LONG = 300


def compare(old: Document, new: Document) -> Difference:
    """Return what changed from `old` to `new`. If a result has a device and URL twice, the worse counts."""
    before, after = _states(old), _states(new)
    names = {each.key: (each.device, each.url) for each in (*old.expectations, *new.expectations)}
    groups: dict[str, list[Change]] = {name: [] for name in _TITLES}
    for key in [*after, *(key for key in before if key not in after)]:
        old_state, new_state = before.get(key), after.get(key)
        kind = _kind(old_state, new_state)
        if kind:
            device, url = names[key]
            groups[kind].append(Change(device, url, old_state, new_state))
    return Difference(
        **{name: tuple(changes) for name, changes in groups.items()}, certificates=_renewals(old, new)
    )


def render_table(difference: Difference, look: Look) -> str:
    """Return the difference as text."""
    from certhash.report.table import COLORS, Page

    page = Page(look)
    groups: dict[str, tuple[Change, ...]] = {name: getattr(difference, name) for name in _TITLES}
    numbers = [f"{len(changes):,} {_TITLES[name]}" for name, changes in groups.items() if changes]
    if difference.certificates:
        numbers.append(f"{count(len(difference.certificates), 'head-end')} with a new certificate")
    page.line(("; ".join(numbers) or "Nothing changed.", "bold"))
    shown = ("worse", "changed") if look.verbosity < 0 else tuple(_TITLES)
    for name in shown:
        if groups[name]:
            page.heading(f"{_TITLES[name].capitalize()} ({len(groups[name]):,})")
        for change in groups[name]:
            state = change.new or change.old
            style = COLORS[state.verdict] if state else ""
            page.line(
                (visible(who(change.device), _LONG), "bold"),
                f"  at  {visible(where(change.device, change.url), _LONG)}",
            )
            page.line(f"  {_word(change.old)} -> ", (_word(change.new), style))
            if name == "worse" and change.new:
                page.field("expected", ", ".join(change.new.hashes) or "no hash")
                page.field("why", change.new.explanation)
    if difference.certificates and look.verbosity >= 0:
        page.heading(f"New certificates ({len(difference.certificates):,})")
        for renewal in difference.certificates:
            name = f" ({visible(renewal.server_name, _LONG)})" if renewal.server_name else ""
            page.line((f"{renewal.server}{name}", "bold"), f"  since {renewal.time}")
            for label, chain in (("old", renewal.old), ("new", renewal.new)):
                for each in chain:
                    page.value(label, f"{each.position}", each.sha1, each.subject or "")
    return page.text()


def _word(state: State | None) -> str:
    if state is None:
        return "not checked"
    return f"{state.verdict} ({state.cause})" if state.cause else state.verdict


def _states(document: Document) -> dict[tuple[str, ...], State]:
    states: dict[tuple[str, ...], State] = {}
    for each in document.expectations:
        key = each.key
        if key not in states or ORDER.index(each.verdict) < ORDER.index(states[key].verdict):
            hashes = tuple(expected.value for expected in each.hashes)
            states[key] = State(each.verdict, each.cause, hashes, each.explanation)
    return states


def _kind(old: State | None, new: State | None) -> str | None:
    was = old is not None and old.verdict in FINDINGS
    if new is None:
        return "gone"
    if old is None:
        return "worse" if new.verdict in FINDINGS else "appeared"
    if new.verdict in FINDINGS:
        same = (old.verdict, old.cause, old.hashes) == (new.verdict, new.cause, new.hashes)
        return None if same else "changed" if was else "worse"
    if new.verdict == "match":
        return "mended" if was else None if old.verdict == "match" else "cleared"
    return "unclear" if was or old.verdict == "match" else None


def _renewals(old: Document, new: Document) -> tuple[Renewal, ...]:
    before, after = _chains(old.handshakes), _chains(new.handshakes)
    renewals = []
    for key, handshakes in after.items():
        chain, last = _chain(handshakes[-1]), _chain(before[key][-1]) if key in before else ()
        if last and chain != last:
            first = next(each for each in handshakes if _chain(each) == chain)
            renewals.append(Renewal(*key, last, chain, first.time))
    return tuple(renewals)


def _chains(handshakes: Iterable[Handshake]) -> dict[tuple[str, str | None], list[Handshake]]:
    groups: dict[tuple[str, str | None], list[Handshake]] = {}
    for handshake in sorted(handshakes, key=lambda each: each.time):
        if _chain(handshake):
            groups.setdefault((str(handshake.server), handshake.server_name), []).append(handshake)
    return groups


def _chain(handshake: Handshake) -> tuple[Presented, ...]:
    return tuple(Presented(each.position, each.sha1, each.subject) for each in presented(handshake))
