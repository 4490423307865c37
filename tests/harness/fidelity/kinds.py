"""Generate the kinds of captures that people have: TLS after an upgrade, in tunnels, on any port, in any format.

The handshakes are OpenSSL's; what precedes and encapsulates them follows the standard named at each place.
Every kind is one capture with known content.
"""

# ruff: noqa: ISC004, E501 - protocol messages are easier to read on their own lines

from __future__ import annotations

import itertools
import struct
import subprocess
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from tests.conftest import need
from tests.harness.benchmarks.captures import (
    ACK,
    FIN,
    RST,
    SYN,
    Endpoints,
    Segment,
    Turn,
    tcp_frame,
    tcp_segments,
    udp_frame,
)
from tests.harness.fidelity import netscaler
from tests.harness.fidelity.disturb import answered_twice, counting_padding
from tests.harness.fidelity.generate import LINK_ETHERNET, LINK_RAW

from certhash.capture.first_pass.headers import TUNNEL_PORTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from tests.harness.fidelity.generate import Script

ENDS = Endpoints(b"\x0a\x09\x00\x01", b"\xc0\x00\x02\x09", 40_001, 443)


class Kind(NamedTuple):
    """A capture, which may hold several connections, and its certificates."""

    name: str
    path: Path
    expected: tuple[str, ...]
    """SHA-1 (hex) in the order of the frames that complete them, then of the chain."""


def says(side: str, *data: bytes) -> list[Turn]:
    """Return the bytes that one side sends before the other answers."""
    return [Turn("client" if side == "c" else "server", one) for one in data]


# ---------------------------------------------------------------------------- TLS after another protocol

