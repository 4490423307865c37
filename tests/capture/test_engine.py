"""Test the warm engine: its results equal tshark's, and a capture that crashes it affects no other."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from certhash.capture import process, tshark, workplace
from certhash.capture import warm as warm_reading
from certhash.capture.engine import Engine, EngineError, missing
from certhash.capture.observe import Settings, observe, with_engine
from tests.conftest import TOP, need
from tests.harness import wiresharks
from tests.harness.faults.stage import Audit, audit, copies
from tests.harness.fidelity.warm import compare
from tests.harness.packets import pcap
from tests.harness.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from certhash.model import Observation

CAPTURES = sorted(
    path for folder in ("captures", "tests/captures") for path in (TOP / folder).glob("*.pcap*")
)
MATCH, DTLS = TOP / "captures" / "match.pcapng", TOP / "captures" / "dtls.pcapng"

pytestmark = pytest.mark.skipif(
    shutil.which("sharkd") is None, reason="no sharkd: apt-get install wireshark-common"
)


@contextmanager
def warm(settings: Settings) -> Iterator[tuple[Engine, workplace.Workplace]]:
    """Return an engine, and the place that it shares with the tsharks for captures that it does not read."""
    with workplace.workplace(settings.tshark.path, keylog=settings.keylog) as place:
        place = with_engine(settings, place)  # noqa: PLW2901
        assert place.engine is not None
        try:
            yield place.engine, place
        finally:
            place.engine.close()


@pytest.fixture
def dissected(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Return a list that records each capture that an engine dissects successfully from now on."""
    done: list[bytes] = []
    whole = Engine.dissect

    def dissect(engine: Engine, capture: bytes, seconds: float) -> object:
        result = whole(engine, capture, seconds)
        done.append(bytes(capture))
        return result

    monkeypatch.setattr(Engine, "dissect", dissect)
    return done


def harmful(folder: Path, monkeypatch: pytest.MonkeyPatch, harm: str) -> None:
    """Change the plugin so that it runs harmful Lua in a server before it writes a frame's row."""
    plugin = folder / "plugin"
    shutil.copytree(TOP / "plugin", plugin)
    module = plugin / "certhash" / "batch.lua"
    text = module.read_text()
    begin = "        if plugin.one_pass_server then\n"
    assert text.count(begin) == 1
    module.write_text(text.replace(begin, f"{begin}{harm}\n"))
    monkeypatch.setattr(workplace, "plugin_folder", lambda: plugin)


def test_in_any_order_it_says_what_tshark_says(
    dissected: list[bytes], settings: Settings, alone: Callable[[Path], Observation]
) -> None:
    expected = {path: alone(path) for path in CAPTURES}
    once_more = CAPTURES[::-2]  # each other capture, after other captures than before
    with warm(settings) as (_engine, place):
        for path in (*CAPTURES, *once_more):
            assert observe(str(path), settings, place) == expected[path], path
    assert len(dissected) > 0.9 * len((*CAPTURES, *once_more))


@pytest.mark.parametrize("version", wiresharks.others())
def test_with_other_versions_too(version: str) -> None:
    """A few captures, each of another kind; `python -m tests.harness.fidelity.warm` compares many."""
    names = ("match", "dtls", "resumed", "tls13", "fetched-over-tftp", "anyconnect")
    paths = [TOP / "captures" / f"{name}.pcapng" for name in names]
    result = compare(str(wiresharks.need(version).tshark), (paths, paths[::-1]))
    assert result.different == []
    assert result.dissected == 2 * len(paths)


def test_what_was_cut_when_it_was_recorded_is_for_tshark(
    settings: Settings, alone: Callable[[Path], Observation]
) -> None:
    """A server has no field for it, so the row would not say that the packet was cut."""
    cut = TOP / "tests" / "captures" / "snaplen.pcapng"
    with warm(settings) as (_engine, place):
        assert observe(str(cut), settings, place) == alone(cut)


