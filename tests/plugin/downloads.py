"""The cases of downloads: what is on the wire, and the files that the plugin must find in it."""

from __future__ import annotations

import gzip
import random
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from tests.harness import packets
from tests.harness.packets import OTHER_PHONE, PHONE, TFTP_SERVER, Stream, configuration, transfer

if TYPE_CHECKING:
    from collections.abc import Iterable


NAMES = ("certhash.cnf_downloaded", "certhash.cnf_content", "certhash.cnf_client", "certhash.cnf_server")
NAME = "SEP001F6C81110E.cnf.xml"
OTHER = "SEP001122334455.cnf.xml"
FILE = configuration(["https://203.0.113.1/SSLVPNphone"], ["fZ2xQHMBcWj/fSoNs5IkPbA2Pt8="]).ljust(2000)


class Case(NamedTuple):
    """Frames, and the files that a phone gets by them: the name, the content, the phone."""

    frames: list[bytes]
    files: list[tuple[str, bytes, str]]


class Shown(NamedTuple):
    """The plugin's fields of one frame."""

    frame: int
    file: tuple[str, bytes, str] | None
    server: str
    failed: list[str]


# ---------------------------------------------------------------------------------------------- frames


def one_by_one(ways: Iterable[list[bytes]]) -> list[bytes]:
    """Return the frames of several transfers, one after the other."""
    return list(chain.from_iterable(ways))


def in_turns(one: list[bytes], two: list[bytes]) -> list[bytes]:
    """Return the frames of two transfers at the same time."""
    return one_by_one(map(list, zip(one, two, strict=True)))


def http(path: str, response: bytes, port: int, client_port: int = 49400) -> list[bytes]:
    """Return the frames of one request and its response."""
    stream = Stream(PHONE, client_port, TFTP_SERVER, port)
    request = f"GET {path} HTTP/1.1\r\nHost: {TFTP_SERVER}\r\n\r\n".encode()
    return [
        *stream.open(),
        *stream.send(request, from_client=True),
        *stream.send(response, from_client=False, segment=500),
        stream.frame(17, b"", from_client=False),
        stream.frame(17, b"", from_client=True),
    ]


def plain(content: bytes, *more: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(content)}", "Content-Type: text/xml", *more]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


def exchange(*turns: tuple[bool, bytes]) -> list[bytes]:
    """Return the frames of one connection with a server of files: who speaks, and what."""
    stream = Stream(PHONE, 49400, TFTP_SERVER, 6970)
    frames = stream.open()
    for from_client, payload in turns:
        frames += stream.send(payload, from_client=from_client, segment=9000)
    return frames


def get(name: str) -> bytes:
    return f"GET /{name} HTTP/1.1\r\nHost: tftp.example.com:6970\r\n\r\n".encode()


def sent_again(*, request: bool, response: bool) -> list[bytes]:
    """Return a connection in which segments of the request or of the response are sent twice."""
    stream = Stream(PHONE, 49400, TFTP_SERVER, 6970)
    opening = stream.open()
    asked, said = stream.send(get(NAME), from_client=True), stream.send(plain(FILE), from_client=False)
    if request and response:
        return [*opening, *in_turns([*asked, *said], [*asked, *said])]
    return [*opening, *asked, *(asked if request else []), *said, *(said if response else [])]


def ports_used_again() -> list[bytes]:
    """Return two connections of the same ports, of which the first one gets no response."""
    first, second = (
        Stream(PHONE, 49400, TFTP_SERVER, 6970, {True: at, False: 5 * at}) for at in (1000, 90000)
    )
    frames = [*first.open(), *first.send(get("a.xml"), from_client=True), *second.open()]
    return frames + second.send(get(NAME), from_client=True) + second.send(plain(FILE), from_client=False)


def asks(name: str, port: int = 49300) -> bytes:
    return packets.udp(PHONE, port, TFTP_SERVER, 69, b"\0\1" + name.encode() + b"\0octet\0")


def answers_with_error(code: int, text: bytes, port: int = 49300) -> bytes:
    return packets.udp(TFTP_SERVER, 32769, PHONE, port, b"\0\5" + bytes([0, code]) + text + b"\0")


# ----------------------------------------------------------------------------------- transfers by TFTP

