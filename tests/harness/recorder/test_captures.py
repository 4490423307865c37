"""Test that the committed captures agree with ``expected.json``, using only stock tshark and hashlib."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import json
import os
import ssl
import subprocess
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
from tests.conftest import stock_tshark

if TYPE_CHECKING:
    from tests.harness.once import Once

TOP = Path(__file__).resolve().parents[3]
SETS = [TOP / "captures", TOP / "tests" / "captures"]
BOOKS: dict[Path, dict[str, Any]] = {
    folder: json.loads((folder / "expected.json").read_text("utf-8")) for folder in SETS
}
CAPTURES = [(folder, capture) for folder, book in BOOKS.items() for capture in book["captures"]]
NAMES = [f"{folder.relative_to(TOP)}/{capture['path']}" for folder, capture in CAPTURES]
each_capture = pytest.mark.parametrize(("folder", "capture"), CAPTURES, ids=NAMES)
each_set = pytest.mark.parametrize("folder", SETS, ids=lambda folder: str(folder.relative_to(TOP)))

READ_AS_IT_SHOULD_BE = ("-o", "tcp.reassemble_out_of_order:TRUE", "-o", "tcp.desegment_tcp_streams:TRUE")
CAPF = ("-d", "tcp.port==3804,tls")  # tshark assigns this port to another protocol
VERSIONS = {
    "0x0301": "TLS 1.0",
    "0x0302": "TLS 1.1",
    "0x0303": "TLS 1.2",
    "0x0304": "TLS 1.3",
    "0x0100": "DTLS 1.0 (early)",
    "0xfeff": "DTLS 1.0",
    "0xfefd": "DTLS 1.2",
}
CLIENT_HELLO, SERVER_HELLO, CLIENT_KEY_EXCHANGE = "1", "2", "16"
ALERT, CLOSE_NOTIFY = "21", "0"
LEVELS = {"warning": "1", "fatal": "2"}
FIELDS = (
    *("frame.time_epoch", "ip.src", "ipv6.src", "tcp.srcport", "udp.srcport"),
    *("ip.dst", "ipv6.dst", "tcp.dstport", "udp.dstport"),
    *("tls.handshake.type", "dtls.handshake.type"),
    *("tls.handshake.extensions_server_name", "dtls.handshake.extensions_server_name"),
    *("tls.handshake.extensions.supported_version", "tls.handshake.version", "dtls.handshake.version"),
    *("tls.handshake.certificate", "dtls.handshake.certificate"),
    *("tls.record.content_type", "dtls.record.content_type", "tls.record.length", "dtls.record.length"),
    "tls.record.opaque_type",
    *("tls.alert_message.level", "dtls.alert_message.level"),
    *("tls.alert_message.desc", "dtls.alert_message.desc"),
)

Endpoints: TypeAlias = tuple[str, int, str, int]
Read: TypeAlias = Callable[..., list["Row"]]


@dataclass(frozen=True)
class Row:
    """tshark's fields of one frame, with their values."""

    fields: dict[str, list[str]]

    def __getitem__(self, name: str) -> list[str]:
        """Return a field's values; ``handshake.type`` and the like combine TLS and DTLS."""
        if name in self.fields:
            return self.fields[name]
        return self.fields[f"tls.{name}"] + self.fields[f"dtls.{name}"]

    @property
    def endpoints(self) -> Endpoints:
        """Return source address and port, destination address and port."""
        source, destination = (
            (
                (self[f"ip.{side}"] + self[f"ipv6.{side}"])[0],
                int((self[f"tcp.{side}port"] + self[f"udp.{side}port"])[0]),
            )
            for side in ("src", "dst")
        )
        return (*source, *destination)

    @property
    def has_plain_alert(self) -> bool:
        """Return whether tshark's alert can be real: one of two bytes, or a decrypted one (TLS 1.3).

        Otherwise ciphertext that looks like level and code would be read as an alert.
        """
        records = zip(self["record.content_type"], self["record.length"], strict=True)
        return (ALERT, "2") in records or bool(self["tls.record.opaque_type"])


@pytest.fixture(name="read", scope="module")
def _read(once: Once, tmp_path_factory: pytest.TempPathFactory) -> Read:
    """Return a function that reads a capture with tshark, without the user's plugins and preferences."""
    program = stock_tshark()
    home = str(tmp_path_factory.mktemp("home"))
    environment = {**os.environ, "HOME": home, "XDG_CONFIG_HOME": home, "WIRESHARK_CONFIG_DIR": home}

    def rows(path: Path, options: tuple[str, ...]) -> list[Row]:
        command = [*program, "-r", str(path), *options, "-T", "fields", "-E", "separator=|"]
        command += [word for field in FIELDS for word in ("-e", field)]
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment, cwd=home)
        cut = "appears to have been cut short" in done.stderr
        assert done.returncode == (2 if cut else 0), done.stderr
        lines = [line.split("|") for line in done.stdout.splitlines()]
        return [
            Row({name: cell.split(",") if cell else [] for name, cell in zip(FIELDS, line, strict=True)})
            for line in lines
        ]

    def read(path: Path, *options: str) -> list[Row]:
        options = options or (*READ_AS_IT_SHOULD_BE, *CAPF)
        return once(lambda: rows(path, options), "stock tshark", str(path), options)

    return read


