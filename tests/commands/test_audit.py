"""Test `certhash audit` as a user runs it: the results equal those that the recorder stated beforehand.

The recorder wrote ``expected.json`` beside the captures from its own actions (the certificates of the
servers, the content of the phones' files), with hashlib, and without certhash.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import struct
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.conftest import TOP, Ended, certhash, need

from certhash.capture import feed, observe, tshark

if TYPE_CHECKING:
    from collections.abc import Callable

CAPTURES = TOP / "captures"
EXPECTED: dict[str, Any] = json.loads((CAPTURES / "expected.json").read_text("utf-8"))


@pytest.fixture(name="audited", scope="module")
def _audited() -> Ended:
    return certhash("audit", CAPTURES, "--cnf", CAPTURES / "cnf", "-f", "json", cwd=TOP)


def test_the_exit_status_tells_of_findings(audited: Ended) -> None:
    assert audited.status == 1
    assert certhash("audit", CAPTURES / "match.pcapng", "--cnf", CAPTURES / "cnf", "-q").status == 0


def test_every_phone_gets_the_verdict_that_the_recorder_expects(audited: Ended) -> None:
    wanted = {(e["device"], e["url"]): (e["verdict"], e["cause"]) for e in EXPECTED["expectations"]}
    found = {(e["device"], e["url"]): (e["verdict"], e["cause"]) for e in audited.json["expectations"]}
    assert found == wanted


def test_every_certificate_is_seen_where_it_was_sent(audited: Ended) -> None:
    fields = ("sender", "position", "sha1", "sha256")
    wanted = {
        (c["path"], h["client"]["port"]): [tuple(x[f] for f in fields) for x in h["certificates"]]
        for c in EXPECTED["captures"]
        for h in c["handshakes"]
    }
    found = {
        (Path(h["capture"]).name, h["client"]["port"]): [
            tuple(x[f] for f in fields) for x in h["certificates"]
        ]
        for h in audited.json["handshakes"]
    }
    assert found == wanted


def test_handshakes_tell_who_spoke_and_what_was_refused(audited: Ended) -> None:
    def facts(handshake: dict[str, Any]) -> tuple[Any, ...]:
        return (
            handshake["transport"],
            handshake["client"]["address"],
            handshake["server"]["address"],
            handshake["server"]["port"],
            handshake["server_name"],
            handshake["version"],
            handshake["resumed"],
            [(a["sender"], a["level"], a["code"], a["name"]) for a in handshake["alerts"]],
            handshake["verdict"],
            handshake["devices"],
        )

    wanted = {
        (c["path"], h["client"]["port"]): facts(h) for c in EXPECTED["captures"] for h in c["handshakes"]
    }
    found = {(Path(h["capture"]).name, h["client"]["port"]): facts(h) for h in audited.json["handshakes"]}
    assert found == wanted


def test_every_capture_is_accounted_for(audited: Ended) -> None:
    wanted = {c["path"]: (c["status"], c["packets"]) for c in EXPECTED["captures"]}
    found = {Path(c["path"]).name: (c["status"], c["packets"]) for c in audited.json["captures"]}
    assert found == wanted


def test_frame_numbers_are_those_of_the_file(
    audited: Ended, shown: Callable[[Path], dict[int, list[bytes]]]
) -> None:
    """Stock tshark, without the plugin, finds each certificate in the frame that the audit names."""
    for handshake in audited.json["handshakes"]:
        for certificate in handshake["certificates"]:
            in_frames = shown(TOP / handshake["capture"])
            hashes = [
                hashlib.sha1(der, usedforsecurity=False).hexdigest()
                for der in in_frames[certificate["frame"]]
            ]
            assert certificate["thumbprint"].lower() in hashes


def test_the_plugin_computed_the_hashes(audited: Ended) -> None:
    assert audited.json["tool"]["hash_source"] == "plugin"
    assert not audited.json["problems"]


def test_without_cnf_files_it_still_hashes_and_learns(tmp_path: Path) -> None:
    shutil.copy(CAPTURES / "fetched-over-tftp.pcapng", tmp_path)
    ended = certhash("audit", tmp_path, "-f", "json")
    (expectation,) = ended.json["expectations"]
    assert ended.status == 1
    assert expectation["verdict"] == "mismatch"
    assert expectation["frame"] is not None
    assert expectation["source"].endswith("fetched-over-tftp.pcapng")


# ---------------------------------------------------------------- captures in other forms


@pytest.mark.parametrize("suffix", ["pcap", "nsecpcap", "snoop", "modpcap"])
def test_other_file_formats_give_the_same_hash(tmp_path: Path, suffix: str) -> None:
    capture = tmp_path / f"match.{suffix}"
    subprocess.run([need("editcap"), "-F", suffix, CAPTURES / "match.pcapng", capture], check=True)
    ended = certhash("audit", capture, "--cnf", CAPTURES / "cnf", "-f", "json")
    assert (ended.status, ended.json["summary"]["match"]) == (0, 1)


def test_a_head_end_may_listen_on_any_port(tmp_path: Path) -> None:
    """These include ports that tshark assigns to other protocols: SSH, SIP, X11, MySQL, CAPF."""
    ports = [
        7,
        21,
        22,
        25,
        53,
        80,
        102,
        389,
        1080,
        1720,
        2000,
        3306,
        3804,
        5060,
        5432,
        6000,
        6970,
        8080,
        9092,
        57000,
    ]
    template = tmp_path / "template.pcap"
    subprocess.run([need("editcap"), "-F", "pcap", CAPTURES / "match.pcapng", template], check=True)
    content = template.read_bytes()
    capture = bytearray(content[:24])
    for index, port in enumerate(ports):
        at = 24
        while at < len(content):
            size = struct.unpack_from("<I", content, at + 8)[0]
            packet = bytearray(content[at : at + 16 + size])
            if packet[28:30] == b"\x08\x00" and packet[39] == 6:  # IPv4, TCP
                source = struct.unpack_from(">H", packet, 50)[0]
                server_at, client_at = (50, 52) if source == 443 else (52, 50)
                struct.pack_into(">H", packet, server_at, port)
                struct.pack_into(">H", packet, client_at, 50000 + index)
                capture += packet
            at += 16 + size
    (tmp_path / "ports.pcap").write_bytes(capture)
    template.unlink()
    found = certhash("audit", tmp_path, "-f", "json").json["handshakes"]
    assert sorted(h["server"]["port"] for h in found if h["certificates"]) == ports


def test_a_users_profile_changes_nothing(tmp_path: Path) -> None:
    """The audit is independent of an analyst's settings, such as disabled reassembly and TLS."""
    for folder in (tmp_path / ".config" / "wireshark", tmp_path / "config"):
        folder.mkdir(parents=True)
        (folder / "preferences").write_text("tcp.desegment_tcp_streams: FALSE\n")
        (folder / "disabled_protos").write_text("tls\n")
    ended = certhash(
        *("audit", CAPTURES / "ca-hash.pcapng", "--cnf", CAPTURES / "cnf", "-f", "json"),
        HOME=str(tmp_path),
        WIRESHARK_CONFIG_DIR=str(tmp_path / "config"),
    )
    assert ended.json["summary"]["match"] == 1


