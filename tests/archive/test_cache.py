"""Test the cache of observations: its results are correct, whatever happens to the database."""

from __future__ import annotations

import json
import os
import pickle
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from certhash.archive import cache as cache_module
from certhash.archive.cache import SETTLED, Cache, default_path
from tests.archive.conftest import Counted
from tests.conftest import TOP, Ended, certhash
from tests.harness import permitted

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from certhash.capture.observe import Settings
    from certhash.model import Observation

CAPTURES = TOP / "captures"
CNF = CAPTURES / "cnf"


def _settle() -> None:
    """Wait until a file that was just written is old enough to be kept."""
    time.sleep(SETTLED / 1e9 + 0.1)


def _audit(*arguments: str | Path) -> Ended:
    return certhash("audit", *arguments, "-f", "json")


def _result(ended: Ended) -> Any:
    """Return the result without the path of tshark."""
    return {key: value for key, value in ended.json.items() if key != "tool"}


# ---------------------------------------------------------------- hit and miss


def test_a_second_audit_with_other_cnf_files_opens_no_packet(tmp_path: Path, counted: Counted) -> None:
    how = (CAPTURES, "--tshark", counted.path, "--cache", tmp_path / "cache")
    first = _audit(*how)
    captures = len(first.json["captures"])
    assert counted.runs == captures > 5
    again = _audit(*how, "--cnf", CNF)
    assert counted.runs == 0
    anew = _audit(CAPTURES, "--cnf", CNF, "--no-cache")
    assert _result(again) == _result(anew)
    assert again.status == anew.status == 1
    assert again.json["summary"]["match"] > 0 == first.json["summary"]["match"]


def test_a_cached_capture_goes_by_the_name_that_it_has_now(tmp_path: Path, counted: Counted) -> None:
    how = ("--tshark", counted.path, "--cache", tmp_path / "cache")
    short = certhash("audit", "match.pcapng", *how, "-f", "json", cwd=CAPTURES)
    assert counted.runs == 1
    full = _audit(CAPTURES / "match.pcapng", *how)
    assert counted.runs == 0
    assert short.json["captures"][0]["path"] == "match.pcapng"
    assert full.json["handshakes"][0]["capture"] == str(CAPTURES / "match.pcapng")


def test_what_decides_how_captures_are_read_is_part_of_the_key(tmp_path: Path, counted: Counted) -> None:
    how = (CAPTURES / "match.pcapng", "--cache", tmp_path / "cache", "--tshark", counted.path)
    keys = tmp_path / "keys"
    keys.write_text("# none\n")
    for more in ([], ["--no-carve"], ["--decode-as", "tcp.port==5000,tls"], ["--keylog", keys]):
        for expected in (1, 0):
            ended = _audit(*how, *more)
            assert counted.runs == expected, (more, ended)
    keys.write_text("# still none\n")
    _audit(*how, "--keylog", keys)
    assert counted.runs == 1
    counted.path.write_text(counted.path.read_text() + "# another tshark\n")
    _audit(*how)
    assert counted.runs == 1


def test_a_capture_that_changes_is_read_again(tmp_path: Path, counted: Counted) -> None:
    """The size and the time of the last change stay the same; one byte of a certificate changes."""
    capture = tmp_path / "changing.pcapng"
    shutil.copy(CAPTURES / "match.pcapng", capture)
    how = (capture, "--tshark", counted.path, "--cache", tmp_path / "cache")
    _settle()
    before = _audit(*how)
    assert counted.runs == 1
    assert _result(_audit(*how)) == _result(before)
    assert counted.runs == 0
    (certificate,) = before.json["handshakes"][0]["certificates"]
    status = capture.stat()
    content = capture.read_bytes()
    serial = bytes.fromhex(certificate["serial"].replace(":", ""))
    changed = content.replace(serial, serial[:-1] + bytes([serial[-1] ^ 1]))
    assert changed != content
    capture.write_bytes(changed)
    os.utime(capture, ns=(status.st_atime_ns, status.st_mtime_ns))
    after = _audit(*how)
    assert counted.runs == 1
    assert after.json["handshakes"][0]["certificates"][0]["sha1"] != certificate["sha1"]


def test_a_capture_that_was_changed_a_moment_ago_is_not_kept(tmp_path: Path, counted: Counted) -> None:
    """The file could change again within the resolution of its file system's clock."""
    capture = tmp_path / "fresh.pcapng"
    shutil.copyfile(CAPTURES / "match.pcapng", capture)
    how = (capture, "--tshark", counted.path, "--cache", tmp_path / "cache")
    later = time.time() + 3600
    os.utime(capture, (later, later))
    for _ in range(2):
        _audit(*how)
        assert counted.runs == 1


def test_what_was_read_in_part_is_read_again(tmp_path: Path) -> None:
    stub = Counted("test -e {folder}/well || kill -9 $$")
    how = (CAPTURES / "match.pcapng", "--cnf", CNF, "--tshark", stub.path, "--cache", tmp_path / "cache")
    assert _audit(*how).status == 2
    (stub.folder / "well").touch()
    ended = _audit(*how)
    assert (ended.status, ended.json["captures"][0]["status"]) == (0, "complete")


