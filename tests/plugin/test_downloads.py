"""Test configuration files that a phone downloads in the capture, in real and in difficult transfers."""

from __future__ import annotations

import gzip
import os
import random
import shutil
import struct
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from tests.conftest import certhash
from tests.harness import packets
from tests.harness.packets import OTHER_PHONE, PHONE, TFTP_SERVER, Stream, configuration, pcap, transfer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.plugin.machines import Machine

NAMES = ("certhash.cnf_downloaded", "certhash.cnf_content", "certhash.cnf_client", "certhash.cnf_server")
NAME = "SEP001F6C81110E.cnf.xml"
OTHER = "SEP001122334455.cnf.xml"
FILE = configuration(["https://203.0.113.1/SSLVPNphone"], ["fZ2xQHMBcWj/fSoNs5IkPbA2Pt8="]).ljust(2000)


def learned(place: Machine, frames: list[bytes], **options: int) -> list[tuple[str, bytes, str]]:
    """Return the files that the plugin learns from a capture; both passes must agree."""
    capture = place.put("transfer.pcap", pcap(frames, **options))
    rows = place.fields(capture, *NAMES)
    assert place.fields(capture, *NAMES, options=("-2",)) == rows
    return [
        (
            row["certhash.cnf_downloaded"][0],
            bytes.fromhex(row["certhash.cnf_content"][0]),
            row["certhash.cnf_client"][0],
        )
        for row in rows
    ]


def test_sizes_and_ports(place: Machine) -> None:
    ways = [(size, port) for size in (None, 8, 100, 1000, 1428, 8192) for port in (69, 6969)]
    frames: list[bytes] = []
    for number, (size, port) in enumerate(ways):
        frames += transfer(NAME, FILE, size=size, port=port, client_port=50000 + number)
    assert learned(place, frames) == [(NAME, FILE, PHONE)] * len(ways)


def test_lengths(place: Machine) -> None:
    contents = [random.Random(length).randbytes(length) for length in (1, 511, 512, 513, 1024, 65536)]
    frames: list[bytes] = []
    for number, content in enumerate(contents):
        frames += transfer(NAME, content, client_port=50000 + number)
    assert learned(place, frames) == [(NAME, content, PHONE) for content in contents]


def test_it_is_shown_on_the_last_block(place: Machine) -> None:
    frames = transfer(NAME, FILE)
    capture = place.put("last.pcap", pcap(frames))
    (row,) = place.fields(capture, *NAMES)
    assert row["frame.number"] == [str(len(frames) - 1)]
    assert row["certhash.cnf_server"] == [TFTP_SERVER]


def test_names(place: Machine) -> None:
    taken = {
        "SEP001F6C81110E.cnf.xml.sgn": "SEP001F6C81110E.cnf.xml.sgn",
        "SEP001F6C81110E.cnf.xml.enc.sgn": "SEP001F6C81110E.cnf.xml.enc.sgn",
        "XMLDefault7960.cnf.xml": "XMLDefault7960.cnf.xml",
        "XMLDefault.cnf.xml": "XMLDefault.cnf.xml",
        "flash:/its/vrf1_SEP001F6C81110E.cnf.xml": "vrf1_SEP001F6C81110E.cnf.xml",
        "its\\sep001f6c81110e.CNF.XML": "sep001f6c81110e.CNF.XML",
    }
    left = ["SEP001F6C81110E.cnf", "ringlist.xml", "CTLSEP001F6C81110E.tlv", ".cnf.xml", "cnf.xml"]
    frames: list[bytes] = []
    for number, name in enumerate([*left, *taken]):
        frames += transfer(name, FILE, client_port=50000 + number)
    assert learned(place, frames) == [(shown, FILE, PHONE) for shown in taken.values()]


def test_two_phones_from_one_server_port_at_once(place: Machine) -> None:
    one = transfer(NAME, FILE)
    two = transfer(OTHER, FILE[::-1], client=OTHER_PHONE)
    mixed = [frame for pair in zip(one, two, strict=True) for frame in pair]
    assert learned(place, mixed) == [(NAME, FILE, PHONE), (OTHER, FILE[::-1], OTHER_PHONE)]


def test_one_phone_fetches_two_files_at_once(place: Machine) -> None:
    one = transfer(NAME, FILE)
    two = transfer("XMLDefault.cnf.xml", FILE[::-1], client_port=49301, server_port=32770)
    mixed = [frame for pair in zip(one, two, strict=True) for frame in pair]
    assert learned(place, mixed) == [(NAME, FILE, PHONE), ("XMLDefault.cnf.xml", FILE[::-1], PHONE)]


