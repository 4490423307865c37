"""Test what explains the command: help, topics, schema, completion and the manual page."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, get_args

import pytest
from tests.conftest import certhash

from certhash import cli
from certhash.commands import COMMANDS, completion
from certhash.commands.schema import schema
from certhash.judgement.causes import CAUSES, HIDDEN, TOPICS, TYPED, VERDICTS, is_typed
from certhash.judgement.document import Cause, HandshakeVerdict, Verdict
from certhash.model import Hidden
from certhash.report import FORMATS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

COMPLETE_IN_BASH = r"""
source "$1"
COMP_WORDS=("${@:2}")
COMP_CWORD=$(( ${#COMP_WORDS[@]} - 1 ))
COMP_LINE="${COMP_WORDS[*]}"
COMP_POINT=${#COMP_LINE}
function=$(complete -p certhash | sed 's/.*-F \([^ ]*\).*/\1/')
$function certhash "${COMP_WORDS[-1]}" "${COMP_WORDS[-2]}"
printf '%s\n' "${COMPREPLY[@]}"
"""


def _program(name: str) -> str:
    path = shutil.which(name)
    assert path, f"missing: apt-get install {name}"
    return path


class TestExplain:
    def test_everything_that_a_result_can_say_is_explained(self) -> None:
        assert set(CAUSES) == set(get_args(Cause))
        assert set(VERDICTS) == {*get_args(Verdict), *get_args(HandshakeVerdict)}
        assert set(HIDDEN) == set(get_args(Hidden))
        assert len(TOPICS) == len(CAUSES) + len(VERDICTS) + len(HIDDEN), "no two share a name"

    @pytest.mark.parametrize("name", TOPICS)
    def test_prints_meaning_evidence_and_advice(self, name: str) -> None:
        done = certhash("explain", name)
        assert done.status == 0
        text = done.out
        assert " ".join(TOPICS[name].meaning.split()) in " ".join(text.split())
        assert " ".join(TOPICS[name].evidence.split()) in " ".join(text.split())
        for line in filter(is_typed, TOPICS[name].advice):
            assert f"    {line}\n" in text
        assert max(map(len, text.splitlines())) <= 80

    def test_lists_all_without_a_name(self) -> None:
        words = certhash("explain").out.split()
        assert set(TOPICS) <= set(words)

    def test_an_unknown_topic_is_an_error(self) -> None:
        done = certhash("explain", "stale-hash", "no\x1b[31mthing")
        assert (done.status, done.out) == (2, "")
        assert done.err.startswith("certhash: no\\x1b[31mthing: no such topic")

    def test_advice_is_sentences_and_lines_to_type(self) -> None:
        for topic in TOPICS.values():
            for line in topic.advice:
                assert line.startswith(TYPED) or (line[0].isupper() and line[-1] in ".:"), line


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_help_fits_80_columns(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with contextlib.suppress(SystemExit):
        cli.main([*filter(None, [name]), "--help"])
    text = capsys.readouterr().out
    assert "exit status: 0 " in text
    assert [line for line in text.splitlines() if len(line) > 80] == []


def test_schema_is_printed_as_it_is() -> None:
    done = certhash("schema")
    assert done.status == 0
    assert done.json == json.loads(json.dumps(schema()))


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("completion")

    def write(shell: str) -> Path:
        path = folder / shell
        path.write_text(completion.script(shell), encoding="utf-8")
        return path

    return write


class TestCompletion:
    @pytest.mark.parametrize(
        ("typed", "offered"),
        [
            (["expl"], {"explain"}),
            (["re"], {"report"}),
            (["report", "-f", ""], set(FORMATS)),
            (["diff", "--color", "a"], {"auto", "always"}),
            (["explain", "st"], {"stale-hash"}),
            (["report", "res"], {"result.json"}),
        ],
    )
    def test_bash(
        self, typed: list[str], offered: set[str], script: Callable[[str], Path], tmp_path: Path
    ) -> None:
        (tmp_path / "result.json").touch()
        done = subprocess.run(
            ["bash", "-c", COMPLETE_IN_BASH, "bash", script("bash"), "certhash", *typed],
            capture_output=True,
            text=True,
            check=True,
            cwd=tmp_path,
        )
        assert set(done.stdout.split()) == offered

    @pytest.mark.parametrize(
        ("typed", "offered"),
        [("explain st", {"stale-hash"}), ("report -f js", {"json"}), ("report res", {"result.json"})],
    )
    def test_fish(self, typed: str, offered: set[str], script: Callable[[str], Path], tmp_path: Path) -> None:
        (tmp_path / "result.json").touch()
        program = 'source $argv[1]; complete -C "certhash $argv[2]"'
        done = subprocess.run(
            [_program("fish"), "--no-config", "-c", program, script("fish"), typed],
            capture_output=True,
            text=True,
            check=True,
            cwd=tmp_path,
            env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        )
        assert {line.split("\t")[0] for line in done.stdout.splitlines()} == offered

    def test_zsh_reads_it(self, script: Callable[[str], Path]) -> None:
        path = script("zsh")
        subprocess.run([_program("zsh"), "-n", path], check=True)
        assert path.read_text(encoding="utf-8").startswith("#compdef certhash\n")

    def test_is_printed_by_the_command(self, script: Callable[[str], Path]) -> None:
        assert certhash("completion", "bash").out == script("bash").read_text("utf-8")


class TestManualPage:
    def test_another_reader_finds_nothing_wrong(self) -> None:
        done = certhash("man")
        assert done.status == 0
        checked = subprocess.run(
            [_program("mandoc"), "-T", "lint", "-W", "error"],
            input=done.out.encode(),
            capture_output=True,
            check=False,
        )
        assert (checked.returncode, checked.stdout) == (0, b"")

    def test_holds_every_command_and_the_examples(self) -> None:
        page = certhash("man").out.encode()
        done = subprocess.run(
            [_program("mandoc"), "-T", "ascii"], input=page, capture_output=True, check=True
        )
        text = re.sub(".\x08", "", done.stdout.decode())  # bold is a letter printed twice
        assert "certhash - check whether Cisco IP phones trust their VPN head-end" in text
        for command in ("audit", "report", "diff", "explain", "schema"):
            assert f"certhash {command}" in text
        assert "certhash diff march.json april.json" in text
        assert "2 a problem (bad input or usage)" in " ".join(text.split())


def test_start_up_imports_nothing_that_only_reports_need() -> None:
    done = certhash("explain", PYTHONPROFILEIMPORTTIME="1")
    imported = {line.rpartition("|")[2].strip() for line in done.err.splitlines()}
    assert "certhash.judgement.causes" in imported
    assert not {"rich", "jinja2", "lxml", "shtab", "cryptography", "numpy"} & imported
