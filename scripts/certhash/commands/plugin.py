"""Install, uninstall or check the Wireshark plugin and its profile.

It asks every Wireshark on this machine where it looks for plugins (tshark -G folders) and what it loads
(-G plugins). A profile named certhash that you made yourself is not changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from certhash.commands import options

if TYPE_CHECKING:
    import argparse

    from certhash.commands.plugin_install import Wireshark


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("action", choices=("install", "uninstall", "status"))
    parser.add_argument(
        "--tshark", metavar="PATH", help="the tshark of the Wireshark to change (default: all)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the action for every Wireshark; return 1 if the plugin does not work, 2 if an action failed."""
    from certhash.commands.plugin_install import find_all
    from certhash.errors import InputError

    try:
        wiresharks = find_all(arguments.tshark)
    except InputError as error:
        options.note(str(error))
        return 2
    status = 0
    for wireshark in wiresharks:
        try:
            status = max(status, _act(arguments.action, wireshark))
        except InputError as error:
            options.note(str(error))
            status = 2
    return status


def _act(action: str, wireshark: Wireshark) -> int:
    from certhash.commands.plugin_install import ask, install, state, uninstall
    from certhash.resources import plugin_folder
    from certhash.version import __version__

    print(wireshark.name)
    if action == "uninstall":
        said = uninstall(wireshark)
    elif action == "install":
        said = install(wireshark, plugin_folder(), __version__)
        wireshark = ask(wireshark.command)  # what it loads after the installation
    else:
        said = []
    for line in said:
        print(f"  {line}")
    if action == "uninstall":
        return 0
    found = state(wireshark, __version__)
    for line in found.lines:
        if action == "status" or line.startswith("problem"):
            print(f"  {line}")
    return 0 if found.good else 1
