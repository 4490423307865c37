"""Test edge cases of captures: very many connections, the middle of one, no file, half a line."""

from __future__ import annotations

import os
import ssl
from itertools import chain
from typing import TYPE_CHECKING

import pytest
from tests.conftest import need
from tests.harness.benchmarks.captures import (
    Endpoints,
    Turn,
    make_identity,
    tcp_frame,
    tcp_segments,
    tls_transcript,
    udp_frame,
)
from tests.harness.dtls import shake_hands
from tests.harness.fidelity.compare import both
from tests.harness.fidelity.kinds import ENDS
from tests.harness.fidelity.readers import separate
from tests.harness.packets import identity, pcap

from certhash.capture import tshark
from certhash.capture.observe import Settings, observe
from certhash.capture.tls import CERTIFICATE, HANDSHAKE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.harness.fidelity.kitchen import Kitchen, Script

    from certhash.model import Handshake


@pytest.fixture(name="script", scope="module")
def _script(kitchen: Kitchen) -> Script:
    return next(s for s in kitchen.scripts if s.of_client > 1 and len(s.clear) > s.of_client)


def test_very_many_connections_are_told_apart(tmp_path: Path, script: Script) -> None:
    frames = []
    for number in range(6000):
        ends = Endpoints(b"\x0a\x01" + number.to_bytes(2, "big"), b"\xc0\x00\x02\x09", 20_000 + number, 443)
        turns = script.turns if number % 500 == 0 else [Turn("client", b"nothing")]
        frames += [tcp_frame(ends, segment) for segment in tcp_segments(turns)]
    path = tmp_path / "many.pcap"
    path.write_bytes(pcap(frames))
    seen = both(path)
    assert [len(handshake.certificates) for handshake in seen.handshakes] == [len(script.clear)] * 12


def test_connections_that_start_late_show_the_same_or_name_what_is_hidden(
    tmp_path: Path, script: Script
) -> None:
    """Of each connection the first packets are missing: none of the first, one of the second, and so on."""
    segments = list(tcp_segments(script.turns, mss=700))
    ports = range(20_000, 20_000 + len(segments))
    late = {
        port: [tcp_frame(ENDS._replace(client_port=port), segment) for segment in segments[missing:]]
        for missing, port in enumerate(ports)
    }
    path = tmp_path / "late.pcap"
    path.write_bytes(pcap(chain.from_iterable(late.values())))
    seen: dict[int | None, list[Handshake]] = {port: [] for port in ports}
    for handshake in both(path).handshakes:
        seen[handshake.client.port].append(handshake)
    in_clear = [f.frame for f in separate(path) if f.sha1 in script.clear]
    last = 0
    for port in ports:
        first, last = last, last + len(late[port])
        senders = [c.sender for handshake in seen[port] for c in handshake.certificates]
        # An unencrypted certificate after the start of a record is visible, and belongs to this handshake.
        assert senders in (
            ["server"] * (len(script.clear) - script.of_client) + ["client"] * script.of_client,
            ["client"] * script.of_client,
            [],
        ), port
        assert len(senders) >= sum(first < frame <= last for frame in in_clear) or all(
            handshake.hidden for handshake in seen[port]
        )


def test_second_handshake_on_the_same_ports_is_seen_without_its_hellos(tmp_path: Path) -> None:
    """Over UDP nothing but the certificate tells it from the repeated flight of the one before."""
    turns = []
    for name in ("then", "now"):
        (tmp_path / name).write_bytes(identity(name).pem())
        said = shake_hands(tmp_path / name, "dtls1_2")
        records = [(side == "client", record) for side, data in said for record in _records(data)]
        repeats = [turn for turn in records if _is_message(turn[1], CERTIFICATE)] if name == "then" else []
        turns.append(records + repeats)
    lost = next(i for i, (_, record) in enumerate(turns[1]) if _is_message(record, CERTIFICATE))
    path = tmp_path / "again.pcap"
    path.write_bytes(pcap(udp_frame(ENDS, *turn) for turn in turns[0] + turns[1][lost:]))
    seen = [[c.sha256.hex() for c in handshake.certificates] for handshake in both(path).handshakes]
    assert len(seen) == 2
    assert seen[0] != seen[1]
    assert all(seen)


@pytest.mark.parametrize(("answer", "alerts"), [(b"", []), (b"\x15\x03\x03\0\2\2\x2a", [42])])
def test_client_records_before_the_server_hello_are_not_a_reaction(
    tmp_path: Path, answer: bytes, alerts: list[int]
) -> None:
    """With early data, ChangeCipherSpec comes right after the ClientHello (RFC 8446, D.4)."""
    turns = tls_transcript(make_identity(tmp_path, "vpn.example"), version=ssl.TLSVersion.TLSv1_2)
    early = Turn("client", turns[0].data + b"\x14\3\3\0\1\1")
    path = tmp_path / "early.pcap"
    said = [early, turns[1], Turn("client", answer)]
    path.write_bytes(pcap(tcp_frame(ENDS, segment) for segment in tcp_segments(said)))
    (handshake,) = both(path).handshakes
    assert handshake.certificates
    assert not handshake.client_proceeded
    assert [alert.code for alert in handshake.alerts] == alerts


def test_a_clients_certificate_is_not_the_servers_though_nothing_was_seen_before_it(tmp_path: Path) -> None:
    for name in ("server", "client"):
        (tmp_path / name).write_bytes(identity(name).pem())
    said = shake_hands(tmp_path / "server", "dtls1_2", client_file=tmp_path / "client")
    records = [(side == "client", record) for side, data in said for record in _records(data)]
    first = next(i for i, (mine, record) in enumerate(records) if mine and _is_message(record, CERTIFICATE))
    path = tmp_path / "late.pcap"
    path.write_bytes(pcap(udp_frame(ENDS, *record) for record in records[first:]))
    (handshake,) = both(path).handshakes
    assert {c.sender for c in handshake.certificates} == {"client"}
    assert handshake.server.port == ENDS.server_port
    assert handshake.hidden == "packets-missing"


def _records(datagram: bytes) -> Iterator[bytes]:
    while datagram:
        size = 13 + int.from_bytes(datagram[11:13], "big")
        yield datagram[:size]
        datagram = datagram[size:]


def _is_message(record: bytes, kind: int) -> bool:
    """Return whether a DTLS record is an unencrypted handshake message of that type."""
    return record[0] == HANDSHAKE and record[3:5] == b"\0\0" and record[13] == kind


def test_a_fifo_is_named_and_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "fifo.pcap"
    os.mkfifo(path)
    seen = observe(str(path), Settings(tshark.find()))
    assert (seen.status, seen.error) == (
        "unreadable",
        "not a regular file; give a capture file, or a folder of them",
    )


def test_a_line_that_lost_a_field_is_named(tmp_path: Path, script: Script) -> None:
    broken = tmp_path / "tshark"
    broken.write_text(
        f'#!/bin/sh\ncase "$*" in *"-r -"*) {need("tshark")} "$@" | sed "s/\\x1e//" ;;'
        f' *) exec {need("tshark")} "$@" ;; esac\n'
    )
    broken.chmod(0o755)
    path = tmp_path / "plain.pcap"
    path.write_bytes(pcap(tcp_frame(ENDS, segment) for segment in tcp_segments(script.turns)))
    seen = observe(str(path), Settings(tshark.find(str(broken))))
    assert any("cannot be parsed (tshark printed" in problem.message for problem in seen.problems)
    assert seen.handshakes == ()
