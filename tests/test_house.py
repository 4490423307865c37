"""The rooms of the house: what is pure imports nothing that is not, and no room knows what comes after it."""

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

PURE = {
    "causes",
    "certificate",
    "certfile",
    "correlate",
    "diagnose",
    "digest",
    "document",
    "evidence",
    "headend",
    "hostid",
    "mistakes",
    "model",
    "times",
    "verdict",
    "visible",
}
"""No file, no clock, no process, no network: the same answer for the same arguments."""

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
    "re",
    "textwrap",
    "typing",
    "warnings",
}
"""What a pure module may import, beside msgspec and cryptography."""

APART = {
    "capture": {"cnf", "report", "commands", "correlate", "verdict", "diagnose", "audit"},
    "cnf": {"capture", "report", "commands", "correlate", "verdict", "diagnose", "audit"},
    "report": {"capture", "cnf", "commands", "correlate", "verdict", "diagnose", "audit", "model"},
    "": {"commands"},
}
"""Rooms, and what they know nothing of; ``""`` is every module but the commands and the command line."""


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imports(module: str, *, late: bool) -> Iterator[str]:
    """Yield what a module imports when it runs; without `late`, only what it imports with itself."""

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
    """Return which of our modules a module imports."""
    return {
        name.removeprefix("certhash").removeprefix(".")
        for name in imports(module, late=late)
        if name.split(".")[0] == "certhash"
    } - {"", module}


@pytest.mark.parametrize("module", sorted(PURE))
def test_what_is_pure_imports_nothing_that_is_not(module: str) -> None:
    assert ours(module) <= PURE
    others = {name.split(".")[0] for name in imports(module, late=True)} - {"certhash"}
    assert others <= STANDARD_LIBRARY | {"msgspec", "cryptography"}


@pytest.mark.parametrize("room", sorted(APART))
def test_rooms_know_nothing_of_what_comes_after_them(room: str) -> None:
    for module in MODULES:
        inside = module.split(".")[0] == room if room else module.split(".")[0] not in {"commands", "cli"}
        if inside:
            known = {name.split(".")[0] for name in ours(module)}
            assert not known & APART[room], module


def test_no_two_modules_need_each_other() -> None:
    graph = {module: ours(module, late=False) for module in MODULES if module}
    TopologicalSorter(graph).prepare()  # raises where there is a circle
