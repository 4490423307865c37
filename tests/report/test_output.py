"""Test output files: complete or not written, several in one run, one clear line for each error."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from certhash import report
from certhash.errors import InputError
from certhash.report.output import save

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Certhash = Callable[..., subprocess.CompletedProcess[bytes]]

OLD = b"the result of yesterday\n"


def _outputs(*arguments: str) -> list[tuple[str, str | None]]:
    parser = argparse.ArgumentParser()
    report.add_output_arguments(parser)
    return [(each.form, each.path) for each in report.outputs(parser.parse_args(arguments))]


@contextlib.contextmanager
def _largest_file(size: int) -> Iterator[None]:
    """Limit the size of files to `size` bytes, to simulate a disk that becomes full."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


class TestPairs:
    @pytest.mark.parametrize(
        ("given", "meant"),
        [
            ("", [("table", None)]),
            ("-f json", [("json", None)]),
            ("-f json -o -", [("json", None)]),
            ("-o a.csv", [("csv", "a.csv")]),
            ("-o a.XML", [("junit", "a.XML")]),
            ("-o a", [("table", "a")]),
            ("-f json -o a", [("json", "a")]),
            ("-o a -f json", [("json", "a")]),
            ("-f json -o a -f csv -o b", [("json", "a"), ("csv", "b")]),
            ("-f table -f json -o a", [("table", None), ("json", "a")]),
            ("-f json -o a -f table", [("json", "a"), ("table", None)]),
            ("-o a.csv -o b -f json", [("csv", "a.csv"), ("table", "b"), ("json", None)]),
            ("-f json -o a -o b.csv", [("json", "a"), ("csv", "b.csv")]),
        ],
    )
    def test_what_stands_together_belongs_together(
        self, given: str, meant: list[tuple[str, str | None]]
    ) -> None:
        assert _outputs(*given.split()) == meant

    @pytest.mark.parametrize(
        "given",
        [
            "-f json -f csv",
            "-f json -o a -f csv -o a",
            "-o a -f json -o b",
            "-o a.csv -o a.csv",
            "-o a.pdf",
            "-o=",
        ],
    )
    def test_what_cannot_be_meant_is_refused(self, given: str) -> None:
        with pytest.raises(InputError):
            _outputs(*given.split())


class TestSave:
    def test_a_new_file_has_the_usual_permissions(self, tmp_path: Path) -> None:
        path, usual = tmp_path / "result", tmp_path / "usual"
        usual.touch()
        save(str(path), b"new")
        assert path.read_bytes() == b"new"
        assert path.stat().st_mode == usual.stat().st_mode

    def test_a_file_that_is_replaced_hands_on_its_mode_and_owner(self, tmp_path: Path) -> None:
        path = tmp_path / "result"
        path.write_bytes(OLD)
        path.chmod(0o640)
        if os.geteuid() == 0:
            os.chown(path, 12345, 23456)
        before = path.stat()
        save(str(path), b"new")
        after = path.stat()
        assert path.read_bytes() == b"new"
        assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
        assert after.st_ino != before.st_ino, "a reader of the old file keeps the old file"

    def test_a_symbolic_link_stays_one(self, tmp_path: Path) -> None:
        (tmp_path / "folder").mkdir()
        target, link = tmp_path / "folder" / "target", tmp_path / "link"
        target.write_bytes(OLD)
        link.symlink_to(target)
        save(str(link), b"new")
        assert link.is_symlink()
        assert target.read_bytes() == b"new"

    @pytest.mark.parametrize("existing", [True, False])
    def test_a_disk_that_fills_up_leaves_the_folder_as_it_was(self, existing: bool, tmp_path: Path) -> None:
        path = tmp_path / "result"
        if existing:
            path.write_bytes(OLD)
        before = sorted(tmp_path.iterdir())
        with _largest_file(100_000), pytest.raises(InputError, match="cannot be written"):
            save(str(path), b"x" * 1_000_000)
        assert sorted(tmp_path.iterdir()) == before
        if existing:
            assert path.read_bytes() == OLD

    def test_a_name_with_undecodable_bytes(self, tmp_path: Path) -> None:
        path = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.json")
        save(path, b"new")
        assert os.listdir(os.fsencode(tmp_path)) == [b"caf\xe9.json"]  # noqa: PTH208 - as bytes

    def test_a_name_as_long_as_names_may_be(self, tmp_path: Path) -> None:
        save(str(tmp_path / ("n" * 255)), b"new")
        assert [len(each.name) for each in tmp_path.iterdir()] == [255]

    def test_a_pipe_is_written_as_it_is(self, tmp_path: Path) -> None:
        path, read = tmp_path / "fifo", []
        os.mkfifo(path)
        reader = threading.Thread(target=lambda: read.append(path.read_bytes()))
        reader.start()
        save(str(path), b"x" * 200_000)
        reader.join(10)
        assert read == [b"x" * 200_000]
        assert path.is_fifo()

    def test_a_pipe_whose_reader_goes_away(self, tmp_path: Path) -> None:
        path = tmp_path / "fifo"
        os.mkfifo(path)
        threading.Thread(target=lambda: path.open("rb").close(), daemon=True).start()
        with pytest.raises(InputError, match="closed the pipe"):
            save(str(path), b"x" * 1_000_000)

    @pytest.mark.parametrize(
        "path", ["missing/result", "folder", "file/result", "nul\0", "n" * 300, "/dev/full"]
    )
    def test_output_path_that_cannot_be_written_is_named_in_one_line(
        self, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "folder").mkdir()
        (tmp_path / "file").write_bytes(OLD)
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(InputError) as error:
            save(path, b"new")
        assert "\n" not in str(error.value)
        assert sorted(tmp_path.rglob("*")) == before


