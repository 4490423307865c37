"""The functions that :mod:`certhash` exports: the commands as a Python API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from certhash import audit, cnf
from certhash.archive.read import Listener
from certhash.capture.engine import is_usable
from certhash.capture.observe import TIMEOUT, Settings
from certhash.capture.start import started
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
        captures: capture files, and folders to search for captures.
        cnf: what phones expect: files, folders, ``tftp://`` and ``http://`` addresses.
        expect: hashes that phones expect, in the syntax of ``--expect``.
        resolve: host names in URLs, with their addresses.
        keylog: a file of TLS keys in the SSLKEYLOGFILE format.
        decode_as: rules in the syntax of tshark's ``-d``, for TLS on ports of other protocols.
        carve: whether packets that cannot affect a verdict are removed before tshark reads the capture.
        jobs: number of captures to read at once; 0 is one per processor.
        timeout: seconds allowed for reading one capture.
        scheduler: the address of a Dask scheduler whose workers read the captures.
        cache: a file that stores observations for the next audit; None stores nothing.
        tshark_path: the tshark to use; None uses the one on the PATH.

    Returns:
        The result. Its ``problems`` list what could not be read; everything else was audited.

    Raises:
        InputError: there is no usable tshark, or the scheduler or the key file cannot be used.
    """
    rules, paths = tuple(decode_as), tuple(captures)
    names = {name: tuple(addresses) for name, addresses in (resolve or {}).items()}
    warm = bool(paths) and not scheduler and is_usable(carve=carve, decode_as=rules)
    with started(tshark_path, keylog=keylog, seconds=timeout, warm=warm) as begun:
        settings = Settings(begun.tshark(), keylog, rules, carve, timeout)
        request = audit.Request(paths, settings, jobs, scheduler, cache, begun.place)
        return audit.audit(request, cnf, names, Listener(), read_stated(expect))


def read_cnf(paths: Iterable[str]) -> Sources:
    """Return what phones expect, and the certificates found, from files, folders and URLs.

    The result's ``problems`` list what could not be read; it raises nothing for them.
    """
    return cnf.read(paths)


def load_document(path: str) -> Document:
    """Return the result that ``certhash audit -f json -o FILE`` saved.

    Raises:
        InputError: the file cannot be read, is truncated, is not such a result, or is from a newer certhash.
    """
    return jsonform.load(path)
