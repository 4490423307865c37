"""Test live captures: real packets on interfaces of a namespace, with real dumpcap, tshark and pyshark."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import signal
import ssl
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.capture.first_pass.test_overlooked import ENDS, framed
from tests.conftest import TOP, certhash, need
from tests.harness import live_network, openssl, permitted
from tests.harness.benchmarks.captures import make_identity, tcp_frame, tcp_segments, tls_transcript
from tests.harness.live_network import CABLE, OTHER_END, Watch, inside

from certhash.archive.walk import find_captures
from certhash.model import Endpoint

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.harness.once import Once

CAPTURES = TOP / "captures"
MORE = TOP / "tests" / "captures"

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="capturing and namespaces need root: use sudo")


@pytest.fixture(name="network", scope="module")
def _network() -> Iterator[str]:
    for program in ("tshark", "openssl"):
        need(program)
    permitted.namespaces()
    with live_network.namespace() as name:
        yield name


# ---------------------------------------------------------------- real packets on a cable


def _frames(path: str) -> list[bytes]:
    """Return the Ethernet frames of a capture, as editcap reads them."""
    data = subprocess.run([need("editcap"), "-F", "pcap", path, "-"], check=False, capture_output=True).stdout
    frames, at = [], 24
    while at + 16 <= len(data):
        captured, length = struct.unpack_from("<II", data, at + 8)
        if captured == length and len(data) >= at + 16 + captured:
            frames.append(data[at + 16 : at + 16 + captured])
        at += 16 + captured
    return frames


_SEND = """
import socket, sys, time
line = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
line.bind((sys.argv[1], 0))
for number, frame in enumerate(sys.stdin.read().split()):
    line.send(bytes.fromhex(frame))
    if number % 20 == 19:
        time.sleep(0.01)
"""


def _send(network: str, frames: list[bytes]) -> None:
    """Send frames from the other end of the cable."""
    command = [*inside(network), sys.executable, "-c", _SEND, OTHER_END]
    subprocess.run(command, input=" ".join(frame.hex() for frame in frames).encode(), check=True)


def _handshake(handshake: dict[str, Any]) -> str:
    keys = ("client", "server", "transport", "server_name", "version", "resumed", "encrypted", "hidden")
    facts = {key: handshake[key] for key in keys}
    facts["certificates"] = [(c["sender"], c["position"], c["sha1"]) for c in handshake["certificates"]]
    facts["alerts"] = [(a["sender"], a["level"], a["code"]) for a in handshake["alerts"]]
    return json.dumps(facts, sort_keys=True)


# These have keys in the file, or cut packets, which cannot be sent.
UNSENT = re.compile("tls13-(key|retry)|renegotiated|snaplen")
FOLDERS = ("--cnf", CAPTURES / "cnf", "--cnf", MORE / "cnf")


@pytest.fixture(scope="module")
def sent(once: Once) -> tuple[list[bytes], dict[str, Any]]:
    """Return the frames of all captures that can be sent, and their audit."""
    paths = [p for p in find_captures([str(CAPTURES), str(MORE)]).captures if not UNSENT.search(p)]
    audited = once(lambda: certhash("audit", *paths, *FOLDERS, "-f", "json").json, "audit of what is sent")
    return [frame for path in paths for frame in _frames(path)], audited


@as_root
@pytest.mark.parametrize("packets", [10_000, 60])
def test_on_the_wire_it_sees_what_an_audit_sees_in_the_files(
    network: str, tmp_path: Path, packets: int, sent: tuple[list[bytes], dict[str, Any]]
) -> None:
    """All captures are sent over a cable; with 60 packets each, the tsharks are replaced all the time.

    The longest handshake in them takes 75 packets, and a successor must get all of an unfinished one again.
    """
    frames, audited = sent
    before = f"from certhash.capture import live\nlive.SHIFT_PACKETS = {packets}\nlive.AGAIN_PACKETS = 100"
    result = tmp_path / "result.json"
    with Watch(network, CABLE, *FOLDERS, "-o", result, before=before) as watch:
        watch.wait_until_ready()
        _send(network, frames)
        for handshake in audited["handshakes"]:
            watch.wait_for(re.escape(f"  {Endpoint(**handshake['client'])} > "))
        watch.end()
    watched = json.loads(result.read_text("utf-8"))
    assert watched["captures"][0]["status"] == "complete", watched["captures"]
    assert watched["summary"]["handshakes"] == len(audited["handshakes"])
    assert watched["summary"]["certificates"] == audited["summary"]["certificates"]
    assert watched["summary"]["hidden"] == audited["summary"]["hidden"]
    # Of equal handshakes of one phone, the document of a watch has the newest.
    assert set(map(_handshake, watched["handshakes"])) <= set(map(_handshake, audited["handshakes"]))
    verdicts = [
        {(e["device"], e["url"]): e["verdict"] for e in each["expectations"]} for each in (watched, audited)
    ]
    assert verdicts[0] == verdicts[1]


# ---------------------------------------------------------------- a head-end and a phone on the loopback


@pytest.fixture(name="head_end", scope="module")
def _head_end(network: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """OpenSSL as a head-end on 127.0.0.1:443, and a web server for phones' files on port 6970."""
    folder = tmp_path_factory.mktemp("head-end")
    made = openssl.make(folder, "certificate", subject="/CN=vpn.example.com")
    certificate, key, digest = made.path, made.key, made.cert_hash
    (folder / "hash").write_text(digest)
    for device, value in (
        ("SEP00005E005301", digest),
        ("SEP00005E005302", base64.b64encode(bytes(20)).decode()),
    ):
        (folder / f"{device}.cnf.xml").write_text(
            "<device><vpnGroup><enableHostIDCheck>0</enableHostIDCheck><addresses><url1>https://127.0.0.1/phone"
            f"</url1></addresses><credentials><hashAlg>0</hashAlg><certHash1>{value}</certHash1></credentials>"
            "</vpnGroup></device>"
        )
    serve = ["openssl", "s_server", "-accept", "127.0.0.1:443", "-tls1_2"]
    serve += ["-cert", str(certificate), "-key", str(key)]
    share = [sys.executable, "-m", "http.server", "6970", "--bind", "127.0.0.1", "--directory", str(folder)]
    quiet = subprocess.DEVNULL
    servers = [
        subprocess.Popen([*inside(network), *command], stdin=subprocess.PIPE, stdout=quiet, stderr=quiet)
        for command in (serve, share)
    ]
    for port in (443, 6970):
        probe = f"import socket; socket.create_connection(('127.0.0.1', {port})).close()"
        end = time.monotonic() + 30
        while subprocess.run(
            [*inside(network), sys.executable, "-c", probe], check=False, stderr=quiet
        ).returncode:
            assert time.monotonic() < end
    yield folder
    for server in servers:
        server.kill()
        server.communicate()


