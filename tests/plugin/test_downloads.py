"""Test configuration files that a phone downloads in the capture, in real and in difficult transfers.

Each Wireshark reads one capture of all the generated transfers. Each case has phones of its own in it.
"""

from __future__ import annotations

import gzip
import os
import random
import shutil
import struct
import subprocess
from ipaddress import ip_address
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

import pytest
from tests.conftest import certhash
from tests.harness import packets
from tests.harness.packets import OTHER_PHONE, PHONE, TFTP_SERVER, Stream, configuration, pcap, transfer
from tests.plugin.conftest import ends
from tests.plugin.screen import until

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

    from tests.harness.once import Once
    from tests.plugin.machines import Machine

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
ENDS_THE_SECOND = {
    "phone": packets.udp(PHONE, 49300, TFTP_SERVER, 32770, b"\0\5\0\5unknown transfer ID\0"),
    "server": packets.udp(TFTP_SERVER, 32770, PHONE, 49300, b"\0\5\0\5unknown transfer ID\0"),
}
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


def read(place: Machine, cases: Collection[Case]) -> list[list[Shown]]:
    """Return what the plugin shows of each case, in one capture of all of them; both passes must agree."""
    frames: list[bytes] = []
    cases_of: list[tuple[int, int]] = []
    known = {}
    for number, case in enumerate(cases):
        cases_of += [(number, frame) for frame in range(1, len(case.frames) + 1)]
        moved = case.frames
        for phone, last in ((PHONE, 2 * number), (OTHER_PHONE, 2 * number + 1)):
            address = ip_address(f"198.51.100.{last}")
            known[str(address)] = phone
            moved = [frame.replace(ip_address(phone).packed, address.packed) for frame in moved]
        frames += moved
    capture = place.put("transfers.pcap", pcap(frames))
    rows = place.fields(capture, *NAMES, "certhash.cnf_failed")
    assert place.fields(capture, *NAMES, "certhash.cnf_failed", options=("-2",)) == rows
    shown: list[list[Shown]] = [[] for _ in cases]
    for row in rows:
        number, frame = cases_of[int(row["frame.number"][0]) - 1]
        name, content, client, server = (row[field][0] if row[field] else "" for field in NAMES)
        file = (name, bytes.fromhex(content), known[client]) if name else None
        shown[number].append(Shown(frame, file, server, row["certhash.cnf_failed"]))
    return shown


@pytest.fixture(name="shown")
def _shown(place: Machine, once: Once) -> dict[str, list[Shown]]:
    """Return what this Wireshark shows of each case."""
    shown = once(lambda: read(place, CASES.values()), "transfers", place.name)
    return dict(zip(CASES, shown, strict=True))


@pytest.mark.parametrize("case", CASES)
def test_files_are_learned(shown: dict[str, list[Shown]], case: str) -> None:
    assert [each.file for each in shown[case] if each.file] == CASES[case].files


def test_it_is_shown_on_the_last_block(shown: dict[str, list[Shown]]) -> None:
    (row,) = shown["simple"]
    assert (row.frame, row.server) == (len(SIMPLE) - 1, TFTP_SERVER)


@pytest.mark.parametrize("name", FAILED)
def test_a_file_that_a_phone_does_not_get_is_shown(shown: dict[str, list[Shown]], name: str) -> None:
    assert sum(len(each.failed) for each in shown[f"failed: {name}"]) == FAILED[name][2]


@pytest.mark.parametrize("name", PIPELINED)
def test_what_was_asked_for_at_once_is_named(shown: dict[str, list[Shown]], name: str) -> None:
    """No phone may get the file of another one."""
    failed = [text for each in shown[f"at once: {name}"] for text in each.failed]
    assert NAME in failed[0]
    assert any(OTHER in text for text in failed)


def test_other_files_asked_for_at_once_are_no_matter(shown: dict[str, list[Shown]]) -> None:
    assert shown["HTTP: requests for other files at once"] == []


def test_cut_blocks_bring_no_file(place: Machine) -> None:
    capture = place.put("cut.pcap", pcap(SIMPLE, snaplen=200))
    assert place.fields(capture, *NAMES) == place.fields(capture, *NAMES, options=("-2",)) == []


