"""Test the extraction of certificates from files: the bytes must be those that openssl fingerprints."""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import itertools
import subprocess
import textwrap
import warnings
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from certhash.certfile import certificates_in
from certhash.certificate import CertificateDetails, details

if TYPE_CHECKING:
    from pathlib import Path

KEY = ec.generate_private_key(ec.SECP256R1())
START = dt.datetime(2026, 2, 22, 0, 8, 38, tzinfo=dt.UTC)
END = dt.datetime(2046, 2, 17, 0, 8, 38, tzinfo=dt.UTC)


def make(common_name: str = "CME", *alternatives: x509.GeneralName, serial: int = 1) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    builder = x509.CertificateBuilder(name, name, KEY.public_key(), serial, START, END)
    if alternatives:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def pem(der: bytes, label: str = "CERTIFICATE") -> str:
    body = "\n".join(textwrap.wrap(base64.b64encode(der).decode(), 64))
    return f"-----BEGIN {label}-----\n{body}\n-----END {label}-----\n"


LEAF = make("CME leaf", serial=2)
ROOT = make("CA-ROOT")

IOS_EXPORT = f"""\
Router(config)#crypto pki export CUBEtest pem terminal
% Self-signed CA certificate:
{pem(ROOT)}
% General Purpose Certificate:
{pem(LEAF)}
Router(config)#
"""
ASA_EXPORT = (
    "The Privacy Enhanced Mail (PEM) encoded identity certificate follows:\n"
    f"-----BEGIN CERTIFICATE-----{base64.b64encode(LEAF).decode()}-----END CERTIFICATE-----\n"
)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (LEAF, [LEAF]),
        (pem(LEAF).encode(), [LEAF]),
        (pem(LEAF).replace("\n", "\r\n").encode(), [LEAF]),
        (pem(LEAF).encode("utf-16"), [LEAF]),
        (b"\xef\xbb\xbf" + pem(LEAF).encode(), [LEAF]),
        (textwrap.indent(pem(LEAF), "    ").encode(), [LEAF]),
        (pem(LEAF, "X509 CERTIFICATE").encode(), [LEAF]),
        ((pem(LEAF) + pem(ROOT)).encode(), [LEAF, ROOT]),
        (IOS_EXPORT.encode(), [ROOT, LEAF]),
        (ASA_EXPORT.encode(), [LEAF]),
        (pem(LEAF).replace("\n", " ").encode(), [LEAF]),
        ((pem(LEAF) + pem(b"\x30\0", "PRIVATE KEY")).encode(), [LEAF]),
        (base64.b64encode(LEAF), [LEAF]),
        (LEAF.hex().encode(), [LEAF]),
        (LEAF.hex(" ", -4).upper().encode(), [LEAF]),
        (LEAF.hex(":").encode(), [LEAF]),
    ],
)
def test_forms(data: bytes, expected: list[bytes]) -> None:
    assert certificates_in(data) == expected


@pytest.mark.parametrize("form", ["DER", "PEM"])
def test_pkcs7_as_openssl_writes_it(tmp_path: Path, form: str) -> None:
    (tmp_path / "chain.pem").write_text(pem(LEAF) + pem(ROOT))
    command = ["openssl", "crl2pkcs7", "-nocrl", "-certfile", "chain.pem", "-outform", form]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True)
    assert sorted(certificates_in(done.stdout)) == sorted([LEAF, ROOT])


