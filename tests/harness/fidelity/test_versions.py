"""Test that the audit finds the same certificates with every version of tshark."""

from __future__ import annotations

import pytest
from tests.conftest import TOP
from tests.harness import wiresharks
from tests.harness.fidelity.compare import audit, by_capture


@pytest.mark.parametrize("version", wiresharks.others())
def test_another_tshark_finds_the_same_carved_and_whole(version: str) -> None:
    other = str(wiresharks.need(version).tshark)
    captures = [TOP / "captures", TOP / "tests" / "captures"]
    document = audit(captures, "--tshark", other)
    assert document["tool"]["tshark"].startswith(version)
    assert document["tool"]["hash_source"] == "plugin"
    whole = audit(captures, "--no-carve", "--tshark", other)
    assert document == whole
    here = by_capture(audit(captures))
    assert [c.findings for c in by_capture(document)] == [c.findings for c in here]
