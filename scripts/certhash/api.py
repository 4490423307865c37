"""The functions that :mod:`certhash` exports: what the commands do, for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from certhash import audit, cnf
from certhash.capture import tshark
from certhash.capture.observe import TIMEOUT, Settings
from certhash.cnf.stated import read_stated
from certhash.report import jsonform

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from certhash.judgement.document import Document
    from certhash.model import Sources


def audit_captures(  # noqa: PLR0913 - each is an option of `certhash audit`, with its meaning there
    captures: Iterable[str],
    cnf: Iterable[str] = (),
    *,
    expect: Iterable[str] = (),
    resolve: Mapping[str, Iterable[str]] | None = None,
    keylog: str | None = None,
    decode_as: Iterable[str] = (),
    carve: bool = True,
    jobs: int = 0,
    timeout: float = TIMEOUT,
    scheduler: str | None = None,
    cache: str | None = None,
    tshark_path: str | None = None,
) -> Document:
    """Read captures and what phones expect, and return a verdict per phone and URL.

    Args:
        captures: capture files, and folders that are searched for them.
        cnf: what phones expect: files, folders, ``tftp://`` and ``http://`` addresses.
        expect: hashes that phones expect, without a file, as ``--expect`` takes them.
        resolve: names in URLs to the addresses that they stand for.
        keylog: a file of TLS keys, as SSLKEYLOGFILE writes them.
        decode_as: as tshark's ``-d`` takes them, for TLS on ports that it gives to other protocols.
        carve: whether packets that no verdict can depend on are kept from tshark.
        jobs: how many captures are read at once; 0 is one a processor.
        timeout: seconds that the reading of one capture may take.
        scheduler: the address of a Dask scheduler whose workers read the captures.
        cache: a file that keeps what captures showed, for the next audit; None keeps nothing.
        tshark_path: the tshark to use; None takes the one on the PATH.

    Returns:
        The result. What could not be read is among its ``problems``; the rest was audited.

    Raises:
        InputError: there is no usable tshark, or the scheduler or the file of keys cannot be used.
    """
    settings = Settings(tshark.find(tshark_path), keylog, tuple(decode_as), carve, timeout)
    request = audit.Request(tuple(captures), settings, jobs, scheduler, cache)
    names = {name: tuple(addresses) for name, addresses in (resolve or {}).items()}
    return audit.audit(request, cnf, names, audit.Audience(), read_stated(expect))


def read_cnf(paths: Iterable[str]) -> Sources:
    """Return what phones expect, and the certificates beside it, from files, folders and addresses.

    What cannot be read is among the ``problems`` of what is returned; nothing is raised for it.
    """
    return cnf.read(paths)


def load_document(path: str) -> Document:
    """Return the result that ``certhash audit -f json -o FILE`` saved.

    Raises:
        InputError: the file cannot be read, was cut short, is no such result, or of a newer certhash.
    """
    return jsonform.load(path)
