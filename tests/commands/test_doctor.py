"""Test the doctor with working set-ups, and with deliberately broken ones."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import TOP, certhash, need, ordinary
from tests.harness import permitted, wiresharks

from certhash import __version__

PACKAGE = TOP / "scripts" / "certhash"
PLUGINS = Path(".local/lib/wireshark/plugins")


def _examine(*arguments: str | Path, **environment: str) -> tuple[int, dict[str, dict[str, Any]]]:
    # The tests' cache folder may already be another user's.
    environment.setdefault("XDG_CACHE_HOME", f"{environment['HOME']}/.cache")
    environment |= wiresharks.without_names()
    ended = certhash("doctor", "--json", *arguments, stdin=b"", cwd=None, before=ordinary(), **environment)
    assert ended.json["exit_status"] == ended.status
    return ended.status, {check["name"]: check for check in ended.json["checks"]}


@pytest.fixture(name="home")
def _home(tmp_path: Path) -> Path:
    """A user with a correct Wireshark setup."""
    folder = tmp_path / "home" / ".config" / "wireshark"
    folder.mkdir(parents=True)
    (folder / "preferences").write_text("tcp.reassemble_out_of_order: TRUE\n")
    for path in (tmp_path / "home", folder.parent, folder):
        path.chmod(0o777)  # for those of ordinary()
    return tmp_path / "home"


def _copy_plugin(home: Path) -> Path:
    """Put the plugin where the user's Wireshark searches it."""
    return shutil.copytree(TOP / "plugin", home / PLUGINS)


def _wrapped(folder: Path, program: str, before: str = "", run: str = "") -> Path:
    """Write a wrapper that runs the real program in a wrong way."""
    path = folder / program
    path.write_text(f'#!/bin/sh\n{before}\nexec {run} {need(program)} "$@"\n')
    path.chmod(0o755)
    folder.chmod(0o755)
    return path


def test_working_installation_is_reported_as_ok(home: Path) -> None:
    permitted.capture()
    ended = certhash("plugin", "install", before=ordinary(), HOME=str(home))
    assert ended.status == 0, ended.err
    status, checks = _examine(HOME=str(home))
    assert {name: check["state"] for name, check in checks.items()} == dict.fromkeys(checks, "good"), checks
    assert status == 0
    assert set(checks) == {
        *(
            "Python",
            "packages",
            "tshark",
            "plugin",
            "sharkd",
            "self-test",
            "in Wireshark",
            "preferences",
            "capture",
        ),
        *("pyshark", "cache"),
    }
    said = subprocess.run([need("tshark"), "--version"], check=True, capture_output=True, text=True).stdout
    assert checks["tshark"]["found"].split()[0] in said.splitlines()[0]
    assert __version__ in checks["in Wireshark"]["found"]


def test_people_read_a_line_a_check(home: Path) -> None:
    ended = certhash("doctor", before=ordinary(), HOME=str(home), XDG_CACHE_HOME=str(home / ".cache"))
    assert ended.status == 0
    assert "ok     self-test" in ended.out
    assert "note   in Wireshark" in ended.out
    assert "certhash plugin install" in ended.out


def test_the_capture_for_the_self_test_holds_what_is_written_beside_it() -> None:
    """Stock tshark with reassembly and hashlib find the same hashes; without it, tshark finds none."""
    expected = json.loads((PACKAGE / "selftest.json").read_text())
    command = [need("tshark"), "-n", "-r", str(PACKAGE / "selftest.pcap"), "-T", "fields"]
    command += ["-e", "tls.handshake.certificate", "-Y", "tls.handshake.certificate"]
    found = []
    for preference in ("TRUE", "FALSE"):
        option = f"tcp.reassemble_out_of_order:{preference}"
        shown = subprocess.run([*command, "-o", option], check=True, capture_output=True, text=True).stdout
        ders = [bytes.fromhex(der) for der in shown.strip().split(",") if der]
        found.append(
            [base64.b64encode(hashlib.sha1(d, usedforsecurity=False).digest()).decode() for d in ders]
        )
    assert found == [expected["sha1"], []]


def test_without_tshark_nothing_works_and_it_is_said_how_to_get_it(tmp_path: Path) -> None:
    ended = certhash("doctor", "--tshark", tmp_path / "tshark")
    assert ended.status == 2
    assert "broken tshark" in ended.out
    assert "apt-get install tshark" in ended.out


def test_a_plugin_that_does_not_load_is_told_and_python_hashes_alone(tmp_path: Path, home: Path) -> None:
    stub = _wrapped(tmp_path, "tshark", before="unset WIRESHARK_PLUGIN_DIR")
    status, checks = _examine("--tshark", stub, HOME=str(home))
    assert status == 1
    assert checks["plugin"]["state"] == "mend"
    assert checks["self-test"]["state"] == "good"
    assert "hashed correctly by Python" in checks["self-test"]["found"]


