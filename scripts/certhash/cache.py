"""What captures showed, kept from one audit to the next, so that new cnf files need no packet again.

The cache keeps observations, never verdicts. An entry counts only for the very same file (device, inode,
size, times of change) read in the very same way (versions of certhash, its plugin and tshark, and every
setting). An entry that cannot be read, or whose checksum differs, is none; a database that is damaged is made
anew. Nothing that goes wrong with the cache stops an audit: it only costs time.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

import msgspec
from msgspec.structs import replace

from certhash import __version__
from certhash.model import Observation
from certhash.resources import plugin_folder

if TYPE_CHECKING:
    from collections.abc import Callable

    from certhash.capture.observe import Settings

FORMAT = 1
"""Of the database's tables."""
KEPT_DAYS = 120
"""An entry that no audit asked for in so many days is thrown away."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS observation (
    file BLOB NOT NULL, reader BLOB NOT NULL, used INTEGER NOT NULL,
    checksum BLOB NOT NULL, content BLOB NOT NULL,
    PRIMARY KEY (file, reader)
) WITHOUT ROWID
"""
_DAY = 86_400


class FileKey(NamedTuple):
    """What a file is, as far as it can be told without reading it."""

    device: int
    inode: int
    size: int
    modified: int
    """Nanoseconds, like the next."""
    changed: int

    @classmethod
    def of(cls, path: str) -> Self:
        """Ask the file system.

        Raises:
            OSError: there is no such file.
        """
        status = os.stat(path)  # noqa: PTH116 - a path may be bytes that are no UTF-8
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def default_path() -> str:
    """Return the database's place in the user's cache folder."""
    import platformdirs

    return os.path.join(platformdirs.user_cache_dir("certhash"), "observations.sqlite")  # noqa: PTH118


class Cache:
    """Observations by file and reader; to be used from one thread.

    Args:
        path: of the database; it and its folder are made where they are missing, for this user alone.
        settings: how captures are read.
        note: takes a line where the cache cannot be used.
    """

    def __init__(self, path: str, settings: Settings, note: Callable[[str], None]) -> None:
        self._path = path
        self._note = note
        self._reader = _reader_key(settings)
        self._database: sqlite3.Connection | None = None
        self._guarded(self._open)

    def get(self, path: str) -> Observation | None:
        """Return what a capture showed, if the cache knows it; the path in it is the one given here."""
        try:
            key = FileKey.of(path)
        except OSError:
            return None
        row = self._guarded(lambda: self._select(key))
        if row is None or hashlib.sha256(row[1]).digest() != row[0]:
            return None
        try:
            found = msgspec.msgpack.decode(row[1], type=Observation)
        except msgspec.MsgspecError:
            return None
        return replace(found, path=path, problems=tuple(replace(p, path=path) for p in found.problems))

    def put(self, key: FileKey, observation: Observation) -> None:
        """Keep what a capture showed; `key` is the file's from before it was read.

        A file that changed meanwhile is not kept, and neither is one that could not be read.
        """
        if observation.status == "unreadable" or observation.interrupted:
            return
        try:
            if FileKey.of(observation.path) != key:
                return
        except OSError:
            return
        # The path is the asker's; bytes in it that are no UTF-8 could not be kept either.
        nameless = replace(
            observation, path="", problems=tuple(replace(p, path="") for p in observation.problems)
        )
        content = msgspec.msgpack.encode(nameless)
        self._guarded(lambda: self._insert(key, content))

    def close(self) -> None:
        """Write everything out."""
        self._guarded(self._finish)
        if self._database is not None:
            with contextlib.suppress(sqlite3.Error):
                self._database.close()

    def _guarded(self, action: Callable[[], tuple[bytes, bytes] | None]) -> tuple[bytes, bytes] | None:
        """Do something with the database; whatever goes wrong, the audit goes on without it."""
        try:
            return action()
        except sqlite3.OperationalError as error:
            self._give_up(str(error))
        except sqlite3.DatabaseError:
            self._note(f"{self._path}: the cache was damaged and is made anew")
            self._remove()
        except OSError as error:
            self._give_up(error.strerror or str(error))
        return None

    def _open(self) -> None:
        os.makedirs(os.path.dirname(os.path.abspath(self._path)), mode=0o700, exist_ok=True)  # noqa: PTH100, PTH103, PTH120
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
        self._database = sqlite3.connect(self._path, timeout=30, isolation_level=None)
        version = self._database.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, FORMAT):
            raise sqlite3.DatabaseError("another format")
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = NORMAL")
        self._database.execute(_SCHEMA)
        self._database.execute(f"PRAGMA user_version = {FORMAT}")

    def _select(self, key: FileKey) -> tuple[bytes, bytes] | None:
        if self._database is None:
            return None
        where = (_pack(key), self._reader)
        found = self._database.execute(
            "SELECT checksum, content, used FROM observation WHERE file = ? AND reader = ?", where
        ).fetchone()
        if found is None:
            return None
        today = _today()
        if found[2] != today:
            self._database.execute(
                "UPDATE observation SET used = ? WHERE file = ? AND reader = ?", (today, *where)
            )
        return bytes(found[0]), bytes(found[1])

    def _insert(self, key: FileKey, content: bytes) -> None:
        if self._database is not None:
            row = (_pack(key), self._reader, _today(), hashlib.sha256(content).digest(), content)
            self._database.execute("INSERT OR REPLACE INTO observation VALUES (?, ?, ?, ?, ?)", row)

    def _finish(self) -> None:
        if self._database is not None:
            self._database.execute("DELETE FROM observation WHERE used < ?", (_today() - KEPT_DAYS,))

    def _remove(self) -> None:
        if self._database is not None:
            with contextlib.suppress(sqlite3.Error):
                self._database.close()
            self._database = None
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(OSError):
                os.unlink(self._path + suffix)  # noqa: PTH108
        try:
            self._open()
        except (sqlite3.Error, OSError) as error:
            self._give_up(str(error))

    def _give_up(self, why: str) -> None:
        self._note(f"{self._path}: the cache cannot be used ({why}); the audit goes on without it")
        if self._database is not None:
            with contextlib.suppress(sqlite3.Error):
                self._database.close()
        self._database = None


def _pack(key: FileKey) -> bytes:
    return msgspec.msgpack.encode(tuple(key))


def _reader_key(settings: Settings) -> bytes:
    """Return a digest of everything that decides what is seen in a capture, beside the capture."""
    digest = hashlib.sha256(
        f"{FORMAT} {__version__} {settings.tshark.version} {settings.tshark.lua}".encode()
    )
    digest.update(repr((settings.tshark.path, settings.decode_as, settings.carve)).encode())
    package = Path(__file__).parent
    readers = [package / "model.py", *(package / "capture").glob("*.py"), *plugin_folder().rglob("*.lua")]
    for file in sorted(readers):
        digest.update(file.name.encode() + file.read_bytes())
    if settings.keylog is not None:
        with open(settings.keylog, "rb") as keys:  # noqa: PTH123
            digest.update(keys.read())
    return digest.digest()


def _today() -> int:
    return int(time.time()) // _DAY
