"""TFTP and HTTP transfers of which all is known, with what happens to packets between a phone and its server.

Each follows from its number.  A transfer is a list of Ethernet frames, the file that it brings (or none), and
whether a reader may say otherwise, where the packets do not tell.
"""

from __future__ import annotations

import gzip
import random
import struct
import zlib
from typing import NamedTuple

from tests.harness import packets
from tests.harness.packets import Stream, configuration

SERVERS = ("192.0.2.1", "2001:db8::1")
PORTS = (69, 69, 69, 6969)
HTTP_PORTS = (80, 6970, 8080)
REAL_SIZES = (None, None, 8, 100, 512, 1024, 1228, 1428, 1468, 4096, 16384, 65464)


class Transfer(NamedTuple):
    """One file asked for, and what of it reached the capture."""

    kind: str
    name: str
    frames: list[bytes]
    content: bytes | None
    """What the phone has in the end; None where it has nothing."""
    told: bool = True
    """Wireshark tells which request each response answers; of several sent at once it does not."""


def generate(number: int) -> Transfer:
    """Return the transfer of this number."""
    chance = random.Random(number)
    name = f"SEP{number:012X}.cnf.xml"
    content = configuration(["https://203.0.113.1/vpn"], [f"{number:027d}="])
    content += chance.randbytes(chance.choice((0, 1, 150, 700, 3000, 9000)))
    return (_http if number % 3 == 2 else _tftp)(chance, number, name, content)


# ------------------------------------------------------------------------------------------------ TFTP


class _Talk:
    """Both ends of a TFTP transfer, who put their datagrams into frames."""

    def __init__(self, chance: random.Random, number: int) -> None:
        self.chance = chance
        self.server = chance.choice(SERVERS)
        host = number % 200 + 10 if chance.random() < 0.8 else 7
        self.phone = f"192.0.2.{host}" if self.server == SERVERS[0] else f"2001:db8::{host:x}"
        self.port = chance.choice(PORTS)
        self.client_port = 10000 + number % 40000
        self.server_port = self.port if chance.random() < 0.1 else 50000 + number % 15000

    def asked(self, payload: bytes) -> bytes:
        return packets.udp(self.phone, self.client_port, self.server, self.port, payload)

    def said(self, payload: bytes, server_port: int | None = None) -> bytes:
        return packets.udp(
            self.server, server_port or self.server_port, self.phone, self.client_port, payload
        )

    def answered(self, payload: bytes, server_port: int | None = None) -> bytes:
        return packets.udp(
            self.phone, self.client_port, self.server, server_port or self.server_port, payload
        )


def _options(chance: random.Random, size: int | None, window: int, length: int) -> tuple[bytes, bytes]:
    """Return the options of a request and those of the server's acknowledgement."""
    asked, agreed = [], []
    if size:
        asked.append(("blksize", size))
        agreed.append(("blksize", size))
    if window > 1:
        asked.append(("windowsize", window))
        agreed.append(("windowsize", window))
    if chance.random() < 0.4:
        asked.append(("tsize", 0))
        agreed.append(("tsize", length))
    if chance.random() < 0.2:
        asked.append(("timeout", 5))
        agreed.append(("timeout", 5))
    chance.shuffle(agreed)
    upper = chance.random() < 0.2

    def text(options: list[tuple[str, int]]) -> bytes:
        return b"".join(f"{n.upper() if upper else n}\0{v}\0".encode() for n, v in options)

    return text(asked), text(agreed)


def _blocks(wire: bytes, size: int, first_after_wrap: int) -> list[bytes]:
    pieces = [wire[at : at + size] for at in range(0, len(wire) + 1, size)]
    numbers = range(1, len(pieces) + 1)
    period = 65536 - first_after_wrap
    wrapped = [n if n < 65536 else (n - 65536) % period + first_after_wrap for n in numbers]
    return [struct.pack("!HH", 3, n) + piece for n, piece in zip(wrapped, pieces, strict=True)]


