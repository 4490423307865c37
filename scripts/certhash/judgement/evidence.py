"""Index the evidence of an audit: handshakes by head-end, devices by address, servers by hash.

Nothing here decides a verdict.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import defaultdict
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from certhash.digest import digest_by
from certhash.headend import HeadEnd, parse_url, plain_name, read_address

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from certhash.model import (
        CnfFile,
        Endpoint,
        Fetch,
        Handshake,
        KnownCertificate,
        Observation,
        ServedAt,
        Sources,
        Unsettled,
    )

DTLS_PORT = 443
"""Phones use UDP 443 for DTLS, regardless of the port in the URL (README-cisco-svc of ocserv)."""

CERTIFICATE_ALERTS = frozenset({42, 43, 44, 45, 46, 48})
"""Fatal alerts with which a client rejects a certificate (RFC 8446, section 6.2). TAC 116638 names 42 for a
hash that differs, CSCvn76864 shows 48 for some firmware; other alerts from phones are not documented."""


class Presented:
    """A certificate (DER) with its digests, computed once for all handshakes.

    If a configuration shows only the fingerprint, the DER is empty and the raw SHA-1 is given.
    """

    def __init__(self, der: bytes, sha1: bytes | None = None) -> None:
        self.der = der
        self._digests: dict[str, bytes] = {"SHA-1": sha1} if sha1 is not None else {}

    def digest(self, algorithm: str) -> bytes:
        """Return the raw digest; `algorithm` is ``SHA-1``, ``SHA-256`` or ``SHA-512``.

        Empty if it cannot be computed, because the DER is unknown.
        """
        found = self._digests.get(algorithm)
        if found is None and not self.der:
            return b""
        if found is None:
            found = digest_by(algorithm, self.der)
            self._digests[algorithm] = found
        return found

    @cached_property
    def sha1(self) -> bytes:
        """Return the raw SHA-1, which a phone compares."""
        return self.digest("SHA-1")


class Seen:
    """One handshake of one capture."""

    def __init__(
        self, id_: str, capture: str, handshake: Handshake, store: Mapping[bytes, Presented], not_before: int
    ) -> None:
        self.id = id_
        self.capture = capture
        self.handshake = handshake
        self.not_before = not_before
        """The earliest possible time in microseconds, if the packets are in the order of arrival. It is later
        than the time of the handshake if a clock was set back."""
        self.chain = tuple(store[c.sha256] for c in handshake.certificates if c.sender == "server")
        """The server's certificates, as presented."""
        self.rejection = next(
            (
                a
                for a in handshake.alerts
                if a.sender == "client" and a.level == "fatal" and a.code in CERTIFICATE_ALERTS
            ),
            None,
        )
        """The client's fatal alert about the certificate, if it sent one."""

    @property
    def order(self) -> tuple[int, str, int]:
        """Return the sort key by time; capture and frame make the order stable."""
        return self.handshake.time, self.capture, self.handshake.frame

    @property
    def order_of_packets(self) -> tuple[int, str, int]:
        """Return the sort key by position in the capture, regardless of its clock."""
        return self.not_before, self.capture, self.handshake.frame


class Configured(NamedTuple):
    """A certificate that a head-end presents according to a line of its configuration."""

    known: KnownCertificate
    presented: Presented
    place: ServedAt


class _Downloaded(NamedTuple):
    """A download of a device's cnf file."""

    time: int
    client: str
    head_ends: tuple[HeadEnd, ...] | None
    """Those that the file names; None if it is encrypted."""


