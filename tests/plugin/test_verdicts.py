"""Test matching hashes, expectations of a head-end's phones, and alerts that answer certificates."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import pytest
from tests.conftest import certhash
from tests.harness import packets
from tests.harness.packets import (
    HEAD_END,
    OTHER_PHONE,
    PHONE,
    Said,
    conversation,
    pcap,
    rejected,
    talk,
    transfer,
)
from tests.plugin.conftest import ends
from tests.plugin.desk import (
    DEVICE,
    LEAF,
    OTHER,
    OTHER_DEVICE,
    ROOT,
    TWICE,
    URL,
    Desk,
    told,
    value,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.plugin.machines import Machine


pytestmark = ends


def path(place: Machine, name: str) -> str:
    return str(place.folder / "cnf" / name)


def test_match(place: Machine) -> None:
    name = f"{DEVICE}.cnf.xml"
    desk = Desk(place, {name: told(value(LEAF))}, conversation(talk(LEAF)))
    (row,) = desk.rows()
    assert row["certhash.verdict"] == ["match"]
    assert row["certhash.match"] == ["1", "0"] or row["certhash.match"] == ["True", "False"]
    assert row["certhash.device"] == [DEVICE]
    assert row["certhash.cnf"] == [path(place, name)]
    assert row["certhash.url"] == [URL]
    assert f"certHash1 of {DEVICE}" in desk.words()
    assert desk.frames("certhash.expert.match") == row["frame.number"]


def test_hash_of_the_ca(place: Machine) -> None:
    desk = Desk(place, {f"{DEVICE}.cnf.xml": told(value(OTHER), value(ROOT))}, conversation(talk(LEAF)))
    (row,) = desk.rows()
    assert row["certhash.verdict"] == ["match"]
    assert [flag in {"1", "True"} for flag in row["certhash.match"]] == [False, True]
    assert f"certHash2 of {DEVICE}, CA certificate" in desk.words()


def test_mismatch_with_its_alert(place: Machine) -> None:
    desk = Desk(place, {f"{DEVICE}.cnf.xml": told(value(OTHER))}, conversation(rejected(LEAF)))
    once = desk.rows()
    certificate, alert = once
    assert certificate["certhash.verdict"] == alert["certhash.verdict"] == ["mismatch"]
    assert alert["certhash.certificate_in"] == certificate["frame.number"]
    assert certificate["certhash.device"] == alert["certhash.device"] == [DEVICE]
    linked = desk.rows(*TWICE)
    assert linked[0]["certhash.rejected_in"] == alert["frame.number"]
    words = desk.words()
    assert f"{PHONE} rejected {value(LEAF)} 1 ms later: bad_certificate (42)" in words
    assert f"{DEVICE} expects {value(OTHER)}" in words
    top = f"\n[Certificate hash: mismatch, {DEVICE} expects {value(OTHER)}, got {value(LEAF)}]\n"
    assert top in words, "the top line of the tree says the whole answer"
    assert desk.frames("certhash.expert.mismatch") == certificate["frame.number"]
    assert desk.frames("certhash.expert.rejected") == alert["frame.number"]


def test_alert_before_its_certificate_by_the_clock(place: Machine) -> None:
    """No time span is shown if the clock was set back between the two."""
    *before, alert = conversation(rejected(LEAF))
    desk = Desk(place, {}, before)
    record = bytearray(pcap([alert])[24:])
    record[:4] = (1_600_000_000).to_bytes(4, "little")
    desk.capture = place.put("desk.pcap", pcap(before) + record)
    assert f"{PHONE} rejected {value(LEAF)}: bad_certificate (42)" in desk.words()


def test_rejected_though_it_matches(place: Machine) -> None:
    desk = Desk(place, {f"{DEVICE}.cnf.xml": told(value(LEAF))}, conversation(rejected(LEAF)))
    assert desk.verdicts() == ["match", "rejected"]  # the alert comes after the certificate's frame
    assert desk.verdicts(*TWICE) == ["rejected", "rejected"]
    assert "the hash matches, so there is another cause" in desk.words()


def test_unlisted(place: Machine) -> None:
    files = {
        f"{DEVICE}.cnf.xml": told(value(LEAF), url="https://198.51.100.99/x"),
        f"{OTHER_DEVICE}.cnf.xml": told(value(OTHER), url=f"https://{HEAD_END}:8443/x"),
    }
    desk = Desk(place, files, conversation(talk(LEAF)))
    (row,) = desk.rows()
    assert row["certhash.verdict"] == ["unlisted"]
    assert [flag in {"1", "True"} for flag in row["certhash.match"]] == [True, False]
    assert "which uses another head-end" in desk.words()


def test_alert_of_openssl_without_any_configuration(place: Machine) -> None:
    """A real client that does not know the CA: fatal unknown_ca (48)."""
    frames = conversation(talk(LEAF, trusted=OTHER))
    desk = Desk(place, {}, frames)
    certificate, alert = desk.rows(*TWICE)
    assert certificate["certhash.verdict"] == alert["certhash.verdict"] == ["unlisted"]
    assert alert["certhash.certificate_in"] == certificate["frame.number"]
    assert certificate["certhash.rejected_in"] == alert["frame.number"]
    assert "unknown_ca (48)" in desk.words()


def test_which_alerts_count(place: Machine) -> None:
    linked = {
        "15 0303 0002 02 2a": True,
        "15 0303 0002 01 2a": False,  # a warning
        "15 0303 0002 02 28": False,  # handshake_failure
        "15 0303 0002 02 2f": False,  # illegal_parameter (47) lies between those about certificates
        "15 0303 0002 02 2e": True,
        "15 0303 0002 01 00 15 0303 0002 02 30": True,
    }
    offered = talk(LEAF)[:2]
    frames: list[bytes] = []
    last = {}
    for number, alert in enumerate(linked):
        said = [*offered, Said(from_client=True, payload=bytes.fromhex(alert))]
        frames += conversation(said, client_port=49200 + number)
        last[str(len(frames))] = alert
    rows = Desk(place, {}, frames).rows()
    found = {last[row["frame.number"][0]] for row in rows if row["certhash.certificate_in"]}
    assert found == {alert for alert, counts in linked.items() if counts}


def test_server_refuses_the_client(place: Machine) -> None:
    alert = Said(from_client=False, payload=bytes.fromhex("15 0303 0002 02 2b"))
    said = [*talk(LEAF, client=OTHER)[:3], alert]
    desk = Desk(place, {f"{DEVICE}.cnf.xml": told(value(LEAF))}, conversation(said, segment=60000))
    server, client, last = desk.rows(*TWICE)
    assert server["certhash.verdict"] == ["match"]
    assert not server["certhash.rejected_in"]
    assert last["certhash.certificate_in"] == ["6"]
    assert client["certhash.rejected_in"] == last["frame.number"]
    assert client["certhash.verdict"] == last["certhash.verdict"] == []


@pytest.mark.parametrize(
    ("url", "server", "port", "sni", "verdict"),
    [
        (URL, HEAD_END, 443, None, "match"),
        (URL, HEAD_END, 8443, None, "unlisted"),
        (f"https://{HEAD_END}:8443/x", HEAD_END, 8443, None, "match"),
        ("https://[2001:db8::1]/x", "2001:db8:0::1", 443, None, "match"),
        ("https://VPN.Example./x", HEAD_END, 443, "vpn.example", "match"),
        ("https://vpn.example/x", HEAD_END, 443, "www.example", "unlisted"),
        ("https://vpn.example/x", HEAD_END, 443, None, "unlisted"),
        (f"http://{HEAD_END}/x", HEAD_END, 443, None, "unlisted"),
    ],
)
def test_which_head_end_a_url_names(  # noqa: PLR0913, PLR0917 - a table of cases
    place: Machine, url: str, server: str, port: int, sni: str | None, verdict: str
) -> None:
    client = "2001:db8::7" if ":" in server else PHONE
    frames = conversation(talk(LEAF, server_name=sni), client=client, server=server, server_port=port)
    assert Desk(place, {f"{DEVICE}.cnf.xml": told(value(LEAF), url=url)}, frames).verdicts() == [verdict]


def dns_name(name: str) -> bytes:
    return b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0"


def dns_record(owner: bytes, address: str) -> bytes:
    return owner + b"\0\1\0\1\0\0\0\x3c\0\4" + bytes(int(part) for part in address.split("."))


def dns_answer(name: str, address: str, *, alias: str = "", more: tuple[tuple[str, str], ...] = ()) -> bytes:
    """Return a DNS response (RFC 1035) with one address, and with those of other names beside it."""
    asked = dns_name(name) + b"\0\1\0\1"
    answers = [dns_record(dns_name(alias) if alias else b"\xc0\x0c", address)]
    if alias:
        length = len(dns_name(alias)).to_bytes(2, "big")
        answers.insert(0, b"\xc0\x0c\0\5\0\1\0\0\0\x3c" + length + dns_name(alias))
    counts = b"".join(n.to_bytes(2, "big") for n in (1, len(answers), 0, len(more)))
    beside = b"".join(dns_record(dns_name(owner), found) for owner, found in more)
    return packets.udp(
        "192.0.2.53", 53, PHONE, 5353, b"\0\1\x81\x80" + counts + asked + b"".join(answers) + beside
    )


def test_name_found_by_dns(place: Machine) -> None:
    files = {f"{DEVICE}.cnf.xml": told(value(LEAF), url="https://vpn.example/x")}
    lookup, handshake = [dns_answer("vpn.example", HEAD_END)], conversation(talk(LEAF))
    assert Desk(place, files, lookup + handshake).verdicts() == ["match"]
    assert Desk(place, files, handshake + lookup).verdicts(*TWICE) == ["unlisted"]
    assert Desk(place, files, [dns_answer("other.example", HEAD_END), *handshake]).verdicts() == ["unlisted"]
    alias = dns_answer("VPN.example", HEAD_END, alias="asa.example")
    assert Desk(place, files, [alias, *handshake]).verdicts() == ["match"]


def test_name_asked_for_before_any_url_is_known(place: Machine) -> None:
    """Another client's ClientHello shows the address of the name, and a phone connects there later."""
    asked = conversation(talk(OTHER, server_name="vpn.example"), client=OTHER_PHONE)
    fetched = transfer(f"{DEVICE}.cnf.xml", told(value(LEAF), url="https://vpn.example/x"))
    desk = Desk(place, {}, asked + fetched + conversation(talk(LEAF)))
    assert desk.verdicts() == desk.verdicts(*TWICE) == ["unlisted", "match"]


