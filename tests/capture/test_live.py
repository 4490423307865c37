"""Test live captures with misbehaving programs: each problem is one line, and no process is left running."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from certhash.capture import columns
from certhash.capture.splice import SECTION, Splice
from certhash.capture.tshark import SEPARATOR
from tests.conftest import TOP, certhash, need
from tests.harness import live_network, permitted
from tests.harness.live_network import Watch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from certhash.capture.records import Row

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="capturing and namespaces need root: use sudo")


@pytest.fixture(name="network", scope="module")
def _network() -> Iterator[str]:
    permitted.namespaces()
    with live_network.namespace() as name:
        yield name


def programs(folder: Path, **instead: str) -> Path:
    """Write wrappers of tshark and dumpcap with additional shell commands, and return the one of tshark."""
    for name in ("tshark", "dumpcap"):
        path = folder / name
        path.write_text(f'#!/bin/sh\n{instead.get(name, "")}\nexec {need(name)} "$@"\n')
        path.chmod(0o755)
    return folder / "tshark"


def test_interfaces_that_cannot_be_listed_are_one_line(tmp_path: Path) -> None:
    found = programs(tmp_path, tshark='case "$*" in *-D*) exit 3 ;; esac')
    ended = certhash("watch", "lo", "--tshark", found)
    assert ended.status == 2
    (said,) = ended.err.splitlines()
    assert "the interfaces cannot be listed" in said


def test_a_dumpcap_that_may_not_be_run_is_replaced_by_another(tmp_path: Path) -> None:
    found = programs(tmp_path)
    (tmp_path / "dumpcap").chmod(0o644)
    ended = certhash("watch", "nosuch0", "--tshark", found)
    assert ended.status == 2
    assert "nosuch0" in ended.err  # it finds another dumpcap, and the interface does not exist


@as_root
@pytest.mark.parametrize(
    ("beside", "says"),
    [
        pytest.param(True, "this user has no permission to run it; r", id="closed"),
        pytest.param(False, "dumpcap is not installed; install it: apt-get install", id="none"),
    ],
)
def test_without_a_dumpcap_one_line_says_what_to_do(tmp_path: Path, beside: bool, says: str) -> None:
    """In a separate mount namespace, no dumpcap of this machine is executable."""
    permitted.mounts()
    found, closed = programs(tmp_path), tmp_path / "closed"
    closed.touch(mode=0o644)
    (tmp_path / "dumpcap").chmod(0o644)
    if not beside:
        (tmp_path / "dumpcap").unlink()
    folders = [*os.environ["PATH"].split(os.pathsep), "/usr/sbin", "/usr/bin"]
    there = {path.resolve() for path in (Path(each, "dumpcap") for each in folders) if path.exists()}
    hide = "; ".join(f"mount --bind '{closed}' '{path}'" for path in there)
    command = [sys.executable, "-m", "certhash", "watch", "lo", "--tshark", str(found)]
    ended = subprocess.run(
        [need("unshare"), "--mount", "sh", "-ec", f'{hide}; exec "$@"', "sh", *command],
        capture_output=True,
        check=False,
        text=True,
        env={**os.environ, "PYTHONPATH": str(TOP / "scripts")},
    )
    assert ended.returncode == 2
    (said,) = ended.stderr.splitlines()
    assert says in said


@as_root
def test_a_tshark_that_always_fails_is_given_up(network: str, tmp_path: Path) -> None:
    fails = 'case "$*" in *"-r -"*|*"-i -"*) echo "tshark: out of paper" >&2; exit 1 ;; esac'
    with Watch(network, "lo", "--tshark", programs(tmp_path, tshark=fails)) as watch:
        said, complained = watch.process.communicate(timeout=120)
    assert watch.process.returncode == 2, complained.decode()
    assert b"stopped: tshark failed 3 times" in complained
    assert b"out of paper" in complained
    assert b"Traceback" not in complained
    assert b"Coverage" in said


@as_root
def test_what_tshark_complains_of_is_told_once(network: str, tmp_path: Path) -> None:
    words = 'echo >&2; for i in 1 2; do echo "Lua: something is wrong" >&2; done'
    complains = f'case "$*" in *"-r -"*|*"-i -"*) {words} ;; esac'
    with Watch(network, "lo", "--tshark", programs(tmp_path, tshark=complains)) as watch:
        watch.wait_until_ready()
        assert watch.end() == 2
    assert watch.complained.count("Lua: something is wrong") == 1


@as_root
@pytest.mark.parametrize(
    "block",
    [
        pytest.param(struct.pack("=III", SECTION, 10, 0x1A2B3C4D), id="length"),
        pytest.param(b"this is no capture but words, said by somebody else", id="words"),
    ],
)
def test_a_dumpcap_that_writes_no_capture_is_named(network: str, tmp_path: Path, block: bytes) -> None:
    (tmp_path / "block").write_bytes(block)
    writes = f'case "$*" in *"-w -"*) cat {tmp_path}/block; exec sleep 100 ;; esac'
    with Watch(network, "lo", "--tshark", programs(tmp_path, dumpcap=writes)) as watch:
        complained = watch.process.communicate(timeout=120)[1]
    assert watch.process.returncode == 2
    assert b"Traceback" not in complained
    assert b"dumpcap" in complained


def row(frame: int, client: int) -> Row:
    cells = dict.fromkeys(columns.names(plugin=False), "")
    cells |= {"frame.number": str(frame), "frame.time_epoch": "1.0", "frame.protocols": "eth:ip:tcp"}
    cells |= {"ip.src": f"10.{client >> 16}.{client >> 8 & 255}.{client & 255}", "ip.dst": "192.0.2.1"}
    cells |= {"tcp.stream": str(client), "tcp.srcport": "40000", "tcp.dstport": "443"}
    return columns.parse(SEPARATOR.join(cells.values()), plugin=False)


def test_connections_of_long_ago_are_forgotten_and_never_taken_for_others() -> None:
    splice = Splice()
    numbers: set[int | None] = set()
    packets = 0
    for shift in range(4):
        splice.begin(packets, again=0)
        for frame in range(1, 10_001):
            told = splice.row(row(frame, shift * 10_000 + frame))
            assert told is not None
            numbers.add(told.stream)
        packets += 10_000
    assert len(numbers) == 40_000
    splice.begin(packets, again=0)
    recent, old = splice.row(row(1, 39_999)), splice.row(row(2, 5))
    assert recent is not None
    assert old is not None
    assert recent.stream in numbers
    assert old.stream not in numbers
