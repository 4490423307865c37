"""Test that tshark's output for the carved capture equals that for the whole one, by frame and stream."""

from __future__ import annotations

import functools
import io
import os
import random
import shutil
import ssl
import subprocess
from itertools import islice
from typing import TYPE_CHECKING

import pytest
from tests.capture.first_pass.files import COOKED, COOKED_2, LOOP, NULL, RAW, Frame, as_pcap, as_pcapng
from tests.capture.first_pass.soup import Kitchen, resumed, soup
from tests.harness import wiresharks
from tests.harness.benchmarks.captures import (
    Endpoints,
    dtls_flow,
    dtls_transcript,
    make_identity,
    tcp_frame,
    tcp_segments,
    tls_flow,
    tls_transcript,
)
from tests.harness.fidelity.carved import comparing

from certhash.capture import tshark
from certhash.capture.first_pass.carve import NotShareableError, carve

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

PREFERENCES = (
    "tcp.reassemble_out_of_order:TRUE",
    "tcp.desegment_tcp_streams:TRUE",
    "tls.desegment_ssl_records:TRUE",
    "ip.defragment:TRUE",
    "tcp.try_heuristic_first:TRUE",
    "udp.try_heuristic_first:TRUE",
)
NAMES = ("x509sat", "x509ce", "pkix1explicit", "pkix1implicit")
FILTER = (
    "tls.handshake.type or tls.alert_message.desc or dtls.handshake.type or dtls.alert_message.desc"
    " or dns or tftp or http.request or http.content_length"
)
FIELDS = (
    *(
        "frame.number",
        "frame.time_epoch",
        "tcp.stream",
        "udp.stream",
        "ip.src",
        "ip.dst",
        "ipv6.src",
        "ipv6.dst",
    ),
    *(
        "tcp.srcport",
        "tcp.dstport",
        "udp.srcport",
        "udp.dstport",
        "tls.handshake.type",
        "tls.handshake.version",
    ),
    *("tls.handshake.session_id", "tls.handshake.certificate", "tls.handshake.extensions_server_name"),
    *(
        "tls.alert_message.level",
        "tls.alert_message.desc",
        "dtls.handshake.type",
        "dtls.handshake.certificate",
    ),
    *("dtls.alert_message.desc", "dns.qry.name", "dns.a", "tftp.opcode", "tftp.block", "tftp.source_file"),
    *("http.request.uri", "http.response.code", "http.content_length"),
)


def rows(capture: bytes, folder: Path, *more: str) -> list[list[str]]:
    """Return tshark's fields for a capture, one row per frame."""
    program = shutil.which("tshark")
    if not program:
        pytest.fail("tshark is missing: apt-get install tshark")
    command = [program, "-n", "-r", "-", "-Y", FILTER, "-T", "fields"]
    command += [part for name in FIELDS for part in ("-e", name)]
    command += [part for preference in PREFERENCES for part in ("-o", preference)]
    command += [part for name in NAMES for part in ("--disable-protocol", name)]
    done = subprocess.run(
        [*command, *more],
        input=capture,
        capture_output=True,
        check=True,
        env={**os.environ, "WIRESHARK_CONFIG_DIR": str(folder)},
    )
    return [line.split("\t") for line in done.stdout.decode().splitlines()]


@functools.cache
def newer() -> bool:
    """Return whether this tshark is 4.2 or later."""
    version = tshark.find().version
    return tuple(map(int, version.split(".")[:2])) >= (4, 2)


def the_same(capture: bytes, folder: Path, window: int = 8 << 20, sinks: int = 1) -> int:
    """Compare; return the number of dropped packets, or -1 if the carving is doubtful or not shareable."""
    out = [bytearray() for _ in range(sinks)]
    try:
        carved = carve(io.BytesIO(capture), *(part.extend for part in out), window=window)
    except NotShareableError:
        return -1
    assert carved.status == "complete"
    if carved.doubtful:
        return -1
    whole = rows(capture, folder)
    parts = [
        [carved.shares[number].frame(int(row[0])), *row[1:]]
        for number, part in enumerate(out)
        for row in rows(bytes(part), folder)
    ]
    # A packet that only begins a stream for another tshark has no number.
    shown = sorted(row for row in parts if row[0])
    expected = [[int(row[0]), *row[1:]] for row in whole]
    if newer():
        # From 4.4 on, tshark abandons a stream with application data that was retransmitted out of order. If
        # the first pass drops this data, tshark shows what comes after it.
        shown = [row for row in shown if row in expected]
    assert shown == expected
    assert len(whole) > 5
    return carved.packets - sum(
        numbers.frame(n + 1) > 0 for numbers in carved.shares for n in range(len(numbers))
    )


@pytest.fixture(scope="session")
def kitchen() -> Kitchen:
    return Kitchen()


def quiet(frames: Sequence[Frame]) -> list[Frame]:
    """Return the frames without VLAN tags, for conversion to other link types."""
    return [frame for frame in frames if frame[0][12:14] in (b"\x08\x00", b"\x86\xdd")]


def test_every_oddity(kitchen: Kitchen, tmp_path: Path) -> None:
    dropped = [
        the_same(
            as_pcap(soup(kitchen, seed, 30)), tmp_path, random.Random(seed).choice((5000, 60_000, 8 << 20))
        )
        for seed in range(12)
    ]
    trusted = [count for count in dropped if count >= 0]
    assert len(trusted) >= 6
    assert sum(trusted) > 10_000