SIMPLE = transfer(NAME, FILE)
WITH_OPTION = transfer(NAME, FILE, size=1000)
FROM_ANOTHER_PORT = transfer(NAME, FILE, server_port=32770)
SWAPPED = transfer(NAME, FILE.swapcase())
CHANGED = FILE.swapcase().replace(b" ", b"_")  # each block of it is another
DEFAULT = transfer("XMLDefault.cnf.xml", CHANGED, server_port=32770)
OTHER_ANSWER = transfer(NAME, CHANGED, server_port=32770)
RINGS = transfer("ringlist.xml", CHANGED, size=1000)
ONE_RING = transfer("ringlist.xml", FILE[:400].swapcase())
ENDS_THE_SECOND = {
    "phone": packets.udp(PHONE, 49300, TFTP_SERVER, 32770, b"\0\5\0\5unknown transfer ID\0"),
    "server": packets.udp(TFTP_SERVER, 32770, PHONE, 49300, b"\0\5\0\5unknown transfer ID\0"),
}
SHORT = FILE[:500]
ONE_BLOCK = transfer(NAME, SHORT)
SIZES_AND_PORTS = [(size, port) for size in (None, 8, 100, 1000, 1428, 8192) for port in (69, 6969)]
LENGTHS = [random.Random(length).randbytes(length) for length in (1, 511, 512, 513, 1024, 65536)]
LEARNED_NAMES = {
    "SEP001F6C81110E.cnf.xml.sgn": "SEP001F6C81110E.cnf.xml.sgn",
    "SEP001F6C81110E.cnf.xml.enc.sgn": "SEP001F6C81110E.cnf.xml.enc.sgn",
    "XMLDefault7960.cnf.xml": "XMLDefault7960.cnf.xml",
    "XMLDefault.cnf.xml": "XMLDefault.cnf.xml",
    "flash:/its/vrf1_SEP001F6C81110E.cnf.xml": "vrf1_SEP001F6C81110E.cnf.xml",
    "its\\sep001f6c81110e.CNF.XML": "sep001f6c81110e.CNF.XML",
}
OTHER_NAMES = ("SEP001F6C81110E.cnf", "ringlist.xml", "CTLSEP001F6C81110E.tlv", ".cnf.xml", "cnf.xml")
UPLOADED = transfer(NAME, FILE, client=TFTP_SERVER, client_port=32769, server=PHONE, server_port=49300)[1:]
QUOTED = packets.ip(PHONE, TFTP_SERVER, packets.ICMP, b"\3\3\0\0\0\0\0\0" + SIMPLE[3][14:90])
ONCE = [(NAME, FILE, PHONE)]

