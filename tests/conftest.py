"""Fixtures for all tests: the required programs, and certhash run as a user runs it."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import hypothesis
import pytest

from certhash.capture import tshark
from certhash.capture.observe import Settings, observe
from tests.harness import wiresharks
from tests.harness.once import Once

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from certhash.model import Observation
    from tests.harness.fidelity.kitchen import Kitchen

# The same examples in every run and on every machine, however slow it is: what fails fails again.
# CONTRIBUTING names the options that try others.
hypothesis.settings.register_profile("same", derandomize=True, deadline=None)
hypothesis.settings.register_profile("others", deadline=None, print_blob=True)
hypothesis.settings.load_profile("same")

TOP = Path(__file__).resolve().parents[1]

RECORDED = sorted(
    path
    for folder in (TOP / "captures", TOP / "tests" / "captures")
    for path in folder.iterdir()
    if path.name.endswith((".pcap", ".pcapng", ".pcap.gz"))
)
"""The sample captures, and those that only tests need."""
CUT_SHORT = TOP / "tests" / "captures" / "cut-short.pcap"

SLOW = (
    "archive/",
    "capture/first_pass/test_overlooked.py",
    "capture/first_pass/test_quoted.py",
    "capture/first_pass/test_small.py",
    "capture/first_pass/test_soundness.py",
    "capture/first_pass/test_source.py",
    "capture/first_pass/test_variants.py",
    "capture/test_again.py",
    "capture/test_engine.py",
    "capture/test_first_answer.py",
    "capture/test_live.py",
    "capture/test_reasons.py",
    "capture/test_rows.py",
    "capture/test_sharing.py",
    "capture/test_start.py",
    "capture/test_tshark.py",
    "cnf/test_cleaning.py",
    "cnf/test_no_false_match.py",
    "cnf/test_nothing_is_lost.py",
    "commands/test_audit.py",
    "commands/test_doctor.py",
    "commands/test_export.py",
    "commands/test_hash.py",
    "commands/test_probe.py",
    "commands/test_watch.py",
    "commands/test_watch_live.py",
    "harness/",
    "judgement/test_diagnosis.py",
    "judgement/test_stated.py",
    "plugin/test_cnf.py",
    "plugin/test_damaged.py",
    "plugin/test_digests.py",
    "plugin/test_downloads.py",
    "plugin/test_fields.py",
    "plugin/test_hostid.py",
    "plugin/test_install.py",
    "plugin/test_loading.py",
    "plugin/test_shown.py",
    "plugin/test_stated.py",
    "plugin/test_unasked.py",
    "plugin/test_verdict_rules.py",
    "plugin/test_verdicts.py",
    "plugin/test_window.py",
    "report/test_html.py",
    "report/test_output.py",
    "report/test_table.py",
    "test_types.py",
)
"""Measured: all other tests together take a minute on two processors."""


LONGEST = (
    "harness/fidelity/",
    "capture/test_engine.py",
    "judgement/test_diagnosis.py",
    "test_types.py",
)
"""Those with tests of half a minute: if one of them is the last, the other workers wait for it."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of :data:`SLOW`, which ``-m "not slow"`` leaves out, and start with the longest."""
    of = {path: str(path).removeprefix(f"{TOP}/tests/") for path in {item.path for item in items}}
    longest, slow = ({path for path in of if of[path].startswith(names)} for names in (LONGEST, SLOW))
    items.sort(key=lambda item: item.path not in longest)
    for item in items:
        if item.path in slow:
            item.add_marker(pytest.mark.slow)


def pytest_xdist_auto_num_workers() -> int:
    """Return one more than there are processors: now and then a test waits for a window or a server."""
    return len(os.sched_getaffinity(0)) + 1


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print at the end how many tests were skipped, and why."""
    reasons = Counter(
        str(report.longrepr[2]).removeprefix("Skipped: ")
        for report in terminalreporter.stats.get("skipped", [])
    )
    if reasons:
        terminalreporter.section(f"{reasons.total()} tests skipped")
        for reason, count in reasons.most_common():
            terminalreporter.line(f"{count:4} {reason}")


PACKAGES = {
    "capinfos": "wireshark-common",
    "editcap": "wireshark-common",
    "mergecap": "wireshark-common",
    "ndpiReader": "libndpi-bin",
    "openssl": "openssl",
    "tshark": "tshark",
}
"""Debian's package of each program that tests run."""


def need(program: str) -> str:
    """Return the path of a program; if it is missing, fail the test with the command that installs it."""
    found = shutil.which(program)
    if found is None:
        pytest.fail(f"{program} is missing: apt-get install {PACKAGES.get(program, program)}")
    return found


@pytest.fixture(name="tmp_path")
def _tmp_path() -> Iterator[Path]:
    """Return a temporary folder that an unprivileged tshark can read, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="certhash-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """Give what makes a thing once in this session, whichever worker of pytest-xdist needs it first."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # that of the session
    (folder / "once").mkdir(exist_ok=True)
    return Once(folder / "once")