class Evidence:
    """All handshakes, oldest first, with indexes for the queries of the judgement.

    Args:
        observations: of all captures.
        sources: cnf files, with the addresses that devices fetched them from, and configurations.
        resolve: names (lower case) to addresses, as the user states them.
    """

    def __init__(
        self,
        observations: Sequence[Observation],
        sources: Sources,
        resolve: Mapping[str, Iterable[str]] | None = None,
    ) -> None:
        self.has_captures = bool(observations)
        self.unsettled = sources.unsettled
        self._dtls_ports = {
            (read_address(each.address) or each.address, each.port, each.dtls_port)
            for each in sources.dtls_ports
        }
        self.certificates: dict[bytes, Presented] = {}
        self.seen: list[Seen] = []
        self.known: dict[bytes, list[KnownCertificate]] = defaultdict(list)
        """SHA-1 to the certificates that are known without a capture."""
        for certificate in sources.known:
            self.known[certificate.sha1].append(certificate)
        self._addresses: dict[str, set[str]] = defaultdict(set)
        self._by_address: dict[str, list[Seen]] = defaultdict(list)
        self._of_head_end: dict[HeadEnd, tuple[Seen, ...]] = {}
        self._downloads: dict[str, list[_Downloaded]] = defaultdict(list)
        """Of each device, oldest first."""
        self._fetchers: dict[str, set[str]] = defaultdict(set)
        """Of each address, the devices that ever fetched their file from there."""
        self._clients: dict[Seen, frozenset[str]] = {}
        self._take(observations, resolve or {})
        self._take_fetches(sources.cnf_files)

    def _take(self, observations: Iterable[Observation], resolve: Mapping[str, Iterable[str]]) -> None:
        for name, addresses in resolve.items():
            self._addresses[name].update(read_address(a) or a for a in addresses)
        for observation in observations:
            for sha256, der in observation.certificates.items():
                self.certificates.setdefault(sha256, Presented(der))
            for answer in observation.answers:
                self._addresses[answer.name].add(read_address(answer.address) or answer.address)
            taken: set[str] = set()
            not_before = 0
            for handshake in sorted(observation.handshakes, key=lambda h: h.frame):
                not_before = max(not_before, handshake.time)
                id_ = f"{observation.path}:{handshake.frame}"
                while id_ in taken:
                    id_ += "+"
                taken.add(id_)
                self.seen.append(Seen(id_, observation.path, handshake, self.certificates, not_before))
        self.seen.sort(key=lambda s: s.order)
        for seen in self.seen:
            self._by_address[_address(seen.handshake.server)].append(seen)
            asked_for = _name(seen)
            if asked_for is not None:
                self._addresses[asked_for].add(_address(seen.handshake.server))

    def _take_fetches(self, cnf_files: Iterable[CnfFile]) -> None:
        for cnf in cnf_files:
            if cnf.fetch:
                downloaded = _Downloaded(cnf.fetch.time, cnf.fetch.client, _head_ends(cnf))
                self._downloads[cnf.device].append(downloaded)
                self._fetchers[cnf.fetch.client].add(cnf.device)
        for several in self._downloads.values():
            several.sort(key=lambda each: each.time)

    def with_head_end(self, head_end: HeadEnd) -> tuple[Seen, ...]:
        """Return the handshakes with a head-end, oldest first.

        A name is resolved with SNI, DNS answers in the captures and the addresses that the user stated; never
        with a live query. A handshake with another SNI at the same address belongs to another head-end.
        """
        found = self._of_head_end.get(head_end)
        if found is None:
            found = tuple(self._find(head_end))
            self._of_head_end[head_end] = found
        return found

    def _find(self, head_end: HeadEnd) -> list[Seen]:
        found = [
            seen
            for address in self.addresses_of(head_end)
            for seen in self._by_address.get(address, ())
            if self._fits(seen, head_end)
        ]
        return sorted(found, key=lambda s: s.order)

    def _fits(self, seen: Seen, head_end: HeadEnd) -> bool:
        """Return whether a handshake at the address of a head-end is with this head-end."""
        by_name = head_end.is_address or _name(seen) in (None, head_end.host)
        return by_name and self._port_fits(seen.handshake, head_end)

    def _port_fits(self, handshake: Handshake, head_end: HeadEnd) -> bool:
        """Return whether a handshake is at the port of a URL, or over UDP at the head-end's port for DTLS."""
        port = handshake.server.port
        if port == head_end.port:
            return True
        moved = (_address(handshake.server), head_end.port, port) in self._dtls_ports
        return handshake.transport == "udp" and (port == DTLS_PORT or moved)

    def addresses_of(self, head_end: HeadEnd) -> frozenset[str]:
        """Return the known addresses of a head-end."""
        return frozenset({head_end.host} if head_end.is_address else self._addresses.get(head_end.host, ()))

    def configured(self, head_end: HeadEnd) -> tuple[Configured, ...]:
        """Return the certificates that a head-end presents by its configurations, each with its line."""
        return tuple(
            Configured(known, Presented(known.der or b"", known.sha1), place)
            for several in self.known.values()
            for known in several
            if (place := next((each for each in known.served_at if self._is_at(each, head_end)), None))
        )

    def unsettled_at(self, head_end: HeadEnd) -> tuple[Unsettled, ...]:
        """Return the lines of configurations that do not determine what this head-end presents."""
        return tuple(line for line in self.unsettled if any(self._is_at(each, head_end) for each in line.at))

    def at_other_ports(self, head_end: HeadEnd) -> tuple[tuple[KnownCertificate, ServedAt], ...]:
        """Return the certificates that configurations assign to other ports of the head-end's address."""
        return tuple(
            (known, place)
            for several in self.known.values()
            for known in several
            for place in known.served_at
            if place.port != head_end.port and self._is_at(replace(place, port=head_end.port), head_end)
        )

    def not_configured(self, head_end: HeadEnd) -> tuple[str, ...]:
        """Return the addresses of a name that no configuration covers."""
        places = [each.place for each in self.configured(head_end)]
        if any(place.address is None for place in places):
            return ()
        known = {read_address(place.address or "") or place.address for place in places}
        return tuple(sorted(self.addresses_of(head_end) - known))

    def _is_at(self, place: ServedAt, head_end: HeadEnd) -> bool:
        """Return whether a place in a configuration is this head-end.

        A certificate for one name does not apply to a URL with an address: such a client sends no SNI (RFC
        6066, section 3).
        """
        if place.port != head_end.port or (place.name is not None and not _name_fits(place.name, head_end)):
            return False
        addresses = self.addresses_of(head_end)
        if place.stated and (place.address is None or not addresses):
            return True
        return place.address is not None and (read_address(place.address) or place.address) in addresses

    def device_of(self, seen: Seen) -> str | None:
        """Return the device that is the client of a handshake; None if it is unknown, or one of several."""
        devices = self.devices_of(seen)
        return next(iter(devices)) if len(devices) == 1 else None

    def devices_of(self, seen: Seen) -> frozenset[str]:
        """Return the devices one of which is the client of a handshake; empty if nothing tells.

        Each fetched its cnf file from the client's address, and from no other address since. Several phones
        share an address behind NAT, or one after the other. A phone whose file names only other head-ends is
        not the client.
        """
        found = self._clients.get(seen)
        if found is None:
            fetchers = self._fetchers.get(seen.handshake.client.address, ())
            found = frozenset(device for device in fetchers if self._may_be(device, seen))
            self._clients[seen] = found
        return found

    def _may_be(self, device: str, seen: Seen) -> bool:
        downloads = self._downloads[device]
        position = bisect_right(downloads, seen.handshake.time, key=lambda each: each.time)
        if not position or downloads[position - 1].client != seen.handshake.client.address:
            return False
        head_ends = downloads[position - 1].head_ends
        server = _address(seen.handshake.server)
        return head_ends is None or any(
            server in self.addresses_of(each) and self._fits(seen, each) for each in head_ends
        )

    @cached_property
    def presenters(self) -> dict[bytes, list[Seen]]:
        """Map the SHA-1 of each server certificate to the handshakes that presented it, oldest first."""
        found: dict[bytes, list[Seen]] = defaultdict(list)
        for seen in self.seen:
            for certificate in dict.fromkeys(seen.chain):
                found[certificate.sha1].append(seen)
        return found


