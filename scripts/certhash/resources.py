"""Locate the files that are installed with the package."""

from __future__ import annotations

from pathlib import Path


def package_folder() -> Path:
    """Return the folder of this package."""
    return Path(__file__).resolve().parent


def plugin_folder() -> Path:
    """Return the folder of ``certhash.lua``, in the installed package or in the source tree.

    Raises:
        FileNotFoundError: the installation is damaged.
    """
    package = package_folder()
    for folder in (package / "_plugin", package.parents[1] / "plugin"):
        if (folder / "certhash.lua").is_file():
            return folder
    raise FileNotFoundError(f"certhash.lua is missing beside {package}: install certhash again")
