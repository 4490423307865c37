"""What the name of a file says: whether it is a phone's config, and of which device.

The name is the only place that says the device: ``SEP`` and the MAC address, or ``XMLDefault`` and a type of
phone for a file that several share. Names come plain (``.cnf.xml``), signed (``.sgn``) and encrypted
(``.enc.sgn``), in any case, and with the ``vrf1_`` that CME puts before the files of a VRF.
"""

from __future__ import annotations

import re

_PHONE = r"(?:vrf\d+_)?(SEP[0-9A-F]{12})(?![0-9A-Z])"
_DEVICE = re.compile(_PHONE, re.IGNORECASE)
_CNF_NAME = re.compile(rf"\.cnf\.xml(?:(?:\.enc)?\.sgn)?$|^{_PHONE}.*\.(?:xml|sgn)$", re.IGNORECASE)
_SUFFIX = re.compile(r"(?:\.cnf)?(?:\.xml)?(?:\.enc)?(?:\.sgn)?$", re.IGNORECASE)


def is_cnf_name(name: str) -> bool:
    """Tell whether a file's name claims that it is a phone's config."""
    return bool(_CNF_NAME.search(base_name(name)))


def device_of(name: str) -> str | None:
    """Return the device that a file is for: ``SEP`` and 12 hex digits, or a shared file's stem; else None."""
    base = base_name(name)
    found = _DEVICE.match(base)
    if found:
        return found[1].upper()
    stem = _SUFFIX.sub("", re.sub(r"^vrf\d+_", "", base, flags=re.IGNORECASE))
    return stem if is_cnf_name(base) and stem else None


def base_name(name: str) -> str:
    """Return a file's bare name, from a path of any system or of IOS (``flash:/its/SEP....cnf.xml``)."""
    return (name.replace("\\", "/").rpartition(":")[2] or name).rpartition("/")[2]
