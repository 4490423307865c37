"""Find ways to make tshark show a certificate that a first reading of a capture did not show.

Each way is tried on the connections in question, and its results are used; no untested way is ever advised.
If no way helps, :func:`words` says which protocol contains the certificate.
"""

from __future__ import annotations

import re
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from certhash.capture.tshark import AGGREGATOR, SEPARATOR
from certhash.model import Endpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from certhash.capture.first_pass.carve import Ends
    from certhash.capture.first_pass.traces import Trace
    from certhash.model import Handshake, Observation

EXPLAINED = ("packets-missing", "snaplen", "too-long")
"""Reasons why tshark does not show a certificate although its start is in the capture."""
_UNCERTAIN = ("packets-missing", "incomplete")
_CERTAIN = ("resumed", "tls-1.3", "no-certificate")
"""Reasons that follow from what a ServerHello says, whatever else is missing."""
_LARGEST_MESSAGE = 1 << 16
"""Bytes. tshark treats a message of this length or more as encrypted."""

FIELDS = (
    "frame.number", "frame.protocols", "ip.src", "ip.dst", "ipv6.src", "ipv6.dst",
    "tcp.srcport", "tcp.dstport", "udp.srcport", "udp.dstport", "sctp.srcport", "sctp.dstport", "tcp.len",
)  # fmt: skip
"""The fields that locate a packet."""
_PORTS = {"tcp": 6, "udp": 8, "sctp": 10}
_NAME = re.compile(r"[a-z][a-z0-9_.-]*")


class Place(NamedTuple):
    """The location of a frame by tshark: its innermost transport, the two ends, and all its protocols."""

    transport: str
    sender: Endpoint
    receiver: Endpoint
    protocols: tuple[str, ...]

    @property
    def ends(self) -> frozenset[Endpoint]:
        """Return the two ends of its connection."""
        return frozenset((self.sender, self.receiver))


class Places:
    """Collects the locations of frames from the output of tshark.

    Args:
        frame_of: maps the number of a packet in tshark's input to its number in the capture, or 0.
        traces: the traces to locate.
    """

    def __init__(self, frame_of: Callable[[int], int], traces: Iterable[Trace]) -> None:
        self._frame_of = frame_of
        self._wanted = {trace.frame for trace in traces}
        self._above: dict[frozenset[Endpoint], dict[str, None]] = {}
        self._sent: dict[tuple[Endpoint, Endpoint], int] = {}
        self._sent_before: dict[int, int] = {}
        self.of: dict[int, Place] = {}
        """By frame."""

    def take(self, line: str) -> None:
        """Process a line of tshark's output with :data:`FIELDS`."""
        cells = line.split(SEPARATOR)
        if len(cells) != len(FIELDS):
            return
        protocols = tuple(cells[1].split(":"))
        transport = next((name for name in reversed(protocols) if name in _PORTS), "")
        ports = cells[_PORTS[transport] :][:2] if transport else ("", "")
        hosts = cells[4:6] if cells[4] and not cells[2] else cells[2:4]
        sender, receiver = (
            Endpoint(host.split(AGGREGATOR)[-1], int(last) if (last := port.split(AGGREGATOR)[-1]) else None)
            for host, port in zip(hosts, ports, strict=True)
        )
        place = Place(transport, sender, receiver, protocols)
        above = self._above.setdefault(place.ends, {})
        above |= dict.fromkeys(place.protocols[_above(place) :])
        way = (sender, receiver)
        before = self._sent.get(way, 0)
        self._sent[way] = before + int(cells[-1].split(AGGREGATOR)[-1] or 0)
        if (frame := self._frame_of(int(cells[0]))) in self._wanted:
            self.of[frame] = place
            self._sent_before[frame] = before

    def is_cut(self, trace: Trace, *, in_any_order: bool = False) -> bool:
        """Return whether a TCP connection has too few bytes for a whole message, in its sender's direction.

        Args:
            trace: the location of the message.
            in_any_order: the end of the message may be captured before its beginning, so all bytes count, and
                not only those from the trace on.
        """
        place = self.of.get(trace.frame)
        if place is None or place.transport != "tcp":
            return False
        before = 0 if in_any_order else self._sent_before[trace.frame]
        return self._sent[place.sender, place.receiver] - before < trace.message

    def above(self, place: Place) -> list[str]:
        """Return all protocols that tshark found above the transport of a connection."""
        return [name for name in self._above[place.ends] if _NAME.fullmatch(name)]


def _above(place: Place) -> int:
    """Return the index of the first protocol above the innermost transport."""
    names = place.protocols
    return len(names) - names[::-1].index(place.transport) if place.transport else len(names)


