"""Save every certificate of the captures as a file, with an index of where each first occurs."""

from __future__ import annotations

import os
import re
import stat
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from msgspec import Struct

from certhash.certificate import details
from certhash.digest import sha1, thumbprint, to_base64
from certhash.errors import InputError
from certhash.files import explain, read_small_file
from certhash.model import Problem, Sender
from certhash.report import jsonform
from certhash.report.output import save
from certhash.times import iso
from certhash.visible import visible, without_surrogates

if TYPE_CHECKING:
    from collections.abc import Iterable

    from certhash.model import Observation, PresentedCertificate

INDEX = "index.json"

_UNSAFE = re.compile(r"[^A-Za-z0-9.-]+")
_LONGEST_STEM = 60
_NEVER = "~"  # sorts after every time
_COMMON_NAME = re.compile(r"(?:^|[,+])CN=((?:[^,+\\]|\\.)+)")


class Entry(Struct, frozen=True):
    """The index entry of one file."""

    file: str
    """Name of the file in the folder; its content is DER."""
    sha1: str
    """Base64, as in `<certHash1>`."""
    thumbprint: str
    """The same SHA-1 in hex, upper case."""
    sha256: str
    """Base64."""
    subject: str | None
    capture: str
    """The capture where it first occurs."""
    frame: int | None
    time: str | None
    """Time of its handshake, ISO 8601 UTC."""
    sender: Sender | None
    position: int | None
    """Position in the sender's chain; 0 is the first."""


class Exported(Struct, frozen=True):
    """The result of an export."""

    entries: tuple[Entry, ...]
    """The certificates of these captures, by file name."""
    written: int
    """Number of new files; the others existed already."""
    problems: tuple[Problem, ...]


def prepare(folder: str) -> None:
    """Create the folder before the captures are read.

    Raises:
        InputError: it cannot be created or written.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise InputError(f"{visible(folder)}: a file, not a folder; give -o another name") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{visible(folder)}: cannot be created ({reason}); give -o another folder") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"{visible(folder)}: this user has no write permission; give -o another folder")
    _read_index(folder)


def export(observations: Iterable[Observation], folder: str) -> Exported:
    """Write every certificate as DER, and the index; existing certificate files are never changed.

    Raises:
        InputError: the folder cannot be written.
    """
    first = _first_seen(observations)
    # Two certificates with one SHA-1 (a forgery) must not share a name: add the SHA-256.
    twins = Counter(sha1(seen.der) for seen in first.values())
    entries: list[Entry] = []
    problems: list[Problem] = []
    written = 0
    for sha256, seen in first.items():
        name = _file_name(seen.der, sha256 if twins[sha1(seen.der)] > 1 else None)
        path = os.path.join(folder, name)  # noqa: PTH118 - a path may hold bytes that are not UTF-8
        state = _there(path, seen.der)
        if isinstance(state, Problem):
            problems.append(state)
            continue
        if not state:
            save(path, seen.der)
            written += 1
        entries.append(_entry(name, sha256, seen))
    entries.sort(key=lambda entry: entry.file)
    _write_index(folder, entries)
    return Exported(tuple(entries), written, tuple(problems))


class _Sighting(NamedTuple):
    """Where a certificate first occurs."""

    der: bytes
    capture: str
    time: int | None
    presented: PresentedCertificate | None
    """None if it is in no chain, but in a second, different Certificate message."""


def _first_seen(observations: Iterable[Observation]) -> dict[bytes, _Sighting]:
    """Return the first sighting of each certificate, by SHA-256."""
    observations = list(observations)
    sightings = [
        _Sighting(observation.certificates[presented.sha256], observation.path, handshake.time, presented)
        for observation in observations
        for handshake in observation.handshakes
        for presented in handshake.certificates
    ]
    sightings.sort(key=lambda s: (s.time, s.capture, s.presented.frame if s.presented else 0))
    first: dict[bytes, _Sighting] = {}
    for seen in sightings:
        if seen.presented:
            first.setdefault(seen.presented.sha256, seen)
    for observation in observations:
        for sha256, der in observation.certificates.items():
            first.setdefault(sha256, _Sighting(der, observation.path, None, None))
    return first


def _entry(name: str, sha256: bytes, seen: _Sighting) -> Entry:
    digest = sha1(seen.der)
    return Entry(
        file=name,
        sha1=to_base64(digest),
        thumbprint=thumbprint(digest),
        sha256=to_base64(sha256),
        subject=details(seen.der).subject,
        capture=without_surrogates(seen.capture),
        frame=seen.presented.frame if seen.presented else None,
        time=iso(seen.time) if seen.time is not None else None,
        sender=seen.presented.sender if seen.presented else None,
        position=seen.presented.position if seen.presented else None,
    )


def _file_name(der: bytes, sha256: bytes | None) -> str:
    """Return a unique name of letters, digits, dots, dashes and underscores.

    The subject comes from outside, so only its safe characters are used. The thumbprint makes the name
    unique, also on file systems that ignore case.
    """
    subject = details(der).subject or ""
    common_name = _COMMON_NAME.search(subject)
    stem = _UNSAFE.sub("_", common_name[1] if common_name else subject)[:_LONGEST_STEM].strip("._-")
    parts = [stem or "certificate", thumbprint(sha1(der))]
    if sha256 is not None:
        parts.append(sha256.hex().upper())
    return "-".join(parts) + ".cer"


def _there(path: str, der: bytes) -> bool | Problem:
    """Return whether the certificate exists already, or a problem if another file has its name."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return False
    except OSError as error:
        return Problem(path, explain(error))
    if stat.S_ISREG(status.st_mode):
        try:
            if read_small_file(path) == der:
                return True
        except ValueError as error:
            return Problem(path, str(error))
    return Problem(path, "another file has this name, and was not changed: move it, and export again")


def _read_index(folder: str) -> list[Entry]:
    path = os.path.join(folder, INDEX)  # noqa: PTH118
    if not os.path.lexists(path):
        return []
    try:
        return msgspec.json.decode(read_small_file(path), type=list[Entry])
    except ValueError as error:  # also what msgspec raises
        raise InputError(
            f"{visible(path)}: not an index of certhash ({error}); move it, or give -o another folder"
        ) from None


def _write_index(folder: str, entries: list[Entry]) -> None:
    """Add entries to the index; of two entries for a certificate, the earlier one is kept."""
    merged = {entry.file: entry for entry in _read_index(folder)}
    for entry in entries:
        known = merged.get(entry.file)
        if known is None or (entry.time or _NEVER) < (known.time or _NEVER):
            merged[entry.file] = entry
    content = jsonform.render([merged[name] for name in sorted(merged)])
    save(os.path.join(folder, INDEX), content.encode())  # noqa: PTH118
