"""Compute digests, and read and write them in the notations of phones and tools.

A phone is given the digest of a whole DER certificate in Base64 (``<certHash1>``); Windows, IOS and OpenSSL
show the same bytes as hex (thumbprint, fingerprint). SHA-1 has 20 bytes, SHA-256 32, SHA-512 64.

The number of characters alone, without blanks and separators, decides between hex and Base64: 40, 64 or 128
hex digits are hex; 27, 43 or 86 characters (28, 44 or 88 with ``=``) are Base64. No length is in both lists,
so a text that is valid in both notations (a SHA-1 in hex is also Base64 of 30 bytes) has only one reading.

Imports are few, and :mod:`hashlib`, which loads OpenSSL, is imported only where something is hashed: loading
it takes longer than converting a thumbprint.
"""

from __future__ import annotations

import binascii
import re

ALGORITHMS = {20: "SHA-1", 32: "SHA-256", 64: "SHA-512"}
"""The digests that a phone may be given, by length in bytes."""

MD5_BYTES = 16

LONGEST_TEXT = 200
"""Characters. A SHA-512 in hex has 128 digits; a text longer than this is not a digest with a label."""

_INVISIBLE = dict.fromkeys([0x200B, 0x200C, 0x200D, 0x200E, 0x200F, 0x202A, 0x202C, 0x2060, 0xFEFF])
"""Invisible marks in copied text: U+200E precedes the thumbprint in Windows' Details tab."""

_QUOTES = "\"'`\N{LEFT DOUBLE QUOTATION MARK}\N{RIGHT DOUBLE QUOTATION MARK}"
"""Quotation marks around a hash: Windows' command prompt passes on single ones; texts contain others."""

_DASHES = str.maketrans("\N{NON-BREAKING HYPHEN}\N{EN DASH}\N{MINUS SIGN}", "---")

# `re` compiles these patterns when they are used: most texts need only one of them.
_LABEL = r"""(?ix)
    (?: <\s*certHash\d*\s*> | certHash\d*\s*[:=] | certHash\d+\s )
    | VPN [ ]+ Trustpoint [ ]+ \d+ [ ]+ (?: raw | trustpoint ) [ ]+ \S+ (?: [ ]+ (?: leaf | root ) )? [ ]+
    | (?: (?P<before> (?:SHA|MD) -? \d+ ) [ ]+ )?
      (?: (?: cert(?:ificate)? [ ] )? (?:fingerprint|thumbprint|hash) )
      (?: [ ]* \(? (?P<after> (?:SHA|MD) -? \d+ ) \)? )?
      [ ]* [:=]?
    | (?P<alone> (?:SHA|MD) [12]? -? \d+ ) [ ]* (?: \( [^()]* \) )? [ ]* [:=]
"""
"""What tools print before the digits: ``SHA1 Fingerprint=``, ``Fingerprint SHA1:``, ``Thumbprint:``, ``Cert
Hash(sha1):`` (certutil -dump), ``SHA1(leaf.der)=`` (openssl dgst), ``VPN Trustpoint 1 trustpoint NAME leaf``
(show voice vpn)."""

_KEY_LABEL = r"(?i)\s*(?:key id hash|pin-?sha\d*|public key pin)"
"""Certutil also prints ``Key Id Hash(sha1):``, which is a hash of the public key."""

_NAMED_AFTER = r"\\?(?P<digits>[0-9A-Fa-f]+)[ \t]+\*?\S.*"
"""``sha1sum``: the digits, two blanks or a blank and ``*``, and the file name. A leading backslash means that
the file name is escaped."""

_NEXT_HEADING = r"(?is)(?<==)\s+The Voice Service\b.*$"
"""``show voice vpn`` prints its next heading on the line of a hash."""

_ZERO_X = r"(?i)(?<![0-9A-Za-z])0x"
_SEPARATORS = r"[\s:.,-]+"
_HEX = r"[0-9A-Fa-f]+"
_BASE64 = r"[A-Za-z0-9+/]+={0,2}"
_URL_SAFE = r"[A-Za-z0-9_-]+={0,2}"


def sha1_base64(der: bytes) -> str:
    """Return the SHA-1 of a DER certificate in Base64, as in ``<certHash1>``."""
    return to_base64(sha1(der))


def sha1(der: bytes) -> bytes:
    """Return the 20 bytes of a SHA-1. It only identifies a certificate here; it protects nothing."""
    from hashlib import sha1

    return sha1(der, usedforsecurity=False).digest()


def sha256(der: bytes) -> bytes:
    """Return the 32 bytes of the SHA-256 of a DER certificate."""
    from hashlib import sha256

    return sha256(der).digest()


def digest_by(algorithm: str, data: bytes) -> bytes:
    """Return the digest by an algorithm, as ``SHA-1`` or ``MD5``. Like :func:`sha1`, it protects nothing."""
    import hashlib

    return hashlib.new(algorithm.replace("-", ""), data, usedforsecurity=False).digest()


def to_base64(digest: bytes) -> str:
    """Return a digest in Base64, with padding."""
    return binascii.b2a_base64(digest, newline=False).decode("ascii")


