"""Fixtures: the versions of Wireshark, and the plain Lua interpreters."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from tests.harness import wiresharks
from tests.plugin.machines import Machine, machine

if TYPE_CHECKING:
    from collections.abc import Iterator


def missing(program: str, package: str) -> None:
    """Fail if a program is missing, with the command that installs it."""
    if shutil.which(program) is None:
        pytest.fail(f"{program} is missing: apt-get install {package}", pytrace=False)


OTHERS = [pytest.param(version, marks=pytest.mark.slow) for version in wiresharks.others()]


@pytest.fixture(scope="session", params=["this-machine", *OTHERS])
def place(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """Return each supported version of Wireshark: this machine's, and the unpacked ones."""
    programs = None
    if request.param == "this-machine":
        missing("tshark", "tshark")
    else:
        programs = wiresharks.need(request.param).programs
    made = machine(request.param, programs)
    yield made
    shutil.rmtree(made.folder, ignore_errors=True)


FARTHEST = OTHERS[0] if "4.0" in wiresharks.others() else OTHERS[-1]
"""Of the other versions the one that differs most from this machine's: 4.0 has Lua 5.2, all others 5.4."""
ends = pytest.mark.parametrize("place", ["this-machine", FARTHEST], indirect=True)
"""For tests of what plain Lua modules decide: how each version shows it is tested with every version."""


@pytest.fixture(scope="session", params=["lua5.2", "lua5.4"])
def lua(request: pytest.FixtureRequest) -> str:
    """Return each plain Lua interpreter."""
    name: str = request.param
    missing(name, name)
    return name
