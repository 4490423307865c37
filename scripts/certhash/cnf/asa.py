"""What an ASA serves on its interfaces: ``ssl trust-point``, ``webvpn`` with ``enable``, and the addresses.

The certificates of the trust-point, identity and CA, both count as presented: Cisco's CME VPN guide has
phones match the hash of the ASA's CA certificate ("so that the phone can authenticate the certificates sent
from ASA").
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from certhash.model import Endpoint

if TYPE_CHECKING:
    from certhash.cnf.configuration import Configuration

ROLES = ("leaf", "self-signed", "ca")


def served(configuration: Configuration) -> tuple[dict[tuple[str, str], list[Endpoint]], list[str]]:
    """Return the head-ends by trust-point and role; and problems."""
    found: dict[tuple[str, str], list[Endpoint]] = {}
    problems: list[str] = []
    addresses = {
        interface.name: interface.addresses
        for interface in configuration.interfaces.values()
        if interface.name
    }
    named = {interface for _, interface, _ in configuration.ssl_trustpoints if interface}
    for trustpoint, interface, line in configuration.ssl_trustpoints:
        # Without an interface, the trust-point is for all that have none of their own.
        interfaces = {interface} if interface else configuration.webvpn_interfaces - named
        ends = [
            Endpoint(address, configuration.webvpn_port)
            for name in sorted(interfaces & configuration.webvpn_interfaces)
            for address in addresses.get(name, [])
        ]
        if ends and not any(item.trustpoint == trustpoint and item.sha1 for item in configuration.stored):
            problems.append(
                f'line {line} "ssl trust-point {trustpoint}": its certificate is not in the configuration: '
                f"add the output of `crypto ca export {trustpoint} identity-certificate` to the same file"
            )
        for role in ROLES:
            found.setdefault((trustpoint, role), []).extend(ends)
    return found, problems