def test_retransmissions_and_disorder(place: Machine) -> None:
    frames = transfer(NAME, FILE)
    repeated = [frame for frame in frames for _ in range(2)][1:]
    assert learned(place, repeated) == [(NAME, FILE, PHONE)]
    data = frames[1::2]
    assert learned(place, [frames[0], *data[2:], *data[:2]]) == [(NAME, FILE, PHONE)]


def test_same_file_again(place: Machine) -> None:
    again = transfer(NAME, FILE[:700], client_port=49301, server_port=32770)
    assert learned(place, transfer(NAME, FILE) + again) == [(NAME, FILE, PHONE), (NAME, FILE[:700], PHONE)]


@pytest.mark.parametrize("first_after_wrap", [0, 1])
def test_block_numbers_that_start_again(place: Machine, first_after_wrap: int) -> None:
    content = random.Random(9).randbytes(8 * 65540 + 3)
    frames = transfer(NAME, content, size=8)
    if first_after_wrap == 1:
        frames = frames[: 3 + 2 * 65535]
        for block in range(65536, 65542):
            number = struct.pack("!H", block - 65535)
            data = b"\0\3" + number + content[(block - 1) * 8 : block * 8]
            frames.append(packets.udp(TFTP_SERVER, 32769, PHONE, 49300, data))
    capture = place.put("wrap.pcap", pcap(frames))
    (row,) = place.fields(capture, "certhash.cnf_content")
    assert bytes.fromhex(row["certhash.cnf_content"][0]) == content


def test_netascii(place: Machine) -> None:
    sent = b"<device>\r\n a\r\0b</device>\r\n"
    assert learned(place, transfer(NAME, sent, mode="netascii")) == [
        (NAME, b"<device>\n a\rb</device>\n", PHONE)
    ]


def test_what_is_incomplete_is_not_learned(place: Machine) -> None:
    frames = transfer(NAME, FILE)
    assert learned(place, frames[:-2]) == []  # never ends
    assert learned(place, frames[:3] + frames[5:]) == []  # a block is missing
    assert learned(place, frames[1:]) == []  # no request
    assert learned(place, frames, snaplen=200) == []  # each block cut short by the snapshot length
    failed = packets.udp(TFTP_SERVER, 32769, PHONE, 49300, b"\0\5\0\1no such file\0")
    assert learned(place, [frames[0], failed, *frames[1:]]) == []


def test_size_announced_by_the_server(place: Machine) -> None:
    """A short block is not the end if the server announced a longer file."""
    frames = transfer(NAME, FILE, size=512)
    options = b"\0\6blksize\x00512\0tsize\x003000\0"
    frames[1] = packets.udp(TFTP_SERVER, 32769, PHONE, 49300, options)
    assert learned(place, frames) == []


def test_size_that_the_server_returns_as_it_was_asked(place: Machine) -> None:
    """tftpd-hpa 5.2 returns the client's size, unless the client asks with 0: it is not the file's size."""
    frames = transfer(NAME, FILE)
    asked = b"\0\1" + NAME.encode() + b"\0octet\0tsize\x005\0"
    frames[0] = packets.udp(PHONE, 49300, TFTP_SERVER, 69, asked)
    frames.insert(1, packets.udp(TFTP_SERVER, 32769, PHONE, 49300, b"\0\6tsize\x005\0"))
    assert learned(place, frames) == [(NAME, FILE, PHONE)]


@pytest.mark.parametrize("phone_ends_it", [True, False])
def test_request_sent_again_and_answered_from_two_ports(place: Machine, phone_ends_it: bool) -> None:
    """The unwanted transfer ends with an error, and the other continues (RFC 1350)."""
    first, second = transfer(NAME, FILE), transfer(NAME, FILE, server_port=32770)
    ends = (PHONE, 49300, TFTP_SERVER, 32770) if phone_ends_it else (TFTP_SERVER, 32770, PHONE, 49300)
    error = packets.udp(*ends, b"\0\5\0\5unknown transfer ID\0")
    frames = [first[0], second[0], first[1], second[1], error, *first[2:5], error, *first[5:]]
    assert learned(place, frames) == [(NAME, FILE, PHONE)]


def test_option_acknowledgement_missing(place: Machine) -> None:
    frames = transfer(NAME, FILE, size=1000)
    assert learned(place, [frames[0], *frames[3:]]) == [(NAME, FILE, PHONE)]


def test_block_quoted_in_an_error(place: Machine) -> None:
    """ICMP quotes the start of a packet, which must not be mistaken for a short last block."""
    frames = transfer(NAME, FILE)
    quoted = packets.ip(PHONE, TFTP_SERVER, packets.ICMP, b"\3\3\0\0\0\0\0\0" + frames[3][14:90])
    assert learned(place, [*frames[:3], quoted, *frames[3:]]) == [(NAME, FILE, PHONE)]
    assert learned(place, [*frames[:3], quoted]) == []


