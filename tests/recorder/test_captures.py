"""The committed captures show what ``expected.json`` says, by the word of stock tshark and hashlib alone."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import ssl
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

TOP = Path(__file__).resolve().parents[2]
SETS = [TOP / "captures", TOP / "tests" / "captures"]
BOOKS = {folder: json.loads((folder / "expected.json").read_text("utf-8")) for folder in SETS}
CAPTURES = [
    pytest.param(folder, capture, id=f"{folder.relative_to(TOP)}/{capture['path']}")
    for folder, book in BOOKS.items()
    for capture in book["captures"]
]
READ_AS_IT_SHOULD_BE = ("-o", "tcp.reassemble_out_of_order:TRUE", "-o", "tcp.desegment_tcp_streams:TRUE")
CAPF = ("-d", "tcp.port==3804,tls")  # tshark takes this port for another protocol's
VERSIONS = {
    "0x0301": "TLS 1.0",
    "0x0302": "TLS 1.1",
    "0x0303": "TLS 1.2",
    "0x0304": "TLS 1.3",
    "0x0100": "DTLS 1.0 (early)",
    "0xfeff": "DTLS 1.0",
    "0xfefd": "DTLS 1.2",
}
Endpoints = tuple[str, int, str, int]


@pytest.fixture(name="tshark", scope="module")
def stock_tshark(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return a function that runs tshark without any plugin or preference of the user's."""
    program = shutil.which("tshark")
    if program is None:
        pytest.fail("tshark is missing: apt-get install tshark")
    home = tmp_path_factory.mktemp("home")
    environment = {
        **os.environ,
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home),
        "WIRESHARK_CONFIG_DIR": str(home),
    }

    def rows(
        path: Path, display_filter: str, *fields: str, options: tuple[str, ...] = ()
    ) -> list[list[list[str]]]:
        command = [
            program,
            "-n",
            "-r",
            str(path),
            *(options or (*READ_AS_IT_SHOULD_BE, *CAPF)),
            "-Y",
            display_filter,
        ]
        command += [
            "-T",
            "fields",
            "-E",
            "separator=|",
            *(word for field in fields for word in ("-e", field)),
        ]
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment, cwd=home)
        cut = "appears to have been cut short" in done.stderr
        assert done.returncode == (2 if cut else 0), done.stderr
        return [
            [cell.split(",") if cell else [] for cell in line.split("|")] for line in done.stdout.splitlines()
        ]

    return rows


ADDRESSES = (
    "ip.src",
    "ipv6.src",
    "tcp.srcport",
    "udp.srcport",
    "ip.dst",
    "ipv6.dst",
    "tcp.dstport",
    "udp.dstport",
)


def endpoints(row: list[list[str]]) -> Endpoints:
    """Return source address and port, destination address and port of a row that begins with ``ADDRESSES``."""
    four, six, tcp, udp, to_four, to_six, to_tcp, to_udp = row[:8]
    return (four or six)[0], int((tcp or udp)[0]), (to_four or to_six)[0], int((to_tcp or to_udp)[0])


def client_to_server(handshake: dict[str, Any]) -> Endpoints:
    client, server = handshake["client"], handshake["server"]
    return client["address"], client["port"], server["address"], server["port"]


def server_to_client(handshake: dict[str, Any]) -> Endpoints:
    client, server = handshake["client"], handshake["server"]
    return server["address"], server["port"], client["address"], client["port"]


@pytest.mark.parametrize(("folder", "capture"), CAPTURES)
def test_shows_exactly_the_certificates(folder: Path, capture: dict[str, Any], tshark: Any) -> None:
    wanted = Counter(
        (
            (client_to_server if entry["sender"] == "client" else server_to_client)(handshake),
            entry["sha1"],
            entry["sha256"],
        )
        for handshake in capture["handshakes"]
        for entry in handshake["certificates"]
    )
    either = ("tls.handshake.certificate", "dtls.handshake.certificate")
    found: Counter[tuple[Endpoints, str, str]] = Counter()
    for row in tshark(folder / capture["path"], " || ".join(either), *ADDRESSES, *either):
        for text in row[8] + row[9]:
            data = bytes.fromhex(text)
            sha1 = base64.b64encode(hashlib.sha1(data, usedforsecurity=False).digest()).decode()
            found[endpoints(row), sha1, base64.b64encode(hashlib.sha256(data).digest()).decode()] += 1
    assert found == wanted


