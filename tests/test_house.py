"""Test the layers of the package: pure modules import only pure ones, and none imports a higher layer."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from typing import TYPE_CHECKING

import pytest

from tests.conftest import TOP

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PACKAGE = TOP / "scripts" / "certhash"

PURE = {"certfile", "certificate", "digest", "headend", "hostid", "mistakes", "model", "times", "visible"}
"""Modules of the ground floor without file, clock, process or network, like all of ``judgement``."""

STANDARD_LIBRARY = {
    "__future__",
    "base64",
    "binascii",
    "bisect",
    "collections",
    "datetime",
    "functools",
    "hashlib",
    "ipaddress",
    "itertools",
    "re",
    "textwrap",
    "typing",
    "warnings",
}
"""The standard modules that a pure module may import, besides msgspec and cryptography."""

FLOORS = (
    "ground",
    "capture.first_pass",
    "capture",
    "cnf",
    "judgement",
    "archive",
    "report",
    "audit",
    "api",
    "commands",
    "cli",
)
"""The floors, from the ground up. A package imports only from its own floor and from those below."""

APART = {
    "capture": {"cnf", "judgement", "archive", "report"},
    "cnf": {"capture", "judgement", "archive", "report"},
    "judgement": {"capture", "cnf", "archive", "report"},
    "report": {"capture", "cnf", "archive", "model"},
}
"""Packages, and the packages that they never import, on any floor."""


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imports(module: str, *, late: bool) -> Iterator[str]:
    """Yield the imports of a module at run time; without `late`, only those at module level."""

    def walk(node: ast.AST) -> Iterator[ast.AST]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and isinstance(child.test, ast.Name):
                continue  # if TYPE_CHECKING
            yield child
            if late or not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                yield from walk(child)

    for node in walk(ast.parse(MODULES[module].read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner.removeprefix("certhash.") in MODULES else node.module


def ours(module: str, *, late: bool = True) -> set[str]:
    """Return the modules of certhash that a module imports."""
    return {
        name.removeprefix("certhash").removeprefix(".")
        for name in imports(module, late=late)
        if name.split(".")[0] == "certhash"
    } - {"", module}


def floor_of(module: str) -> str:
    """Return the package of a module; ``ground`` if it has none."""
    rooms = (room for room in FLOORS if f"{module}.".startswith(f"{room}."))
    return next(rooms, "ground")


ALL_PURE = PURE | {module for module in MODULES if floor_of(module) == "judgement"}


@pytest.mark.parametrize("module", sorted(ALL_PURE))
def test_pure_modules_import_only_pure_modules(module: str) -> None:
    assert ours(module) <= ALL_PURE
    others = {name.split(".")[0] for name in imports(module, late=True)} - {"certhash"}
    assert others <= STANDARD_LIBRARY | {"msgspec", "cryptography"}


def test_no_import_runs_upwards() -> None:
    upwards = {
        (module, other)
        for module in MODULES
        if module not in {"", "__main__"}  # the entry points
        for other in ours(module)
        if FLOORS.index(floor_of(other)) > FLOORS.index(floor_of(module))
    }
    assert upwards == set()


@pytest.mark.parametrize("room", sorted(APART))
def test_rooms_know_nothing_of_their_neighbours(room: str) -> None:
    for module in MODULES:
        if module.split(".")[0] == room:
            assert not {name.split(".")[0] for name in ours(module)} & APART[room], module


def test_each_room_has_the_folder_of_its_tests() -> None:
    rooms = {path.parent.relative_to(PACKAGE) for path in PACKAGE.rglob("__init__.py")}
    tested = {path.parent.relative_to(TOP / "tests") for path in (TOP / "tests").rglob("test_*.py")}
    assert rooms <= tested
    assert {room.parts[0] for room in tested - rooms} == {"harness", "plugin"}


def test_no_two_modules_need_each_other() -> None:
    graph = {module: ours(module, late=False) for module in MODULES if module}
    TopologicalSorter(graph).prepare()  # raises if there is a cycle
