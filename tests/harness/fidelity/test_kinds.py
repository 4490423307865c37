"""Test that certificates are seen after upgrades, in tunnels, on all ports and in all file formats."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.harness.fidelity.compare import audit, by_capture
from tests.harness.fidelity.kinds import SHOWN_TWICE, all_kinds

if TYPE_CHECKING:
    from pathlib import Path

    from tests.harness.fidelity.generate import Kitchen


def test_every_kind_of_capture_shows_what_was_put_into_it_with_and_without_carving(
    tmp_path: Path, kitchen: Kitchen
) -> None:
    archive = tmp_path / "archive"
    archive.mkdir()
    script = next(s for s in kitchen.scripts if s.of_client > 1 and len(s.clear) > s.of_client)
    datagrams = next(s for s in kitchen.datagrams if s.of_client)
    kinds = {str(kind.path): kind for kind in all_kinds(archive, script, datagrams)}
    carved, whole = audit([archive]), audit([archive], "--no-carve")
    assert carved == whole
    seen = {
        capture.path: tuple(finding.sha1 for finding in capture.findings) for capture in by_capture(carved)
    }
    wrong = {kind.name: seen.get(str(kind.path)) for kind in kinds.values()}
    wrong = {kind.name: wrong[kind.name] for kind in kinds.values() if wrong[kind.name] != kind.expected}
    expected = next(kind.expected for kind in kinds.values() if kind.name == SHOWN_TWICE)
    assert wrong in ({}, {SHOWN_TWICE: expected * 2})
    assert len(seen) == len(kinds)