def test_name_asked_for_is_not_the_next_connections(place: Machine) -> None:
    """An unanswered ClientHello, then another from the same port, which asks for no name."""
    files = {f"{DEVICE}.cnf.xml": told(value(LEAF), url="https://vpn.example/x")}
    first = packets.Stream(PHONE, 49200, HEAD_END, 443)
    again = packets.Stream(PHONE, 49200, HEAD_END, 443, sent={True: 900_000, False: 800_000})
    frames = [dns_answer("vpn.example", HEAD_END), *first.open()]
    frames += first.send(talk(LEAF, server_name="www.example")[0].payload, from_client=True)
    frames += again.open()
    for said in talk(LEAF):
        frames += again.send(said.payload, from_client=said.from_client)
    assert Desk(place, files, frames).verdicts() == ["match"]


def test_dns_answer_with_other_hosts_gives_no_address_of_the_head_end(place: Machine) -> None:
    """The response also contains the name server's address, which is not that of the head-end."""
    files = {f"{DEVICE}.cnf.xml": told(value(LEAF), url="https://vpn.example/x")}
    beside = dns_answer("vpn.example", "198.51.100.99", more=(("ns.example", HEAD_END),))
    assert Desk(place, files, [beside, *conversation(talk(LEAF))]).verdicts() == ["unlisted"]


