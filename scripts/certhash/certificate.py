"""Read the details of a certificate for display; a phone trusts it by its hash alone.

``cryptography`` refuses some real certificates (RFC violations that phones accept), so each detail is
optional independently of the others.
"""

from __future__ import annotations

import ipaddress
import warnings
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import NameOID
from msgspec import Struct

from certhash.headend import read_address
from certhash.times import iso_of

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
_DER = serialization.Encoding.DER


class CertificateDetails(Struct, frozen=True):
    """The readable parts of a certificate; an unreadable part is None or empty."""

    subject: str | None = None
    """In RFC 4514 form; characters that a terminal could interpret are ``\\XX`` escapes of that RFC."""
    issuer: str | None = None
    serial: str | None = None
    """Hex, upper case, in whole bytes."""
    not_before: str | None = None
    """ISO 8601 UTC with microseconds, ``2026-02-22T00:08:38.000000Z``."""
    not_after: str | None = None
    names: tuple[str, ...] = ()
    """DNS names and addresses of the subject alternative name; the common names if it is missing."""


@lru_cache(maxsize=4096)
def details(der: bytes) -> CertificateDetails:
    """Return the details of a DER certificate; never raises, whatever the bytes are."""
    with warnings.catch_warnings():
        # The library warns of unusual serial numbers and the like; here they are data.
        warnings.simplefilter("ignore")
        certificate = _try(lambda: x509.load_der_x509_certificate(der))
        if certificate is None:
            return CertificateDetails()
        return CertificateDetails(
            subject=_try(lambda: _harmless(certificate.subject.rfc4514_string())),
            issuer=_try(lambda: _harmless(certificate.issuer.rfc4514_string())),
            serial=_try(lambda: _hex(certificate.serial_number)),
            not_before=_try(lambda: iso_of(certificate.not_valid_before_utc)),
            not_after=_try(lambda: iso_of(certificate.not_valid_after_utc)),
            names=_try(lambda: _names(certificate)) or (),
        )


def _try(read: Callable[[], T]) -> T | None:
    try:
        return read()
    except Exception:  # noqa: BLE001 - whatever the library trips over, this one detail is missing and no more
        return None


def _harmless(text: str) -> str:
    """Escape unprintable characters (control characters, direction marks) as RFC 4514 escapes bytes."""
    return "".join(
        char
        if char.isprintable()
        else "".join(f"\\{byte:02X}" for byte in char.encode("utf-8", "surrogatepass"))
        for char in text
    )


def _hex(number: int) -> str:
    digits = f"{abs(number):X}"
    return ("-" if number < 0 else "") + digits.zfill(len(digits) + len(digits) % 2)


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    """Return the names; the common name counts only without an alternative name (RFC 6125, 6.4.4)."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return tuple(_harmless(str(attribute.value)) for attribute in common)
    names: list[str] = []
    for name in extension.value:
        if isinstance(name, x509.DNSName):
            names.append(_harmless(name.value))
        elif isinstance(name, x509.IPAddress) and isinstance(
            name.value, ipaddress.IPv4Address | ipaddress.IPv6Address
        ):
            # Python 3.13 formats an IPv4-mapped IPv6 address differently from 3.12.
            names.append(read_address(str(name.value)) or str(name.value))
    return tuple(names)


@lru_cache(maxsize=4096)
def public_key(der: bytes) -> tuple[bytes, ...]:
    """Return the public key of a DER certificate in its DER forms: SubjectPublicKeyInfo, and PKCS #1 for RSA.

    Empty if the key cannot be read.
    """
    certificate = _try(lambda: x509.load_der_x509_certificate(der))
    if certificate is None:
        return ()
    forms = (serialization.PublicFormat.SubjectPublicKeyInfo, serialization.PublicFormat.PKCS1)
    keys = (_try(lambda f=form: certificate.public_key().public_bytes(_DER, f)) for form in forms)  # type: ignore[misc]
    return tuple(key for key in keys if key)


@lru_cache(maxsize=65536)
def was_issued_by(der: bytes, issuer: bytes) -> bool:
    """Return whether one DER certificate was issued by another: names and signature; False if unreadable."""
    if der == issuer:
        return False

    def verified() -> bool:
        x509.load_der_x509_certificate(der).verify_directly_issued_by(x509.load_der_x509_certificate(issuer))
        return True

    return bool(_try(verified))
