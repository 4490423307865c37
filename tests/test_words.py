"""Test the language of the project: no obscure phrases, and no messages that are too long."""

from __future__ import annotations

import ast
import re
from itertools import chain
from typing import TYPE_CHECKING

import pytest

from certhash.judgement.causes import TOPICS, is_typed
from tests.conftest import TOP

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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
)
"""Archaic or inverted phrases; each has a plain equivalent, such as "skipped" or "is unknown"."""

LONGEST_SENTENCE = 28
"""Words of one sentence, or part of it between colons or semicolons, in a message."""


def _files() -> Iterator[Path]:
    """Yield every text file that users or maintainers read."""
    suffixes = {".py", ".lua", ".j2", ".js", ".css", ".md"}
    folders = (PACKAGE, TOP / "plugin", TOP / ".github")
    for path in chain.from_iterable(folder.rglob("*") for folder in folders):
        if path.suffix in suffixes or (
            path.parent.name == "certhash" and path.parent.parent.name == "profile"
        ):
            yield path
    yield from (TOP / "README.md", TOP / "CHANGELOG.md")


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


def test_no_message_is_too_long() -> None:
    found = [
        f"{path.relative_to(TOP)}:{number}: {sentence}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for number, text in _messages(path)
        if "\n" not in text.strip()
        for sentence in re.split(r"[.:;?]\s", text)
        if len(sentence.split()) > LONGEST_SENTENCE
    ]
    assert not found, "\n".join(found)


def test_topics_start_with_a_lower_case_title_and_end_their_sentences() -> None:
    for name, topic in TOPICS.items():
        assert not topic.title.endswith("."), name
        assert topic.meaning.endswith("."), name
        assert topic.evidence.endswith("."), name
        for line in topic.advice:
            assert is_typed(line) or line[-1] in ".:", line
