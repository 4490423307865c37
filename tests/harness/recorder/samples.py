"""Record the samples in ``captures/`` for a new user's first audit, with one phone and one head-end each."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.harness.recorder import certificates, datagrams, frames, network, phone_files, servers
from tests.harness.recorder.phone import TLS_1_2, TLS_1_3, Connection, Phone
from tests.harness.recorder.visits import TFTP_SERVER, told
from tests.harness.waiting import until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    from tests.harness.recorder.certificates import Identity
    from tests.harness.recorder.stage import Stage


def match(stage: Stage) -> None:
    """A phone expects the certificate that its head-end presents, continues, and sends data."""
    phone = Phone("SEP00005E005311", "198.51.100.11", "https://203.0.113.10/SSLVPNphone")
    identity = certificates.server("cme.example.com")
    told(stage, phone, identity)
    with (
        stage.cable(phone),
        servers.head_end(identity, "203.0.113.10", stage.work),
        stage.recording() as caught,
    ):
        connection = phone.connect()
    shown = stage.handshake(connection, "match", served=[identity], devices=[phone])
    stage.save("match.pcapng", caught, [shown], note="TLS 1.0; the hash is of the head-end's own certificate")
    stage.expect(phone, "match")


def mismatch(stage: Stage) -> None:
    """The head-end's certificate is not the one in the phone's file; the phone sends the alert."""
    phone = Phone("SEP00005E005312", "198.51.100.12", "https://203.0.113.20/SSLVPNphone")
    before, now = (certificates.server("cme.example.com") for _ in range(2))
    told(stage, phone, before)
    with stage.cable(phone), servers.head_end(now, "203.0.113.20", stage.work), stage.recording() as caught:
        connection = phone.connect()
    shown = stage.handshake(connection, "mismatch", served=[now], devices=[phone])
    stage.save(
        "mismatch.pcapng",
        caught,
        [shown],
        note="fatal bad_certificate; no capture has the certificate hashed",
    )
    stage.expect(phone, "mismatch", "unknown-certificate")


def fetched_over_tftp(stage: Stage) -> None:
    """A phone downloads its file and connects; the certificate is renewed; the phone rejects the new one.

    The file is in no folder, only in this capture.
    """
    phone = Phone("SEP00005E005313", "198.51.100.13")
    before, now = (certificates.server("cme.example.com") for _ in range(2))
    vpn = phone_files.vpn_group(["https://203.0.113.30/SSLVPNphone"], [certificates.cert_hash(before)])
    with stage.cable(phone):
        root = stage.work / "tftp"
        content = phone_files.cme(vpn)
        stage.cnf(phone.file, content, served_at=root)
        with servers.tftp(TFTP_SERVER, root, stage.work / "tftpd.log"), stage.recording() as caught:
            phone.fetch_over_tftp(TFTP_SERVER, stage.work)
            with servers.head_end(before, "203.0.113.30", stage.work):
                first = phone.connect()
            with servers.head_end(now, "203.0.113.30", stage.work):
                second = phone.connect()
    renewed = next(at for at, frame in enumerate(caught) if second.client[1] in frame.ports)
    stage.save(
        "fetched-over-tftp.pcapng",
        frames.paused(caught, renewed, seconds=1800),
        [
            stage.handshake(first, "match", served=[before], devices=[phone]),
            stage.handshake(second, "mismatch", served=[now], devices=[phone]),
        ],
        downloads=[stage.download(phone.file, content, "tftp", phone, TFTP_SERVER)],
        note="the file is fetched in the capture; the certificate changes half an hour later",
    )
    stage.expect(phone, "mismatch", "stale-hash", source="fetched-over-tftp.pcapng")


def ca_hash(stage: Stage) -> None:
    """The hash is that of the CA (``vpn-trustpoint ... root``), whose certificate the head-end also sends."""
    phone = Phone("SEP00005E005314", "198.51.100.14", "https://vpn.example.com/PhoneVPN", version=TLS_1_2)
    root = certificates.authority("Example Root CA")
    identity = certificates.server("vpn.example.com", by=root, names=("vpn.example.com",))
    retired = [certificates.authority(f"Example Root CA {year}") for year in (2015, 2020)]
    phone.hashes = tuple(certificates.cert_hash(entry) for entry in (*retired, root))
    phone.check_host = True
    signer = certificates.server("TFTP")
    name = f"{phone.file}.sgn"
    vpn = phone_files.vpn_group([phone.url], phone.hashes, check_host=True)
    stage.cnf(
        name, phone_files.signed(phone_files.cucm(vpn, "5d41402abc4b2a76b9719d911017c592"), name, signer)
    )
    chain = [identity.certificate, root.certificate]
    with (
        stage.cable(phone),
        servers.head_end(identity, "203.0.113.40", stage.work, protocol="tls1_2", chain=(root.certificate,)),
        stage.recording() as caught,
    ):
        connection = phone.connect(address="203.0.113.40")
    shown = stage.handshake(connection, "match", served=chain, devices=[phone], server_name="vpn.example.com")
    stage.save("ca-hash.pcapng", caught, [shown], note="certHash3 is of the certificate at position 1")
    stage.expect(phone, "match", source=f"cnf/{name}")


def resumed(stage: Stage) -> None:
    """The capture has only a resumed session, which contains no certificate."""
    phone = Phone("SEP00005E005315", "198.51.100.15", "https://203.0.113.50/SSLVPNphone")
    identity = certificates.server("cme.example.com")
    told(stage, phone, identity)
    with stage.cable(phone), servers.head_end(identity, "203.0.113.50", stage.work, options=("-no_ticket",)):
        earlier = phone.connect()
        with stage.recording() as caught:
            connection = phone.connect(session=earlier.session)
    assert connection.resumed
    shown = stage.handshake(connection, "unverifiable", devices=[phone], hidden="resumed")
    stage.save("resumed.pcapng", caught, [shown], note="the full handshake was before the capture")
    stage.expect(phone, "unverifiable")


def dtls(stage: Stage) -> None:
    """An IOS head-end presents its certificate over DTLS 1.0, in fragments."""
    phone = Phone("SEP00005E005316", "198.51.100.16", "https://203.0.113.60/SSLVPNphone")
    identity = certificates.server("cme.example.com")
    phone.hashes = (certificates.cert_hash(identity),)
    vpn = phone_files.vpn_group([phone.url], phone.hashes)
    name = f"vrf1_{phone.file}"
    stage.cnf(name, phone_files.cme(vpn))
    with (
        stage.cable(phone),
        servers.head_end(identity, "203.0.113.60", stage.work, protocol="dtls1", options=("-mtu", "600")),
        stage.recording() as caught,
    ):
        connection = phone.connect_with_datagrams()
    shown = stage.handshake(connection, "match", served=[identity], devices=[phone])
    stage.save("dtls.pcapng", caught, [shown], note="DTLS 1.0, UDP 443, the Certificate message in fragments")
    stage.expect(phone, "match", source=f"cnf/{name}")


def anyconnect(stage: Stage) -> None:
    """A real AnyConnect session: ocserv and openconnect, TLS 1.2, then the early DTLS of Cisco's clients.

    The DTLS session is resumed from the TLS session, so it contains no certificate.
    """
    phone = Phone("SEP00005E005317", "198.51.100.17", "https://203.0.113.70/SSLVPNphone", version=TLS_1_2)
    root = certificates.authority("Example Root CA")
    identity = certificates.server("asa.example.com", by=root, names=("asa.example.com", "203.0.113.70"))
    phone.hashes = (certificates.cert_hash(identity),)
    stage.cnf(phone.file, phone_files.cucm(phone_files.vpn_group([phone.url], phone.hashes)))
    with stage.cable(phone):
        caught, tunnel, channel = anyconnect_session(stage, phone, identity, datagrams.EARLY, resumed=True)
    shown = [
        stage.handshake(tunnel, "match", served=[identity, root], devices=[phone]),
        stage.handshake(channel, "unverifiable", devices=[phone], hidden="resumed"),
    ]
    stage.save(
        "anyconnect.pcapng", caught, shown, note="ocserv and openconnect; TLS 1.2, then DTLS version 0x0100"
    )
    stage.expect(phone, "match")


def tls13(stage: Stage) -> None:
    """TLS 1.3 encrypts the Certificate message, which is unreadable without the keys."""
    phone = Phone("SEP00005E005318", "198.51.100.18", "https://203.0.113.80/PhoneVPN", version=TLS_1_3)
    identity = certificates.server("asa.example.com")
    phone.hashes = (certificates.cert_hash(identity),)
    stage.cnf(phone.file, phone_files.cucm(phone_files.vpn_group([phone.url], phone.hashes)))
    with (
        stage.cable(phone),
        servers.head_end(identity, "203.0.113.80", stage.work, protocol="tls1_3"),
        stage.recording() as caught,
    ):
        connection = phone.connect()
    shown = stage.handshake(connection, "unverifiable", served=[identity], devices=[phone], hidden="tls-1.3")
    stage.save("tls13.pcapng", caught, [shown], note="TLS 1.3 without its keys")
    stage.expect(phone, "unverifiable")


def voice_vlan(stage: Stage) -> None:
    """IPv6 in a voice VLAN, out-of-order segments, an elliptic-curve certificate, a compressed file."""
    phone = Phone(
        "SEP00005E005319", "2001:db8:0:100::19", "https://[2001:db8:0:200::90]/PhoneVPN", version=TLS_1_2
    )
    root = certificates.authority("Example Root CA")
    identity = certificates.server("vpn6.example.com", by=root, names=("2001:db8:0:200::90",), elliptic=True)
    others = [certificates.server(f"vpn{number}.example.com") for number in range(1, 10)]
    phone.hashes = tuple(certificates.cert_hash(entry) for entry in (*others, identity))
    phone.check_host = True
    vpn = phone_files.vpn_group([phone.url], phone.hashes, check_host=True)
    stage.cnf(phone.file, phone_files.cucm(vpn))
    with (
        stage.cable(phone),
        servers.head_end(
            identity, "2001:db8:0:200::90", stage.work, protocol="tls1_2", chain=(root.certificate,)
        ),
        stage.recording() as caught,
    ):
        connection = phone.connect()
    first, second, *_ = frames.flight(caught, 443)
    shown = stage.handshake(connection, "match", served=[identity, root], devices=[phone])
    stage.save(
        "voice-vlan.pcap.gz",
        frames.tagged(frames.swapped(caught, first, second), vlan=110),
        [shown],
        note="IPv6, 802.1Q, the segments with the certificate in the wrong order; certHash10 matches",
    )
    stage.expect(phone, "match")


def rejected(stage: Stage) -> None:
    """The hash matches, but the host-ID check is on and the certificate has another name."""
    phone = Phone("SEP00005E00531A", "198.51.100.26", "https://203.0.113.100/SSLVPNphone")
    identity = certificates.server("cme.example.com", names=("cme.example.com",))
    told(stage, phone, identity, check_host=True)
    with (
        stage.cable(phone),
        servers.head_end(identity, "203.0.113.100", stage.work),
        stage.recording() as caught,
    ):
        connection = phone.connect()
    shown = stage.handshake(connection, "rejected", served=[identity], devices=[phone])
    stage.save("rejected.pcapng", caught, [shown], note="fatal bad_certificate although the hash matches")
    stage.expect(phone, "rejected", "host-id")


def unseen(stage: Stage) -> None:
    """No capture shows this phone's head-end."""
    phone = Phone("SEP00005E00531B", "198.51.100.27", "https://203.0.113.110/SSLVPNphone")
    told(stage, phone, certificates.server("cme.example.com"))
    stage.expect(phone, "unseen")


