"""Test SHA-1, SHA-256 and Base64 in Lua against published vectors and Python's hashlib."""

from __future__ import annotations

import base64
import hashlib
import random
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.harness import packets
from tests.plugin.machines import PLUGIN

if TYPE_CHECKING:
    from tests.plugin.machines import Machine

SCRIPT = Path(__file__).parent / "lua" / "digests.lua"

# FIPS 180-4's examples, as NIST publishes them.
PUBLISHED = {
    b"abc": (
        "a9993e364706816aba3e25717850c26c9cd0d89d",
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    ),
    b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq": (
        "84983e441c3bd26ebaae4aa1f95129e5e54670f1",
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
    ),
    b"a" * 1_000_000: (
        "34aa973cd4c4daa4f61eeb2bdbad27316534016f",
        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0",
    ),
}
# RFC 4648, section 10.
BASE64 = {
    "": "",
    "f": "Zg==",
    "fo": "Zm8=",
    "foo": "Zm9v",
    "foob": "Zm9vYg==",
    "fooba": "Zm9vYmE=",
    "foobar": "Zm9vYmFy",
}


def messages() -> list[bytes]:
    """Return the published messages, every length around the block borders, and random messages."""
    source = random.Random(116638)
    edges = [source.randbytes(length) for length in range(1, 200)]
    return [
        *PUBLISHED,
        b"\x00" * 64,
        b"\xff" * 119,
        *edges,
        *(source.randbytes(source.randrange(5000)) for _ in range(40)),
    ]


def check(output: str) -> None:
    """Compare a script's output with hashlib and with the published values."""
    lines = [line.split(" ")[1:] for line in output.splitlines() if line.startswith("DIGEST ")]
    given = [message for message in messages() if message]
    assert len(lines) == len(given)
    for message, (sha1, sha256, text) in zip(given, lines, strict=True):
        assert sha1 == hashlib.sha1(message, usedforsecurity=False).hexdigest()
        assert sha256 == hashlib.sha256(message).hexdigest()
        assert text == base64.b64encode(message).decode()
        if message in PUBLISHED:
            assert (sha1, sha256) == PUBLISHED[message]


def hex_lines() -> bytes:
    return "".join(message.hex() + "\n" for message in messages() if message).encode()


def test_plain_interpreter(lua: str, tmp_path: Path) -> None:
    (tmp_path / "input").write_bytes(hex_lines())
    done = subprocess.run(
        [lua, SCRIPT, PLUGIN / "certhash", tmp_path / "input"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    check(done.stdout)


def test_inside_tshark(place: Machine) -> None:
    script = place.put("digests.lua", SCRIPT.read_bytes())
    given = place.put("digests.input", hex_lines())
    capture = place.put("digests.pcap", packets.pcap([]))
    arguments = (place.plugin.parent / "certhash", given)
    options = [part for value in arguments for part in ("-X", f"lua_script1:{value}")]
    done = place.run("tshark", "-r", capture, "-X", f"lua_script:{script}", *options)
    assert done.returncode == 0, done.stderr
    check(done.stdout)


@pytest.mark.parametrize(("plain", "text"), BASE64.items())
def test_base64_published(lua: str, plain: str, text: str) -> None:
    code = "local b = dofile(arg[1]) io.write(b.encode(arg[2]), ' ', b.decode(arg[3]))"
    assert run(lua, code, PLUGIN / "certhash/base64.lua", plain, text) == f"{text} {plain}"


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        (" Zm 9v\r\n", "foo"),  # wrapped and indented
        ("Zg", "f"),  # padding missing
        ("Zg=", None),  # half of it missing
        ("Zh==", None),  # bits set that no encoder leaves
        ("Z", None),
        ("Zm9v=", None),
        ("Zg==Zg==", None),
        ("Zm9*", None),
        ("Zm_v", None),  # the other alphabet
    ],
)
def test_base64_of_the_field(lua: str, text: str, plain: str | None) -> None:
    code = "local b = dofile(arg[1]) io.write(tostring(b.decode(arg[2])))"
    assert run(lua, code, PLUGIN / "certhash/base64.lua", text) == ("nil" if plain is None else plain)


def run(lua: str, code: str, *arguments: str | Path) -> str:
    """Run Lua code, with its arguments in ``arg``; return its output."""
    done = subprocess.run([lua, "-", *arguments], input=code, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
