"""Check the types of all Python here. As a test, it takes one processor while other tests take the others.

What mypy finds out about libraries and unchanged files serves every clone: it takes a minute for a new one.
"""

from __future__ import annotations

import subprocess
import sys

from tests.conftest import TOP
from tests.harness.wiresharks import cache_folder


def test_types() -> None:
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--no-error-summary",
        "--cache-dir",
        str(cache_folder() / "mypy"),
    ]
    done = subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
