"""The numbers of TLS and DTLS, from the RFCs and IANA's registries."""

from __future__ import annotations

import hashlib

CLIENT_HELLO, SERVER_HELLO, HELLO_VERIFY, NEW_TICKET = 1, 2, 3, 4
ENCRYPTED_EXTENSIONS, CERTIFICATE, SERVER_KEY_EXCHANGE, CERTIFICATE_REQUEST = 8, 11, 12, 13
SERVER_HELLO_DONE, CLIENT_KEY_EXCHANGE, FINISHED = 14, 16, 20
CHANGE_CIPHER_SPEC, HANDSHAKE = 20, 22  # content types
PRE_SHARED_KEY = 41
TLS13, DTLS13 = 0x0304, 0xFEFC
DRAFT, FACEBOOK_DRAFT = 0x7F, 0xFB  # the high bytes of deployed TLS 1.3 drafts

HELLO_RETRY_RANDOM = hashlib.sha256(b"HelloRetryRequest").hexdigest()
"""RFC 8446, section 4.1.3."""

ALERTS = {
    0: "close_notify",
    10: "unexpected_message",
    20: "bad_record_mac",
    21: "decryption_failed",
    22: "record_overflow",
    30: "decompression_failure",
    40: "handshake_failure",
    41: "no_certificate",
    42: "bad_certificate",
    43: "unsupported_certificate",
    44: "certificate_revoked",
    45: "certificate_expired",
    46: "certificate_unknown",
    47: "illegal_parameter",
    48: "unknown_ca",
    49: "access_denied",
    50: "decode_error",
    51: "decrypt_error",
    60: "export_restriction",
    70: "protocol_version",
    71: "insufficient_security",
    80: "internal_error",
    86: "inappropriate_fallback",
    90: "user_canceled",
    100: "no_renegotiation",
    109: "missing_extension",
    110: "unsupported_extension",
    111: "certificate_unobtainable",
    112: "unrecognized_name",
    113: "bad_certificate_status_response",
    114: "bad_certificate_hash_value",
    115: "unknown_psk_identity",
    116: "certificate_required",
    120: "no_application_protocol",
}
"""IANA's TLS Alerts registry."""

_VERSIONS = {
    0x0002: "SSL 2.0",
    0x0300: "SSL 3.0",
    0x0301: "TLS 1.0",
    0x0302: "TLS 1.1",
    0x0303: "TLS 1.2",
    TLS13: "TLS 1.3",
    0x0100: "DTLS 1.0 (early)",
    0xFEFF: "DTLS 1.0",
    0xFEFD: "DTLS 1.2",
    DTLS13: "DTLS 1.3",
}

SUITES_WITHOUT_CERTIFICATE = frozenset(
    (
        *range(0x0017, 0x001C),  # DH_anon
        *(0x0034, 0x003A, 0x0046, 0x006C, 0x006D, 0x0089, 0x009B, 0x00A6, 0x00A7, 0x00BF, 0x00C5),
        *(0x002C, 0x002D),  # PSK and DHE_PSK with NULL
        *range(0x008A, 0x0092),  # PSK, DHE_PSK
        *range(0x00A8, 0x00AC),
        *range(0x00AE, 0x00B6),
        *range(0xC015, 0xC01A),  # ECDH_anon
        *range(0xC033, 0xC03C),  # ECDHE_PSK
    )
)
"""IANA's TLS Cipher Suites registry: anonymous, and pre-shared key without RSA."""


def is_tls13(version: int) -> bool:
    """Return whether a version is TLS 1.3, DTLS 1.3, or one of the deployed drafts."""
    return version in (TLS13, DTLS13) or version >> 8 in (DRAFT, FACEBOOK_DRAFT)


def version_text(version: int) -> str:
    """Return a version as text: ``TLS 1.0``, ``DTLS 1.2``."""
    if version >> 8 == DRAFT:
        return f"TLS 1.3 (draft {version & 0xFF})"
    if version >> 8 == FACEBOOK_DRAFT:
        return "TLS 1.3 (draft)"
    return _VERSIONS.get(version, f"0x{version:04x}")
