"""Read everything given with ``--cnf``: search folders, and recognise the format of each file."""

from __future__ import annotations

import os
import re
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from msgspec.structs import replace

from certhash.certfile import NoCertificateError, certificates_in, decode_text, is_der
from certhash.cnf import signed
from certhash.cnf.cleaning import clean
from certhash.cnf.names import base_name, is_cnf_name, is_copy
from certhash.cnf.phone_xml import read_phone_xml
from certhash.cnf.rules import LARGEST, problems_of
from certhash.cnf.xml import decode
from certhash.digest import sha1
from certhash.files import NOT_PERMITTED, STANDARD_INPUT, explain, read_small_file, read_start
from certhash.model import KnownCertificate, Problem, Sources, joined
from certhash.visible import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from certhash.model import CnfFile

_CERTIFICATE_SUFFIXES = (".cer", ".crt", ".der", ".p7b", ".p7c")
"""File name endings of certificates; ``.pem`` may also be a key."""
_UTF16_STARTS = (b"\xff\xfe", b"\xfe\xff", b"<\0", b"\0<")
"""A byte order mark, or a tag without one."""
NOTHING_THERE = "contains no cnf file, configuration or certificate"
_SHOWN = 3
_PHONE_STARTS = re.compile(
    rb"(?:\xef\xbb\xbf|\xff\xfe|\xfe\xff)?(?:\s|<\?[^<>]*\?>|<!--(?:(?!-->).)*-->)*<(?:device|Default)[\s>/]",
    re.DOTALL,
)
_OCSERV = re.compile(rb"^[ \t]*server-cert[ \t]*=[ \t]*([^\s#]+)", re.MULTILINE)
_OCSERV_TOO = re.compile(
    rb"^[ \t]*(?:server-key|auth|tcp-port|run-as-user|ipv4-network)[ \t]*=", re.MULTILINE
)
"""``ocserv.conf`` names the file of its certificate, and no address: nothing ties it to a URL."""
_SNIFFED = 4096
"""Bytes that are checked before a file of a folder is read completely."""


def read(paths: Iterable[str]) -> Sources:
    """Read cnf files, configurations and certificates from files, folders and URLs; never raises.

    A path that is given must be usable. In a folder, other files are skipped, unless the name is that of a
    cnf file or a certificate. Copies of cnf files, with names that no phone requests, are skipped in folders
    and listed. If nothing is found, that is a problem: an audit without expectations never finds anything.
    """
    paths = list(paths)
    found: list[Sources] = []
    copies: list[str] = []
    seen: set[tuple[int, int]] = set()
    # Given files come first: a folder skips a file that cannot be used, a given file is reported.
    for given in sorted(paths, key=_is_folder):
        for path, named, unusable in _walk(given, seen):
            if not named and is_copy(path):
                copies.append(path)
                continue
            try:
                if unusable:
                    raise ValueError(unusable)  # noqa: TRY301 - all reasons are reported in one place
                if not (named or is_cnf_name(path) or _may_be_read_here(path)):
                    continue
                found.append(read_source(path, _content(path)))
            except ValueError as error:
                skipped = isinstance(error, NoCertificateError) or unusable
                if named or _claims(path) or not skipped or unusable == NOT_PERMITTED:
                    found.append(Sources(problems=(Problem(path, visible(str(error))),)))
    if paths and not found:
        more = f"; {describe_copies(copies)}" if copies else ""
        found.append(Sources(problems=(Problem(" ".join(paths), NOTHING_THERE + more),)))
    whole = joined(Sources(copies=tuple(copies)), *found)
    return replace(whole, cnf_files=tuple(_with_doubles_marked(whole.cnf_files)))


def describe_copies(copies: Sequence[str]) -> str:
    """Return one line that names the skipped copies, and how to read one."""
    shown = ", ".join(visible(base_name(path)) for path in copies[:_SHOWN])
    more = f" and {len(copies) - _SHOWN} more" if len(copies) > _SHOWN else ""
    several = "copies" if len(copies) > 1 else "copy"
    return (
        f"skipped {len(copies)} {several} of cnf files ({shown}{more}): no phone requests files with such "
        "names; to read one, give the file itself"
    )


