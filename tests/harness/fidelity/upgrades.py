"""The messages of other protocols that precede TLS on a connection, each by its standard."""

# ruff: noqa: ISC004 - protocol messages are easier to read on their own lines

from __future__ import annotations

import struct

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
