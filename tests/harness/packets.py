"""Generate small captures: real TLS conversations of OpenSSL, in the frames that a test needs.

The bytes of a conversation come from two real ends (Python's ``ssl`` on memory buffers); only the frames are
generated, so that a test can cut, repeat and reorder them.  The addresses are those that RFC 5737 and RFC
3849 reserve for documentation.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
import struct
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

ETHERTYPES = {4: 0x0800, 6: 0x86DD}
TCP, UDP, ICMP = 6, 17, 1
PHONE, OTHER_PHONE, HEAD_END, TFTP_SERVER = "192.0.2.7", "192.0.2.8", "203.0.113.1", "192.0.2.1"


def ip(source: str, target: str, protocol: int, payload: bytes) -> bytes:
    """Return an Ethernet frame with one IPv4 or IPv6 packet; checksums are zero, as with offloading."""
    one, two = ipaddress.ip_address(source), ipaddress.ip_address(target)
    if one.version == 4:
        header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 0, 0, 64, protocol, 0)
    else:
        header = struct.pack("!IHBB", 6 << 28, len(payload), protocol, 64)
    ethernet = bytes.fromhex("020000000002 020000000001") + struct.pack("!H", ETHERTYPES[one.version])
    return (ethernet + header + one.packed + two.packed + payload).ljust(60, b"\xff")


def udp(source: str, source_port: int, target: str, target_port: int, payload: bytes) -> bytes:
    """Return a frame with one UDP datagram."""
    header = struct.pack("!HHHH", source_port, target_port, 8 + len(payload), 0)
    return ip(source, target, UDP, header + payload)


@dataclass
class Stream:
    """One TCP connection; ``send`` returns frames that continue the sequence numbers."""

    client: str
    client_port: int
    server: str
    server_port: int
    sent: dict[bool, int] = field(default_factory=lambda: {True: 1000, False: 5000})

    def frame(self, flags: int, payload: bytes, *, from_client: bool) -> bytes:
        """Return one segment with these flags (2 SYN, 16 ACK, 1 FIN)."""
        ends = (self.client, self.client_port, self.server, self.server_port)
        source, source_port, target, target_port = ends if from_client else ends[2:] + ends[:2]
        number, answered = self.sent[from_client], self.sent[not from_client]
        header = struct.pack(
            "!HHIIBBHHH", source_port, target_port, number, answered, 0x50, flags, 65000, 0, 0
        )
        self.sent[from_client] += len(payload) + (1 if flags & 3 else 0)
        return ip(source, target, TCP, header + payload)

    def open(self) -> list[bytes]:
        """Return the three frames of the TCP handshake."""
        return [
            self.frame(2, b"", from_client=True),
            self.frame(18, b"", from_client=False),
            self.frame(16, b"", from_client=True),
        ]

    def send(self, payload: bytes, *, from_client: bool, segment: int = 1400) -> list[bytes]:
        """Return the frames with these bytes, in segments of at most that size."""
        pieces = [payload[at : at + segment] for at in range(0, len(payload), segment)]
        return [self.frame(24, piece, from_client=from_client) for piece in pieces]


def pcap(frames: Iterable[bytes], link: int = 1, *, snaplen: int = 262144, step: float = 0.001) -> bytes:
    """Return a capture file with these frames (of Ethernet, unless stated), one every ``step`` seconds."""
    out = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, snaplen, link)]
    for number, frame in enumerate(frames):
        seconds, part = divmod(round(number * step * 1_000_000), 1_000_000)
        kept = frame[:snaplen]
        out.append(struct.pack("<IIII", 1_700_000_000 + seconds, part, len(kept), len(frame)) + kept)
    return b"".join(out)


def block(order: str, kind: int, body: bytes) -> bytes:
    """Return a block of a pcapng file; ``order`` is < or >."""
    body += bytes(-len(body) % 4)
    size = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + size + body + size


@dataclass(frozen=True)
class Identity:
    """A certificate (DER) with its key and the chain to send after it (DER)."""

    der: bytes
    key: ec.EllipticCurvePrivateKey
    name: x509.Name
    chain: tuple[bytes, ...] = ()

    def pem(self) -> bytes:
        """Return key, certificate and chain as one PEM text, as OpenSSL loads it."""
        encoding, no_password = serialization.Encoding.PEM, serialization.NoEncryption()
        key = self.key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, no_password)
        return key + b"".join(ssl.DER_cert_to_PEM_cert(der).encode() for der in (self.der, *self.chain))


def identity(
    name: str | x509.Name,
    issuer: Identity | None = None,
    *,
    names: Sequence[x509.GeneralName] = (),
    critical: bool = False,
    padding: int = 0,
) -> Identity:
    """Create a certificate: self-signed, or signed by ``issuer``, whose certificate and chain then follow it.

    ``names`` are its alternative names, in an extension that may be ``critical``. ``padding`` adds about that
    many bytes, in an unknown extension.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    if isinstance(name, str):
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer.name if issuer else name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + dt.timedelta(days=3650))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=critical)
    if padding:
        unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.55555.1"), b"\x04" * padding)
        builder = builder.add_extension(unknown, critical=False)
    certificate = builder.sign(issuer.key if issuer else key, hashes.SHA256())
    chain = (issuer.der, *issuer.chain) if issuer else ()
    return Identity(certificate.public_bytes(serialization.Encoding.DER), key, name, chain)


