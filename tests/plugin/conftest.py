"""Fixtures: the machines with a tshark, and the plain Lua interpreters."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from tests.plugin import debian13
from tests.plugin.machines import Machine, machine

if TYPE_CHECKING:
    from collections.abc import Iterator


def missing(program: str, package: str) -> None:
    """Fail where a program is missing, with the command that installs it."""
    if shutil.which(program) is None:
        pytest.fail(f"{program} is missing: apt-get install {package}", pytrace=False)


# Unpacking Debian 13 takes minutes, once.
@pytest.fixture(scope="session", params=["this-machine", pytest.param("debian-13", marks=pytest.mark.slow)])
def place(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """Each machine with a tshark: Lua 5.2 or whatever this one has, and Lua 5.4."""
    root = None
    if request.param == "debian-13":
        try:
            root = debian13.tree()
        except RuntimeError as error:
            pytest.fail(str(error), pytrace=False)
    else:
        missing("tshark", "tshark")
    made = machine(request.param, root)
    yield made
    shutil.rmtree(made.folder, ignore_errors=True)


@pytest.fixture(scope="session", params=["lua5.2", "lua5.4"])
def lua(request: pytest.FixtureRequest) -> str:
    """Each plain Lua interpreter."""
    name: str = request.param
    missing(name, name)
    return name