@pytest.fixture(scope="session")
def settings(once: Once) -> Settings:
    """Give the settings of an audit by this machine's tshark."""
    need("tshark")
    return Settings(once(tshark.find, "tshark.find"))


@pytest.fixture(scope="session")
def alone(once: Once, settings: Settings) -> Callable[[Path], Observation]:
    """Return what one tshark and the plugin see in a capture that no test changes."""
    return lambda path: once(lambda: observe(str(path), settings), "alone", str(path))


@pytest.fixture(scope="session")
def shown(once: Once) -> Callable[[Path], dict[int, list[bytes]]]:
    """Return what gives the certificates, in DER, that a stock tshark shows in each frame of a capture."""
    from tests.harness.fidelity.readers import shown

    def by_frame(path: Path) -> dict[int, list[bytes]]:
        found: dict[int, list[bytes]] = {}
        for frame, der in once(lambda: shown(path, stock_tshark()), "shown", str(path)):
            found.setdefault(frame, []).append(der)
        return found

    return by_frame


@pytest.fixture(scope="session")
def joined(once: Once) -> bytes:
    """Give one capture of all recorded ones, but for one that mergecap refuses: many cases for one start."""
    parts = [path for path in RECORDED if path.name != CUT_SHORT.name]
    command: list[str | Path] = [need("mergecap"), "-a", "-F", "pcapng", "-w", "-", *parts]
    return once(lambda: subprocess.run(command, capture_output=True, check=True).stdout, "joined")


@pytest.fixture(scope="session")
def kitchen(once: Once, tmp_path_factory: pytest.TempPathFactory) -> Kitchen:
    """Give real handshakes of TLS and DTLS."""
    from tests.harness.fidelity.kitchen import Kitchen

    return once(lambda: Kitchen(tmp_path_factory.mktemp("keys")), "kitchen")


@cache
def nobody() -> list[str]:
    """Return root's prefix of a command that runs as nobody; empty if this machine does not permit that.

    It keeps root's permission to read and write files and to capture, because this Python, the temporary
    folders and dumpcap may be accessible to root only.
    """
    command = [need("setpriv"), "--reuid=65534", "--regid=65534", "--clear-groups"]
    for capabilities in ("+dac_override,+net_raw,+net_admin", "+dac_override,+net_raw", "+dac_override"):
        as_nobody = [*command, f"--inh-caps={capabilities}", f"--ambient-caps={capabilities}"]
        if subprocess.run([*as_nobody, "true"], capture_output=True, check=False).returncode == 0:
            return as_nobody
    return []


@cache
def ordinary() -> list[str]:
    """Return the prefix of a command that runs a user's Wireshark with Lua.

    From 4.4 on, Wireshark loads no Lua for root; 4.0 does, but starts faster for others (see without_names).
    """
    if os.geteuid() != 0:
        return []
    if as_nobody := nobody():
        return as_nobody
    said = subprocess.run([need("tshark"), "--version"], capture_output=True, text=True, check=True).stdout
    if said.startswith("TShark (Wireshark) 4.0."):
        return []
    return pytest.skip(
        "this Wireshark loads no Lua for root, and this machine does not permit to become nobody"
    )


@cache
def stock_tshark() -> list[str]:
    """Return the start of a command line for this machine's tshark without the plugin, names and delay."""
    need("tshark")
    as_nobody = nobody() if os.geteuid() == 0 else []
    variables = [f"{name}={value}" for name, value in wiresharks.without_names().items()]
    return [*as_nobody, "env", *variables, "tshark", "-n"]


CACHE = tempfile.mkdtemp(prefix="certhash-tests-")
"""Replace the user's cache folder, so that tests do not depend on earlier runs."""
Path(CACHE).chmod(0o777)  # for those of ordinary()
atexit.register(shutil.rmtree, CACHE, ignore_errors=True)


class Ended(NamedTuple):
    """The result of a run of certhash."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Return standard output, parsed as JSON."""
        return json.loads(self.out)


def certhash(
    *arguments: str | Path,
    stdin: bytes = b"",
    cwd: Path | None = None,
    before: Sequence[str] = (),
    **environment: str,
) -> Ended:
    """Run certhash in its own process; the output is text, and a traceback fails the test.

    `before` is a command that runs it, as :func:`ordinary` returns one.
    """
    need("tshark")
    ended = subprocess.run(
        [*before, sys.executable, "-m", "certhash", *map(str, arguments)],
        input=stdin,
        capture_output=True,
        check=False,
        timeout=300,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(TOP / "scripts"), "XDG_CACHE_HOME": CACHE, **environment},
    )
    err = ended.stderr.decode("utf-8", "replace")
    assert "Traceback" not in err, err
    return Ended(ended.returncode, ended.stdout.decode("utf-8", "replace"), err)
