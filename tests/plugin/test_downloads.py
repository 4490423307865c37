"""Test configuration files that a phone downloads in the capture, in real and in difficult transfers.

Each Wireshark reads one capture of all the generated transfers. Each case has phones of its own in it.
"""

from __future__ import annotations

import os
import random
import shutil
import struct
import subprocess
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest
from tests.conftest import certhash
from tests.harness import packets
from tests.harness.packets import OTHER_PHONE, PHONE, TFTP_SERVER, pcap, transfer
from tests.harness.waiting import until
from tests.plugin.conftest import FARTHEST
from tests.plugin.downloads import (
    CASES,
    CHANGED,
    DEFAULT,
    FAILED,
    FILE,
    NAME,
    NAMES,
    NOT_FOUND,
    ONCE,
    OTHER,
    PIPELINED,
    SIMPLE,
    Case,
    Shown,
    asks,
    exchange,
    get,
    in_turns,
    one_by_one,
    plain,
)

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from tests.harness.once import Once
    from tests.plugin.machines import Machine


def read(place: Machine, cases: Collection[Case]) -> list[list[Shown]]:
    """Return what the plugin shows of each case, in one capture of all of them; both passes must agree."""
    frames: list[bytes] = []
    cases_of: list[tuple[int, int]] = []
    known = {}
    for number, case in enumerate(cases):
        cases_of += [(number, frame) for frame in range(1, len(case.frames) + 1)]
        moved = case.frames
        for phone, last in ((PHONE, 2 * number), (OTHER_PHONE, 2 * number + 1)):
            address = ip_address(f"198.51.100.{last}")
            known[str(address)] = phone
            moved = [frame.replace(ip_address(phone).packed, address.packed) for frame in moved]
        frames += moved
    capture = place.put("transfers.pcap", pcap(frames))
    rows = place.fields(capture, *NAMES, "certhash.cnf_failed")
    assert place.fields(capture, *NAMES, "certhash.cnf_failed", options=("-2",)) == rows
    shown: list[list[Shown]] = [[] for _ in cases]
    for row in rows:
        number, frame = cases_of[int(row["frame.number"][0]) - 1]
        name, content, client, server = (row[field][0] if row[field] else "" for field in NAMES)
        file = (name, bytes.fromhex(content), known[client]) if name else None
        shown[number].append(Shown(frame, file, server, row["certhash.cnf_failed"]))
    return shown


@pytest.fixture(name="shown")
def _shown(place: Machine, once: Once) -> dict[str, list[Shown]]:
    """Return what this Wireshark shows of each case."""
    shown = once(lambda: read(place, CASES.values()), "transfers", place.name)
    return dict(zip(CASES, shown, strict=True))


@pytest.mark.parametrize("case", CASES)
def test_files_are_learned(shown: dict[str, list[Shown]], case: str) -> None:
    assert [each.file for each in shown[case] if each.file] == CASES[case].files


def test_it_is_shown_on_the_last_block(shown: dict[str, list[Shown]]) -> None:
    (row,) = shown["simple"]
    assert (row.frame, row.server) == (len(SIMPLE) - 1, TFTP_SERVER)


@pytest.mark.parametrize("name", FAILED)
def test_a_file_that_a_phone_does_not_get_is_shown(shown: dict[str, list[Shown]], name: str) -> None:
    assert sum(len(each.failed) for each in shown[f"failed: {name}"]) == FAILED[name][2]


@pytest.mark.parametrize("name", PIPELINED)
def test_what_was_asked_for_at_once_is_named(shown: dict[str, list[Shown]], name: str) -> None:
    """No phone may get the file of another one."""
    failed = [text for each in shown[f"at once: {name}"] for text in each.failed]
    assert NAME in failed[0]
    assert any(OTHER in text for text in failed)


def test_other_files_asked_for_at_once_are_no_matter(shown: dict[str, list[Shown]]) -> None:
    assert shown["HTTP: requests for other files at once"] == []


def test_cut_blocks_bring_no_file(place: Machine) -> None:
    capture = place.put("cut.pcap", pcap(SIMPLE, snaplen=200))
    assert place.fields(capture, *NAMES) == place.fields(capture, *NAMES, options=("-2",)) == []


