"""Test that hidden certificates are read again, and that only ways that worked are recommended."""

from __future__ import annotations

import ssl
import struct
import subprocess
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from certhash.capture import again, tshark
from tests.capture.first_pass.soup import resumed
from tests.capture.first_pass.test_overlooked import ENDS, in_chunks
from tests.conftest import need
from tests.harness.benchmarks.captures import (
    Turn,
    make_identity,
    tcp_frame,
    tcp_segments,
    tls_transcript,
    udp_frame,
)
from tests.harness.fidelity.compare import both
from tests.harness.fidelity.disturb import answered_twice, counting_padding
from tests.harness.fidelity.readers import stock
from tests.harness.packets import HEAD_END, PHONE, Said, Stream, conversation, identity, pcap, rejected, talk

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def _numbers_in_the_wrong_byte_order(turns: list[Turn]) -> list[bytes]:
    """TCP with byte-swapped sequence numbers, as one recorder writes them."""
    frames = [bytearray(tcp_frame(ENDS, segment)) for segment in tcp_segments(turns)]
    for frame in frames:
        for at in (38, 42):
            frame[at : at + 4] = frame[at : at + 4][::-1]
    return [bytes(frame) for frame in frames]


def _without_the_reply_to_connect(turns: list[Turn]) -> list[bytes]:
    """TLS through a proxy whose reply to CONNECT is not in the capture."""
    asks = turns[0]._replace(data=b"CONNECT vpn.example:443 HTTP/1.1\r\nHost: vpn.example:443\r\n\r\n")
    return [tcp_frame(ENDS, segment) for segment in tcp_segments([asks, *turns])]


def _in_vxlan(turns: list[Turn]) -> list[bytes]:
    """VXLAN (RFC 7348) on a non-standard port."""
    header = struct.pack(">II", 0x08000000, 7 << 8)
    inner = [tcp_frame(ENDS, segment) for segment in tcp_segments(turns)]
    return [udp_frame(ENDS, True, header + frame) for frame in inner]


def _counting_padding(turns: list[Turn]) -> list[bytes]:
    """TCP, as a recorder writes it that counts Ethernet's padding as part of the packets."""
    return [counting_padding(tcp_frame(ENDS, segment), 46) for segment in tcp_segments(turns)]


def _answered_twice(turns: list[Turn]) -> list[bytes]:
    """TCP, with a second SYN-ACK that has another number."""
    return [tcp_frame(ENDS, segment) for segment in answered_twice(5000)(list(tcp_segments(turns)))]


MENDED = "only without second SYN-ACKs, and without padding that counts as data"


@pytest.mark.parametrize(
    ("wrap", "says"),
    [
        (_numbers_in_the_wrong_byte_order, "only if it does not reassemble out-of-order segments"),
        (_without_the_reply_to_connect, "only with --disable-protocol http"),
        (in_chunks, "only with --decode-as sctp.port==40001,tls"),
        (_in_vxlan, "only with --decode-as udp.port==40001,vxlan"),
        (_counting_padding, MENDED),
        (_answered_twice, MENDED),
    ],
)
def test_certificate_found_on_a_second_reading_is_used_and_the_setting_named(
    tmp_path: Path, wrap: Callable[[list[Turn]], list[bytes]], says: str
) -> None:
    identity = make_identity(tmp_path, "vpn.example")
    der = ssl.PEM_cert_to_DER_cert(identity.certificate.read_text())
    path = tmp_path / "hidden.pcap"
    path.write_bytes(pcap(wrap(tls_transcript(identity, version=ssl.TLSVersion.TLSv1_2))))
    assert stock(path) == [], "a tuned tshark shows it at once: choose another wrapping"
    seen = both(path)
    assert set(seen.certificates.values()) == {der}
    assert seen.problems == ()
    (note,) = seen.notes
    assert says in note


@pytest.mark.parametrize("backwards", [False, True])
def test_where_tshark_finds_no_protocol_settings_are_tried(tmp_path: Path, backwards: bool) -> None:
    """The dissector of a port may take packets and name nothing, and the end of a message may come first."""
    own = identity("vpn.example", padding=2500)
    hello, flight, answer = (said.payload for said in talk(own)[:3])
    stream = Stream(PHONE, 49200, HEAD_END, 1433)
    frames = stream.open()
    for from_client, said in (
        (False, b"220 mx ESMTP\r\n"),
        (True, b"STARTTLS\r\n"),
        (False, b"220 go\r\n"),
        (True, hello),
    ):
        frames += stream.send(said, from_client=from_client)
    segments = stream.send(flight, from_client=False, segment=600)
    frames += segments[::-1] if backwards else segments
    path = tmp_path / "mail.pcap"
    path.write_bytes(pcap([*frames, *stream.send(answer, from_client=True)]))
    seen = both(path)
    assert len(seen.certificates) == 1
    assert seen.problems == ()


