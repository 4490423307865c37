"""certhash: does a Cisco IP phone trust its VPN head-end, and if not, why.

Other programs can rely on what this module exports; everything else may change with any version.

>>> import certhash
>>> certhash.sha1_base64(b"the DER encoding of a certificate")
'Ua6e5/nyQzN55p0xrWbDMfPfAPw='
>>> document = certhash.audit_captures(["captures"], cnf=["captures/cnf"])
>>> [expectation.device for expectation in document.expectations if expectation.verdict == "mismatch"]
['SEP00005E005312', 'SEP00005E005313']

`audit_captures` returns the `Document` that ``certhash audit -f json`` writes, `load_document` reads one that
was saved, `read_cnf` returns what phones expect, and `sha1_base64` computes what CME writes as ``certHash1``.
Errors in the input are raised as `InputError`, with a message of one line.
"""

from __future__ import annotations

TYPE_CHECKING = False  # type checkers know the name; importing typing takes longer than `certhash --help`
if TYPE_CHECKING:
    from certhash.api import audit_captures, load_document, read_cnf
    from certhash.digest import sha1_base64
    from certhash.errors import InputError
    from certhash.judgement.document import Document
    from certhash.version import __version__

__all__ = [
    "Document",
    "InputError",
    "__version__",
    "audit_captures",
    "load_document",
    "read_cnf",
    "sha1_base64",
]

_HOMES = {
    "Document": "judgement.document",
    "InputError": "errors",
    "__version__": "version",
    "audit_captures": "api",
    "load_document": "api",
    "read_cnf": "api",
    "sha1_base64": "digest",
}


if not TYPE_CHECKING:  # or type checkers would believe in any name

    def __getattr__(name: str) -> object:
        """Import an exported name when it is first used, so that commands start fast."""
        home = _HOMES.get(name)
        if home is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        return getattr(import_module(f"{__name__}.{home}"), name)
