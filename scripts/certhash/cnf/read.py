"""From what was given with ``--cnf`` to what it says: folders are searched, each file is recognised."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from certhash.cnf.phone_xml import is_cnf_name, problems_of, read_phone_xml
from certhash.files import STANDARD_INPUT, explain, read_small_file
from certhash.model import CnfFile, KnownCertificate, Problem, Sources
from certhash.visible import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def read(paths: Iterable[str]) -> Sources:
    """Read all cnf files, configurations and certificate files there are in files and folders; never raises.

    A path that was named must be usable; in a folder, a file that is nothing of the kind is passed over
    unless its name claims that it is a phone's config.
    """
    cnf_files: list[CnfFile] = []
    known: list[KnownCertificate] = []
    problems: list[Problem] = []
    seen: set[tuple[int, int]] = set()
    for given in paths:
        for path, named in _walk(given, seen, problems):
            try:
                found = read_source(path, read_small_file(path))
            except ValueError as error:
                if named or is_cnf_name(path):
                    problems.append(Problem(path, visible(str(error))))
                continue
            if found is None:
                if named:
                    problems.append(
                        Problem(path, "it is neither a phone's config nor anything else that is read here")
                    )
                continue
            cnf_files += found.cnf_files
            known += found.known
            problems += found.problems
    return Sources(tuple(_with_doubles_marked(cnf_files)), tuple(known), tuple(problems))


def read_source(path: str, data: bytes) -> Sources | None:
    """Read one file, told by its content; None where it is nothing that is read here.

    Raises:
        ValueError: it is something that is read here, and damaged.
    """
    if is_cnf_name(path) or b"<device" in data[:4096]:
        cnf = read_phone_xml("standard input" if path == STANDARD_INPUT else path, data, path)
        return Sources((cnf,), (), tuple(problems_of(cnf)))
    return None


def _walk(given: str, seen: set[tuple[int, int]], problems: list[Problem]) -> Iterator[tuple[str, bool]]:
    """List the files to read, and whether each was named; nothing twice, so that loops end."""
    if given == STANDARD_INPUT:
        yield given, True
        return
    folders = [given]
    while folders:
        path = folders.pop()
        named = path == given
        try:
            status = os.stat(path)  # noqa: PTH116 - a path may be bytes that are no UTF-8
            if (status.st_dev, status.st_ino) in seen and not named:
                continue
            seen.add((status.st_dev, status.st_ino))
            if stat.S_ISDIR(status.st_mode):
                # Sorted, so that the same folder always gives the same report.
                folders += sorted((entry.path for entry in os.scandir(path)), reverse=True)
                continue
        except OSError as error:
            if named or is_cnf_name(path) or isinstance(error, PermissionError):
                problems.append(Problem(path, explain(error)))
            continue
        yield path, named


def _with_doubles_marked(files: list[CnfFile]) -> Iterator[CnfFile]:
    """Add a warning to files that tell the same device different things."""
    by_device: dict[str, list[CnfFile]] = {}
    for cnf in files:
        by_device.setdefault(cnf.device, []).append(cnf)
    for cnf in files:
        others = [other for other in by_device[cnf.device] if _says(other) != _says(cnf)]
        if cnf.group is None or not others:
            yield cnf
            continue
        warning = f"another file tells {cnf.device} something else: {visible(Path(others[0].source).name)}"
        yield CnfFile(cnf.device, cnf.source, cnf.kind, cnf.group, cnf.fetch, (*cnf.warnings, warning))


def _says(cnf: CnfFile) -> tuple[frozenset[str], frozenset[bytes]] | None:
    if cnf.group is None:
        return None
    return frozenset(url.value for url in cnf.group.urls), frozenset(item.digest for item in cnf.group.hashes)
