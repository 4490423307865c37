"""Test ``certhash plugin`` with the real tshark of this machine, in a separate home folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.conftest import ordinary
from tests.harness import wiresharks
from tests.plugin.machines import PLUGIN, TOP, copy_plugin

import certhash
from certhash.commands import plugin_install

if TYPE_CHECKING:
    from tests.harness.once import Once


HOME = Path("/home/of-nobody")


@cache
def folders_of_a_user() -> tuple[Path, Path]:
    """Return the folders for Lua plugins and for the configuration, relative to a user's home folder."""
    command = [*ordinary(), "env", "-u", "XDG_CONFIG_HOME", f"HOME={HOME}", "tshark", "-G", "folders"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    paths = dict(line.split(":", 1) for line in said.splitlines() if ":" in line)
    plugins, configuration = (
        Path(paths[name].strip()).relative_to(HOME)
        for name in ("Personal Lua Plugins", "Personal configuration")
    )
    return plugins, configuration


class Home:
    """A home folder in which the command runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            **{
                name: value for name, value in os.environ.items() if not name.startswith(("WIRESHARK", "XDG"))
            },
            "HOME": str(folder),
            "PYTHONPATH": str(TOP / "scripts"),
            **wiresharks.without_names(),
        }

    def plugin(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run ``certhash plugin``."""
        return subprocess.run(
            [*ordinary(), sys.executable, "-m", "certhash", "plugin", *arguments],
            env=self.environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )

    def folders(self) -> plugin_install.Wireshark:
        """Return the folders that this machine's Wireshark uses in this home."""
        plugins, configuration = (self.folder / name for name in folders_of_a_user())
        return plugin_install.Wireshark(("tshark",), "0", plugins, configuration, (), None)

    def files(self) -> list[str]:
        """Return every file and folder except those that tshark creates itself."""
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file())


@pytest.fixture
def home(tmp_path: Path) -> Home:
    assert shutil.which("tshark"), "apt-get install tshark"
    tmp_path.chmod(0o777)  # for those of ordinary()
    return Home(tmp_path)


@pytest.fixture
def installed(home: Home, once: Once) -> Home:
    """Return a home in which the plugin is installed."""

    def install() -> dict[Path, bytes]:
        assert home.plugin("install").returncode == 0
        return {
            path.relative_to(home.folder): path.read_bytes()
            for path in home.folder.rglob("*")
            if path.is_file()
        }

    for name, content in once(install, "a home with the plugin").items():
        path = home.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return home


def test_install_status_uninstall(home: Home) -> None:
    before = home.plugin("status")
    assert before.returncode == 1
    assert "not installed" in before.stdout
    nothing = home.files()
    done = home.plugin("install")
    assert done.returncode == 0, done.stdout + done.stderr
    there = home.folders()
    copied = {path.relative_to(PLUGIN): path.read_bytes() for path in PLUGIN.rglob("*.lua")}
    assert {
        path.relative_to(there.plugins): path.read_bytes() for path in there.plugins.rglob("*.lua")
    } == copied
    for path in (PLUGIN / "profile" / "certhash").iterdir():
        assert (there.profile / path.name).read_bytes() == path.read_bytes()
    status = home.plugin("status")
    assert status.returncode == 0, status.stdout
    assert f"{there.plugins / 'certhash.lua'}, version {certhash.__version__}" in status.stdout
    assert home.plugin("install").returncode == 0
    assert home.plugin("uninstall").returncode == 0
    assert home.files() == nothing
    assert not there.plugins.exists()
    assert not there.profile.exists()
    assert home.plugin("uninstall").returncode == 0