UPGRADES: dict[str, tuple[int, tuple[tuple[str, bytes], ...]]] = {
    # RFC 3207
    "smtp": (
        25,
        (
            ("s", b"220 mx.example ESMTP\r\n"),
            ("c", b"EHLO me.example\r\n"),
            ("s", b"250-mx.example\r\n250-PIPELINING\r\n250 STARTTLS\r\n"),
            ("c", b"STARTTLS\r\n"),
            ("s", b"220 2.0.0 Ready to start TLS\r\n"),
        ),
    ),
    "submission": (
        587,
        (
            ("s", b"220 mx.example ESMTP\r\n"),
            ("c", b"EHLO me.example\r\n"),
            ("s", b"250-mx.example\r\n250 STARTTLS\r\n"),
            ("c", b"STARTTLS\r\n"),
            ("s", b"220 go ahead\r\n"),
        ),
    ),
    # RFC 9051, RFC 2595
    "imap": (
        143,
        (
            ("s", b"* OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] ready.\r\n"),
            ("c", b"a1 STARTTLS\r\n"),
            ("s", b"a1 OK Begin TLS negotiation now.\r\n"),
        ),
    ),
    "pop3": (
        110,
        (
            ("s", b"+OK ready.\r\n"),
            ("c", b"CAPA\r\n"),
            ("s", b"+OK\r\nUIDL\r\nSTLS\r\n.\r\n"),
            ("c", b"STLS\r\n"),
            ("s", b"+OK Begin TLS negotiation now.\r\n"),
        ),
    ),
    # RFC 4217
    "ftp": (
        21,
        (
            ("s", b"220 FTP\r\n"),
            ("c", b"AUTH TLS\r\n"),
            ("s", b"234 AUTH TLS successful\r\n"),
        ),
    ),
    # RFC 6120
    "xmpp": (
        5222,
        (
            (
                "c",
                b"<?xml version='1.0'?><stream:stream to='im.example' xmlns='jabber:client' "
                b"xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>",
            ),
            (
                "s",
                b"<?xml version='1.0'?><stream:stream from='im.example' id='1' xmlns='jabber:client' "
                b"xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>"
                b"<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls>"
                b"</stream:features>",
            ),
            ("c", b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"),
            ("s", b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"),
        ),
    ),
    # RFC 4511, section 4.14
    "ldap": (
        389,
        (
            ("c", b"\x30\x1d\x02\x01\x01\x77\x18\x80\x16" + b"1.3.6.1.4.1.1466.20037"),
            ("s", b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00"),
        ),
    ),
    # What PostgreSQL calls an SSLRequest, and the answer
    "postgresql": (5432, (("c", struct.pack(">II", 8, 80877103)), ("s", b"S"))),
    # MySQL: Protocol::HandshakeV10, Protocol::SSLRequest
    "mysql": (
        3306,
        (
            (
                "s",
                b"\x4a\x00\x00\x00\x0a5.5.62\x00" + struct.pack("<I", 7) + b"abcdefgh\x00\xff\xff\x08\x02\x00"
                b"\x0f\x80\x15" + bytes(10) + b"abcdefghijkl\x00mysql_native_password\x00",
            ),
            ("c", b"\x20\x00\x00\x01" + struct.pack("<IIB", 0x000FAE8D, 1 << 24, 8) + bytes(23)),
        ),
    ),
    # RFC 4642
    "nntp": (
        119,
        (
            ("s", b"200 news.example ready\r\n"),
            ("c", b"STARTTLS\r\n"),
            ("s", b"382 Continue with TLS negotiation\r\n"),
        ),
    ),
    # RFC 5804
    "sieve": (
        4190,
        (
            ("s", b'"IMPLEMENTATION" "x"\r\n"STARTTLS"\r\nOK "ready"\r\n'),
            ("c", b"STARTTLS\r\n"),
            ("s", b'OK "Begin TLS negotiation now."\r\n'),
        ),
    ),
    "irc": (6667, (("c", b"STARTTLS\r\n"), ("s", b":irc.example 670 * :STARTTLS successful, go ahead\r\n"))),
    # Microsoft's MS-RDPBCGR, 2.2.1.1, an X.224 request that asks for TLS
    "rdp": (
        3389,
        (
            (
                "c",
                bytes.fromhex("0300002b26e00000000000")
                + b"Cookie: mstshash=elton\r\n"
                + bytes.fromhex("0100080003000000"),
            ),
            ("s", bytes.fromhex("030000130ed000001234000200080002000000")),
        ),
    ),
    # RFC 9110, section 9.3.6
    "connect": (
        3128,
        (
            ("c", b"CONNECT vpn.example:443 HTTP/1.1\r\nHost: vpn.example:443\r\n\r\n"),
            ("s", b"HTTP/1.1 200 Connection established\r\n\r\n"),
        ),
    ),
    "connect-8080": (
        8080,
        (
            ("c", b"CONNECT vpn.example:443 HTTP/1.1\r\nHost: vpn.example:443\r\n\r\n"),
            ("s", b"HTTP/1.0 200 Connection Established\r\nProxy-agent: x\r\n\r\n"),
        ),
    ),
    "connect-asked-for-a-name": (
        3128,
        (
            ("c", b"CONNECT vpn.example:443 HTTP/1.1\r\nHost: vpn.example:443\r\n\r\n"),
            (
                "s",
                b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=x\r\n"
                b"Content-Length: 4\r\n\r\nno!\n",
            ),
            (
                "c",
                b"CONNECT vpn.example:443 HTTP/1.1\r\nHost: vpn.example:443\r\n"
                b"Proxy-Authorization: Basic eDp5\r\n\r\n",
            ),
            ("s", b"HTTP/1.1 200 Connection established\r\n\r\n"),
        ),
    ),
    # RFC 2817
    "http-upgrade": (
        80,
        (
            (
                "c",
                b"OPTIONS * HTTP/1.1\r\nHost: a.example\r\nUpgrade: TLS/1.0\r\nConnection: Upgrade\r\n\r\n",
            ),
            ("s", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: TLS/1.0\r\nConnection: Upgrade\r\n\r\n"),
        ),
    ),
    # RFC 1928
    "socks5": (
        1080,
        (
            ("c", b"\x05\x01\x00"),
            ("s", b"\x05\x00"),
            ("c", b"\x05\x01\x00\x03\x0bvpn.example\x01\xbb"),
            ("s", b"\x05\x00\x00\x01\xc0\x00\x02\x01\x01\xbb"),
        ),
    ),
    "socks4": (
        1080,
        (
            ("c", b"\x04\x01\x01\xbb\xc0\x00\x02\x01me\x00"),
            ("s", b"\x00\x5a\x01\xbb\xc0\x00\x02\x01"),
        ),
    ),
    # HAProxy's PROXY protocol, versions 1 and 2
    "proxy-1": (443, (("c", b"PROXY TCP4 192.0.2.7 192.0.2.9 40001 443\r\n"),)),
    "proxy-2": (
        443,
        (("c", b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x07\xc0\x00\x02\x09\x9c\x41\x01\xbb"),),
    ),
    # AMQP 1.0, part 5.2
    "amqp": (5672, (("c", b"AMQP\x02\x01\x00\x00"), ("s", b"AMQP\x02\x01\x00\x00"))),
    # VeNCrypt, X509None
    "vnc": (
        5900,
        (
            ("s", b"RFB 003.008\n"),
            ("c", b"RFB 003.008\n"),
            ("s", b"\x01\x13"),
            ("c", b"\x13"),
            ("s", b"\x00\x02"),
            ("c", b"\x00\x02"),
            ("s", b"\x00\x01" + struct.pack(">I", 260)),
            ("c", struct.pack(">I", 260)),
            ("s", b"\x01"),
        ),
    ),
    # RFC draft-ietf-tn3270e-telnet-tls: IAC DO STARTTLS and its follow-up
    "telnet": (
        23,
        (
            ("s", b"\xff\xfd\x2e"),
            ("c", b"\xff\xfb\x2e\xff\xfa\x2e\x01\xff\xf0"),
            ("s", b"\xff\xfa\x2e\x01\xff\xf0"),
        ),
    ),
    "rsync-like-banner": (
        7777,
        (("s", b"HELLO I SPEAK SOMETHING\n"), ("c", b"TLS PLEASE\n"), ("s", b"OK\n")),
    ),
    "one-byte": (7778, (("c", b"\x01"), ("s", b"\x02"))),
    "zero-bytes": (7779, (("c", bytes(64)), ("s", bytes(64)))),
}
"""The usual port, and the messages before TLS."""


def upgrades(script: Script) -> Iterator[tuple[str, list[bytes], tuple[str, ...]]]:
    """Yield a connection for each upgrade, on its usual port and on another."""
    for name, (port, before) in UPGRADES.items():
        turns = [Turn("client" if side == "c" else "server", data) for side, data in before]
        for number, suffix in ((port, ""), (45_678, "-elsewhere")):
            ends = ENDS._replace(server_port=number)
            yield f"after-{name}{suffix}", connection(ends, [*turns, *script.turns]), script.clear


def connection(ends: Endpoints, turns: Iterable[Turn], mss: int = 1448) -> list[bytes]:
    """Return the frames of a connection."""
    return [tcp_frame(ends, segment) for segment in tcp_segments(turns, mss=mss)]


# --------------------------------------------------------------------------------------- on any port

TCP_PORTS = (
    22, 23, 25, 53, 70, 79, 80, 88, 102, 110, 111, 119, 135, 139, 143, 179, 389, 427, 443, 445, 465, 502, 514,
    515, 524, 548, 554, 563, 587, 593, 631, 636, 749, 853, 873, 989, 990, 993, 995, 1080, 1194, 1352, 1433,
    1494, 1521, 1720, 1723, 1812, 1883, 1935, 2000, 2049, 2083, 2404, 2428, 2443, 2638, 2748, 2948, 3000,
    3050, 3128, 3205, 3260, 3268, 3269, 3306, 3389, 3478, 3544, 3690, 3702, 3804, 3868, 4070, 4433, 4500, 4713,
    4786, 5000, 5060, 5061, 5190, 5222, 5223, 5269, 5349, 5432, 5433, 5555, 5671, 5672, 5683, 5900, 6000, 6379,
    6514, 6633, 6653, 6667, 6881, 6969, 6970, 7000, 7001, 7070, 7680, 8000, 8008, 8009, 8080, 8081, 8088, 8089,
    8182, 8333, 8443, 8883, 9000, 9042, 9050, 9080, 9100, 9160, 9200, 9418, 9443, 9999, 10000, 10050, 11211,
    13000, 15004, 16992, 19000, 20000, 27017, 34567, 44818, 50000, 55553, 60000, 64738, 65000,
)  # fmt: skip
"""The ports of many protocols."""
UDP_PORTS = (
    19, 53, 67, 69, 88, 111, 123, 137, 161, 162, 443, 500, 514, 520, 623, 853, 1194, 1645, 1701, 1812, 1813,
    1900, 2000, 2055, 2123, 2152, 2427, 2727, 3386, 3478, 3544, 3702, 4433, 4500, 4569, 4739, 4789, 5004, 5060,
    5061, 5246, 5247, 5349, 5353, 5355, 5683, 5684, 6081, 6343, 6635, 6881, 7000, 8472, 9996, 10000, 10161,
    11211, 17185, 20000, 30303, 34964, 47808, 51820, 60000,
)  # fmt: skip


def on_ports(script: Script, datagrams: Script) -> Iterator[tuple[str, list[bytes], tuple[str, ...]]]:
    """Yield TLS on many ports in one capture, DTLS in another, and DTLS on each port of a tunnel."""
    streams = [connection(ENDS._replace(server_port=port), script.turns) for port in TCP_PORTS]
    yield "tcp-ports", list(chain.from_iterable(streams)), script.clear * len(streams)
    alone = set(UDP_PORTS).intersection(TUNNEL_PORTS)  # what may be a tunnel makes a whole capture special
    flights = {port: exchange(ENDS._replace(server_port=port), datagrams.turns) for port in UDP_PORTS}
    together = [frames for port, frames in flights.items() if port not in alone]
    yield "udp-ports", list(chain.from_iterable(together)), datagrams.clear * len(together)
    for port in sorted(alone):
        yield f"udp-{port}", flights[port], datagrams.clear


STUN = (
    struct.pack(">HHI12s", 1, 0, 0x2112A442, b"transaction1"),
    struct.pack(
        ">HHI12sHHBBH4s", 0x0101, 12, 0x2112A442, b"transaction1", 1, 8, 0, 1, 40_001, b"\x0a\x09\0\1"
    ),
)
"""A Binding request and its response (RFC 8489), which precede DTLS-SRTP (RFC 5764)."""


def after_stun(datagrams: Script) -> Iterator[tuple[str, list[bytes], tuple[str, ...]]]:
    """Yield DTLS that shares its ports with STUN, as in WebRTC."""
    for port in (3478, 51_234):
        turns = [Turn("client", STUN[0]), Turn("server", STUN[1]), *datagrams.turns]
        mixed = [one for turn in turns for one in (turn, Turn("client", STUN[0]))]
        yield f"stun-{port}", exchange(ENDS._replace(server_port=port), turns), datagrams.clear
        yield f"stun-between-{port}", exchange(ENDS._replace(server_port=port), mixed), datagrams.clear


def exchange(ends: Endpoints, turns: Iterable[Turn]) -> list[bytes]:
    """Return the frames of datagrams, one per turn."""
    return [udp_frame(ends, turn.side == "client", turn.data) for turn in turns]


# ------------------------------------------------------------------------- encapsulation


def _outer(frame: bytes, port: int, head: bytes, inner: bytes) -> bytes:
    """Encapsulate bytes in a UDP datagram between two tunnel ends."""
    ends = Endpoints(b"\x0a\xff\x00\x01", b"\x0a\xff\x00\x02", port, port)
    return udp_frame(ends, frame[:6] == b"\x02\0\0\0\0\x01", head + inner)


def _gre(frame: bytes, flags: int, kind: int, more: bytes, inner: bytes) -> bytes:
    body = struct.pack(">HH", flags, kind) + more + inner
    head = struct.pack(
        ">BBHHHBBH4s4s", 0x45, 0, 20 + len(body), 0, 0, 64, 47, 0, b"\x0a\xff\0\1", b"\x0a\xff\0\2"
    )
    return frame[:12] + b"\x08\x00" + head + body


def _direction(frame: bytes) -> bool:
    return frame[:6] == bytes.fromhex("020000000001")


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
    "6in4": (LINK_ETHERNET, lambda f: _in_protocol(f, 41, ipv6_of(f))),
    "ah": (
        LINK_ETHERNET,
        lambda f: _in_protocol(f, 51, b"\x04\x04\0\0\0\0\0\x01\0\0\0\x01" + bytes(12) + f[14:]),
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
    "ip-in-ip-in-ip": (LINK_ETHERNET, lambda f: _in_protocol(f, 4, _in_protocol(f, 4, f[14:])[14:])),
}
"""Encapsulations of an IPv4 packet over Ethernet: the link type, and the captured bytes."""


def _in_protocol(frame: bytes, protocol: int, body: bytes) -> bytes:
    head = struct.pack(
        ">BBHHHBBH4s4s", 0x45, 0, 20 + len(body), 0, 0, 64, protocol, 0, b"\x0a\xff\0\1", b"\x0a\xff\0\2"
    )
    return frame[:12] + b"\x08\x00" + head + body


def ipv6_of(frame: bytes) -> bytes:
    """Return the same packet in IPv6."""
    source, destination = (b"\x20\x01\x0d\xb8" + bytes(8) + frame[at : at + 4] for at in (26, 30))
    size = int.from_bytes(frame[16:18], "big") - 20
    return struct.pack(">IHBB", 6 << 28, size, frame[23], 64) + source + destination + frame[34 : 34 + size]


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


# ----------------------------------------------------------------------------- disturbances of TCP


def _data(segments: list[Segment]) -> list[int]:
    return [index for index, segment in enumerate(segments) if segment.payload]


def _keep_alives(segments: list[Segment]) -> list[Segment]:
    """Send occasional keep-alives: a byte before the acknowledged data (RFC 9293, section 3.8.4)."""
    out = []
    for segment in segments:
        if segment.payload:
            out.append(segment._replace(seq=segment.seq - 1, payload=b"\x00", flags=ACK))
            out.append(Segment(not segment.from_client, ACK, segment.ack, segment.seq, b""))
        out.append(segment)
    return out


def _zero_window_probes(segments: list[Segment]) -> list[Segment]:
    """Send the first byte of a segment alone, then the whole segment."""
    out = []
    for segment in segments:
        if len(segment.payload) > 1:
            out.append(segment._replace(payload=segment.payload[:1]))
        out.append(segment)
    return out


def _twice(segments: list[Segment]) -> list[Segment]:
    return [one for segment in segments for one in (segment, segment)]


def _backwards(segments: list[Segment]) -> list[Segment]:
    """Deliver the last segment of every flight first."""
    out: list[Segment] = []
    flight: list[Segment] = []
    for segment in segments:
        if flight and (segment.from_client != flight[-1].from_client or segment.flags & (SYN | FIN)):
            out += flight[::-1]
            flight = []
        if segment.payload:
            flight.append(segment)
        elif not flight or segment.from_client != flight[-1].from_client:
            out.append(segment)
    return out + flight[::-1]


def _acked_first(segments: list[Segment]) -> list[Segment]:
    """Capture the acknowledgements before the data that they acknowledge."""
    out = list(segments)
    for index in range(3, len(out) - 1):
        now, after = out[index], out[index + 1]
        if now.payload and not after.payload and now.from_client != after.from_client:
            out[index], out[index + 1] = after, now
    return out


def _one_sided(client: bool) -> Callable[[list[Segment]], list[Segment]]:
    return lambda segments: [segment for segment in segments if segment.from_client == client]


def _syn_data(segments: list[Segment]) -> list[Segment]:
    """Send the ClientHello in the SYN (TCP Fast Open, RFC 7413)."""
    first = _data(segments)[0]
    syn = segments[0]._replace(payload=segments[first].payload)
    return [syn, *segments[1:first], *segments[first + 1 :]]


def _no_handshake(segments: list[Segment]) -> list[Segment]:
    return segments[3:]


def _reset(segments: list[Segment]) -> list[Segment]:
    last = segments[-4]
    return [*segments[:-3], Segment(True, RST, last.ack, 0, b"")]


def _stray_reset(segments: list[Segment]) -> list[Segment]:
    """Insert a reset outside of the window, which no end accepts, before the server answers."""
    at = _data(segments)[0] + 1
    return [*segments[:at], Segment(False, RST, 77, 0, b""), *segments[at:]]


SITUATIONS: dict[str, tuple[Callable[[list[Segment]], list[Segment]], int]] = {
    "keep-alives": (_keep_alives, 1448),
    "zero-window-probes": (_zero_window_probes, 1448),
    "zero-window-probes-small": (_zero_window_probes, 100),
    "every-packet-twice": (_twice, 1448),
    "every-packet-twice-small": (_twice, 50),
    "flights-backwards": (_backwards, 1448),
    "flights-backwards-small": (_backwards, 60),
    "acknowledged-first": (_acked_first, 1448),
    "syn-with-data": (_syn_data, 1448),
    "without-opening": (_no_handshake, 1448),
    "without-opening-small": (_no_handshake, 64),
    "reset": (_reset, 1448),
    "stray-reset": (_stray_reset, 1448),
    "one-byte-each": (list, 1),
    "seven-bytes-each": (list, 7),
    "large-segments": (list, 60_000),
    "answered-twice-lower": (answered_twice(-5000), 1448),
    "answered-twice-higher": (answered_twice(5000), 1448),
}
"""The disturbances, and the amount of data in each segment."""
NUMBERS = {
    "": (1000, 5000),
    "-wrapping": ((1 << 32) - 150, (1 << 32) - 1000),
    "-zero": (0xFFFFFFFF, 0xFFFFFFFF),
}


def situations(script: Script) -> Iterator[tuple[str, list[bytes], tuple[str, ...]]]:
    """Yield connections with disturbances."""
    for name, (happens, mss) in SITUATIONS.items():
        for suffix, (client, server) in NUMBERS.items():
            segments = list(tcp_segments(script.turns, client, server, mss))
            yield f"tcp-{name}{suffix}", [tcp_frame(ENDS, s) for s in happens(segments)], script.clear
    segments = list(tcp_segments(script.turns))
    frames = [tcp_frame(ENDS, segment) for segment in segments]
    for size in (42, 46):
        counted = [counting_padding(frame, size) for frame in frames]
        yield f"padding-counted-{size}", counted, script.clear
    yield "ipv6-fragments", [p for n, f in enumerate(frames) for p in ipv6_fragments(f, n)], script.clear
    backwards = [p for n, f in enumerate(frames) for p in reversed(ipv6_fragments(f, n))]
    yield "ipv6-fragments-backwards", backwards, script.clear
    # Several connections of one pair of ends in sequence, with or without a FIN.
    again = [tcp_frame(ENDS, s) for s in tcp_segments(script.turns, 90_000, 70_000)]
    yield "same-ends-again", frames + again, script.clear * 2
    yield "same-ends-again-unfinished", frames[:-3] + again, script.clear * 2
    # This cannot be distinguished from a capture with every packet twice. Up to 4.2, tshark shows one connection;
    # from 4.4 on, two (see `SHOWN_TWICE`).
    yield SHOWN_TWICE, frames + frames, script.clear
    later = [
        tcp_frame(ENDS, s)
        for s in tcp_segments(script.turns, segments[-3].seq + 10_000, segments[-2].seq + 10_000)
    ]
    yield "same-ends-higher-numbers", frames + later, script.clear * 2
    server_only = [tcp_frame(ENDS, s) for s in segments if not s.from_client]
    # The client's data contains only its own certificate.
    chain = script.clear[: len(script.clear) - script.of_client]
    yield "server-only", server_only, chain
    clients = [tcp_frame(ENDS, s) for s in segments if s.from_client]
    yield "client-only", clients, script.clear[len(chain) :]


SHOWN_TWICE = "same-ends-same-numbers"


def small_records(turns: Iterable[Turn], size: int) -> list[Turn]:
    """Split the handshake records of a transcript into records of a few bytes (RFC 5246, section 6.2.1)."""
    out = []
    for turn in turns:
        at, data = 0, bytearray()
        ciphered = False
        while at + 5 <= len(turn.data):
            kind, length = turn.data[at], int.from_bytes(turn.data[at + 3 : at + 5], "big")
            body = turn.data[at + 5 : at + 5 + length]
            ciphered |= kind == 20
            step = size if kind == 22 and not ciphered else max(length, 1)
            for start in range(0, max(length, 1), step):
                piece = body[start : start + step]
                data += turn.data[at : at + 3] + len(piece).to_bytes(2, "big") + piece
            at += 5 + length
        out.append(Turn(turn.side, bytes(data)))
    return out


def one_record_each_flight(turns: Iterable[Turn]) -> list[Turn]:
    """Combine all handshake messages of a flight in one record, as some servers do."""
    out = []
    for turn in turns:
        at, merged, rest = 0, b"", b""
        head = turn.data[:3]
        while at + 5 <= len(turn.data):
            length = int.from_bytes(turn.data[at + 3 : at + 5], "big")
            if turn.data[at] != 22 or rest:
                rest = turn.data[at:]
                break
            merged += turn.data[at + 5 : at + 5 + length]
            at += 5 + length
        record = head + len(merged).to_bytes(2, "big") + merged if merged else b""
        out.append(Turn(turn.side, record + rest))
    return out


def records(script: Script) -> Iterator[tuple[str, list[bytes], tuple[str, ...]]]:
    """Yield handshakes whose records are split or combined in unusual ways."""
    for size in (1, 3, 100, 1000):
        for mss in (1448, 300):
            turns = small_records(script.turns, size)
            yield f"records-of-{size}-in-{mss}", connection(ENDS, turns, mss), script.clear
    yield "one-record-each-flight", connection(ENDS, one_record_each_flight(script.turns)), script.clear


# ------------------------------------------------------------------------------------- EAP (RFC 5216)


def eap_packets(script: Script, kind: int, size: int) -> Iterator[tuple[bool, bytes]]:
    """Yield (from the peer, EAP packet): TLS in fragments, each of which is acknowledged."""
    number = 1
    yield True, b"\x02\x00" + struct.pack(">H", 9) + b"\x01user"
    yield False, bytes([1, number]) + struct.pack(">H", 6) + bytes([kind, 0x20])
    for turn in script.turns:
        if turn.data[:1] == b"\x17":
            return
        peer = turn.side == "client"
        for at in range(0, len(turn.data), size):
            piece = turn.data[at : at + size]
            more = at + size < len(turn.data)
            flags = (0x80 if not at else 0) | (0x40 if more else 0)
            body = bytes([flags]) + (struct.pack(">I", len(turn.data)) if not at else b"") + piece
            if not peer:
                number += 1
            code = 2 if peer else 1
            yield peer, bytes([code, number]) + struct.pack(">H", 5 + len(body)) + bytes([kind]) + body
            if more:
                number += peer
                yield not peer, bytes([1 if peer else 2, number]) + struct.pack(">H", 6) + bytes([kind, 0])


def eapol(script: Script, kind: int, size: int) -> list[bytes]:
    """Return the frames of 802.1X (IEEE 802.1X-2010, clause 11)."""
    macs = (bytes.fromhex("0180c2000003020000000001"), bytes.fromhex("0180c2000003020000000002"))
    return [
        macs[peer] + b"\x88\x8e\x01\x00" + struct.pack(">H", len(packet)) + packet
        for peer, packet in eap_packets(script, kind, size)
    ]


def radius(script: Script, kind: int, size: int) -> list[bytes]:
    """Return the datagrams of RADIUS with EAP-Message attributes (RFC 3579)."""
    ends = ENDS._replace(server_port=1812)
    out = []
    for number, (peer, packet) in enumerate(eap_packets(script, kind, size)):
        attributes = b"".join(
            bytes([79, 2 + len(packet[at : at + 253])]) + packet[at : at + 253]
            for at in range(0, len(packet), 253)
        )
        head = struct.pack(">BBH16s", 1 if peer else 11, number // 2, 20 + len(attributes), bytes(16))
        out.append(udp_frame(ends, peer, head + attributes))
    return out


EAP = {"tls": 13, "ttls": 21, "peap": 25}


def under_eap(script: Script) -> Iterator[tuple[str, list[bytes], tuple[str, ...]]]:
    """Yield TLS under EAP, over 802.1X and RADIUS."""
    for name, kind in EAP.items():
        for size in (1000, 200):
            yield f"eapol-{name}-{size}", eapol(script, kind, size), script.clear
            yield f"radius-{name}-{size}", radius(script, kind, size), script.clear


# ------------------------------------------------------------------------------------- whole captures

FORMATS = (
    "5views", "btsnoop", "erf", "k12text", "lanalyzer", "modpcap", "netmon1",
    "netmon2", "nettl", "ngsniffer", "ngwsniffer_1_1", "ngwsniffer_2_0", "nsecpcap",
    "rh6_1pcap", "snoop", "suse6_3pcap", "visual",
)  # fmt: skip
"""File formats that ``editcap`` writes."""


def pcap(frames: Iterable[bytes], link: int = LINK_ETHERNET) -> bytes:
    """Return a pcap file."""
    out = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, link)]
    for number, frame in enumerate(frames):
        out.append(struct.pack("<IIII", 1_700_000_000, number * 100, len(frame), len(frame)) + frame)
    return b"".join(out)


def converted(folder: Path, source: Path) -> Iterator[Path]:
    """Write a capture in every format that ``editcap`` knows for Ethernet."""
    for form in FORMATS:
        path = folder / f"format-{form}.cap"
        command = [need("editcap"), "-F", form, str(source), str(path)]
        if subprocess.run(command, capture_output=True, check=False).returncode == 0:
            yield path
        else:
            path.unlink(missing_ok=True)


def all_kinds(folder: Path, script: Script, datagrams: Script) -> Iterator[Kind]:
    """Write a capture of every kind."""

    def written(
        name: str, frames: Iterable[bytes], expected: tuple[str, ...], link: int = LINK_ETHERNET
    ) -> Kind:
        path = folder / f"{name}.pcap"
        path.write_bytes(pcap(frames, link))
        return Kind(name, path, expected)

    several_of_each = (
        upgrades(script),
        on_ports(script, datagrams),
        situations(script),
        records(script),
        under_eap(script),
        after_stun(datagrams),
    )
    for several in several_of_each:
        for name, frames, expected in several:
            yield written(name, frames, expected)
    plain = connection(ENDS, script.turns, 1200)
    for name, (link, wrap) in TUNNELS.items():
        udp = exchange(ENDS._replace(server_port=4433), datagrams.turns)
        yield written(f"in-{name}", map(wrap, [*plain, *udp]), script.clear + datagrams.clear, link)
    whole = written("plain", plain, script.clear)
    yield whole
    for name, write in netscaler.WRITERS.items():
        path = folder / f"format-{name}.cap"
        path.write_bytes(write(plain))
        yield Kind(path.stem, path, script.clear)
    for path in converted(folder, whole.path):
        yield Kind(path.stem, path, script.clear)
