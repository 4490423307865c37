"""Test that what scripts/setup.sh cannot do is one line, and that a second run waits for the first."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.conftest import TOP, need

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Give a folder with what the script reads."""
    folder = tmp_path / "clone"
    (folder / "scripts").mkdir(parents=True)
    shutil.copy(TOP / "scripts" / "setup.sh", folder / "scripts")
    shutil.copy(TOP / "pyproject.toml", folder)
    folder.chmod(0o555)  # nobody but root may write in it
    return folder


def started(clone: Path, command: str, *before: str, **environment: str) -> subprocess.Popen[str]:
    """Start a shell that has read the script."""
    code = f"set -euo pipefail; . '{clone}/scripts/setup.sh'; {command}"
    return subprocess.Popen(
        [*before, "bash", "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHON": sys.executable, **environment},
    )


def test_a_disk_without_space_for_a_file_is_named(clone: Path, tmp_path: Path) -> None:
    missing = str(tmp_path / "missing")
    shell = started(clone, "logged true", TMPDIR=missing)
    _, said = shell.communicate(timeout=60)
    assert shell.returncode == 2
    assert said == f"certhash: no file can be written in {missing}: free some space, or set TMPDIR\n"


def test_a_folder_that_may_not_be_written_is_named(clone: Path) -> None:
    as_nobody = [need("setpriv"), "--reuid=65534", "--regid=65534", "--clear-groups"]
    shell = started(clone, "need_environment ''", *(as_nobody if os.geteuid() == 0 else []), PYTHON="python3")
    _, said = shell.communicate(timeout=60)
    assert shell.returncode == 2
    assert said == f"certhash: {clone} may not be written; clone it into a folder of yours\n"


def test_a_second_run_waits_for_the_first(clone: Path) -> None:
    clone.chmod(0o755)
    (clone / ".venv").mkdir()
    with (clone / ".venv.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        shell = started(clone, "need_environment '[test]'; echo done")
        assert shell.stderr is not None
        assert shell.stderr.readline().endswith("; waiting for it\n")
        version = subprocess.run([sys.executable, "--version"], capture_output=True, text=True, check=True)
        with (clone / "pyproject.toml").open("rb") as project:
            sums = subprocess.run(["cksum"], stdin=project, capture_output=True, text=True, check=True)
        made = f"[test] {version.stdout.strip()} {clone} {sums.stdout.strip()}\n"
        (clone / ".venv" / ".made-fortest").write_text(made)  # as the first run does at its end
    out, said = shell.communicate(timeout=60)
    assert (shell.returncode, out, said) == (0, "done\n", "")
