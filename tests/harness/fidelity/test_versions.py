"""Test that the audit finds the same certificates with every version of tshark."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.conftest import CUT_SHORT, RECORDED, TOP
from tests.harness import wiresharks
from tests.harness.fidelity.compare import audit, by_capture

if TYPE_CHECKING:
    from pathlib import Path

    from tests.harness.once import Once


@pytest.mark.parametrize("version", wiresharks.others())
def test_another_tshark_finds_the_same(version: str, once: Once) -> None:
    other = str(wiresharks.need(version).tshark)
    captures = [TOP / "captures", TOP / "tests" / "captures"]
    document = audit(captures, "--tshark", other)
    assert document["tool"]["tshark"].startswith(version)
    assert document["tool"]["hash_source"] == "plugin"
    here = by_capture(once(lambda: audit(captures), "audit of the recorded captures"))
    assert [c.findings for c in by_capture(document)] == [c.findings for c in here]


@pytest.mark.parametrize("version", wiresharks.others())
def test_another_tshark_finds_the_same_carved_and_whole(version: str, joined: bytes, tmp_path: Path) -> None:
    other = str(wiresharks.need(version).tshark)
    path = tmp_path / "joined.pcapng"
    path.write_bytes(joined)
    carved, whole = (audit([path, CUT_SHORT], "--tshark", other, *more) for more in ((), ("--no-carve",)))
    assert carved == whole
    assert carved["summary"]["certificates"] > len(RECORDED)