def _name_fits(name: str, head_end: HeadEnd) -> bool:
    """Return whether a name of a configuration, possibly ``*.example.com``, covers the host of a URL."""
    if head_end.is_address:
        return False
    name = plain_name(name)
    pattern = ".*".join(map(re.escape, name.split("*")))
    return re.fullmatch(pattern, head_end.host) is not None


def as_without_a_name(handshakes: Sequence[Seen]) -> Sequence[Seen]:
    """Return the handshakes with one head-end that are relevant to a phone that sends no SNI.

    A phone whose URL has an address sends no SNI (RFC 6066, section 3). An ASA with ``ssl trust-point NAME
    domain`` then presents another certificate than to a client that asks for that domain. A head-end is known
    to choose by name if, in the same period, it presented a certificate with SNI that it did not present
    without SNI. A renewal does not look like this: the old certificate is never presented after the new one.
    """
    return [seen for seen in handshakes if _name(seen) is None] if chooses_by_name(handshakes) else handshakes


def of_kind(handshakes: Sequence[Seen], other: Seen) -> tuple[list[Seen], list[Seen]]:
    """Split handshakes into those that have or lack SNI, as `other` does, and the rest."""
    alike = [seen for seen in handshakes if (_name(seen) is None) == (_name(other) is None)]
    return alike, [seen for seen in handshakes if seen not in alike]


def chooses_by_name(handshakes: Sequence[Seen]) -> bool:
    """Return whether a head-end chooses its certificate by the name that a client asks for."""
    spans: dict[bool, dict[Presented, tuple[int, int]]] = {False: {}, True: {}}
    for seen in handshakes:
        if seen.chain:
            time, of_kind = seen.handshake.time, spans[_name(seen) is not None]
            first, _ = of_kind.get(seen.chain[0], (time, time))
            of_kind[seen.chain[0]] = first, time
    return any(
        named[0] < nameless[1] and nameless[0] < named[1]
        for certificate, named in spans[True].items()
        if certificate not in spans[False]
        for nameless in spans[False].values()
    )


def _head_ends(cnf: CnfFile) -> tuple[HeadEnd, ...] | None:
    if cnf.kind == "encrypted":
        return None
    found = []
    for url in cnf.group.urls if cnf.group else ():
        try:
            found.append(parse_url(url.value))
        except ValueError:
            continue  # the result says that it cannot be used
    return tuple(found)


def is_before(fetch: Fetch | None, seen: Seen) -> bool:
    """Return whether a handshake is older than the file, so that the phone still used an older file."""
    return fetch is not None and seen.handshake.time < fetch.time


def _address(endpoint: Endpoint) -> str:
    return read_address(endpoint.address) or endpoint.address


def _name(seen: Seen) -> str | None:
    name = seen.handshake.server_name
    return plain_name(name) if name else None
