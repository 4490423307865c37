"""Test that TLS that tshark does not recognise is reported, and nothing else."""

from __future__ import annotations

import ssl
import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.harness.benchmarks.captures import (
    Endpoints,
    Turn,
    make_identity,
    tcp_frame,
    tcp_segments,
    tls_transcript,
    udp_frame,
)
from tests.harness.fidelity.compare import both
from tests.harness.fidelity.readers import stock
from tests.harness.packets import pcap

from certhash.capture.first_pass.traces import Trace, not_shown
from certhash.model import Endpoint

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


ENDS = Endpoints(b"\xc6\x33\x64\x07", b"\xcb\x00\x71\x0a", 40001, 45678)
DATA, SCTP = 0, 132


def framed(turns: list[Turn]) -> list[bytes]:
    """TCP with a proprietary header before every write, as in TDS."""
    framed = [turn._replace(data=b"OWN!" + struct.pack(">I", len(turn.data)) + turn.data) for turn in turns]
    return [tcp_frame(ENDS, segment) for segment in tcp_segments(framed)]


def _in_datagrams(turns: list[Turn]) -> list[bytes]:
    """UDP with a proprietary header."""
    return [udp_frame(ENDS, turn.side == "client", b"OWN!" + turn.data) for turn in turns]


def in_chunks(turns: list[Turn]) -> list[bytes]:
    """SCTP (RFC 9260), on a port that tshark does not know."""
    frames = []
    for number, turn in enumerate(turns):
        ports = (ENDS.client_port, ENDS.server_port)[:: 1 if turn.side == "client" else -1]
        chunk = struct.pack(">BBHIHHI", DATA, 3, 16 + len(turn.data), number, 0, number, 0) + turn.data
        body = struct.pack(">HHII", *ports, 1, 0) + chunk + bytes(-len(chunk) % 4)
        frame = udp_frame(ENDS, turn.side == "client", b"")
        head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0, 64, SCTP, 0)
        frames.append(frame[:14] + head + frame[26:34] + body)
    return frames


@pytest.mark.parametrize("wrap", [framed, _in_datagrams])
def test_what_tshark_does_not_take_for_tls_is_named(
    tmp_path: Path, wrap: Callable[[list[Turn]], list[bytes]]
) -> None:
    own = make_identity(tmp_path, "vpn.example")
    frames = wrap(tls_transcript(own, version=ssl.TLSVersion.TLSv1_2))
    path = tmp_path / "hidden.pcap"
    path.write_bytes(pcap(frames))
    assert stock(path) == [], "this tshark opens it after all: choose another wrapping"
    seen = both(path)
    assert not any(handshake.certificates for handshake in seen.handshakes)
    (problem,) = seen.problems
    begins = ssl.PEM_cert_to_DER_cert(own.certificate.read_text())[:32]
    number = next(n for n, frame in enumerate(frames, 1) if begins in frame)
    assert problem.message.startswith(f"frame {number}: ")
    assert "tshark does not show what looks like a certificate from 203.0.113.10:45678" in problem.message
    assert "--decode-as" not in problem.message


def test_one_certificate_is_named_once_also_where_tshark_shows_it_elsewhere(tmp_path: Path) -> None:
    turns = tls_transcript(make_identity(tmp_path, "vpn.example"), version=ssl.TLSVersion.TLSv1_2)
    hidden, path = framed(turns), tmp_path / "twice.pcap"
    other = Endpoints(b"\xc6\x33\x64\x08", b"\xcb\x00\x71\x0a", 40002, 443)
    shown = [tcp_frame(other, segment) for segment in tcp_segments(turns)]
    path.write_bytes(pcap(hidden + in_chunks(turns)))
    assert len(both(path).problems) == 1
    path.write_bytes(pcap(hidden + shown))
    assert len(both(path).problems) == 1


def test_hidden_certificate_with_a_reason_is_not_reported_twice(tmp_path: Path) -> None:
    """A chain whose second half is missing is reported already: nothing of it can be shown."""
    own = make_identity(tmp_path, "vpn.example")
    turns = tls_transcript(own, version=ssl.TLSVersion.TLSv1_2)
    frames = [tcp_frame(ENDS, segment) for segment in tcp_segments(turns, mss=400)]
    begins = ssl.PEM_cert_to_DER_cert(own.certificate.read_text())[:32]
    certificate = next(n for n, frame in enumerate(frames) if begins in frame)
    path = tmp_path / "lost.pcap"
    path.write_bytes(pcap(frames[: certificate + 1] + frames[certificate + 2 :]))
    seen = both(path)
    assert [handshake.hidden for handshake in seen.handshakes] == ["packets-missing"]
    assert seen.problems == ()


@given(st.binary(max_size=80), st.binary(min_size=64, max_size=64), st.booleans())
def test_nothing_is_named_that_was_shown(noise: bytes, beginning: bytes, whole: bool) -> None:
    ends = Endpoint("192.0.2.1", 1), Endpoint("192.0.2.2", 2)
    start = beginning if whole else beginning[:40]
    trace = Trace(1, start, "tcp", *ends)
    shown = [noise, beginning + noise]
    assert not_shown([trace], shown) == not_shown([trace], shown, {trace.ends}) == []
    assert not_shown([trace], shown, set()) == [trace]
    assert not_shown([trace._replace(transport=None)], shown, set()) == []
    assert not_shown([trace], [noise]) == ([] if noise.startswith(start) else [trace])
