"""A newer tshark shows the audit the same certificates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.conftest import TOP
from tests.fidelity.compare import audit, by_capture
from tests.plugin import debian13

if TYPE_CHECKING:
    from pathlib import Path


def test_tshark_4_4_finds_what_tshark_4_0_finds_carved_and_whole(tmp_path: Path) -> None:
    newer = debian13.tshark(tmp_path)
    captures = [TOP / "captures", TOP / "tests" / "captures"]
    document = audit(captures, "--tshark", str(newer))
    assert document["tool"]["tshark"].startswith("4.4")
    assert document["tool"]["hash_source"] == "plugin"
    whole = audit(captures, "--no-carve", "--tshark", str(newer))
    assert document == whole
    here = by_capture(audit(captures))
    assert [c.findings for c in by_capture(document)] == [c.findings for c in here]