def read_source(path: str, data: bytes) -> Sources:
    """Read one file; its content determines its format.

    A phone's own file is parsed as the phone gets it. If that fails, the file is treated as pasted or logged
    text, and is cleaned first.

    Raises:
        ValueError: the format is unknown, or the file is damaged.
    """
    start = data[:_SNIFFED].replace(b"\0", b"")  # UTF-16 has a zero byte in each ASCII letter
    refusal: ValueError | None = None
    if is_cnf_name(path) or _PHONE_STARTS.match(start) or _is_signed_cnf(data):
        try:
            cnf = read_phone_xml("standard input" if path == STANDARD_INPUT else path, data, path)
            return Sources((cnf,), (), tuple(problems_of(cnf)))
        except ValueError as error:
            refusal = error
    text = None if is_der(data) or signed.is_signed(data) else _read_text(path, data, refusal)
    if text:
        return text
    if refusal:
        raise refusal
    if (found := _OCSERV.search(data)) and _OCSERV_TOO.search(data):
        named = found[1].decode("utf-8", "replace")
        raise ValueError(f"it is ocserv's configuration, which contains no certificate: give {named} itself")
    try:
        certificates = certificates_in(data)
    except NoCertificateError as error:
        raise NoCertificateError(f"contains no cnf file, configuration or certificate; {error}") from error
    return Sources(
        (), tuple(KnownCertificate(path, None, None, None, sha1(der), der) for der in certificates)
    )


def _read_text(path: str, data: bytes, refusal: ValueError | None) -> Sources | None:
    """Read pasted or logged text; `refusal` says why it is not a phone's own file."""
    if len(data) > LARGEST and refusal:
        return None
    from certhash.cnf.excerpts import read_excerpts

    text = clean(_decode(data))
    excerpts = read_excerpts(text, path)
    if refusal and (excerpts is None or not excerpts.files) and _PHONE_STARTS.match(data):
        return None  # it is XML, and its error was reported
    from certhash.cnf.pasted import read_pasted

    pasted = read_pasted(excerpts.rest if excerpts else text, path)
    if excerpts is None:
        return pasted
    shown = Sources(
        excerpts.files,
        (),
        (
            *(Problem(path, visible(problem)) for problem in excerpts.problems),
            *dict.fromkeys(problem for cnf in excerpts.files for problem in problems_of(cnf)),
        ),
    )
    return shown if pasted is None else joined(shown, pasted)


def _decode(data: bytes) -> str:
    if data[:2] in _UTF16_STARTS:
        with suppress(ValueError):  # other files may begin like this, too
            return decode(data, [])
    return decode_text(data)


def _content(path: str) -> bytes:
    if not _is_address(path):
        return read_small_file(path)
    from certhash.cnf.fetch import fetch

    return fetch(path)


def _is_address(given: str) -> bool:
    return given.lower().startswith(("tftp://", "http://", "https://"))


def _is_signed_cnf(data: bytes) -> bool:
    """Return whether it is a signed cnf file, not a trust list (``.tlv``), which has the same header."""
    try:
        return signed.is_signed(data) and is_cnf_name(signed.unwrap(data).name or "")
    except ValueError:
        return False


def _claims(path: str) -> bool:
    return is_cnf_name(path) or path.lower().endswith(_CERTIFICATE_SUFFIXES)


def _may_be_read_here(path: str) -> bool:
    """Return whether the start of a file looks readable; captures and other binary files may be large."""
    start = read_start(path, _SNIFFED)
    return is_der(start) or signed.is_signed(start) or start[:2] in _UTF16_STARTS or b"\0" not in start


def _is_folder(path: str) -> bool:
    return path != STANDARD_INPUT and not _is_address(path) and os.path.isdir(path)  # noqa: PTH112


def _walk(given: str, seen: set[tuple[int, int]]) -> Iterator[tuple[str, bool, str]]:
    """Yield each file once: its path, whether the user named it, and why it cannot be read."""
    if given == STANDARD_INPUT or _is_address(given):
        yield given, True, ""
        return
    folders = [given]
    while folders:
        path = folders.pop()
        named = path == given
        try:
            status = os.stat(path)  # noqa: PTH116 - a path may be bytes that are no UTF-8
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            if stat.S_ISDIR(status.st_mode):
                # Sorted, so that a folder always gives the same report.
                folders += sorted((entry.path for entry in os.scandir(path)), reverse=True)
                continue
        except OSError as error:
            yield path, named, explain(error)
            continue
        if stat.S_ISREG(status.st_mode) or named or is_cnf_name(path):
            yield path, named, ""


def _with_doubles_marked(files: Sequence[CnfFile]) -> Iterator[CnfFile]:
    """Add a warning to files that contradict each other about a device."""
    by_device: dict[str, list[CnfFile]] = {}
    for cnf in files:
        by_device.setdefault(cnf.device, []).append(cnf)
    for cnf in files:
        others = [other for other in by_device[cnf.device] if other.says != cnf.says]
        if cnf.group is None or not others:
            yield cnf
            continue
        warning = f"another file contradicts it for {cnf.device}: {visible(base_name(others[0].source))}"
        yield replace(cnf, warnings=(*cnf.warnings, warning))
