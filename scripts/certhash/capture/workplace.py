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
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from certhash.errors import InputError
from certhash.files import explain
from certhash.resources import plugin_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from certhash.capture.engine import Engine

_ALL_DATA, _LESS_DATA = "data", "less-data"
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
    program: str | None = None
    """The tshark that runs here with ``-n``, if it is known: it can then do without some tables."""
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
    folder = Path(above, f"certhash-{os.urandom(16).hex()}")
    _folders.add(folder)  # before it is created, so that no interruption can leave it behind
    try:
        folder.mkdir(mode=0o700)
        folder.chmod(0o755)
        (folder / "home").mkdir()
        _copy(plugin_folder(), folder / "plugins")
        keys = None
        if keylog is not None:
            keys = folder / "keylog"
            try:
                shutil.copyfile(keylog, keys)
            except OSError as error:
                raise InputError(f"{keylog}: {explain(error)}; give --keylog a key log file") from None
            keys.chmod(0o400)
            if user is not None:
                os.chown(keys, user, -1)
        yield Workplace(folder, user, keys, program=program)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        _folders.discard(folder)


def _copy(plugin: Path, to: Path) -> None:
    """Copy the plugin to where every user can read it; a few small files, so without shutil's care."""
    for folder, _, names in os.walk(plugin):
        inside = to / os.path.relpath(folder, plugin)
        inside.mkdir()
        for name in names:
            with open(os.path.join(folder, name), "rb") as source:  # noqa: PTH118, PTH123
                (inside / name).write_bytes(source.read())


def _data(place: Workplace) -> Path | None:
    """Return a folder with links to tshark's data files, except for the tables that it does without.

    It is made when it is first asked for. None if the tables are not in files, as from 4.2 on.
    """
    if place.program is None:
        return None
    data = Path(place.program).resolve().parents[1] / "share" / "wireshark"
    if not (data / _NAME_TABLES[0]).is_file():
        return None
    folder = place.folder / (_ALL_DATA if place.manufacturers else _LESS_DATA)
    if not folder.is_dir():
        but_for = _NAME_TABLES if place.manufacturers else (*_NAME_TABLES, _MANUFACTURERS)
        unfinished = Path(f"{folder}-{os.getpid()}")
        unfinished.mkdir()
        for name in os.listdir(data):  # noqa: PTH208
            if name not in but_for:
                os.symlink(data / name, unfinished / name)  # noqa: PTH211
        try:
            unfinished.rename(folder)
        except OSError:  # another process was faster
            shutil.rmtree(unfinished)
    return folder


def surroundings(place: Workplace) -> dict[str, Any]:
    """Return the `Popen` arguments for a process in a workplace: folder, environment and user."""
    home, data = str(place.folder / "home"), _data(place)
    return {
        "cwd": home,
        "env": {
            **({"WIRESHARK_DATA_DIR": str(data)} if data is not None else {}),
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