SAMPLES: tuple[Callable[[Stage], None], ...] = (
    match,
    mismatch,
    fetched_over_tftp,
    ca_hash,
    resumed,
    dtls,
    anyconnect,
    tls13,
    voice_vlan,
    rejected,
    unseen,
)


def anyconnect_session(
    stage: Stage, phone: Phone, identity: Identity, version: tuple[int, int], *, resumed: bool
) -> tuple[list[frames.Frame], Connection, Connection]:
    """Record ocserv and openconnect until the DTLS channel is up; also return the two connections.

    The early DTLS resumes the TLS session; later versions derive a pre-shared key from it.
    """
    address = phone.url.split("/")[2]
    early = version == datagrams.EARLY
    with (
        servers.anyconnect(identity, address, stage.work, chain=identity.above, early_dtls=early),
        stage.recording() as caught,
    ):
        openconnect(stage, phone, identity, *(["--dtls-ciphers=AES128-SHA"] if early else []))
    # openconnect does not print its ports; they are those of the first packets to port 443
    ports = {frame.protocol: frame.ports[0] for frame in reversed(caught) if frame.ports[1] == 443}
    tunnel = Connection((phone.address, ports[6]), (address, 443), TLS_1_2, (), None)
    channel = Connection(
        (phone.address, ports[17]), (address, 443), version, (), None, resumed=resumed, transport="udp"
    )
    return caught, tunnel, channel


def openconnect(stage: Stage, phone: Phone, identity: Identity, *options: str) -> None:
    """Log in with openconnect, wait until its DTLS channel is up, and log out."""
    key = identity.certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    pin = base64.b64encode(hashlib.sha256(key).digest()).decode()
    log = stage.work / "openconnect.log"
    command = ["openconnect", "--non-inter", "--passwd-on-stdin", "--user", servers.USER]
    command += [
        "--servercert",
        f"pin-sha256:{pin}",
        "--script",
        "/bin/true",
        *options,
        phone.url.rsplit("/", 1)[0],
    ]
    client: subprocess.Popen[bytes] = network.start(network.PHONES, *command, log=log)
    assert client.stdin is not None
    client.stdin.write(f"{servers.PASSWORD}\n".encode())
    client.stdin.close()
    try:
        until(
            lambda: client.poll() is not None or b"Established DTLS connection" in log.read_bytes(),
            "the DTLS channel",
        )
        if client.poll() is not None:
            raise RuntimeError(f"openconnect: {log.read_text()}")
    finally:
        network.stop(client)
