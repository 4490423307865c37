"""Read captures independently of certhash: with stock tshark, nDPI, and scapy with its own TCP.

Each returns certificates (SHA-1, hex) with their frames. ``stock`` is tshark without our plugin, options and
parser; ``ndpi`` finds the first certificate of each flow, without the frame; ``separate`` parses packets with
scapy, and assembles TCP, TLS and DTLS by sorting the whole capture, unlike a dissector, which must decide as
packets arrive.
"""

from __future__ import annotations

import hashlib
import re
import struct
import subprocess
import tempfile
from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.conftest import need, stock_tshark

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

HANDSHAKE, CHANGE_CIPHER_SPEC = 22, 20
CERTIFICATE = 11
LARGEST_MESSAGE = 1 << 18


class Finding(NamedTuple):
    """An unencrypted certificate."""

    frame: int
    """The frame that completes the Certificate message."""
    sha1: str
    """SHA-1 of the DER, hex, lower case."""


def sha1(der: bytes) -> str:
    """Return the SHA-1 of a certificate (DER), in hex."""
    return hashlib.sha1(der, usedforsecurity=False).hexdigest()


# ---------------------------------------------------------------------------------------- stock tshark


def shown(path: Path, tshark: Sequence[str]) -> list[tuple[int, bytes]]:
    """Return the certificates that a tshark prints, with the preferences that it needs to show them.

    Args:
        path: the capture.
        tshark: the start of its command line.

    Returns:
        The number of the frame that completes the message, and the DER.
    """
    fields = ("frame.number", "tls.handshake.certificate", "dtls.handshake.certificate")
    command = [*tshark, "-r", str(path), "-T", "fields", "-d", "tcp.port==3804,tls"]
    for preference in ("tcp.reassemble_out_of_order", "tcp.try_heuristic_first", "udp.try_heuristic_first"):
        command += ["-o", f"{preference}:TRUE"]
    # Otherwise it stops the dissection of frames with many certificates.
    for protocol in ("x509sat", "x509ce", "pkix1explicit", "pkix1implicit"):
        command += ["--disable-protocol", protocol]
    command += ["-Y", " || ".join(fields[1:]), *(word for field in fields for word in ("-e", field))]
    with tempfile.TemporaryDirectory() as home:
        environment = {
            "HOME": home,
            "PATH": "/usr/bin:/bin",
            "WIRESHARK_PLUGIN_DIR": home,
            "LC_ALL": "C.UTF-8",
        }
        ended = subprocess.run(command, capture_output=True, check=False, timeout=120, env=environment)
    found = []
    for line in ended.stdout.decode().splitlines():
        number, *cells = line.split("\t")
        hexes = [text for cell in cells for text in cell.split(",") if text and text != "<MISSING>"]
        found += [(int(number), bytes.fromhex(text)) for text in hexes]
    return found


def stock(path: Path, tshark: str | None = None) -> list[Finding]:
    """Hash the certificates that a tshark prints; without a path, this machine's."""
    command = stock_tshark() if tshark is None else [tshark, "-n"]
    return [Finding(frame, sha1(der)) for frame, der in shown(path, command)]


# ------------------------------------------------------------------------------------------------ nDPI


def ndpi(path: Path) -> list[str]:
    """Return nDPI's SHA-1 of the first certificate of every flow."""
    command = [need("ndpiReader"), "-v", "2", "-i", str(path)]
    ended = subprocess.run(command, capture_output=True, check=False, timeout=120)
    text = ended.stdout.decode("utf-8", "replace")
    return [m.replace(":", "").lower() for m in re.findall(r"SHA-1: ([0-9A-F:]{59})\]", text)]


# ------------------------------------------------------ scapy, and a TCP and TLS of its own


class _Piece(NamedTuple):
    """Bytes of a stream, with their offset and frame."""

    at: int
    data: bytes
    frame: int


_Flow = tuple[str, str, int, int]


