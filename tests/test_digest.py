"""Test the reading and writing of digests against hashlib, base64 and openssl."""

from __future__ import annotations

import base64
import hashlib
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certhash import digest

TAC = "fZ2xQHMBcWj/fSoNs5IkPbA2Pt8="
"""The hash in Cisco TAC 116638; its bytes in hex, from `base64 -d | xxd -p`."""
TAC_HEX = "7d9db14073017168ff7d2a0db392243db0363edf"

LENGTHS = st.sampled_from([20, 32, 64])
DIGESTS = LENGTHS.flatmap(lambda size: st.binary(min_size=size, max_size=size))
BASE64_TEXT = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


@given(st.binary(max_size=5000))
def test_sha1_is_what_hashlib_and_base64_say(data: bytes) -> None:
    assert (
        base64.b64decode(digest.sha1_base64(data))
        == hashlib.new("sha1", data, usedforsecurity=False).digest()
    )
    assert digest.sha256(data) == hashlib.new("sha256", data).digest()


def test_sha1_is_what_openssl_says() -> None:
    data = b"any bytes will do, openssl hashes them all"
    done = subprocess.run(["openssl", "sha1", "-binary"], input=data, capture_output=True, check=True)
    assert digest.sha1(data) == done.stdout


def test_forms_of_the_documented_hash() -> None:
    value, algorithm = digest.read_hash(TAC)
    assert (value.hex(), algorithm) == (TAC_HEX, "SHA-1")
    assert digest.thumbprint(value) == TAC_HEX.upper()
    assert digest.ios_fingerprint(value) == "7D9DB140 73017168 FF7D2A0D B392243D B0363EDF"
    assert digest.to_base64(value) == TAC


def _windows(value: bytes) -> str:
    return "\N{LEFT-TO-RIGHT MARK}" + value.hex(" ")


def _openssl(value: bytes) -> str:
    return {20: "SHA1", 32: "sha256", 64: "sha512"}[len(value)] + " Fingerprint=" + value.hex(":").upper()


def _ios(value: bytes) -> str:
    return f"  Fingerprint SHA{ {20: 1, 32: 256, 64: 512}[len(value)] }: {value.hex(' ', -4).upper()} \n"


PASTES = [
    bytes.hex,
    lambda value: value.hex().upper(),
    lambda value: "0x" + value.hex(),
    lambda value: " ".join(f"0x{byte:02X}," for byte in value),
    _windows,
    _openssl,
    _ios,
    lambda value: value.hex("-"),
    lambda value: value.hex(" ", 2),
    lambda value: "\r\n".join([value.hex()[:33], value.hex()[33:]]) + "\r\n",
    lambda value: "Thumbprint: " + value.hex(),
    lambda value: base64.b64encode(value).decode(),
    lambda value: base64.b64encode(value).decode().rstrip("="),
    lambda value: "\n".join([base64.b64encode(value).decode()[:17], base64.b64encode(value).decode()[17:]]),
    lambda value: f"<certHash1>{base64.b64encode(value).decode()}</certHash1>",
    lambda value: f"certHash10: {base64.b64encode(value).decode()}",
]


@given(DIGESTS, st.sampled_from(PASTES))
def test_every_way_of_pasting_gives_the_same_bytes(value: bytes, paste: object) -> None:
    assert callable(paste)
    name = {20: "SHA-1", 32: "SHA-256", 64: "SHA-512"}[len(value)]
    assert digest.read_hash(paste(value)) == (value, name)


@given(st.text(alphabet="0123456789abcdef", min_size=40, max_size=40))
def test_forty_hex_digits_are_never_base64(text: str) -> None:
    """The digits are also Base64 characters, and decode to 30 bytes, which is not a digest."""
    assert len(base64.b64decode(text)) == 30
    assert digest.read_hash(text)[0] == bytes.fromhex(text)
    assert digest.decode_cert_hash(text) == (b"", None)


@given(st.text(alphabet=BASE64_TEXT + "=-_: \n", max_size=140))
def test_whatever_is_read_reads_back(text: str) -> None:
    """The result is an error of one line, or the bytes that the standard library finds in the text."""
    try:
        value, _ = digest.read_hash(text)
    except ValueError:
        return
    compact = "".join(text.split())
    hexadecimal = compact.replace(":", "").replace("-", "").lower()
    assert value.hex() == hexadecimal or base64.b64encode(value).decode().rstrip("=") == compact.rstrip("=")


@given(DIGESTS)
def test_cert_hash_decodes(value: bytes) -> None:
    text = base64.b64encode(value).decode()
    for written in (text, f"\n  {text[:11]} {text[11:]}\t", text.rstrip("=")):
        decoded, algorithm = digest.decode_cert_hash(written)
        assert decoded == value
        assert algorithm == {20: "SHA-1", 32: "SHA-256", 64: "SHA-512"}[len(value)]


@given(st.binary(max_size=80).filter(lambda value: len(value) not in {20, 32, 64}))
def test_cert_hash_of_another_length_is_malformed(value: bytes) -> None:
    assert digest.decode_cert_hash(base64.b64encode(value).decode()) == (b"", None)


@given(st.binary(min_size=20, max_size=20), st.integers(0, 27), st.sampled_from(BASE64_TEXT + "-_=*\u00e9"))
def test_one_wrong_character_never_gives_the_same_digest(value: bytes, place: int, char: str) -> None:
    """A typing error must be detected: two bits of the last character are unused."""
    right = base64.b64encode(value).decode()
    wrong = right[:place] + char + right[place + 1 :]
    if wrong != right:
        assert digest.decode_cert_hash(wrong)[0] != value


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "it is empty"),
        ("79:6D:8F:17:F3:E2:2A:2E:DA:DC:25:87:21:1A:BA:9A", "MD5"),
        ("Fingerprint MD5: 796D8F17 F3E22A2E DADC2587 211ABA9A", "MD5"),
        (TAC_HEX[1:], "39 hex digits"),
        ("MD5 Fingerprint=" + TAC_HEX, "MD5"),
        ("SHA256 Fingerprint=" + TAC_HEX, "SHA-1"),
        (TAC.replace("/", "_"), f"URL-safe alphabet; in a cnf file it is {TAC}"),
        (TAC[:-2] + "9=", "last character"),
        (TAC + "=", "padding"),
        ("ZZZZ", "4 characters of Base64"),
        ("thumbprint: what?", "neither hex"),
    ],
)
def test_refusals_say_why(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]+$") as refusal:
        digest.read_hash(text)
    assert words in str(refusal.value)
