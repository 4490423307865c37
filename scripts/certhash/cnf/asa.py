"""Find what an ASA presents on its interfaces, from ``ssl trust-point``, ``webvpn`` and the addresses.

The identity and the CA certificate of the trust-point both count as presented: in Cisco's CME VPN guide,
phones match the hash of the ASA's CA certificate ("so that the phone can authenticate the certificates sent
from ASA").

An ASA with ``ssl trust-point NAME domain HOST`` chooses the certificate by SNI (ASA command reference, ``ssl
trust-point``). It is not documented whether a phone with that name in its URL sends SNI, so it may get either
certificate. ``group-url`` and ``domain`` state the names of the ASA.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from certhash.cnf.configuration import Interface
from certhash.cnf.served import Serving, has_certificate
from certhash.headend import parse_url
from certhash.model import ServedAt

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from certhash.cnf.configuration import Configuration, SslTrustpoint
    from certhash.cnf.terminal import Line

ROLES = ("leaf", "self-signed", "ca")


def served(configuration: Configuration) -> Serving:
    """Return what is presented where, what is undetermined, and problems."""
    serving = Serving()
    enabled = configuration.webvpn_interfaces
    if configuration.ssl_trustpoints and not enabled:
        for item in configuration.ssl_trustpoints:
            why = "this text enables webvpn on no interface, so its URL is unknown"
            serving.complain(item.line, f"{why}; add the output of `show running-config webvpn`")
            serving.leave_open(item.line, why)
        return serving
    own = {item.interface for item in configuration.ssl_trustpoints}
    for name, enabling in enabled.items():
        wanted = name if name in own else None
        chosen = [
            item
            for item in configuration.ssl_trustpoints
            if item.interface == wanted and not item.domain and not item.shared
        ]
        _interface(serving, configuration, name, enabling, chosen)
    for item in configuration.ssl_trustpoints:
        if item.domain:
            _present(serving, configuration, item, list(_everywhere(configuration, item)))
        elif item.shared:
            _shared(serving, configuration, item)
        elif item.interface and item.interface not in enabled:
            _elsewhere(serving, configuration, item, item.interface)
    return serving


def _interface(
    serving: Serving, configuration: Configuration, name: str, enabling: Line, chosen: list[SslTrustpoint]
) -> None:
    """Assign the trust-points of one interface on which webvpn is enabled."""
    interface = _named(configuration, name)
    known = interface is not None and bool(interface.addresses)
    if name not in configuration.without_dtls:
        serving.move_dtls(configuration.dtls_port, _places(configuration, interface, enabling))
    if known and interface and interface.elsewhere:
        serving.leave_open(enabling, f"{name} has another address, not shown here: {interface.elsewhere}")
    if not known:
        stands = f" ({interface.elsewhere})" if interface and interface.elsewhere else ""
        missing = f"the address of interface {name} is not in the configuration{stands}"
        for line in [item.line for item in chosen] or [enabling]:
            serving.complain(line, f"{missing}, so a URL with this address cannot be checked")
            serving.leave_open(line, missing)
    if not chosen:
        places = _places(configuration, interface, enabling)
        why = f"no ssl trust-point applies to {name}, so the ASA presents its own self-signed certificate"
        serving.leave_open(enabling, why, places)
    for item in chosen:
        _present(serving, configuration, item, list(_places(configuration, interface, item.line)))


def _elsewhere(serving: Serving, configuration: Configuration, item: SslTrustpoint, interface: str) -> None:
    """Record a trust-point of an interface without webvpn, whose name may also be cut or misspelt."""
    if any(each.name == interface for each in configuration.interfaces.values()):
        places = list(_places(configuration, _named(configuration, interface), item.line))
        why = f"webvpn is not enabled on interface {interface}"
        serving.leave_open(item.line, why, places, presents=False)
        return
    missing = f"no interface of this text has the name {interface}"
    serving.complain(item.line, f"{missing}, so its URL is unknown")
    own = {each.interface for each in configuration.ssl_trustpoints}
    meant = [
        place
        for name in configuration.webvpn_interfaces
        if name.startswith(interface) or name not in own
        for place in _places(configuration, _named(configuration, name), item.line)
    ]
    serving.leave_open(item.line, missing, meant)


def _shared(serving: Serving, configuration: Configuration, item: SslTrustpoint) -> None:
    """Assign a trust-point to the address that several ASAs share."""
    if configuration.cluster_address is None:
        missing = "the address that the cluster shares is not in the configuration (vpn load-balancing)"
        serving.complain(item.line, f"{missing}, so its URL is unknown")
        serving.leave_open(item.line, missing)
        return
    place = ServedAt(
        configuration.cluster_address, configuration.webvpn_port, item.line.number, item.line.text
    )
    _present(serving, configuration, item, [place])


def _present(
    serving: Serving, configuration: Configuration, item: SslTrustpoint, places: list[ServedAt]
) -> None:
    serving.serve(item.name, ROLES, places)
    if places and not has_certificate(configuration, item.name):
        missing = "its certificate is not in the configuration"
        command = f"crypto ca export {item.name} identity-certificate"
        serving.complain(item.line, f"{missing}: add the output of `{command}` to the same file")
        serving.leave_open(item.line, missing, places)


def _named(configuration: Configuration, name: str) -> Interface | None:
    """Return the interface with a ``nameif``; if two have the same one, its address is unknown."""
    found = [each for each in configuration.interfaces.values() if each.name == name]
    if len(found) > 1:
        return Interface(name, [], f"{len(found)} interfaces have this name")
    return found[0] if found else None


def _places(configuration: Configuration, interface: Interface | None, line: Line) -> Iterator[ServedAt]:
    """Yield the addresses of an interface, and the configured names of the ASA."""
    port = configuration.webvpn_port
    addresses: Iterable[str | None] = interface.addresses if interface else ()
    for address in addresses:
        yield ServedAt(address, port, line.number, line.text)
    for host, named_port in _hosts(configuration):
        for address in addresses or (None,):
            yield ServedAt(address, named_port, line.number, line.text, host, stated=True)


def _everywhere(configuration: Configuration, item: SslTrustpoint) -> Iterator[ServedAt]:
    """Yield where a trust-point for one name is presented: on every interface, to clients with that SNI."""
    port = configuration.webvpn_port
    for name in configuration.webvpn_interfaces:
        interface = _named(configuration, name)
        for address in (interface.addresses if interface else None) or (None,):
            yield ServedAt(address, port, item.line.number, item.line.text, item.domain, stated=True)


def _hosts(configuration: Configuration) -> list[tuple[str, int]]:
    """Return the names and ports of the ASA that the configuration states."""
    found = [
        (item.domain, configuration.webvpn_port)
        for item in configuration.ssl_trustpoints
        if item.domain and "*" not in item.domain
    ]
    for url in configuration.group_urls:
        try:
            head_end = parse_url(url)
        except ValueError:
            continue
        # The ASA does not listen on other ports.
        if not head_end.is_address and head_end.port == configuration.webvpn_port:
            found.append((head_end.host, head_end.port))
    return list(dict.fromkeys(found))