def _connect(network: str, *options: str | Path) -> None:
    command = [*inside(network), "openssl", "s_client", "-connect", "127.0.0.1:443", *options]
    subprocess.run(command, input=b"", check=False, capture_output=True)


@as_root
def test_verdicts_come_as_they_happen_and_ctrl_c_ends_with_the_summary(network: str, head_end: Path) -> None:
    good = head_end / "SEP00005E005301.cnf.xml"
    digest = re.escape((head_end / "hash").read_text())
    with Watch(network, "lo", "--cnf", good) as watch:
        watch.wait_until_ready()
        _connect(network)
        watch.wait_for(rf"match         127\.0\.0\.1:\d+ > 127\.0\.0\.1:443  {digest}  SEP00005E005301\n")
        _connect(network, "-CAfile", good, "-CAfile", head_end / "certificate.pem")
        watch.wait_for(r"  match  ", 2)
        # A client that trusts only other CAs rejects the certificate, as a phone does.
        subprocess.run(
            [*inside(network), sys.executable, "-c", _REFUSE], check=False, capture_output=True, input=b""
        )
        watch.wait_for(
            rf"  rejected      .*  {digest}  SEP00005E005301  client sent fatal unknown_ca \(48\)\n"
        )
        watch.wait_for(
            r"  REJECTED: SEP00005E005301 at https://127\.0\.0\.1/phone expects [^ ]+=: alert-only: "
        )
        assert watch.end(signal.SIGINT) == 1
    assert "1 phone checked: 1 rejected" in watch.said
    assert "3 handshakes, 3 certificates" in watch.said
    assert watch.complained.splitlines() == ["certhash: watching lo; press Ctrl-C for the summary"]


_REFUSE = """
import socket, ssl
context = ssl.create_default_context()
context.wrap_socket(socket.create_connection(("127.0.0.1", 443)), server_hostname="vpn.example.com")
"""


