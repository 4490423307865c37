"""Test what a run costs before it has an answer: which packages it imports, and which programs it starts."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from certhash.archive.cache import SETTLED
from certhash.capture.engine import Engine, EngineError
from certhash.capture.workplace import workplace
from tests.capture.programs import Programs
from tests.conftest import CUT_SHORT, TOP, certhash

if TYPE_CHECKING:
    from pathlib import Path

MATCH, PORT_REUSED = TOP / "captures" / "match.pcapng", TOP / "tests" / "captures" / "port-reuse.pcapng"
CNF = TOP / "captures" / "cnf" / "SEP00005E005311.cnf.xml"

pytestmark = pytest.mark.skipif(
    shutil.which("sharkd") is None, reason="no sharkd: apt-get install wireshark-common"
)

ALWAYS = {"certhash", "msgspec"}
X509 = {"cryptography"}
SLOW = {
    *("asyncio", "concurrent", "ctypes", "email", "html", "http", "logging", "multiprocessing", "sqlite3"),
    *("ssl", "tomllib", "unittest", "xml", "zoneinfo"),
}
"""Of the standard library: what takes long to import. cryptography imports email."""


@pytest.mark.parametrize(
    ("arguments", "packages", "slow"),
    [
        pytest.param(("--version",), {"certhash"}, set(), id="version"),
        pytest.param(
            ("audit", MATCH, "-f", "json", "--no-cache"), ALWAYS | X509, {"email"}, id="capture, as JSON"
        ),
        pytest.param(
            ("audit", MATCH, "--cnf", CNF, "--no-cache"),
            ALWAYS | X509 | {"lxml", "rich"},
            {"email", "html"},
            id="capture and cnf file, as a table",
        ),
        pytest.param(
            ("audit", MATCH, "-f", "json"),
            ALWAYS | X509 | {"platformdirs"},
            {"email", "sqlite3"},
            id="with the cache",
        ),
    ],
)
def test_what_a_run_imports(
    tmp_path: Path, arguments: tuple[str | Path, ...], packages: set[str], slow: set[str]
) -> None:
    """The processes that read captures write to the same list."""
    alone = _imported(tmp_path, "-c", "pass")
    imported = _imported(tmp_path, "-m", "certhash", *map(str, arguments)) - alone
    assert len(imported) > 10
    outside = {name for name in imported if not name.startswith("_")} - set(sys.stdlib_module_names)
    assert outside - _UNASKED == packages
    assert imported & SLOW == slow


def _imported(folder: Path, *arguments: str) -> set[str]:
    """Return the packages that Python imports or looks for."""
    ended = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments],
        env={**os.environ, "PYTHONPATH": str(TOP / "scripts"), "XDG_CACHE_HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode in (0, 1), ended.stderr
    lines = [line for line in ended.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}


_UNASKED = {"org", "java", "nt", "vms_lib", "bcrypt", "rnc2rng", "typing_extensions"}
"""What the standard library tries to import, and what cryptography, lxml and msgspec import if present."""


@pytest.fixture
def programs() -> Programs:
    return Programs()


def test_what_a_run_starts(programs: Programs, tmp_path: Path) -> None:
    """One program reads a small capture, and says itself which version it is."""
    how = ("-f", "json", "--no-cache", "--tshark", programs.tshark)
    warm = certhash("audit", MATCH, "--cnf", CNF, *how)
    assert programs.starts == ["sharkd unix:socket"]
    cold = certhash("audit", MATCH, "--cnf", CNF, *how, "--no-warm")
    assert programs.starts == ["tshark --version", "tshark -n"]
    assert warm.out == cold.out
    certhash("audit", CUT_SHORT, *how)
    assert programs.starts == ["sharkd unix:socket"]
    certhash("audit", PORT_REUSED, *how)
    assert programs.starts == ["sharkd unix:socket", "tshark -n"]
    certhash("audit", "--cnf", CNF, *how)
    assert programs.starts == ["tshark --version"]
    for name in range(3):
        shutil.copy(MATCH, tmp_path / f"{name}.pcapng")
    assert certhash("audit", tmp_path, *how, "-j", "3").status == 0
    assert programs.starts == ["sharkd unix:socket"] * 3


def test_what_export_starts(programs: Programs, tmp_path: Path) -> None:
    certhash("export", MATCH, "-o", tmp_path / "warm", "--no-cache", "--tshark", programs.tshark)
    assert programs.starts == ["sharkd unix:socket"]
    certhash("export", MATCH, "-o", tmp_path / "cold", "--no-cache", "--no-warm", "--tshark", programs.tshark)
    warm, cold = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("warm", "cold")
    )
    assert warm == cold
    assert len(warm) > 1


def test_what_the_cache_does_not_know_is_for_the_engine(programs: Programs, tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    archive.mkdir()
    how = ("audit", archive, "-f", "json", "--tshark", programs.tshark)
    for number, name in enumerate(("match", "mismatch"), 1):
        shutil.copy(TOP / "captures" / f"{name}.pcapng", archive)
        time.sleep(SETTLED / 1e9 + 0.1)  # the cache does not trust a file that changed just now
        expected = certhash(*how, "--no-warm", "--no-cache")
        assert programs.starts == ["tshark --version"] + ["tshark -n"] * number
        for _ in range(2):
            assert certhash(*how, "--cache", tmp_path / "cache").out == expected.out
            assert programs.starts == ["sharkd unix:socket"]


def test_another_version_beside_it_is_noticed(programs: Programs) -> None:
    """By their files, tshark may be of any version: then it is asked."""
    with workplace(str(programs.tshark)) as place:
        engine = Engine(str(programs.tshark), place)
        try:
            found = engine.identify()
        finally:
            engine.close()
        programs.tshark.write_text(f"{programs.tshark.read_text()}# {found.version}\n")
        other = Engine(str(programs.tshark), place)
        with pytest.raises(EngineError, match="may have another version than sharkd"):
            other.identify()
    programs.starts  # noqa: B018 - forget them
    certhash("audit", MATCH, "-f", "json", "--no-cache", "--tshark", programs.tshark)
    assert programs.starts[:2] == ["sharkd unix:socket", "tshark --version"]
