"""Record each way in which a handshake of DTLS hides its certificates, or seems to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.harness.recorder import certificates, datagrams, frames, servers
from tests.harness.recorder.visits import numbered, ready, told

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.harness.recorder.stage import Stage

_HALF_HOUR = 1800


def dtls_refused(stage: Stage) -> None:
    """A mismatch over DTLS 1.2, with the alert in a datagram."""
    phone = numbered(92)
    identity, older = certificates.server("vpn92.example.com"), certificates.server("vpn92.example.com")
    told(stage, phone, older)
    with (
        stage.cable(phone),
        servers.head_end(identity, "203.0.113.92", stage.work, protocol="dtls1_2"),
        stage.recording() as caught,
    ):
        connection = phone.connect_with_datagrams(datagrams.DTLS_1_2)
    shown = stage.handshake(connection, "mismatch", served=[identity], devices=[phone])
    stage.save("dtls-refused.pcapng", caught, [shown], note="DTLS 1.2, fatal bad_certificate")
    stage.expect(phone, "mismatch", "unknown-certificate")


def dtls_twice(stage: Stage) -> None:
    """Two handshakes with the same addresses and ports, so in one UDP stream, and with two certificates.

    In fragments, tshark takes the second Certificate message for a damaged copy of the first, which has the
    same sequence number, and shows none: it is then unknown which certificate the phone rejected.
    """
    for number, name, mtu, hidden in (
        (93, "dtls-twice", "1400", None),
        (103, "dtls-twice-fragments", "400", "packets-missing"),
    ):
        phone, address = numbered(number), f"203.0.113.{number}"
        before, now = (certificates.server(f"vpn{number}.example.com") for _ in range(2))
        told(stage, phone, before)
        with stage.cable(phone), stage.recording() as caught:
            with servers.head_end(before, address, stage.work, protocol="dtls1", options=("-mtu", mtu)):
                first = phone.connect_with_datagrams()
            with servers.head_end(now, address, stage.work, protocol="dtls1", options=("-mtu", mtu)):
                second = phone.connect_with_datagrams()
        hellos = [at for at, frame in enumerate(caught) if frame.payload[13:14] == b"\x01"]
        verdict = "unverifiable" if hidden else "mismatch"
        shown = [
            stage.handshake(first, "match", served=[before], devices=[phone]),
            stage.handshake(second, verdict, served=[now], devices=[phone], hidden=hidden),
        ]
        later = frames.paused(caught, hellos[-2], _HALF_HOUR)  # the last one repeats the cookie
        stage.save(f"{name}.pcapng", later, shown, note="two handshakes in one UDP stream")
        if hidden:
            stage.expect(phone, None, note="a match, refused later for a reason not seen")
        else:
            stage.expect(phone, "mismatch", "stale-hash")


def dtls_fragments(stage: Stage) -> None:
    """Fragments of a DTLS Certificate message: one lost; two out of order, which tshark does not sort."""
    for number, name in ((94, "dtls-lost"), (102, "dtls-swapped")):
        phone, address = numbered(number), f"203.0.113.{number}"
        identity = certificates.server(f"vpn{number}.example.com")
        told(stage, phone, identity)
        with (
            stage.cable(phone),
            servers.head_end(identity, address, stage.work, protocol="dtls1", options=("-mtu", "400")),
            stage.recording() as caught,
        ):
            connection = phone.connect_with_datagrams()
        flight = [at for at, frame in enumerate(caught) if frame.ports[0] == 443 and len(frame.payload) > 200]
        changed = (
            frames.without(caught, flight[1])
            if name == "dtls-lost"
            else frames.swapped(caught, flight[1], flight[2])
        )
        shown = stage.handshake(
            connection, "unverifiable", served=[identity], devices=[phone], hidden="packets-missing"
        )
        stage.save(f"{name}.pcapng", changed, [shown], note=f"fragments of the certificate: {name[5:]}")
        stage.expect(phone, "unverifiable")


def early_dtls(stage: Stage) -> None:
    """Cisco's pre-standard DTLS, version 0x0100, with a certificate in the handshake."""
    phone, identity = ready(stage, 95)
    client = (phone.address, 50443)
    with (
        stage.cable(phone),
        datagrams.head_end(identity, "203.0.113.95", client, stage.work),
        stage.recording() as caught,
    ):
        connection = phone.connect_with_datagrams(datagrams.EARLY)
    shown = stage.handshake(connection, "match", served=[identity], devices=[phone])
    stage.save("early-dtls.pcapng", caught, [shown], note="DTLS version 0x0100")
    stage.expect(phone, "match")


HIDING_DTLS: tuple[Callable[[Stage], None], ...] = (dtls_refused, dtls_twice, dtls_fragments, early_dtls)
