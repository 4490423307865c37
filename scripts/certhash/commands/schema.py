"""Print the JSON schema of the result that `audit -f json` writes.

It is generated from the types of the result.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from certhash.judgement.document import SCHEMA_VERSION, Document
from certhash.report import jsonform
from certhash.report.output import to_standard_output

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add nothing: `schema` takes no arguments."""


def run(arguments: argparse.Namespace) -> int:  # noqa: ARG001
    """Print the schema (JSON Schema, draft 2020-12)."""
    to_standard_output(jsonform.render(schema()).encode())
    return 0


def schema() -> dict[str, object]:
    """Return the schema of :class:`certhash.judgement.document.Document`."""
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"certhash result, schema version {SCHEMA_VERSION}",
    }
    return {**head, **msgspec.json.schema(Document)}
