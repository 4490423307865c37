"""Test that plugin and command report the same error for a malformed certHash, with the same cases."""

from __future__ import annotations

import base64
import hashlib
import subprocess
from pathlib import Path

import pytest
from tests.harness.openssl import make
from tests.plugin.machines import PLUGIN

from certhash.cnf import read_phone_xml
from certhash.cnf.rules import shown, why_longer, why_malformed
from certhash.digest import decode_cert_hash

SCRIPT = Path(__file__).parent / "lua" / "malformed.lua"
SHA1 = hashlib.sha1(b"certificate", usedforsecurity=False)


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return values, each with a part of its error message."""
    certificate = make(tmp_path_factory.mktemp("malformed"), "vpn", bits=1024)
    digest = hashlib.md5(b"certificate", usedforsecurity=False)
    return {
        "": "no certificate can match it",
        SHA1.hexdigest(): "the thumbprint in hex",
        SHA1.digest().hex(":").upper(): "the thumbprint in hex",
        digest.hexdigest(): "an MD5 in hex",
        encoded(digest.digest()): "16 bytes, like an MD5",
        encoded(SHA1.hexdigest().encode()): "the Base64 of the thumbprint's hex text",
        encoded(SHA1.digest().hex(":").upper().encode() + b"\n"): "the Base64 of the thumbprint's hex text",
        f"sha256//{encoded(hashlib.sha256(b'key').digest())}": "the pin of a public key",
        f"pin-sha256={encoded(hashlib.sha256(b'key').digest())}": "the pin of a public key",
        encoded(certificate.der): "a whole certificate, not its hash",
        certificate.pem: "a whole certificate, not its hash",
        "A": "not the Base64 of",
        "no hash": "not the Base64 of",
        "x" * 500: "not the Base64 of",
    }


def test_the_command_and_the_plugin_name_it_alike(cases: dict[str, str], lua: str, tmp_path: Path) -> None:
    told = tmp_path / "values"
    told.write_text("".join(f"{value.encode().hex()}\n" for value in cases))
    done = subprocess.run(
        [lua, SCRIPT, PLUGIN / "certhash", told], capture_output=True, text=True, check=True, timeout=20
    )
    said = [f"{shown(value)}\t{why_malformed(value)}" for value in cases]
    assert done.stdout.splitlines() == said
    for value, part in cases.items():
        assert decode_cert_hash(value) == (b"", None)
        assert part in why_malformed(value)
        assert len(shown(value)) <= 90


@pytest.mark.parametrize("algorithm", ["SHA-256", "SHA-512"])
def test_a_longer_digest_is_named_alike(algorithm: str, lua: str, tmp_path: Path) -> None:
    """Beside hashAlg 0, such a value is a pin of the public key, or the wrong digest of the certificate."""
    told = tmp_path / "values"
    told.write_text("")
    done = subprocess.run(
        [lua, SCRIPT, PLUGIN / "certhash", told, algorithm],
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
    )
    assert done.stdout == f"{why_longer(algorithm)}\n"
    assert "of its public key" in done.stdout


@pytest.mark.parametrize(
    ("inner", "words"),
    [
        ("<hashAlg>0</hashAlg>", "certHash1 is as long as a SHA-256"),
        ("", "certHash1 is as long as a SHA-256"),
        ("<hashAlg>1</hashAlg>", "only 0 (SHA-1) is documented"),
    ],
)
def test_a_pin_in_a_file_is_warned_of(inner: str, words: str) -> None:
    value = encoded(hashlib.sha256(b"key").digest())
    group = f"<vpnGroup><credentials>{inner}<certHash1>{value}</certHash1></credentials></vpnGroup>"
    cnf = read_phone_xml("SEP00005E005301.cnf.xml", f"<device>{group}</device>".encode(), "")
    assert [each for each in cnf.warnings if words in each]
