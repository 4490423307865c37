"""Generate captures that are difficult for carving: irregularities of TCP and TLS in random combinations.

``python -m tests.capture.first_pass.soup`` records new handshakes.
"""

from __future__ import annotations

import base64
import json
import random
import ssl
import struct
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.harness.benchmarks.captures import (
    ACK,
    SYN,
    Endpoints,
    Segment,
    Turn,
    dns_lookup,
    make_identity,
    rtp_call,
    tcp_frame,
    tcp_segments,
    tls_transcript,
    udp_frame,
)
from tests.harness.fidelity.disturb import answered_twice, counting_padding
from tests.harness.fidelity.generate import fragments, ipv6_of

if TYPE_CHECKING:
    from collections.abc import Iterator

ALERT = b"\x15\x03\x03\x00\x02\x02\x2a"
"""An unencrypted fatal bad_certificate alert."""


def record(kind: int, body: bytes, version: int = 0x303) -> bytes:
    """Return a TLS record."""
    return struct.pack(">BHH", kind, version, len(body)) + body


def handshake(kind: int, body: bytes, piece: int = 16384) -> bytes:
    """Return a handshake message in as many records as necessary."""
    message = bytes([kind]) + len(body).to_bytes(3, "big") + body
    return b"".join(record(22, message[at : at + piece]) for at in range(0, len(message), piece))


def resumed(session: bytes = b"") -> list[Turn]:
    """Return a connection that resumes a session, by a ticket or by this identifier of the session."""
    hello = b"\x03\x03" + bytes(range(32)) + bytes([len(session)]) + session
    finished = record(20, b"\x01") + record(22, bytes(range(40)))
    return [
        Turn("client", handshake(1, hello + b"\x00\x02\xc0\x2f\x01\x00")),
        Turn("server", handshake(2, hello + b"\xc0\x2f\x00") + finished),
        Turn("client", finished + record(23, bytes(400))),
        Turn("server", record(23, bytes(3000))),
        Turn("client", record(23, bytes(400))),
    ]


RECORDED = Path(__file__).with_name("handshakes.json")
"""The file with a certificate (DER) and the handshake of each TLS version, in Base64."""
OVERHEAD = {"TLSv1_2": 24, "TLSv1_3": 17}
"""Overhead in bytes of an AES-GCM record (RFC 5288, RFC 8446 section 5.2)."""


def record_handshakes() -> None:
    """Record handshakes of this machine's TLS library in :data:`RECORDED`."""
    with tempfile.TemporaryDirectory() as folder:
        identity = make_identity(Path(folder), "soup.example")
        said: dict[str, object] = {
            "certificate": base64.b64encode(
                ssl.PEM_cert_to_DER_cert(identity.certificate.read_text())
            ).decode()
        }
        for version in OVERHEAD:
            turns = tls_transcript(identity, version=ssl.TLSVersion[version])
            said[version] = [[turn.side, base64.b64encode(turn.data).decode()] for turn in turns]
    RECORDED.write_text(json.dumps(said, indent=1) + "\n")