def test_profile_works(installed: Home) -> None:
    """The tshark of this machine uses the columns of the installed profile."""
    capture = TOP / "captures" / "mismatch.pcapng"
    folder = f"certhash.cnf_directory:{TOP / 'captures' / 'cnf'}"
    done = subprocess.run(
        [*ordinary(), "tshark", "-C", "certhash", "-r", capture, "-o", folder, "-Y", "certhash.sha1"],
        env=installed.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert " mismatch " in done.stdout
    assert "SEP00005E005312" in done.stdout


def test_a_users_own_profile_stays(home: Home) -> None:
    profile = home.folders().profile
    profile.mkdir(parents=True)
    (profile / "preferences").write_text("gui.column.format: my own\n")
    done = home.plugin("install")
    assert done.returncode == 0
    assert "your own profile, not changed" in done.stdout
    assert home.plugin("uninstall").returncode == 0
    assert [path.name for path in profile.iterdir()] == ["preferences"]
    assert (profile / "preferences").read_text() == "gui.column.format: my own\n"


def test_what_wireshark_changed_in_the_profile_stays_on_an_update(installed: Home) -> None:
    preferences = installed.folders().profile / "preferences"
    preferences.write_text("changed by the user\n")
    assert installed.plugin("install").returncode == 0
    assert preferences.read_text() == "changed by the user\n"


def test_an_older_version_is_replaced_whole(installed: Home) -> None:
    plugins = installed.folders().plugins
    (plugins / "certhash" / "gone.lua").write_text("return {}\n")
    version = plugins / "certhash" / "version.lua"
    version.write_text('return { version = "0.0.1" }\n')
    old = installed.plugin("status")
    assert old.returncode == 1
    assert "0.0.1" in old.stdout
    done = installed.plugin("install")
    assert done.returncode == 0
    assert "in place of 0.0.1" in done.stdout
    assert not (plugins / "certhash" / "gone.lua").exists()


def test_there_twice(installed: Home) -> None:
    other = installed.folders().plugins / "sub"
    copy_plugin(other)
    done = installed.plugin("status")
    assert done.returncode == 1
    assert "2 copies are installed" in done.stdout
    assert str(other / "certhash.lua") in done.stdout.partition("remove")[2]


def test_a_foreign_file_in_the_way(home: Home) -> None:
    plugins = home.folders().plugins
    plugins.mkdir(parents=True)
    (plugins / "certhash.lua").write_text("-- something else\n")
    done = home.plugin("install")
    assert done.returncode == 2
    assert "move it away" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert (plugins / "certhash.lua").read_text() == "-- something else\n"
    home.plugin("uninstall")
    assert (plugins / "certhash.lua").exists()


def test_a_link_into_a_source_tree(home: Home, tmp_path: Path) -> None:
    source = tmp_path / "source"
    copy_plugin(source)
    plugins = home.folders().plugins
    plugins.mkdir(parents=True)
    (plugins / "certhash.lua").symlink_to(source / "certhash.lua")
    (plugins / "certhash").symlink_to(source / "certhash")
    assert home.plugin("status").returncode == 0
    assert home.plugin("uninstall").returncode == 0
    assert (source / "certhash.lua").exists()
    assert (source / "certhash" / "sha1.lua").exists()
    assert not plugins.exists()


def test_broken_plugin_is_noticed(installed: Home) -> None:
    (installed.folders().plugins / "certhash" / "sha1.lua").write_text("this is no Lua\n")
    done = installed.plugin("status")
    assert done.returncode == 1
    assert "problem" in done.stdout


def test_no_tshark(home: Home) -> None:
    for arguments in (["status", "--tshark", "/no/such/tshark"], ["install", "--tshark", "/bin/true"]):
        done = home.plugin(*arguments)
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1
        assert arguments[-1] in done.stderr
    home.environment["PATH"] = "/nowhere"
    done = home.plugin("status")
    assert done.returncode == 2
    assert "install Wireshark" in done.stderr


def test_what_cannot_be_written(home: Home) -> None:
    plugins = home.folders().plugins
    plugins.parent.mkdir(parents=True)
    plugins.write_text("a file where the folder should be")
    done = home.plugin("install")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert str(plugins) in done.stderr
