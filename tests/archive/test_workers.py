"""Test parallel reading, also when processes are killed: the result equals that of sequential reading."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from ctypes import c_uint64
from multiprocessing.sharedctypes import RawArray
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from certhash.archive import workers
from tests.archive.conftest import Counted
from tests.conftest import TOP, certhash

if TYPE_CHECKING:
    from collections.abc import Callable

CAPTURES = TOP / "captures"
CNF = CAPTURES / "cnf"
SLOW = "exec sleep 300"
"""The shell commands of a tshark that waits to be interrupted."""


def _archive(folder: Path, count: int = 6) -> Path:
    """Return a folder with copies of one capture; the first one is named so that it is read first."""
    archive = folder / "archive"
    archive.mkdir()
    for number in range(count):
        shutil.copy(CAPTURES / "match.pcapng", archive / f"{number}.pcapng")
    return archive


def _result(text: str) -> Any:
    return {key: value for key, value in json.loads(text).items() if key != "tool"}


class Audit:
    """A running audit with its own temporary folder and session, so that anything left behind is visible.

    Args:
        stub: the tshark to use.
        arguments: those of `certhash audit`.
    """

    def __init__(self, stub: Counted, *arguments: str | Path) -> None:
        self.temporary = stub.folder / "temporary"
        self.temporary.mkdir()
        self.temporary.chmod(0o777)
        self._mark = f"CERTHASH_TEST={stub.folder}"
        name, _, value = self._mark.partition("=")
        command = [
            sys.executable,
            "-m",
            "certhash",
            "audit",
            *arguments,
            "--tshark",
            stub.path,
            "--no-cache",
            "--cnf",
            CNF,
            "-f",
            "json",
        ]
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={
                **os.environ,
                "PYTHONPATH": str(TOP / "scripts"),
                "TMPDIR": str(self.temporary),
                name: value,
            },
        )

    @property
    def left(self) -> list[str]:
        """Return its processes and temporary files."""
        folders = [path.name for path in self.temporary.iterdir()] if self.temporary.exists() else []
        # tshark has a separate environment, which names the folder that it runs in.
        running = [
            _command(pid)
            for pid in _processes()
            if self._mark in _environment(pid) or str(self.temporary) in _environment(pid)
        ]
        return folders + running

    def end(self) -> tuple[int, str, str]:
        """Wait for its end; return the exit status, the result and the messages."""
        out, err = self.process.communicate(timeout=180)
        assert "Traceback" not in err, err
        return self.process.returncode, out, err


def _parent(pid: int) -> int:
    found = re.search(r"^PPid:\s*(\d+)$", _read(f"/proc/{pid}/status"), re.MULTILINE)
    assert found
    return int(found[1])


def _processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]  # noqa: PTH208


def _environment(pid: int) -> str:
    return _read(f"/proc/{pid}/environ")


def _command(pid: int) -> str:
    return _read(f"/proc/{pid}/cmdline")


def _read(path: str) -> str:
    try:
        return Path(path).read_bytes().replace(b"\0", b"\n").decode("utf-8", "replace")
    except OSError:
        return ""  # it has ended, or belongs to another user


def _until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 180
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


# ---------------------------------------------------------------- order, and how many


def test_however_many_read_at_once_the_result_is_the_same() -> None:
    results = [
        certhash("audit", CAPTURES, "--cnf", CNF, "--no-cache", "-f", "json", "-j", str(jobs)).out
        for jobs in (1, 2, 7)
    ]
    assert len({json.dumps(_result(text)) for text in results}) == 1
    paths = [c["path"] for c in json.loads(results[0])["captures"]]
    assert paths == sorted(paths)
    assert len(paths) > 7


def test_as_many_are_read_at_once_as_asked_for(tmp_path: Path) -> None:
    """Each tshark waits until three are running: with fewer workers, none would end."""
    stub = Counted("while [ $(ls {folder}/runs | wc -l) -lt 3 ]; do sleep 0.05; done")
    ended = certhash("audit", _archive(tmp_path, 3), "--no-cache", "-j", "3", "--tshark", stub.path)
    assert ended.status == 0, ended.err


# ---------------------------------------------------------------- killed


def test_a_tshark_that_is_killed_is_run_once_more(tmp_path: Path) -> None:
    stub = Counted("mkdir {folder}/first 2>/dev/null && kill -9 $$")
    ended = certhash(
        "audit", _archive(tmp_path, 3), "--no-cache", "--cnf", CNF, "--tshark", stub.path, "-f", "json"
    )
    assert (ended.status, ended.err) == (0, "")
    assert stub.runs == 4
    assert {c["status"] for c in ended.json["captures"]} == {"complete"}


def test_a_worker_that_is_killed_costs_no_capture(tmp_path: Path) -> None:
    stub = Counted(f"test -e {{folder}}/well || {SLOW}")
    archive = _archive(tmp_path)
    audit = Audit(stub, archive, "-j", "2")
    _until(lambda: len(stub.pids) == 2, "two tsharks run")
    (stub.folder / "well").touch()
    os.kill(_parent(stub.pids[0]), signal.SIGKILL)
    status, out, err = audit.end()
    assert (status, {c["status"] for c in json.loads(out)["captures"]}) == (0, {"complete"})
    assert "was killed: reading" in err
    plain = certhash("audit", archive, "--no-cache", "--cnf", CNF, "-f", "json")
    assert _result(out) == _result(plain.out)
    assert not audit.left


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_capture_that_takes_its_worker_down_costs_itself_alone(tmp_path: Path, jobs: str) -> None:
    bad = _archive(tmp_path) / "3.pcapng"
    shutil.copy(CAPTURES / "mismatch.pcapng", bad)
    is_bad = f'test "$(stat -Lc %s /proc/self/fd/0)" = {bad.stat().st_size}'
    stub = Counted(f"{is_bad} && mkdir {{folder}}/bad-$$ && {SLOW}")
    audit = Audit(stub, bad.parent, "--no-carve", "-j", jobs)
    for _ in range(2):
        _until(lambda: list(stub.folder.glob("bad-*")), "the bad capture is read")
        (told,) = stub.folder.glob("bad-*")
        told.rmdir()
        pid = int(told.name.removeprefix("bad-"))
        os.kill(_parent(pid), signal.SIGKILL)
        os.kill(pid, signal.SIGKILL)
    status, out, _ = audit.end()
    statuses = {Path(c["path"]).name: c["status"] for c in json.loads(out)["captures"]}
    assert statuses.pop(bad.name) == "unreadable"
    assert list(statuses.values()) == ["complete"] * 5
    (problem,) = json.loads(out)["problems"]
    assert problem["path"] == str(bad)
    assert "was killed twice" in problem["message"]
    assert status == 2
    assert not audit.left


# ---------------------------------------------------------------- interrupted


@pytest.mark.parametrize("jobs", ["1", "2"])
@pytest.mark.parametrize("which", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_audit_tells_what_is_known_and_leaves_nothing(
    tmp_path: Path, jobs: str, which: signal.Signals
) -> None:
    stub = Counted(f"mkdir {{folder}}/first 2>/dev/null || {SLOW}")
    audit = Audit(stub, _archive(tmp_path), "-j", jobs)
    _until(lambda: len(stub.pids) == 1 + int(jobs), "one capture was read, the next are being read")
    assert audit.left
    if which == signal.SIGINT:
        os.killpg(audit.process.pid, which)  # as a terminal does
    else:
        audit.process.send_signal(which)
    status, out, err = audit.end()
    assert status == 2
    document = json.loads(out)
    assert len(document["captures"]) == 1
    assert document["summary"]["match"] == 1
    message = "interrupted after 1 of 6 captures: the result is partial"
    assert document["problems"] == [{"path": "", "message": message}]
    assert message in err
    assert not audit.left


def test_impatience_changes_nothing(tmp_path: Path) -> None:
    """Pressing Ctrl-C several times leaves nothing behind."""
    stub = Counted(SLOW)
    audit = Audit(stub, _archive(tmp_path), "-j", "2")
    _until(lambda: len(stub.pids) == 2, "two captures are being read")
    for _ in range(20):
        if audit.process.poll() is None:
            os.killpg(audit.process.pid, signal.SIGINT)
        time.sleep(0.01)
    status, _, err = audit.end()
    assert status == 2
    assert "interrupted" in err
    assert not audit.left


def test_workers_do_not_outlive_an_audit_that_is_killed(tmp_path: Path) -> None:
    stub = Counted(SLOW)
    audit = Audit(stub, _archive(tmp_path), "-j", "2")
    _until(lambda: len(stub.pids) == 2, "two captures are being read")
    audit.process.kill()
    audit.process.communicate()
    _until(lambda: not audit.left, "all has ended")


@pytest.mark.parametrize(
    "error", [ValueError("I/O operation on closed file"), OSError(9, "Bad file descriptor")]
)
def test_reading_the_position_of_a_closed_capture_raises_no_error(error: Exception) -> None:
    """The polling thread also ends the worker when its parent is killed, so it must survive an error."""

    class Closing(io.BytesIO):
        def tell(self) -> int:
            raise error

    worker = object.__new__(workers._Worker)  # noqa: SLF001 - without its thread
    worker._positions, worker._slot = RawArray(c_uint64, 1), 0
    worker.take(Closing())
    worker.note_position()
