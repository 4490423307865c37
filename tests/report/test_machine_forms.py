"""Test the machine-readable formats JSON, NDJSON, CSV, JUnit and SARIF, each with an independent reader."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import jsonschema
import junitparser
import msgspec
import openpyxl
import pydantic_sarif.model
import pytest
from sarif import loader

from certhash.commands.schema import schema
from certhash.judgement.document import FINDINGS
from certhash.report import FORMATS, jsonform, ndjson, render

from . import documents

if TYPE_CHECKING:
    from pathlib import Path

    from certhash.judgement.document import Document

# The contract for `audit -f json`: these keys stay, and others may be added.
PROMISED: dict[str, set[str]] = {
    "": {"schema_version", "tool", "captures", "handshakes", "expectations", "problems", "summary"},
    "tool": {"certhash", "tshark", "lua", "hash_source"},
    "captures": {"path", "status", "packets", "error"},
    "handshakes": {
        *(
            "id",
            "capture",
            "frame",
            "time",
            "transport",
            "stream",
            "client",
            "server",
            "server_name",
            "version",
        ),
        *("resumed", "encrypted", "certificates", "alerts", "verdict", "devices"),
    },
    "expectations": {
        *("device", "source", "frame", "url", "hashes", "host_id_check"),
        *("verdict", "cause", "explanation", "advice", "handshakes"),
    },
    "problems": {"path", "message"},
    "summary": {
        *("captures", "handshakes", "certificates"),
        *("match", "mismatch", "rejected", "unverifiable", "unseen", "unlisted"),
    },
}
PROMISED_CERTIFICATE = {
    *("position", "sender", "frame", "sha1", "thumbprint", "sha256"),
    *("subject", "issuer", "serial", "not_before", "not_after", "names"),
}


def _terminal_orders(text: str) -> set[str]:
    """Return the characters of `text` that a terminal or an editor interprets instead of showing."""
    return {c for c in text if not c.isprintable() and c not in "\r\n "}


@pytest.mark.parametrize("form", FORMATS)
def test_no_format_passes_terminal_escapes_from_foreign_texts(form: str, hostile: Document) -> None:
    text = render(hostile, form)
    text.encode()  # no lone surrogate
    orders = _terminal_orders(text)
    assert not orders


class TestJson:
    def test_layout_is_the_one_that_is_promised(self, everything: Document) -> None:
        result = json.loads(render(everything, "json"))
        for key, names in PROMISED.items():
            value = result[key] if key else result
            assert names <= set(value[0] if isinstance(value, list) else value), key
        handshake = result["handshakes"][1]
        assert set(handshake["certificates"][0]) >= PROMISED_CERTIFICATE
        assert set(handshake["alerts"][0]) >= {"frame", "time", "sender", "level", "code", "name"}
        assert set(result["expectations"][0]["hashes"][0]) >= {"number", "value", "algorithm"}
        assert set(handshake["client"]) == {"address", "port"}

    def test_reads_back_as_the_same_document(self, everything: Document, tmp_path: Path) -> None:
        saved = tmp_path / "result.json"
        saved.write_text(render(everything, "json"), encoding="utf-8")
        assert jsonform.load(str(saved)) == everything

    def test_texts_stay_as_strangers_wrote_them_save_what_utf8_cannot_carry(self, hostile: Document) -> None:
        subjects = [
            each["certificates"][0]["subject"] for each in json.loads(render(hostile, "json"))["handshakes"]
        ]
        for wrote, read in zip(documents.HOSTILE, subjects, strict=True):
            if any("\ud800" <= c <= "\udfff" for c in wrote):
                assert read == wrote.replace("\udce9", "\\xe9").replace("\ud800", "\\ud800")
            else:
                assert read == wrote

    @pytest.mark.parametrize("name", ["everything", "hostile"])
    def test_schema_is_valid_and_holds(self, name: str, request: pytest.FixtureRequest) -> None:
        jsonschema.Draft202012Validator.check_schema(schema())
        result = json.loads(render(request.getfixturevalue(name), "json"))
        jsonschema.validate(result, schema(), cls=jsonschema.Draft202012Validator)

    @pytest.mark.parametrize(
        ("path", "wrong"),
        [
            (("expectations", 0, "verdict"), "maybe"),
            (("handshakes", 0, "frame"), "6"),
            (("captures", 0, "status"), None),
            (("schema_version",), "1"),
        ],
    )
    def test_schema_refuses_what_is_no_result(
        self, path: tuple[str | int, ...], wrong: object, everything: Document
    ) -> None:
        result: Any = json.loads(render(everything, "json"))
        inner = result
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = wrong
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(result, schema(), cls=jsonschema.Draft202012Validator)


class TestNdjson:
    def test_one_object_a_line_in_the_promised_order(self, everything: Document) -> None:
        lines = [json.loads(line) for line in render(everything, "ndjson").splitlines()]
        types = [line["type"] for line in lines]
        assert types[0] == "start"
        assert types[-1] == "summary"
        assert types == sorted(types, key=list(dict.fromkeys(types)).index), "lines of a type stand together"
        assert types.count("handshake") == types.count("verdict") == len(everything.handshakes)
        assert types.count("expectation") == len(everything.expectations)
        assert lines[-1]["exit_status"] == everything.exit_status

    def test_says_the_same_as_the_json(self, everything: Document) -> None:
        result = json.loads(render(everything, "json"))
        lines = [json.loads(line) for line in render(everything, "ndjson").splitlines()]
        verdicts = {line["id"]: line for line in lines if line["type"] == "verdict"}
        handshakes = []
        for line in lines:
            if line.pop("type") == "handshake":
                verdict = verdicts[line["id"]]
                handshakes.append(line | {"verdict": verdict["verdict"], "devices": verdict["devices"]})
        assert handshakes == result["handshakes"]

    def test_early_handshake_line_has_no_verdict_and_no_devices(self, everything: Document) -> None:
        line = json.loads(ndjson.event("handshake", everything.handshakes[0]))
        assert not {"verdict", "devices"} & set(line)

    def test_line_separators_in_texts_make_no_lines(self, hostile: Document) -> None:
        text = render(hostile, "ndjson")
        assert len(text.splitlines()) == text.count("\n")  # splitlines knows U+2028 and U+0085


class TestCsv:
    @pytest.mark.parametrize("name", ["everything", "hostile"])
    def test_a_row_for_every_expectation(self, name: str, request: pytest.FixtureRequest) -> None:
        document: Document = request.getfixturevalue(name)
        rows = list(csv.DictReader(io.StringIO(render(document, "csv"))))
        assert [row["verdict"] for row in rows] == [each.verdict for each in document.expectations]
        assert all(None not in row and None not in row.values() for row in rows), "every row has every column"

    def test_holds_expected_and_presented_hashes(self, everything: Document) -> None:
        rows = {row["device"]: row for row in csv.DictReader(io.StringIO(render(everything, "csv")))}
        row = rows["SEP00AABBCC0000"]
        old, new = documents.base64_sha1("vpn-2012.example.com"), documents.base64_sha1("vpn.example.com")
        assert row["hashes"] == f"certHash1 {old}"
        assert row["presented"].startswith(f"0 {new} 1 ")
        assert (row["capture"], row["frame"]) == ("captures/phones.pcap", "6")

    def test_a_spreadsheet_finds_no_formula_in_it(self, hostile: Document, tmp_path: Path) -> None:
        """Gnumeric reads the CSV and saves a workbook; openpyxl reads the types of its cells."""
        program = shutil.which("ssconvert")
        assert program, "missing: apt-get install gnumeric"
        source, workbook = tmp_path / "result.csv", tmp_path / "result.xlsx"
        source.write_text(render(hostile, "csv"), encoding="utf-8", newline="")
        subprocess.run([program, source, workbook], check=True, capture_output=True)
        sheet = openpyxl.load_workbook(workbook).active
        assert sheet is not None
        kinds = {cell.data_type for row in sheet.iter_rows() for cell in row}
        assert "f" not in kinds
        assert sheet.max_row == len(hostile.expectations) + 1

        # Check that the test can fail: without the apostrophe, the same cells are formulas.
        source.write_text("a\r\n=1+1\r\n", encoding="utf-8", newline="")
        subprocess.run([program, source, workbook], check=True, capture_output=True)
        bare = openpyxl.load_workbook(workbook).active
        assert bare is not None
        assert bare["A2"].data_type == "f"

    @pytest.mark.parametrize("text", ["=1", "+1", "-1", "@x", " =1", "a;=1", "＝1", "\t=1"])  # noqa: RUF001
    def test_no_cell_begins_like_a_formula(self, text: str) -> None:
        document = documents.document((documents.expectation(text, "unseen", source=text),))
        row = list(csv.reader(io.StringIO(render(document, "csv"))))[1]
        for cell in row:
            for part in cell.split(";"):
                assert not part.lstrip().startswith(tuple("=+-@＝")), cell  # noqa: RUF001


class TestJunit:
    @pytest.mark.parametrize("name", ["everything", "hostile"])
    def test_another_reader_finds_every_case(
        self, name: str, request: pytest.FixtureRequest, tmp_path: Path
    ) -> None:
        document: Document = request.getfixturevalue(name)
        path = tmp_path / "result.xml"
        path.write_text(render(document, "junit"), encoding="utf-8")
        suites = {suite.name: suite for suite in junitparser.JUnitXml.fromfile(str(path))}
        cases = list(suites["expectations"])
        assert len(cases) == len(document.expectations)
        for case, expectation in zip(cases, document.expectations, strict=True):
            kinds = [type(result) for result in case.result]
            wanted = junitparser.Failure if expectation.verdict in FINDINGS else junitparser.Skipped
            assert kinds == ([] if expectation.verdict == "match" else [wanted])
        assert [type(case.result[0]) for case in suites["problems"]] == [junitparser.Error] * len(
            document.problems
        )

    def test_stated_numbers_are_the_counted_ones(self, everything: Document, tmp_path: Path) -> None:
        path = tmp_path / "result.xml"
        path.write_text(render(everything, "junit"), encoding="utf-8")
        stated = junitparser.JUnitXml.fromfile(str(path))
        for suite in stated:
            numbers = (suite.tests, suite.failures, suite.errors, suite.skipped)
            suite.update_statistics()  # type: ignore[no-untyped-call]
            assert numbers == (suite.tests, suite.failures, suite.errors, suite.skipped)


class TestSarif:
    @pytest.mark.parametrize("name", ["everything", "hostile"])
    def test_holds_to_the_schema(self, name: str, request: pytest.FixtureRequest) -> None:
        """The models of pydantic-sarif are generated from the schema that OASIS publishes."""
        text = render(request.getfixturevalue(name), "sarif")
        log = pydantic_sarif.model.StaticAnalysisResultsFormatSarifVersion210JsonSchema.model_validate_json(
            text
        )
        assert len(log.runs) == 1

    def test_another_reader_finds_the_findings_and_their_places(
        self, everything: Document, tmp_path: Path
    ) -> None:
        path = tmp_path / "result.sarif"
        path.write_text(render(everything, "sarif"), encoding="utf-8")
        records = loader.load_sarif_file(str(path)).get_records()
        errors = [record for record in records if record["Severity"] == "error"]
        assert len(errors) == everything.summary.mismatch + everything.summary.rejected
        places = {(record["Location"], record["Line"]) for record in errors}
        assert ("captures/cnf/SEP00AABBCC0001.cnf.xml", 13) in places

    def test_unverifiable_and_unseen_results_are_open_without_level(self, everything: Document) -> None:
        results = json.loads(render(everything, "sarif"))["runs"][0]["results"]
        unsure = [each for each in results if each["ruleId"] in {"unverifiable", "unseen"}]
        assert {(each["kind"], each["level"]) for each in unsure} == {("open", "none")}
        assert len(unsure) == everything.summary.unverifiable + everything.summary.unseen

    def test_the_address_of_a_file_that_was_fetched_stays_one(self) -> None:
        address = "tftp://192.0.2.1/SEP00AABBCC0001.cnf.xml"
        expectation = msgspec.structs.replace(documents.expectation("SEP1", "unseen"), source=address)
        (result,) = json.loads(render(documents.document((expectation,)), "sarif"))["runs"][0]["results"]
        assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == address

    def test_fingerprints_tell_results_apart_and_last(self, estate: Document) -> None:
        def prints(document: Document) -> list[str]:
            results = json.loads(render(document, "sarif"))["runs"][0]["results"]
            return [each["partialFingerprints"]["certhash/v1"] for each in results]

        once = prints(estate)
        assert len(set(once)) == len(once)
        moved = [
            msgspec.structs.replace(each, source=f"/other/{each.source}") for each in estate.expectations
        ]
        assert prints(msgspec.structs.replace(estate, expectations=tuple(moved))) == once


@pytest.mark.parametrize("form", FORMATS)
def test_an_explanation_of_several_sentences_is_whole(form: str) -> None:
    words = " ".join(f"word{number}" for number in range(100))
    expectation = documents.expectation("SEP1", "mismatch", cause="stale-hash", explanation=words)
    text = render(documents.document((expectation,)), form)
    assert words in " ".join(text.split())