def way(handshake: dict[str, Any], sender: str) -> Endpoints:
    """Return the addresses and ports of the packets of ``sender`` in a handshake."""
    one, other = (
        handshake[side] for side in (("client", "server") if sender == "client" else ("server", "client"))
    )
    return one["address"], one["port"], other["address"], other["port"]


def sha256(text: str) -> str:
    """Return the Base64 SHA-256 of bytes given in hex."""
    return base64.b64encode(hashlib.sha256(bytes.fromhex(text)).digest()).decode()


@each_capture
def test_shows_exactly_the_certificates(folder: Path, capture: dict[str, Any], read: Read) -> None:
    """The number, senders and order of the certificates are as recorded, also for successive handshakes."""
    wanted: dict[Endpoints, list[str]] = {}
    for handshake in capture["handshakes"]:
        for entry in handshake["certificates"]:
            wanted.setdefault(way(handshake, entry["sender"]), []).append(entry["sha256"])
    found: dict[Endpoints, list[str]] = {}
    for row in read(folder / capture["path"]):
        if row["handshake.certificate"]:
            found.setdefault(row.endpoints, []).extend(map(sha256, row["handshake.certificate"]))
    assert found == wanted


@each_capture
def test_shows_exactly_the_alerts(folder: Path, capture: dict[str, Any], read: Read) -> None:
    wanted = Counter(
        (way(handshake, alert["sender"]), LEVELS[alert["level"]], str(alert["code"]))
        for handshake in capture["handshakes"]
        for alert in handshake["alerts"]
    )
    found = Counter(
        (row.endpoints, level, code)
        for row in read(folder / capture["path"])
        for level, code in zip(row["alert_message.level"], row["alert_message.desc"], strict=True)
        if code != CLOSE_NOTIFY and row.has_plain_alert
    )
    assert found == wanted


def test_ciphertext_can_pass_for_an_alert(read: Read) -> None:
    """In this capture, tshark shows a fatal bad_certificate that nobody sent."""
    rows = read(TOP / "tests" / "captures" / "encrypted-alert-dtls.pcapng")
    assert any("42" in row["alert_message.desc"] for row in rows)


@each_capture
def test_shows_exactly_the_handshakes(folder: Path, capture: dict[str, Any], read: Read) -> None:
    names: dict[Endpoints, str | None] = {}
    versions: dict[Endpoints, str] = {}
    for row in read(folder / capture["path"]):
        if CLIENT_HELLO in row["handshake.type"]:
            names[row.endpoints] = next(iter(row["handshake.extensions_server_name"]), None)
        if SERVER_HELLO in row["handshake.type"]:
            chosen = row["tls.handshake.extensions.supported_version"] + row["handshake.version"]
            versions[row.endpoints] = VERSIONS[chosen[0]]
    handshakes = capture["handshakes"]
    assert names == {way(entry, "client"): entry["server_name"] for entry in handshakes if entry["asked"]}
    assert versions == {way(entry, "server"): entry["version"] for entry in handshakes if entry["answered"]}


@each_capture
def test_resumed_handshakes_exchange_no_key(folder: Path, capture: dict[str, Any], read: Read) -> None:
    """Up to TLS 1.2, a client that continues sends ClientKeyExchange, unless the session is resumed."""
    went_on = {
        row.endpoints
        for row in read(folder / capture["path"])
        if CLIENT_KEY_EXCHANGE in row["handshake.type"]
    }
    resumed = {way(entry, "client") for entry in capture["handshakes"] if entry["resumed"]}
    full = {
        way(entry, "client")
        for entry in capture["handshakes"]
        if not entry["resumed"]
        and entry["version"] not in {"TLS 1.3", None}
        and entry["hidden"] != "snaplen"
        and not any(alert["sender"] == "client" and alert["level"] == "fatal" for alert in entry["alerts"])
    }
    assert not went_on & resumed
    assert full <= went_on


@each_capture
def test_is_small_dated_and_complete(folder: Path, capture: dict[str, Any], read: Read) -> None:
    assert (folder / capture["path"]).stat().st_size < 200_000
    rows = read(folder / capture["path"])
    assert len(rows) == capture["packets"]
    assert float(rows[0]["frame.time_epoch"][0]) == dt.datetime.fromisoformat(capture["start"]).timestamp()


