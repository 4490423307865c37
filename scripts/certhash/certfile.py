"""Extract certificates from files, as DER.

DER, PEM (one or many, with any text around them, as IOS and ASA export them), PKCS#7, and the hex or Base64
of a DER certificate. What a phone hashes is the bytes, so nothing is decoded further than needed: the
structure is recognised by the tags of the outer ASN.1 layers (RFC 5280, 2986, 5958, 2315). An X.509 library
would refuse some real certificates.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

INTEGER, BIT_STRING, OCTET_STRING, OID, SEQUENCE = 0x02, 0x03, 0x04, 0x06, 0x30
CONTEXT_0 = 0xA0
INDEFINITE = 0x80
"""The length octet of an element that ends with two zero octets (X.690, 8.1.3.6)."""

PKCS7 = "a PKCS#7 file"
SIGNED_DATA = bytes.fromhex("2a864886f70d010702")
"""1.2.840.113549.1.7.2, PKCS#7 signedData (RFC 2315, section 14)."""

_LOOKED_AT = 64
_LENGTH_BYTES = 4
"""Octets of a length: no file here is 4 GB or larger."""
_DEEPEST = 16
"""Nested layers of indefinite length; SignedData without a signer has five."""
_TEXT_BYTES = bytes(range(0x20, 0x7F)) + b"\t\n\r\f"

_PEM = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----")
_PEM_HEADER = re.compile(r"^[A-Za-z0-9-]+:[^\n]*\n", re.MULTILINE)
_HEX_DER = re.compile(r"\s*30[\s:]?8[0-4][0-9A-Fa-f\s:]+")
_BASE64_DER = re.compile(r"\s*MI[A-Za-z0-9+/\s]+={0,2}\s*")


class NoCertificateError(ValueError):
    """The file contains no certificate; a damaged certificate raises a plain ValueError instead."""


def certificates_in(data: bytes) -> list[bytes]:
    """Return the DER of every certificate in a file, in the file's order.

    Raises:
        ValueError: the file contains no certificate, or an incomplete one; the message is one line that says
            what the file is.
    """
    if not data.strip():
        raise NoCertificateError("it is empty")
    if is_der(data):
        return _from_der(data)
    text = decode_text(data)
    blocks = [block[:3] for block in pem_blocks(text)]
    if blocks:
        return _from_pem(blocks)
    if _HEX_DER.fullmatch(text):
        return _from_der(_unhex(text))
    if _BASE64_DER.fullmatch(text):
        return _from_der(_unbase64(text))
    raise NoCertificateError("it contains no certificate (DER, PEM or PKCS#7)")


def is_der(data: bytes) -> bool:
    """Return whether a file starts like DER; text is excluded, because 0x30 is also the digit 0."""
    return data[:1] == b"0" and data[1:_LOOKED_AT].translate(None, _TEXT_BYTES) != b""


def pem_blocks(text: str) -> Iterator[tuple[str, str, int, str]]:
    """Yield the PEM blocks in a text; lines may be wrapped, joined or indented.

    Each is a tuple of label, body, line number, and the text before it on that line.

    Raises:
        ValueError: a block has no end.
    """
    position, line, counted = 0, 1, 0
    while found := _PEM.search(text, position):
        line += text.count("\n", counted, found.start())
        counted = found.start()
        end = text.find(f"-----END {found[1]}-----", found.end())
        following = _PEM.search(text, found.end())
        if end < 0 or (following and following.start() < end):
            raise ValueError(f"the PEM block that begins at line {line} has no end")
        before = text[position : found.start()].rpartition("\n")[2].rpartition("-----")[2].strip()
        yield found[1], text[found.end() : end], line, before
        position = end


def pem_certificates(label: str, body: str) -> list[bytes]:
    """Return the certificates of one PEM block.

    Raises:
        ValueError: the block contains something else; the message is one line that says what.
    """
    der = _unbase64(_PEM_HEADER.sub("", body.lstrip()))
    if label == "TRUSTED CERTIFICATE":
        # OpenSSL's own format: the certificate, followed by its trust settings.
        der = der[: _content(der, 0)[1]]
    return _from_der(der)