def test_no_cache_writes_nothing(tmp_path: Path) -> None:
    home = str(tmp_path)
    certhash("audit", CAPTURES / "match.pcapng", "--no-cache", XDG_CACHE_HOME=home, HOME=home)
    assert not list(tmp_path.iterdir())
    certhash("audit", CAPTURES / "match.pcapng", XDG_CACHE_HOME=home, HOME=home)
    (database,) = (tmp_path / "certhash").iterdir()
    assert database.stat().st_mode & 0o077 == 0


def test_a_key_log_that_is_missing_is_named(tmp_path: Path) -> None:
    ended = certhash(
        "audit", CAPTURES / "match.pcapng", "--keylog", tmp_path / "keys", "--cache", tmp_path / "cache"
    )
    assert ended.status == 2
    assert ended.err.count("\n") == 1
    assert f"{tmp_path / 'keys'}: there is no such file" in ended.err


# ---------------------------------------------------------------- damage


@pytest.fixture(name="observations", scope="module")
def _observations(alone: Callable[[Path], Observation]) -> dict[str, Observation]:
    return {str(path): alone(path) for path in sorted(CAPTURES.glob("*.pcap*"))[:4]}


def _fill(path: Path, settings: Settings, observations: dict[str, Observation]) -> bytes:
    """Create a cache of some captures, and return the path of its database."""
    notes: list[str] = []
    cache = Cache(str(path), settings, notes.append)
    for capture, observation in observations.items():
        assert cache.get(capture) is None
        cache.put(observation)
    cache.close()
    assert not notes
    return path.read_bytes()


def _known(path: Path, settings: Settings, observations: dict[str, Observation]) -> tuple[int, list[str]]:
    """Check everything that a cache returns for all captures; return the number of hits, and its notes."""
    notes: list[str] = []
    cache = Cache(str(path), settings, notes.append)
    found = [(cache.get(capture), observation) for capture, observation in observations.items()]
    cache.close()
    assert all(known in (None, observation) for known, observation in found)
    return sum(known is not None for known, _ in found), notes


def test_no_damaged_byte_is_believed(
    tmp_path: Path, settings: Settings, observations: dict[str, Observation]
) -> None:
    path = tmp_path / "cache"
    whole = _fill(path, settings, observations)
    assert _known(path, settings, observations) == (len(observations), [])
    chance = random.Random(1)
    at = [*range(100), *(chance.randrange(len(whole)) for _ in range(400))]
    lost = 0
    for place in at:
        path.write_bytes(
            whole[:place] + bytes([whole[place] ^ (1 << chance.randrange(8))]) + whole[place + 1 :]
        )
        count, notes = _known(path, settings, observations)
        lost += count < len(observations)
        assert len(notes) <= 1, notes
    assert lost > len(at) // 4


@pytest.mark.parametrize("size", [0, 50, 100, 4095, 4096, 5000, 9000])
def test_a_truncated_database_is_made_anew(
    tmp_path: Path, settings: Settings, observations: dict[str, Observation], size: int
) -> None:
    path = tmp_path / "certhash" / "observations.sqlite"
    whole = _fill(path, settings, observations)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert default_path() == str(path)
        path.write_bytes(whole[:size])
        count, notes = _known(path, settings, observations)
    assert (count, len(notes)) == (0, 0 if size == 0 else 1), notes
    assert size == 0 or "damaged, and is created again" in notes[0]
    _fill(path, settings, observations)


def _with_sql(path: Path, *statements: str) -> None:
    database = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        database.execute(statement)
    database.close()


FIRST = "SELECT content, checksum FROM observation ORDER BY file LIMIT 1"


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE observation SET content = zeroblob(length(content))",
        "UPDATE observation SET content = 'text'",
        "UPDATE observation SET content = 5",
        "UPDATE observation SET checksum = zeroblob(32)",
        f"UPDATE observation SET (content, checksum) = ({FIRST})",  # noqa: S608 - it is ours
    ],
)
def test_an_entry_that_is_not_what_was_written_is_none(
    tmp_path: Path, settings: Settings, observations: dict[str, Observation], statement: str
) -> None:
    path = tmp_path / "cache"
    _fill(path, settings, observations)
    _with_sql(path, statement)
    count, notes = _known(path, settings, observations)
    assert count == (
        "LIMIT" in statement
    )  # the entry that was copied over the others is still valid in its own place
    assert not notes


