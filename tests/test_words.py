"""Test the language of the project: no obscure phrases, and no messages that are too long."""

from __future__ import annotations

import ast
import re
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from certhash.judgement.causes import TOPICS, is_typed
from tests.conftest import TOP

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = TOP / "scripts" / "certhash"

BANNED = (
    r"\bwhoever\b",
    r"(?-i:\bwhat is none\b)",
    r"\blets? go of\b",
    r"\b(?:told|tells?) apart\b",
    r"\bnobody (?:can tell|knows)\b",
    r"\bsaid of\b",
    r"\bpass(?:es|ed)? over\b(?! (?:a|all|it)\b)",
    r"\bsurely\b",
    r"\bmade again\b",
    r"\bmake it again\b",
    r"\bno part of\b",
    r"\bmends\b",
    r"\b(?:is|are|was|were) mended\b",
    r"\bcan (?:only )?be told\b",
    r"\bstrangers?\b",
    r"\b(?:made|make|recorded?|captures|generated|created) anew\b",
    r"\ball the same\b",
    r"\b(?:is|are|was|were) told\b",
    r"\bstands? (?:in|among|beside|outside|before|after)\b",
    r"\bgo(?:es)? on\b",
    r"\bowes?\b",
    r"\bwholly\b",
    r"\bin the clear\b",
    r"\bmakes? of (?:it|that|them)\b",
    r"\bshakes? hands\b",
    r"\bof (?:its|their) own accord\b",
    r"\bwhich (?:one|of them) (?:counts?|a phone takes) is not known\b",
)
"""Archaic or inverted phrases; each has a plain equivalent, such as "skipped" or "is unknown"."""

LONGEST_SENTENCE = 28
"""Words of a sentence, or of a part between colons or semicolons, in a message or a docstring's start."""


def _files() -> Iterator[Path]:
    """Yield every text file that users or maintainers read."""
    suffixes = {".py", ".lua", ".j2", ".js", ".css", ".md"}
    folders = (PACKAGE, TOP / "plugin", TOP / ".github")
    for path in chain.from_iterable(folder.rglob("*") for folder in folders):
        if path.suffix in suffixes or (
            path.parent.name == "certhash" and path.parent.parent.name == "profile"
        ):
            yield path
    yield from (TOP / "README.md", TOP / "CHANGELOG.md", TOP / "findings" / "README.md")
    yield from (path for path in (TOP / "tests").rglob("*.py") if path != Path(__file__))


def _messages(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the line and the text of every string in a Python file that is not a docstring."""
    tree = ast.parse(path.read_text("utf-8"))
    inner = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    inner |= {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if id(node) in inner:
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value
        elif isinstance(node, ast.JoinedStr):
            values = [part.value if isinstance(part, ast.Constant) else "X" for part in node.values]
            yield node.lineno, "".join(map(str, values))


@pytest.mark.parametrize("phrase", BANNED)
def test_no_phrase_has_to_be_read_twice(phrase: str) -> None:
    found = [
        f"{path.relative_to(TOP)}:{number}: {line.strip()}"
        for path in _files()
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if re.search(phrase, line, re.IGNORECASE)
    ]
    assert not found, "\n".join(found)


_LUA_STRING = re.compile(r'"((?:[^"\\\n]|\\.)*)"(?:\s*\.\.\s*(?="))?')


def _lua_messages(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the line and the text of every string in a Lua file; strings joined by .. are one text."""
    lines = [re.sub(r"(?:^|\s)--.*", "", line) for line in path.read_text("utf-8").splitlines()]
    text, number = "", 0
    for found in _LUA_STRING.finditer("\n".join(lines)):
        number = number or found.string.count("\n", 0, found.start()) + 1
        text += found[1]
        if not found[0].rstrip().endswith(".."):
            yield number, text
            text, number = "", 0


def _first_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the line and the first paragraph of every docstring in a Python file."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield node.lineno, " ".join(str(node.value.value).partition("\n\n")[0].split())


def _too_long(path: Path, texts: Iterator[tuple[int, str]]) -> list[str]:
    """Return the sentences that are too long, with their places."""
    return [
        f"{path.relative_to(TOP)}:{number}: {sentence}"
        for number, text in texts
        for sentence in re.split(r"[.:;?]\s", text.replace("\\n", ". "))
        if len(sentence.split()) > LONGEST_SENTENCE
    ]


def test_no_message_is_too_long() -> None:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        found += _too_long(path, (each for each in _messages(path) if "\n" not in each[1].strip()))
        found += _too_long(path, _first_lines(path))
    for path in sorted((TOP / "plugin").rglob("*.lua")):
        found += _too_long(path, _lua_messages(path))
    assert not found, "\n".join(found)


def test_strings_of_lua_are_found_and_joined(tmp_path: Path) -> None:
    path = tmp_path / "some.lua"
    path.write_text('f("a b"\n    .. "c \\" d", "e")  -- not "this"\nlocal x = "g" .. y\n', "utf-8")
    assert list(_lua_messages(path)) == [(1, 'a bc \\" d'), (2, "e"), (3, "g")]


def test_topics_start_with_a_lower_case_title_and_end_their_sentences() -> None:
    for name, topic in TOPICS.items():
        assert not topic.title.endswith("."), name
        assert topic.meaning.endswith("."), name
        assert topic.evidence.endswith("."), name
        for line in topic.advice:
            assert is_typed(line) or line[-1] in ".:", line
