"""Test the fields of certificates: every certificate, in order, with the hash that hashlib computes."""

from __future__ import annotations

import base64
import hashlib
import random
import ssl
import struct
from typing import TYPE_CHECKING

import pytest
from tests.harness import packets
from tests.harness.packets import Said, conversation, identity, pcap, talk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.plugin.machines import Machine

FIELDS = ("certificate", "sha1", "thumbprint", "sha256", "position")
NAMES = tuple(f"certhash.{name}" for name in FIELDS)
STOCK = "tls.handshake.certificate"

ROOT = identity("Root")
MIDDLE = identity("Middle", ROOT)
LEAF = identity("vpn.example", MIDDLE)
PHONE = identity("SEP001F6C81110E")


def b64(algorithm: str, der: bytes) -> str:
    return base64.b64encode(hashlib.new(algorithm, der).digest()).decode()


def check(row: dict[str, list[str]], chain: Sequence[bytes], sender: str) -> None:
    """Compare one frame's fields with its certificates."""
    sha1 = [b64("sha1", der) for der in chain]
    assert row["certhash.sha1"] == sha1
    assert row["certhash.thumbprint"] == [hashlib.sha1(der).hexdigest() for der in chain]  # noqa: S324
    assert row["certhash.sha256"] == [b64("sha256", der) for der in chain]
    assert row["certhash.position"] == [str(position) for position in range(len(chain))]
    for position, (text, value) in enumerate(zip(row["certhash.certificate"], sha1, strict=True)):
        assert text.startswith(f"{position} ({sender}): {value}")


def message(chain: Sequence[bytes]) -> bytes:
    """Return a TLS 1.2 Certificate message (RFC 5246, section 7.4.2), without the record around it."""
    listed = b"".join(len(der).to_bytes(3, "big") + der for der in chain)
    body = len(listed).to_bytes(3, "big") + listed
    return b"\x0b" + len(body).to_bytes(3, "big") + body


def records(data: bytes, size: int = 16384) -> bytes:
    """Return handshake bytes in TLS records."""
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    return b"".join(b"\x16\x03\x03" + struct.pack("!H", len(piece)) + piece for piece in pieces)


@pytest.mark.parametrize("segment", [1400, 100, 60000])
def test_chain_of_a_real_handshake(place: Machine, segment: int) -> None:
    capture = place.put("chain.pcap", pcap(conversation(talk(LEAF), segment=segment)))
    (row,) = place.fields(capture, *NAMES, STOCK)
    chain = [LEAF.der, MIDDLE.der, ROOT.der]
    assert row[STOCK] == [der.hex() for der in chain]
    check(row, chain, "server")


def test_both_senders(place: Machine) -> None:
    capture = place.put("both.pcap", pcap(conversation(talk(LEAF, client=PHONE))))
    server, client = place.fields(capture, *NAMES)
    check(server, [LEAF.der, MIDDLE.der, ROOT.der], "server")
    check(client, [PHONE.der], "client")


def test_ports_do_not_decide_who_is_the_server(place: Machine) -> None:
    said = talk(LEAF, client=PHONE)
    frames = conversation(said, client_port=443, server_port=50443)
    capture = place.put("ports.pcap", pcap(frames))
    options = ("-d", "tcp.port==443,tls")
    server, client = place.fields(capture, *NAMES, options=options)
    check(server, [LEAF.der, MIDDLE.der, ROOT.der], "server")
    check(client, [PHONE.der], "client")


def test_capture_that_starts_after_the_client_hello(place: Machine) -> None:
    frames = conversation(talk(LEAF), segment=60000)
    capture = place.put("late.pcap", pcap(frames[4:]))
    (row,) = place.fields(capture, *NAMES)
    check(row, [LEAF.der, MIDDLE.der, ROOT.der], "server")


def test_ipv6(place: Machine) -> None:
    frames = conversation(talk(LEAF), client="2001:db8::7", server="2001:db8::1")
    (row,) = place.fields(place.put("ipv6.pcap", pcap(frames)), *NAMES)
    check(row, [LEAF.der, MIDDLE.der, ROOT.der], "server")


def test_several_messages_in_one_frame(place: Machine) -> None:
    chains = [[LEAF.der, MIDDLE.der], [ROOT.der], [], [PHONE.der, ROOT.der, MIDDLE.der]]
    hello = talk(LEAF)[0]
    for name, flight in {
        "records": b"".join(records(message(chain)) for chain in chains),
        "one record": records(b"".join(message(chain) for chain in chains)),
        "split": records(b"".join(message(chain) for chain in chains), 300),
    }.items():
        frames = conversation([hello, Said(from_client=False, payload=flight)], segment=60000)
        capture = place.put("messages.pcap", pcap(frames))
        rows = place.fields(capture, *NAMES, STOCK)
        assert [row["frame.number"] for row in rows] == [["5"]], name
        ders = [der for chain in chains for der in chain]
        assert rows[0][STOCK] == [der.hex() for der in ders], name
        assert rows[0]["certhash.sha1"] == [b64("sha1", der) for der in ders], name
        positions = [str(position) for chain in chains for position in range(len(chain))]
        assert rows[0]["certhash.position"] == positions, name