class _Direction:
    def __init__(self) -> None:
        self.start: int | None = None
        self.pieces: list[_Piece] = []


def separate(path: Path) -> list[Finding]:
    """Parse a capture with scapy; streams are assembled from the whole capture."""
    streams, datagrams = _flows(path)
    found = [f for connections in streams.values() for c in connections for f in _of_stream(c)]
    for flow in datagrams.values():
        found += _of_datagrams(flow)
    return sorted(found, key=lambda finding: finding.frame)  # a stable sort keeps the order within a message


def repeats(path: Path) -> dict[int, tuple[int, ...]]:
    """Return, for the frame of every UDP datagram, the earlier frames with its bytes in its direction."""
    _, datagrams = _flows(path)
    earlier: dict[int, tuple[int, ...]] = {}
    for flow in datagrams.values():
        brought: dict[bytes, list[int]] = defaultdict(list)
        for frame, data in flow:
            earlier[frame] = tuple(brought[data])
            brought[data].append(frame)
    return earlier


def _flows(path: Path) -> tuple[dict[_Flow, list[_Direction]], dict[_Flow, list[tuple[int, bytes]]]]:
    """Group the payloads of a capture by sender and receiver: streams of TCP, datagrams of UDP by frame."""
    streams: dict[_Flow, list[_Direction]] = defaultdict(list)
    datagrams: dict[_Flow, list[tuple[int, bytes]]] = defaultdict(list)
    for frame, packet in _packets(path):
        _sort_in(frame, packet, streams, datagrams)
    return streams, datagrams


def _packets(path: Path) -> Iterator[tuple[int, Any]]:
    """Yield the packets of a capture; IP fragments are reassembled at the last of them."""
    import scapy.contrib.mpls
    import scapy.layers.ppp
    from scapy.error import Scapy_Exception
    from scapy.layers.inet import IP
    from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment
    from scapy.utils import PcapReader

    del scapy  # imported because they register layers
    fragments: dict[tuple[Any, ...], list[tuple[int, bool, bytes]]] = defaultdict(list)
    try:
        reader = PcapReader(str(path))
    except (Scapy_Exception, EOFError):
        return
    with reader:
        for frame, packet in enumerate(map(_with_network_layer, _until_damage(reader)), 1):
            whole = packet
            if IPv6ExtHdrFragment in packet:
                part = packet[IPv6ExtHdrFragment]
                key: tuple[Any, ...] = (packet[IPv6].src, packet[IPv6].dst, part.id)
                parts = fragments[key]
                parts.append((part.offset * 8, bool(part.m), bytes(part.payload)))
                if (body := _joined(parts)) is not None:
                    del fragments[key]
                    whole = IPv6(src=packet[IPv6].src, dst=packet[IPv6].dst, nh=part.nh) / body
                    whole = IPv6(bytes(whole))
            elif IP in packet and (_innermost(packet, IP).flags.MF or _innermost(packet, IP).frag):
                head = _innermost(packet, IP)
                key = (head.src, head.dst, head.id, head.proto)
                parts = fragments[key]
                size = (head.len or 0) - 4 * (head.ihl or 5)
                parts.append((head.frag * 8, bool(head.flags.MF), bytes(head.payload)[:size]))
                if (body := _joined(parts)) is not None:
                    del fragments[key]
                    whole = IP(bytes(IP(src=head.src, dst=head.dst, proto=head.proto) / body))
            yield frame, whole


def _with_network_layer(packet: Any) -> Any:
    """Return the IP packet from link layers whose content scapy does not parse."""
    from scapy.layers.inet import IP
    from scapy.layers.inet6 import IPv6
    from scapy.layers.l2 import CookedLinuxV2, Loopback

    header = 20 if isinstance(packet, CookedLinuxV2) else 4 if isinstance(packet, Loopback) else 0
    body = bytes(packet)[header:] if header else b""
    if not body or IP in packet or IPv6 in packet:
        return packet
    return IP(body) if body[0] >> 4 == 4 else IPv6(body)  # the version of the Internet Protocol


