"""Test that after any fault during reading, the rest of the audit is correct and the loss is reported."""

from __future__ import annotations

import contextlib
import gzip
import os
import random
import re
import shutil
import signal
import struct
import time
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

import pytest
import zstandard
from tests.conftest import need
from tests.harness.faults.stage import CAPTURES, Audit, audit, copies, shifted, small_disk, tshark_that
from tests.harness.packets import pcap
from tests.harness.waiting import until

if TYPE_CHECKING:
    from tests.harness.faults.stage import Ended
    from tests.harness.once import Once

JSON = ("-f", "json")
SLOWLY = "sleep 60"


def _status(ended: Ended, name: str) -> str:
    found: str = next(c["status"] for c in ended.json["captures"] if Path(c["path"]).name == f"{name}.pcapng")
    return found


def _whole(folder: Path, archive: Path) -> None:
    """The next run with the same cache reads everything."""
    ended = audit(folder, archive, *JSON)
    assert ended.status == 0, ended.err
    assert {capture["status"] for capture in ended.json["captures"]} == {"complete"}
    assert ended.left_behind == []


@pytest.mark.parametrize("number", range(4))
def test_a_tshark_that_is_killed_costs_at_most_its_capture(tmp_path: Path, number: int) -> None:
    archive = copies(tmp_path, "match", "mismatch", "rejected")
    running = Audit(
        tmp_path, archive, *JSON, "-j", "2", "--no-warm"
    )  # sharkd would read captures as small as these
    victim = until(running.tsharks)[0]
    time.sleep(random.Random(number).random() / 2)
    with contextlib.suppress(ProcessLookupError):
        os.kill(victim, signal.SIGKILL)
    ended = running.end()
    # The second attempt is not killed.
    assert ended.status == 0, ended.err
    assert len(ended.json["handshakes"]) == 3
    assert ended.left_behind == []


def test_a_tshark_that_is_always_killed_is_named(tmp_path: Path) -> None:
    archive = copies(tmp_path, "match")
    ended = audit(tmp_path, archive, *JSON, "--tshark", tshark_that(tmp_path, "kill -9 $$"))
    assert ended.status == 2
    assert "ended by signal 9" in ended.err
    assert "match.pcapng" in ended.err
    assert ended.left_behind == []
    _whole(tmp_path, archive)


def test_a_tshark_that_hangs_is_ended(tmp_path: Path) -> None:
    archive = copies(tmp_path, "match", "mismatch")
    # The first process is stopped, and never continues.
    stop = f"if mkdir {quote(str(tmp_path))}/first 2>/dev/null; then kill -STOP $$; fi"
    tmp_path.chmod(0o777)
    running = Audit(
        tmp_path, archive, *JSON, "-j", "1", "--timeout", "10", "--tshark", tshark_that(tmp_path, stop)
    )
    ended = running.end()
    assert ended.status == 2
    assert "exceeded the --timeout" in ended.err
    assert sorted(c["status"] for c in ended.json["captures"]) == ["complete", "truncated"]
    assert ended.left_behind == []
    _whole(tmp_path, archive)


def test_a_tshark_that_eats_memory_meets_a_limit(tmp_path: Path) -> None:
    running = Audit(
        tmp_path, CAPTURES / "match.pcapng", "--no-cache", "--tshark", tshark_that(tmp_path, SLOWLY)
    )
    victim = until(running.tsharks)[0]
    limits = until(lambda: _limits(victim))
    running.process.send_signal(signal.SIGINT)
    running.end()
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert int(limits["Max address space"]) <= max(memory, 2 << 30)
    assert limits["Max core file size"] == "0"
    assert limits["Max open files"] == "64"
    assert int(limits["Max cpu time"]) == 2 * 3600


def _limits(pid: int) -> dict[str, str] | None:
    """Return the limits of a process, after they have been set."""
    lines = Path(f"/proc/{pid}/limits").read_text("utf-8").splitlines()
    limits = {line[:26].strip(): line[26:].split()[0] for line in lines}
    return limits if limits["Max file size"] == "0" else None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has a power to give up")