@pytest.mark.parametrize("order", list(itertools.permutations(["one", "two", "three"])))
def test_pkcs7_in_any_order_without_a_warning(tmp_path: Path, order: tuple[str, ...]) -> None:
    """OpenSSL keeps the order of its input. DER wants a SET OF sorted (X.690, 11.6), and libraries warn."""
    ders = [make(name) for name in order]
    (tmp_path / "chain.pem").write_text("".join(map(pem, ders)))
    command = "openssl crl2pkcs7 -nocrl -certfile chain.pem -outform DER -out chain.p7b"
    subprocess.run(command.split(), cwd=tmp_path, check=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert certificates_in((tmp_path / "chain.p7b").read_bytes()) == ders


def test_pkcs7_of_indefinite_length(tmp_path: Path) -> None:
    """The encoding of Bouncy Castle, which many CA web pages use; openssl uses it for streamed output."""
    key = private(serialization.PrivateFormat.PKCS8)
    (tmp_path / "all.pem").write_text(pem(LEAF) + pem(key, "PRIVATE KEY"))
    command = ["openssl", "cms", "-sign", "-signer", "all.pem", "-nodetach", "-stream", "-outform", "DER"]
    streamed = subprocess.run(command, cwd=tmp_path, input=b"x", capture_output=True, check=True).stdout
    assert streamed[:2] == b"\x30\x80"
    assert certificates_in(streamed) == [LEAF]
    chain = b"\x31\0\x30\x80\x06\x09" + bytes.fromhex("2a864886f70d010701") + b"\0\0\xa0\x80" + LEAF + ROOT
    bare = b"\x30\x80\x02\x01\x01" + chain + b"\0\0\x31\0\0\0"
    bare = b"\x30\x80\x06\x09" + bytes.fromhex("2a864886f70d010702") + b"\xa0\x80" + bare + bytes(4)
    assert certificates_in(base64.b64encode(bare)) == [LEAF, ROOT]
    for refused in (
        bare[:-1],
        bare + b"x",
        b"\x30\x80" + LEAF[4:] + b"\0\0",
        b"\x30\x80" * 100_000,
        b"\x30\x80",
    ):
        with pytest.raises(ValueError, match=r"^[^\n]+$"):
            certificates_in(refused)


def test_trusted_certificate_of_openssl_hashes_without_its_appendix(tmp_path: Path) -> None:
    (tmp_path / "leaf.pem").write_text(pem(LEAF))
    command = ["openssl", "x509", "-in", "leaf.pem", "-trustout", "-addtrust", "serverAuth"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True)
    assert b"TRUSTED" in done.stdout
    assert certificates_in(done.stdout) == [LEAF]


REQUEST = (
    x509.CertificateSigningRequestBuilder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a")]))
    .sign(KEY, hashes.SHA256())
    .public_bytes(serialization.Encoding.DER)
)
REVOCATIONS = (
    x509.CertificateRevocationListBuilder(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a")]), START, END
    )
    .sign(KEY, hashes.SHA256())
    .public_bytes(serialization.Encoding.DER)
)
PUBLIC_KEY = KEY.public_key().public_bytes(
    serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
)


def private(form: serialization.PrivateFormat, password: bytes = b"") -> bytes:
    protection = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return KEY.private_bytes(serialization.Encoding.DER, form, protection)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"  \n", "empty"),
        (b"hello", "no certificate"),
        (REQUEST, "a certificate signing request, not"),
        (pem(REQUEST, "CERTIFICATE REQUEST").encode(), "a certificate signing request, not"),
        (pem(REQUEST, "NEW CERTIFICATE REQUEST").encode(), "a certificate signing request, not"),
        (REVOCATIONS, "a revocation list, not"),
        (pem(REVOCATIONS, "X509 CRL").encode(), "a revocation list, not"),
        (PUBLIC_KEY, "a public key, not"),
        (pem(PUBLIC_KEY, "PUBLIC KEY").encode(), "a public key, not"),
        (private(serialization.PrivateFormat.PKCS8), "a private key, not"),
        (private(serialization.PrivateFormat.TraditionalOpenSSL), "a private key, not"),
        (private(serialization.PrivateFormat.PKCS8, b"secret"), "an encrypted private key, not"),
        (pem(b"\x30\0", "EC PRIVATE KEY").encode(), "a private key, not"),
        (LEAF + b"\0", "1 bytes after its end"),
        (LEAF[:-1], "cut short"),
        (pem(LEAF[:-1]).encode(), "cut short"),
        (pem(LEAF)[:-30].encode(), "line 1 has no end"),
        ((pem(LEAF)[:-30] + "\n" + pem(ROOT)).encode(), "line 1 has no end"),
        ((pem(ROOT) + pem(LEAF).replace("MII", "M*I")).encode(), "damaged"),
        (LEAF.hex()[:-1].encode(), "cut short"),
    ],
    ids=itertools.count(),  # the keys differ in every test process
)
def test_what_is_no_certificate_is_named(data: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]+$") as refusal:
        certificates_in(data)
    assert words in str(refusal.value)


@given(st.integers(0, len(LEAF) - 1), st.integers(0, 255))
def test_a_damaged_certificate_is_read_or_refused_but_never_a_traceback(place: int, byte: int) -> None:
    damaged = LEAF[:place] + bytes([byte]) + LEAF[place + 1 :]
    with contextlib.suppress(ValueError):
        assert certificates_in(damaged) == [damaged]
    assert isinstance(details(damaged), CertificateDetails)


@given(st.binary(max_size=300))
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_bytes_of_any_kind_are_read_or_refused(data: bytes) -> None:
    for tried in (data, b"\x30" + data, b"\x30\x82" + data):
        with contextlib.suppress(ValueError):
            certificates_in(tried)
        details(tried)


def test_details_are_what_openssl_prints(tmp_path: Path) -> None:
    (tmp_path / "root.pem").write_text(pem(ROOT))
    options = ["-noout", "-subject", "-nameopt", "RFC2253", "-serial", "-startdate", "-dateopt", "iso_8601"]
    command = ["openssl", "x509", "-in", "root.pem", *options]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True, text=True)
    seen = details(ROOT)
    assert f"subject={seen.subject}" in done.stdout
    assert f"serial={seen.serial}" in done.stdout
    assert seen.not_before == "2026-02-22T00:08:38.000000Z"
    assert "notBefore=2026-02-22 00:08:38Z" in done.stdout
    assert seen.not_after == "2046-02-17T00:08:38.000000Z"


def test_names_are_alternative_names_else_the_common_name() -> None:
    import ipaddress

    assert details(make("vpn.example")).names == ("vpn.example",)
    both = make(
        "cn.example",
        x509.DNSName("vpn.example"),
        x509.IPAddress(ipaddress.ip_address("2001:db8::1")),
        x509.IPAddress(ipaddress.ip_address("::ffff:203.0.113.1")),
        x509.RFC822Name("a@example"),
    )
    assert details(both).names == ("vpn.example", "2001:db8::1", "203.0.113.1")
    assert details(make("cn.example", x509.RFC822Name("a@example"))).names == ()


def test_subject_cannot_steer_a_terminal() -> None:
    subject = details(make("a\x1b[2J\u202eb\u00fc")).subject
    assert subject == "CN=a\\1B[2J\\E2\\80\\AEb\u00fc"


def test_certificate_that_the_library_refuses_has_no_details() -> None:
    """Version 9 does not exist, but the outer structure is that of a certificate, so it can be hashed."""
    odd = LEAF.replace(bytes.fromhex("a003020102"), bytes.fromhex("a003020109"))
    assert certificates_in(odd) == [odd]
    assert details(odd) == CertificateDetails()
