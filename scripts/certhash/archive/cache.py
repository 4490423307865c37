"""Cache the observations of captures between audits, so that an audit with new cnf files reads no packet.

The cache stores observations, never verdicts. An entry is valid only for the same file (device, inode, size,
times of change) and the same reader (versions of certhash, its plugin and tshark, and all settings). An entry
that is unreadable or has a wrong checksum is ignored. A damaged database is created again. A problem with the
cache never stops an audit: it only costs time.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import stat
import time
from typing import TYPE_CHECKING, NamedTuple, Self

import msgspec
from msgspec.structs import replace

from certhash.errors import InputError
from certhash.files import explain
from certhash.model import Observation
from certhash.resources import package_folder, plugin_folder
from certhash.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable

    from certhash.capture.observe import Settings

FORMAT = 5
"""Version of the database table."""
APPLICATION = 0x43485348
"""SQLite's application_id of certhash's database."""
KEPT_DAYS = 120
"""Entries that no audit used for this many days are deleted."""
SETTLED = 2_000_000_000
"""Nanoseconds. A file that changed more recently could change again with the same times: the coarsest file
system clock has steps of two seconds (FAT)."""

_SCHEMA = """
CREATE TABLE observation (
    file BLOB NOT NULL, reader BLOB NOT NULL, used INTEGER NOT NULL,
    checksum BLOB NOT NULL, content BLOB NOT NULL,
    PRIMARY KEY (file, reader)
) WITHOUT ROWID
"""
_DAY = 86_400
_HEADER = 72
"""Length of a SQLite header up to its application_id, in bytes (sqlite.org/fileformat2.html)."""
_PATIENCE = 10
"""Seconds to wait for another audit that is writing, which takes milliseconds."""
_DAMAGE = (
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_IOERR_SHORT_READ,
)
"""SQLite errors of a damaged file; SQLITE_ERROR is a missing table."""


class FileKey(NamedTuple):
    """The identity of a file, without reading it."""

    device: int
    inode: int
    size: int
    modified: int
    """Nanoseconds, as is `changed`."""
    changed: int

    @classmethod
    def of(cls, path: str) -> Self:
        """Return the key of a file, from the file system.

        Raises:
            OSError: there is no such file.
        """
        status = os.stat(path)  # noqa: PTH116 - a path may be bytes that are no UTF-8
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def default_path() -> str:
    """Return the path of the database in the user's cache folder."""
    import platformdirs

    return os.path.join(platformdirs.user_cache_dir("certhash"), "observations.sqlite")  # noqa: PTH118