@dataclass(frozen=True)
class Said:
    """The bytes that one end sent at once."""

    from_client: bool
    payload: bytes


def contexts(
    server: Identity, trusted: Identity | None, client: Identity | None, version: ssl.TLSVersion
) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return the TLS contexts of server and client."""
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_context.check_hostname = False
    client_context.verify_mode = ssl.CERT_REQUIRED if trusted else ssl.CERT_NONE
    if trusted:
        client_context.load_verify_locations(cadata=trusted.der)
    with tempfile.TemporaryDirectory() as folder:
        for context, one in ((server_context, server), (client_context, client)):
            context.minimum_version = context.maximum_version = version
            if one:
                file = Path(folder) / "identity.pem"
                file.write_bytes(one.pem())
                context.load_cert_chain(file)
        if client:
            server_context.verify_mode = ssl.CERT_REQUIRED
            server_context.load_verify_locations(cadata=client.der)
    return server_context, client_context


def talk(  # noqa: PLR0913 - each names one property of the conversation
    server: Identity,
    *,
    server_name: str | None = None,
    trusted: Identity | None = None,
    client: Identity | None = None,
    version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2,
    data: bytes = b"",
) -> list[Said]:
    """Return a real handshake, flight by flight.

    With ``trusted``, the client verifies the certificate, and sends OpenSSL's alert if that fails.
    """
    server_context, client_context = contexts(server, trusted, client, version)
    ends = [(ssl.MemoryBIO(), ssl.MemoryBIO()) for _ in range(2)]
    talkers = [
        client_context.wrap_bio(*ends[0], server_hostname=server_name),
        server_context.wrap_bio(*ends[1], server_side=True),
    ]
    said: list[Said] = []
    broken = False
    for turn in range(12):
        which = turn % 2
        try:
            talkers[which].do_handshake()
            if data and not broken and which == 0:
                talkers[0].write(data)
                data = b""
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:
            broken = True
        payload = ends[which][1].read()
        if payload:
            said.append(Said(which == 0, payload))
            ends[1 - which][0].write(payload)
        elif broken:
            break
    return said


def conversation(  # noqa: PLR0913 - each names one property of the traffic
    said: Sequence[Said],
    *,
    client: str = PHONE,
    client_port: int = 49200,
    server: str = HEAD_END,
    server_port: int = 443,
    segment: int = 1400,
) -> list[bytes]:
    """Return the frames of a TCP connection with these bytes."""
    stream = Stream(client, client_port, server, server_port)
    frames = stream.open()
    for one in said:
        frames += stream.send(one.payload, from_client=one.from_client, segment=segment)
    return frames


ALERT_BAD_CERTIFICATE = Said(from_client=True, payload=bytes.fromhex("15 0303 0002 02 2a"))


def rejected(server: Identity, *, server_name: str | None = None) -> list[Said]:
    """Return a handshake up to the certificate, and the phone's answer: fatal, bad certificate (42)."""
    return [*talk(server, server_name=server_name)[:2], ALERT_BAD_CERTIFICATE]


def transfer(  # noqa: PLR0913 - each names one property of the traffic
    name: str,
    content: bytes,
    *,
    client: str = PHONE,
    client_port: int = 49300,
    server: str = TFTP_SERVER,
    port: int = 69,
    server_port: int = 32769,
    size: int | None = None,
    mode: str = "octet",
) -> list[bytes]:
    """Return the frames of a TFTP transfer (RFC 1350), with blocks of ``size`` bytes (RFC 2348)."""
    options = b"blksize\0" + str(size).encode() + b"\0" if size else b""
    request = b"\0\1" + name.encode() + b"\0" + mode.encode() + b"\0" + options
    frames = [udp(client, client_port, server, port, request)]
    if size:
        frames.append(udp(server, server_port, client, client_port, b"\0\6" + options))
        frames.append(udp(client, client_port, server, server_port, b"\0\4\0\0"))
    step = size or 512
    for block in range(len(content) // step + 1):
        number = struct.pack("!H", (block + 1) % 65536)
        data = content[block * step : (block + 1) * step]
        frames.append(udp(server, server_port, client, client_port, b"\0\3" + number + data))
        frames.append(udp(client, client_port, server, server_port, b"\0\4" + number))
    return frames


def configuration(urls: Iterable[str], values: Iterable[str]) -> bytes:
    """Return a phone's configuration file with these URLs and certificate hashes (Base64)."""
    lines = [f"<url{i}>{url}</url{i}>" for i, url in enumerate(urls, 1)]
    credentials = [f"<certHash{i}>{value}</certHash{i}>" for i, value in enumerate(values, 1)]
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<device  xsi:type="axl:XIPPhone" ctiid="548">\n'
        "<vpnGroup>\n<mtu>1290</mtu>\n<enableHostIDCheck>0</enableHostIDCheck>\n<addresses>\n"
        + "\n".join(lines)
        + "\n</addresses>\n<credentials>\n<hashAlg>0</hashAlg>\n"
        + "\n".join(credentials)
        + "\n</credentials>\n</vpnGroup>\n<certHash></certHash>\n</device>\n"
    ).encode()
