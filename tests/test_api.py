"""Test the Python API: the documented example works, and no documented name is missing."""

from __future__ import annotations

import doctest
import subprocess
import sys
from pathlib import Path

import pytest

import certhash

ROOT = Path(__file__).parents[1]


def test_the_documented_example_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    tested = doctest.testmod(certhash)
    assert tested.attempted >= 4
    assert tested.failed == 0


def test_everything_that_is_exported_is_there_and_documented() -> None:
    for name in certhash.__all__:
        assert getattr(certhash, name).__doc__


def test_what_is_not_there_is_said_as_python_says_it() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        _ = certhash.nonsense  # type: ignore[attr-defined]


def test_a_saved_result_is_read_again(tmp_path: Path) -> None:
    saved = tmp_path / "result.json"
    arguments = [
        "audit",
        "--no-cache",
        str(ROOT / "captures" / "match.pcapng"),
        "-f",
        "json",
        "-o",
        str(saved),
    ]
    arguments += ["--cnf", str(ROOT / "captures" / "cnf")]
    environment = {"PYTHONPATH": str(ROOT / "scripts"), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    subprocess.run([sys.executable, "-m", "certhash", *arguments], check=False, env=environment)
    captures = [str(ROOT / "captures" / "match.pcapng")]
    assert certhash.load_document(str(saved)) == certhash.audit_captures(
        captures, cnf=[str(ROOT / "captures" / "cnf")]
    )


def test_a_file_that_is_no_result_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text("[]")
    with pytest.raises(certhash.InputError, match=r"result\.json"):
        certhash.load_document(str(path))


def test_importing_certhash_imports_nothing_else() -> None:
    """Commands start fast, because exported names are imported on demand."""
    program = (
        "import sys; sys.path.insert(0, 'scripts'); import certhash; "
        "print(*(name for name in sys.modules if 'certhash.' in name))"
    )
    out = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert out.stdout.strip() == ""
