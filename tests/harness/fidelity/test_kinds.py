"""Test that certificates are seen after upgrades, in tunnels, on all ports and in all file formats."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.harness import wiresharks
from tests.harness.fidelity.compare import audit, by_capture, read_by_engine, read_twice
from tests.harness.fidelity.kinds import SHOWN_TWICE, all_kinds

from certhash.capture.engine import Engine
from certhash.capture.workplace import workplace

if TYPE_CHECKING:
    from tests.harness.fidelity.kitchen import Kitchen


def test_every_kind_of_capture_shows_its_content_with_and_without_carving(
    tmp_path: Path, kitchen: Kitchen
) -> None:
    script = next(s for s in kitchen.scripts if s.of_client > 1 and len(s.clear) > s.of_client)
    datagrams = next(s for s in kitchen.datagrams if s.of_client)
    kinds = list(all_kinds(tmp_path, script, datagrams))
    captures, differences = read_twice(kind.path for kind in kinds)
    assert differences == []
    found = {
        kind.name: tuple(one.sha1 for one in seen.findings)
        for kind, seen in zip(kinds, captures, strict=True)
    }
    wrong = {kind.name: found[kind.name] for kind in kinds if found[kind.name] != kind.expected}
    expected = next(kind.expected for kind in kinds if kind.name == SHOWN_TWICE)
    assert wrong in ({}, {SHOWN_TWICE: expected * 2})


@pytest.mark.parametrize("version", wiresharks.others())
def test_every_kind_shows_the_same_with_another_tshark(
    version: str, tmp_path: Path, kitchen: Kitchen
) -> None:
    """An engine reads them, before and after the first pass; the audit reads those of which it shows less."""
    script = next(s for s in kitchen.scripts if s.of_client > 1 and len(s.clear) > s.of_client)
    datagrams = next(s for s in kitchen.datagrams if s.of_client)
    kinds = {kind.path: kind for kind in all_kinds(tmp_path, script, datagrams)}
    program = str(wiresharks.need(version).tshark)
    left = []
    with workplace(program) as place, contextlib.closing(Engine(program, place)) as engine:
        for path, kind in kinds.items():
            shown = {tuple(one.sha1 for one in seen.findings) for seen in read_by_engine(path, engine)}
            if shown != {kind.expected}:
                left.append(path)
    assert len(left) < 0.2 * len(kinds)
    document = audit(left, "--tshark", program)
    wrong = {
        kinds[Path(seen.path)].name
        for seen in by_capture(document)
        if tuple(one.sha1 for one in seen.findings) != kinds[Path(seen.path)].expected
    }
    assert wrong <= {SHOWN_TWICE}
    assert len(document["captures"]) == len(left)
