"""Write a result as JUnit XML: one test case per expectation, for pipelines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lxml import etree

from certhash.judgement.causes import VERDICTS
from certhash.judgement.document import FINDINGS
from certhash.report.findings import ON_PAPER, deciding, described, presented
from certhash.report.text import visible

if TYPE_CHECKING:
    from certhash.judgement.document import Document, Expectation, Handshake
    from certhash.model import Problem

_LONG = 2000  # characters to show of a text from outside, in an attribute


def render(document: Document) -> str:
    """Return the XML that Jenkins and GitLab read.

    A finding is a failure, and an expectation that could not be verified is skipped. Problems are errors in a
    suite of their own.
    """
    root = etree.Element("testsuites", name="certhash")
    findings = sum(each.verdict in FINDINGS for each in document.expectations)
    skipped = len(document.expectations) - findings - document.summary.match
    total = len(document.expectations)
    suite = _suite(root, "expectations", {"tests": total, "failures": findings, "skipped": skipped})
    decided = deciding(document)
    for expectation in document.expectations:
        _case(suite, expectation, decided(expectation))
    if document.problems:
        total = len(document.problems)
        suite = _suite(root, "problems", {"tests": total, "errors": total})
        for problem in document.problems:
            _problem(suite, problem)
    etree.indent(root)
    return etree.tostring(root, encoding="UTF-8", xml_declaration=True, pretty_print=True).decode()


def _suite(root: etree._Element, name: str, numbers: dict[str, int]) -> etree._Element:
    counts = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0, "time": 0} | numbers
    return etree.SubElement(root, "testsuite", {"name": name, **{key: str(n) for key, n in counts.items()}})


def _case(suite: etree._Element, expectation: Expectation, decided: Handshake | None) -> None:
    url = visible(expectation.where, _LONG)
    # The part of a class name before a dot would become a package.
    device = visible(expectation.device, _LONG).replace(".", "_")
    place = {} if expectation.frame is not None else {"file": visible(expectation.source, _LONG)}
    if place and expectation.line is not None:
        place["line"] = str(expectation.line)
    case = etree.SubElement(suite, "testcase", {"classname": device, "name": url, "time": "0", **place})
    if expectation.verdict == "match":
        remarks = [f"match ({ON_PAPER})", expectation.explanation] if expectation.on_paper else []
        remarks += [f"warning: {each}" for each in expectation.warnings]
        if remarks:
            etree.SubElement(case, "system-out").text = "\n".join(visible(each) for each in remarks)
        return
    message = visible(expectation.explanation or VERDICTS[expectation.verdict].title, _LONG)
    if expectation.verdict in FINDINGS:
        kind = f"{described(expectation)}: {expectation.cause or 'unknown cause'}"
        failure = etree.SubElement(case, "failure", type=kind, message=message)
        failure.text = "\n".join(visible(line) for line in _details(expectation, decided))
    else:
        etree.SubElement(case, "skipped", message=f"{described(expectation)}: {message}")


def _details(expectation: Expectation, decided: Handshake | None) -> list[str]:
    """Return expected, presented, why and what to type, a line each."""
    expected = [f"expected: certHash{each.number} {each.value}" for each in expectation.hashes]
    shown = [f"presented: {each.position} {each.sha1}" for each in presented(decided)]
    warnings = [f"warning: {each}" for each in expectation.warnings]
    return [
        *expected,
        f"from: {expectation.source}",
        *shown,
        f"why: {expectation.explanation}",
        *warnings,
        *expectation.advice,
    ]


def _problem(suite: etree._Element, problem: Problem) -> None:
    name = visible(problem.path, _LONG)
    case = etree.SubElement(suite, "testcase", classname="problems", name=name, time="0")
    etree.SubElement(case, "error", type="problem", message=visible(problem.message, _LONG))
