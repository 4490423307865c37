"""Create the certificates of a recording, with dates that do not depend on the current day."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from pathlib import Path

PrivateKey: TypeAlias = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

VALID_FROM = dt.datetime(2025, 1, 1, tzinfo=dt.UTC)
VALID_UNTIL = dt.datetime(2035, 1, 1, tzinfo=dt.UTC)
IOS_SELF_SIGNED_END = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
"""The day on which all self-signed certificates of older IOS releases expire (Cisco field notice 70489)."""


@dataclass(frozen=True)
class Identity:
    """A certificate with its key, and the certificates above it, nearest first (the root last)."""

    certificate: x509.Certificate
    key: PrivateKey
    above: tuple[x509.Certificate, ...] = ()

    @property
    def der(self) -> bytes:
        """The certificate's DER encoding."""
        return der(self.certificate)

    @property
    def common_name(self) -> str:
        """The subject's common name."""
        return common_name(self.certificate)


def plain(certificate: x509.Certificate | Identity) -> x509.Certificate:
    """Return the certificate alone."""
    return certificate.certificate if isinstance(certificate, Identity) else certificate


def der(certificate: x509.Certificate | Identity) -> bytes:
    """Return the certificate's DER encoding."""
    return plain(certificate).public_bytes(serialization.Encoding.DER)


def pem(certificate: x509.Certificate) -> str:
    """Return the certificate's PEM text."""
    return certificate.public_bytes(serialization.Encoding.PEM).decode("ascii")


def common_name(certificate: x509.Certificate) -> str:
    """Return the common name of the subject."""
    return str(certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


def cert_hash(certificate: x509.Certificate | Identity) -> str:
    """Return the content of ``<certHash1>``: Base64 of the SHA-1 of the whole DER."""
    return base64.b64encode(hashlib.sha1(der(certificate), usedforsecurity=False).digest()).decode("ascii")


def names(certificate: x509.Certificate) -> set[str]:
    """Return the names for the host-ID check: the common name and the subjectAltName entries."""
    found = {common_name(certificate)}
    for extension in certificate.extensions:
        if isinstance(extension.value, x509.SubjectAlternativeName):
            found |= {str(entry.value) for entry in extension.value}
    return found


def authority(name: str, *, above: Identity | None = None) -> Identity:
    """Create a certificate authority: a root, or an intermediate if ``above`` is given."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    builder = _builder(name, key, above, VALID_FROM, VALID_UNTIL)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    builder = builder.add_extension(_usage(signs=True), critical=True)
    return _signed(builder, key, above)


def server(  # noqa: PLR0913 - each is one property of a certificate
    name: str,
    *,
    by: Identity | None = None,
    names: tuple[str, ...] = (),
    elliptic: bool = False,
    bits: int = 2048,
    start: dt.datetime = VALID_FROM,
    until: dt.datetime = VALID_UNTIL,
    padding: int = 0,
) -> Identity:
    """Create a head-end's certificate; self-signed, as by default on IOS, unless ``by`` is given.

    ``names`` are subjectAltName entries, host names or IP addresses. ``padding`` adds a private extension of
    that many bytes, for an unusually long Certificate message.
    """
    key: PrivateKey
    if elliptic:
        key = ec.generate_private_key(ec.SECP256R1())
    else:
        key = rsa.generate_private_key(public_exponent=65537, key_size=bits)
    builder = _builder(name, key, by, min(start, until - dt.timedelta(days=365)), until)
    builder = builder.add_extension(_usage(signs=by is None), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    if names:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([_name(entry) for entry in names]), critical=False
        )
    if padding:
        private = x509.ObjectIdentifier(
            "1.3.6.1.4.1.32473.1"
        )  # the enterprise number for documentation, RFC 5612
        builder = builder.add_extension(x509.UnrecognizedExtension(private, bytes(padding)), critical=False)
    return _signed(builder, key, by)


def device(name: str, by: Identity) -> Identity:
    """Create a phone's own certificate, which Cisco calls MIC."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    builder = _builder(name, key, by, VALID_FROM, VALID_UNTIL)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
    return _signed(builder, key, by)


def private_pem(identity: Identity) -> bytes:
    """Return the identity's private key as PEM (PKCS#8), for the temporary folder of a run only."""
    return identity.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def write(
    identity: Identity, folder: Path, chain: tuple[x509.Certificate, ...] = ()
) -> tuple[Path, Path, Path]:
    """Write certificate, key and chain as PEM files into a temporary folder; return their three paths."""
    stem = hashlib.sha256(identity.der).hexdigest()[:16]
    certificate, key, above = (folder / f"{stem}{suffix}" for suffix in (".crt", ".key", ".chain"))
    certificate.write_text(pem(identity.certificate))
    key.write_bytes(private_pem(identity))
    above.write_text("".join(pem(entry) for entry in chain))
    return certificate, key, above


def _builder(
    name: str, key: PrivateKey, by: Identity | None, start: dt.datetime, end: dt.datetime
) -> x509.CertificateBuilder:
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Example"),
            x509.NameAttribute(NameOID.COMMON_NAME, name),
        ]
    )
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.certificate.subject if by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
    )


def _signed(builder: x509.CertificateBuilder, key: PrivateKey, by: Identity | None) -> Identity:
    certificate = builder.sign(by.key if by else key, hashes.SHA256())
    return Identity(certificate, key, (by.certificate, *by.above) if by else ())


def _name(entry: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(entry))
    except ValueError:
        return x509.DNSName(entry)


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=True,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )
