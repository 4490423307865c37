"""Test that the plugin loads from any folder, and shows its version."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from tests.harness.packets import conversation, identity, pcap, talk
from tests.plugin.machines import PLUGIN, TOP, copy_plugin

import certhash

if TYPE_CHECKING:
    from tests.plugin.machines import Machine


def plugins(
    place: Machine, *options: str, environment: dict[str, str] | None = None
) -> dict[str, tuple[str, str]]:
    """Return version and path of every Lua script that tshark loads; it must report no error."""
    done = place.run("tshark", "-G", "plugins", *options, environment=environment)
    assert done.returncode == 0
    assert not done.stderr, done.stderr
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    return {row[3]: (row[0], row[1]) for row in rows if row[2].lower() == "lua script"}


def works(
    place: Machine, *options: str, environment: dict[str, str] | None = None, folder: Path | None = None
) -> bool:
    """Return whether a certificate is hashed with these options."""
    capture = place.put("loading.pcap", pcap(conversation(talk(identity("loading")))))
    fields = ("-T", "fields", "-e", "certhash.sha1")
    done = place.run("tshark", "-r", capture, *options, *fields, environment=environment, folder=folder)
    assert not done.stderr, done.stderr
    return len(done.stdout.strip()) == 28


def test_by_path_from_anywhere(place: Machine) -> None:
    script = f"lua_script:{place.plugin}"
    assert works(place, "-X", script)
    assert plugins(place, "-X", script)[str(place.plugin)][1] == certhash.__version__
    assert works(place, "-X", "lua_script:certhash.lua", folder=place.folder / "plugin")
    assert works(place, "-X", "lua_script:plugin/certhash.lua")


def installed(place: Machine, line: str, home: Path) -> Path:
    """Return a folder that tshark's ``-G folders`` names, as seen from outside."""
    done = place.run("tshark", "-G", "folders", environment={"HOME": str(home)})
    found = re.search(rf"^{line}:\s+(.*)$", done.stdout, re.MULTILINE)
    assert found, done.stdout
    return Path(found[1])


def test_from_the_plugin_folder(place: Machine) -> None:
    home = place.folder / "home-installed"
    folder = installed(place, "Personal Lua Plugins", home)
    copy_plugin(folder)
    environment = {"HOME": str(home)}
    loaded = plugins(place, environment=environment)
    names = sorted(name for name, _ in loaded.values())
    modules = sorted(path.name for path in (PLUGIN / "certhash").glob("*.lua"))
    assert sorted(Path(name).name for name in names) == sorted(["certhash.lua", *modules])
    assert loaded[str(folder / "certhash.lua")][1] == certhash.__version__
    assert works(place, environment=environment)


def test_from_the_folder_of_the_environment(place: Machine) -> None:
    environment = {"WIRESHARK_PLUGIN_DIR": str(place.plugin.parent)}
    if str(place.plugin) not in plugins(place, environment=environment):
        # Some builds take the variable only when run from their build folder.
        assert "WIRESHARK_PLUGIN_DIR" not in str(place.run("tshark", "-G", "folders").stdout)
        return
    assert works(place, environment=environment)


def test_fields_are_those_of_the_contract(place: Machine) -> None:
    done = place.run("tshark", "-G", "fields", "-X", f"lua_script:{place.plugin}")
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    types = {row[2]: row[3] for row in rows if row[0] == "F" and row[2].startswith("certhash.")}
    expected = {
        "certhash.certificate": "FT_STRING",
        "certhash.sha1": "FT_STRING",
        "certhash.thumbprint": "FT_BYTES",
        "certhash.sha256": "FT_STRING",
        "certhash.position": "FT_UINT32",
        "certhash.cnf_downloaded": "FT_STRING",
        "certhash.cnf_content": "FT_BYTES",
    }
    assert expected.items() <= types.items()


def test_version_stands_in_one_place() -> None:
    found = [path for path in PLUGIN.rglob("*.lua") if certhash.__version__ in path.read_text()]
    assert found == [PLUGIN / "certhash" / "version.lua"]


def test_luacheck() -> None:
    done = subprocess.run(
        ["luacheck", "-q", "--no-color", "plugin"], cwd=TOP, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_modules_are_harmless_alone(lua: str) -> None:
    for path in (PLUGIN / "certhash").glob("*.lua"):
        code = f"local before = {{}} for k in pairs(_G) do before[k] = true end\
            assert(type(dofile('{path}')) == 'table') for k in pairs(_G) do assert(before[k], k) end"
        done = subprocess.run([lua, "-"], input=code, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
