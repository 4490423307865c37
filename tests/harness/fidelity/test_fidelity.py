"""Test that certhash finds exactly what independent readers find, also in carved captures."""

from __future__ import annotations

import struct
import subprocess
from typing import TYPE_CHECKING

import pytest
from tests.conftest import TOP, stock_tshark
from tests.harness.fidelity.compare import audit, by_capture, compare, differs_from_what_was_made
from tests.harness.fidelity.generate import generate, in_pcapng
from tests.harness.fidelity.kinds import ENDS, exchange
from tests.harness.fidelity.readers import Finding, sha1
from tests.harness.packets import pcap

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.harness.benchmarks.captures import Turn
    from tests.harness.fidelity.kitchen import Kitchen

    from certhash.model import Observation

GENERATED = range(24)
"""The numbers of the captures that every run makes and reads; any other range may be tried by hand."""


@pytest.mark.parametrize(
    "folder", [TOP / "captures", TOP / "tests" / "captures"], ids=lambda f: f.parent.name
)
def test_recorded_captures_read_as_others_read_them(
    folder: Path, shown: Callable[[Path], dict[int, list[bytes]]], alone: Callable[[Path], Observation]
) -> None:
    result = compare(
        [folder],
        lambda path: [Finding(frame, sha1(der)) for frame, ders in shown(path).items() for der in ders],
        alone,
    )
    assert result.certificates
    assert result.defects == []
    assert result.agreed["tshark"] == len(result.seen)


def test_generated_captures_read_as_others_read_them_and_as_they_were_made(
    tmp_path: Path, kitchen: Kitchen
) -> None:
    captures = {str(g.path): g for g in generate(tmp_path, GENERATED, kitchen)}
    result = compare([capture.path for capture in captures.values()])
    assert result.defects == []
    assert min(result.certificates, result.read["separate"], result.read["nDPI"]) > 0
    assert [
        one for seen in result.seen for one in differs_from_what_was_made(captures[seen.path], seen)
    ] == []


def test_only_a_repeated_datagram_explains_certificates_shown_twice(tmp_path: Path, kitchen: Kitchen) -> None:
    script = next(s for s in kitchen.datagrams if s.of_client)
    # The flight with the client's chain, which is short enough for one datagram.
    sent = max((turn for turn in script.turns if turn.side == "client"), key=lambda turn: len(turn.data))

    def unexplained(*later: Turn, more: int = 0) -> int:
        path = tmp_path / "again.pcap"
        path.write_bytes(pcap(exchange(ENDS, [*script.turns, *later])))
        result = compare([path])
        assert result.certificates == len(script.clear) + more
        assert result.read["tshark"] == len(script.clear) + script.of_client * len(later)
        return [defect.reader for defect in result.defects].count("tshark")

    assert unexplained(sent, sent) == 0
    # The record's number, which a sender that sends once more counts on; what is encrypted.
    for place in (10, -1):
        other = bytearray(sent.data)
        other[place] ^= 1
        assert unexplained(sent, sent._replace(data=bytes(other))) == script.of_client, place
    # Another certificate, or one that the other side sends, is nobody's repetition: certhash shows it, too.
    other = bytearray(sent.data)
    other[len(sent.data) // 2] ^= 1
    assert unexplained(sent, sent._replace(data=bytes(other)), more=script.of_client) == 0
    assert unexplained(sent._replace(side="server"), more=script.of_client) == 0


def _frames(path: Path) -> int:
    command = [*stock_tshark(), "-r", str(path), "-T", "fields", "-e", "frame.number"]
    return len(subprocess.run(command, capture_output=True, check=True).stdout.split())


BLOCKS = {
    "custom": (0x0BAD, struct.pack("<I", 32473) + b"somebody's"),
    "custom-not-to-be-copied": (0x40000BAD, struct.pack("<I", 32473) + b"somebody's"),
    "journal": (9, b"__REALTIME_TIMESTAMP=1467138920000000\nMESSAGE=hello\n\n"),
    "sysdig": (0x204, struct.pack("<HQQIH", 0, 1, 1, 26, 1) + bytes(30)),
    "darwin": (0x80000001, struct.pack("<I", 7) + bytes(8)),
    "unknown": (0x1234, b"whatever"),
    "interface-statistics": (5, bytes(12)),
}


def test_blocks_that_are_no_packets_leave_frame_numbers_as_tshark_counts_them(
    tmp_path: Path, kitchen: Kitchen
) -> None:
    paths = []
    for name, block in BLOCKS.items():
        (tmp_path / name).mkdir()
        paths.append(in_pcapng(tmp_path / name, kitchen.scripts[2], between=block))
    document = audit(paths)
    carved, whole = by_capture(document), by_capture(audit(paths, "--no-carve"))
    assert carved == whole
    assert len(carved) == len(BLOCKS)
    assert all(capture.findings for capture in carved)
    packets = {capture["path"]: capture["packets"] for capture in document["captures"]}
    assert packets == {str(path): _frames(path) for path in paths}


def test_captures_in_which_no_time_passes_are_complete(tmp_path: Path) -> None:
    packet = struct.pack("<IIII", 1_700_000_000, 5, 60, 60) + bytes(60)
    for count in range(3):
        (tmp_path / f"{count}.pcap").write_bytes(pcap(()) + count * packet)
    for more in ((), ("--no-carve",)):
        seen = audit([tmp_path], *more)["captures"]
        assert [(each["status"], each["packets"]) for each in seen] == [("complete", n) for n in range(3)]


def test_packets_without_time_are_read_and_the_result_says_so(tmp_path: Path, kitchen: Kitchen) -> None:
    path = in_pcapng(tmp_path, kitchen.scripts[2], simple=True)
    document = audit([path])
    (capture,) = by_capture(document)
    assert [f.sha1 for f in capture.findings]
    assert document["captures"][0]["status"] == "complete"
    assert document["captures"][0]["packets"] == _frames(path)
    assert "have no time" in capture.problems[0]