def test_learned_from_the_capture(place: Machine) -> None:
    before = conversation(talk(LEAF), client_port=50001)
    fetched = transfer(f"{DEVICE}.cnf.xml", told(value(LEAF)))
    after = conversation(talk(LEAF), client_port=50002)
    other = conversation(talk(OTHER), client_port=50003)
    desk = Desk(place, {}, before + fetched + after + other)
    for options in ((), TWICE):
        assert desk.verdicts(*options) == ["unlisted", "match", "mismatch"]
    rows = [row for row in desk.rows() if row["certhash.verdict"] == ["match"]]
    assert rows[0]["certhash.device"] == [DEVICE]
    assert rows[0]["certhash.cnf"] == [f"{DEVICE}.cnf.xml"]
    off = desk.rows("-o", "certhash.learn_from_capture:FALSE", names=("certhash.cnf_downloaded",))
    assert off == []


def test_newer_file_replaces_the_older(place: Machine) -> None:
    name = f"{DEVICE}.cnf.xml"
    frames = transfer(name, told(value(OTHER)))
    frames += conversation(talk(LEAF), client_port=50001)
    frames += transfer(name, told(value(LEAF)), client_port=49301)
    frames += conversation(talk(LEAF), client_port=50002)
    assert Desk(place, {}, frames).verdicts(*TWICE) == ["mismatch", "match"]


