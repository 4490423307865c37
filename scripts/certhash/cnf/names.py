"""What the name of a file says: whether a phone fetches it, whether it is a copy of one, and of which device.

A phone asks for an exact name: ``SEP`` and its MAC address, plain (``.cnf.xml``), signed (``.sgn``) or
encrypted (``.enc.sgn``), in any case, with the ``vrf1_`` that CME puts before the files of a VRF; or
``XMLDefault`` and a type of phone for a file that several share. A device's name has letters, digits, dots,
dashes and underscores (CUCM).

A name with more in it, such as ``SEP….cnf.xml.bak``, ``BAK_SEP….cnf.xml``, a browser's ``SEP….cnf (1).xml``
or Wireshark's ``SEP….cnf(1).xml``, is a copy: no phone asks for it, so it does not say what a phone is told.
``plugin/certhash/cnf.lua`` has the same rule.
"""

from __future__ import annotations

import re

_FETCHED = re.compile(r"(?:vrf\d+_)?([\w.-]+)\.cnf\.xml(?:(?:\.enc)?\.sgn)?", re.IGNORECASE | re.ASCII)
_PHONE = re.compile(r"SEP[0-9A-F]{12}", re.IGNORECASE)
_WHOLE_PHONE = re.compile(r"(?<![0-9A-Z])SEP[0-9A-F]{12}(?![0-9A-Z])", re.IGNORECASE)
_LIKE_ONE = re.compile(r"\.cnf.{0,8}\.xml|SEP[0-9A-F]{12}.*\.(?:xml|sgn)", re.IGNORECASE | re.DOTALL)


def is_cnf_name(name: str) -> bool:
    """Return whether a phone could ask for a file of this name."""
    return _stem(base_name(name)) is not None


def is_copy(name: str) -> bool:
    """Return whether a file's name is like that of a phone's config, and one that no phone asks for."""
    base = base_name(name)
    return _stem(base) is None and _LIKE_ONE.search(base) is not None


def device_of(name: str) -> str | None:
    """Return the device that a file is for: ``SEP`` and 12 hex digits, or a shared file's stem; else None.

    A copy, or a log whose name names one phone, is of that phone.
    """
    base = base_name(name)
    stem = _stem(base)
    if stem:
        return stem.upper() if _PHONE.fullmatch(stem) else stem
    phones = {found.upper() for found in _WHOLE_PHONE.findall(base)}
    return phones.pop() if len(phones) == 1 else None


def base_name(name: str) -> str:
    """Return a file's bare name, from a path of any system or of IOS (``flash:/its/SEP....cnf.xml``)."""
    return re.split(r"[/\\:]", name)[-1]


def _stem(base: str) -> str | None:
    """Return what stands before ``.cnf.xml`` in a name that phones ask for."""
    found = _FETCHED.fullmatch(base)
    if not found or (_PHONE.search(found[1]) and not _PHONE.fullmatch(found[1])):
        return None
    return found[1]
