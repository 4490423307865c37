"""Make once in a test session what several tests need, whichever of its processes needs it first."""

from __future__ import annotations

import fcntl
import hashlib
import pickle
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")


class Once:
    """What was made in this session, in a folder that all its processes share.

    Args:
        folder: an empty folder of this session.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, object] = {}

    def __call__(self, make: Callable[[], T], *of: object) -> T:
        """Return what `make` returned in the session's first call that names the same things.

        Args:
            make: what it returns can be pickled; nobody may change it.
            of: what decides the result; each has a `repr` that tells it from others.
        """
        name = hashlib.sha256(repr(of).encode()).hexdigest()
        if name not in self._known:
            with (self._folder / f"{name}.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                path = self._folder / name
                if not path.exists():
                    unfinished = path.with_suffix(".unfinished")
                    unfinished.write_bytes(pickle.dumps(make()))
                    unfinished.rename(path)
            self._known[name] = pickle.loads(path.read_bytes())  # noqa: S301 - this session wrote it
        return self._known[name]  # type: ignore[return-value]