def test_too_large(place: Machine) -> None:
    content = bytes(4 * 1024 * 1024 + 1)
    capture = place.put("large.pcap", pcap(transfer(NAME, content, size=8192)))
    assert place.fields(capture, *NAMES) == []


def test_larger_than_any_configuration(place: Machine) -> None:
    """It is shown, with the reason why nothing is learned from it."""
    frames = transfer(NAME, FILE.ljust(3_000_000), size=8192)
    (row,) = place.fields(place.put("large.pcap", pcap(frames)), "certhash.cnf_problem")
    assert row["certhash.cnf_problem"] == ["it has 3 MB; a phone's configuration has only some kilobytes"]


def test_many_that_never_end(place: Machine) -> None:
    """Unfinished transfers are dropped in favour of newer ones."""
    frames: list[bytes] = []
    for number in range(1500):
        frames += transfer(f"SEP{number:012X}.cnf.xml", FILE, client_port=10000 + number)[:2]
    assert learned(place, frames + transfer(NAME, FILE, client_port=60000)) == [(NAME, FILE, PHONE)]


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


def test_http(place: Machine) -> None:
    signed = b"\x01\0\x02\1\0\x02\0\2\0\x0a" + FILE
    ways = [(name, port) for name in (NAME, NAME + ".sgn") for port in (6970, 80, 8123)]
    frames: list[bytes] = []
    for number, (name, port) in enumerate(ways):
        content = signed if name.endswith(".sgn") else FILE
        frames += http("/" + name, plain(content), port, 50000 + number)
    expected = [(name, signed if name.endswith(".sgn") else FILE, PHONE) for name, _ in ways]
    assert learned(place, frames) == expected


def test_http_chunked_and_compressed(place: Machine) -> None:
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (FILE[:700], FILE[700:], b""))
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert learned(place, http(f"/{NAME}?x=1", head + chunks, 6970)) == [(NAME, FILE, PHONE)]
    squeezed = plain(gzip.compress(FILE), "Content-Encoding: gzip")
    assert learned(place, http(f"/{NAME}", squeezed, 6970)) == [(NAME, FILE, PHONE)]


def test_http_without_a_length(place: Machine) -> None:
    response = b"HTTP/1.0 200 OK\r\nContent-Type: text/xml\r\n\r\n" + FILE
    assert learned(place, http(f"/{NAME}", response, 6970)) == [(NAME, FILE, PHONE)]


def test_http_that_brings_no_file(place: Machine) -> None:
    assert learned(place, http(f"/{NAME}", plain(b"<html/>", status="404 Not Found"), 6970)) == []
    assert learned(place, http("/other.xml", plain(FILE), 6970)) == []
    cut = http(f"/{NAME}", plain(FILE), 6970)
    assert learned(place, cut[:6] + cut[-2:]) == []
    assert learned(place, cut[:5] + cut[6:]) == []


def test_real_tftp_server(place: Machine, tmp_path: Path) -> None:
    """Debian's tftpd-hpa and curl, recorded by dumpcap on the loopback."""
    for program, package in {"in.tftpd": "tftpd-hpa", "curl": "curl", "dumpcap": "tshark"}.items():
        assert shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin"), f"apt-get install {package}"
    served = place.folder / "served"
    served.mkdir(exist_ok=True)
    (served / NAME).write_bytes(FILE)
    (served / NAME).chmod(0o644)
    capture = tmp_path / "real.pcapng"
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
            fetched = subprocess.run(
                [
                    "curl",
                    "-s",
                    "--retry",
                    "20",
                    "--retry-all-errors",
                    "--tftp-blksize",
                    size,
                    "-o",
                    tmp_path / "got",
                    f"tftp://{address}:{port}/{NAME}",
                ],
                check=True,
            )
            assert fetched.returncode == 0
            assert (tmp_path / "got").read_bytes() == FILE
        for _ in range(100):  # dumpcap takes packets from the kernel in batches
            if capture.stat().st_size > 2 * len(FILE) + 2000:
                break
            time.sleep(0.1)
    finally:
        recorder.terminate()
        recorder.wait()
        server.terminate()
        server.wait()
    rows = place.fields(place.put("real.pcapng", capture.read_bytes()), *NAMES)
    assert [bytes.fromhex(row["certhash.cnf_content"][0]) for row in rows] == [FILE, FILE]


# ---------------------------------------------------------------- what brings no file, and says so


def exchange(*turns: tuple[bool, bytes]) -> list[bytes]:
    """Return the frames of one connection with a server of files: who speaks, and what."""
    stream = Stream(PHONE, 49400, TFTP_SERVER, 6970)
    frames = stream.open()
    for from_client, payload in turns:
        frames += stream.send(payload, from_client=from_client, segment=9000)
    return frames