def check_certificate(der: bytes) -> bytes:
    """Return the DER unchanged if its outer structure is exactly one certificate.

    Raises:
        ValueError: it is something else; the message is one line that says what.
    """
    kind = _kind_of(der)
    if kind != "a certificate":
        raise ValueError(f"it is {kind}, not a certificate")
    return der


def decode_text(data: bytes) -> str:
    """Decode text by its byte order mark, else as UTF-8, else as Latin-1; return it with LF line ends."""
    for mark, encoding in (
        (b"\xff\xfe", "utf-16"),
        (b"\xfe\xff", "utf-16"),
        (b"\xef\xbb\xbf", "utf-8-sig"),
        (b"", "utf-8"),
    ):
        if data.startswith(mark):
            try:
                text = data.decode(encoding)
                break
            except UnicodeDecodeError:
                continue
    else:
        text = data.decode("latin-1")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _from_pem(blocks: list[tuple[str, str, int]]) -> list[bytes]:
    """Return the certificates; other blocks (such as a key) matter only if there is no certificate."""
    found: list[bytes] = []
    others: list[str] = []
    for label, body, line in blocks:
        try:
            if ("CERTIFICATE" in label.split() and "REQUEST" not in label) or label in {"PKCS7", "CMS"}:
                found += pem_certificates(label, body)
            else:
                others.append(_pem_kind(label))
        except ValueError as error:
            raise ValueError(f"the PEM block at line {line}: {error}") from error
    if not found:
        raise NoCertificateError(f"it is {others[0]}, not a certificate")
    return found


def _pem_kind(label: str) -> str:
    if "PRIVATE KEY" in label:
        return "a private key"
    if "REQUEST" in label:
        return "a certificate signing request"
    return {
        "PUBLIC KEY": "a public key",
        "RSA PUBLIC KEY": "a public key",
        "X509 CRL": "a revocation list",
    }.get(label, f"a PEM block of {label}")


def _from_der(der: bytes) -> list[bytes]:
    kind = _kind_of(der)
    if kind == PKCS7:
        try:
            return _from_pkcs7(der)
        except IndexError:
            raise ValueError("it is a damaged PKCS#7 file") from None
    if kind != "a certificate":
        raise NoCertificateError(f"it is {kind}, not a certificate")
    return [der]


def _from_pkcs7(der: bytes) -> list[bytes]:
    """Return the certificates of SignedData: its fourth element, with the tag [0] (RFC 2315, 9.1).

    They are DER; the structure around them may be BER of indefinite length, as Java's libraries write it.
    """
    (_, explicit, _) = _elements(der, 0)[1]
    (_, signed_data, _) = _elements(der, explicit)[0]
    for tag, start, _ in _elements(der, signed_data):
        if tag == CONTEXT_0:
            inner = [der[first:last] for tag, first, last in _elements(der, start) if tag == SEQUENCE]
            if inner:
                return [check_certificate(certificate) for certificate in inner]
    raise ValueError("it is a PKCS#7 file without certificates")


_OUTER_KINDS: dict[tuple[int, ...], str] = {
    (SEQUENCE, BIT_STRING): "a public key",
    (INTEGER, INTEGER): "a public key",
    (SEQUENCE, OCTET_STRING): "an encrypted private key",
}
"""By the inner tags: RFC 5280, 4.1 (SubjectPublicKeyInfo), RFC 8017, A.1.1, RFC 5958, 3"""


