"""Parse the header of a signed cnf file (``.cnf.xml.sgn``).

The header is a sequence of tag (1 byte), length (2 bytes, big-endian) and value. Tag 1 is the version (major,
minor; 1 for signed, 2 for signed and encrypted), tag 2 the length of the header, tag 14 the file name; tag 13
is a single byte of padding without a length. The file itself follows the header; tags 16 to 27 describe an
encryption, whose key only the phone has. The usecallmanager project documents this layout for its ``sgnfile``
tool. The signature is not verified: that requires a certificate of CUCM, and the phone does it.
"""

from __future__ import annotations

from msgspec import Struct

VERSION, HEADER_LENGTH, PADDING, FILE_NAME = 1, 2, 13, 14
ENCRYPTION_TAGS = range(16, 28)
ENCRYPTED_VERSION = 2


class Signed(Struct, frozen=True):
    """The parts of a signed file."""

    name: str | None
    """The file name in the header."""
    encrypted: bool
    payload: bytes
    """The signed content: XML, or ciphertext."""


def is_signed(data: bytes) -> bool:
    """Return whether the file starts with a header; a file named ``.sgn`` may also be plain XML."""
    return data[:3] == bytes([VERSION, 0, 2])


def unwrap(data: bytes) -> Signed:
    """Return the content and the file name of a signed file.

    Raises:
        ValueError: the header is damaged or longer than the file.
    """
    if data[5:8] != bytes([HEADER_LENGTH, 0, 2]) or len(data) < 10:  # noqa: PLR2004 - two fixed fields of 5 bytes
        raise ValueError("its signed header is damaged (no header length)")
    end = int.from_bytes(data[8:10], "big")
    if not 10 <= end < len(data):  # noqa: PLR2004
        raise ValueError(f"it is cut short: its signed header announces {end} bytes, {len(data)} are there")
    name = None
    encrypted = data[3] >= ENCRYPTED_VERSION
    position = 0
    while position < end:
        tag = data[position]
        if tag == PADDING:
            position += 1
            continue
        start = position + 3
        position = start + int.from_bytes(data[position + 1 : start], "big")
        if position > end:
            raise ValueError("its signed header is damaged (a field reaches over the end)")
        if tag == FILE_NAME:
            name = data[start:position].rstrip(b"\0").decode("utf-8", "replace")
        encrypted = encrypted or tag in ENCRYPTION_TAGS
    return Signed(name, encrypted, data[end:])