def test_a_file_that_is_cut_short_is_read_up_to_the_cut(
    tmp_path: Path, dissected: list[bytes], settings: Settings
) -> None:
    """A recorder that is ended may leave such a file; an archive may have many."""
    path = tmp_path / "cut-short.pcapng"
    with warm(settings) as (_engine, place):
        for end in (1, 150):
            path.write_bytes(MATCH.read_bytes()[:-end])
            seen = observe(str(path), settings, place)
            assert seen == observe(str(path), settings)
            assert (seen.status, seen.error) == ("truncated", "the file is cut short")
    assert len(dissected) == 2


def test_an_attacker_in_one_capture_reaches_no_other(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    dissected: list[bytes],
    settings: Settings,
    alone: Callable[[Path], Observation],
) -> None:
    """An attacker who controls a dissector controls every later hash of the same process."""
    honest = {path: alone(path) for path in (MATCH, DTLS)}
    harmful(
        tmp_path,
        monkeypatch,
        """
        if tvb:raw():find("evil", 1, true) then
            rawset(_G, "taken", true)
        end
        if rawget(_G, "taken") then
            write(pinfo.number .. CELL .. "taken" .. "\\n")
        end
        """,
    )
    with warm(settings) as (engine, place):
        assert observe(str(DTLS), settings, place) == honest[DTLS]
        before = len(dissected)
        lines = engine.dissect(pcap([b"evil" * 20, b"\0" * 80]), 30).lines
        assert [line.split(tshark.SEPARATOR)[1] for line in lines] == ["taken", "taken"]
        for path, expected in honest.items():
            assert observe(str(path), settings, place) == expected
        assert len(dissected) == before + 3


@pytest.mark.parametrize(
    "harm",
    [
        pytest.param("os.exit(0)", id="ends"),
        pytest.param("error('no')", id="fails"),
        pytest.param("io.stderr:write('(process:1): Dissector bug\\n')", id="complains"),
        pytest.param("io.stderr:write(('x'):rep(3000000))", id="floods"),
        pytest.param("io.stdout:write('{}\\n')", id="answers falsely"),
        pytest.param("io.stdout:write('1\\30', '2\\30', '3\\n')", id="writes another line"),
        pytest.param("while true do end", id="hangs"),
        pytest.param(
            "local much = {} while true do much[#much + 1] = ('x'):rep(1e7) .. #much end", id="bloats"
        ),
    ],
)
def test_a_capture_that_harms_the_engine_is_read_by_tshark(  # noqa: PLR0913, PLR0917 - fixtures
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    dissected: list[bytes],
    harm: str,
    settings: Settings,
    alone: Callable[[Path], Observation],
) -> None:
    expected = {path: alone(path) for path in (MATCH, DTLS)}
    harmful(tmp_path, monkeypatch, f"if tvb:raw():find('{_mark(expected[MATCH])}', 1, true) then {harm} end")
    monkeypatch.setattr("certhash.capture.engine._PATIENCE", 15.0)
    monkeypatch.setattr(os, "sysconf", lambda _name: 1 << 10)
    monkeypatch.setattr(process, "LEAST_MEMORY", 1 << 30)
    with warm(settings) as (_engine, place):
        for path in (DTLS, MATCH, DTLS):
            with monkeypatch.context() as patch:
                if path == MATCH and harm.startswith("while true"):  # it would be waited for in vain
                    patch.setattr("certhash.capture.engine._PATIENCE", 1.0)
                assert observe(str(path), settings, place) == expected[path]
    assert len(dissected) == (3 if harm.startswith(("error", "io.stdout:write('1")) else 2)


def _mark(seen: Observation) -> str:
    """Return the addresses of a capture's connection as Lua writes them; no other capture has the same."""
    (handshake, *_) = seen.handshakes
    ends = [bytes(map(int, end.address.split("."))) for end in (handshake.client, handshake.server)]
    return "".join(f"\\{byte:03}" for byte in ends[0] + ends[1])


def test_one_that_always_fails_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Settings, alone: Callable[[Path], Observation]
) -> None:
    expected = alone(MATCH)
    harmful(tmp_path, monkeypatch, "os.exit(0)")
    with warm(settings) as (engine, place):
        for _ in range(4):
            assert observe(str(MATCH), settings, place) == expected
        assert engine.trouble


