"""Explain a verdict, a cause or a hidden certificate: meaning, evidence and what to do."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from certhash.errors import InputError
from certhash.judgement.causes import CAUSES, HIDDEN, TOPICS, VERDICTS, Topic, is_typed
from certhash.report.output import to_standard_output
from certhash.report.text import visible

if TYPE_CHECKING:
    import argparse

WIDTH = 80


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `explain`."""
    parser.add_argument(
        "topics",
        nargs="*",
        metavar="TOPIC",
        help="a verdict, a cause or a reason from a report (default: list all)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the explanations, or the list.

    Raises:
        InputError: there is no such topic.
    """
    for name in arguments.topics:
        if name not in TOPICS:
            raise InputError(f"{visible(name, 100)}: no such topic; `certhash explain` lists all")
    if arguments.topics:
        text = "\n".join(_topic(name, TOPICS[name]) for name in arguments.topics)
    else:
        text = "\n".join(
            _list(title, topics)
            for title, topics in (
                ("verdicts", VERDICTS),
                ("causes", CAUSES),
                ("reasons why a certificate is hidden", HIDDEN),
            )
        )
    to_standard_output(text.encode())
    return 0


def _topic(name: str, topic: Topic) -> str:
    parts = [f"{name}: {topic.title}", "", _filled(topic.meaning, "")]
    parts += ["", "Evidence", _filled(topic.evidence, "  ")]
    if topic.advice:
        parts += ["", "What to do"]
        parts += [f"    {line}" if is_typed(line) else _filled(line, "  ") for line in topic.advice]
    return "\n".join(parts) + "\n"


def _filled(text: str, indent: str) -> str:
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _list(title: str, topics: dict[str, Topic]) -> str:
    width = max(map(len, TOPICS))
    return f"{title}\n" + "".join(f"  {name:{width}}  {topic.title}\n" for name, topic in topics.items())