def test_stale_copy_in_the_folder(place: Machine) -> None:
    name = f"{DEVICE}.cnf.xml"
    frames = transfer(name, told(value(LEAF))) + conversation(talk(LEAF))
    desk = Desk(place, {name: told(value(OTHER))}, frames)
    assert desk.verdicts() == ["match"]  # what the phone has counts
    assert " differs: it expects " in desk.words()
    assert len(desk.frames("certhash.expert.stale")) == 1
    same = Desk(place, {name: told(value(LEAF)) + b"\n"}, frames)
    assert same.frames("certhash.expert.stale") == []


def test_copy_for_another_head_end(place: Machine) -> None:
    """The difference is stated, even if it is not the hash."""
    name, elsewhere = f"{DEVICE}.cnf.xml", "https://198.51.100.99/x"
    desk = Desk(place, {name: told(value(LEAF), url=elsewhere)}, transfer(name, told(value(LEAF))))
    assert f" differs: it expects {value(LEAF)} for {elsewhere}]" in desk.words()


@pytest.mark.parametrize("fetched", [False, True])
def test_encrypted_file_gives_no_warning_of_an_outdated_copy(place: Machine, fetched: bool) -> None:
    encrypted = b"\1\0\2\2\0\2\0\2\0\x0a" + bytes(range(100))
    files = [(f"{DEVICE}.cnf.xml", told(value(LEAF))), (f"{DEVICE}.cnf.xml.enc.sgn", encrypted)]
    desk = Desk(place, dict([files[not fetched]]), transfer(*files[fetched]))
    assert desk.frames("certhash.cnf_downloaded") != []
    assert desk.frames("certhash.expert.stale") == []


def test_phone_that_differs_from_the_others(place: Machine) -> None:
    """The hash of another phone matches, but the phone that downloaded its file here expects another."""
    frames = transfer(f"{DEVICE}.cnf.xml", told(value(OTHER))) + conversation(rejected(LEAF))
    desk = Desk(place, {f"{OTHER_DEVICE}.cnf.xml": told(value(LEAF))}, frames)
    assert desk.verdicts(*TWICE) == ["rejected", "rejected"]
    words = desk.words()
    assert (
        f"{DEVICE}, the last phone to download its cnf file at this address, expects {value(OTHER)}" in words
    )
    assert f"bad_certificate (42); {DEVICE} expects {value(OTHER)}" in words
    elsewhere = transfer(f"{DEVICE}.cnf.xml", told(value(OTHER)), client=OTHER_PHONE)
    assert "at this address" not in Desk(place, {}, elsewhere + conversation(talk(LEAF))).words()


def test_other_digests(place: Machine) -> None:
    sha256, sha512 = value(LEAF, "sha256"), value(LEAF, "sha512")
    name, frames = f"{DEVICE}.cnf.xml", conversation(talk(LEAF))
    # hashAlg 0 means SHA-1; for other values, only the length tells the algorithm.
    assert Desk(place, {name: told(sha256)}, frames).verdicts() == ["mismatch"]
    assert Desk(place, {name: told(sha256).replace(b"Alg>0<", b"Alg>1<")}, frames).verdicts() == ["match"]
    assert Desk(place, {name: told(sha512).replace(b"Alg>0<", b"Alg>1<")}, frames).verdicts() == []
    assert Desk(place, {name: told(hashlib.sha1(LEAF.der).hexdigest())}, frames).verdicts() == ["mismatch"]  # noqa: S324
    assert Desk(place, {name: told(value(LEAF)[:-1])}, frames).verdicts() == ["match"]  # padding missing
    assert Desk(
        place, {name: told("\n " + value(LEAF)[:9] + "\r\n" + value(LEAF)[9:])}, frames
    ).verdicts() == ["match"]