@pytest.mark.parametrize(
    ("place", "first_after_wrap"),
    [("this-machine", 0), pytest.param(*FARTHEST.values, 1, marks=FARTHEST.marks)],
    indirect=["place"],
)
def test_block_numbers_that_start_again(place: Machine, first_after_wrap: int) -> None:
    content = random.Random(9).randbytes(8 * 65540 + 3)
    frames = transfer(NAME, content, size=8)[:3]
    ends = TFTP_SERVER, 32769, PHONE, 49300
    like_all = packets.udp(*ends, bytes(12))  # but for the last one
    headers, padding = like_all[:42], like_all[54:]
    for block in range(1, 65541):
        number = block if block < 65536 else block - 65536 + first_after_wrap
        data = struct.pack("!HH", 3, number) + content[(block - 1) * 8 : block * 8]
        frames.append(headers + data + padding)
    frames.append(packets.udp(*ends, struct.pack("!HH", 3, 5 + first_after_wrap) + content[-3:]))
    (row,) = place.fields(place.put("wrap.pcap", pcap(frames)), "certhash.cnf_content")
    assert bytes.fromhex(row["certhash.cnf_content"][0]) == content


def test_large_files(place: Machine) -> None:
    """Of 3 MB, it is shown why nothing is learned from it; more than 4 MB are not kept."""
    frames = transfer(OTHER, bytes(4 * 1024 * 1024 + 1), client=OTHER_PHONE, size=8192)
    frames += transfer(NAME, FILE.ljust(3_000_000), size=8192)
    capture = place.put("large.pcap", pcap(frames))
    (row,) = place.fields(capture, "certhash.cnf_downloaded", "certhash.cnf_problem")
    assert row["certhash.cnf_downloaded"] == [NAME]
    assert row["certhash.cnf_problem"] == ["it has 3 MB; a phone's configuration has only some kilobytes"]


def test_many_that_never_end(place: Machine) -> None:
    """Unfinished transfers are dropped in favour of newer ones."""
    never = (
        transfer(f"SEP{number:012X}.cnf.xml", FILE, client_port=10000 + number)[:2] for number in range(1500)
    )
    frames = [*one_by_one(never), *transfer(NAME, FILE, client_port=60000)]
    (shown,) = read(place, [Case(frames, ONCE)])
    assert [each.file for each in shown] == ONCE


THE_END = b"<!-- the end -->"
REAL_FILE = FILE + THE_END