def _until_damage(reader: Iterable[Any]) -> Iterator[Any]:
    from scapy.error import Scapy_Exception

    try:
        yield from reader
    except (EOFError, Scapy_Exception, struct.error):
        return  # the capture ends here, for every reader


def _innermost(packet: Any, kind: Any) -> Any:
    count = 1
    while packet.getlayer(kind, count + 1) is not None:
        count += 1
    return packet.getlayer(kind, count)


def _joined(parts: list[tuple[int, bool, bytes]]) -> bytes | None:
    """Return the datagram once all fragments have arrived."""
    body = b""
    for offset, more, data in sorted(parts):
        if offset > len(body):
            return None
        body += data[len(body) - offset :]
        if not more:
            return body
    return None


def _sort_in(
    frame: int,
    packet: Any,
    streams: dict[_Flow, list[_Direction]],
    datagrams: dict[_Flow, list[tuple[int, bytes]]],
) -> None:
    from scapy.layers.inet import IP, TCP, UDP
    from scapy.layers.inet6 import IPv6

    if TCP in packet:
        tcp = _innermost(packet, TCP)
        flow = (*_addresses(tcp, IP, IPv6), tcp.sport, tcp.dport)
        data = _payload(tcp)
        syn = bool(tcp.flags.S)
        connections = streams[flow]
        if not connections or (syn and connections[-1].start not in (None, tcp.seq + 1)):
            connections.append(_Direction())
        now = connections[-1]
        if syn:
            now.start = tcp.seq + 1
        if data:
            now.pieces.append(_Piece(tcp.seq + syn, data, frame))
    elif UDP in packet:
        udp = _innermost(packet, UDP)
        data = bytes(udp.payload)[: max((udp.len or 8) - 8, 0)]
        datagrams[(*_addresses(udp, IP, IPv6), udp.sport, udp.dport)].append((frame, data))


def _addresses(transport: Any, *kinds: Any) -> tuple[str, str]:
    below = transport.underlayer
    while below is not None and not isinstance(below, kinds):
        below = below.underlayer
    return ("", "") if below is None else (below.src, below.dst)


def _payload(tcp: Any) -> bytes:
    """Return the data of a segment, without the padding of the Ethernet frame."""
    from scapy.layers.inet import IP
    from scapy.layers.inet6 import IPv6
    from scapy.packet import Padding

    data = bytes(tcp.payload)
    padding = tcp.payload.getlayer(Padding) if tcp.payload else None
    below = tcp.underlayer
    while below is not None and not isinstance(below, (IP, IPv6)):
        below = below.underlayer
    if isinstance(below, IP) and below.len:
        return data[: max(below.len - 4 * below.ihl - 4 * tcp.dataofs, 0)]
    return data[: len(data) - len(padding.load)] if padding is not None else data


class _Stream(NamedTuple):
    """The bytes of a direction up to the first gap, and the frame that completes each of them."""

    data: bytes
    frames: list[tuple[int, int]]
    """(end, frame): the end of the bytes that are complete with this frame."""

    def frame(self, end: int) -> int:
        """Return the frame with which the bytes up to `end` are complete."""
        return max(frame for start, frame in self.frames if start < end)


def _of_stream(direction: _Direction) -> list[Finding]:
    pieces = direction.pieces
    if not pieces:
        return []
    start = direction.start if direction.start is not None else pieces[0].at
    placed = sorted(
        (_Piece((p.at - start + (1 << 31)) % (1 << 32) - (1 << 31), p.data, p.frame) for p in pieces),
        key=lambda piece: (piece.at, piece.frame),
    )
    data = bytearray()
    frames: list[tuple[int, int]] = []
    for piece in placed:
        # The first data wins: a retransmission with other data changes nothing.
        if piece.at > len(data):
            break
        fresh = piece.data[len(data) - piece.at :]
        if fresh:
            frames.append((len(data), piece.frame))
            data += fresh
    return list(_certificates(_Stream(bytes(data), frames)))


