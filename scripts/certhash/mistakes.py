"""Recognise what people use instead of a hash by mistake: digests of something else, and other encodings."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import textwrap
from functools import lru_cache

from certhash.certificate import public_key
from certhash.digest import digest_by


@lru_cache(maxsize=4096)
def digests_of_something_else(der: bytes) -> dict[bytes, str]:
    """Return digests (raw bytes) that people compute from a certificate by mistake, and a name for each."""
    if not der:
        return {}
    base64_text = base64.b64encode(der).decode("ascii")
    pem = (
        "-----BEGIN CERTIFICATE-----\n"
        + "\n".join(textwrap.wrap(base64_text, 64))
        + "\n-----END CERTIFICATE-----"
    )
    hex_text = hashlib.sha1(der, usedforsecurity=False).hexdigest()
    inputs: list[tuple[bytes, str]] = []
    for text in (pem, pem + "\n"):
        inputs += [(text.encode(), "the PEM text"), (text.replace("\n", "\r\n").encode(), "the PEM text")]
    inputs += [(base64_text.encode(), "the Base64 text"), (base64_text.encode() + b"\n", "the Base64 text")]
    inputs += [(key, "the public key") for key in public_key(der)]
    for text in (hex_text, hex_text.upper()):
        spaced = ":".join(textwrap.wrap(text, 2))
        inputs += [(t.encode() + end, "the hex thumbprint") for t in (text, spaced) for end in (b"", b"\n")]
    inputs += [(text.encode(), "the hex text") for text in (der.hex(), der.hex().upper())]
    found: dict[bytes, str] = {}
    for data, what in inputs:
        for name in ("SHA-1", "MD5", "SHA-256", "SHA-512"):
            found.setdefault(digest_by(name, data), f"the {name} of {what}")
    for name in ("MD5", "SHA-256", "SHA-512", "SHA-384", "SHA-224"):
        found.setdefault(digest_by(name, der), f"the {name}")
    return found


def raw(value: str) -> bytes:
    """Decode a value as Base64, whatever its length: an MD5, for example, has 16 bytes."""
    try:
        return base64.b64decode("".join(value.split()), validate=True)
    except (binascii.Error, ValueError):
        return b""


def as_hex(value: str) -> bytes:
    """Return the bytes of a value in hex, ignoring separators, or in the Base64 of such text."""
    for text in (value, raw(value).decode("ascii", "replace")):
        digits = re.sub(r"[\s:-]", "", text)
        if re.fullmatch(r"(?:[0-9A-Fa-f]{2})+", digits):
            return bytes.fromhex(digits)
    return b""
