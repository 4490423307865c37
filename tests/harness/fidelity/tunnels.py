"""Put a frame into each tunnel: the headers around it follow the standard named at each place."""

from __future__ import annotations

import itertools
import struct
from typing import TYPE_CHECKING

from tests.harness.benchmarks.captures import (
    Endpoints,
    udp_frame,
)
from tests.harness.fidelity.generate import LINK_ETHERNET, LINK_RAW, in_ip, ipv6_of

if TYPE_CHECKING:
    from collections.abc import Callable


def _direction(frame: bytes) -> bool:
    return frame[:6] == bytes.fromhex("020000000001")


def _outer(frame: bytes, port: int, head: bytes, inner: bytes) -> bytes:
    """Encapsulate bytes in a UDP datagram between two tunnel ends."""
    ends = Endpoints(b"\x0a\xff\x00\x01", b"\x0a\xff\x00\x02", port, port)
    return udp_frame(ends, _direction(frame), head + inner)


def _gre(frame: bytes, flags: int, kind: int, more: bytes, inner: bytes) -> bytes:
    return in_ip(frame, 47, struct.pack(">HH", flags, kind) + more + inner)


def _pseudowire(frame: bytes, control_word: bytes = b"") -> bytes:
    """Encapsulate a frame in MPLS; tshark recognises Ethernet by MAC addresses of real manufacturers."""
    addresses = bytes.fromhex("00000c000002001b54000001")
    return frame[:12] + b"\x88\x47\x00\x01\x01\x40" + control_word + addresses + frame[12:]


