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
    """Fail where a program is missing, with the command that installs it."""
    if shutil.which(program) is None:
        pytest.fail(f"{program} is missing: apt-get install {package}", pytrace=False)


OTHERS = [pytest.param(version, marks=pytest.mark.slow) for version in wiresharks.others()]


@pytest.fixture(scope="session", params=["this-machine", *OTHERS])
def place(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """Each version of Wireshark: this machine's, and the others that are promised."""
    programs = None
    if request.param == "this-machine":
        missing("tshark", "tshark")
    else:
        programs = wiresharks.need(request.param).programs
    made = machine(request.param, programs)
    yield made
    shutil.rmtree(made.folder, ignore_errors=True)


@pytest.fixture(scope="session", params=["lua5.2", "lua5.4"])
def lua(request: pytest.FixtureRequest) -> str:
    """Each plain Lua interpreter."""
    name: str = request.param
    missing(name, name)
    return name
