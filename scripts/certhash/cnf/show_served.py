"""Read show commands that tell what is presented: ``show ssl`` (ASA), ``show webvpn gateway`` (IOS).

Formats as the ASA command reference (``show ssl``) and the IOS security command reference (``show webvpn
gateway``) print them. A configuration in the same text takes precedence.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from certhash.cnf.abbreviations import expand
from certhash.cnf.configuration import Gateway, SslTrustpoint
from certhash.headend import read_address

if TYPE_CHECKING:
    from certhash.cnf.configuration import Configuration
    from certhash.cnf.terminal import Line

_SSL_HEADING = re.compile(r"SSL trust-points:", re.IGNORECASE)
_SSL_INTERFACE = re.compile(
    r"(?:Interface (?P<new>\S+)|(?P<old>\S+) interface) ?: ?(?P<name>\S+)(?: \(.*\))?", re.IGNORECASE
)
"""``Interface outside: NAME (RSA 2048 bits RSA-SHA256)``; before ASA 9.4 ``outside interface: NAME``."""
_SSL_DEFAULT = re.compile(r"Default ?: ?(?P<name>\S+)(?: \(.*\))?", re.IGNORECASE)
_ADMIN = re.compile(r"Admin Status: ?(up|down)", re.IGNORECASE)
_ADDRESS = re.compile(r"IP: ?(\S+?),? port: ?(\d{1,5})", re.IGNORECASE)
_TRUSTPOINT = re.compile(r"SSL Trustpoint: ?(\S+)", re.IGNORECASE)


def read_ssl(lines: list[Line], configuration: Configuration) -> None:
    """Add the trust-points of an ASA's ``show ssl`` to `configuration` if it has none."""
    configured = {item.interface for item in configuration.ssl_trustpoints}
    inside = False
    for line in lines:
        if line.typed:
            inside = False
        elif _SSL_HEADING.fullmatch(line.text):
            inside = True
        elif inside and (found := _SSL_INTERFACE.fullmatch(line.text) or _SSL_DEFAULT.fullmatch(line.text)):
            groups = found.groupdict()
            interface = (groups.get("new") or groups.get("old") or "").lower() or None
            if interface not in configured:
                configuration.ssl_trustpoints.append(SslTrustpoint(found["name"], interface, line))
            configuration.taken.add(line.number)


def read_gateways(lines: list[Line], configuration: Configuration) -> None:
    """Add the gateways of IOS' ``show webvpn gateway NAME`` to `configuration` if it lacks them."""
    configured = set(configuration.gateways)
    name, heading = "webvpn gateway", None
    for line in lines:
        if line.typed:
            found = re.fullmatch(r"show webvpn gateway (\S+)", expand(line.text), re.IGNORECASE)
            name, heading = found[1] if found else "webvpn gateway", line
            continue
        if not (
            found := _ADMIN.fullmatch(line.text)
            or _ADDRESS.match(line.text)
            or _TRUSTPOINT.fullmatch(line.text)
        ):
            continue
        configuration.taken.add(line.number)
        if name in configured:
            continue
        gateway = configuration.gateways.setdefault(name, Gateway(heading or line))
        if found.re is _ADMIN:
            gateway.in_service = found[1].lower() == "up"
        elif found.re is _ADDRESS:
            gateway.address, gateway.port = read_address(found[1]), int(found[2])
        else:
            gateway.trustpoint = found[1], line