@pytest.fixture(name="copy")
def _copy(tmp_path: Path) -> Path:
    """Return a separate installation to break."""
    package = tmp_path / "site" / "certhash"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(TOP / "plugin", package / "_plugin")
    return package


def _examine_copy(package: Path, home: Path) -> tuple[int, dict[str, dict[str, Any]]]:
    ended = subprocess.run(
        [*ordinary(), sys.executable, "-m", "certhash", "doctor", "--json"],
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            **wiresharks.without_names(),
            "PYTHONPATH": str(package.parent),
            "HOME": str(home),
        },
        cwd=home,
    )
    assert not ended.stderr
    return ended.returncode, {check["name"]: check for check in json.loads(ended.stdout)["checks"]}


def test_a_syntax_error_in_the_plugin_is_quoted(copy: Path, home: Path) -> None:
    (copy / "_plugin" / "certhash" / "sha1.lua").write_text("return nothing at all\n")
    status, checks = _examine_copy(copy, home)
    assert status == 1
    assert "sha1.lua:1" in checks["plugin"]["found"]


def test_a_wrong_hash_is_always_reported(copy: Path, home: Path) -> None:
    """If the plugin computes another hash, the self-test fails and warns against this installation."""
    base64_lua = copy / "_plugin" / "certhash" / "base64.lua"
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    text = base64_lua.read_text()
    assert alphabet in text
    base64_lua.write_text(text.replace(alphabet, alphabet.swapcase()))
    status, checks = _examine_copy(copy, home)
    assert (status, checks["self-test"]["state"]) == (2, "broken")
    assert "do not use this installation" in checks["self-test"]["advice"]


def test_an_expectation_that_is_not_met_is_broken(copy: Path, home: Path) -> None:
    path = copy / "selftest.json"
    path.write_text(path.read_text().replace('"match"', '"mismatch"'))
    status, checks = _examine_copy(copy, home)
    assert (status, checks["self-test"]["state"]) == (2, "broken")


# ---------------------------------------------------------------- the user's Wireshark


def test_an_installed_plugin_that_does_not_load_is_told_with_the_reason(home: Path) -> None:
    folder = _copy_plugin(home)
    (folder / "certhash" / "sha256.lua").unlink()
    status, checks = _examine(HOME=str(home))
    assert (status, checks["in Wireshark"]["state"]) == (1, "mend")
    assert "does not load" in checks["in Wireshark"]["found"]


def test_two_plugins_and_preferences_and_a_cache_that_cannot_be_written_are_named(home: Path) -> None:
    shutil.copytree(TOP / "plugin", _copy_plugin(home) / "certhash-old")
    preferences = ("tcp.reassemble_out_of_order", "tcp.desegment_tcp_streams")
    with (home / ".config" / "wireshark" / "preferences").open("a") as file:
        file.writelines(f"{preference}: FALSE\n" for preference in preferences)
    (home / "file").write_text("")
    status, checks = _examine(HOME=str(home), XDG_CACHE_HOME=str(home / "file"))
    assert (status, checks["preferences"]["state"], checks["cache"]["state"]) == (1, "mend", "mend")
    assert checks["in Wireshark"]["state"] == "mend"
    assert "2 copies are installed" in checks["in Wireshark"]["found"]
    assert "certhash-old" in checks["in Wireshark"]["found"]
    assert all(preference in checks["preferences"]["found"] for preference in preferences)
    assert "select the profile certhash" in checks["preferences"]["advice"]
    assert "Edit > Preferences" in checks["preferences"]["advice"]
    assert checks["self-test"]["state"] == "good", "audits state their own preferences"
    assert str(home / "file") in checks["cache"]["found"]


def test_an_old_plugin_is_to_be_replaced_and_who_may_not_capture_is_told_so(
    tmp_path: Path, home: Path
) -> None:
    """As root, dumpcap runs as nobody, so that the kernel refuses."""
    (_copy_plugin(home) / "certhash" / "version.lua").write_text('return { version = "0.0.1" }\n')
    stub = _wrapped(tmp_path, "tshark")
    root = os.geteuid() == 0
    as_nobody = f"{need('setpriv')} --reuid=65534 --regid=65534 --clear-groups"
    _wrapped(tmp_path, "dumpcap", run=as_nobody if root else "")
    status, checks = _examine("--tshark", stub, HOME=str(home))
    assert (status, checks["in Wireshark"]["state"]) == (1, "mend")
    assert "0.0.1" in checks["in Wireshark"]["found"]
    assert "certhash plugin install" in checks["in Wireshark"]["advice"]
    if root:
        assert checks["capture"]["state"] == "mend"
        # root gets the missing capabilities of a container; others are let into a group
        advice = "dpkg-reconfigure wireshark-common" if ordinary() else "--cap-add=NET_RAW"
        assert advice in checks["capture"]["advice"]