def test_one_side_of_a_resumed_session_misses_nothing_where_data_were_dropped() -> None:
    """Its acknowledgements are of what was not captured: they pass, with the numbers that tshark expects."""
    ends = Endpoints(b"\x0a\0\0\1", b"\x0a\0\0\2", 30_000, 443)
    with comparing() as comparison:
        for client in (True, False):
            sent = [one for one in tcp_segments(resumed(), mss=400) if one.from_client is client]
            frames = [tcp_frame(ends, segment) for segment in sent]
            assert comparison.difference(as_pcap([(frame, len(frame)) for frame in frames])) == ""
        assert comparison.dropped > 0


@pytest.mark.parametrize("version", wiresharks.others())
def test_with_another_tshark_the_same_is_seen_of_what_is_left(version: str, kitchen: Kitchen) -> None:
    with comparing(str(wiresharks.need(version).tshark)) as comparison:
        for seed in range(1000, 1004):
            assert comparison.difference(as_pcap(soup(kitchen, seed, 15)), 60_000) == ""
        assert comparison.dropped > 2000


@pytest.mark.parametrize("sinks", [2, 3])
def test_several_tsharks_see_together_what_one_sees(sinks: int, kitchen: Kitchen, tmp_path: Path) -> None:
    dropped = [the_same(as_pcap(soup(kitchen, seed, 12)), tmp_path, 60_000, sinks) for seed in range(80, 92)]
    assert sum(count for count in dropped if count > 0) > 3000


LAYOUTS: dict[str, Callable[[Sequence[Frame]], bytes]] = {
    "big-endian": lambda frames: as_pcap(frames, ">"),
    "nanoseconds": lambda frames: as_pcap(frames, nanoseconds=True),
    "raw IP": lambda frames: as_pcap(quiet(frames), link=RAW),
    "Linux cooked": lambda frames: as_pcap(quiet(frames), link=COOKED),
    "Linux cooked, version 2": lambda frames: as_pcap(quiet(frames), link=COOKED_2),
    "BSD loopback": lambda frames: as_pcap(quiet(frames), ">", link=LOOP),
    "null": lambda frames: as_pcap(quiet(frames), link=NULL),
    "pcapng": as_pcapng,
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout(layout: str, kitchen: Kitchen, tmp_path: Path) -> None:
    """Many of these captures are doubtful and are not carved: compare the first two that are."""
    soups = (LAYOUTS[layout](soup(kitchen, seed, 20)) for seed in range(50, 80))
    compared = (count for count in (the_same(each, tmp_path, 100_000) for each in soups) if count >= 0)
    assert sum(islice(compared, 2)) > 500


def test_tunnels_pass_whole(kitchen: Kitchen) -> None:
    inner = quiet(soup(kitchen, 60, 15))
    gre = [
        (frame[:12] + b"\x08\x00" + gre_header(len(frame) - 14) + frame[12:14] + frame[14:], size + 24)
        for frame, size in inner
    ]
    carved = carve(io.BytesIO(as_pcap(gre)), lambda _: None)
    assert len(carved.frames) == carved.packets == len(gre)


def test_bytes_that_may_be_in_a_tunnel_are_not_counted_as_lost(kitchen: Kitchen) -> None:
    whole = [frame for frame in tls_flow(1, kitchen.full[3]) if len(frame) > 66]
    gap = [(frame, len(frame)) for frame in whole[:12] + whole[13:]]
    inside = whole[12]
    tunnelled = inside[:12] + b"\x08\x00" + gre_header(len(inside) - 14) + inside[12:]
    assert carve(io.BytesIO(as_pcap(gap)), lambda _: None).doubtful == 0
    assert carve(io.BytesIO(as_pcap([*gap, (tunnelled, len(tunnelled))])), lambda _: None).doubtful == 1


def gre_header(size: int) -> bytes:
    """Return an IPv4 header and the start of a GRE header; the EtherType of the content follows."""
    return b"\x45\x00" + (size + 24).to_bytes(2, "big") + bytes(4) + b"\x40\x2f\0\0\x0a\0\0\1\x0a\0\0\2\0\0"


def test_dtls(tmp_path: Path) -> None:
    turns = dtls_transcript(make_identity(tmp_path, "dtls.example"))
    frames = [frame for index in range(3) for frame in dtls_flow(index, turns, 100)]
    assert the_same(as_pcap([(frame, len(frame)) for frame in frames]), tmp_path) >= 300


def test_with_keys_the_hidden_certificate_is_still_found(tmp_path: Path) -> None:
    identity = make_identity(tmp_path, "secret.example")
    keylog = tmp_path / "keys"
    turns = tls_transcript(identity, version=ssl.TLSVersion.TLSv1_3, download=50_000, keylog=keylog)
    frames = [(frame, len(frame)) for frame in tls_flow(1, turns)]
    der = ssl.PEM_cert_to_DER_cert(identity.certificate.read_text()).hex()

    capture = as_pcapng(frames, keylog.read_bytes())
    out = bytearray()
    carved = carve(io.BytesIO(capture), out.extend, window=20_000)
    assert len(carved.frames) < carved.packets
    assert any(der in row for row in rows(bytes(out), tmp_path))
    the_same(capture, tmp_path, 20_000)

    out = bytearray()
    carved = carve(io.BytesIO(as_pcap(frames)), out.extend, keys=True)
    with_keys = ("-o", f"tls.keylog_file:{keylog}")
    whole, part = (rows(data, tmp_path, *with_keys) for data in (as_pcap(frames), bytes(out)))
    assert [[str(carved.frames.frame(int(row[0]))), *row[1:]] for row in part] == whole


def test_memory_does_not_grow_with_the_capture(kitchen: Kitchen) -> None:
    """Memory grows with flows and frame numbers, not with bytes."""
    import tracemalloc

    frames = as_pcap(soup(kitchen, 70, 20))
    peaks = []
    for times in (1, 8):
        source = io.BytesIO(frames + frames[24:] * (times - 1))
        tracemalloc.start()
        carve(source, lambda _: None, window=200_000)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 3_000_000