def test_root_runs_tshark_as_somebody_without_power(tmp_path: Path) -> None:
    running = Audit(
        tmp_path, CAPTURES / "match.pcapng", "--no-cache", "--tshark", tshark_that(tmp_path, SLOWLY)
    )
    victim = until(running.tsharks)[0]
    status = dict(
        line.split(":\t", 1)
        for line in Path(f"/proc/{victim}/status").read_text("utf-8").splitlines()
        if ":\t" in line
    )
    environment = Path(f"/proc/{victim}/environ").read_bytes()
    running.process.send_signal(signal.SIGINT)
    ended = running.end()
    assert "0" not in status["Uid"].split()
    assert "0" not in status["Gid"].split()
    assert status["Groups"].split() == []
    assert int(status["CapEff"], 16) == 0
    assert b"HOME=/root" not in environment
    assert ended.left_behind == []


@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM], ids=lambda s: s.name)
def test_an_interrupted_audit_leaves_nothing_behind(
    tmp_path: Path, number: int, sent: signal.Signals
) -> None:
    archive = copies(tmp_path, "match", "mismatch", "rejected", "dtls")
    slow = () if number else ("--tshark", tshark_that(tmp_path, SLOWLY))
    running = Audit(tmp_path, archive, *JSON, "-j", "2", *slow)
    if number:
        time.sleep(random.Random(number).random() * 1.5)
    else:
        # A tshark that is just being started has no owner yet, and ends with its input.
        until(lambda: len(running.tsharks()) == 2 and all(map(_limits, running.tsharks())))
    running.process.send_signal(sent)
    ended = running.end()
    # Before Python handles the signal, it ends the process; after the work, it is too late.
    early = -sent
    assert ended.status in (2, 0, early), ended.err
    if not number:
        assert ended.status == 2
        assert "interrupted" in ended.err
    assert ended.left_behind == []
    _whole(tmp_path, archive)


def test_a_capture_that_grows_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    archive = copies(tmp_path, "match")
    path = archive / "growing.pcapng"
    content = (CAPTURES / "rejected.pcapng").read_bytes()
    path.write_bytes(content[:-40])
    running = Audit(tmp_path, archive, *JSON)
    until(lambda: running.tsharks() or running.process.poll() is not None)
    with path.open("ab") as file:
        file.write(content[-40:] + content[:50])
    ended = running.end()
    assert ended.status in (0, 2), ended.err
    assert _status(ended, "match") == "complete"
    assert len(ended.json["handshakes"]) == 2
    assert (_status(ended, "growing") == "truncated") == (ended.status == 2)
    path.write_bytes(content)
    _whole(tmp_path, archive)


def test_a_capture_that_vanishes_is_named(tmp_path: Path) -> None:
    archive = copies(tmp_path, "match", "mismatch", "rejected")
    # The first tshark removes the last capture.
    gone = archive / "rejected.pcapng"
    archive.chmod(0o777)
    tool = tshark_that(tmp_path, f"rm -f {quote(str(gone))}")
    ended = audit(tmp_path, archive, *JSON, "-j", "1", "--tshark", tool)
    assert ended.status == 2
    assert "rejected.pcapng" in ended.err
    assert (_status(ended, "match"), _status(ended, "rejected")) == ("complete", "unreadable")
    assert ended.left_behind == []


@pytest.mark.parametrize("what", ["report", "cache"])
def test_a_full_disk_costs_what_was_to_be_written_there(tmp_path: Path, what: str) -> None:
    with small_disk(tmp_path, 16) as disk:
        if disk is None:
            pytest.skip("mounting a small file system takes root with the right to mount")
        (disk / "full").write_bytes(bytes(16384))
        archive = copies(tmp_path, "match", "mismatch")
        if what == "report":
            ended = audit(tmp_path, archive, *JSON, "-o", disk / "report.json", "--no-cache")
            assert ended.status == 2
            assert "No space left" in ended.err
            assert "report.json" in ended.err
        else:
            ended = audit(tmp_path, archive, *JSON, "--cache", disk / "cache.sqlite")
            assert ended.status == 0, ended.err
            assert len(ended.json["handshakes"]) == 2
            assert "the audit continues without it" in ended.err
        assert ended.left_behind == []
        assert not list(disk.glob(".certhash*"))
        assert not (disk / "report.json").exists()


