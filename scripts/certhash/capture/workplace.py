"""Create the folder that a tshark runs in, with few privileges.

It contains an empty configuration folder, and a separate folder for the plugin. If certhash runs as root,
tshark runs as an unprivileged user: dissectors are the attack surface, and from 4.4 on tshark silently loads
no Lua for root. ``WIRESHARK_PLUGIN_DIR`` locates the plugin. It replaces the system's plugin folder, so that
a copy installed on the machine is not registered a second time.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import pwd
import secrets
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from certhash.errors import InputError
from certhash.resources import plugin_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from certhash.capture.engine import Engine

_DATA, _LESS_DATA = "data", "less-data"
_NAME_TABLES = ("services", "enterprises.tsv", "wka")
"""Tables of names (ports and so on) that tshark reads at every start. With ``-n`` it does not show these
names."""
_MANUFACTURERS = "manuf"
"""The table that takes longest to read; tshark uses it to recognise Ethernet inside MPLS."""

_folders: set[Path] = set()
"""Folders of the workplaces in use."""


class Workplace(NamedTuple):
    """The folder that a tshark runs in, and its user."""

    folder: Path
    user: int | None
    """The user id to run as; None for the current user."""
    keylog: Path | None
    manufacturers: bool = True
    """tshark may need them. Without their table it starts faster."""
    engine: Engine | None = None
    """The engine here that dissects small captures instead of tshark; it serves one reading at a time."""


@contextlib.contextmanager
def workplace(program: str | None = None, *, keylog: str | None = None) -> Iterator[Workplace]:
    """Create the folder that tshark runs in: no configuration, our plugin, and the keys if any.

    Args:
        program: the tshark that will run there with ``-n``; it starts faster if it is given.
        keylog: a file of TLS keys in the SSLKEYLOGFILE format.

    Raises:
        InputError: the key log cannot be read.
    """
    user = _unprivileged_user()
    above = _folder_for_others() if user else tempfile.gettempdir()
    folder = Path(above, f"certhash-{secrets.token_hex(16)}")
    _folders.add(folder)  # before it is created, so that no interruption can leave it behind
    try:
        folder.mkdir(mode=0o700)
        folder.chmod(0o755)
        (folder / "home").mkdir()
        shutil.copytree(plugin_folder(), folder / "plugins", copy_function=shutil.copyfile)
        if program is not None:
            _link_data(program, folder / _DATA, but_for=_NAME_TABLES)
            _link_data(program, folder / _LESS_DATA, but_for=(*_NAME_TABLES, _MANUFACTURERS))
        keys = None
        if keylog is not None:
            keys = folder / "keylog"
            try:
                shutil.copyfile(keylog, keys)
            except OSError as error:
                raise InputError(
                    f"{keylog}: {error.strerror or error}; give --keylog a readable key log file"
                ) from None
            keys.chmod(0o400)
            if user is not None:
                os.chown(keys, user, -1)
        yield Workplace(folder, user, keys)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        _folders.discard(folder)


def _link_data(program: str, folder: Path, *, but_for: tuple[str, ...]) -> None:
    """Link to the data files that a tshark was installed with, except for some tables."""
    data = Path(program).resolve().parents[1] / "share" / "wireshark"
    if not (data / _NAME_TABLES[0]).is_file():
        return  # installed in another way, or the tables are built in, as they are from 4.2 on
    folder.mkdir()
    for entry in data.iterdir():
        if entry.name not in but_for:
            (folder / entry.name).symlink_to(entry)


def surroundings(place: Workplace) -> dict[str, Any]:
    """Return the `Popen` arguments for a process in a workplace: folder, environment and user."""
    home, data = str(place.folder / "home"), place.folder / (_DATA if place.manufacturers else _LESS_DATA)
    return {
        "cwd": home,
        "env": {
            **({"WIRESHARK_DATA_DIR": str(data)} if data.is_dir() else {}),
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": home,
            "XDG_CONFIG_HOME": home,
            "WIRESHARK_CONFIG_DIR": home,
            "WIRESHARK_PLUGIN_DIR": str(place.folder / "plugins"),
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
        },
        "start_new_session": True,  # certhash handles Ctrl-C itself
        "user": place.user,
        "group": None if place.user is None else _group_of(place.user),
        "extra_groups": None if place.user is None else (),
    }


@atexit.register
def clean_up() -> None:
    """Remove every workplace; for exits that skip the normal clean-up."""
    for folder in list(_folders):
        shutil.rmtree(folder, ignore_errors=True)


def _group_of(user: int) -> int:
    try:
        return pwd.getpwuid(user).pw_gid
    except KeyError:
        return user  # a user without an entry has no group either


def _unprivileged_user() -> int | None:
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("nobody").pw_uid
    except KeyError:
        return 65534  # the user id of "nobody" on all systems


def _folder_for_others() -> str:
    """Return a folder for temporary files that another user can access; root's own may be inaccessible."""
    for folder in (tempfile.gettempdir(), "/tmp", "/var/tmp"):  # noqa: S108 - mkdtemp makes the name
        path = Path(folder).resolve()
        if all(parent.stat().st_mode & 0o001 for parent in (path, *path.parents)):
            return str(path)
    raise InputError("no temporary folder is accessible to unprivileged users: set TMPDIR to one that is")