@as_root
def test_a_file_that_a_phone_fetches_is_learned(network: str, head_end: Path) -> None:
    with Watch(network, "lo") as watch:
        watch.wait_until_ready()
        _connect(network)
        watch.wait_for(r"  unlisted  ")
        fetch = f"import urllib.request as u; u.urlopen('http://127.0.0.1:6970/{'SEP00005E005302.cnf.xml'}').read()"
        subprocess.run([*inside(network), sys.executable, "-c", fetch], check=True)
        watch.wait_for(
            r"  learned       SEP00005E005302, downloaded by 127\.0\.0\.1 .*: https://127\.0\.0\.1/phone"
        )
        _connect(network)
        watch.wait_for(r"  mismatch  .*  SEP00005E005302\n")
        watch.wait_for(
            r"  MISMATCH: SEP00005E005302 at https://127\.0\.0\.1/phone expects \S+: unknown-certificate: "
        )
        assert watch.end(signal.SIGTERM) == 1
    assert head_end.exists()


@as_root
def test_a_form_for_machines_is_alone_on_standard_output(network: str, head_end: Path) -> None:
    good = head_end / "SEP00005E005301.cnf.xml"
    with Watch(network, "lo", "--cnf", good, "-f", "json", "--seconds", "8") as watch:
        watch.wait_until_ready()
        _connect(network)
        said, complained = watch.process.communicate(timeout=90)
    result = json.loads(said)
    assert (watch.process.returncode, result["summary"]["match"]) == (0, 1)
    assert result["captures"][0]["path"] == "lo"
    assert result["tool"]["hash_source"] == "plugin"
    assert b"  match  " in complained


@as_root
def test_a_tshark_that_dies_is_replaced_and_it_is_said(network: str, head_end: Path) -> None:
    good = head_end / "SEP00005E005301.cnf.xml"
    with Watch(network, "lo", "--cnf", good) as watch:
        watch.wait_until_ready()
        _connect(network)
        watch.wait_for(r"  match  ")
        (pid,) = _dissectors(watch)
        os.kill(pid, signal.SIGKILL)
        while pid in _dissectors(watch):
            time.sleep(0.05)
        _connect(network)
        watch.wait_for(r"  match  ", 2)
        assert watch.end() == 2
    assert "tshark ended" in watch.complained


def _dissectors(watch: Watch) -> list[int]:
    """Return the process id of the tshark that is running; it is started once the interface is open."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        children = Path(f"/proc/{watch.process.pid}/task/{watch.process.pid}/children").read_text().split()
        with contextlib.suppress(OSError):  # one of them has just ended
            found = [
                int(child) for child in children if Path(f"/proc/{child}/comm").read_text() == "tshark\n"
            ]
            if found:
                return found
        time.sleep(0.05)
    raise AssertionError("no tshark is running")


@as_root
def test_tshark_has_no_privileges_and_dumpcap_none_of_its_configuration(network: str) -> None:
    with Watch(network, "lo") as watch:
        watch.wait_until_ready()
        (pid,) = _dissectors(watch)
        status = Path(f"/proc/{pid}/status").read_text()
        environment = Path(f"/proc/{pid}/environ").read_bytes()
        assert watch.end() == 0
    (user,) = re.findall(r"Uid:\t(\d+)", status)
    assert int(user) != 0
    assert b"WIRESHARK_CONFIG_DIR=" in environment
    assert b"/certhash-" in environment


@as_root
@pytest.mark.parametrize("other", ["other.example", "vpn.example"])
def test_a_certificate_that_tshark_does_not_show_is_named(network: str, tmp_path: Path, other: str) -> None:
    """Also one that it shows in another connection: the client may have rejected it here."""
    certificates = {name: make_identity(tmp_path, name) for name in ("vpn.example", other)}
    hidden, shown = (
        tls_transcript(certificates[name], version=ssl.TLSVersion.TLSv1_2) for name in ("vpn.example", other)
    )
    ends = ENDS._replace(server_port=443)
    frames = [*framed(hidden), *(tcp_frame(ends, each) for each in tcp_segments(shown))]
    with Watch(network, CABLE) as watch:
        watch.wait_until_ready()
        _send(network, frames)
        watch.wait_for(r"203\.0\.113\.10:443")
        assert watch.end() == 2
    assert "does not show what looks like a certificate from 203.0.113.10:45678" in watch.complained
    assert "audit the file" in watch.complained


@as_root
def test_a_config_ini_in_the_current_folder_is_not_heeded(
    network: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pyshark runs the programs that this file names."""  # noqa: D403 - its name
    evil, trace = tmp_path / "evil", tmp_path / "trace"
    tmp_path.chmod(0o777)  # any user who runs it can create its trace file
    evil.write_text(f"#!/bin/sh\ntouch {trace}\n")
    evil.chmod(0o755)
    names = ("tshark", "dumpcap")
    (tmp_path / "config.ini").write_text("".join(f"[{name}]\n{name}_path = {evil}\n" for name in names))
    monkeypatch.chdir(tmp_path)
    with Watch(network, "lo") as watch:
        watch.wait_until_ready()
        assert watch.end() == 0
    assert not trace.exists()


