"""Test unusual set-ups of tshark: another program, without Lua, in a script, for an unprivileged user."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from certhash.capture import tshark, workplace
from certhash.capture.observe import Settings, observe
from certhash.errors import InputError
from tests.conftest import TOP, need
from tests.harness.benchmarks.captures import Turn
from tests.harness.faults.stage import audit, copies, tshark_that
from tests.harness.fidelity.kinds import ENDS, connection
from tests.harness.fidelity.readers import stock
from tests.harness.packets import pcap

if TYPE_CHECKING:
    from pathlib import Path

    from certhash.model import Observation

MATCH = TOP / "captures" / "match.pcapng"
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else: use sudo")


def stub(folder: Path, script: str) -> Path:
    """Write a shell script to use as tshark; $TSHARK in it is the real one."""
    path = folder / "tshark"
    path.write_text("#!/bin/sh\n" + script.replace("TSHARK", need("tshark")))
    path.chmod(0o755)
    return path


def without_lua(folder: Path) -> tshark.Tshark:
    """Return a tshark that reports no Lua, and does not load Lua."""
    said = (
        'case "$*" in --version) TSHARK --version | tr "\\n" " " | sed "s/with Lua [0-9.]*/without Lua/" ;;'
    )
    return tshark.find(str(stub(folder, f'{said} *) exec TSHARK --disable-protocol certhash "$@" ;; esac\n')))


def _record(messages: bytes) -> bytes:
    return b"\x16\x03\x03" + len(messages).to_bytes(2, "big") + messages


def hashes(seen: Observation) -> list[bytes]:
    return [c.sha256 for handshake in seen.handshakes for c in handshake.certificates]


def test_why_the_plugin_does_not_load_is_said(tmp_path: Path) -> None:
    assert tshark.plugin_trouble(tshark.find()) is None
    assert tshark.plugin_trouble(without_lua(tmp_path)) == "this tshark was built without Lua"


@pytest.mark.parametrize(
    ("script", "says"),
    [
        pytest.param("#!/bin/sh\necho hello\n", "does not work as tshark", id="another"),
        pytest.param("#!/no/such/interpreter\n", "cannot be run (No such file or directory)", id="broken"),
    ],
)
def test_a_program_that_is_not_tshark_is_named(tmp_path: Path, script: str, says: str) -> None:
    path = tmp_path / "tshark"
    path.write_text(script)
    path.chmod(0o755)
    with pytest.raises(InputError, match="apt-get install tshark") as caught:
        tshark.find(str(path))
    assert says in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_key_log_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"keys\.txt: there is no such file; give --keylog"):
        observe(str(MATCH), Settings(tshark.find(), keylog=str(tmp_path / "keys.txt")))


def test_without_lua_python_hashes_and_sees_the_same(tmp_path: Path) -> None:
    found = without_lua(tmp_path)
    assert found.lua is None
    assert tshark.plugin_trouble(found) == "this tshark was built without Lua"
    with_plugin = observe(str(MATCH), Settings(tshark.find()))
    seen = observe(str(MATCH), Settings(found))
    assert (seen.hash_source, with_plugin.hash_source) == ("python", "plugin")
    assert seen.handshakes == with_plugin.handshakes
    assert seen.certificates == with_plugin.certificates
    assert seen.problems == ()


def test_certificate_with_trailing_bytes_is_hashed_as_sent_or_reported_as_damaged(
    tmp_path: Path,
) -> None:
    """Wireshark's field ends where the DER ends; its hash would not be that of the sent bytes."""
    der = next(iter(observe(str(MATCH), Settings(tshark.find())).certificates.values())) + b"more"
    message = b"".join(
        (
            b"\x0b",
            *(size.to_bytes(3, "big") for size in (len(der) + 6, len(der) + 3, len(der))),
            der,
        )
    )
    hello = b"\x02\x00\x00\x26\x03\x03" + bytes(range(32)) + b"\x00\xc0\x2f\x00"
    asks = b"\x01\x00\x00\x29\x03\x03" + bytes(32) + b"\x00\x00\x02\xc0\x2f\x01\x00"
    turns = [Turn("client", _record(asks)), Turn("server", _record(hello + message + b"\x0e\x00\x00\x00"))]
    path = tmp_path / "damaged.pcap"
    path.write_bytes(pcap(connection(ENDS, turns)))
    seen = observe(str(path), Settings(tshark.find()))
    assert list(seen.certificates.values()) == [der]
    assert seen.problems == ()
    partly = observe(str(path), Settings(without_lua(tmp_path)))
    assert list(partly.certificates.values()) != [der]
    assert "certificate 0 is damaged and only partly shown" in partly.problems[0].message


