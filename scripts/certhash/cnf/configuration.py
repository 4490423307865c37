"""Define what is found in running-configurations of IOS (CME) and ASA, and in the output of show commands.

:mod:`certhash.cnf.sections` and the readers of show commands fill it in, :mod:`certhash.cnf.ios` and
:mod:`certhash.cnf.asa` interpret it.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct, field

from certhash.cnf.terminal import Line

Role = Literal["leaf", "ca", "self-signed"]


class Stored(Struct, frozen=True):
    """A certificate that a configuration or a show command names under a trustpoint."""

    line: int
    trustpoint: str | None
    role: Role | None
    sha1: bytes
    """The DER; empty if the text does not contain it."""
    der: bytes | None
    file: str | None = None
    """Where a saved configuration stores the bytes (``nvram:...``)."""


class Trustpoint(Struct, frozen=True):
    """``vpn-trustpoint NUMBER raw|trustpoint NAME leaf|root``."""

    number: int
    form: str
    name: str
    end: str | None
    line: int
    text: str


class Group(Struct):
    """``vpn-group`` of ``voice service voip``."""

    line: int
    gateways: dict[int, tuple[str, int]] = field(default_factory=dict)
    """Maps each number to a URL and its line."""
    trustpoints: dict[int, Trustpoint] = field(default_factory=dict)
    hash_algorithm: bool = False
    """``vpn-hash-algorithm sha-1`` is configured."""
    unread: list[Line] = field(default_factory=list)
    """Unreadable lines that may set a hash: the group's list of hashes is then incomplete."""
    passed: list[Line] = field(default_factory=list)
    """Lines without a known setting, since the last line that had one."""


class Ephone(Struct):
    """``ephone``, with the settings that assign it to a group."""

    line: int
    mac: str | None = None
    group: int | None = None
    profile: int | None = None


class Gateway(Struct):
    """``webvpn gateway`` of IOS, ``crypto ssl policy`` of IOS XE."""

    line: Line
    address: str | None = None
    interface: str | None = None
    port: int = 443
    trustpoint: tuple[str, Line] | None = None
    dtls_port: Line | None = None
    in_service: bool = False
    """``inservice``; for a policy, ``no shutdown``."""


class Interface(Struct):
    """``interface``: the addresses, and the ASA's ``nameif`` (lower case)."""

    name: str | None = None
    addresses: list[str] = field(default_factory=list)
    elsewhere: str | None = None
    """The line that replaces a fixed address: ``ip address dhcp setroute``."""


class SslTrustpoint(Struct, frozen=True):
    """ASA: ``ssl trust-point NAME [INTERFACE [vpnlb-ip] | domain HOST]``."""

    name: str
    interface: str | None
    """Lower case; None: all interfaces without a trust-point of their own."""
    line: Line
    domain: str | None = None
    """Lower case: presented only to clients with this SNI."""
    shared: bool = False
    """``vpnlb-ip``: for the address that a cluster shares."""


class Configuration(Struct):
    """Everything found in one text; a pasted text may contain several devices, or part of one."""

    stored: list[Stored] = field(default_factory=list)
    groups: dict[int, Group] = field(default_factory=dict)
    profiles: dict[int, bool | None] = field(default_factory=dict)
    """``vpn-profile``: the host-ID check; None if not configured."""
    ephones: dict[int, Ephone] = field(default_factory=dict)
    gateways: dict[str, Gateway] = field(default_factory=dict)
    interfaces: dict[str, Interface] = field(default_factory=dict)
    ssl_trustpoints: list[SslTrustpoint] = field(default_factory=list)
    webvpn_interfaces: dict[str, Line] = field(default_factory=dict)
    """ASA: ``enable`` of ``webvpn``, by interface (lower case)."""
    webvpn_port: int = 443
    dtls_port: Line | None = None
    """ASA: ``dtls port`` of ``webvpn``."""
    without_dtls: set[str] = field(default_factory=set)
    """ASA: interfaces with ``enable NAME tls-only`` (lower case)."""
    names: dict[str, str] = field(default_factory=dict)
    """ASA: ``name ADDRESS NAME``, name (lower case) to address."""
    cluster_address: str | None = None
    """ASA: ``cluster ip address`` of ``vpn load-balancing``."""
    group_urls: dict[str, Line] = field(default_factory=dict)
    """ASA: ``group-url URL enable`` of a tunnel-group."""
    damaged: dict[str | None, str] = field(default_factory=dict)
    """Maps a trustpoint to the error in the hex of its certificate, which is also in :attr:`problems`."""
    damaged_roles: set[tuple[str | None, Role | None]] = field(default_factory=set)
    """Trustpoints and roles of those certificates; None if the text does not say."""
    replaced: list[tuple[int, str, str]] = field(default_factory=list)
    """Typed lines that may replace the certificate of a trustpoint: number, start, trustpoint.

    The start holds no passphrase.
    """
    left_open: list[tuple[Line, str]] = field(default_factory=list)
    """Lines that may change what a head-end presents, and why their effect is unknown."""
    without_fingerprint: list[tuple[Line, tuple[str, ...]]] = field(default_factory=list)
    """Certificates that a show command prints without a fingerprint: the line, and their trustpoints."""
    problems: list[str] = field(default_factory=list)
    taken: set[int] = field(default_factory=set)
    """Numbers of the lines that a reader used, or that a problem names (:mod:`certhash.cnf.unread`)."""

    def complain(self, line: Line, what: str) -> None:
        """Record a problem with a line; the text follows the line in the message."""
        self.problems.append(f'line {line.number} "{line.shown}"{what if what[:1] == ":" else " " + what}')
        self.taken.add(line.number)


def doubt_replaced(configuration: Configuration) -> None:
    """Treat a certificate as damaged if somebody enrolled or imported another after the text showed it."""
    for number, text, name in configuration.replaced:
        known = [item for item in configuration.stored if item.trustpoint == name and item.role != "ca"]
        if known and all(item.line < number for item in known):
            what = f'line {number} "{text}" may replace its certificate, and the new one is not shown'
            configuration.damaged[name] = f"{what}: add the output of {SHOWS_IT} to the same file"
            configuration.damaged_roles |= {(name, "leaf"), (name, "self-signed")}


SHOWS_IT = (
    "`show crypto pki certificates verbose` (IOS) or `crypto ca export NAME identity-certificate` (ASA)"
)
