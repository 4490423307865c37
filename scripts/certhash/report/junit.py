"""JUnit XML: a case for every expectation, so that a pipeline shows it among its tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lxml import etree

from certhash.causes import VERDICTS
from certhash.document import FINDINGS
from certhash.report.text import visible

if TYPE_CHECKING:
    from certhash.document import Document, Expectation
    from certhash.model import Problem

_LONG = 2000  # characters of a stranger's text in an attribute


def render(document: Document) -> str:
    """Return the XML, as Jenkins and GitLab read it.

    A finding is a failure, what cannot be told is skipped, and what could not be done is an error in a suite
    of its own.
    """
    root = etree.Element("testsuites", name="certhash")
    findings = sum(each.verdict in FINDINGS for each in document.expectations)
    skipped = len(document.expectations) - findings - document.summary.match
    total = len(document.expectations)
    suite = _suite(root, "expectations", {"tests": total, "failures": findings, "skipped": skipped})
    for expectation in document.expectations:
        _case(suite, expectation)
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


def _case(suite: etree._Element, expectation: Expectation) -> None:
    url = visible(expectation.url or "(no URL can be read)", _LONG)
    # A dot in the class name would make a package of what stands before it.
    device = visible(expectation.device, _LONG).replace(".", "_")
    place = {} if expectation.frame is not None else {"file": visible(expectation.source, _LONG)}
    if place and expectation.line is not None:
        place["line"] = str(expectation.line)
    case = etree.SubElement(suite, "testcase", {"classname": device, "name": url, "time": "0", **place})
    if expectation.verdict == "match":
        return
    message = visible(expectation.explanation or VERDICTS[expectation.verdict].title, _LONG)
    if expectation.verdict in FINDINGS:
        kind = f"{expectation.verdict}: {expectation.cause or 'cause not known'}"
        failure = etree.SubElement(case, "failure", type=kind, message=message)
        failure.text = "\n".join(visible(line) for line in _details(expectation))
    else:
        etree.SubElement(case, "skipped", message=f"{expectation.verdict}: {message}")


def _details(expectation: Expectation) -> list[str]:
    hashes = [f"certHash{each.number} {each.value}" for each in expectation.hashes]
    warnings = [f"besides: {each}" for each in expectation.warnings]
    return [f"in {expectation.source}", *hashes, expectation.explanation, *warnings, *expectation.advice]


def _problem(suite: etree._Element, problem: Problem) -> None:
    name = visible(problem.path, _LONG)
    case = etree.SubElement(suite, "testcase", classname="problems", name=name, time="0")
    etree.SubElement(case, "error", type="problem", message=visible(problem.message, _LONG))