class Kitchen:
    """Transcripts to choose from.

    The handshakes are recorded, because another TLS library or release would give other captures.
    """

    def __init__(self) -> None:
        """Read the recorded handshakes, and add data of several sizes."""
        recorded = json.loads(RECORDED.read_text())
        self.der = base64.b64decode(recorded["certificate"])
        self.full = []
        for version, overhead in OVERHEAD.items():
            *shaken, closed = [Turn(side, base64.b64decode(data)) for side, data in recorded[version]]
            for size, write in ((0, 1), (3000, 700), (40_000, 1419), (60_000, 16384)):
                pieces = [min(write, size - at) for at in range(0, size, write)]
                choose = random.Random(size)
                data = b"".join(record(23, choose.randbytes(piece + overhead)) for piece in pieces)
                exchange = [Turn("client", record(23, choose.randbytes(99))), Turn("server", data)]
                self.full.append([*shaken, *(exchange if size else []), closed])

    def script(self, choose: random.Random) -> list[Turn]:  # noqa: C901, PLR0911, PLR0912  (a list of cases)
        """Return the data of a connection, mostly TLS, in one of many forms."""
        full = choose.choice(self.full)
        again = choose.choice(self.full)
        hello = full[0]
        odd = choose.randrange(13)
        match odd:
            case 0:
                return [*full, *again]
            case 1:
                return [*full, Turn("client", ALERT)]
            case 2:
                return [
                    *full,
                    Turn("server", b"220 clear again\r\n"),
                    Turn("client", b"AUTH TLS\r\n"),
                    *again,
                ]
            case 3:
                return [
                    Turn("server", b"220 mail ESMTP\r\n"),
                    Turn("client", b"STARTTLS\r\n"),
                    Turn("server", b"220 go\r\n"),
                    *full,
                ]
            case 4:
                connect = b"CONNECT vpn.example:443 HTTP/1.1\r\nHost: vpn.example\r\n\r\n"
                return [Turn("client", connect), Turn("server", b"HTTP/1.1 200 OK\r\n\r\n"), *full]
            case 5:
                # A chain in many records, and a client that rejects it.
                chain = b"".join(
                    len(self.der).to_bytes(3, "big") + self.der for _ in range(choose.choice((3, 22, 45, 80)))
                )
                certificate = handshake(
                    11, len(chain).to_bytes(3, "big") + chain, choose.choice((500, 4000, 16384))
                )
                server = (
                    handshake(2, b"\x03\x03" + bytes(32) + b"\x00\xc0\x2f\x00")
                    + certificate
                    + handshake(14, b"")
                )
                return [hello, Turn("server", server), Turn("client", ALERT)]
            case 6:
                data = b"".join(record(23, choose.randbytes(choose.randrange(1, 9000))) for _ in range(12))
                return [
                    *full,
                    Turn("server", data + ALERT + data),
                    Turn("client", data),
                    Turn("client", ALERT),
                ]
            case 7:
                name = f"/SEP{choose.randrange(1 << 48):012X}.cnf.xml"
                body = b"<device><vpnGroup>" + b"x" * choose.randrange(9000) + b"</vpnGroup></device>"
                answer = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
                asked = Turn("client", f"GET {name} HTTP/1.1\r\nHost: cme\r\n\r\n".encode())
                return [asked, Turn("server", answer), asked, Turn("server", answer)]
            case 8:
                return [Turn("client", choose.randbytes(3000)), Turn("server", choose.randbytes(30_000))]
            case 9:
                # The part before it was not captured.
                return full[choose.randrange(1, len(full)) :]
            case 10:
                return [
                    Turn("client", record(23, bytes(99))),
                    Turn("server", record(23, bytes(9999)) + record(23, bytes(9))),
                ]
            case 11:
                return resumed(choose.choice((b"", choose.randbytes(32))))
            case _:
                return full


def layered(choose: random.Random, frame: bytes) -> bytes:
    """Sometimes add one or two VLAN tags."""
    tags = choose.choice((0, 0, 0, 1, 2))
    return frame[:12] + b"\x81\x00\x00\x07" * tags + frame[12:]