def test_sixty_certificates(place: Machine) -> None:
    """More certificates than Wireshark can show are hashed if its X.509 attributes are disabled."""
    chain = [identity(f"certificate {number}").der for number in range(60)]
    frames = conversation([talk(LEAF)[0], Said(from_client=False, payload=records(message(chain)))])
    capture = place.put("sixty.pcap", pcap(frames))
    off = [
        part
        for name in ("x509sat", "x509ce", "pkix1explicit", "pkix1implicit")
        for part in ("--disable-protocol", name)
    ]
    (row,) = place.fields(capture, *NAMES, options=tuple(off))
    check(row, chain, "server")


def test_what_is_no_certificate(place: Machine) -> None:
    """The sent bytes are hashed, even if Wireshark's field ends elsewhere; after damage it may end."""
    hello = talk(LEAF)[0]
    shown = (b"", b"\x30", b"not a certificate", b"\xff" * 19)
    too_long = bytes(70000)  # Wireshark shows no message of more than 64 KB
    frames: list[bytes] = []
    for number, junk in enumerate([*shown, too_long]):
        flight = Said(from_client=False, payload=records(message([junk, LEAF.der])))
        frames += conversation([hello, flight], client_port=49200 + number)
    rows = place.fields(place.put("junk.pcap", pcap(frames)), *NAMES, STOCK)
    for row, junk in zip(rows, shown, strict=True):
        assert row["certhash.sha1"] == [b64("sha1", der) for der in (junk, LEAF.der)][: len(row[STOCK])]


def test_tls_13_with_keys(place: Machine) -> None:
    """Without keys, a TLS 1.3 handshake shows no certificate, and the plugin adds nothing."""
    capture = place.put("tls13.pcap", pcap(conversation(talk(LEAF, version=ssl.TLSVersion.TLSv1_3))))
    assert place.fields(capture, *NAMES) == []


def test_every_pass_and_every_form(place: Machine) -> None:
    frames = conversation(talk(LEAF, client=PHONE)) + conversation(talk(PHONE), client_port=49201)
    capture = place.put("passes.pcap", pcap(frames))
    once = place.fields(capture, *NAMES)
    assert len(once) == 3
    assert place.fields(capture, *NAMES, options=("-2",)) == once
    assert place.fields(capture, *NAMES, options=("-Y", "certhash")) == once
    assert place.fields(capture, *NAMES, options=("-2", "-R", "certhash.sha1")) != []
    wanted = b64("sha1", PHONE.der)
    assert place.fields(capture, *NAMES, options=("-Y", f'certhash.sha1 == "{wanted}"')) == once[1:]
    thumbprint = once[1]["certhash.thumbprint"][0]
    colons = ":".join(thumbprint[at : at + 2] for at in range(0, 40, 2))
    assert place.fields(capture, *NAMES, options=("-Y", f"certhash.thumbprint == {colons}")) == once[1:]
    column = 'gui.column.format:"Hash","%Cus:certhash.sha1:0:R"'
    # A column must be filled although no filter names the protocol.
    for options in ((), ("-2",), ("-Y", "certhash")):
        shown = place.tshark(capture, "-o", column, *options).stdout.split()
        assert shown == [",".join(row["certhash.sha1"]) for row in once]


def test_out_of_order_segments(place: Machine) -> None:
    frames = conversation(talk(LEAF), segment=200)
    source = random.Random(3)
    head, flight = frames[:6], frames[6:10]
    source.shuffle(flight)
    capture = place.put("order.pcap", pcap(head + flight + frames[10:]))
    (row,) = place.fields(capture, *NAMES, options=("-o", "tcp.reassemble_out_of_order:TRUE"))
    check(row, [LEAF.der, MIDDLE.der, ROOT.der], "server")


def test_name_that_is_found_for_a_host_during_its_connection(place: Machine) -> None:
    """TLS after an X.224 request ([MS-RDPBCGR] 2.2.1.1), while Wireshark shows names for addresses."""
    asked = bytes.fromhex("0300001c 17e00000000000 436f6f6b69653a0d0a 0100080003000000")
    answered = bytes.fromhex("03000013 0ed00000123400 0200080001000000")
    said = [Said(from_client=True, payload=asked), Said(from_client=False, payload=answered), *talk(LEAF)]
    question = b"\3rdp\7example\0\0\1\0\1"
    address = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + bytes(map(int, packets.HEAD_END.split(".")))
    lookup = b"\0\1\x81\x80\0\1\0\1\0\0\0\0" + question + address
    frames = conversation(said, server_port=3389)
    frames.insert(5, packets.udp("192.0.2.53", 53, packets.PHONE, 5353, lookup))
    capture = place.put("names.pcap", pcap(frames))
    for passes in ([], ["-2"]):
        preferences = ("-o", "tcp.try_heuristic_first:TRUE", "-o", "certhash.follow_tls:TRUE")
        options = ("-N", "dn", *preferences, *passes)
        (row,) = place.fields(capture, *NAMES, options=options)
        check(row, [LEAF.der, MIDDLE.der, ROOT.der], "server")


def test_nothing_in_other_traffic(place: Machine) -> None:
    frames = [packets.udp(packets.PHONE, 5000, packets.HEAD_END, 5001, bytes(100))] * 5
    assert (
        place.fields(place.put("other.pcap", pcap(frames)), "certhash.sha1", "certhash.cnf_downloaded") == []
    )