def _netascii(content: bytes) -> bytes:
    return content.replace(b"\r", b"\r\0").replace(b"\n", b"\r\n")


def _sent(talk: _Talk, blocks: list[bytes], window: int, server_port: int | None = None) -> list[bytes]:
    """Return the frames of the blocks, window for window, with the phone's acknowledgements."""
    frames = []
    for at in range(0, len(blocks), window):
        part = blocks[at : at + window]
        frames += [talk.said(block, server_port) for block in part]
        frames.append(talk.answered(b"\0\4" + part[-1][2:4], server_port))
    return frames


def _tftp(chance: random.Random, number: int, name: str, content: bytes) -> Transfer:
    talk = _Talk(chance, number)
    size, window = chance.choice(REAL_SIZES), chance.choice((1, 1, 1, 2, 4, 16))
    netascii = chance.random() < 0.15
    long = number % 1000 == 0
    if long:
        content, size, netascii = content.ljust(8 * 65600 + 5), 8, False
    wire = _netascii(content) if netascii else content
    asked, agreed = _options(chance, size, window, len(wire))
    mode = chance.choice((b"netascii", b"NetASCII")) if netascii else chance.choice((b"octet", b"OCTET"))
    request = b"\0\1" + name.encode() + b"\0" + mode + b"\0" + asked
    blocks = _blocks(wire, size or 512, chance.choice((0, 1)) if long else 0)
    start = [talk.said(b"\0\6" + agreed), talk.answered(b"\0\4\0\0")] if agreed else []
    body = _sent(talk, blocks, window)
    kind = chance.choice(sorted(_TROUBLES))
    frames, whole = _TROUBLES[kind](talk, talk.asked(request), start, body, blocks)
    frames = _wrapped(chance, frames)
    return Transfer(f"tftp {kind}", name, frames, content if whole else None)


_Told = tuple[list[bytes], bool]


def _smooth(
    _talk: _Talk, request: bytes, start: list[bytes], body: list[bytes], _blocks: list[bytes]
) -> _Told:
    return [request, *start, *body], True


def _request_again(
    talk: _Talk, request: bytes, start: list[bytes], body: list[bytes], _blocks: list[bytes]
) -> _Told:
    return [request] * talk.chance.randint(2, 4) + start + body, True


def _served_twice(
    talk: _Talk, request: bytes, start: list[bytes], body: list[bytes], blocks: list[bytes]
) -> _Told:
    """The phone asks again before it has the first answer, and the server answers both from two ports."""
    other = talk.server_port + 1 if talk.server_port != talk.port else 49999
    first = talk.said(blocks[0], other) if not start else None
    early = [first] if first else []
    return [request, *early, request, *start, *body], True


def _second_server_ended(
    talk: _Talk, request: bytes, start: list[bytes], body: list[bytes], blocks: list[bytes]
) -> _Told:
    """The phone asks again, is answered from two ports, and ends the second transfer as RFC 1350 has it."""
    other = talk.server_port + 1 if talk.server_port != talk.port else 49999
    second = talk.said(blocks[0], other) if not start else b""
    ended = talk.chance.choice((talk.answered, talk.said))(b"\0\5\0\5unknown transfer ID\0", other)
    at = talk.chance.randrange(1, len(body))
    return [
        request,
        *start,
        *body[:1],
        request,
        *([second] if second else []),
        ended,
        *body[1:at],
        ended,
        *body[at:],
    ], True


def _window_again(
    talk: _Talk, request: bytes, start: list[bytes], body: list[bytes], _blocks: list[bytes]
) -> _Told:
    at = talk.chance.randrange(len(body))
    end = min(len(body), at + talk.chance.randint(1, 8))
    return [request, *start, *body[:end], *body[at:end], *body[end:]], True