@each_capture
def test_downloads_can_be_taken_out(folder: Path, capture: dict[str, Any], tmp_path: Path) -> None:
    command = [*stock_tshark(), "-Q", "-r", folder / capture["path"], "-d", "tcp.port==6970,http"]
    for protocol in {entry["protocol"] for entry in capture["downloads"]}:
        command += ["--export-objects", f"{protocol},{tmp_path}"]
    if capture["downloads"]:
        subprocess.run(command, check=True, capture_output=True)
    found = {hashlib.sha256(entry.read_bytes()).hexdigest() for entry in tmp_path.iterdir()}
    assert found == {entry["sha256"] for entry in capture["downloads"]}


def test_out_of_order_segments_hide_the_certificate_by_default(read: Read) -> None:
    path = TOP / "captures" / "voice-vlan.pcap.gz"
    assert not any(row["handshake.certificate"] for row in read(path, "-t", "e"))
    assert any(row["handshake.certificate"] for row in read(path))


def test_keys_beside_a_capture_show_its_certificate(read: Read) -> None:
    (folder, capture) = next(entry for entry in CAPTURES if "keylog" in entry[1])
    keys = ("-o", f"tls.keylog_file:{folder / capture['keylog']['path']}")
    found = [text for row in read(folder / capture["path"], *keys) for text in row["handshake.certificate"]]
    (handshake,) = capture["keylog"]["handshakes"]
    assert list(map(sha256, found)) == [entry["sha256"] for entry in handshake["certificates"]]


@each_set
def test_nothing_is_unlisted_or_missing(folder: Path) -> None:
    book = BOOKS[folder]
    kinds = ("captures", "files", "forms", "config")
    listed = {"expected.json"} | {entry["path"] for kind in kinds for entry in book[kind]}
    for capture in book["captures"]:
        for handshake in (*capture["handshakes"], *capture.get("keylog", {}).get("handshakes", [])):
            listed |= {entry["file"] for entry in handshake["certificates"]}
    assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} == listed


@each_set
def test_certificate_files_have_the_digests_stated(folder: Path) -> None:
    for capture in BOOKS[folder]["captures"]:
        for handshake in capture["handshakes"]:
            for entry in handshake["certificates"]:
                data = ssl.PEM_cert_to_DER_cert((folder / entry["file"]).read_text("ascii"))
                sha1 = hashlib.sha1(data, usedforsecurity=False)
                assert entry["thumbprint"] == sha1.hexdigest()
                assert base64.b64decode(entry["sha1"]) == sha1.digest()
                assert base64.b64decode(entry["sha256"]) == hashlib.sha256(data).digest()


@each_set
def test_no_private_key_is_among_the_files(folder: Path) -> None:
    for path in folder.rglob("*"):
        assert not path.is_file() or b"PRIVATE KEY" not in path.read_bytes(), path


@each_set
def test_expectations_stand_in_the_files_named(folder: Path) -> None:
    for entry in BOOKS[folder]["expectations"]:
        if entry["source"].startswith("cnf/"):
            content = (folder / entry["source"]).read_bytes()
            for text in (entry["url"], *entry["hashes"]):
                assert text.replace("&", "&amp;").encode() in content, entry


def test_signed_forms_hold_their_content_behind_the_header() -> None:
    """Tag 2 is the header's length; the content with the recorded hashes follows."""
    folder = TOP / "tests" / "captures"
    signed = [entry for entry in BOOKS[folder]["forms"] if entry["kind"] == "signed"]
    assert signed
    for entry in signed:
        data = (folder / entry["path"]).read_bytes()
        assert data[:5] == bytes.fromhex("0100020100"), entry
        content = data[int.from_bytes(data[8:10]) :]
        assert content.startswith(b"<?xml"), entry
        assert all(value.encode() in content for value in (*entry["urls"], *entry["hashes"])), entry


@each_set
def test_verdicts_follow_from_what_the_captures_show(folder: Path) -> None:
    """For a match, its certificate is shown last; for a mismatch another one; otherwise none."""
    book = BOOKS[folder]
    for entry in book["expectations"]:
        several_urls = sum(other["device"] == entry["device"] for other in book["expectations"]) > 1
        chains = [
            {shown["sha1"] for shown in handshake["certificates"] if shown["sender"] == "server"}
            for capture in book["captures"]
            for handshake in capture["handshakes"]
            if entry["device"] in handshake["devices"]
        ]
        shown = [chain & set(entry["hashes"]) for chain in chains if chain]
        if several_urls:
            continue
        if entry["verdict"] in {"match", "rejected"}:
            assert shown and shown[-1], entry  # noqa: PT018 - one thought
        elif entry["verdict"] == "mismatch":
            assert shown and not shown[-1], entry  # noqa: PT018
        elif entry["verdict"] is not None:
            assert not shown, entry
