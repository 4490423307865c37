"""Test audits on a cluster: a real Dask scheduler and two real workers, which the tests kill."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.archive.conftest import Counted
from tests.capture.programs import Programs
from tests.conftest import TOP, certhash
from tests.harness.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

CAPTURES = TOP / "captures"
CNF = CAPTURES / "cnf"


class Cluster:
    """A scheduler and two workers on the loopback interface, each in its own folder.

    Args:
        folder: the parent of their folders.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
        port = self.address.rpartition(":")[2]
        self.scheduler = self._start("scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard")
        how = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--memory-limit", "0")
        self.workers = [
            self._start("worker", self.address, *how, "--local-directory", str(folder / name), "--name", name)
            for name in ("one", "two")
        ]
        until(lambda: self._log().count("Register worker") == 2, "two workers are there")

    def _start(self, *command: str) -> subprocess.Popen[bytes]:
        with (self._folder / "log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "dask", *command],
                stdout=log,
                stderr=log,
                cwd=self._folder,
                env={**os.environ, "PYTHONPATH": str(TOP / "scripts")},
            )

    def _log(self) -> str:
        return (self._folder / "log").read_text("utf-8", "replace")

    def end(self) -> None:
        """Stop the scheduler and the workers."""
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait()


@pytest.fixture(name="cluster")
def _cluster(tmp_path: Path) -> Iterator[Cluster]:
    (tmp_path / "cluster").mkdir()
    cluster = Cluster(tmp_path / "cluster")
    yield cluster
    cluster.end()


def _result(document: Any) -> Any:
    return {key: value for key, value in document.items() if key != "tool"}


def test_a_cluster_finds_what_one_machine_finds(cluster: Cluster) -> None:
    """The paths are relative, and the workers live in other folders."""
    how = ("audit", "captures", "--cnf", "captures/cnf", "--no-cache", "-f", "json")
    there = certhash(*how, "--scheduler", cluster.address, cwd=TOP)
    here = certhash(*how, cwd=TOP)
    assert there.json == here.json
    assert there.err == here.err
    assert there.status == here.status == 1


@pytest.mark.skipif(shutil.which("sharkd") is None, reason="no sharkd: apt-get install wireshark-common")
def test_each_worker_keeps_one_engine_for_all_captures_of_an_audit(cluster: Cluster, tmp_path: Path) -> None:
    programs = Programs()
    for number in range(6):
        shutil.copy(CAPTURES / "match.pcapng", tmp_path / f"{number}.pcapng")
    how = ("audit", tmp_path, "--no-cache", "-f", "json", "--tshark", programs.tshark)
    here = certhash(*how, "--no-warm")
    assert programs.starts.count("tshark -n") == 6
    for _ in range(2):  # the second audit finds nothing of the first
        there = certhash(*how, "--scheduler", cluster.address)
        assert there.json == here.json
        starts = programs.starts
        assert starts[0] == "tshark --version"
        assert set(starts[1:]) == {"sharkd unix:socket"}
        assert len(starts) <= 1 + len(cluster.workers)
        until(lambda: not programs.running, "the workers have ended their engines")


def _begin(*arguments: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "certhash", "audit", "--no-cache", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(TOP / "scripts")},
    )


def test_a_worker_that_is_killed_in_the_middle_costs_nothing(cluster: Cluster, tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    archive.mkdir()
    for number in range(6):
        shutil.copy(CAPTURES / "match.pcapng", archive / f"{number}.pcapng")
    stub = Counted("test -e {folder}/well || exec sleep 300")
    audit = _begin(archive, "--cnf", CNF, "--tshark", stub.path, "--scheduler", cluster.address)
    until(lambda: len(stub.pids) == 2, "both workers read")
    asleep = {_parent(pid): pid for pid in stub.pids}
    (stub.folder / "well").touch()
    lost, other = cluster.workers
    lost.kill()
    for worker in (lost, other):  # the other worker only loses a tshark, and runs it again
        os.kill(asleep[worker.pid], signal.SIGKILL)
    out, err = audit.communicate(timeout=120)
    assert (audit.returncode, err) == (0, "")
    assert re.search(r"\b6 handshakes\b", out), out


def _parent(pid: int) -> int:
    found = re.search(r"^PPid:\s*(\d+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1])


def test_a_scheduler_that_goes_away_is_named(cluster: Cluster) -> None:
    stub = Counted("exec sleep 300")
    audit = _begin(CAPTURES / "match.pcapng", "--tshark", stub.path, "--scheduler", cluster.address)
    until(lambda: stub.pids, "it is being read")
    cluster.scheduler.kill()
    out, err = audit.communicate(timeout=120)
    os.kill(stub.pids[0], signal.SIGKILL)
    assert (audit.returncode, out) == (2, "")
    assert (
        err == f"certhash: --scheduler {cluster.address}: the scheduler went away while captures were read\n"
    )


def test_a_worker_without_the_same_tshark_is_named(cluster: Cluster) -> None:
    """A stub simulates two machines: after the first call it reports another version."""
    stub = Counted()
    other = """#!/bin/sh
if [ "$1" = --version ] && ! mkdir {0}/asked 2>/dev/null; then echo "TShark (Wireshark) 9.9.9."; exit; fi
"""
    stub.path.write_text(stub.path.read_text().replace("#!/bin/sh\n", other.format(stub.folder)))
    capture = CAPTURES / "match.pcapng"
    ended = certhash("audit", capture, "--no-cache", "--tshark", stub.path, "--scheduler", cluster.address)
    assert ended.status == 2
    assert f"the Dask worker on {socket.gethostname()} has tshark 9.9.9; install" in ended.err
    assert len(ended.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("address", "word"),
    [("tcp://127.0.0.1:9", "no Dask scheduler answers"), ("nonsense", "missing port number")],
)
def test_where_no_scheduler_answers_that_is_said(address: str, word: str) -> None:
    ended = certhash("audit", CAPTURES / "match.pcapng", "--no-cache", "--scheduler", address)
    assert ended.status == 2
    assert len(ended.err.splitlines()) == 1
    assert ended.err.startswith(f"certhash: --scheduler {address}: ")
    assert word in ended.err


def test_where_dask_is_missing_the_command_that_installs_it_is_said(tmp_path: Path) -> None:
    (tmp_path / "distributed.py").write_text("raise ImportError\n")
    ended = certhash(
        *("audit", CAPTURES / "match.pcapng", "--no-cache", "--scheduler", "tcp://127.0.0.1:9"),
        PYTHONPATH=f"{tmp_path}:{TOP / 'scripts'}",
    )
    assert (ended.status, ended.err) == (
        2,
        "certhash: --scheduler needs Dask: pip install 'certhash[cluster]'\n",
    )