@pytest.mark.parametrize(("folder", "capture"), CAPTURES)
def test_certificates_come_in_the_order_stated(folder: Path, capture: dict[str, Any], tshark: Any) -> None:
    either = ("tls.handshake.certificate", "dtls.handshake.certificate")
    rows = tshark(folder / capture["path"], " || ".join(either), *ADDRESSES, *either)
    served: dict[Endpoints, list[str]] = {}
    for handshake in capture["handshakes"]:
        chain = [entry for entry in handshake["certificates"] if entry["sender"] == "server"]
        assert [entry["position"] for entry in chain] == list(range(len(chain)))
        served.setdefault(server_to_client(handshake), []).extend(entry["sha256"] for entry in chain)
    for way, digests in served.items():
        shown = [text for row in rows if endpoints(row) == way for text in row[8] + row[9]]
        assert [
            base64.b64encode(hashlib.sha256(bytes.fromhex(text)).digest()).decode() for text in shown
        ] == digests


@pytest.mark.parametrize(("folder", "capture"), CAPTURES)
def test_shows_exactly_the_alerts(folder: Path, capture: dict[str, Any], tshark: Any) -> None:
    wanted = Counter(
        ((client_to_server if alert["sender"] == "client" else server_to_client)(handshake), alert["code"])
        for handshake in capture["handshakes"]
        for alert in handshake["alerts"]
    )
    level, number = "tls.alert_message.level", "tls.alert_message.desc"
    fields = (level, number, f"d{level}", f"d{number}")
    found: Counter[tuple[Endpoints, int]] = Counter()
    for row in tshark(folder / capture["path"], f"{level} == 2 || d{level} == 2", *ADDRESSES, *fields):
        for text in row[9] + row[11]:
            found[endpoints(row), int(text)] += 1
    assert found == wanted


@pytest.mark.parametrize(("folder", "capture"), CAPTURES)
def test_shows_exactly_the_handshakes(folder: Path, capture: dict[str, Any], tshark: Any) -> None:
    path = folder / capture["path"]
    hello = "tls.handshake.type == 1 || dtls.handshake.type == 1"
    names = ("tls.handshake.extensions_server_name", "dtls.handshake.extensions_server_name")
    clients = {
        endpoints(row): (row[8] + row[9] or [None])[0] for row in tshark(path, hello, *ADDRESSES, *names)
    }
    wanted = {
        client_to_server(entry): entry["server_name"] for entry in capture["handshakes"] if entry["asked"]
    }
    assert clients == wanted

    hello = "tls.handshake.type == 2 || dtls.handshake.type == 2"
    versions = (
        "tls.handshake.extensions.supported_version",
        "tls.handshake.version",
        "dtls.handshake.version",
    )
    servers = {
        endpoints(row): VERSIONS[(row[8] + row[9] + row[10])[0]]
        for row in tshark(path, hello, *ADDRESSES, *versions)
    }
    answered = [entry for entry in capture["handshakes"] if entry["answered"]]
    assert servers == {server_to_client(entry): entry["version"] for entry in answered}


@pytest.mark.parametrize(("folder", "capture"), CAPTURES)
def test_is_small_dated_and_complete(folder: Path, capture: dict[str, Any], tshark: Any) -> None:
    path = folder / capture["path"]
    assert path.stat().st_size < 300_000
    times = [row[0][0] for row in tshark(path, "frame", "frame.time_epoch")]
    assert len(times) == capture["packets"]
    seconds = int(float(times[0]))
    start = subprocess.run(
        ["date", "-u", "-d", capture["start"], "+%s"], check=True, capture_output=True, text=True
    ).stdout
    assert seconds == int(start)


@pytest.mark.parametrize(("folder", "capture"), [entry for entry in CAPTURES if "download" in str(entry.id)])
def test_downloads_can_be_taken_out(folder: Path, capture: dict[str, Any], tmp_path: Path) -> None:
    for download in capture["downloads"]:
        out = tmp_path / download["protocol"]
        command = [
            "tshark",
            "-n",
            "-Q",
            "-r",
            folder / capture["path"],
            "--export-objects",
            f"{download['protocol']},{out}",
        ]
        subprocess.run([*command, "-d", "tcp.port==6970,http"], check=True, capture_output=True)
        digests = {hashlib.sha256(entry.read_bytes()).hexdigest() for entry in out.iterdir()}
        assert download["sha256"] in digests