def test_where_tshark_has_no_plugin_python_hashes_alone_and_says_so_once(tmp_path: Path) -> None:
    """A tshark that ignores the plugin folder is like one without Lua."""
    stub = tmp_path / "tshark"
    stub.write_text(f'#!/bin/sh\nunset WIRESHARK_PLUGIN_DIR\nexec {need("tshark")} "$@"\n')
    stub.chmod(0o755)
    names = ("mismatch.pcapng", "dtls.pcapng", "anyconnect.pcapng", "voice-vlan.pcap.gz")
    ended = certhash("audit", *(CAPTURES / name for name in names), "--tshark", stub, "-f", "json")
    document = ended.json
    assert document["tool"]["hash_source"] == "python"
    assert ended.err.count("plugin did not load") == 1
    captures = [c for c in EXPECTED["captures"] if c["path"] in names]
    wanted = {x["sha1"] for c in captures for h in c["handshakes"] for x in h["certificates"]}
    assert len(wanted) > len(names)
    assert {x["sha1"] for h in document["handshakes"] for x in h["certificates"]} == wanted


# ---------------------------------------------------------------- bad input: one line, the rest still audited


def _with(tmp_path: Path) -> Path:
    """Return a folder with one good capture, which must be audited whatever else the folder contains."""
    shutil.copy(CAPTURES / "match.pcapng", tmp_path / "good.pcapng")
    return tmp_path


def _audit(folder: Path, *more: str | Path) -> Ended:
    ended = certhash("audit", folder, *more, "--cnf", CAPTURES / "cnf", "-f", "json")
    assert ended.json["summary"]["match"] == 1, "the good capture was lost"
    assert ended.status == 2
    return ended


def _one_line(ended: Ended, name: str, word: str) -> None:
    lines = [line for line in ended.err.splitlines() if name in line]
    assert len(lines) == 1, ended.err
    assert word in lines[0]
    assert any(name in p["path"] and word in p["message"] for p in ended.json["problems"])


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"hello, this is no capture\n", "not a capture"),
        (b"", "empty"),
        (b"\x1f\x8b" + b"not gzip at all" * 9, "not a capture"),
        (gzip.compress(b"plain text, compressed" * 99), "not a capture"),
    ],
    ids=["text", "empty", "bad-gzip", "gzip-of-text"],
)
def test_invalid_file_with_a_capture_suffix_is_named(tmp_path: Path, content: bytes, word: str) -> None:
    (_with(tmp_path) / "bad.pcap").write_bytes(content)
    ended = _audit(tmp_path)
    _one_line(ended, "bad.pcap", word)
    assert {c["status"] for c in ended.json["captures"] if c["path"].endswith("bad.pcap")} == {"unreadable"}


def test_a_capture_cut_short_is_audited_up_to_the_cut(tmp_path: Path) -> None:
    whole = (CAPTURES / "mismatch.pcapng").read_bytes()
    (_with(tmp_path) / "cut.pcapng").write_bytes(whole[:-70])
    ended = _audit(tmp_path)
    _one_line(ended, "cut.pcapng", "cut short")
    (capture,) = [c for c in ended.json["captures"] if c["path"].endswith("cut.pcapng")]
    assert capture["status"] == "truncated"
    assert ended.json["summary"]["mismatch"] == 1


def test_a_fifo_and_a_loop_do_not_stop_the_audit(tmp_path: Path) -> None:
    os.mkfifo(_with(tmp_path) / "fifo.pcap")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "back").symlink_to(tmp_path)
    ended = _audit(tmp_path)
    _one_line(ended, "fifo.pcap", "pipe")
    _one_line(ended, "back", "a symbolic link to a folder above it")
    assert sum("/loop" in line for line in ended.err.splitlines()) == 1


def test_a_missing_capture_is_named(tmp_path: Path) -> None:
    _one_line(_audit(_with(tmp_path), tmp_path / "missing.pcap"), "missing.pcap", "no such file")


@pytest.mark.skipif(os.geteuid() == 0, reason="root can read everything")
def test_an_unreadable_capture_is_named(tmp_path: Path) -> None:
    shutil.copy(CAPTURES / "mismatch.pcapng", _with(tmp_path) / "closed.pcapng")
    (tmp_path / "closed.pcapng").chmod(0)
    _one_line(_audit(tmp_path), "closed.pcapng", "no permission to read")