class TestCommand:
    def test_several_forms_in_one_run(self, certhash: Certhash, saved: Path, tmp_path: Path) -> None:
        done = certhash("report", saved, "-f", "sarif", "-o", "b", "-o", "a.csv", "-f", "json")
        assert done.returncode == 2  # the result has problems
        assert json.loads(done.stdout) == json.loads(saved.read_bytes())
        assert (tmp_path / "a.csv").read_text().startswith("verdict,")
        assert json.loads((tmp_path / "b").read_bytes())["version"] == "2.1.0"
        assert not done.stderr

    def test_one_that_cannot_be_written_keeps_none_of_the_others_back(
        self, certhash: Certhash, saved: Path, tmp_path: Path
    ) -> None:
        done = certhash("report", saved, "-o", "missing/a.csv", "-o", "b.csv", "-f", "table")
        assert done.returncode == 2
        assert (tmp_path / "b.csv").exists()
        assert done.stderr.splitlines() == [
            b"certhash: missing/a.csv: cannot be written: No such file or directory"
        ]

    def test_standard_output_by_its_name(self, certhash: Certhash, saved: Path, tmp_path: Path) -> None:
        log = tmp_path / "log"
        log.write_bytes(OLD)
        with log.open("ab") as file:
            certhash("report", saved, "-f", "csv", "-o", "/dev/stdout", stdout=file)
        assert log.read_bytes().startswith(OLD + b"verdict,")

    def test_a_full_disk_behind_standard_output(self, certhash: Certhash, saved: Path) -> None:
        with Path("/dev/full").open("wb") as full:
            done = certhash("report", saved, "-f", "json", stdout=full)
        assert done.returncode == 2
        assert done.stderr == b"certhash: standard output: cannot be written: No space left on device\n"

    @pytest.mark.parametrize(
        "command", [("hash", "fZ2xQHMBcWj/fSoNs5IkPbA2Pt8="), ("--version",), ("plugin", "status")]
    )
    def test_a_full_disk_behind_what_is_printed(self, certhash: Certhash, command: tuple[str, ...]) -> None:
        with Path("/dev/full").open("wb") as full:
            done = certhash(*command, stdout=full)
        assert done.returncode == 2
        assert done.stderr == b"certhash: standard output: cannot be written: No space left on device\n"

    @pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
    def test_streams_that_were_closed_from_the_start(self, saved: Path, closed: str) -> None:
        """Some supervisors start programs like this: the exit status alone has the result."""
        line = f'exec "$0" -m certhash report "$1" {closed}'
        done = subprocess.run(["sh", "-c", line, sys.executable, saved], check=False, capture_output=True)
        assert done.returncode == 2  # there are problems in it; a traceback would have been 1
        assert done.stderr == b""

    def test_a_reader_that_goes_away(self, certhash: Certhash, saved: Path) -> None:
        reading, writing = os.pipe()
        os.close(reading)
        done = certhash("report", saved, "-f", "json", stdout=writing)
        os.close(writing)
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) <= 1
        assert b"Traceback" not in done.stderr

    def test_plain_text_where_no_terminal_is(self, certhash: Certhash, saved: Path) -> None:
        text = certhash("report", saved).stdout.decode()
        assert "\x1b" not in text
        assert max(map(len, text.splitlines())) <= 120

    @pytest.mark.parametrize("columns", ["20", "100", "500", "many", ""])
    def test_the_width_of_plain_text_stays_readable(
        self, columns: str, certhash: Certhash, saved: Path
    ) -> None:
        text = certhash("report", saved, env={"COLUMNS": columns}).stdout.decode()
        assert 70 <= max(map(len, text.splitlines())) <= 120

    def test_latin1_surroundings_change_nothing(self, certhash: Certhash, saved: Path) -> None:
        plain = certhash("report", saved).stdout
        assert certhash("report", saved, env={"PYTHONIOENCODING": "ascii", "LC_ALL": "C"}).stdout == plain