def _each_twice(
    _talk: _Talk, request: bytes, start: list[bytes], body: list[bytes], _blocks: list[bytes]
) -> _Told:
    return [request, *start, *(frame for frame in body for _ in range(2))], True


def _lost(talk: _Talk, request: bytes, start: list[bytes], body: list[bytes], blocks: list[bytes]) -> _Told:
    gone = talk.said(talk.chance.choice(blocks))
    return [request, *start, *(frame for frame in body if frame != gone)], False


def _lost_and_sent_again(
    talk: _Talk, request: bytes, start: list[bytes], body: list[bytes], blocks: list[bytes]
) -> _Told:
    at = talk.chance.randrange(len(blocks))
    late = body.index(talk.said(blocks[at]))
    end = min(len(body), late + talk.chance.randint(1, 12))
    return [request, *start, *body[:late], *body[late + 1 : end], *body[late:]], True


def _disorder(
    talk: _Talk, request: bytes, start: list[bytes], body: list[bytes], _blocks: list[bytes]
) -> _Told:
    mixed = list(body)
    for at in range(0, len(mixed), 4):
        part = mixed[at : at + 4]
        talk.chance.shuffle(part)
        mixed[at : at + 4] = part
    return [request, *start, *mixed], True


def _refused(
    talk: _Talk, request: bytes, _start: list[bytes], _body: list[bytes], _blocks: list[bytes]
) -> _Told:
    return [request, talk.said(b"\0\5\0\1no such file\0")], False


def _ended_by_error(
    talk: _Talk, request: bytes, start: list[bytes], body: list[bytes], _blocks: list[bytes]
) -> _Told:
    sender = talk.chance.choice((talk.said, talk.answered))
    return [request, *start, *body[: max(0, len(body) - 2)], sender(b"\0\5\0\0ended\0")], False


def _no_acknowledgements(
    talk: _Talk, request: bytes, start: list[bytes], body: list[bytes], blocks: list[bytes]
) -> _Told:
    """Recorded on the way from the server to the phone only, but for the request."""
    del body
    return [request, *start[:1], *(talk.said(block) for block in blocks)], True


_TROUBLES = {
    "smooth": _smooth,
    "request again": _request_again,
    "served twice": _served_twice,
    "second server ended": _second_server_ended,
    "window again": _window_again,
    "each twice": _each_twice,
    "lost": _lost,
    "lost and sent again": _lost_and_sent_again,
    "disorder": _disorder,
    "refused": _refused,
    "ended by error": _ended_by_error,
    "no acknowledgements": _no_acknowledgements,
}


# ------------------------------------------------------------------------------------------------ HTTP


def _wrapped(chance: random.Random, frames: list[bytes]) -> list[bytes]:
    """Return the frames as they are, or in one VLAN or two."""
    tags = chance.choice((b"", b"", b"\x81\0\0\x64", b"\x88\xa8\0\x64\x81\0\0\x07"))
    return [frame[:12] + tags + frame[12:] for frame in frames]


def _encoded(chance: random.Random, content: bytes) -> tuple[bytes, list[str]]:
    """Return a body and the header lines that say how it is compressed and where it ends."""
    lines = []
    way = chance.choice(("", "", "gzip", "deflate"))
    if way == "gzip":
        content = gzip.compress(content, mtime=0)
    elif way == "deflate":
        content = zlib.compress(content)
    if way:
        lines.append(f"Content-Encoding: {way}")
    if chance.random() < 0.5:
        return content, [*lines, f"Content-Length: {len(content)}"]
    chunks, at = b"", 0
    while at < len(content):
        length = chance.randint(1, 2000)
        chunks += b"%x\r\n%s\r\n" % (len(content[at : at + length]), content[at : at + length])
        at += length
    end = chance.choice((b"0\r\n\r\n", b"0\r\nX-Checked: yes\r\n\r\n"))
    return chunks + end, [*lines, "Transfer-Encoding: chunked"]


