"""Test how every version of Wireshark shows verdicts: columns, filters, passes, recorded captures."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from tests.harness import packets
from tests.harness.packets import HEAD_END, conversation, identity, rejected, talk, transfer
from tests.plugin.desk import DEVICE, LEAF, LEARNED, NAMES, OTHER, TWICE, Desk, told, value
from tests.plugin.machines import TOP

if TYPE_CHECKING:
    from tests.plugin.machines import Machine


def in_ipv6_fragments(frame: bytes, number: int, size: int = 600) -> list[bytes]:
    """Return the frames of a tunnel (RFC 2473) with a frame's IPv4 packet in fragments (RFC 8200, 4.5)."""
    packet = frame[14:]
    pieces = [packet[at : at + size] for at in range(0, len(packet), size)]
    frames = []
    for at, piece in enumerate(pieces):
        offset = at * size | (at < len(pieces) - 1)
        header = bytes([4, 0]) + offset.to_bytes(2, "big") + number.to_bytes(4, "big")
        frames.append(packets.ip("2001:db8::a", "2001:db8::b", 44, header + piece))
    return frames


def test_read_filter(place: Machine) -> None:
    """Dropped frames are seen once, and the kept ones get their numbers."""
    desk = Desk(place, {f"{DEVICE}.cnf.xml": told(value(LEAF))}, conversation(rejected(LEAF)))
    kept = ("-2", "-R", "tls.handshake.certificate || tls.alert_message")
    certificate, alert = desk.rows(*kept)
    assert certificate["certhash.verdict"] == alert["certhash.verdict"] == ["rejected"]
    assert certificate["certhash.rejected_in"] == alert["frame.number"]
    assert alert["certhash.certificate_in"] == certificate["frame.number"]
    fetched = transfer(f"{DEVICE}.cnf.xml", told(value(LEAF)))
    desk = Desk(place, {}, fetched + conversation(rejected(LEAF)))
    assert not any(row[LEARNED] for row in desk.rows(*kept, names=(*NAMES, LEARNED)))


def test_tunnel_whose_packets_come_in_fragments(place: Machine) -> None:
    """The addresses are the inner ones, although the reassembled packet has its own buffer."""
    frames = conversation(rejected(LEAF))
    carried = [part for number, frame in enumerate(frames) for part in in_ipv6_fragments(frame, number)]
    assert len(carried) > len(frames)
    desk = Desk(place, {f"{DEVICE}.cnf.xml": told(value(LEAF))}, carried)
    assert desk.verdicts(*TWICE) == ["rejected", "rejected"]


@pytest.mark.parametrize(
    ("name", "rejected_in"), [("encrypted-alert-dtls", []), ("encrypted-alert", []), ("dtls-refused", ["11"])]
)
def test_encrypted_alerts_say_nothing(place: Machine, name: str, rejected_in: list[str]) -> None:
    """After a side's ChangeCipherSpec, an apparent alert is ciphertext; before it, it is an alert."""
    capture = place.put(f"{name}.pcapng", (TOP / "tests" / "captures" / f"{name}.pcapng").read_bytes())
    rows = place.fields(capture, "certhash.rejected_in", "certhash.sha1", options=TWICE)
    assert [row["certhash.rejected_in"] for row in rows if row["certhash.sha1"]] == [rejected_in]


def test_hostile_text_is_written_out(place: Machine) -> None:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, "a\x1b[31m\x07%s\n\u202eb"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "É"),
        ]
    )
    desk = Desk(
        place, {f"{DEVICE}.cnf.xml": told('x"\x7f&#x9b;0m%d\u202e')}, conversation(talk(identity(subject)))
    )
    (row,) = desk.rows(names=("certhash.certificate",))
    shown = row["certhash.certificate"][0].replace("\\\\", "\\")  # from 4.4 on tshark doubles backslashes
    assert shown.endswith(r"CN=a\x1b[31m\x07%s\x0a\xe2\x80\xaeb, O=É")
    words = desk.words()
    assert "\x1b" not in words
    assert r'"x"\x7f\xc2\x9b0m%d\xe2\x80\xae" (not a hash)' in words


