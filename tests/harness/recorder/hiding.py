"""Record each way in which a handshake hides its certificates, or seems to."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from tests.harness.recorder import certificates, datagrams, frames, network, servers
from tests.harness.recorder.phone import TLS_1_2, TLS_1_3, Connection
from tests.harness.recorder.samples import anyconnect_session
from tests.harness.recorder.visits import numbered, ready, told, visit
from tests.harness.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.harness.recorder.stage import Stage

_HALF_HOUR = 1800


def tls13_keys(stage: Stage) -> None:
    """TLS 1.3 with its keys inside the file, once after a second ClientHello that the server requested."""
    for number, name, options in (
        (80, "tls13-keys", ()),
        (82, "tls13-retry", ("-groups", "P-384")),
    ):
        phone, identity = ready(stage, number, version=TLS_1_3)
        with stage.cable(phone):
            keys = stage.work / "keys.txt"
            caught, connection = visit(stage, phone, identity, options=("-keylogfile", str(keys), *options))
            shown = stage.handshake(connection, "match", served=[identity], devices=[phone])
            note = "TLS 1.3, the keys are in the file"
            stage.save(
                f"{name}.pcapng", caught, [shown], options=("--inject-secrets", f"tls,{keys}"), note=note
            )
        stage.expect(phone, "match")


def tls13_keylog(stage: Stage) -> None:
    """TLS 1.3 with its keys in a separate file; the certificate is visible only with that file."""
    phone = numbered(81, version=TLS_1_3)
    identity, older = certificates.server("vpn81.example.com"), certificates.server("vpn81.example.com")
    told(stage, phone, older)
    with stage.cable(phone):
        keys = stage.work / "keys.txt"
        caught, connection = visit(stage, phone, identity, options=("-keylogfile", str(keys)))
        log = keys.read_bytes()
    without = stage.handshake(
        connection, "unverifiable", served=[identity], devices=[phone], hidden="tls-1.3"
    )
    shown = stage.handshake(connection, "mismatch", served=[identity], devices=[phone])
    (stage.folder / "tls13-keylog.txt").write_bytes(log)
    stage.save("tls13-keylog.pcapng", caught, [without], note="TLS 1.3, the keys are in tls13-keylog.txt")
    stage.with_keylog("tls13-keylog.txt", [shown], {"verdict": "mismatch", "cause": "unknown-certificate"})
    stage.expect(phone, "unverifiable")


def lost(stage: Stage) -> None:
    """The frame with the certificate is missing; the alert after it alone proves nothing."""
    phone = numbered(83)
    identity, older = certificates.server("vpn83.example.com"), certificates.server("vpn83.example.com")
    told(stage, phone, older)
    with stage.cable(phone):
        caught, connection = visit(stage, phone, identity)
    (flight,) = frames.flight(caught, 443)
    shown = stage.handshake(
        connection,
        "unverifiable",
        served=[identity],
        devices=[phone],
        hidden="packets-missing",
        answered=False,
    )
    stage.save(
        "lost-frame.pcapng",
        frames.without(caught, flight),
        [shown],
        note="the frame with the certificate is lost",
    )
    stage.expect(phone, "unverifiable")


def half_lost(stage: Stage) -> None:
    """The second of the two frames with the chain is missing."""
    root = certificates.authority("Example Root CA")
    phone = numbered(101, version=TLS_1_2)
    identity = certificates.server("vpn101.example.com", by=root)
    told(stage, phone, identity)
    with stage.cable(phone):
        caught, connection = visit(stage, phone, identity, chain=identity.above)
    _, second = frames.flight(caught, 443)
    shown = stage.handshake(
        connection, "unverifiable", served=[identity, root], devices=[phone], hidden="packets-missing"
    )
    stage.save(
        "half-lost.pcapng", frames.without(caught, second), [shown], note="the chain's second frame is lost"
    )
    stage.expect(phone, "unverifiable")


def snapped(stage: Stage) -> None:
    """Each frame is cut after 200 bytes, as by ``tcpdump -s 200``."""
    phone, identity = ready(stage, 84)
    with stage.cable(phone):
        caught, connection = visit(stage, phone, identity)
    shown = stage.handshake(connection, "unverifiable", served=[identity], devices=[phone], hidden="snaplen")
    stage.save("snaplen.pcapng", caught, [shown], options=("-s", "200"), note="cut after 200 bytes a frame")
    stage.expect(phone, "unverifiable")


def oversized(stage: Stage) -> None:
    """A Certificate message over 64 KB, which tshark treats as encrypted, and one just below."""
    for number, name, padding, hidden in (
        (85, "over-64k", 66_000, "too-long"),
        (86, "under-64k", 60_000, None),
    ):
        phone = numbered(number)
        identity = certificates.server(f"vpn{number}.example.com", padding=padding)
        told(stage, phone, identity)
        with stage.cable(phone):
            caught, connection = visit(stage, phone, identity)
        verdict = "unverifiable" if hidden else "match"
        shown = stage.handshake(connection, verdict, served=[identity], devices=[phone], hidden=hidden)
        stage.save(
            f"{name}.pcap.gz", caught, [shown], note=f"a certificate with {padding:,} bytes in an extension"
        )
        stage.expect(phone, verdict)


def capf_port(stage: Stage) -> None:
    """A head-end on port 3804, which tshark assigns to another protocol."""
    phone, identity = ready(stage, 87, url="https://203.0.113.87:3804/SSLVPNphone")
    with stage.cable(phone):
        caught, connection = visit(stage, phone, identity)
    shown = stage.handshake(connection, "match", served=[identity], devices=[phone])
    stage.save("port-3804.pcapng", caught, [shown], note="port 3804")
    stage.expect(phone, "match")


def any_port(stage: Stage) -> None:
    """A head-end on an unregistered port."""
    phone, identity = ready(stage, 100, url="https://203.0.113.100:10443/SSLVPNphone")
    with stage.cable(phone):
        caught, connection = visit(stage, phone, identity)
    shown = stage.handshake(connection, "match", served=[identity], devices=[phone])
    stage.save("port-10443.pcapng", caught, [shown], note="port 10443")
    stage.expect(phone, "match")


def small_records(stage: Stage) -> None:
    """A chain of three certificates in records of 512 bytes; the hash is that of the middle one."""
    root = certificates.authority("Example Root CA 88")
    middle = certificates.authority("Example Issuing CA 88", above=root)
    identity = certificates.server("vpn88.example.com", by=middle)
    phone = numbered(88, version=TLS_1_2)
    told(stage, phone, middle)
    with stage.cable(phone):
        caught, connection = visit(
            stage, phone, identity, chain=identity.above, options=("-max_send_frag", "512")
        )
    chain = [identity.certificate, *identity.above]
    shown = stage.handshake(connection, "match", served=chain, devices=[phone])
    stage.save("small-records.pcapng", caught, [shown], note="three certificates in records of 512 bytes")
    stage.expect(phone, "match")


def late_start(stage: Stage) -> None:
    """The capture begins between ClientHello and ServerHello."""
    phone, identity = ready(stage, 89)
    with stage.cable(phone):
        caught, connection = visit(stage, phone, identity)
    shown = stage.handshake(connection, "match", served=[identity], devices=[phone], asked=False)
    first = frames.flight(caught, 443)[0]
    stage.save("late-start.pcapng", caught[first - 1 :], [shown], note="without the ClientHello")
    stage.expect(phone, "match")


def duplicated(stage: Stage) -> None:
    """Each frame twice, as in a mirror of two ports: still one handshake."""
    phone, identity = ready(stage, 90)
    with stage.cable(phone):
        caught, connection = visit(stage, phone, identity)
    twice = [frame for frame in caught for _ in range(2)]
    shown = stage.handshake(connection, "match", served=[identity], devices=[phone])
    stage.save("duplicated.pcapng", twice, [shown], note="each frame twice")
    stage.expect(phone, "match")


def cut_short(stage: Stage) -> None:
    """A file that ends within a packet, after the handshake."""
    phone, identity = ready(stage, 91)
    with stage.cable(phone):
        caught, connection = visit(stage, phone, identity)
    shown = stage.handshake(connection, "match", served=[identity], devices=[phone])
    stage.save("cut-short.pcap", caught, [shown], status="truncated", note="the file ends within a packet")
    path = stage.folder / "cut-short.pcap"
    path.write_bytes(path.read_bytes()[:-30])
    stage.captures[-1]["packets"] -= 1
    stage.expect(phone, "match")


def encrypted_alerts(stage: Stage) -> None:
    """Encrypted alerts whose ciphertext begins like a plain "fatal, bad_certificate", as one in 65,536 does.

    They are the close_notify of successful connections. In DTLS, tshark shows them as plain alerts.
    """
    looks_like = bytes([2, 42])
    for number, name, transport in ((104, "encrypted-alert", "tcp"), (105, "encrypted-alert-dtls", "udp")):
        phone, address = numbered(number), f"203.0.113.{number}"
        identity = certificates.server(f"vpn{number}.example.com")
        told(stage, phone, identity)
        protocol = "tls1" if transport == "tcp" else "dtls1"
        with (
            stage.cable(phone),
            servers.head_end(identity, address, stage.work, protocol=protocol),
            stage.recording() as caught,
        ):
            connection = phone.connect() if transport == "tcp" else phone.connect_with_datagrams()
        header = 5 if transport == "tcp" else 13
        (at,) = (
            index
            for index, frame in enumerate(caught)
            if frame.payload[:1] == b"\x15" and frame.ports[1] == 443
        )
        changed = [*caught[:at], frames.patched(caught[at], header, looks_like), *caught[at + 1 :]]
        shown = stage.handshake(connection, "match", served=[identity], devices=[phone])
        stage.save(
            f"{name}.pcapng", changed, [shown], note="the phone's encrypted alert looks like a plain one"
        )
        stage.expect(phone, "match")


def anyconnect_psk(stage: Stage) -> None:
    """Current AnyConnect: DTLS 1.2 uses a key from the TLS session, and contains no certificate."""
    phone, identity = ready(stage, 96, version=TLS_1_2)
    with stage.cable(phone):
        caught, tunnel, channel = anyconnect_session(
            stage, phone, identity, datagrams.DTLS_1_2, resumed=False
        )
    shown = [
        stage.handshake(tunnel, "match", served=[identity], devices=[phone]),
        stage.handshake(channel, "unverifiable", devices=[phone], hidden="no-certificate"),
    ]
    stage.save(
        "anyconnect-psk.pcapng", caught, shown, note="ocserv and openconnect, DTLS 1.2 with a pre-shared key"
    )
    stage.expect(phone, "match")


def port_reuse(stage: Stage) -> None:
    """Two connections with the same addresses and ports: two TCP streams for tshark, and two certificates."""
    phone = numbered(97)
    before, now = certificates.server("vpn97.example.com"), certificates.server("vpn97.example.com")
    told(stage, phone, now)
    with stage.cable(phone), stage.recording() as caught:
        with servers.head_end(before, "203.0.113.97", stage.work):
            first = phone.connect(own_port=50997)
        with servers.head_end(now, "203.0.113.97", stage.work):
            second = phone.connect(own_port=50997)
    later = [at for at, frame in enumerate(caught) if frame.opens_tcp][-1]
    shown = [
        stage.handshake(first, "mismatch", served=[before], devices=[phone]),
        stage.handshake(second, "match", served=[now], devices=[phone]),
    ]
    stage.save(
        "port-reuse.pcapng",
        frames.paused(caught, later, _HALF_HOUR),
        shown,
        note="the client's port is used twice",
    )
    stage.expect(phone, "match")


def several_connections(stage: Stage) -> None:
    """A full handshake, a resumed one, and another full one: the resumed one changes nothing."""
    phone, identity = ready(stage, 98)
    with (
        stage.cable(phone),
        servers.head_end(identity, "203.0.113.98", stage.work),
        stage.recording() as caught,
    ):
        first = phone.connect()
        again = phone.connect(session=first.session)
        last = phone.connect()
    assert again.resumed
    shown = [
        stage.handshake(first, "match", served=[identity], devices=[phone]),
        stage.handshake(again, "unverifiable", devices=[phone], hidden="resumed"),
        stage.handshake(last, "match", served=[identity], devices=[phone]),
    ]
    stage.save("several-connections.pcapng", caught, shown, note="full, resumed, full")
    stage.expect(phone, "match")


def renegotiated(stage: Stage) -> None:
    """A second handshake inside the first connection, readable with the keys in the file."""
    phone, identity = ready(stage, 99, version=TLS_1_2)
    with stage.cable(phone):
        keys = stage.work / "keys.txt"
        head_end = servers.head_end(
            identity,
            "203.0.113.99",
            stage.work,
            protocol="tls1_2",
            options=("-client_renegotiation",),
            answers=False,
        )
        command = ["openssl", "s_client", "-connect", "203.0.113.99:443", "-bind", f"{phone.address}:50999"]
        command += ["-tls1_2", "-noservername", "-keylogfile", str(keys)]
        with head_end, stage.recording() as caught:
            log = stage.work / "s_client.log"
            client = network.start(network.PHONES, *command, log=log)
            assert client.stdin is not None
            for key, answer in ((b"R\n", b"Verify return code"), (b"Q\n", b"RENEGOTIATING")):
                until(network.says(log, answer), "s_client")
                time.sleep(0.3)
                client.stdin.write(key)
                client.stdin.flush()
            client.wait(10)
        seen = Connection((phone.address, 50999), ("203.0.113.99", 443), TLS_1_2, (), None)
        shown = [stage.handshake(seen, "match", served=[identity], devices=[phone]) for _ in range(2)]
        stage.save(
            "renegotiated.pcapng",
            caught,
            shown,
            options=("--inject-secrets", f"tls,{keys}"),
            note="two handshakes in one TCP connection, the keys are in the file",
        )
    stage.expect(phone, "match")


def warning_alert(stage: Stage) -> None:
    """A bad_certificate alert of level warning, after which the phone continues: not a rejection."""
    phone = numbered(106)
    phone.warns = True
    identity = certificates.server("vpn106.example.com")
    told(stage, phone, identity)
    with stage.cable(phone):
        caught, connection = visit(stage, phone, identity)
    shown = stage.handshake(connection, "match", served=[identity], devices=[phone])
    stage.save("warning-alert.pcapng", caught, [shown], note="bad_certificate, level warning")
    stage.expect(phone, "match")


def old_version(stage: Stage) -> None:
    """A phone with TLS 1.0 only, and a head-end without TLS 1.0: no certificate is sent."""
    phone, identity = ready(stage, 107)
    with (
        stage.cable(phone),
        servers.head_end(identity, "203.0.113.107", stage.work, protocol="tls1_2"),
        stage.recording() as caught,
    ):
        connection = phone.connect()
    shown = stage.handshake(connection, "unverifiable", devices=[phone], hidden="incomplete", answered=False)
    stage.save("old-version.pcapng", caught, [shown], note="the head-end refuses TLS 1.0")
    stage.expect(phone, "unverifiable")


def unreachable(stage: Stage) -> None:
    """Nothing listens at the URL: packets, but no handshake."""
    phone = numbered(108)
    told(stage, phone, certificates.server("vpn108.example.com"))
    with stage.cable(phone):
        network.add_address(network.SERVERS, "203.0.113.108")
        with stage.recording() as caught, contextlib.suppress(ConnectionRefusedError):
            phone.connect()
    stage.save("unreachable.pcapng", caught, [], note="connection refused")
    stage.expect(phone, "unseen")


HIDING: tuple[Callable[[Stage], None], ...] = (
    tls13_keys,
    tls13_keylog,
    lost,
    half_lost,
    snapped,
    oversized,
    capf_port,
    any_port,
    small_records,
    late_start,
    duplicated,
    cut_short,
    encrypted_alerts,
    anyconnect_psk,
    port_reuse,
    several_connections,
    renegotiated,
    warning_alert,
    old_version,
    unreachable,
)
