"""A newer tshark shows the audit the same certificates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conftest import TOP
from tests.fidelity.compare import audit, by_capture
from tests.plugin import debian13

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(name="newer")
def _newer(tmp_path: Path) -> Path:
    """Return tshark 4.4, which runs with the libraries of the system that it is from."""
    root = debian13.tree()
    libraries = f"{root}/usr/lib/x86_64-linux-gnu"
    loader = f"{root}/lib64/ld-linux-x86-64.so.2 --library-path {libraries}"
    program = tmp_path / "tshark"
    program.write_text(f'#!/bin/sh\nexec {loader} {root}/usr/bin/tshark "$@"\n')
    program.chmod(0o755)
    return program


def test_tshark_4_4_finds_what_tshark_4_0_finds_carved_and_whole(newer: Path) -> None:
    captures = [TOP / "captures", TOP / "tests" / "captures"]
    document = audit(captures, "--tshark", str(newer))
    assert document["tool"]["tshark"].startswith("4.4")
    assert document["tool"]["hash_source"] == "plugin"
    whole = audit(captures, "--no-carve", "--tshark", str(newer))
    assert document == whole
    here = by_capture(audit(captures))
    assert [c.findings for c in by_capture(document)] == [c.findings for c in here]
