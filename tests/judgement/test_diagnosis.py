"""Test every verdict and cause with a capture in ``tests/captures`` that shows it, and with a near miss.

The recorder wrote the right result to ``expected.json``; ``null`` means any result.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pytest
from tests.conftest import TOP, Ended, certhash

from certhash.judgement.document import Cause

if TYPE_CHECKING:
    from tests.harness.once import Once

FOLDER = TOP / "tests" / "captures"
EXPECTED: dict[str, Any] = json.loads((FOLDER / "expected.json").read_text("utf-8"))
CONFIG = FOLDER / "config"


@pytest.fixture(name="audited")
def _audited(once: Once) -> Ended:
    command = ("audit", FOLDER, "--cnf", FOLDER / "cnf", "-f", "json", "--no-cache")
    return once(lambda: certhash(*command, cwd=TOP), "audit with every cause")


def test_every_verdict_and_cause_is_as_recorded(audited: Ended) -> None:
    found: dict[tuple[str, str | None], list[tuple[str, str | None]]] = {}
    for row in audited.json["expectations"]:
        found.setdefault((row["device"], row["url"]), []).append((row["verdict"], row["cause"]))
    wrong = []
    for row in EXPECTED["expectations"]:
        got = found.pop((row["device"], row["url"]), [])
        right = len(got) == 1 and row["verdict"] in (None, got[0][0])
        if (
            not right
            or (row["verdict"] not in (None, "mismatch") and row["cause"] != got[0][1])
            or row["cause"] not in (None, got[0][1])
        ):
            wrong.append((row["device"], row["verdict"], row["cause"], got))
    assert not wrong
    assert not found, "rows that nobody expects"


def test_every_cause_has_a_capture_that_shows_it(audited: Ended) -> None:
    shown = {row["cause"] for row in audited.json["expectations"]}
    assert set(get_args(Cause)) <= shown


def test_every_certificate_is_seen_or_said_to_be_hidden(audited: Ended) -> None:
    fields = ("sender", "position", "sha1", "sha256")

    def key(path: str, handshake: dict[str, Any]) -> tuple[Any, ...]:
        certificates = sorted(tuple(x[f] for f in fields) for x in handshake["certificates"])
        return Path(path).name, handshake["client"]["port"], handshake["hidden"], certificates

    wanted = [key(c["path"], h) for c in EXPECTED["captures"] for h in c["handshakes"]]
    found = [key(h["capture"], h) for h in audited.json["handshakes"]]
    assert sorted(found, key=str) == sorted(wanted, key=str)


def test_bad_hashes_and_a_cut_capture_make_the_exit_status_2(audited: Ended) -> None:
    assert audited.status == 2
    named = {Path(p["path"]).name for p in audited.json["problems"]}
    assert "cut-short.pcap" in named


def test_keys_make_tls13_verifiable() -> None:
    command = ("audit", FOLDER / "tls13-keylog.pcapng", "--cnf", FOLDER / "cnf", "-f", "json", "--no-cache")
    assert not any(h["certificates"] for h in certhash(*command).json["handshakes"])
    keyed = certhash(*command, "--keylog", FOLDER / "tls13-keylog.txt").json
    assert all(h["certificates"] and h["hidden"] is None for h in keyed["handshakes"])


# ---------------------------------------------------------------- from configurations


@pytest.mark.parametrize("name", ["cme.cfg", "cme-pasted.txt", "cme-utf16.txt"])
def test_two_configurations_are_enough_for_a_verdict(name: str) -> None:
    (book,) = [c for c in EXPECTED["config"] if c["path"] == "config/cme.cfg"]
    ended = certhash("audit", "--cnf", CONFIG / name, "--cnf", CONFIG / "asa.cfg", "-f", "json")
    found = {(e["device"], e["url"]): e["verdict"] for e in ended.json["expectations"]}
    assert found == {(v["device"], v["url"]): v["verdict"] for v in book["verdicts"]}
    assert ended.status == 1
    assert all("rests on the configuration alone" in e["explanation"] for e in ended.json["expectations"])


def test_a_handshake_is_believed_before_a_configuration() -> None:
    ended = certhash(
        *("audit", FOLDER / "configured.pcapng", "--cnf", CONFIG / "cme.cfg", "-f", "json", "--no-cache")
    )
    (book,) = [c for c in EXPECTED["config"] if c["path"] == "config/cme.cfg"]
    found = {(e["device"], e["url"]): e["verdict"] for e in ended.json["expectations"]}
    assert found == {(v["device"], v["url"]): v["verdict"] for v in book["verdicts"]}
    assert not any("the configuration alone" in e["explanation"] for e in ended.json["expectations"])
