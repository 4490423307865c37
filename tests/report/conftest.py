"""Fixtures for report tests: documents, created once, and the command line as users run it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from certhash.report import render

from . import documents

if TYPE_CHECKING:
    from collections.abc import Callable

    from certhash.judgement.document import Document

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture(scope="session")
def everything() -> Document:
    return documents.everything()


@pytest.fixture(scope="session")
def hostile() -> Document:
    return documents.hostile()


@pytest.fixture(scope="session")
def estate() -> Document:
    return documents.estate()


@pytest.fixture
def saved(tmp_path: Path, everything: Document) -> Path:
    """Return a result as `audit -f json -o` writes it."""
    path = tmp_path / "result.json"
    path.write_text(render(everything, "json"), encoding="utf-8")
    return path


@pytest.fixture
def certhash(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[bytes]]:
    """Return a function that runs the command in a separate folder, and returns its output."""

    def run(*arguments: str | Path, **options: object) -> subprocess.CompletedProcess[bytes]:
        unset = ("COLUMNS", "NO_COLOR", "FORCE_COLOR", "TERM")
        environment = {key: value for key, value in os.environ.items() if key not in unset}
        environment |= {"PYTHONPATH": str(SCRIPTS), **dict(options.pop("env", {}))}  # type: ignore[call-overload]
        command = [sys.executable, "-m", "certhash", *(os.fspath(each) for each in arguments)]
        options.setdefault("cwd", tmp_path)
        options.setdefault("stdin", subprocess.DEVNULL)
        if "stdout" not in options:
            options["stdout"] = subprocess.PIPE
        return subprocess.run(  # type: ignore[call-overload,no-any-return]
            command, stderr=subprocess.PIPE, env=environment, check=False, **options
        )

    return run