_nonces = itertools.count(1)
TUNNELS: dict[str, tuple[int, Callable[[bytes], bytes]]] = {
    "vxlan": (LINK_ETHERNET, lambda f: _outer(f, 4789, b"\x08\0\0\0\0\0\x2a\0", f)),
    "geneve": (LINK_ETHERNET, lambda f: _outer(f, 6081, b"\x00\x00\x65\x58\0\0\x2a\0", f)),
    "geneve-options": (
        LINK_ETHERNET,
        lambda f: _outer(f, 6081, b"\x02\x00\x65\x58\0\0\x2a\0\1\2\3\1abcd", f),
    ),
    "gtp-u": (
        LINK_ETHERNET,
        lambda f: _outer(f, 2152, struct.pack(">BBHI", 0x30, 255, len(f) - 14, 7), f[14:]),
    ),
    "gtp-u-numbered": (
        LINK_ETHERNET,
        lambda f: _outer(f, 2152, struct.pack(">BBHIHBB", 0x32, 255, len(f) - 10, 7, 1, 0, 0), f[14:]),
    ),
    "gre-ethernet": (LINK_ETHERNET, lambda f: _gre(f, 0, 0x6558, b"", f)),
    "gre-keyed": (LINK_ETHERNET, lambda f: _gre(f, 0x3000, 0x0800, bytes(4) + b"\0\0\0\1", f[14:])),
    "erspan-2": (
        LINK_ETHERNET,
        lambda f: _gre(f, 0x1000, 0x88BE, b"\0\0\0\1" + b"\x10\x01\x00\x01\0\0\0\x05", f),
    ),
    "erspan-3": (
        LINK_ETHERNET,
        lambda f: _gre(f, 0x1000, 0x22EB, b"\0\0\0\1" + b"\x20\x01\x00\x01" + bytes(8), f),
    ),
    "mpls-ethernet": (LINK_ETHERNET, lambda f: _pseudowire(f, control_word=bytes(4))),
    "mpls-ethernet-bare": (LINK_ETHERNET, _pseudowire),
    "802.1ah": (LINK_ETHERNET, lambda f: f[:12] + b"\x88\xe7\x00\x00\x00\x05" + f),
    "l2tp": (
        LINK_ETHERNET,
        lambda f: _outer(
            f, 1701, struct.pack(">HHHH", 0x4002, len(f) - 14 + 12, 1, 1), b"\xff\x03\x00\x21" + f[14:]
        ),
    ),
    "teredo": (
        LINK_ETHERNET,
        lambda f: _outer(f, 3544, b"", ipv6_of(f)),
    ),
    "lisp": (
        LINK_ETHERNET,
        lambda f: _outer(f, 4341, struct.pack(">II", 0x8000_0000 + next(_nonces), 7), f[14:]),
    ),
    "6in4": (LINK_ETHERNET, lambda f: in_ip(f, 41, ipv6_of(f))),
    "ah": (
        LINK_ETHERNET,
        lambda f: in_ip(f, 51, b"\x04\x04\0\0\0\0\0\x01\0\0\0\x01" + bytes(12) + f[14:]),
    ),
    "llc-snap": (
        LINK_ETHERNET,
        lambda f: f[:12] + struct.pack(">H", len(f) - 14 + 8) + b"\xaa\xaa\x03\0\0\0\x08\x00" + f[14:],
    ),
    "ppp": (9, lambda f: b"\xff\x03\x00\x21" + f[14:]),
    "ppp-hdlc": (50, lambda f: b"\xff\x03\x00\x21" + f[14:]),
    "cisco-hdlc": (104, lambda f: b"\x0f\x00\x08\x00" + f[14:]),
    "frame-relay": (107, lambda f: b"\x18\x41\x03\xcc" + f[14:]),
    "802.11": (
        105,
        lambda f: b"".join(
            (
                b"\x08\x01\0\0" if _direction(f) else b"\x08\x02\0\0",
                f[:6],
                f[6:12],
                f[:6],
                b"\0\0",
                b"\xaa\xaa\x03\0\0\0\x08\x00",
                f[14:],
            )
        ),
    ),
    "802.11-radiotap": (
        127,
        lambda f: b"".join(
            (
                b"\0\0\x08\0\0\0\0\0",
                b"\x88\x01\0\0" if _direction(f) else b"\x88\x02\0\0",
                f[:6],
                f[6:12],
                f[:6],
                b"\0\0\0\0",
                b"\xaa\xaa\x03\0\0\0\x08\x00",
                f[14:],
            )
        ),
    ),
    "docsis-free-ethernet-fcs": (LINK_ETHERNET, lambda f: f + b"\xde\xad\xbe\xef"),
    "ipoib-raw-12": (12, lambda f: f[14:]),
    "raw-ipv4": (228, lambda f: f[14:]),
    "bsd-loop": (108, lambda f: b"\0\0\0\x02" + f[14:]),
    "enc": (109, lambda f: b"\x02\0\0\0" + bytes(8) + f[14:]),
    "pflog": (117, lambda f: b"\x3d\x02\0\0" + b"em0".ljust(16, b"\0") + bytes(41) + b"\0\0\0" + f[14:]),
    "nflog": (239, lambda f: b"\x02\0\0\0" + struct.pack("<HH", len(f) - 14 + 4, 9) + f[14:]),
    "ppi": (192, lambda f: b"\0\0\x08\0\x01\0\0\0" + f),
    "raw": (LINK_RAW, lambda f: f[14:]),
    "vlan-3": (LINK_ETHERNET, lambda f: f[:12] + b"\x88\xa8\0\1\x81\0\0\2\x81\0\0\3" + f[12:]),
    "cisco-metadata": (LINK_ETHERNET, lambda f: f[:12] + b"\x89\x09\x01\x01\x00\x01\x00\x05" + f[12:]),
    "macsec-clear": (LINK_ETHERNET, lambda f: f[:12] + b"\x88\xe5\x00\x00\0\0\0\1" + f[12:] + bytes(16)),
    "pppoe-vlan": (
        LINK_ETHERNET,
        lambda f: (
            f[:12]
            + b"\x81\0\0\7\x88\x64\x11\x00\x00\x07"
            + struct.pack(">H", len(f) - 12)
            + b"\0\x21"
            + f[14:]
        ),
    ),
    "nsh": (
        LINK_ETHERNET,
        lambda f: f[:12] + b"\x89\x4f\x0f\xc6\x01\x03\x00\x00\x0a\xff" + bytes(16) + f,
    ),
    "ip-in-ip-in-ip": (LINK_ETHERNET, lambda f: in_ip(f, 4, in_ip(f, 4, f[14:])[14:])),
}
"""Encapsulations of an IPv4 packet over Ethernet: the link type, and the captured bytes."""


def ipv6_fragments(frame: bytes, number: int, size: int = 512) -> list[bytes]:
    """Encapsulate a packet in IPv6, and split it into fragments (RFC 8200, section 4.5)."""
    packet = ipv6_of(frame)
    body = packet[40:]
    out = []
    for at in range(0, len(body), size):
        piece = body[at : at + size]
        more = at + size < len(body)
        part = struct.pack(">BBHI", packet[6], 0, at | more, number) + piece
        head = packet[:4] + struct.pack(">HB", len(part), 44) + packet[7:40]
        out.append(frame[:12] + b"\x86\xdd" + head + part)
    return out