@ends
@pytest.mark.parametrize("first_after_wrap", [0, 1])
def test_block_numbers_that_start_again(place: Machine, first_after_wrap: int) -> None:
    content = random.Random(9).randbytes(8 * 65540 + 3)
    frames = transfer(NAME, content, size=8)[:3]
    for block in range(1, 65542):
        number = block if block < 65536 else block - 65536 + first_after_wrap
        data = struct.pack("!HH", 3, number) + content[(block - 1) * 8 : block * 8]
        frames.append(packets.udp(TFTP_SERVER, 32769, PHONE, 49300, data))
    (row,) = place.fields(place.put("wrap.pcap", pcap(frames)), "certhash.cnf_content")
    assert bytes.fromhex(row["certhash.cnf_content"][0]) == content


def test_large_files(place: Machine) -> None:
    """Of 3 MB, it is shown why nothing is learned from it; more than 4 MB are not kept."""
    frames = transfer(OTHER, bytes(4 * 1024 * 1024 + 1), client=OTHER_PHONE, size=8192)
    frames += transfer(NAME, FILE.ljust(3_000_000), size=8192)
    capture = place.put("large.pcap", pcap(frames))
    (row,) = place.fields(capture, "certhash.cnf_downloaded", "certhash.cnf_problem")
    assert row["certhash.cnf_downloaded"] == [NAME]
    assert row["certhash.cnf_problem"] == ["it has 3 MB; a phone's configuration has only some kilobytes"]


def test_many_that_never_end(place: Machine) -> None:
    """Unfinished transfers are dropped in favour of newer ones."""
    never = (
        transfer(f"SEP{number:012X}.cnf.xml", FILE, client_port=10000 + number)[:2] for number in range(1500)
    )
    frames = [*one_by_one(never), *transfer(NAME, FILE, client_port=60000)]
    (shown,) = read(place, [Case(frames, ONCE)])
    assert [each.file for each in shown] == ONCE


THE_END = b"<!-- the end -->"
REAL_FILE = FILE + THE_END