class Cache:
    """Observations by file and reader; for use from one thread.

    Args:
        path: path of the database; it and its folder are created if missing, only for this user.
        settings: how captures are read.
        note: receives a message if the cache cannot be used.

    Raises:
        InputError: the key log cannot be read.
    """

    def __init__(self, path: str, settings: Settings, note: Callable[[str], None]) -> None:
        self._path = path
        self._note = note
        self._reader = _reader_key(settings)
        self._lua = settings.tshark.lua is not None
        self._missed: dict[str, FileKey] = {}
        self._used: list[bytes] = []
        self._renewed = False
        self._database: sqlite3.Connection | None = None
        self._guarded(self._open)

    def get(self, path: str) -> Observation | None:
        """Return the cached observation of a capture, with the given path, or None."""
        try:
            key = FileKey.of(path)
        except OSError:
            return None
        found = self._guarded(lambda: self._select(key))
        if found is None:
            if time.time_ns() - max(key.modified, key.changed) > SETTLED:
                self._missed[path] = key
            return None
        return replace(found, path=path, problems=tuple(replace(p, path=path) for p in found.problems))

    def put(self, observation: Observation) -> None:
        """Store the observation of a capture that :meth:`get` did not find.

        It is not stored if the file has changed since, was not read to its end, or may show more at another
        attempt.
        """
        key = self._missed.pop(observation.path, None)
        without_plugin = self._lua and observation.hash_source == "python"
        if key is None or observation.status == "unreadable" or observation.interrupted or without_plugin:
            return
        try:
            if FileKey.of(observation.path) != key:
                return
        except OSError:
            return
        # The caller has the path, and its bytes that are not UTF-8 could not be stored.
        nameless = replace(
            observation, path="", problems=tuple(replace(p, path="") for p in observation.problems)
        )
        self._guarded(lambda: self._insert(key, nameless))

    def close(self) -> None:
        """Write all changes, and close the database."""
        self._guarded(self._finish)
        self._disconnect()

    # ---------------------------------------------------------------- the database

    def _guarded(self, action: Callable[[], Observation | None]) -> Observation | None:
        """Run an action on the database; after an error, the audit continues without it."""
        try:
            return action()
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
            if code in _DAMAGE or code & 0xFF in _DAMAGE:
                self._renew("was damaged")
            else:
                self._give_up(str(error))
        except OSError as error:
            self._give_up(error.strerror or str(error))
        return None

    def _open(self) -> None:
        os.makedirs(os.path.dirname(os.path.abspath(self._path)), mode=0o700, exist_ok=True)  # noqa: PTH100, PTH103, PTH120
        if not self._is_ours():
            self._give_up("not a cache of certhash; give another file with --cache, or remove this one")
            return
        # No thread or process keeps a transaction open for longer than one statement. Without waiting for the
        # disk, a power failure may damage entries, which their checksum reveals.
        self._database = sqlite3.connect(self._path, timeout=_PATIENCE, isolation_level=None)
        self._database.execute("PRAGMA synchronous = OFF")
        if self._version() == 0:
            self._create()
        if self._version() != FORMAT:
            self._renew("is of another version of certhash")

    def _is_ours(self) -> bool:
        """Return whether the file may be replaced, so that no other file is overwritten by mistake."""
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK, 0o600)
        try:
            status = os.fstat(file)
            if not stat.S_ISREG(status.st_mode):
                return False
            application = os.pread(file, _HEADER, 0)[-4:]
        finally:
            os.close(file)
        known = status.st_size == 0 or application == APPLICATION.to_bytes(4)
        return known or self._path == default_path()

    def _version(self) -> int:
        assert self._database is not None  # noqa: S101 - the callers connected
        return int(self._database.execute("PRAGMA user_version").fetchone()[0])

    def _create(self) -> None:
        assert self._database is not None  # noqa: S101 - the caller connected
        self._database.execute("BEGIN IMMEDIATE")
        if self._version() == 0:  # and not created by another audit meanwhile
            self._database.execute(f"PRAGMA application_id = {APPLICATION}")
            self._database.execute(_SCHEMA)
            self._database.execute(f"PRAGMA user_version = {FORMAT}")
        self._database.execute("COMMIT")

    def _select(self, key: FileKey) -> Observation | None:
        if self._database is None:
            return None
        file = _pack(key)
        found = self._database.execute(
            "SELECT checksum, content, used FROM observation WHERE file = ? AND reader = ?",
            (file, self._reader),
        ).fetchone()
        if found is None or self._checksum(file, found[1]) != found[0]:
            return None
        if found[2] != _today():
            self._used.append(file)
        try:
            return msgspec.msgpack.decode(found[1], type=Observation)
        except msgspec.MsgspecError:
            return None

    def _insert(self, key: FileKey, observation: Observation) -> None:
        if self._database is not None:
            file, content = _pack(key), msgspec.msgpack.encode(observation)
            row = (file, self._reader, _today(), self._checksum(file, content), content)
            self._database.execute("INSERT OR REPLACE INTO observation VALUES (?, ?, ?, ?, ?)", row)

    def _finish(self) -> None:
        if self._database is not None and self._used:
            self._database.execute("BEGIN IMMEDIATE")
            self._database.executemany(
                "UPDATE observation SET used = ? WHERE file = ? AND reader = ?",
                [(_today(), file, self._reader) for file in self._used],
            )
            self._database.execute("DELETE FROM observation WHERE used < ?", (_today() - KEPT_DAYS,))
            self._database.execute("COMMIT")

    def _checksum(self, file: bytes, content: object) -> bytes:
        """Return a digest of an entry and its key, so that a damaged key cannot assign it to another file."""
        known = content if isinstance(content, bytes) else b""
        return hashlib.sha256(file + self._reader + known).digest()

    def _renew(self, why: str) -> None:
        """Create the database again, but only once: a disk that damages it twice cannot be used."""
        if self._renewed:
            self._give_up(f"it {why} again")
            return
        self._renewed = True
        self._disconnect()
        self._note(f"{self._path}: the cache {why}, and is created again")
        for suffix in ("-journal", ""):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path + suffix)  # noqa: PTH108
        self._guarded(self._open)

    def _give_up(self, why: str) -> None:
        self._note(f"{self._path}: the cache cannot be used ({why}); the audit continues without it")
        self._disconnect()

    def _disconnect(self) -> None:
        if self._database is not None:
            with contextlib.suppress(sqlite3.Error):
                self._database.close()
        self._database = None


def _pack(key: FileKey) -> bytes:
    return msgspec.msgpack.encode(tuple(key))


def _reader_key(settings: Settings) -> bytes:
    """Return a digest of everything except the capture that an observation depends on."""
    used = settings.tshark
    program = FileKey.of(used.path) if os.path.exists(used.path) else None  # noqa: PTH110
    digest = hashlib.sha256(repr((FORMAT, __version__, used.version, used.lua, used.path, program)).encode())
    digest.update(repr((settings.decode_as, settings.carve)).encode())
    package = package_folder()
    readers = [package / "model.py", *(package / "capture").rglob("*.py"), *plugin_folder().rglob("*.lua")]
    for file in sorted(readers):
        digest.update(file.name.encode() + file.read_bytes())
    if settings.keylog is not None:
        try:
            with open(settings.keylog, "rb") as keys:  # noqa: PTH123
                digest.update(hashlib.file_digest(keys, "sha256").digest())
        except OSError as error:
            raise InputError(f"{settings.keylog}: {explain(error)}; give --keylog a key log file") from None
    return digest.digest()


def _today() -> int:
    return int(time.time()) // _DAY