TFTP = {
    "simple": Case(SIMPLE, ONCE),
    "sizes and ports": Case(
        one_by_one(
            transfer(NAME, FILE, size=size, port=port, client_port=50000 + number)
            for number, (size, port) in enumerate(SIZES_AND_PORTS)
        ),
        ONCE * len(SIZES_AND_PORTS),
    ),
    "lengths": Case(
        one_by_one(
            transfer(NAME, content, client_port=50000 + number) for number, content in enumerate(LENGTHS)
        ),
        [(NAME, content, PHONE) for content in LENGTHS],
    ),
    "names": Case(
        one_by_one(
            transfer(name, FILE, client_port=50000 + number)
            for number, name in enumerate([*OTHER_NAMES, *LEARNED_NAMES])
        ),
        [(shown, FILE, PHONE) for shown in LEARNED_NAMES.values()],
    ),
    "two phones from one server port at once": Case(
        in_turns(SIMPLE, transfer(OTHER, FILE[::-1], client=OTHER_PHONE)),
        [*ONCE, (OTHER, FILE[::-1], OTHER_PHONE)],
    ),
    "one phone fetches two files at once": Case(
        in_turns(SIMPLE, transfer("XMLDefault.cnf.xml", FILE[::-1], client_port=49301, server_port=32770)),
        [*ONCE, ("XMLDefault.cnf.xml", FILE[::-1], PHONE)],
    ),
    "every frame twice": Case([SIMPLE[0], *in_turns(SIMPLE[1:], SIMPLE[1:])], ONCE),
    "disorder": Case([SIMPLE[0], *SIMPLE[5::2], *SIMPLE[1:5:2]], ONCE),
    "the same file again": Case(
        [*SIMPLE, *transfer(NAME, FILE[:700], client_port=49301, server_port=32770)],
        [*ONCE, (NAME, FILE[:700], PHONE)],
    ),
    "netascii": Case(
        transfer(NAME, b"<device>\r\n a\r\0b</device>\r\n", mode="netascii"),
        [(NAME, b"<device>\n a\rb</device>\n", PHONE)],
    ),
    "it never ends": Case(SIMPLE[:-2], []),
    "a block is missing": Case([*SIMPLE[:3], *SIMPLE[5:]], []),
    "no request": Case(SIMPLE[1:], []),
    "the request of an upload is missing": Case([asks(NAME), *UPLOADED], []),
    "failed, and sent after that": Case([SIMPLE[0], answers_with_error(1, b"no such file"), *SIMPLE[1:]], []),
    # A short block is not the end if the server announced a longer file.
    "the server announced a longer file": Case(
        [
            SIMPLE[0],
            packets.udp(TFTP_SERVER, 32769, PHONE, 49300, b"\0\6blksize\x00512\0tsize\x003000\0"),
            *SIMPLE[1:],
        ],
        [],
    ),
    # tftpd-hpa 5.2 returns the client's size, unless the client asks with 0: it is not the file's size.
    "the server returned the size as it was asked": Case(
        [
            packets.udp(PHONE, 49300, TFTP_SERVER, 69, b"\0\1" + NAME.encode() + b"\0octet\0tsize\x005\0"),
            packets.udp(TFTP_SERVER, 32769, PHONE, 49300, b"\0\6tsize\x005\0"),
            *SIMPLE[1:],
        ],
        ONCE,
    ),
    # The unwanted transfer ends with an error, and the other continues (RFC 1350).
    **{
        f"asked twice, answered from two ports, and the {who} ends one": Case(
            [
                *(SIMPLE[0], FROM_ANOTHER_PORT[0], SIMPLE[1], FROM_ANOTHER_PORT[1]),
                *(error, *SIMPLE[2:5], error, *SIMPLE[5:]),
            ],
            ONCE,
        )
        for who, error in ENDS_THE_SECOND.items()
    },
    # On a slow line, the request crosses the answer: the first transfer continues, the second one ends.
    **{
        f"asked again after {'the option and ' if size else ''}the first block, and the {who} ends it": Case(
            [
                *first[: 4 if size else 2],
                *(FROM_ANOTHER_PORT[: 1 + (who == "phone")]),
                *(error, *first[4 if size else 2 : -2], error, *first[-2:]),
            ],
            ONCE,
        )
        for size in (None, 512)
        for first in [transfer(NAME, FILE, size=size)]
        for who, error in ENDS_THE_SECOND.items()
    },
    "asked three times, and the first answer continues": Case(
        [*SIMPLE[:2], SIMPLE[0], *FROM_ANOTHER_PORT[:2], ENDS_THE_SECOND["phone"], *SIMPLE[2:]], ONCE
    ),
    **{
        f"given up after {blocks} blocks, and another file of the same name without its first block": Case(
            [*SIMPLE[: 1 + 2 * blocks], SWAPPED[0], *SWAPPED[2:]], []
        )
        for blocks in (1, 2)
    },
    **{
        f"given up after {blocks} blocks, and another file of the same name": Case(
            [*SIMPLE[: 1 + 2 * blocks], *SWAPPED], [(NAME, FILE.swapcase(), PHONE)]
        )
        for blocks in (1, 2)
    },
    # The file changes while the phone starts again: a late block of the first answer does not count.
    **{
        f"another file, and a late block of the first {when}": Case(frames, [(NAME, CHANGED, PHONE)])
        for when, frames in {
            "before the new ones": [*SIMPLE[:2], SIMPLE[0], SIMPLE[3], *OTHER_ANSWER[1:]],
            "between the new ones": [
                *SIMPLE[:2],
                SIMPLE[0],
                *OTHER_ANSWER[1:3],
                SIMPLE[3],
                *OTHER_ANSWER[3:],
            ],
            "of a request that had no answer": [SIMPLE[0], *SIMPLE[:2], *OTHER_ANSWER[1:]],
        }.items()
    },
    "another file from the same port, and a late block of the first": Case(
        [*SIMPLE[:2], SIMPLE[0], SIMPLE[3], *transfer(NAME, CHANGED)[1:]], []
    ),
    # Wireshark names the second request for the answers to both: the names would be exchanged.
    "two files for one port of the phone at once": Case(in_turns(SIMPLE, DEFAULT), []),
    "another file for the same port, and a late block of the first": Case(
        [*SIMPLE[:2], DEFAULT[0], SIMPLE[3], *DEFAULT[1:]], [("XMLDefault.cnf.xml", CHANGED, PHONE)]
    ),
    "the signed file is asked for from the same port, and not sent": Case(
        [asks(f"{NAME}.sgn"), *SIMPLE], ONCE
    ),
    "another file for the same port after an error": Case(
        [SIMPLE[0], answers_with_error(1, b"no such file"), *DEFAULT],
        [("XMLDefault.cnf.xml", CHANGED, PHONE)],
    ),
    "another file for the same port, and the last block of the first again": Case(
        [*ONE_BLOCK, DEFAULT[0], ONE_BLOCK[1], *DEFAULT[1:]],
        [(NAME, SHORT, PHONE), ("XMLDefault.cnf.xml", CHANGED, PHONE)],
    ),
    "asked twice, another file for the same port, and then the second answer": Case(
        [SIMPLE[0], *SIMPLE, DEFAULT[0], *OTHER_ANSWER[1:]], ONCE
    ),
    "a second answer that continues after another file is asked for": Case(
        [SIMPLE[0], *SIMPLE[:2], OTHER_ANSWER[1], *SIMPLE[2:], DEFAULT[0], *OTHER_ANSWER[1:]], ONCE
    ),
    "a server with one port sends two files to one port": Case(
        [*transfer(NAME, FILE, server_port=69), *transfer("XMLDefault.cnf.xml", CHANGED, server_port=69)],
        [*ONCE, ("XMLDefault.cnf.xml", CHANGED, PHONE)],
    ),
    # A file of no phone, and then the phone's, for the same port of the phone.
    "another file, of no phone, is answered late": Case([asks("ringlist.xml"), SIMPLE[0], *ONE_RING[1:]], []),
    "another file, of no phone, is answered late, and then the phone's": Case(
        [asks("ringlist.xml"), SIMPLE[0], *RINGS[1:], *OTHER_ANSWER[1:]], []
    ),
    "another file, of no phone, is answered late, after an error for a third": Case(
        [
            asks("backup.xml"),
            asks("ringlist.xml"),
            answers_with_error(1, b"no such file"),
            SIMPLE[0],
            *transfer("backup.xml", CHANGED, server_port=32770)[1:],
        ],
        [],
    ),
    "another file, of no phone, is ended by the phone": Case(
        [
            *transfer("ringlist.xml", CHANGED, server_port=69)[:2],
            packets.udp(PHONE, 49300, TFTP_SERVER, 69, b"\0\5\0\0enough\0"),
            *transfer(NAME, FILE, server_port=69),
        ],
        ONCE,
    ),
    "another file, of no phone, ends late": Case(
        [*RINGS[:4], OTHER_ANSWER[0], *RINGS[3:], *OTHER_ANSWER[1:]], [(NAME, CHANGED, PHONE)]
    ),
    "another file, of no phone, and its last block again": Case(
        [*ONE_RING, OTHER_ANSWER[0], ONE_RING[1], *OTHER_ANSWER[1:]], [(NAME, CHANGED, PHONE)]
    ),
    "another file, of no phone, which the server does not have": Case(
        [asks("ringlist.xml"), answers_with_error(1, b"no such file"), *SIMPLE], ONCE
    ),
    **{
        f"two other files, of no phone, of {size or 512} bytes a block, from port {port} and {last}": Case(
            [
                *transfer("ringlist.xml", CHANGED, size=size, server_port=port),
                *transfer("distinctive.xml", FILE[::-1], size=size, server_port=port),
                *transfer(NAME, FILE, server_port=last),
            ],
            ONCE,
        )
        for size in (None, 1000)
        for port, last in ((69, 69), (32769, 32770))
    },
    "a server with one port begins a second file, and then sends it late": Case(
        [
            *transfer(NAME, FILE, server_port=69),
            *transfer(f"{NAME}.sgn", CHANGED, server_port=69)[:2],
            *transfer(OTHER, CHANGED, server_port=69),
        ],
        ONCE,
    ),
    # The first answer continues before another port answers the second request.
    "asked again, and answered again after two blocks": Case(
        [
            *SIMPLE[:2],
            SIMPLE[0],
            *SIMPLE[2:4],
            *FROM_ANOTHER_PORT[1:2],
            ENDS_THE_SECOND["phone"],
            *SIMPLE[4:],
        ],
        ONCE,
    ),
    "asked again, and answered again after the last block": Case(
        [*SIMPLE[:2], SIMPLE[0], *SIMPLE[2:-1], *FROM_ANOTHER_PORT[1:2], SIMPLE[-2], SIMPLE[-1]], ONCE
    ),
    "the option's acknowledgement is missing": Case([WITH_OPTION[0], *WITH_OPTION[3:]], ONCE),
    # ICMP quotes the start of a packet, which must not be mistaken for a short last block.
    "a block quoted in an error": Case([*SIMPLE[:3], QUOTED, *SIMPLE[3:]], ONCE),
    "a block quoted in an error is the last": Case([*SIMPLE[:3], QUOTED], []),
}