def test_a_bad_cnf_file_is_named_and_the_others_count(tmp_path: Path) -> None:
    (tmp_path / "SEP001122334455.cnf.xml").write_text("this is no XML")
    ended = certhash(
        "audit", CAPTURES / "match.pcapng", "--cnf", CAPTURES / "cnf", "--cnf", tmp_path, "-f", "json"
    )
    assert (ended.status, ended.json["summary"]["match"]) == (2, 1)
    _one_line(ended, "SEP001122334455.cnf.xml", "")


def test_unknown_protocol_is_reported_with_the_first_line_of_tshark_only() -> None:
    """After the error, tshark prints a list of all its options."""
    ended = certhash("audit", CAPTURES / "match.pcapng", "--decode-as", "tcp.port==5000,tsl", "--no-cache")
    assert ended.status == 2
    (line,) = ended.err.splitlines()
    assert 'Unknown protocol -- "tsl"' in line


def test_no_tshark_is_said_with_the_command_that_installs_it(tmp_path: Path) -> None:
    ended = certhash("audit", CAPTURES, "--tshark", tmp_path / "tshark")
    assert ended.status == 2
    assert "apt-get install tshark" in ended.err
    assert len(ended.err.splitlines()) == 1


def test_a_tshark_that_dies_half_way_is_told_and_nothing_is_guessed(tmp_path: Path) -> None:
    """The tshark prints the first rows, and is killed before the rest."""
    stub = tmp_path / "tshark"
    stub.write_text(
        "#!/bin/sh\n"
        f'case "$1" in --version) exec {need("tshark")} --version;; esac\n'
        f'{need("tshark")} "$@" | head -n 1\n'
        "kill -9 $$\n"
    )
    stub.chmod(0o755)
    ended = certhash(
        "audit", CAPTURES / "match.pcapng", "--cnf", CAPTURES / "cnf", "--tshark", stub, "-f", "json"
    )
    assert ended.status == 2
    assert ended.json["captures"][0]["status"] == "truncated"
    assert "signal 9" in ended.json["captures"][0]["error"]
    assert ended.json["summary"]["match"] == 0


def test_bad_options_are_one_line() -> None:
    for options in (
        ["--resolve", "nonsense"],
        ["--resolve", "name=not-an-address"],
        ["-j", "0"],
        ["-f", "pdf"],
    ):
        ended = certhash("audit", CAPTURES / "match.pcapng", *options)
        assert ended.status == 2, options
        assert options[0] in ended.err


def test_a_url_with_a_name_is_found_by_what_the_user_states(tmp_path: Path) -> None:
    text = (CAPTURES / "cnf" / "SEP00005E005311.cnf.xml").read_text("utf-8")
    (tmp_path / "SEP00005E005311.cnf.xml").write_text(text.replace("203.0.113.10/", "head-end.example/"))
    command = ("audit", CAPTURES / "match.pcapng", "--cnf", tmp_path, "-f", "json")
    assert certhash(*command).json["summary"]["unseen"] == 1
    stated = certhash(*command, "--resolve", "Head-End.example.=203.0.113.10")
    assert stated.json["summary"]["match"] == 1


def test_a_first_pass_that_fails_hides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a defect in the first pass, tshark reads all packets, and the defect is reported."""

    def defect(*_: object, **__: object) -> None:
        raise NameError("a defect")

    monkeypatch.setattr(feed, "carve", defect)
    seen = observe.observe(str(CAPTURES / "ca-hash.pcapng"), observe.Settings(tshark.find()))
    assert seen.status == "complete"
    assert [len(h.certificates) for h in seen.handshakes] == [2]
    assert any("first pass" in problem.message for problem in seen.problems)


def test_a_capture_that_cannot_be_read_to_its_end_is_not_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken_disk(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(feed, "carve", broken_disk)
    seen = observe.observe(str(CAPTURES / "ca-hash.pcapng"), observe.Settings(tshark.find()))
    assert seen.status == "truncated"
    assert "Input/output error" in (seen.error or "")
