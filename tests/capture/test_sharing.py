"""Test that several tsharks that share a capture give the result of one, even if one of them dies."""

from __future__ import annotations

import random
import ssl
import subprocess
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from certhash.capture.first_pass import packets
from certhash.capture.first_pass.carve import NotShareableError, carve
from certhash.capture.first_pass.decompress import Source
from certhash.capture.first_pass.source import open_capture
from certhash.capture.observe import Settings, is_worth_sharing, observe
from tests.archive.conftest import Counted
from tests.capture.first_pass.files import as_pcap, as_pcapng
from tests.capture.first_pass.soup import Kitchen, soup
from tests.conftest import TOP, need
from tests.harness.benchmarks.captures import (
    ACK,
    Endpoints,
    Segment,
    endpoints,
    interleave,
    make_identity,
    tcp_frame,
    tls_flow,
    tls_transcript,
    udp_frame,
    write_pcap,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from certhash.model import Observation

CAPTURES = sorted(
    path
    for folder in (TOP / "captures", TOP / "tests" / "captures")
    for path in folder.iterdir()
    if ".pcap" in path.name
)


def is_shareable(path: Path) -> bool:
    with open_capture(str(path)) as file:
        try:
            carve(Source(file), lambda _: None, lambda _: None)
        except NotShareableError:
            return False
        return True


def shared(path: Path, settings: Settings, tsharks: int) -> Observation:
    return observe(str(path), settings, tsharks=tsharks)


@pytest.fixture(scope="module")
def whole() -> list[Path]:
    """Give the recorded captures that cannot be shared."""
    return [path for path in CAPTURES if not is_shareable(path)]


def test_what_is_recorded_is_observed_alike(
    settings: Settings, whole: list[Path], alone: Callable[[Path], Observation], tmp_path: Path
) -> None:
    """All of it lies in one capture: each by itself has so few connections that one tshark gets them all."""
    joined = tmp_path / "joined.pcapng"
    parts = [path for path in CAPTURES if path not in whole and path.name != "cut-short.pcap"]
    subprocess.run([need("mergecap"), "-a", "-F", "pcapng", "-w", joined, *parts], check=True)
    expected = observe(str(joined), settings)
    assert len(expected.handshakes) >= sum(len(alone(path).handshakes) for path in parts)
    for tsharks in (2, 3):
        assert shared(joined, settings, tsharks) == expected


def test_what_cannot_be_shared_is_observed_alike(
    settings: Settings, whole: list[Path], alone: Callable[[Path], Observation]
) -> None:
    assert len(whole) < 0.1 * len(CAPTURES)
    for path in (*whole, TOP / "tests" / "captures" / "cut-short.pcap"):
        assert shared(path, settings, 3) == alone(path), path


@pytest.mark.parametrize("seed", range(300, 312))
def test_what_is_generated_is_observed_alike(seed: int, settings: Settings, tmp_path: Path) -> None:
    """Streams with loss, reordering, overlap, port reuse, fragments and tunnels."""
    chance = random.Random(seed)
    path = tmp_path / "soup.pcap"
    path.write_bytes(chance.choice((as_pcap, as_pcapng))(soup(Kitchen(), seed, 20)))
    expected = observe(str(path), settings)
    assert expected.handshakes
    assert counted_alike(shared(path, settings, 2 + seed % 2), settings) == counted_alike(expected, settings)


def counted_alike(seen: Observation, settings: Settings) -> Observation:
    """Return an observation without the numbers of its streams where several tsharks may count differently.

    From Wireshark 4.4 on, a second SYN-ACK with another number begins a new stream, and only the tshark that
    gets the connection counts it.
    """
    if settings.tshark.version.startswith("4.0."):
        return seen
    return replace(seen, handshakes=tuple(replace(each, stream=0) for each in seen.handshakes))


def test_a_tshark_without_lua_can_be_shared(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "soup.pcap"
    path.write_bytes(as_pcap(soup(Kitchen(), 300, 20)))
    without = replace(settings, tshark=replace(settings.tshark, lua=None))
    alone = observe(str(path), without)
    assert counted_alike(shared(path, without, 2), settings) == counted_alike(alone, settings)


def in_datagram(port: int, head: bytes, frame: bytes) -> bytes:
    ends = Endpoints(b"\x0a\xff\x00\x01", b"\x0a\xff\x00\x02", port, port)
    return udp_frame(ends, True, head + frame[14:])


TUNNELS = {
    "amt": (2268, b"\6\0"),
    "ayiya": (5072, bytes.fromhex("4452110400000000") + bytes(36)),
    "jmirror": (30030, bytes.fromhex("8000000100000002")),
}


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("tunnel", TUNNELS)
def test_connections_in_a_tunnel_do_not_mix_up_those_beside_it(
    tunnel: str, known: bool, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only one tshark gets the datagrams, and counts the connections in them."""
    if not known:
        monkeypatch.setattr(packets, "TUNNEL_PORTS", ())  # there will always be one more
    turns = [
        tls_transcript(make_identity(tmp_path, f"vpn{n}.example"), version=ssl.TLSVersion.TLSv1_2)
        for n in range(4)
    ]
    inside = [in_datagram(*TUNNELS[tunnel], next(tls_flow(1000 + n, turns[0]))) for n in range(3)]
    beside = interleave([tls_flow(10 + n, turns[n % 4]) for n in range(8)], 8)
    path = tmp_path / "tunnel.pcap"
    with path.open("wb") as file:
        write_pcap(file, [*inside, *beside])
    expected = observe(str(path), settings)
    assert len(expected.handshakes) == 8
    for tsharks in (2, 3):
        found = shared(path, settings, tsharks)
        if known:
            assert found == expected
        assert [replace(one, stream=0) for one in found.handshakes] == [
            replace(one, stream=0) for one in expected.handshakes
        ]


def test_a_tshark_that_dies_costs_nothing(settings: Settings, alone: Callable[[Path], Observation]) -> None:
    path = TOP / "tests" / "captures" / "several-connections.pcapng"
    stub = Counted("mkdir {folder}/first 2>/dev/null && kill -9 $$")
    seen = shared(path, replace(settings, tshark=replace(settings.tshark, path=str(stub.path))), 2)
    assert seen == alone(path)
    assert stub.runs == 3


@pytest.mark.parametrize(
    ("ports", "worth"), [(60_000, True), (4, False)], ids=["openings", "few connections"]
)
def test_only_what_leaves_tshark_much_to_read_is_shared(tmp_path: Path, ports: int, worth: bool) -> None:
    """A second tshark with little to read is not worth its start."""
    path = tmp_path / "large.pcap"
    with path.open("wb") as file:
        write_pcap(
            file,
            (
                tcp_frame(endpoints(number % ports), Segment(from_client, ACK, 1, 1, b""))
                for number in range(120_000)
                for from_client in (True, False)
            ),
        )
    assert not is_worth_sharing(str(path))  # too small, regardless of its content
    with path.open("r+b") as file:
        file.truncate(65 << 20)
    assert is_worth_sharing(str(path)) == worth
    assert not is_worth_sharing(str(tmp_path / "missing.pcap"))