def test_a_plugin_that_hashes_wrongly_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "plugin"
    shutil.copytree(TOP / "plugin", folder)
    module = folder / "certhash" / "sha1.lua"
    text = module.read_text()
    assert "0x67452301" in text
    module.write_text(text.replace("0x67452301", "0x67452300"))
    monkeypatch.setattr(workplace, "plugin_folder", lambda: folder)
    seen = observe(str(MATCH), Settings(tshark.find()))
    assert any("trust neither" in problem.message for problem in seen.problems)


def test_packets_that_are_lost_on_the_way_to_tshark_are_missed(tmp_path: Path) -> None:
    script = (
        f'case "$*" in *"-r -"*) {need("editcap")} -r - - 1-3 | TSHARK "$@" ;; *) exec TSHARK "$@" ;; esac\n'
    )
    seen = observe(str(MATCH), Settings(tshark.find(str(stub(tmp_path, script)))))
    assert seen.status == "truncated"
    assert seen.error is not None
    assert seen.error.startswith("tshark read 3 of the ")


def test_what_is_a_capture_by_its_first_bytes_alone_is_named(tmp_path: Path) -> None:
    path = tmp_path / "iptrace.cap"
    path.write_bytes(b"iptrace " + bytes(range(200)))
    seen = observe(str(path), Settings(tshark.find()))
    assert (seen.status, seen.error) == ("unreadable", "not a capture file that tshark can read")


def test_a_tshark_that_complains_without_end_is_read_all_the_same(tmp_path: Path) -> None:
    flood = "yes this is not a complaint of tshark | head -c 5000000 >&2"
    seen = observe(str(MATCH), Settings(tshark.find(str(tshark_that(tmp_path, flood)))))
    assert hashes(seen) == hashes(observe(str(MATCH), Settings(tshark.find())))
    assert seen.status == "complete"


def test_a_tshark_in_a_process_group_of_its_own_is_ended_with_it(tmp_path: Path) -> None:
    """The timeout command becomes the leader of its own process group."""
    archive = copies(tmp_path, "match")
    hangs = f"exec {need('timeout')} 500 sleep 400"
    ended = audit(tmp_path, archive, "-f", "json", "--timeout", "5", "--tshark", tshark_that(tmp_path, hangs))
    assert ended.status == 2
    assert "exceeded the --timeout" in ended.err
    assert ended.left_behind == []


@as_root
def test_a_user_without_power_sees_what_root_sees(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    # Python may be in root's folders, which other users cannot read.
    powers = [f"{kind}=+dac_override" for kind in ("--inh-caps", "--ambient-caps")]
    as_nobody = [need("setpriv"), "--reuid=65534", "--regid=65534", "--clear-groups", *powers]
    command = [sys.executable, "-m", "certhash", "audit", "-f", "json", "--no-cache", "-q", str(MATCH)]
    environment = {**os.environ, "PYTHONPATH": str(TOP / "scripts"), "HOME": str(tmp_path)}
    results = [
        json.loads(
            subprocess.run([*before, *command], capture_output=True, check=True, env=environment).stdout
        )
        for before in (as_nobody, [])
    ]
    assert results[0] == results[1]
    assert results[0]["tool"]["hash_source"] == "plugin"


@as_root
def test_a_temporary_folder_of_roots_alone_is_not_where_tshark_runs(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    archive = copies(tmp_path, "match")
    ended = audit(tmp_path, archive, "-f", "json", TMPDIR=str(closed))
    assert ended.status == 0, ended.err
    assert len(ended.json["handshakes"]) == len(stock(MATCH)[:1])
    assert list(closed.iterdir()) == []
