"""Provide common steps of recordings: a phone, its configuration, its connection to a head-end."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tests.harness.recorder import certificates, phone_files, servers
from tests.harness.recorder.phone import TLS_1_0, TLS_1_2, TLS_1_3, Phone

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cryptography.x509 import Certificate
    from tests.harness.recorder.certificates import Identity
    from tests.harness.recorder.frames import Frame
    from tests.harness.recorder.phone import Connection
    from tests.harness.recorder.stage import Stage

TFTP_SERVER = "192.0.2.5"
PROTOCOLS = {TLS_1_0: "tls1", TLS_1_2: "tls1_2", TLS_1_3: "tls1_3"}


def numbered(number: int, head_end: int = 0, *, version: tuple[int, int] = TLS_1_0, url: str = "") -> Phone:
    """Return the phone whose MAC and IP address end in ``number``, and whose head-end is 203.0.113.(number).

    All addresses are reserved for documentation: RFC 5737 for IP, RFC 7042 for MAC.
    """
    return Phone(
        name=f"SEP00005E0053{number:02X}",
        address=f"198.51.100.{number}",
        url=url or f"https://203.0.113.{head_end or number}/SSLVPNphone",
        version=version,
    )


def told(
    stage: Stage, phone: Phone, *expected: Identity | Certificate | str, check_host: bool = False
) -> None:
    """Write the phone's file with these hashes, given as text or as certificates."""
    phone.hashes = tuple(
        entry if isinstance(entry, str) else certificates.cert_hash(entry) for entry in expected
    )
    phone.check_host = check_host
    vpn = phone_files.vpn_group([phone.url], phone.hashes, check_host=check_host)
    stage.cnf(phone.file, phone_files.cme(vpn))


def ready(
    stage: Stage, number: int, *, version: tuple[int, int] = TLS_1_0, url: str = ""
) -> tuple[Phone, Identity]:
    """Return a numbered phone, and a certificate for its head-end, whose hash is in the phone's file."""
    phone = numbered(number, version=version, url=url)
    identity = certificates.server(f"vpn{number}.example.com")
    told(stage, phone, identity)
    return phone, identity


@contextmanager
def fetching(
    stage: Stage, phone: Phone, content: bytes, identity: Identity, name: str = ""
) -> Iterator[list[Frame]]:
    """Record what a phone does with a TFTP server that has its file, and with its head-end."""
    root = stage.work / "tftp"
    stage.cnf(name or phone.file, content, served_at=root)
    address = urlsplit(phone.url).hostname or ""
    with (
        servers.tftp(TFTP_SERVER, root, stage.work / "tftpd.log"),
        servers.head_end(identity, address, stage.work),
        stage.recording() as caught,
    ):
        yield caught


def visit(  # noqa: PLR0913 - each is one property of the head-end visited
    stage: Stage,
    phone: Phone,
    identity: Identity,
    *,
    chain: Sequence[Certificate] = (),
    address: str = "",
    options: Sequence[str] = (),
    own: Identity | None = None,
) -> tuple[list[Frame], Connection]:
    """Record one connection of the phone to a head-end that presents ``identity`` and ``chain``."""
    parts = urlsplit(phone.url)
    address = address or parts.hostname or ""
    head_end = servers.head_end(
        identity,
        address,
        stage.work,
        protocol=PROTOCOLS[phone.version],
        port=parts.port or 443,
        chain=tuple(chain),
        options=tuple(options),
    )
    with head_end, stage.recording() as caught:
        connection = phone.connect(address=address, own=own)
    return caught, connection