def _certificates(stream: _Stream) -> Iterator[Finding]:
    """Find TLS in a stream, at its start or after an upgrade, and the certificates in it."""
    start = re.search(rb"\x16\x03[\x00-\x04][\x00-\x48].[\x01\x02\x0b]\x00", stream.data, re.DOTALL)
    at = start.start() if start else len(stream.data)
    messages = bytearray()
    ends: list[tuple[int, int]] = []  # number of message bytes, and where they end in the stream
    while at + 5 <= len(stream.data):
        kind, version, size = struct.unpack_from(">BHH", stream.data, at)
        if version >> 8 != 3 or kind not in range(20, 25) or kind == CHANGE_CIPHER_SPEC:
            break  # the rest is encrypted, or not TLS
        body = stream.data[at + 5 : at + 5 + size]
        if len(body) < size:
            break
        at += 5 + size
        if kind == HANDSHAKE:
            messages += body
            ends.append((len(messages), at))
    at = 0
    while at + 4 <= len(messages):
        size = int.from_bytes(messages[at + 1 : at + 4], "big")
        if size > LARGEST_MESSAGE or at + 4 + size > len(messages):
            return
        if messages[at] == CERTIFICATE:
            end = next(where for count, where in ends if count >= at + 4 + size)
            frame = stream.frame(end)
            yield from (Finding(frame, sha1(der)) for der in _list(bytes(messages[at + 4 : at + 4 + size])))
        at += 4 + size


def _list(body: bytes) -> Iterator[bytes]:
    """Yield the certificates of a Certificate message (RFC 5246, 7.4.2)."""
    at = 3
    while at + 3 <= len(body):
        size = int.from_bytes(body[at : at + 3], "big")
        if at + 3 + size > len(body):
            return
        yield body[at + 3 : at + 3 + size]
        at += 3 + size


def _of_datagrams(datagrams: list[tuple[int, bytes]]) -> Iterator[Finding]:
    """Reassemble the fragments of DTLS Certificate messages (RFC 6347, 4.2.3) by message number."""
    parts: dict[tuple[int, int], dict[int, bytes]] = defaultdict(dict)
    done: set[tuple[int, int]] = set()
    for frame, data in datagrams:
        at = 0
        while at + 13 <= len(data):
            kind, version, epoch = struct.unpack_from(">BHH", data, at)
            size = int.from_bytes(data[at + 11 : at + 13], "big")
            if version not in (0xFEFF, 0xFEFD, 0x0100) or kind not in range(20, 26):
                break
            body = data[at + 13 : at + 13 + size]
            at += 13 + size
            if kind == HANDSHAKE and epoch == 0:
                yield from _dtls_messages(frame, body, parts, done)


def _dtls_messages(
    frame: int, body: bytes, parts: dict[tuple[int, int], dict[int, bytes]], done: set[tuple[int, int]]
) -> Iterator[Finding]:
    at = 0
    while at + 12 <= len(body):
        whole, number = (
            int.from_bytes(body[at + 1 : at + 4], "big"),
            int.from_bytes(body[at + 4 : at + 6], "big"),
        )
        offset, size = (int.from_bytes(body[at + n : at + n + 3], "big") for n in (6, 9))
        if body[at] == CERTIFICATE and (number, whole) not in done:
            held = parts[number, whole]
            held[offset] = body[at + 12 : at + 12 + size]
            message = b""
            for place in sorted(held):
                if place <= len(message):
                    message += held[place][len(message) - place :]
            if len(message) == whole:
                done.add((number, whole))
                yield from (Finding(frame, sha1(der)) for der in _list(message))
        at += 12 + size