def test_info_column(place: Machine) -> None:
    desk = Desk(place, {f"{DEVICE}.cnf.xml": told(value(OTHER))}, conversation(rejected(LEAF)))
    shown = place.tshark(desk.capture, *desk.options, *TWICE).stdout
    assert "[certhash: mismatch]" in shown
    assert "[certhash: certificate rejected, mismatch]" in shown
    desk = Desk(place, {f"{DEVICE}.cnf.xml": told(value(LEAF))}, conversation(rejected(LEAF)))
    shown = place.tshark(desk.capture, *desk.options, *TWICE).stdout
    assert "[certhash: rejected]" in shown
    assert "[certhash: certificate rejected, though the hash matches]" in shown
    hidden = place.tshark(desk.capture, *desk.options, "-o", "certhash.info_column:FALSE").stdout
    assert "certhash" not in hidden


def test_expert_summary(place: Machine) -> None:
    desk = Desk(place, {f"{DEVICE}.cnf.xml": told(value(OTHER))}, conversation(rejected(LEAF)))
    done = place.tshark(desk.capture, *desk.options, "-q", "-z", "expert")
    assert "Warns (1)" in done.stdout
    assert "Errors (1)" in done.stdout
    assert f"{DEVICE} expects {value(OTHER)}" in done.stdout


def test_filters(place: Machine) -> None:
    desk = Desk(place, {f"{DEVICE}.cnf.xml": told(value(OTHER))}, conversation(rejected(LEAF)))
    for text in (
        'certhash.verdict == "mismatch"',
        f'certhash.device == "{DEVICE}"',
        f'certhash.url contains "{HEAD_END}"',
        "certhash.certificate_in || certhash.rejected_in",
        "certhash.expert.mismatch || certhash.expert.rejected",
    ):
        assert len(desk.rows("-2", "-Y", text, names=("certhash.story",))) == 2, text
    assert len(desk.rows("-Y", "certhash.match == 0", names=("certhash.sha1",))) == 1
    assert desk.rows("-Y", "certhash.match == 1", names=("certhash.sha1",)) == []


@pytest.mark.parametrize("name", ["match", "mismatch", "ca-hash", "dtls", "anyconnect", "rejected"])
def test_same_verdicts_as_recorded(place: Machine, name: str) -> None:
    """The committed captures with their cnf files give the recorded verdicts."""
    book = json.loads((TOP / "captures" / "expected.json").read_text())
    (entry,) = [capture for capture in book["captures"] if capture["path"].startswith(f"{name}.")]
    files = {file.name: file.read_bytes() for file in (TOP / "captures" / "cnf").iterdir()}
    desk = Desk(place, files, [])
    desk.capture = place.put(entry["path"], (TOP / "captures" / entry["path"]).read_bytes())
    rows = desk.rows(*TWICE, "-o", "tcp.reassemble_out_of_order:TRUE")
    shown = [row["certhash.verdict"][0] for row in rows if row["certhash.match"]]
    visible = [one["verdict"] for one in entry["handshakes"] if one["certificates"]]
    assert shown == visible


def test_dtls_uses_443_whatever_the_url_says(place: Machine) -> None:
    """The recorded DTLS handshake, judged by a file whose URL names another port."""
    book = json.loads((TOP / "captures" / "expected.json").read_text("utf-8"))
    (entry,) = [capture for capture in book["captures"] if capture["path"] == "dtls.pcapng"]
    (handshake,) = entry["handshakes"]
    url = f"https://{handshake['server']['address']}:8443/x"
    files = {f"{DEVICE}.cnf.xml": told(handshake["certificates"][0]["sha1"], url=url)}
    desk = Desk(place, files, [])
    desk.capture = place.put("dtls.pcapng", (TOP / "captures" / "dtls.pcapng").read_bytes())
    assert desk.verdicts() == ["match"]