def get(name: str) -> bytes:
    return f"GET /{name} HTTP/1.1\r\nHost: tftp.example.com:6970\r\n\r\n".encode()


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


@pytest.mark.parametrize("turns", PIPELINED.values(), ids=PIPELINED.keys())
def test_requests_sent_at_once_bring_no_file_and_are_named(
    place: Machine, tmp_path: Path, turns: list[tuple[bool, bytes]]
) -> None:
    """No phone may get the file of another one, by the plugin or by the audit."""
    frames = exchange(*turns)
    assert learned(place, frames) == []
    rows = place.fields(place.put("at-once.pcap", pcap(frames)), "certhash.cnf_failed")
    assert NAME in rows[0]["certhash.cnf_failed"][0]
    assert any(OTHER in row["certhash.cnf_failed"][0] for row in rows)
    (tmp_path / "at-once.pcap").write_bytes(pcap(frames))
    ended = certhash("audit", tmp_path / "at-once.pcap", "-f", "json", "--no-cache")
    assert ended.status == 2
    assert ended.json["expectations"] == []
    said = " ".join(each["message"] for each in ended.json["problems"])
    assert NAME in said
    assert OTHER in said
    assert "several HTTP requests were sent at once" in said


def test_requests_one_after_the_other_bring_both(place: Machine) -> None:
    frames = exchange((True, get(NAME)), (False, plain(FILE)), (True, get(OTHER)), (False, plain(FILE[::-1])))
    assert learned(place, frames) == [(NAME, FILE, PHONE), (OTHER, FILE[::-1], PHONE)]


def test_ports_used_again_after_a_request_without_a_response(place: Machine) -> None:
    """The request of another connection does not wait for the response in this one."""
    first, second = (
        Stream(PHONE, 49400, TFTP_SERVER, 6970, {True: at, False: 5 * at}) for at in (1000, 90000)
    )
    frames = [*first.open(), *first.send(get("a.xml"), from_client=True), *second.open()]
    frames += second.send(get(NAME), from_client=True) + second.send(plain(FILE), from_client=False)
    assert learned(place, frames) == [(NAME, FILE, PHONE)]


@pytest.mark.parametrize("again", ["request", "response", "all"])
def test_segments_sent_again_are_not_several_requests(place: Machine, again: str) -> None:
    stream = Stream(PHONE, 49400, TFTP_SERVER, 6970)
    opening = stream.open()
    asked, said = stream.send(get(NAME), from_client=True), stream.send(plain(FILE), from_client=False)
    repeated = {"request": [*asked, *asked, *said], "response": [*asked, *said, *said]}
    frames = repeated.get(again, [each for frame in (*asked, *said) for each in (frame, frame)])
    assert learned(place, [*opening, *frames]) == [(NAME, FILE, PHONE)]


def test_other_requests_sent_at_once_are_no_matter(place: Machine) -> None:
    frames = exchange((True, get("a.xml") + get("b.xml")), (False, plain(b"<a/>") + plain(b"<b/>")))
    assert place.fields(place.put("others.pcap", pcap(frames)), "certhash.cnf_failed") == []


def asks(name: str, port: int = 49300) -> bytes:
    return packets.udp(PHONE, port, TFTP_SERVER, 69, b"\0\1" + name.encode() + b"\0octet\0")


def answers_with_error(code: int, text: bytes, port: int = 49300) -> bytes:
    return packets.udp(TFTP_SERVER, 32769, PHONE, port, b"\0\5" + bytes([0, code]) + text + b"\0")


NOT_FOUND = answers_with_error(1, b"File not found")
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
    "other files": ([asks("ringlist.xml"), NOT_FOUND, asks("CTLSEP001F6C81110E.tlv"), NOT_FOUND], None, 0),
}
"""Return the frames, the information about the phone, and the number of errors that the plugin shows."""


@pytest.mark.parametrize(("frames", "wanted", "errors"), FAILED.values(), ids=FAILED.keys())
def test_a_file_that_a_phone_does_not_get(
    place: Machine,
    tmp_path: Path,
    frames: list[bytes],
    wanted: tuple[str, int, int | None] | None,
    errors: int,
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
    rows = place.fields(place.put("failed.pcap", pcap(frames)), "certhash.cnf_failed")
    assert len(rows) == errors


def test_a_failed_download_of_a_phone_of_which_nothing_is_expected(tmp_path: Path) -> None:
    (tmp_path / "failed.pcap").write_bytes(pcap([asks(NAME), NOT_FOUND]))
    ended = certhash("audit", tmp_path / "failed.pcap", "-f", "json", "--no-cache")
    (note,) = ended.json["captures"][0]["notes"]
    assert note == (
        f"frame 2: the TFTP request of {PHONE} to {TFTP_SERVER} for {NAME} ended with error 1 "
        "(File not found): the server has no file of this name"
    )