class Way(NamedTuple):
    """A way to dissect some packets."""

    arguments: tuple[str, ...]
    """Additional arguments for tshark."""
    words: str
    """What a user does to get the same result in tshark or Wireshark."""
    mend: bool = False
    """The first pass removes oddities of TCP (see ``first_pass.mending``)."""


MENDED = Way((), "only without second SYN-ACKs, and without padding that counts as data", mend=True)
STOCK = Way(
    ("-o", "tcp.reassemble_out_of_order:FALSE"), "only if it does not reassemble out-of-order segments"
)
_NOT_FIRST = Way(
    (*STOCK.arguments, "-o", "tcp.try_heuristic_first:FALSE", "-o", "udp.try_heuristic_first:FALSE"),
    "only with Wireshark's default preferences",
)
_HARMLESS = (
    "tls",
    "dtls",
    "data",
    "x509af",
    "x509sat",
    "x509ce",
    "pkix1explicit",
    "pkix1implicit",
    "certhash",
)
_OF_TLS = {*_HARMLESS, "x509if", "pkcs-1"} - {"data"}
_OVER = {"tcp": ("tls", "tds"), "udp": ("dtls", "vxlan", "openvpn", "geneve"), "sctp": ("tls",)}
"""Protocols that may use a port that tshark assigns to another protocol, or to none."""
_MOST_PORTS = 8


def ways(places: Sequence[tuple[Place, Sequence[str]]]) -> Iterator[Way]:
    """Yield ways to dissect packets that contain certificates, the most likely first.

    Args:
        places: their locations, each with the protocols that tshark found on its connection.
    """
    if any(place.transport == "tcp" for place, _ in places):
        yield STOCK
    places = [(place, names) for place, names in places if not _is_all_tls(names)]
    transports = {place.transport for place, _ in places}
    if transports & {"tcp", "udp"}:
        yield _NOT_FIRST
    in_the_way = dict.fromkeys(name for _, names in places for name in names if name not in _HARMLESS)
    if in_the_way:
        yield Way(
            tuple(word for name in in_the_way for word in ("--disable-protocol", name)),
            "only with " + " ".join(f"--disable-protocol {name}" for name in in_the_way),
        )
    if "capwap" in {name for place, _ in places for name in place.protocols}:
        for swap in ("TRUE", "FALSE"):
            yield Way(("-o", f"capwap.swap_fc:{swap}"), f"only with -o capwap.swap_fc:{swap}")
    ports = dict.fromkeys(
        (place.transport, port)
        for place, _ in places
        for port in sorted((place.sender.port or 0, place.receiver.port or 0))
        if place.transport
    )
    for protocol in dict.fromkeys(
        name for transport in sorted(transports & {*_OVER}) for name in _OVER[transport]
    ):
        rules = [
            f"{transport}.port=={port},{protocol}"
            for transport, port in list(ports)[:_MOST_PORTS]
            if protocol in _OVER[transport]
        ]
        if rules:
            yield Way(
                tuple(word for rule in rules for word in ("-d", rule)),
                "only with " + " ".join(f"--decode-as {rule}" for rule in rules),
            )


def _is_all_tls(names: Sequence[str]) -> bool:
    """Return whether a connection is nothing but TLS for tshark: as something else it shows no more."""
    return not {"tls", "dtls"}.isdisjoint(names) and _OF_TLS.issuperset(names)


class Merged(NamedTuple):
    """The merged results of two readings of a capture."""

    observation: Observation
    taken: tuple[Handshake, ...]
    """The handshakes from the second reading."""


def merged(
    seen: Observation, again: Observation, asked: Ends, missing: Iterable[Trace], *, as_tls: bool
) -> Merged:
    """Add the connections of which only a second reading shows certificates, or why there are none.

    Args:
        seen: the first reading.
        again: the second one.
        asked: the connections in question.
        missing: other certificates in the capture: connections in tunnels are unknown before they are
            dissected.
        as_tls: tshark recognised TLS by itself in the second reading, so handshakes without certificates are
            handshakes, too.
    """
    starts = tuple(trace.beginning for trace in missing)
    mine, theirs = _by_connection(seen.handshakes), _by_connection(again.handshakes)
    dropped: set[int] = set()
    taken: list[Handshake] = []
    for connection, handshakes in theirs.items():
        before = mine.get(connection, [])
        new = _certificates(handshakes) - _certificates(before)
        wanted = connection[1] in asked or any(again.certificates[one].startswith(starts) for one in new)
        if not wanted or not (new or (as_tls and _explains(handshakes, before))):
            continue
        whole = _certificates(before) <= _certificates(handshakes)
        chosen = [each for each in handshakes if whole or new & _certificates([each])]
        frames = {each.frame for each in chosen}
        dropped |= {id(each) for each in before if whole or each.frame in frames}
        taken += chosen
    kept = [each for each in seen.handshakes if id(each) not in dropped]
    shown = {one: again.certificates[one] for one in _certificates(taken)}
    return Merged(
        replace(
            seen,
            handshakes=tuple(sorted((*kept, *taken), key=attrgetter("frame"))),
            certificates=dict(sorted((seen.certificates | shown).items())),
        ),
        tuple(taken),
    )