class TestLoad:
    @pytest.mark.parametrize(
        ("content", "says"),
        [
            (b"", "empty"),
            (b"  \n", "empty"),
            (b'{"schema_version": 1, "tool"', "truncated"),
            (b'{"schema_version": 99}', "update certhash"),
            (b'{"schema_version": 99, "captures": 7}', "update certhash"),
            (b"{}", "not a result"),
            (b"[1]", "not a result"),
            (b'{"schema_version": "\x1b[31m"}', "not JSON"),
            (b'{"schema_version": 1}', "not a result"),
            (b'{"schema_version": 0}', "not a result"),
            (b"verdict,cause\r\n", "not JSON"),
            (b"\xff\xfe{\0", "not JSON"),
            (b'{"schema_version": 1}\n{"a": 1}', "several JSON values"),
            (b"[" * 1_000_000, "not a result"),
            (b'{"a":' * 100_000, "not JSON"),
        ],
    )
    def test_what_is_no_result_is_told_in_one_line(
        self, content: bytes, says: str, certhash: Certhash, tmp_path: Path
    ) -> None:
        path = tmp_path / "bad.json"
        path.write_bytes(content)
        done = certhash("report", path)
        (line,) = done.stderr.decode().splitlines()
        assert line.startswith(f"certhash: {path}: ")
        assert says in line
        assert (done.returncode, done.stdout) == (2, b"")

    def test_cut_anywhere_it_is_never_half_a_report(self, saved: Path, tmp_path: Path) -> None:
        from certhash.report.jsonform import load

        content, cut = saved.read_bytes().rstrip(), tmp_path / "cut.json"
        for length in range(0, len(content) - 1, len(content) // 200):
            cut.write_bytes(content[:length])
            with pytest.raises(InputError):
                load(str(cut))

    @pytest.mark.parametrize("name", ["missing.json", ".", "nul\0"])
    def test_what_cannot_be_read(self, name: str, certhash: Certhash) -> None:
        if "\0" in name:
            from certhash.report.jsonform import load

            with pytest.raises(InputError, match="cannot be read"):
                load(name)
            return
        done = certhash("report", name)
        assert done.returncode == 2
        assert done.stderr.decode().startswith(f"certhash: {name}: cannot be read: ")

    def test_keys_of_a_later_version_of_the_same_schema_are_passed_over(
        self, certhash: Certhash, saved: Path, tmp_path: Path
    ) -> None:
        result = json.loads(saved.read_bytes()) | {"since": "later"}
        later = tmp_path / "later.json"
        later.write_text(json.dumps(result))
        assert certhash("report", later, "-f", "json").stdout == saved.read_bytes()

    def test_standard_input(self, certhash: Certhash, saved: Path) -> None:
        with saved.open("rb") as file:
            assert certhash("report", "-", "-f", "json", stdin=file).stdout == saved.read_bytes()

    def test_the_table_of_a_saved_result_is_that_of_the_result(self, certhash: Certhash, saved: Path) -> None:
        from certhash.report.jsonform import load

        assert certhash("report", saved).stdout.decode() == report.render(load(str(saved)), "table")