def test_a_format_that_only_tshark_reads_is_mended_too(tmp_path: Path) -> None:
    turns = tls_transcript(make_identity(tmp_path, "vpn.example"), version=ssl.TLSVersion.TLSv1_2)
    path, snoop = tmp_path / "twice.pcap", tmp_path / "twice.snoop"
    path.write_bytes(pcap(_answered_twice(turns)))
    subprocess.run([need("editcap"), "-F", "snoop", path, snoop], check=True, capture_output=True)
    first, second = both(path), both(snoop)
    assert len(first.certificates) == 1
    assert replace(second, path=first.path) == first


@pytest.mark.parametrize("wrap", [_counting_padding, _answered_twice])
def test_a_resumed_session_is_not_taken_for_one_with_missing_packets(
    tmp_path: Path, wrap: Callable[[list[Turn]], list[bytes]]
) -> None:
    path = tmp_path / "resumed.pcap"
    path.write_bytes(pcap(wrap(resumed(bytes(range(32))))))
    seen = both(path)
    assert [one.hidden for one in seen.handshakes] == ["resumed"]
    assert seen.problems == ()
    # If a rule made tshark dissect the connection as TLS, only certificates count.
    nothing = replace(seen, handshakes=())
    asked = frozenset(frozenset((one.client, one.server)) for one in seen.handshakes)
    for as_tls, taken in ((True, seen.handshakes), (False, ())):
        assert again.merged(nothing, seen, asked, (), as_tls=as_tls).taken == taken


def test_a_certificate_whose_end_was_not_captured_is_named_with_this_reason(tmp_path: Path) -> None:
    """Without the hellos before it there is no handshake that could give the reason."""
    own = make_identity(tmp_path, "vpn.example")
    turns = tls_transcript(own, version=ssl.TLSVersion.TLSv1_2)
    der = ssl.PEM_cert_to_DER_cert(own.certificate.read_text())
    said = next(turn for turn in turns if der in turn.data)
    # Before it are the lengths of itself and of the list, and the headers of the message and of the record.
    record_of_certificate = said.data[said.data.index(der) - 3 - 3 - 4 - 5 :]
    sent = list(tcp_segments([said._replace(data=record_of_certificate)], mss=400))
    path = tmp_path / "cut.pcap"
    path.write_bytes(pcap([tcp_frame(ENDS, segment) for segment in sent if segment.payload][:1]))
    (problem,) = both(path).problems
    assert "the capture does not have the whole message" in problem.message


def test_dissectors_that_fail_are_told_of_once_a_protocol() -> None:
    said = [
        f"Dissector bug, protocol {name}, in packet {n}: bad" for name in ("SNMP", "TLS") for n in (1, 2, 3)
    ]
    failures, notes = tshark.sorted_complaints([*said, "Lua: bad"])
    assert failures == (
        "Lua: bad",
        "Dissector bug, protocol TLS, in packet 1: bad (and in 2 more packets)",
    )
    assert notes == ("Dissector bug, protocol SNMP, in packet 1: bad (and in 2 more packets)",)


def test_an_icmp_error_that_was_cut_is_no_missing_packet(tmp_path: Path) -> None:
    """The statistics of tshark do not count such a frame."""
    whole = udp_frame(ENDS, True, b"x")
    # DNS; the queried name is cut off.
    question = struct.pack(">HHHH6H", 1202, 53, 41, 0, 0, 0x0100, 1, 0, 0, 0)
    cited = struct.pack(">BBHHHBBH", 0x45, 0, 61, 0, 0, 64, 17, 0) + whole[26:34] + question
    missing = 61 - len(cited)
    head = struct.pack(">BBHHHBBH", 0x45, 0, 28 + 61, 0, 0, 64, 1, 0) + whole[26:34]
    cut = whole[:14] + head + b"\x03\x03" + bytes(6) + cited
    capture = bytearray(pcap([whole, cut, whole]))
    at = 24 + 16 + len(whole)
    struct.pack_into("<II", capture, at + 8, len(cut), len(cut) + missing)
    path = tmp_path / "icmp.pcap"
    path.write_bytes(capture)
    seen = both(path)
    assert (seen.status, seen.packets, seen.problems) == ("complete", 3, ())


def test_a_rejection_is_seen_where_tshark_recognises_no_tls_and_shows_the_certificate_elsewhere(
    tmp_path: Path,
) -> None:
    server, path = identity("vpn.example"), tmp_path / "rejected.pcap"
    asks = Said(
        from_client=True, payload=b"CONNECT vpn.example:443 HTTP/1.1\r\nHost: vpn.example:443\r\n\r\n"
    )
    accepts = conversation(talk(server), client_port=40001)
    path.write_bytes(pcap(accepts + conversation([asks, *rejected(server)], client_port=40002)))
    seen = both(path)
    assert [len(each.certificates) for each in seen.handshakes] == [1, 1]
    assert [[alert.code for alert in each.alerts] for each in seen.handshakes] == [[], [42]]
    assert seen.problems == ()