def _explains(handshakes: Sequence[Handshake], before: Sequence[Handshake]) -> bool:
    """Return whether a second reading of a connection says what the first one leaves open."""
    if not before:
        return True
    alerts = {alert.frame for each in handshakes for alert in each.alerts}
    return (
        all(each.hidden in _UNCERTAIN for each in before)
        and all(each.hidden in _CERTAIN for each in handshakes)
        and len(handshakes) >= len(before)
        and all(alert.frame in alerts for each in before for alert in each.alerts)
    )


def note(handshake: Handshake, way: Way) -> str:
    """Return one line that says how a handshake from a second reading was found."""
    if not handshake.certificates:
        return f"frame {handshake.frame}: tshark shows this handshake {way.words}"
    return f"frame {handshake.certificates[0].frame}: tshark shows this certificate {way.words}"


def _by_connection(handshakes: Iterable[Handshake]) -> dict[tuple[str, frozenset[Endpoint]], list[Handshake]]:
    found: dict[tuple[str, frozenset[Endpoint]], list[Handshake]] = {}
    for each in handshakes:
        found.setdefault((each.transport, frozenset((each.client, each.server))), []).append(each)
    return found


def _certificates(handshakes: Iterable[Handshake]) -> set[bytes]:
    return {certificate.sha256 for each in handshakes for certificate in each.certificates}


def is_told(trace: Trace, place: Place | None, names: Iterable[str], handshakes: Iterable[Handshake]) -> bool:
    """Return whether a handshake of the same connection already says why the certificate is not shown.

    Args:
        trace: the location of the certificate.
        place: the location of its frame by tshark.
        names: the protocols that tshark found on the connection. For TLS over TCP, or DTLS over UDP, a
            missing certificate is in a message that does not end in the capture, whatever else the handshake
            lacks.
        handshakes: all handshakes that were seen.
    """
    ends = place.ends if place is not None and place.transport else trace.ends
    own = {"tcp": "tls", "udp": "dtls"}.get(place.transport) if place is not None else None
    is_tls = own is not None and own in names
    return bool(ends) and any(
        (handshake.hidden in EXPLAINED or (is_tls and handshake.hidden is not None))
        and ends == {handshake.client, handshake.server}
        for handshake in handshakes
    )


_KNOWN = {
    "turnchannel": "TURN",
    "stun": "TURN",
    "l2tp": "an L2TP tunnel",
    "capwap": "a CAPWAP tunnel",
    "capwap.data": "a CAPWAP tunnel",
    "gre": "a GRE tunnel",
    "gtp": "a GTP tunnel",
    "vxlan": "a VXLAN tunnel",
    "esp": "IPsec",
    "openvpn": "OpenVPN",
    "rdpudp": "RDP over UDP",
    "tds": "TDS",
    "sctp": "SCTP",
    "ssl2": "SSL 2",
}


def words(trace: Trace, place: Place | None, *, cut: bool = False) -> str:  # noqa: PLR0911 - a list of cases
    """Return one line that says what is not shown, and why: which protocol contains it, for example.

    Args:
        trace: the location of the certificate.
        place: the location of its frame by tshark.
        cut: the rest of its message is not in the capture.
    """
    sender = trace.sender or (place.sender if place is not None and place.transport else "")
    source = f" from {sender}" if sender else ""
    what = f"tshark does not show what looks like a certificate{source}, so it was not hashed"
    if not trace.message:
        return f"{what}: it is in a ServerHello of SSL 2"
    if trace.message >= _LARGEST_MESSAGE:
        size = f"{trace.message:,} bytes"
        return f"{what}: its message has {size}, and tshark treats messages of 64 KB or more as encrypted"
    if cut:
        return f"{what}: the capture does not have the whole message, which is {trace.message:,} bytes long"
    if place is None:
        return f"{what}: it is inside a protocol that tshark does not dissect"
    names = [name for name in place.protocols if name != "data"]
    if names[-1] in {"tls", "dtls"} and "rdpudp" not in names:
        return f"{what}: tshark recognises TLS, but does not show this message"
    if names[-1] in {"tcp", "udp"}:
        return f"{what}: tshark sees no TLS in this connection, and no setting that shows it was found"
    known = next((_KNOWN[name] for name in reversed(names) if name in _KNOWN), None)
    return f"{what}: it is inside {known or names[-1]}, and no setting that shows it was found"
