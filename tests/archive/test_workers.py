"""Test parallel reading, also when processes are killed: the result equals that of sequential reading."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import time
from ctypes import c_uint64
from multiprocessing.sharedctypes import RawArray
from pathlib import Path
from typing import Any

import pytest

from certhash.archive import workers
from tests.archive.conftest import Counted
from tests.conftest import TOP, certhash
from tests.harness.faults.stage import Audit
from tests.harness.waiting import until

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


def _result(document: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key != "tool"}


def _audit(stub: Counted, *arguments: str | Path) -> Audit:
    """Start an audit with a tshark of its own, and with its own folder and session."""
    options = ("--tshark", stub.path, "--no-cache", "--cnf", CNF, "-f", "json")
    return Audit(stub.folder, *arguments, *options)


def _parent(pid: int) -> int:
    found = re.search(r"^PPid:\s*(\d+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1])


# ---------------------------------------------------------------- order, and how many


def test_however_many_read_at_once_the_result_is_the_same() -> None:
    results = [
        certhash("audit", CAPTURES, "--cnf", CNF, "--no-cache", "-f", "json", "-j", str(jobs)).json
        for jobs in (1, 2, 7)
    ]
    assert len({json.dumps(_result(document)) for document in results}) == 1
    paths = [c["path"] for c in results[0]["captures"]]
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
    audit = _audit(stub, archive, "-j", "2")
    until(lambda: len(stub.pids) == 2)
    (stub.folder / "well").touch()
    os.kill(_parent(stub.pids[0]), signal.SIGKILL)
    ended = audit.end()
    assert (ended.status, {c["status"] for c in ended.json["captures"]}) == (0, {"complete"})
    assert "was killed: reading" in ended.err
    plain = certhash("audit", archive, "--no-cache", "--cnf", CNF, "-f", "json")
    assert _result(ended.json) == _result(plain.json)
    assert not ended.left_behind


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_capture_that_takes_its_worker_down_costs_itself_alone(tmp_path: Path, jobs: str) -> None:
    bad = _archive(tmp_path) / "3.pcapng"
    shutil.copy(CAPTURES / "mismatch.pcapng", bad)
    is_bad = f'test "$(stat -Lc %s /proc/self/fd/0)" = {bad.stat().st_size}'
    stub = Counted(f"{is_bad} && mkdir {{folder}}/bad-$$ && {SLOW}")
    audit = _audit(stub, bad.parent, "--no-carve", "-j", jobs)
    for _ in range(2):
        until(lambda: list(stub.folder.glob("bad-*")))
        (told,) = stub.folder.glob("bad-*")
        told.rmdir()
        pid = int(told.name.removeprefix("bad-"))
        os.kill(_parent(pid), signal.SIGKILL)
        os.kill(pid, signal.SIGKILL)
    ended = audit.end()
    statuses = {Path(c["path"]).name: c["status"] for c in ended.json["captures"]}
    assert statuses.pop(bad.name) == "unreadable"
    assert list(statuses.values()) == ["complete"] * 5
    (problem,) = ended.json["problems"]
    assert problem["path"] == str(bad)
    assert "was killed twice" in problem["message"]
    assert ended.status == 2
    assert not ended.left_behind


# ---------------------------------------------------------------- interrupted


@pytest.mark.parametrize("jobs", ["1", "2"])
@pytest.mark.parametrize("which", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_audit_tells_what_is_known_and_leaves_nothing(
    tmp_path: Path, jobs: str, which: signal.Signals
) -> None:
    stub = Counted(f"mkdir {{folder}}/first 2>/dev/null || {SLOW}")
    audit = _audit(stub, _archive(tmp_path), "-j", jobs)
    until(lambda: len(stub.pids) == 1 + int(jobs))
    assert audit.left
    if which == signal.SIGINT:
        os.killpg(audit.process.pid, which)  # as a terminal does
    else:
        audit.process.send_signal(which)
    ended = audit.end()
    assert ended.status == 2
    assert len(ended.json["captures"]) == 1
    assert ended.json["summary"]["match"] == 1
    message = "interrupted after 1 of 6 captures: the result is partial"
    assert ended.json["problems"] == [{"path": "", "message": message}]
    assert message in ended.err
    assert not ended.left_behind


def test_impatience_changes_nothing(tmp_path: Path) -> None:
    """Pressing Ctrl-C several times leaves nothing behind."""
    stub = Counted(SLOW)
    audit = _audit(stub, _archive(tmp_path), "-j", "2")
    until(lambda: len(stub.pids) == 2)
    for _ in range(20):
        if audit.process.poll() is None:
            os.killpg(audit.process.pid, signal.SIGINT)
        time.sleep(0.01)
    ended = audit.end()
    assert ended.status == 2
    assert "interrupted" in ended.err
    assert not ended.left_behind


def test_workers_do_not_outlive_an_audit_that_is_killed(tmp_path: Path) -> None:
    stub = Counted(SLOW)
    audit = _audit(stub, _archive(tmp_path), "-j", "2")
    until(lambda: len(stub.pids) == 2)
    audit.process.kill()
    audit.process.communicate()
    until(lambda: not audit.left)


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