@pytest.mark.parametrize(("folder", "capture"), [entry for entry in CAPTURES if "keylog" in str(entry.id)])
def test_keys_beside_the_capture_show_the_certificate(
    folder: Path, capture: dict[str, Any], tshark: Any
) -> None:
    keys = ("-o", f"tls.keylog_file:{folder / capture['keylog']['path']}")
    rows = tshark(
        folder / capture["path"], "tls.handshake.certificate", "tls.handshake.certificate", options=keys
    )
    wanted = [
        entry["thumbprint"] for shown in capture["keylog"]["handshakes"] for entry in shown["certificates"]
    ]
    assert [
        hashlib.sha1(bytes.fromhex(text), usedforsecurity=False).hexdigest()
        for row in rows
        for text in row[0]
    ] == wanted


def test_out_of_order_segments_hide_the_certificate_by_default(tshark: Any) -> None:
    path = SETS[0] / "voice-vlan.pcap.gz"
    assert not tshark(path, "tls.handshake.certificate", "frame.number", options=("-t", "e"))
    assert tshark(path, "tls.handshake.certificate", "frame.number")


@pytest.mark.parametrize("folder", SETS, ids=str)
def test_nothing_is_unlisted_or_missing(folder: Path) -> None:
    book = BOOKS[folder]
    kinds = ("captures", "files", "forms", "config")
    listed = {"expected.json"} | {entry["path"] for kind in kinds for entry in book[kind]}
    for capture in book["captures"]:
        for handshake in (*capture["handshakes"], *capture.get("keylog", {}).get("handshakes", [])):
            listed |= {entry["file"] for entry in handshake["certificates"]}
    there = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert there == listed


@pytest.mark.parametrize("folder", SETS, ids=str)
def test_certificate_files_have_the_digests_stated(folder: Path) -> None:
    for capture in BOOKS[folder]["captures"]:
        for handshake in capture["handshakes"]:
            for entry in handshake["certificates"]:
                data = ssl.PEM_cert_to_DER_cert((folder / entry["file"]).read_text("ascii"))
                sha1 = hashlib.sha1(data, usedforsecurity=False)
                assert (entry["sha1"], entry["thumbprint"]) == (
                    base64.b64encode(sha1.digest()).decode(),
                    sha1.hexdigest(),
                )
                assert base64.b64decode(entry["sha256"]) == hashlib.sha256(data).digest()


@pytest.mark.parametrize("folder", SETS, ids=str)
def test_no_private_key_is_among_the_files(folder: Path) -> None:
    for path in folder.rglob("*"):
        assert not path.is_file() or b"PRIVATE KEY" not in path.read_bytes(), path


@pytest.mark.parametrize("folder", SETS, ids=str)
def test_expectations_are_what_the_files_say(folder: Path) -> None:
    """URL and hashes stand in the file named, and a match or mismatch follows from the captures."""
    book = BOOKS[folder]
    urls: dict[str, set[str]] = {}
    for entry in book["expectations"]:
        urls.setdefault(entry["device"], set()).add(entry["url"])
    for entry in book["expectations"]:
        if entry["source"].startswith("cnf/"):
            content = (folder / entry["source"]).read_bytes()
            for text in (entry["url"], *entry["hashes"]):
                assert text.replace("&", "&amp;").encode() in content, entry
        shown = {
            certificate["sha1"]
            for capture in book["captures"]
            for handshake in capture["handshakes"]
            if entry["device"] in handshake["devices"]
            for certificate in handshake["certificates"]
            if certificate["sender"] == "server"
        }
        if entry["verdict"] in {"match", "rejected"}:
            assert shown & set(entry["hashes"]), entry
        elif entry["verdict"] == "mismatch":
            assert shown, entry
        elif entry["verdict"] in {"unverifiable", "unseen"} and len(urls[entry["device"]]) == 1:
            assert not shown, entry
