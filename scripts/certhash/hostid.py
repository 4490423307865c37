"""The host-ID check: whether a phone accepts the names in a certificate whose hash it knows.

The phone compares the host of its URL with the names in the head-end's own certificate, and aborts the
connection where they differ (usecallmanager.nz, ``enableHostIDCheck``): with the subject alternative names
"if the subjectAltNames existed" (CME command reference, ``host-id-check``), else with the common name. A
wildcard does not count: "the client fails to connect if they do not match or if a wildcard certificate with
an asterisk (*) is used" (TAC 115785). CME and CUCM have the check on unless it is switched off.

``plugin/certhash/hostid.lua`` has the same rule; ``tests/plugin/test_hostid.py`` has the cases of both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from certhash.certificate import details
from certhash.headend import plain_name, read_address

if TYPE_CHECKING:
    from collections.abc import Iterable

    from certhash.headend import HeadEnd


def names_host(names: Iterable[str], head_end: HeadEnd) -> bool:
    """Return whether one of a certificate's names is the host of a URL."""
    return any((read_address(name) or plain_name(name)) == head_end.host for name in names)


def doubt(check: bool | None, der: bytes, head_end: HeadEnd) -> str | None:
    """Return the warning about a head-end's own certificate (DER); None if the phone accepts its names.

    Args:
        check: the setting in the phone's cnf file; None if it is not set.
        der: the certificate; empty if only its fingerprint is known.
        head_end: where the phone's URL points.
    """
    if check is False:
        return None
    read = details(der)
    if names_host(read.names, head_end):
        return None
    state = "is on" if check else "is on by default (the file does not say)"
    if read.subject is None:
        return (
            f"the host-ID check {state}, but whether the certificate names {head_end.host} is unknown: "
            f"{'it is unreadable' if der else 'only its fingerprint is known'}"
        )
    names = ", ".join(read.names) or "no host"
    wildcard = ", and a wildcard does not count" if any("*" in name for name in read.names) else ""
    return (
        f"the host-ID check {state}, and the certificate does not name {head_end.host} (it names {names}"
        f"{wildcard}): the phone then ends the connection"
    )