def test_hashes_of_any_length_as_the_audit_says(place: Machine, tmp_path: Path) -> None:
    """With hashAlg 0, only a SHA-1 matches; the audit and the plugin agree."""
    kinds = ("sha1", "sha224", "sha256", "sha384", "sha512", "md5")
    frames = conversation(talk(LEAF))
    files = {f"SEP00000000000{n}.cnf.xml": told(value(LEAF, kind)) for n, kind in enumerate(kinds)}
    shown = [Desk(place, {name: content}, frames).verdicts() for name, content in files.items()]
    assert shown == [["match"], *([["mismatch"]] * 5)]
    for name, content in {"desk.pcap": pcap(frames), **files}.items():
        (tmp_path / name).write_bytes(content)
    ended = certhash("audit", tmp_path / "desk.pcap", "--cnf", tmp_path, "-f", "json", "--no-cache")
    by_device = {one["device"]: one for one in ended.json["expectations"]}
    assert [[one["verdict"]] for _, one in sorted(by_device.items())] == shown
    causes = [one["cause"] for _, one in sorted(by_device.items())]
    assert causes == [None, *(["wrong-input"] * 5)]


def message(kind: int, body: bytes) -> bytes:
    """Return a DTLS handshake message in one fragment (RFC 6347, section 4.2.2)."""
    sequence = {1: 0, 2: 1, 11: 2, 14: 3}[kind].to_bytes(2, "big")
    size = len(body).to_bytes(3, "big")
    return bytes([kind]) + size + sequence + bytes(3) + size + body


CLIENT_HELLO = message(1, b"\xfe\xfd" + b"\1" * 32 + b"\0\0" + b"\0\2\0\x2f" + b"\1\0")
SERVER_HELLO = message(2, b"\xfe\xfd" + b"\2" * 32 + b"\0" + b"\0\x2f\0")
SERVER_HELLO_DONE = message(14, b"")


def certificate_message(der: bytes) -> bytes:
    listed = len(der).to_bytes(3, "big") + der
    return message(11, len(listed).to_bytes(3, "big") + listed)


def dtls(*contents: bytes, number: int, kind: int = 22, from_client: bool = True) -> bytes:
    """Return a datagram of records, whose sequence numbers start with `number`."""
    payload = b"".join(
        bytes([kind, 0xFE, 0xFD]) + at.to_bytes(8, "big") + len(content).to_bytes(2, "big") + content
        for at, content in enumerate(contents, number)
    )
    ends = (PHONE, 49200, HEAD_END, 443)
    return packets.udp(*(ends if from_client else ends[2:] + ends[:2]), payload)


@pytest.mark.parametrize("hello_again", [False, True])
def test_dtls_flight_that_is_sent_again(place: Machine, hello_again: bool) -> None:
    """The phone rejects the certificate, however often it was sent."""
    flight = (SERVER_HELLO, certificate_message(LEAF.der), SERVER_HELLO_DONE)
    frames = [dtls(CLIENT_HELLO, number=0), dtls(*flight, number=0, from_client=False)]
    frames += [dtls(CLIENT_HELLO, number=1)] * hello_again
    frames += [dtls(*flight, number=3, from_client=False), dtls(b"\2\x2a", number=2, kind=21)]
    desk = Desk(place, {f"{DEVICE}.cnf.xml": told(value(LEAF))}, frames)
    first, again, alert = desk.rows(*TWICE)
    assert first["certhash.verdict"] == again["certhash.verdict"] == alert["certhash.verdict"] == ["rejected"]
    assert first["certhash.rejected_in"] == again["certhash.rejected_in"] == alert["frame.number"]
    assert alert["certhash.certificate_in"] == first["frame.number"]


