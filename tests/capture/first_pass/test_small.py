"""Test the look at small captures: it sees what the first pass sees, or calls the capture unusual."""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING

import pytest
from tests.capture.first_pass.files import (
    COOKED,
    COOKED_2,
    LOOP,
    NULL,
    RAW,
    as_pcap,
    as_pcapng,
)
from tests.capture.first_pass.soup import Kitchen, soup
from tests.conftest import TOP
from tests.harness.benchmarks.captures import Endpoints, udp_frame

from certhash.capture.first_pass.carve import carve
from certhash.capture.first_pass.headers import TUNNEL_PORTS
from certhash.capture.first_pass.packets import is_plain
from certhash.capture.first_pass.small import MOST_PACKETS, UnusualError, look

if TYPE_CHECKING:
    from pathlib import Path

CAPTURES = sorted(
    path for folder in ("captures", "tests/captures") for path in (TOP / folder).glob("*.pcap*")
)
IPV4 = b"\x08\x00"
ENDS = Endpoints(b"\xc6\x33\x64\x07", b"\xcb\x00\x71\x0a", 40001, 45678)


@pytest.fixture(scope="module")
def kitchen() -> Kitchen:
    return Kitchen()


def agrees(capture: bytes) -> bool:
    """Compare a look with the first pass, and return whether the look calls the capture usual."""
    try:
        seen = look(capture)
    except UnusualError:
        return False
    whole = carve(io.BytesIO(capture), lambda _: None, keys=True)  # with keys, everything of TLS is kept
    status = "complete" if seen.whole == len(capture) else "truncated"
    assert (whole.status, whole.packets) == (status, seen.packets)
    assert set(whole.traces) <= set(seen.traces)
    assert is_plain(io.BytesIO(capture[: seen.whole]))
    return True


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.name)
def test_recorded_captures(path: Path) -> None:
    unusual = {"snaplen.pcapng", "port-reuse.pcapng"}
    assert agrees(path.read_bytes()) == (path.name not in unusual and path.suffix != ".gz")


def test_generated_captures(kitchen: Kitchen) -> None:
    """Some have tunnels, fragments, and damage."""
    usual = 0
    for seed in range(300, 330):
        frames = soup(kitchen, seed, 2)
        for capture in (as_pcap(frames), as_pcapng(frames)):
            usual += agrees(capture)
    assert usual > 5


def test_link_types(kitchen: Kitchen) -> None:
    """What is usual in Ethernet is usual in every link type."""
    usual = 0
    for seed in range(300, 315):
        whole = [each for each in soup(kitchen, seed, 2) if each[1] == len(each[0])]
        plain = [each for each in whole if each[0][12:14] == IPV4]
        expected = agrees(as_pcap(plain))
        usual += expected
        for link in (NULL, LOOP, RAW, COOKED, COOKED_2):
            assert agrees(as_pcap(plain, link=link)) == expected
    assert usual > 2


def _one_section(frames: list[tuple[bytes, int]]) -> bytes:
    """Return a pcapng file with the first half of some frames, without the section in another byte order."""
    pcapng = as_pcapng(frames)
    return pcapng[: pcapng.index(pcapng[:4], 4)]


def test_captures_that_end_in_the_middle_of_a_packet(kitchen: Kitchen) -> None:
    """Up to there they are usual, except a pcap file of one to three packets, which may be a variant."""
    whole = [each for each in soup(kitchen, 302, 2) if each[1] == len(each[0])]
    frames = [each for each in whole if each[0][12:14] == IPV4][:24]
    for capture in (as_pcap(frames), _one_section(frames)):
        assert agrees(capture)
        seen = [agrees(capture[:-end]) for end in range(1, len(capture), 5)]
        assert seen.count(True) > len(seen) / 2


@pytest.mark.parametrize("port", TUNNEL_PORTS)
def test_a_tunnel_is_unusual(port: int) -> None:
    for ends in (ENDS._replace(client_port=port), ENDS._replace(server_port=port)):
        frame = udp_frame(ends, from_client=True, payload=b"payload")
        assert not agrees(as_pcap([(frame, len(frame))]))


def _changed(at: int, form: str, *values: int) -> bytes:
    """Return a capture of one UDP packet whose bytes were changed at a place."""
    frame = bytearray(udp_frame(ENDS, from_client=True, payload=b"payload"))
    struct.pack_into(form, frame, at, *values)
    return as_pcap([(bytes(frame), len(frame))])


@pytest.mark.parametrize(
    "capture",
    [
        pytest.param(_changed(12, ">H", 0x8847), id="MPLS"),
        pytest.param(_changed(23, "B", 47), id="GRE"),
        pytest.param(_changed(23, "B", 4), id="IP in IP"),
        pytest.param(_changed(20, ">H", 0x2000), id="first fragment"),
        pytest.param(_changed(20, ">H", 0x0010), id="later fragment"),
        pytest.param(_changed(14, "B", 0x44), id="header too short"),
        pytest.param(_changed(16, ">H", 1000), id="longer than the frame"),
        pytest.param(_changed(14, "B", 0x65), id="other version"),
        pytest.param(as_pcap([(b"\0" * 12, 12)]), id="no EtherType"),
        pytest.param(as_pcap([(b"\x01" * 60, 60)] * (MOST_PACKETS + 1)), id="many packets"),
        pytest.param(as_pcap([(b"\0" * 60, 80)]), id="cut"),
        pytest.param(as_pcap([]), id="no packet"),
        pytest.param(b"", id="nothing"),
        pytest.param(as_pcap([(b"\x01" * 60, 60)])[:-1], id="cut short"),
        pytest.param(as_pcap([(b"\x01" * 60, 60)] * 9) + b"\xff" * 16, id="a huge packet"),
        pytest.param(_one_section([(b"\x01" * 60, 60)] * 2) + b"\0" * 12, id="a block without size"),
        pytest.param(as_pcapng([(b"\x01" * 60, 60)] * 9), id="a section in another byte order"),
    ],
)
def test_unusual_captures(capture: bytes) -> None:
    with pytest.raises(UnusualError):
        look(capture)