def _kind_of(der: bytes) -> str:
    """Return a phrase that says what a DER file is, by the tags of its outer layers."""
    try:
        end = _end(der, 0)
        if der[0] != SEQUENCE:
            return "not a DER sequence"
        if end < len(der):
            return f"a DER sequence with {len(der) - end} bytes after its end"
        elements = _elements(der, 0)
        tags = tuple(tag for tag, _, _ in elements)
        if der[1] == INDEFINITE and tags[:1] != (OID,):
            return "BER of indefinite length"
        if tags == (SEQUENCE, SEQUENCE, BIT_STRING):
            return _signed_kind([tag for tag, _, _ in _elements(der, elements[0][1])])
        return _OUTER_KINDS.get(tags) or _kind_by_first(der, elements)
    except ValueError as error:
        return str(error)


def _kind_by_first(der: bytes, elements: list[tuple[int, int, int]]) -> str:
    """Return the kind by the first element: an OID (RFC 2315) or a version (RFC 7292, 8017, 5958, 5915)."""
    if elements and elements[0][0] == OID:
        first, last = _content(der, elements[0][1])
        whole = len(elements) > 1 and der[first:last] == SIGNED_DATA
        return PKCS7 if whole else "PKCS#7 of another kind"
    if elements and elements[0][0] == INTEGER:
        first, last = _content(der, elements[0][1])
        return "a PKCS#12 file" if der[first:last] == b"\x03" else "a private key"
    return "a DER sequence of another kind"


def _signed_kind(tags: list[int]) -> str:
    """Return which it is: certificate (RFC 5280, 4.1), request (RFC 2986, 4) or CRL (RFC 5280, 5.1)."""
    if tags[:1] == [CONTEXT_0]:
        tags = tags[1:]
    if tags[:6] == [INTEGER, SEQUENCE, SEQUENCE, SEQUENCE, SEQUENCE, SEQUENCE]:
        return "a certificate"
    if tags[:3] == [INTEGER, SEQUENCE, SEQUENCE] and tags[3:4] in ([], [CONTEXT_0]):
        return "a certificate signing request"
    if [tag for tag in tags[:3] if tag != INTEGER][:2] == [SEQUENCE, SEQUENCE]:
        return "a revocation list"
    return "a signed DER sequence of another kind"


def _content(der: bytes, start: int, depth: int = 0) -> tuple[int, int]:
    """Return the offsets where the content of the element at `start` begins and ends."""
    if start + 2 > len(der):
        raise ValueError("DER that is cut short")
    length = der[start + 1]
    first = start + 2
    if length == INDEFINITE:
        if depth > _DEEPEST:
            raise ValueError("BER of indefinite length, nested too deeply")
        end = first
        while der[end : end + 2] != b"\0\0":
            end = _end(der, end, depth + 1)
        return first, end
    if length > 0x80:  # noqa: PLR2004 - X.690, 8.1.3.5
        count = length - 0x80
        if count > _LENGTH_BYTES:
            raise ValueError("DER with an invalid length")
        length = int.from_bytes(der[first : first + count], "big")
        first += count
    if first + length > len(der):
        raise ValueError(f"DER that is cut short: {first + length} bytes are announced, {len(der)} are there")
    return first, first + length


def _end(der: bytes, start: int, depth: int = 0) -> int:
    """Return where the element at `start` ends, including the two octets that end an indefinite length."""
    last = _content(der, start, depth)[1]
    return last + 2 if der[start + 1] == INDEFINITE else last


def _elements(der: bytes, outer: int) -> list[tuple[int, int, int]]:
    """Return the tag, start and end of each element inside the one that starts at `outer`."""
    start, end = _content(der, outer)
    elements = []
    while start < end:
        stop = _end(der, start)
        if stop > end:
            raise ValueError("DER whose parts overlap")
        elements.append((der[start], start, stop))
        start = stop
    return elements


def _unhex(text: str) -> bytes:
    try:
        return bytes.fromhex(re.sub(r"[\s:]+", "", text))
    except ValueError as error:
        raise ValueError("the hex of a certificate that is cut short") from error


def _unbase64(text: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except binascii.Error as error:
        raise ValueError("its Base64 is damaged") from error