def test_dtls_from_the_same_port_number(place: Machine) -> None:
    """A phone's data channel may have the port numbers of its TCP connection, but is another conversation."""
    *before, alert = conversation(rejected(LEAF))
    frames = [*before, dtls(CLIENT_HELLO, number=0), alert]
    desk = Desk(place, {f"{DEVICE}.cnf.xml": told(value(LEAF))}, frames)
    assert desk.frames("dtls.handshake.type == 1") == [str(len(frames) - 1)]
    assert desk.verdicts(*TWICE) == ["rejected", "rejected"]


def test_hundreds_of_devices(place: Machine) -> None:
    files = {f"SEP{number:012X}.cnf.xml": told(value(LEAF)) for number in range(300)}
    desk = Desk(place, files, conversation(talk(LEAF)))
    (row,) = desk.rows()
    assert row["certhash.verdict"] == ["match"]
    assert len(row["certhash.device"]) == 20
    assert "more devices, not listed" in desk.words()


def test_phones_of_this_head_end_among_hundreds_of_another(place: Machine) -> None:
    """Two head-ends present one certificate: only phones that are configured for this one are named."""
    files = {
        f"SEP{number:012X}.cnf.xml": told(value(LEAF), url="https://198.51.100.99/x") for number in range(300)
    }
    desk = Desk(place, files | {f"{DEVICE}.cnf.xml": told(value(LEAF))}, conversation(talk(LEAF)))
    (row,) = desk.rows()
    assert row["certhash.verdict"] == ["match"]
    assert row["certhash.device"][0] == DEVICE
    words = desk.words()
    assert f"Verdict: match: certHash1 of {DEVICE} matches certificate 0" in words
    assert "which uses another head-end" not in words


def test_bad_folders(place: Machine) -> None:
    frames = conversation(talk(LEAF))
    desk = Desk(place, {}, frames)
    missing = str(desk.folder / "missing")
    done = place.tshark(desk.capture, "-o", f"certhash.cnf_directory:{missing}", "-Y", "certhash")
    assert done.returncode == 0
    assert f"certhash: {missing}: there is no such folder" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "certificate" not in place.tshark(place.put("none.pcap", pcap([])), *desk.options).stderr.lower()


def test_bad_files_are_named_and_the_rest_is_read(place: Machine) -> None:
    good = {
        f"{DEVICE}.cnf.xml": told(value(LEAF)),
        "sub/deeper/" + f"{OTHER_DEVICE}.cnf.xml": told(value(OTHER)),
    }
    bad = {
        "SEP000000000001.cnf.xml": b"",
        "SEP000000000002.cnf.xml": told(value(LEAF))[:200],
        "SEP000000000003.cnf.xml": b"\x01\0\x02\1\0\x02\0\2\xff\xff" + told(value(LEAF)),
        "SEP000000000004.cnf.xml": b"GIF89a",
        "readme.txt": b"not a configuration",
    }
    desk = Desk(place, good | bad, conversation(talk(LEAF)))
    large = desk.folder / "SEP000000000005.cnf.xml"
    with large.open("wb") as file:
        file.truncate(100_000_000)
    large.chmod(0o644)
    secret = desk.folder / "SEP000000000006.cnf.xml"
    secret.write_bytes(told(value(LEAF)))
    secret.chmod(0o000)
    (desk.folder / "loop").symlink_to(".")
    done = place.tshark(desk.capture, *desk.options, "-T", "fields", "-e", "certhash.verdict")
    assert done.stdout.split() == ["match"]
    assert "lists 5 more" in done.stderr


def test_pipes_and_devices_block_nothing(place: Machine) -> None:
    """A named pipe without a writer is skipped and reported; the run ends."""
    desk = Desk(place, {f"{DEVICE}.cnf.xml": told(value(LEAF))}, conversation(talk(LEAF)))
    pipe = desk.folder / f"{OTHER_DEVICE}.cnf.xml"
    os.mkfifo(pipe)
    pipe.chmod(0o666)
    done = place.tshark(desk.capture, *desk.options, "-T", "fields", "-e", "certhash.verdict")
    assert done.stdout.split() == ["match"]
    assert f"{pipe.name}: it is not a regular file" in done.stderr
    pipe.unlink()
    pipe.symlink_to("/dev/zero")
    done = place.tshark(desk.capture, *desk.options, "-T", "fields", "-e", "certhash.verdict")
    assert done.stdout.split() == ["match"]
    assert pipe.name in done.stderr
