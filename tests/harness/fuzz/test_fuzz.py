"""Test that no input causes an undocumented exception of a reader, or a false finding of the audit."""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.conftest import TOP, need
from tests.harness import wiresharks
from tests.harness.fidelity.compare import audit, by_capture
from tests.harness.fidelity.readers import separate, stock
from tests.harness.fuzz.many import INTERPRETERS, MODULES, modules
from tests.harness.fuzz.mutate import lying, mutated, struck
from tests.harness.fuzz.targets import TARGETS, found

if TYPE_CHECKING:
    from tests.harness.once import Once

FOUND = Path(__file__).with_name("found")
"""Test every input that once caused a failure."""
SAMPLES = ("match", "rejected", "dtls", "anyconnect", "fetched-over-tftp")
MUTANTS = 24


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(data=st.data())
def test_readers_refuse_what_is_damaged_in_words(name: str, data: st.DataObject) -> None:
    target, samples = TARGETS[name]
    sample = data.draw(st.sampled_from(samples()))
    number = data.draw(st.integers(0, 1 << 32))
    target(mutated(random.Random(number), sample))


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=100, deadline=None, derandomize=True)
@given(data=st.binary(max_size=400))
def test_readers_take_any_bytes(name: str, data: bytes) -> None:
    TARGETS[name][0](data)


@pytest.mark.parametrize(("name", "data"), found(FOUND))
def test_what_broke_once_breaks_no_more(name: str, data: bytes) -> None:
    TARGETS[name][0](data)


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("lua", INTERPRETERS)
def test_modules_of_the_plugin_take_what_is_damaged(lua: str, name: str) -> None:
    assert modules(need(lua), name, 300, seed=0) == []


@pytest.fixture(name="tshark", params=["this-machine", *wiresharks.others()])
def _tshark(request: pytest.FixtureRequest) -> str:
    """Each version of tshark."""
    return need("tshark") if request.param == "this-machine" else str(wiresharks.need(request.param).tshark)


def test_damaged_captures_break_nothing_and_show_nothing_that_is_not_there(
    tmp_path: Path, tshark: str, once: Once
) -> None:
    def made() -> dict[str, tuple[bytes, set[str]]]:
        """Return damaged captures, and the certificates that a reader finds in each that is no tshark."""
        make(tmp_path, range(MUTANTS))
        return {
            path.name: (path.read_bytes(), {finding.sha1 for finding in separate(path)})
            for path in tmp_path.iterdir()
        }

    damaged = once(made, "damaged captures", MUTANTS)
    for name, (content, _) in damaged.items():
        (tmp_path / name).write_bytes(content)
    check(tmp_path, tshark, {name: found for name, (_, found) in damaged.items()})


def make(folder: Path, numbers: range) -> None:
    """Write captures damaged by editcap, by changed bytes, and by wrong lengths."""
    for number in numbers:
        choose = random.Random(number)
        sample = TOP / "captures" / f"{SAMPLES[number % len(SAMPLES)]}.pcapng"
        plain = folder / "plain"
        subprocess.run([need("editcap"), "-F", "pcap", sample, plain], check=True)
        path = folder / f"{number:05}.pcap"
        match number % 4:
            case 0:
                error, seed = str(choose.choice((0.001, 0.01))), str(number)
                subprocess.run([need("editcap"), "-E", error, "--seed", seed, plain, path], check=True)
            case 1:
                path.write_bytes(struck(choose, plain.read_bytes()))
            case 2:
                shutil.copyfile(plain, path)
                path.write_bytes(mutated(choose, plain.read_bytes()))
            case _:
                path.write_bytes(lying(choose, plain.read_bytes()))
        plain.unlink()


def check(folder: Path, tshark: str, separately: dict[str, set[str]]) -> int:
    """Audit a folder of damaged captures; return the number of certificates found.

    Args:
        folder: it holds nothing else.
        tshark: its path.
        separately: by name of a capture, the certificates that a reader finds in it that is no tshark.
    """
    document = audit([folder], "--cnf", str(TOP / "captures" / "cnf"), "--tshark", tshark)
    assert document["tool"]["hash_source"] == "plugin"
    total = 0
    wrong = ("the plugin failed", "cannot be parsed (", "trust neither", "please report")
    for capture in by_capture(document):
        assert not [p for p in capture.problems if any(w in p for w in wrong)], capture
        ours = {finding.sha1 for finding in capture.findings}
        path = Path(capture.path)
        left = ours - separately[path.name]
        assert not left or left <= {finding.sha1 for finding in stock(path, tshark)}, capture.path
        total += len(ours)
    return total