@pytest.mark.parametrize(
    ("statement", "word"),
    [
        ("PRAGMA user_version = 99", "another version of certhash"),
        ("DROP TABLE observation", "damaged"),
        ("ALTER TABLE observation DROP COLUMN content", "damaged"),
    ],
)
def test_a_database_of_another_form_is_made_anew(
    tmp_path: Path, settings: Settings, observations: dict[str, Observation], statement: str, word: str
) -> None:
    path = tmp_path / "cache"
    _fill(path, settings, observations)
    _with_sql(path, statement)
    count, notes = _known(path, settings, observations)
    assert count == 0
    assert len(notes) == 1
    assert word in notes[0]
    _fill(path, settings, observations)
    assert _known(path, settings, observations) == (len(observations), [])


def test_a_file_that_is_no_cache_is_left_as_it_is(tmp_path: Path, counted: Counted) -> None:
    """A wrong path on the command line must not destroy a capture or a browser's database."""
    capture = tmp_path / "precious.pcapng"
    shutil.copy(CAPTURES / "match.pcapng", capture)
    database = tmp_path / "places.sqlite"
    _with_sql(database, "CREATE TABLE observation (mine)", "INSERT INTO observation VALUES (1)")
    for path in (capture, database, counted.folder):
        before = path.read_bytes() if path.is_file() else b""
        ended = _audit(CAPTURES / "match.pcapng", "--cnf", CNF, "--cache", path, "--tshark", counted.path)
        assert (ended.status, counted.runs) == (0, 1), ended
        assert str(path) in ended.err
        assert len(ended.err.splitlines()) == 1
        assert before == (path.read_bytes() if path.is_file() else b"")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["places.sqlite", "precious.pcapng"]


# ---------------------------------------------------------------- trouble around it


def _goes_on_without(ended: Ended) -> None:
    assert ended.status == 0
    assert ended.json["summary"]["match"] == 1
    assert len(ended.err.splitlines()) == 1, ended.err
    assert "the audit continues without it" in ended.err


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    _goes_on_without(
        _audit(CAPTURES / "match.pcapng", "--cnf", CNF, "--cache", tmp_path / "file" / "certhash" / "cache")
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a file system")
def test_a_full_disk(tmp_path: Path) -> None:
    permitted.mounts()
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", disk], check=True)
    try:
        _goes_on_without(_audit(CAPTURES / "match.pcapng", "--cnf", CNF, "--cache", disk / "cache"))
    finally:
        subprocess.run(["umount", disk], check=True)


def test_several_audits_at_once_share_a_cache(tmp_path: Path, counted: Counted) -> None:
    how = ("--tshark", counted.path, "--cache", tmp_path / "cache")
    captures = sorted(CAPTURES.glob("*.pcap*"))[:6]
    command: list[str | Path] = [sys.executable, "-m", "certhash", "audit", *captures, "--cnf", CNF]
    command += ["-f", "json", *how]
    audits = [
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(TOP / "scripts")},
        )
        for _ in range(3)
    ]
    ended = [audit.communicate() for audit in audits]
    assert all(b"cache" not in err for _, err in ended)
    anew = _result(_audit(*captures, "--cnf", CNF, "--no-cache"))
    for out, _ in ended:
        document = json.loads(out)
        assert {key: document[key] for key in anew} == anew
    assert counted.runs > 0
    _audit(*captures, *how)
    assert counted.runs == 0


WRITER = """
import pickle
import sys
from certhash.archive.cache import Cache, FileKey
path = sys.argv[1]
settings, seen = pickle.load(sys.stdin.buffer)
print("ready", flush=True)
while True:
    cache = Cache(path, settings, print)
    for observation in seen:
        cache._missed[observation.path] = FileKey.of(observation.path)
        cache.put(observation)
    cache.close()
"""


def test_a_writer_that_is_killed_leaves_nothing_wrong(
    tmp_path: Path, settings: Settings, observations: dict[str, Observation]
) -> None:
    path = tmp_path / "cache"
    command = [sys.executable, "-c", WRITER, str(path)]
    chance = random.Random(2)
    for _ in range(5):
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(TOP / "scripts")},
        )
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(pickle.dumps((settings, list(observations.values()))))
        process.stdin.flush()
        assert process.stdout.readline() == b"ready\n"
        time.sleep(chance.uniform(0.01, 0.1))
        process.send_signal(signal.SIGKILL)
        said = process.communicate()[0]
        assert said == b""
        _, notes = _known(path, settings, observations)
        assert not notes
        database = sqlite3.connect(path)
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        database.close()
    assert _known(path, settings, observations)[0] == len(observations)


def test_what_no_audit_asked_for_is_thrown_away(
    tmp_path: Path, settings: Settings, observations: dict[str, Observation], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "cache"
    _fill(path, settings, observations)
    first, *_ = observations
    today = int(time.time()) // 86_400
    for days in (100, 200):  # an entry that was used after a hundred days is still there after two hundred
        monkeypatch.setattr(cache_module, "_today", lambda days=days: today + days)
        cache = Cache(str(path), settings, pytest.fail)
        assert cache.get(first) == observations[first]
        cache.close()
    database = sqlite3.connect(path)
    assert database.execute("SELECT count(*) FROM observation").fetchone() == (1,)
    database.close()
