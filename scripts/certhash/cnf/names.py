"""Interpret file names: whether a phone requests the file, whether it is a copy, and of which device.

A phone requests an exact name: ``SEP`` and its MAC address, plain (``.cnf.xml``), signed (``.sgn``) or
encrypted (``.enc.sgn``), in upper or lower case, with the prefix ``vrf1_`` that CME adds to the files of a
VRF; or ``XMLDefault`` and a phone type for a shared file. A device name consists of letters, digits, dots,
dashes and underscores (CUCM).

A name with additions, such as ``SEP….cnf.xml.bak``, ``BAK_SEP….cnf.xml``, a browser's ``SEP….cnf (1).xml`` or
Wireshark's ``SEP….cnf(1).xml``, is a copy: no phone requests it, so it does not state what a phone expects.
``plugin/certhash/names.lua`` has the same rule.
"""

from __future__ import annotations

import re

_FETCHED = re.compile(r"(?:vrf\d+_)?([\w.-]+)\.cnf\.xml(?:(?:\.enc)?\.sgn)?", re.IGNORECASE | re.ASCII)
_PHONE = re.compile(r"SEP[0-9A-F]{12}", re.IGNORECASE)
_WHOLE_PHONE = re.compile(r"(?<![0-9A-Z])SEP[0-9A-F]{12}(?![0-9A-Z])", re.IGNORECASE)
_LIKE_ONE = re.compile(r"\.cnf.{0,8}\.xml|SEP[0-9A-F]{12}.*\.(?:xml|sgn)", re.IGNORECASE | re.DOTALL)


def is_cnf_name(name: str) -> bool:
    """Return whether a phone could request a file of this name."""
    return _stem(base_name(name)) is not None


def is_copy(name: str) -> bool:
    """Return whether a file name resembles that of a phone's configuration, but no phone requests it."""
    base = base_name(name)
    return _stem(base) is None and _LIKE_ONE.search(base) is not None


def device_of(name: str) -> str | None:
    """Return the device of a file: ``SEP`` and 12 hex digits, or the stem of a shared file; else None.

    A copy, or a log whose name contains one phone's name, belongs to that phone.
    """
    base = base_name(name)
    stem = _stem(base)
    if stem:
        return stem.upper() if _PHONE.fullmatch(stem) else stem
    phones = {found.upper() for found in _WHOLE_PHONE.findall(base)}
    return phones.pop() if len(phones) == 1 else None


def base_name(name: str) -> str:
    """Return the base name of a path of any operating system or of IOS (``flash:/its/SEP....cnf.xml``)."""
    return re.split(r"[/\\:]", name)[-1]


def _stem(base: str) -> str | None:
    """Return the part before ``.cnf.xml`` of a name that phones request."""
    found = _FETCHED.fullmatch(base)
    if not found or (_PHONE.search(found[1]) and not _PHONE.fullmatch(found[1])):
        return None
    return found[1]