def thumbprint(digest: bytes) -> str:
    """Return a digest in hex, upper case, without separators."""
    return digest.hex().upper()


def ios_fingerprint(digest: bytes) -> str:
    """Return a digest as IOS prints it after ``Fingerprint SHA1:``: upper-case hex in groups of eight."""
    return digest.hex(" ", -4).upper()


def decode_cert_hash(value: str) -> tuple[bytes, str | None]:
    """Decode the text of a ``certHashN`` element; return the digest, and its algorithm by its length.

    White space and a missing ``=`` are ignored, because only the bytes count. Text that does not decode to
    the length of a known digest, or that no encoder writes (other characters, unused bits that are not
    zero), is malformed: ``(b"", None)``.
    """
    digest = _decode_base64("".join(value.split()))
    return (digest, ALGORITHMS[len(digest)]) if digest else (b"", None)


def read_hash(text: str) -> tuple[bytes, str]:
    """Read a pasted digest in hex or Base64; return its bytes and algorithm.

    Accepted around and inside: blanks and line ends, colons, dashes, groups of any size, either case, ``0x``,
    invisible marks, and what tools print in front (``SHA1 Fingerprint=``).

    Raises:
        ValueError: it is not a digest that a phone accepts; the message is one line that says why.
    """
    text = text.translate(_INVISIBLE).translate(_DASHES).strip().strip(_QUOTES).strip()
    claimed = None
    digest = _decode_base64("".join(text.split()))
    if not digest:
        if re.match(_KEY_LABEL, text):
            raise ValueError("that is the hash of a public key; a phone compares the certificate's")
        text, claimed = _without_label(text)
        if not text:
            raise ValueError("it is empty")
        named = re.fullmatch(_NAMED_AFTER, text)
        if named and len(named["digits"]) // 2 in ALGORITHMS:
            text = named["digits"]
        digits = re.sub(_SEPARATORS, "", re.sub(_ZERO_X, "", text))
        digest = _decode_hex(digits) or _decode_base64("".join(text.split()))
        if not digest:
            raise ValueError(_why_not(text, digits))
    algorithm = ALGORITHMS[len(digest)]
    if claimed and claimed != algorithm:
        raise ValueError(f"its label says {claimed}, but {len(digest)} bytes are the length of {algorithm}")
    return digest, algorithm


def _without_label(text: str) -> tuple[str, str | None]:
    """Remove the label before the digits; return the digits and the algorithm that the label names."""
    found = re.match(_LABEL, text)
    if not found:
        return text, None
    rest = re.sub(r"<\s*/\s*certHash\d*\s*>\s*$", "", text[found.end() :], flags=re.IGNORECASE)
    rest = re.sub(_NEXT_HEADING, "", rest)
    name = (found["before"] or found["after"] or found["alone"] or "").upper().replace("SHA2-", "SHA-")
    return rest.strip(), name.replace("-", "").replace("SHA", "SHA-") or None


def _decode_hex(digits: str) -> bytes:
    if len(digits) // 2 in ALGORITHMS and len(digits) % 2 == 0 and re.fullmatch(_HEX, digits):
        return bytes.fromhex(digits)
    return b""


def _decode_base64(text: str) -> bytes:
    """Return the bytes of a digest in Base64; empty unless it is exactly as an encoder writes it."""
    bare = text.rstrip("=")
    if not re.fullmatch(_BASE64, text) or len(bare) * 6 // 8 not in ALGORITHMS:
        return b""
    padded = bare + "=" * (-len(bare) % 4)
    try:
        digest = binascii.a2b_base64(padded)
    except binascii.Error:
        return b""
    # Each digest has one encoding: bits after the last byte must be zero, and padding is complete or absent.
    return digest if to_base64(digest) == padded and text in {bare, padded} else b""


def _why_not(text: str, digits: str) -> str:
    compact = "".join(text.split())
    if re.fullmatch(_HEX, digits):
        if len(digits) == 2 * MD5_BYTES:
            return "32 hex digits are an MD5 fingerprint: a phone compares SHA-1, which has 40"
        return f"{len(digits)} hex digits are not a thumbprint: SHA-1 has 40, SHA-256 64"
    if ("-" in compact or "_" in compact) and re.fullmatch(_URL_SAFE, compact):
        digest = _decode_base64(compact.replace("-", "+").replace("_", "/"))
        if digest:
            return f"it uses the URL-safe alphabet; in a cnf file it is {to_base64(digest)}"
    if re.fullmatch(_BASE64, compact):
        bare = compact.rstrip("=")
        if len(bare) * 6 // 8 in ALGORITHMS:
            return "it is Base64 with wrong padding or a wrong last character, which no encoder writes"
        characters = "1 character" if len(compact) == 1 else f"{len(compact)} characters"
        return f"{characters} of Base64 cannot be a hash: SHA-1 has 27 and =, SHA-256 43 and ="
    return "it is neither hex (SHA-1: 40 digits) nor Base64 (SHA-1: 28 characters)"