@pytest.fixture(scope="session", name="recorded")
def _recorded(once: Once, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return a capture of Debian's tftpd-hpa and curl, recorded by dumpcap on the loopback."""
    return once(lambda: record(tmp_path_factory.mktemp("tftp")), "recorded transfers")


def record(folder: Path) -> bytes:
    """Record how curl gets a file twice, in blocks of two sizes."""
    for program, package in {"in.tftpd": "tftpd-hpa", "curl": "curl", "dumpcap": "tshark"}.items():
        assert shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin"), f"apt-get install {package}"
    served, capture, got = folder / "served", folder / "real.pcapng", folder / "got"
    served.mkdir()
    (served / NAME).write_bytes(REAL_FILE)
    (served / NAME).chmod(0o644)
    # A separate loopback address, because other tests transfer files at the same time.
    address, port = f"127.{os.getpid() >> 16}.{os.getpid() >> 8 & 255}.{os.getpid() & 255}", "16969"
    server = subprocess.Popen(
        ["/usr/sbin/in.tftpd", "-L", "--user", "nobody", "--address", f"{address}:{port}", "--secure", served]
    )
    recorder = subprocess.Popen(
        ["dumpcap", "-q", "-i", "lo", "-f", f"udp and host {address}", "-w", capture],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert recorder.stderr
        while not (line := recorder.stderr.readline()).startswith("File:"):
            assert line, "dumpcap could not start"
        for size in ("512", "1200"):
            fetch = ["curl", "-s", "--retry", "20", "--retry-all-errors", "--tftp-blksize", size, "-o", got]
            subprocess.run([*fetch, f"tftp://{address}:{port}/{NAME}"], check=True)
            assert got.read_bytes() == REAL_FILE
        # dumpcap takes packets from the kernel in batches.
        until(lambda: capture.read_bytes().count(THE_END) == 2, "the last block of both transfers")
    finally:
        recorder.terminate()
        recorder.wait()
        server.terminate()
        server.wait()
    return capture.read_bytes()


def test_real_tftp_server(place: Machine, recorded: bytes) -> None:
    rows = place.fields(place.put("real.pcapng", recorded), *NAMES)
    assert [bytes.fromhex(row["certhash.cnf_content"][0]) for row in rows] == [REAL_FILE, REAL_FILE]


# ------------------------------------------------------------------------------ what the audit says of it


def test_the_audit_names_what_was_asked_for_at_once(tmp_path: Path) -> None:
    for name, turns in PIPELINED.items():
        (tmp_path / f"{name}.pcap").write_bytes(pcap(exchange(*turns)))
    ended = certhash("audit", tmp_path, "-f", "json", "--no-cache")
    assert ended.status == 2
    assert ended.json["expectations"] == []
    for name in PIPELINED:
        path = str(tmp_path / f"{name}.pcap")
        said = " ".join(each["message"] for each in ended.json["problems"] if each["path"] == path)
        assert NAME in said
        assert OTHER in said
        assert "several HTTP requests were sent at once" in said


@pytest.mark.parametrize(("frames", "wanted"), [case[:2] for case in FAILED.values()], ids=FAILED.keys())
def test_a_file_that_a_phone_does_not_get(
    tmp_path: Path, frames: list[bytes], wanted: tuple[str, int, int | None] | None
) -> None:
    """It is shown as a possible reason for an older file, and changes no verdict."""
    (tmp_path / "cnf").mkdir()
    (tmp_path / "cnf" / NAME).write_bytes(FILE)
    (tmp_path / "failed.pcap").write_bytes(pcap(frames))
    ended = certhash("audit", tmp_path / "failed.pcap", "--cnf", tmp_path / "cnf", "-f", "json", "--no-cache")
    assert ended.status == 0
    (expectation,) = ended.json["expectations"]
    assert expectation["verdict"] == "unseen"
    found = expectation["failed_download"]
    told = [each for each in expectation["warnings"] if each.startswith("the phone may ")]
    if wanted is None:
        assert found is None
        assert told == []
    else:
        assert (found["reason"], found["frame"], found["code"]) == wanted
        assert len(told) == 1
        assert NAME in told[0]


def test_files_for_one_port_of_the_phone_at_once(tmp_path: Path) -> None:
    """The audit names both, and what became of the same file for another phone."""
    other = transfer("XMLDefault.cnf.xml", CHANGED, client=OTHER_PHONE)[:2]
    (tmp_path / "at once.pcap").write_bytes(pcap([*other, *in_turns(SIMPLE, DEFAULT)]))
    ended = certhash("audit", tmp_path / "at once.pcap", "-f", "json", "--no-cache")
    (problem,) = ended.json["problems"]
    assert problem["message"] == (
        f"frame 5: {NAME}, XMLDefault.cnf.xml not read: several TFTP requests were sent at once, and which "
        "response answers which is not certain; give the file itself with --cnf"
    )
    assert ended.json["expectations"] == []
    (note,) = ended.json["captures"][0]["notes"]
    assert OTHER_PHONE in note


def test_a_response_cut_by_the_snapshot_length(tmp_path: Path) -> None:
    frames = exchange((True, get(NAME)), (False, plain(FILE)))
    (tmp_path / "cut.pcap").write_bytes(pcap(frames, snaplen=500))
    ended = certhash("audit", tmp_path / "cut.pcap", "-f", "json", "--no-cache")
    (note,) = ended.json["captures"][0]["notes"]
    assert note == (
        f"frame 4: the HTTP request of {PHONE} to {TFTP_SERVER} for {NAME} was answered, and the capture "
        "does not show the whole file"
    )


def test_a_failed_download_of_a_phone_of_which_nothing_is_expected(tmp_path: Path) -> None:
    (tmp_path / "failed.pcap").write_bytes(pcap([asks(NAME), NOT_FOUND]))
    ended = certhash("audit", tmp_path / "failed.pcap", "-f", "json", "--no-cache")
    (note,) = ended.json["captures"][0]["notes"]
    assert note == (
        f"frame 2: the TFTP request of {PHONE} to {TFTP_SERVER} for {NAME} ended with error 1 "
        "(File not found): the server has no file of this name"
    )
