"""Read what phones expect: one reader per format, and :func:`read` for files and folders."""

from __future__ import annotations

from certhash.cnf.missed import missed_fetches
from certhash.cnf.names import is_cnf_name
from certhash.cnf.phone_xml import from_download, read_phone_xml
from certhash.cnf.read import describe_copies, read
from certhash.cnf.rules import problems_of

__all__ = [
    "describe_copies",
    "from_download",
    "is_cnf_name",
    "missed_fetches",
    "problems_of",
    "read",
    "read_phone_xml",
]