def disturbed(choose: random.Random, segments: list[Segment]) -> list[Segment]:  # noqa: C901  (cases)
    """Lose, repeat, reorder and join the segments of a connection, as networks and capture points do."""
    trouble = choose.choice(("none", "none", "reorder", "lose", "repeat", "join", "late", "half", "much"))
    rate = choose.choice((0.01, 0.05, 0.2))
    out = list(segments)
    if trouble in ("join", "much"):
        for index in range(len(out) - 1):
            first, second = out[index], out[index + 1]
            if (
                first.from_client == second.from_client
                and first.payload
                and second.payload
                and choose.random() < rate
            ):
                out[index + 1] = first._replace(payload=first.payload + second.payload)
    if trouble in ("repeat", "much"):
        out = [copy for segment in out for copy in [segment] * (1 + (choose.random() < rate))]
        for _ in range(3):
            segment = choose.choice(segments)
            out.insert(choose.randrange(len(out)), segment)
    if trouble in ("lose", "much"):
        out = [segment for segment in out if choose.random() > rate]
    if trouble in ("reorder", "much"):
        for index in range(len(out) - 3):
            if choose.random() < rate:
                other = index + choose.randrange(1, 4)
                out[index], out[other] = out[other], out[index]
    if trouble == "late" and len(out) > 4:
        out.append(out.pop(choose.randrange(len(out) // 2)))
    if trouble == "half":
        side = choose.random() < 0.5
        out = [segment for segment in out if segment.from_client == side]
    return out


def connection(  # noqa: C901 - a list of cases
    choose: random.Random, kitchen: Kitchen, index: int
) -> Iterator[tuple[bytes, int]]:
    """Yield the frames of one connection, and the number of captured bytes of each."""
    port = choose.choice((443, 443, 8443, 3804, 25, 80, 6970, 5061, 2000, 9999))
    ends = Endpoints(
        bytes((10, 9, index >> 8 & 0xFF, index & 0xFF)), bytes((192, 0, 2, 9)), 30_000 + index % 7, port
    )
    parts = []
    for _ in range(choose.choice((1, 1, 1, 2))):
        # The second connection uses the same port.
        isn = choose.choice((choose.randrange(1 << 32), (1 << 32) - choose.randrange(20_000)))
        turns = kitchen.script(choose)
        segments = list(
            tcp_segments(turns, isn, choose.randrange(1 << 32), choose.choice((1448, 1448, 536, 9000, 97)))
        )
        if choose.random() < 0.1:
            segments = segments[choose.randrange(len(segments)) :]
        if choose.random() < 0.05 and len(segments) > 1 and segments[1].flags == SYN | ACK:
            segments = answered_twice(choose.choice((-5000, 5000)))(segments)
        parts += disturbed(choose, segments)
    six, snap, tagged = choose.random() < 0.15, choose.random() < 0.05, choose.random() < 0.1
    split = choose.random() < 0.05
    padded = choose.random() < 0.05
    for segment in parts:
        frame = tcp_frame(ends, segment)
        if padded:
            frame = counting_padding(frame, 46)
        if six:
            frame = frame[:12] + b"\x86\xdd" + ipv6_of(frame)
        elif split and choose.random() < 0.2 and len(segment.payload) > 600:
            for piece in fragments(frame, 0x1234):
                yield piece, len(piece)
            continue
        if tagged:
            frame = layered(choose, frame)
        if len(frame) < 60:
            frame += bytes(60 - len(frame))
        yield frame, 120 if snap and choose.random() < 0.5 else len(frame)


def tftp(index: int, choose: random.Random) -> Iterator[tuple[bytes, int]]:
    """Yield a TFTP transfer of a phone's file, from a port that the server chooses."""
    ends = Endpoints(
        bytes((10, 8, index >> 8 & 0xFF, index & 0xFF)), bytes((192, 0, 2, 8)), 40_000 + index % 999, 69
    )
    data = ends._replace(server_port=50_000 + index)
    ask = udp_frame(ends, True, b"\x00\x01" + f"SEP{index:012X}.cnf.xml".encode() + b"\x00octet\x00")
    yield ask, len(ask)
    size = choose.choice((512, 1400))
    body = b"<device>" + bytes(choose.randrange(4000)) + b"</device>"
    for block in range(len(body) // size + 1):
        number = struct.pack(">H", block + 1)
        for from_client, payload in (
            (False, b"\x00\x03" + number + body[block * size :][:size]),
            (True, b"\x00\x04" + number),
        ):
            frame = udp_frame(data, from_client, payload)
            yield frame, len(frame)


def soup(kitchen: Kitchen, seed: int, connections: int) -> list[tuple[bytes, int]]:
    """Return the interleaved frames of many connections, with the number of captured bytes of each."""
    choose = random.Random(seed)
    flows: list[Iterator[tuple[bytes, int]]] = []
    for index in range(connections):
        flows.append(connection(choose, kitchen, index))
        if choose.random() < 0.2:
            flows.append(tftp(index, choose))
        if choose.random() < 0.2:
            flows.append((frame, len(frame)) for frame in dns_lookup(index))
        if choose.random() < 0.1:
            flows.append((frame, len(frame)) for frame in rtp_call(index, 60))
    lists = [list(flow) for flow in flows]
    frames: list[tuple[bytes, int]] = []
    active: list[list[tuple[bytes, int]]] = []
    while lists or active:
        while lists and len(active) < 20:
            active.append(lists.pop(0)[::-1])
        one = choose.choice(active)
        frames += [one.pop() for _ in range(min(len(one), choose.randrange(1, 6)))]
        if not one:
            active.remove(one)
    return frames


if __name__ == "__main__":
    record_handshakes()