def test_names_of_all_kinds_are_read_and_shown(tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    archive.mkdir()
    names = [
        b"new\nline.pcapng",
        b"not-utf8-\xff\xfe.pcapng",
        b"-f.pcapng",
        b"\x1b[31mred.pcapng",
        b"a b'\".pcapng",
    ]
    for name in names:
        shutil.copy(CAPTURES / "match.pcapng", archive / os.fsdecode(name))
    written = [tmp_path / form for form in ("table", "csv", "html", "junit", "ndjson", "sarif")]
    forms = [word for path in written for word in ("-f", path.name, "-o", path)]
    ended = audit(tmp_path, archive, "-j", "2", *JSON, *forms)
    assert ended.status == 0, ended.err
    assert len({handshake["capture"] for handshake in ended.json["handshakes"]}) == len(names)
    for content in (ended.out, ended.err.encode(), *(path.read_bytes() for path in written)):
        assert b"\x1b[31m" not in content
    assert all(path.stat().st_size for path in written)


def test_ten_thousand_files_that_are_not_captures_are_skipped(tmp_path: Path) -> None:
    archive = copies(tmp_path, "match")
    for number in range(10_000):
        (archive / f"note-{number}").write_bytes(b"%d" % number)
    ended = audit(tmp_path, archive, *JSON)
    assert ended.status == 0, ended.err
    assert ended.json["summary"]["captures"] == 1
    assert "Skipped 10,000 files that are not captures." in ended.err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_capture_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    archive = copies(tmp_path, "match", "mismatch")
    (archive / "match.pcapng").chmod(0)
    ended = audit(tmp_path, archive, *JSON)
    assert ended.status == 2
    assert _status(ended, "match") == "unreadable"
    assert _status(ended, "mismatch") == "complete"


def test_what_lies_in_an_archive_is_never_run(tmp_path: Path) -> None:
    archive = copies(tmp_path, "match")
    witness = tmp_path / "witness"
    script = f"#!/bin/sh\ntouch {witness}\n"
    lua = f'local file = io.open("{witness}", "w") file:close()\n'
    for name in ("tshark", "dumpcap", "sh", "python3"):
        (archive / name).write_text(script)
        (archive / name).chmod(0o755)
    (archive / "config.ini").write_text(f"[tshark]\ntshark_path = {archive}/tshark\n")
    for folder in (".wireshark", ".config/wireshark", ".local/lib/wireshark/plugins", "plugins", "certhash"):
        (archive / folder).mkdir(parents=True)
        (archive / folder / "init.lua").write_text(lua)
        (archive / folder / "preferences").write_text("tcp.desegment_tcp_streams: FALSE\n")
    for name in ("init.lua", "certhash.lua"):
        (archive / name).write_text(lua)
    for name in ("sitecustomize.py", "struct.py"):
        (archive / "certhash" / name).write_text(f"open({str(witness)!r}, 'w')\n")
    ended = audit(tmp_path, ".", *JSON, PATH=f"{os.environ['PATH']}:.", cwd=archive)
    assert ended.status == 0, ended.err
    assert len(ended.json["handshakes"]) == 1
    assert ended.json["handshakes"][0]["certificates"]
    assert not witness.exists()


# -------------------------------------------------------------------------------- a script for a tshark


def test_a_script_round_tshark_that_hangs_is_ended_with_what_it_started(tmp_path: Path) -> None:
    """The script does not exec tshark, but waits for it."""
    script = tshark_that(tmp_path, "sleep 3600; exit 1")
    ended = audit(
        tmp_path, CAPTURES / "match.pcapng", *JSON, "--no-cache", "--timeout", "4", "--tshark", script
    )
    assert ended.status == 2
    assert "exceeded the --timeout" in ended.err
    assert ended.left_behind == []


def test_a_script_round_tshark_that_works_is_as_good_as_tshark(tmp_path: Path) -> None:
    script = tmp_path / "tshark"
    script.write_text(f'#!/bin/sh\n{need("tshark")} "$@"\nexit $?\n')
    script.chmod(0o755)
    arguments = (CAPTURES / "match.pcapng", *JSON, "--no-cache")
    plain, wrapped = audit(tmp_path, *arguments), audit(tmp_path, *arguments, "--tshark", script)
    assert plain.json["handshakes"] == wrapped.json["handshakes"]
    assert wrapped.status == 0, wrapped.err


# ------------------------------------------------------------------------------------------ bombs


HEADER = pcap(())
PACKET = struct.pack("<IIII", 1, 0, 200_000, 200_000) + bytes(200_000)
MANY = 2_500
"""So many are half a gigabyte."""


def _gzip_bomb() -> bytes:
    return gzip.compress(HEADER + PACKET * MANY)


@pytest.mark.parametrize("form", ["gzip", "zstd", "gzip-in-gzip", "capture-that-never-ends"])
def test_a_compressed_bomb_is_read_to_a_bound_and_named(tmp_path: Path, form: str, once: Once) -> None:
    archive = copies(tmp_path, "match")
    if form == "gzip":
        data = once(_gzip_bomb, form)
    elif form == "gzip-in-gzip":
        data = gzip.compress(once(_gzip_bomb, "gzip"))
    elif form == "zstd":
        data = zstandard.compress(HEADER + PACKET * MANY)
    else:
        # A member that claims to be the first of very many members full of packets.
        member = gzip.compress(PACKET * 500)
        data = gzip.compress(HEADER) + member * 200  # twenty gigabytes
    path = archive / "bomb.pcap"
    path.write_bytes(data)
    running = Audit(tmp_path, archive, *JSON, "--timeout", "60")
    largest = 0
    while running.process.poll() is None:
        with contextlib.suppress(OSError):
            status = Path(f"/proc/{running.process.pid}/status").read_text("utf-8")
            found = re.search(r"VmHWM:\s+(\d+) kB", status)
            largest = max(largest, int(found[1]) if found else 0)
        time.sleep(0.02)
    ended = running.end()
    assert ended.status == 2, ended.err
    assert "bomb.pcap" in ended.err
    assert largest < 200_000, f"{largest} kB"
    states = {Path(c["path"]).name: c["status"] for c in ended.json["captures"]}
    assert states["match.pcapng"] == "complete"
    assert states.get("bomb.pcap", "unreadable") != "complete"
    assert ended.left_behind == []


# ------------------------------------------------------------------------------------------ the clock


@pytest.mark.parametrize(
    "shift", [-10 * 365 * 86400, -3600, 10 * 365 * 86400], ids=["years", "hour", "ahead"]
)
def test_wrong_clock_changes_no_verdict_and_loses_no_cache(tmp_path: Path, shift: int) -> None:
    """The files have the times of a right or a wrong clock; the audits use another clock."""
    archive = copies(tmp_path, "match", "rejected")
    changed = archive / "match.pcapng"
    os.utime(changed, (time.time() + 86400, time.time() + 86400))
    first = audit(tmp_path, archive, *JSON, "--cnf", CAPTURES / "cnf")
    otherwise = shifted(tmp_path, shift)
    second = audit(tmp_path, archive, *JSON, "--cnf", CAPTURES / "cnf", PYTHONPATH=otherwise)
    shutil.copy(CAPTURES / "mismatch.pcapng", changed)
    third = audit(tmp_path, archive, *JSON, "--cnf", CAPTURES / "cnf", PYTHONPATH=otherwise)
    fourth = audit(tmp_path, archive, *JSON, "--cnf", CAPTURES / "cnf")
    assert second.json == first.json
    assert (first.status, second.status) == (1, 1)
    # A changed file is read again, whatever the date.
    assert third.json["expectations"] != first.json["expectations"]
    assert fourth.json == third.json