def _answer(status: str, lines: list[str], body: bytes = b"") -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", "Server: example", *lines, "", ""]).encode() + body


def _request(chance: random.Random, method: str, name: str, server: str, *lines: str) -> bytes:
    host = f"[{server}]" if ":" in server else server
    target = chance.choice((f"/{name}", f"/{name}?a=1", f"http://{host}/{name}", f"/its/{name}"))
    return "\r\n".join([f"{method} {target} HTTP/1.1", f"Host: {host}", *lines, "", ""]).encode()


def _conversation(
    chance: random.Random, name: str, content: bytes, server: str
) -> tuple[str, list[tuple[bytes, bytes]], bool]:
    """Return a kind, what is asked and answered in turn, and whether the file is brought."""
    body, lines = _encoded(chance, content)
    get = _request(chance, "GET", name, server)
    good = (get, _answer("200 OK", lines, body))
    other = (
        _request(chance, "GET", "ringlist.xml", server),
        _answer("200 OK", ["Content-Length: 3"], b"<a>"),
    )
    head = (_request(chance, "HEAD", name, server), _answer("200 OK", [f"Content-Length: {len(body)}"]))
    missing = (get, _answer("404 Not Found", ["Content-Length: 9"], b"not found"))
    unchanged = (
        _request(chance, "GET", name, server, 'If-None-Match: "1"'),
        _answer("304 Not Modified", ['ETag: "1"']),
    )
    part = (
        _request(chance, "GET", name, server, "Range: bytes=0-99"),
        _answer(
            "206 Partial Content",
            ["Content-Length: 100", f"Content-Range: bytes 0-99/{len(content)}"],
            content[:100],
        ),
    )
    kinds: dict[str, tuple[list[tuple[bytes, bytes]], bool]] = {
        "one": ([good], True),
        "kept alive": ([other, good, other], True),
        "after HEAD": ([head, good], True),
        "HEAD alone": ([head], False),
        "missing": ([missing], False),
        "after missing": ([missing, good], True),
        "unchanged": ([unchanged], False),
        "after unchanged": ([unchanged, good], True),
        "a part": ([part], False),
        "continue": ([(get, _answer("100 Continue", []) + good[1])], True),
    }
    kind = chance.choice(sorted(kinds))
    return kind, *kinds[kind]


def _http(chance: random.Random, number: int, name: str, content: bytes) -> Transfer:
    server = chance.choice(SERVERS)
    phone = f"192.0.2.{number % 200 + 10}" if server == SERVERS[0] else f"2001:db8::{number % 200 + 16:x}"
    stream = Stream(phone, 10000 + number % 40000, server, chance.choice(HTTP_PORTS))
    kind, turns, whole = _conversation(chance, name, content, server)
    segment = chance.choice((100, 536, 1400))
    opening, frames = stream.open(), []
    told = True
    if pipelined := chance.random() < 0.3:
        told = len(turns) == 1
        turns = [(b"".join(asked for asked, _ in turns), b"".join(said for _, said in turns))]
    for asked, said in turns:
        frames += stream.send(asked, from_client=True, segment=segment)
        frames += stream.send(said, from_client=False, segment=segment)
    trouble = chance.choice(("", "", "again", "disorder"))
    if trouble == "again":
        at = chance.randrange(len(frames))
        frames[at:at] = [frames[max(0, at - 1)]]
    elif trouble == "disorder" and not pipelined:
        at = chance.randrange(len(frames))
        if at + 2 < len(frames) and frames[at][:40] == frames[at + 1][:40]:
            frames[at : at + 2] = frames[at + 1], frames[at]
    closing = [stream.frame(17, b"", from_client=False), stream.frame(17, b"", from_client=True)]
    label = " ".join(["http", kind, *(["pipelined"] if pipelined else []), *([trouble] if trouble else [])])
    frames = _wrapped(chance, [*opening, *frames, *closing])
    return Transfer(label, name, frames, content if whole else None, told)