# ----------------------------------------------------------------------------------- transfers by HTTP

SIGNED = b"\x01\0\x02\1\0\x02\0\2\0\x0a" + FILE
WAYS = [(name, port) for name in (NAME, NAME + ".sgn") for port in (6970, 80, 8123)]
CHUNKS = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (FILE[:700], FILE[700:], b""))
CONNECTION = http(f"/{NAME}", plain(FILE), 6970)
PUT = f"PUT /{NAME} HTTP/1.1\r\nHost: tftp.example.com\r\nContent-Length: {len(FILE)}\r\n\r\n".encode() + FILE
TWO_FILES = exchange((True, get(NAME)), (False, plain(FILE)), (True, get(OTHER)), (False, plain(FILE[::-1])))

HTTP = {
    "HTTP": Case(
        one_by_one(
            http(f"/{name}", plain(SIGNED if name.endswith(".sgn") else FILE), port, 50000 + number)
            for number, (name, port) in enumerate(WAYS)
        ),
        [(name, SIGNED if name.endswith(".sgn") else FILE, PHONE) for name, _ in WAYS],
    ),
    "HTTP, chunked": Case(
        http(f"/{NAME}?x=1", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKS, 6970), ONCE
    ),
    "HTTP, compressed": Case(
        http(f"/{NAME}", plain(gzip.compress(FILE), "Content-Encoding: gzip"), 6970), ONCE
    ),
    "HTTP without a length": Case(
        http(f"/{NAME}", b"HTTP/1.0 200 OK\r\nContent-Type: text/xml\r\n\r\n" + FILE, 6970), ONCE
    ),
    "HTTP, changed by a proxy": Case(
        http(f"/{NAME}", plain(FILE, status="203 Non-Authoritative Information"), 6970), ONCE
    ),
    "HTTP: not found": Case(http(f"/{NAME}", plain(b"<html/>", status="404 Not Found"), 6970), []),
    "HTTP: another file": Case(http("/other.xml", plain(FILE), 6970), []),
    "HTTP: the end is missing": Case(CONNECTION[:6] + CONNECTION[-2:], []),
    "HTTP: a segment is missing": Case(CONNECTION[:5] + CONNECTION[6:], []),
    "HTTP: one request after the other": Case(
        exchange((True, get(NAME)), (False, plain(FILE)), (True, get(OTHER)), (False, plain(FILE[::-1]))),
        [*ONCE, (OTHER, FILE[::-1], PHONE)],
    ),
    # The request of another connection does not wait for the response in this one.
    "HTTP: ports used again after a request without a response": Case(ports_used_again(), ONCE),
    "HTTP: the request is sent again": Case(sent_again(request=True, response=False), ONCE),
    "HTTP: the response is sent again": Case(sent_again(request=False, response=True), ONCE),
    "HTTP: everything is sent again": Case(sent_again(request=True, response=True), ONCE),
    # Wireshark up to 4.2 takes the response for one to the request before.
    "HTTP: a request is missing": Case(TWO_FILES[:5] + TWO_FILES[6:], ONCE),
    "HTTP: the file is brought to the server": Case(
        exchange((True, PUT), (False, plain(b"<done/>")), (True, get(OTHER)), (False, plain(FILE))),
        [(OTHER, FILE, PHONE)],
    ),
    "HTTP: requests for other files at once": Case(
        exchange((True, get("a.xml") + get("b.xml")), (False, plain(b"<a/>") + plain(b"<b/>"))), []
    ),
}

