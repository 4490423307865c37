"""Test the export of certificates: openssl checks them against the recorder's data, and names are safe."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from tests.conftest import TOP, certhash, need
from tests.harness.packets import identity

from certhash.commands import export_files as exporting
from certhash.commands.export_files import export
from certhash.model import Endpoint, Handshake, Observation, PresentedCertificate

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CAPTURES = TOP / "captures"
EXPECTED: dict[str, Any] = json.loads((CAPTURES / "expected.json").read_text("utf-8"))


def _index(folder: Path) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = json.loads((folder / "index.json").read_text("utf-8"))
    return entries


# ---------------------------------------------------------------- as a user runs it


def test_every_certificate_of_the_captures_is_a_file_that_openssl_reads(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "certificates"
    ended = certhash("export", CAPTURES, "-o", folder, cwd=TOP)
    assert ended.status == 0, ended.err
    wanted = {
        (c["thumbprint"].upper(), c["sha256"])
        for capture in EXPECTED["captures"]
        for handshake in capture["handshakes"]
        for c in handshake["certificates"]
    }
    index = _index(folder)
    assert {(e["thumbprint"], e["sha256"]) for e in index} == wanted
    assert {p.name for p in folder.iterdir()} == {e["file"] for e in index} | {"index.json"}
    for entry in index:
        command = [need("openssl"), "x509", "-inform", "DER", "-in", folder / entry["file"], "-noout"]
        shown = subprocess.run(
            [*command, "-fingerprint", "-sha1"], check=True, capture_output=True, text=True
        ).stdout
        assert shown.strip().partition("=")[2].replace(":", "") == entry["thumbprint"]
        assert base64.b64decode(entry["sha1"]).hex().upper() == entry["thumbprint"]
        assert entry["thumbprint"] in entry["file"]


def test_the_index_names_the_first_place(
    tmp_path: Path, shown: Callable[[Path], dict[int, list[bytes]]]
) -> None:
    """Stock tshark finds every certificate in the frame that the index names."""
    certhash("export", "captures", "-o", tmp_path, cwd=TOP)
    first: dict[str, tuple[str, str, int]] = {}
    for capture in sorted(EXPECTED["captures"], key=lambda c: c["start"]):
        for handshake in capture["handshakes"]:
            for c in handshake["certificates"]:
                first.setdefault(c["sha256"], (capture["path"], c["sender"], c["position"]))
    for entry in _index(tmp_path):
        capture, sender, position = first[entry["sha256"]]
        assert (entry["capture"], entry["sender"], entry["position"]) == (
            f"captures/{capture}",
            sender,
            position,
        )
        ders = shown(TOP / entry["capture"])[entry["frame"]]
        assert base64.b64decode(entry["sha256"]) in [hashlib.sha256(der).digest() for der in ders]


def test_a_second_export_adds_and_changes_nothing(tmp_path: Path) -> None:
    certhash("export", CAPTURES / "match.pcapng", "-o", tmp_path)
    before = {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in tmp_path.glob("*.cer")}
    ended = certhash("export", CAPTURES, "-j", "1", "-o", tmp_path)
    assert ended.status == 0
    after = {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in tmp_path.glob("*.cer")}
    assert len(after) > len(before) > 0
    assert before.items() <= after.items()
    assert {e["file"] for e in _index(tmp_path)} == set(after)


def test_a_key_log_brings_more(tmp_path: Path) -> None:
    captures = TOP / "tests" / "captures"
    ended = certhash("export", captures / "tls13-keylog.pcapng", "-o", tmp_path)
    assert not _index(tmp_path)
    assert "1 handshake without a visible server certificate" in ended.out
    keylog = captures / "tls13-keylog.txt"
    certhash("export", captures / "tls13-keylog.pcapng", "--keylog", keylog, "-o", tmp_path)
    assert _index(tmp_path)


def test_what_has_the_name_already_stays_as_it_is(tmp_path: Path) -> None:
    certhash("export", CAPTURES / "match.pcapng", "-o", tmp_path / "a")
    (certificate,) = (tmp_path / "a").glob("*.cer")
    (tmp_path / "b").mkdir()
    other = tmp_path / "b" / certificate.name
    other.write_bytes(b"mine")
    ended = certhash("export", CAPTURES / "match.pcapng", "-o", tmp_path / "b")
    assert ended.status == 2
    assert other.read_bytes() == b"mine"
    assert [line for line in ended.err.splitlines() if certificate.name in line and "move it" in line]
    other.unlink()
    other.symlink_to(tmp_path / "outside")
    ended = certhash("export", CAPTURES / "match.pcapng", "-o", tmp_path / "b")
    assert ended.status == 2
    assert not (tmp_path / "outside").exists()


def test_a_folder_that_cannot_be_written_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below", "/proc/certificates"):
        ended = certhash("export", CAPTURES / "match.pcapng", "-o", folder)
        assert ended.status == 2
        assert len(ended.err.splitlines()) == 1
        assert str(folder) in ended.err
        assert "-o" in ended.err


def test_an_index_of_somebody_else_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "index.json").write_text('{"mine": 1}')
    ended = certhash("export", CAPTURES / "match.pcapng", "-o", tmp_path)
    assert (ended.status, len(ended.err.splitlines())) == (2, 1)
    assert (tmp_path / "index.json").read_text() == '{"mine": 1}'
    assert list(tmp_path.glob("*.cer")) == []


def test_a_bad_capture_does_not_keep_the_others_back(tmp_path: Path) -> None:
    shutil.copy(CAPTURES / "match.pcapng", tmp_path / "good.pcapng")
    (tmp_path / "bad.pcapng").write_text("no capture at all")
    ended = certhash("export", tmp_path, "-o", tmp_path / "out")
    assert ended.status == 2
    assert [line for line in ended.err.splitlines() if "bad.pcapng" in line]
    assert len(_index(tmp_path / "out")) == 1
    nothing = certhash("export", tmp_path / "missing", "-o", tmp_path / "out")
    assert (nothing.status, len(nothing.err.splitlines())) == (2, 1)


# ---------------------------------------------------------------- hostile text in certificates


def _observation(*ders: bytes) -> Observation:
    digests = [hashlib.sha256(der).digest() for der in ders]
    handshake = Handshake(
        frame=1,
        time=0,
        transport="tcp",
        stream=0,
        client=Endpoint("192.0.2.1", 1024),
        server=Endpoint("192.0.2.2", 443),
        server_name=None,
        version=None,
        resumed=False,
        encrypted=False,
        client_proceeded=False,
        hidden=None,
        certificates=tuple(PresentedCertificate(i, "server", 4, d) for i, d in enumerate(digests)),
        alerts=(),
    )
    certificates = dict(zip(digests, ders, strict=True))
    return Observation("a.pcap", "complete", 9, None, "plugin", (handshake,), certificates=certificates)


@pytest.mark.parametrize(
    "common_name",
    [
        "../../etc/cron.d/x",
        "/etc/passwd",
        "..",
        ".",
        "a\x00b",
        "CON",
        "\u202egnp.exe",
        "x" * 64,
        "\x1b]0;x\x07",
    ],
)
def test_no_subject_leads_out_of_the_folder(tmp_path: Path, common_name: str) -> None:
    der = identity(common_name).der
    folder = tmp_path / "out"
    exporting.prepare(str(folder))
    (entry,) = export([_observation(der)], str(folder)).entries
    assert {p.name for p in tmp_path.iterdir()} == {"out"}
    assert {p.name for p in folder.iterdir()} == {entry.file, "index.json"}
    assert (folder / entry.file).read_bytes() == der
    assert entry.file.isascii()
    assert entry.file.isprintable()
    assert not entry.file.startswith(".")
    assert len(entry.file) < 128


def test_what_cannot_be_parsed_is_exported_all_the_same(tmp_path: Path) -> None:
    (entry,) = export([_observation(b"0\x03no certificate")], str(tmp_path)).entries
    assert (tmp_path / entry.file).read_bytes() == b"0\x03no certificate"
    assert entry.subject is None


def test_certificates_of_one_name_and_one_sha1_get_files_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A constant hash simulates two certificates with one SHA-1."""
    ders = [identity("vpn.example.com").der, identity("vpn.example.com").der]
    exporting.prepare(str(tmp_path / "a"))
    names = {e.file for e in export([_observation(*ders)], str(tmp_path / "a")).entries}
    assert len({name.lower() for name in names}) == 2
    monkeypatch.setattr(exporting, "sha1", lambda _: bytes(20))
    exporting.prepare(str(tmp_path / "b"))
    entries = export([_observation(*ders)], str(tmp_path / "b")).entries
    assert sorted((tmp_path / "b" / e.file).read_bytes() for e in entries) == sorted(ders)
