"""Test the names of TLS versions, and which versions encrypt their certificates."""

from __future__ import annotations

import pytest

from certhash.capture.tls import is_tls13, version_text


@pytest.mark.parametrize(
    ("version", "text", "hides"),
    [
        (0x0300, "SSL 3.0", False),
        (0x0301, "TLS 1.0", False),
        (0x0303, "TLS 1.2", False),
        (0x0304, "TLS 1.3", True),
        (0x7F1C, "TLS 1.3 (draft 28)", True),  # draft-ietf-tls-tls13-28, section 4.1.2
        (0xFB17, "TLS 1.3 (draft)", True),  # what Facebook's clients offered
        (0xFEFF, "DTLS 1.0", False),
        (0xFEFD, "DTLS 1.2", False),
        (0xFEFC, "DTLS 1.3", True),
        (0x0505, "0x0505", False),
    ],
)
def test_versions(version: int, text: str, hides: bool) -> None:
    assert version_text(version) == text
    assert is_tls13(version) is hides