PIPELINED = {
    "both responses in one frame": [(True, get(NAME) + get(OTHER)), (False, plain(FILE) + plain(FILE[::-1]))],
    "requests in two frames": [
        (True, get(NAME)),
        (True, get(OTHER)),
        (False, plain(FILE) + plain(FILE[::-1])),
    ],
    "responses in two frames": [
        (True, get(NAME) + get(OTHER)),
        (False, plain(FILE)),
        (False, plain(FILE[::-1])),
    ],
    # Wireshark takes it for the answer to the second request.
    "only the first response": [(True, get(NAME) + get(OTHER)), (False, plain(FILE))],
    "an error for the first": [
        (True, get(NAME) + get(OTHER)),
        (False, plain(b"no", status="404 Not Found") + plain(FILE)),
    ],
}


# --------------------------------------------------------------------------- a file that does not come

NOT_FOUND = answers_with_error(1, b"File not found")
BROUGHT = {"elsewhere by HTTP, and there", "signed first", "again", "later", "by HTTP, and then by TFTP"}
WITHOUT_END = http(f"/{NAME}", b"HTTP/1.1 200 OK\r\nContent-Length: 3000\r\n\r\n" + FILE, 6970)
FAILED: dict[str, tuple[list[bytes], tuple[str, int, int | None] | None, int]] = {
    "error": ([asks(NAME), NOT_FOUND], ("error", 2, 1), 1),
    "error without text": ([asks(NAME), answers_with_error(2, b"")], ("error", 2, 2), 1),
    "unanswered": ([asks(NAME), asks(NAME)], ("unanswered", 2, None), 0),
    "stopped": (transfer(NAME, FILE)[:4], ("unfinished", 1, None), 0),
    "a block is missing": (transfer(NAME, FILE)[:3] + transfer(NAME, FILE)[5:], ("incomplete", 1, None), 0),
    "signed first": ([asks(f"{NAME}.sgn"), NOT_FOUND, *transfer(NAME, FILE, client_port=49301)], None, 1),
    "again": ([asks(NAME), NOT_FOUND, *transfer(NAME, FILE, client_port=49301)], None, 1),
    "later": (
        [*transfer(NAME, FILE), asks(NAME, 49301), answers_with_error(1, b"gone", 49301)],
        ("error", len(transfer(NAME, FILE)) + 2, 1),
        1,
    ),
    "by HTTP": (http(f"/{NAME}", plain(b"no", status="404 Not Found"), 6970), ("error", 5, 404), 1),
    "by HTTP, and then by TFTP": (
        [*http(f"/{NAME}", plain(b"no", status="404 Not Found"), 6970), *transfer(NAME, FILE)],
        None,
        1,
    ),
    "unanswered by HTTP": (exchange((True, get(NAME))), ("unanswered", 4, None), 0),
    "without an end by HTTP": (WITHOUT_END, ("unanswered", 4, None), 0),
    "unchanged by HTTP": (
        exchange((True, get(NAME)), (False, plain(b"", status="304 Not Modified"))),
        None,
        0,
    ),
    "elsewhere by HTTP": (
        exchange(
            (True, get(NAME)),
            (False, plain(b"", "Location: /file", status="302 Found")),
            *((True, get("file")), (False, plain(FILE))),
        ),
        ("error", 5, 302),
        1,
    ),
    "elsewhere by HTTP, and there": (
        exchange(
            (True, get(NAME)),
            (False, plain(b"", f"Location: /there/{NAME}", status="302 Found")),
            *((True, get(f"there/{NAME}")), (False, plain(FILE))),
        ),
        None,
        1,
    ),
    "a part by HTTP": (
        exchange((True, get(NAME)), (False, plain(FILE[:100], status="206 Partial Content"))),
        ("unfinished", 4, None),
        0,
    ),
    "HEAD by HTTP": (
        exchange((True, b"HEAD" + get(NAME)[3:]), (False, plain(b"", status="404 Not Found"))),
        None,
        0,
    ),
    "other files by HTTP": (http("/ringlist.xml", plain(b"no", status="404 Not Found"), 6970), None, 0),
    "other files": ([asks("ringlist.xml"), NOT_FOUND, asks("CTLSEP001F6C81110E.tlv"), NOT_FOUND], None, 0),
}
"""Return the frames, the information about the phone, and the number of errors that the plugin shows."""

# --------------------------------------------------------------------------- what the plugin shows of it

CASES = {
    **TFTP,
    **HTTP,
    **{f"at once: {name}": Case(exchange(*turns), []) for name, turns in PIPELINED.items()},
    **{
        f"failed: {name}": Case(frames, ONCE if name in BROUGHT else [])
        for name, (frames, _, _) in FAILED.items()
    },
}