@as_root
def test_watch_works_without_child_watchers_and_implicit_event_loop(network: str, head_end: Path) -> None:
    """In that version, asyncio has no child watchers, and does not create an event loop on request."""
    before = (
        "import asyncio\n"
        "for name in ('SafeChildWatcher', 'set_child_watcher', 'get_child_watcher'):\n"
        "    asyncio.__dict__.pop(name, None)\n"
        "def none(*_): raise RuntimeError('There is no current event loop')\n"
        "asyncio.get_event_loop_policy = none\n"
    )
    with Watch(network, "lo", "--cnf", head_end / "SEP00005E005301.cnf.xml", before=before) as watch:
        watch.wait_until_ready()
        _connect(network)
        watch.wait_for(r"  match  ")
        assert watch.end() == 0


# ---------------------------------------------------------------- errors


def _refused(*arguments: str | Path) -> str:
    ended = certhash("watch", *arguments)
    assert ended.status == 2
    (said,) = ended.err.splitlines()
    return said


def test_an_interface_that_is_not_there_is_named_with_those_that_are() -> None:
    permitted.capture()
    said = _refused("nosuch0")
    assert "nosuch0" in said
    assert "lo" in said.partition("choose one of:")[2]


@pytest.mark.parametrize("number", ["nan", "-1", "0", "soon"])
def test_watch_refuses_an_invalid_number_of_seconds(number: str) -> None:
    """Otherwise nothing would be captured, and no error reported."""
    ended = certhash("watch", "lo", "--seconds", number)
    assert ended.status == 2
    assert "is not a number of seconds" in ended.err


def test_a_filter_that_dumpcap_does_not_take_is_one_line() -> None:
    permitted.capture()
    assert "filter" in _refused("lo", "--capture-filter", "no such filter")


@as_root
def test_who_may_not_capture_is_told_what_to_do(tmp_path: Path) -> None:
    as_nobody = f"{need('setpriv')} --reuid=65534 --regid=65534 --clear-groups"
    for program, before in (("tshark", ""), ("dumpcap", as_nobody)):
        stub = tmp_path / program
        stub.write_text(f'#!/bin/sh\nexec {before} {need(program)} "$@"\n')
        stub.chmod(0o755)
    said = _refused("lo", "--tshark", tmp_path / "tshark")
    assert "no permission to capture" in said
    assert "--cap-add=NET_RAW" in said  # root gets the missing capabilities of a container


@as_root
def test_an_interface_that_goes_away_ends_it_with_what_was_seen(network: str) -> None:
    subprocess.run(["ip", "-n", network, "link", "add", "gone0", "type", "veth"], check=True)
    subprocess.run(["ip", "-n", network, "link", "set", "gone0", "up"], check=True)
    with Watch(network, "gone0") as watch:
        watch.wait_until_ready()
        subprocess.run(["ip", "-n", network, "link", "del", "gone0"], check=True)
        said, complained = watch.process.communicate(timeout=60)
    assert watch.process.returncode == 2
    assert b"ended by itself" in complained
    assert b"Coverage" in said


# ---------------------------------------------------------------- memory


@as_root
def test_memory_stays_flat_and_no_handshake_is_lost() -> None:
    """60,000 packets fit into the kernel's buffer, so that a busy machine drops none."""
    permitted.namespaces()
    before, most, connections, said = live_network.measure(60_000)
    assert most - before < 50 << 20
    assert len(re.findall("  unlisted  ", said)) == connections
    assert "could not be done" not in said