def test_what_it_lacks_is_said(
    tmp_path: Path, settings: Settings, alone: Callable[[Path], Observation]
) -> None:
    found = settings.tshark
    assert missing(found.path) is None
    script = tmp_path / "bin" / "tshark"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec {need("tshark")} "$@"\n')
    script.chmod(0o755)
    assert missing(str(script)) == f"there is no sharkd beside {script}"
    other = Settings(tshark.Tshark(found.path, "1.2.3", found.lua))
    with warm(other) as (engine, place):
        with pytest.raises(EngineError, match=r"sharkd has version .*, and tshark 1\.2\.3"):
            engine.dissect(MATCH.read_bytes())
        assert observe(str(MATCH), other, place) == alone(MATCH)


def test_a_plugin_that_does_not_load_is_noticed_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    plugin = tmp_path / "plugin"
    shutil.copytree(TOP / "plugin", plugin)
    (plugin / "certhash.lua").write_text("this is no Lua\n")
    monkeypatch.setattr(workplace, "plugin_folder", lambda: plugin)
    with (
        warm(settings) as (engine, _place),
        pytest.raises(EngineError, match="the plugin does not load into sharkd"),
    ):
        engine.dissect(MATCH.read_bytes())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else: use sudo")
def test_it_has_no_more_power_than_tshark(settings: Settings) -> None:
    with warm(settings) as (engine, place):
        engine.dissect(MATCH.read_bytes())
        examined = 0
        for pid in [pid for pid in map(int, _processes()) if _is_sharkd_in(pid, place.folder)]:
            # The process that read the capture may end at any time; the engine itself stays.
            with contextlib.suppress(ProcessLookupError, FileNotFoundError):
                status = Path(f"/proc/{pid}/status").read_text()
                limits = Path(f"/proc/{pid}/limits").read_text()
                assert f"Uid:\t{place.user}\t{place.user}\t{place.user}" in status
                assert "Max file size             0 " in limits
                examined += 1
        assert examined
        assert [path for path in place.folder.rglob("socket") if path.stat().st_uid != 0] == []


def _processes() -> list[str]:
    return [entry.name for entry in Path("/proc").iterdir() if entry.name.isdecimal()]


def _is_sharkd_in(pid: int, folder: Path) -> bool:
    if not _is_sharkd(pid):
        return False
    try:
        return f"HOME={folder}".encode() in Path(f"/proc/{pid}/environ").read_bytes()
    except PermissionError:
        pytest.skip("this machine does not permit root to look into the processes of others")
    except OSError:
        return False


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_nothing_is_left_of_it(tmp_path: Path, number: signal.Signals) -> None:
    archive = copies(tmp_path, "match")
    for copy in range(400):
        shutil.copy(archive / "match.pcapng", archive / f"{copy}.pcapng")
    running = Audit(tmp_path, archive, "-f", "json", "--no-cache", "-j", "2")
    until(lambda: [pid for pid in running.processes() if _is_sharkd(pid)])
    time.sleep(0.1)
    running.process.send_signal(number)
    if number == signal.SIGINT:
        ended = running.end()
        assert (ended.status, ended.left_behind) == (2, [])
    else:
        running.process.wait()
        until(lambda: not running.processes())


def _is_sharkd(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_text() == "sharkd\n"
    except OSError:
        return False


def test_the_command_gives_the_same_with_and_without(tmp_path: Path) -> None:
    results = [
        audit(tmp_path, TOP / "captures", "-f", "json", "--no-cache", *more) for more in ([], ["--no-warm"])
    ]
    assert results[0] == results[1]
    assert results[0].left_behind == []


def test_a_capture_that_is_large_when_decompressed_is_for_tshark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dissected: list[bytes], settings: Settings
) -> None:
    monkeypatch.setattr(warm_reading, "SMALL", 2000)
    path = tmp_path / "small.pcap.gz"
    frames = pcap([bytes(60)] * 500)
    path.write_bytes(subprocess.run(["gzip", "-9c"], input=frames, check=True, capture_output=True).stdout)
    assert path.stat().st_size < 2000
    with warm(settings) as (_engine, place):
        assert observe(str(path), settings, place) == observe(str(path), settings)
    assert dissected == []