@pytest.fixture(scope="session", name="recorded")
def _recorded(once: Once, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return a capture of Debian's tftpd-hpa and curl, recorded by dumpcap on the loopback."""
    return once(lambda: record(tmp_path_factory.mktemp("tftp")), "recorded transfers")


def record(folder: Path) -> bytes:
    """Record how curl gets a file twice, in blocks of two sizes."""
    for program, package in {"in.tftpd": "tftpd-hpa", "curl": "curl", "dumpcap": "tshark"}.items():
        assert shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin"), f"apt-get install {package}"
    served, capture, got = folder / "served", folder / "real.pcapng", folder / "got"
    served.mkdir()
    (served / NAME).write_bytes(REAL_FILE)
    (served / NAME).chmod(0o644)
    # A separate loopback address, because other tests transfer files at the same time.
    address, port = f"127.{os.getpid() >> 16}.{os.getpid() >> 8 & 255}.{os.getpid() & 255}", "16969"
    server = subprocess.Popen(
        ["/usr/sbin/in.tftpd", "-L", "--user", "nobody", "--address", f"{address}:{port}", "--secure", served]
    )
    recorder = subprocess.Popen(
        ["dumpcap", "-q", "-i", "lo", "-f", f"udp and host {address}", "-w", capture],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert recorder.stderr
        while not (line := recorder.stderr.readline()).startswith("File:"):
            assert line, "dumpcap could not start"
        for size in ("512", "1200"):
            fetch = ["curl", "-s", "--retry", "20", "--retry-all-errors", "--tftp-blksize", size, "-o", got]
            subprocess.run([*fetch, f"tftp://{address}:{port}/{NAME}"], check=True)
            assert got.read_bytes() == REAL_FILE
        # dumpcap takes packets from the kernel in batches.
        until(lambda: capture.read_bytes().count(THE_END) == 2, "the last block of both transfers")
    finally:
        recorder.terminate()
        recorder.wait()
        server.terminate()
        server.wait()
    return capture.read_bytes()


def test_real_tftp_server(place: Machine, recorded: bytes) -> None:
    rows = place.fields(place.put("real.pcapng", recorded), *NAMES)
    assert [bytes.fromhex(row["certhash.cnf_content"][0]) for row in rows] == [REAL_FILE, REAL_FILE]


# ------------------------------------------------------------------------------ what the audit says of it


def test_the_audit_names_what_was_asked_for_at_once(tmp_path: Path) -> None:
    for name, turns in PIPELINED.items():
        (tmp_path / f"{name}.pcap").write_bytes(pcap(exchange(*turns)))
    ended = certhash("audit", tmp_path, "-f", "json", "--no-cache")
    assert ended.status == 2
    assert ended.json["expectations"] == []
    for name in PIPELINED:
        path = str(tmp_path / f"{name}.pcap")
        said = " ".join(each["message"] for each in ended.json["problems"] if each["path"] == path)
        assert NAME in said
        assert OTHER in said
        assert "several HTTP requests were sent at once" in said


@pytest.mark.parametrize(("frames", "wanted"), [case[:2] for case in FAILED.values()], ids=FAILED.keys())
def test_a_file_that_a_phone_does_not_get(
    tmp_path: Path, frames: list[bytes], wanted: tuple[str, int, int | None] | None
) -> None:
    """It is shown as a possible reason for an older file, and changes no verdict."""
    (tmp_path / "cnf").mkdir()
    (tmp_path / "cnf" / NAME).write_bytes(FILE)
    (tmp_path / "failed.pcap").write_bytes(pcap(frames))
    ended = certhash("audit", tmp_path / "failed.pcap", "--cnf", tmp_path / "cnf", "-f", "json", "--no-cache")
    assert ended.status == 0
    (expectation,) = ended.json["expectations"]
    assert expectation["verdict"] == "unseen"
    found = expectation["failed_download"]
    told = [each for each in expectation["warnings"] if each.startswith("the phone may ")]
    if wanted is None:
        assert found is None
        assert told == []
    else:
        assert (found["reason"], found["frame"], found["code"]) == wanted
        assert len(told) == 1
        assert NAME in told[0]


def test_files_for_one_port_of_the_phone_at_once(tmp_path: Path) -> None:
    """The audit names both, and what became of the same file for another phone."""
    other = transfer("XMLDefault.cnf.xml", CHANGED, client=OTHER_PHONE)[:2]
    (tmp_path / "at once.pcap").write_bytes(pcap([*other, *in_turns(SIMPLE, DEFAULT)]))
    ended = certhash("audit", tmp_path / "at once.pcap", "-f", "json", "--no-cache")
    (problem,) = ended.json["problems"]
    assert problem["message"] == (
        f"frame 5: {NAME}, XMLDefault.cnf.xml not read: several TFTP requests were sent at once, and which "
        "response answers which is not certain; give the file itself with --cnf"
    )
    assert ended.json["expectations"] == []
    (note,) = ended.json["captures"][0]["notes"]
    assert OTHER_PHONE in note


def test_a_response_cut_by_the_snapshot_length(tmp_path: Path) -> None:
    frames = exchange((True, get(NAME)), (False, plain(FILE)))
    (tmp_path / "cut.pcap").write_bytes(pcap(frames, snaplen=500))
    ended = certhash("audit", tmp_path / "cut.pcap", "-f", "json", "--no-cache")
    (note,) = ended.json["captures"][0]["notes"]
    assert note == (
        f"frame 4: the HTTP request of {PHONE} to {TFTP_SERVER} for {NAME} was answered, and the capture "
        "does not show the whole file"
    )


def test_a_failed_download_of_a_phone_of_which_nothing_is_expected(tmp_path: Path) -> None:
    (tmp_path / "failed.pcap").write_bytes(pcap([asks(NAME), NOT_FOUND]))
    ended = certhash("audit", tmp_path / "failed.pcap", "-f", "json", "--no-cache")
    (note,) = ended.json["captures"][0]["notes"]
    assert note == (
        f"frame 2: the TFTP request of {PHONE} to {TFTP_SERVER} for {NAME} ended with error 1 "
        "(File not found): the server has no file of this name"
    )
