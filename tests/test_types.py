"""Check the types of all Python here. As a test, it takes one processor while other tests take the others."""

from __future__ import annotations

import subprocess
import sys

from tests.conftest import TOP


def test_types() -> None:
    command = [sys.executable, "-m", "mypy", "--no-error-summary"]
    done = subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
