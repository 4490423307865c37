"""Write a result as SARIF 2.1.0: findings and unverified expectations, located in the cnf file.

A finding has the kind ``fail``, an unverified expectation the kind ``open`` (section 3.27.9). A match on
paper or with a warning has the kind ``review``; other matches are left out, because viewers show every result
as something to look at.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING
from urllib.parse import quote

from certhash.judgement.causes import CAUSES, VERDICTS
from certhash.judgement.document import FINDINGS
from certhash.report import jsonform
from certhash.report.findings import ON_PAPER, deciding, frame_of, in_short
from certhash.report.text import visible

if TYPE_CHECKING:
    from certhash.judgement.causes import Topic
    from certhash.judgement.document import Document, Expectation, Handshake
    from certhash.model import Problem

Object = dict[str, object]

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_LONG = 2000  # characters to show of a text from outside


def render(document: Document) -> str:
    """Return the log file with one run."""
    decided = deciding(document)
    results = [
        each for each in document.expectations if each.verdict != "match" or each.on_paper or each.warnings
    ]
    named = {_rule_id(each) for each in results}
    rules = {name: topic for name, topic in {**CAUSES, **VERDICTS}.items() if name in named}
    order = {name: index for index, name in enumerate(rules)}
    driver = {
        "name": "certhash",
        "version": document.tool.certhash,
        "rules": [_rule(name, topic) for name, topic in rules.items()],
    }
    invocation = {
        "executionSuccessful": not document.problems,
        "exitCode": document.exit_status,
        "toolExecutionNotifications": [_notification(each) for each in document.problems],
    }
    run = {
        "tool": {"driver": driver},
        "invocations": [invocation],
        "columnKind": "unicodeCodePoints",
        "results": [_result(each, decided(each), order) for each in results],
    }
    return jsonform.render({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]})


def _rule_id(expectation: Expectation) -> str:
    return expectation.cause or expectation.verdict


def _rule(name: str, topic: Topic) -> Object:
    return {
        "id": name,
        "shortDescription": {"text": f"{topic.title[0].upper()}{topic.title[1:]}."},
        "fullDescription": {"text": topic.meaning},
        "help": {"text": "\n".join([topic.evidence, *topic.advice])},
    }


def _result(expectation: Expectation, decided: Handshake | None, order: dict[str, int]) -> Object:
    rule = _rule_id(expectation)
    finding = expectation.verdict in FINDINGS
    # Device and URL are stable from run to run; the path of the cnf file may change.
    identity = "\0".join((*expectation.key, rule))
    result: Object = {
        "ruleId": rule,
        "ruleIndex": order[rule],
        "kind": "fail" if finding else "review" if expectation.verdict == "match" else "open",
        "level": "error" if finding else "none",
        "message": {"text": _message(expectation, decided)},
        "locations": [_location(expectation)],
        "partialFingerprints": {
            "certhash/v1": hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()
        },
        "properties": {
            "verdict": expectation.verdict,
            "onPaper": expectation.on_paper,
            "warnings": [visible(line) for line in expectation.warnings],
            "advice": [visible(line) for line in expectation.advice],
        },
    }
    if decided is not None:
        result["relatedLocations"] = [_evidence(decided)]
    return result


def _message(expectation: Expectation, decided: Handshake | None) -> str:
    explanation = expectation.explanation or f"{VERDICTS[expectation.verdict].title}."
    if expectation.verdict in FINDINGS:
        explanation = f"{in_short(expectation, decided)} {explanation}"
    if expectation.verdict == "match":
        basis = f" ({ON_PAPER})" if expectation.on_paper else ""
        warnings = "".join(f" Warning: {warning}." for warning in expectation.warnings)
        explanation = f"match{basis}. {explanation}{warnings}"
    text = visible(f"{expectation.who} at {expectation.where}: {explanation}", _LONG)
    # Section 3.11.5: {0} would be a placeholder; section 3.11.6: [x](1) would be a link.
    return text.replace("{", "{{").replace("}", "}}").replace("](", "] (")


def _location(expectation: Expectation) -> Object:
    physical: Object = {"artifactLocation": {"uri": _uri(expectation.source)}}
    line = next((each.line for each in expectation.hashes if each.line), expectation.line)
    if line and expectation.frame is None:
        physical["region"] = {"startLine": line}
    name = visible(expectation.device, _LONG)
    url = visible(expectation.url or "", _LONG)
    logical = {"name": name, "fullyQualifiedName": f"{name} {url}".rstrip(), "kind": "resource"}
    return {"physicalLocation": physical, "logicalLocations": [logical]}


def _evidence(handshake: Handshake) -> Object:
    message = f"The handshake is in frame {frame_of(handshake)}, at {handshake.time}."
    return {
        "id": 0,
        "physicalLocation": {"artifactLocation": {"uri": _uri(handshake.capture)}},
        "message": {"text": message},
    }


def _notification(problem: Problem) -> Object:
    return {
        "level": "error",
        "message": {"text": visible(f"{problem.path}: {problem.message}", _LONG)},
        "locations": [{"physicalLocation": {"artifactLocation": {"uri": _uri(problem.path)}}}],
    }


def _uri(path: str) -> str:
    """Return a path as a URI, relative if the path is; undecodable bytes become ``%NN``.

    A cnf file that was downloaded has a URI already.
    """
    if path.lower().startswith(("tftp://", "http://")):
        return quote(path, safe=":/?#[]@!$&'()*+,;=%", errors="backslashreplace")
    uri = quote(path.encode("utf-8", "surrogateescape" if _from_bytes(path) else "backslashreplace"))
    return f"file://{uri}" if os.path.isabs(path) else uri or "."  # noqa: PTH117


def _from_bytes(path: str) -> bool:
    try:
        path.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True
