"""Test the input and output of `certhash hash`, run as a user runs it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from tests.harness.openssl import make
from tests.harness.openssl import run as openssl

if TYPE_CHECKING:
    from pathlib import Path

TAC = "fZ2xQHMBcWj/fSoNs5IkPbA2Pt8="
THUMBPRINT = "7D9DB14073017168FF7D2A0DB392243DB0363EDF"


def run(*arguments: str, given: bytes = b"", folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "certhash", "hash", *arguments],
        input=given,
        capture_output=True,
        check=False,
        cwd=folder,
    )
    assert b"Traceback" not in done.stderr
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a certificate of openssl, in PEM and DER."""
    folder = tmp_path_factory.mktemp("certificates")
    made = make(folder, "cert", subject="/O=Example/CN=CME head-end")
    (folder / "cert.cer").write_bytes(made.der)
    return folder


def fingerprint(folder: Path, algorithm: str = "sha1") -> str:
    command = f"openssl x509 -in cert.pem -noout -fingerprint -{algorithm}"
    return openssl(folder, *command.split()).decode()


def test_a_thumbprint_needs_few_modules() -> None:
    """A conversion is fast, because slow imports are only for hashing and files."""
    command = [sys.executable, "-X", "importtime", "-m", "certhash", "hash", TAC]
    said = subprocess.run(command, capture_output=True, check=True, text=True).stderr
    imported = {line.rpartition("|")[2].strip() for line in said.splitlines()}
    assert {"argparse", "certhash.digest"} <= imported
    assert not imported & {"cryptography", "hashlib", "lxml", "msgspec", "shutil", "certhash.certfile"}


def test_thumbprint_to_base64_and_back() -> None:
    for text in (TAC, THUMBPRINT, "\u200e7d 9d b1 40 73 01 71 68 ff 7d 2a 0d b3 92 24 3d b0 36 3e df"):
        done = run(text)
        assert done.returncode == 0
        assert TAC in done.stdout
        assert THUMBPRINT in done.stdout


def test_certificate_files(folder: Path) -> None:
    done = run("cert.cer", "cert.pem", folder=folder)
    wanted = fingerprint(folder).partition("=")[2].strip().replace(":", "")
    assert done.returncode == 0
    assert done.stdout.count(f"thumbprint  {wanted}\n") == 2
    assert "CN=CME head-end" in done.stdout
    # The file and openssl's fingerprint of it give the same Base64.
    same = run(given=fingerprint(folder).encode())
    base64_line = next(line for line in same.stdout.splitlines() if "certHash" in line)
    assert base64_line in done.stdout


def test_sha256_of_a_certificate(folder: Path) -> None:
    sha256 = run("-", given=fingerprint(folder, "sha256").encode()).stdout
    value = next(line.split()[1] for line in sha256.splitlines() if "certHash" in line)
    assert value in run("cert.pem", folder=folder).stdout


def test_standard_input(folder: Path) -> None:
    done = run("-", given=(folder / "cert.cer").read_bytes())
    assert done.returncode == 0
    assert "CN=CME head-end" in done.stdout
    wrapped = run(given=b"7d9db14073017168\nff7d2a0db392243d\nb0363edf\n")
    assert TAC in wrapped.stdout
    each = run(given=f"{TAC}\n{'00' * 20}\n".encode())
    assert each.stdout.count("certHash") == 2


def test_one_bad_argument_leaves_the_others(folder: Path) -> None:
    done = run("nothing-here.cer", TAC, "cert.key", ".", folder=folder)
    assert done.returncode == 2
    assert TAC in done.stdout
    lines = done.stderr.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("certhash: nothing-here.cer: no such file, and not a hash")
    assert lines[1] == "certhash: cert.key: it is a private key, not a certificate"
    assert lines[2].startswith("certhash: .: it is a folder")


def test_file_wins_over_hash(folder: Path, tmp_path: Path) -> None:
    (tmp_path / THUMBPRINT).write_bytes((folder / "cert.cer").read_bytes())
    done = run(THUMBPRINT, folder=tmp_path)
    assert "CN=CME head-end" in done.stdout
    assert TAC not in done.stdout


def test_json(folder: Path) -> None:
    entries = json.loads(run("--json", TAC, "cert.pem", folder=folder).stdout)
    assert entries[0]["base64"] == TAC
    assert entries[0]["thumbprint"] == THUMBPRINT
    assert entries[1]["subject"] == "CN=CME head-end,O=Example"


def test_pipe_and_large_file_are_refused(tmp_path: Path) -> None:
    subprocess.run(["mkfifo", "pipe.cer"], cwd=tmp_path, check=True)
    with (tmp_path / "large.cer").open("wb") as file:
        file.truncate(200 * 1024 * 1024)
    done = run("pipe.cer", "large.cer", folder=tmp_path)
    assert done.returncode == 2
    assert "pipe.cer: it is a pipe" in done.stderr
    assert "large.cer: it is larger than" in done.stderr


def test_hash_needs_no_heavy_import() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "certhash", "hash", TAC],
        capture_output=True,
        check=True,
        text=True,
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "certhash.digest" in imported
    assert not imported & {"cryptography", "lxml", "msgspec", "numpy", "pyshark", "rich"}


def test_groups_that_a_shell_took_apart_are_one_thumbprint() -> None:
    """The hash of Cisco TAC 116638, pasted without quotes as IOS and Windows show it, beside another."""
    groups = ["7D9DB140", "73017168", "FF7D2A0D", "B392243D", "B0363EDF"]
    pairs = re.findall("..", "".join(groups).lower())
    done = run(*groups, "fbUqFIbtWtaYSGSlTP/Umshcgyk=", *pairs)
    assert done.returncode == 0
    found = re.findall(r"certHash +(\S+)", done.stdout)
    assert found == [
        "fZ2xQHMBcWj/fSoNs5IkPbA2Pt8=",
        "fbUqFIbtWtaYSGSlTP/Umshcgyk=",
        "fZ2xQHMBcWj/fSoNs5IkPbA2Pt8=",
    ]


HEX = THUMBPRINT.lower()


@pytest.mark.parametrize(
    "line",
    [
        f"Cert Hash(sha1): {HEX}",
        f"Cert Hash(sha1): {bytes.fromhex(HEX).hex(' ')}",
        f"SHA1(leaf.der)= {HEX}",
        f"SHA1 (leaf.der) = {HEX}",
        f"{HEX}  leaf.der",
        f"{HEX} *leaf.der",
        f"\\{HEX}  a\\\\b.der",
        f"VPN Trustpoint 1 trustpoint CME leaf {TAC}",
        f"VPN Trustpoint 1 trustpoint CME leaf {TAC} The Voice Service",
        f"Hash      : {THUMBPRINT}",
    ],
)
def test_lines_of_common_tools(line: str) -> None:
    """Read output of certutil -dump, openssl dgst, shasum --tag, sha1sum, show voice vpn and Get-FileHash."""
    done = run(line)
    assert (done.returncode, done.stderr) == (0, "")
    assert TAC in done.stdout


def test_openssl_and_sha1sum_themselves(folder: Path) -> None:
    for command in (
        "openssl dgst -sha1 cert.cer",
        "openssl sha256 cert.cer",
        "sha1sum cert.cer",
        "sha1sum -b cert.cer",
    ):
        line = openssl(folder, *command.split()).decode()
        value = re.search(r"[0-9a-f]{40,}", line)
        assert value
        assert value[0].upper() in run(given=line.encode()).stdout


SPACED = bytes.fromhex(HEX).hex(" ")
CERTUTIL = [
    f"SHA1 hash of leaf.cer:\n{HEX}\nCertUtil: -hashfile command completed successfully.\n",
    f"SHA1 hash of file leaf.cer:\r\n{SPACED}\r\nCertUtil: -hashfile command completed.\r\n",
    f"Cert Hash(md5): {HEX[:32]}\nCert Hash(sha1): {HEX}\nKey Id Hash(sha1): {HEX[::-1]}\n",
]


@pytest.mark.parametrize("text", CERTUTIL)
def test_what_certutil_prints(text: str) -> None:
    done = run(given=text.encode())
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("certHash") == 1
    assert TAC in done.stdout


def test_the_hash_of_a_key_is_refused() -> None:
    done = run(f"Key Id Hash(sha1): {HEX}")
    assert done.returncode == 2
    assert "public key" in done.stderr


@pytest.mark.parametrize("cut", [0, 1, 2])
def test_hex_of_a_running_configuration(folder: Path, cut: int) -> None:
    """The hex with its chain and certificate lines, with the latter alone, and with neither."""
    digits = (folder / "cert.cer").read_bytes().hex().upper()
    lines = ["crypto pki certificate chain CME", " certificate self-signed 01"]
    lines += ["  " + digits[at : at + 64] for at in range(0, len(digits), 64)] + ["  \tquit"]
    done = run(given="\n".join(lines[cut:]).encode())
    assert (done.returncode, done.stderr) == (0, "")
    assert fingerprint(folder).partition("=")[2].strip().replace(":", "") in done.stdout


def test_a_part_that_cannot_be_read_is_named_beside_the_rest(folder: Path) -> None:
    digits = (folder / "cert.cer").read_bytes().hex().upper()
    text = (
        f"crypto pki certificate chain CME\n certificate 01\n  {digits}\n  quit\n certificate ca 02\n  quit\n"
    )
    done = run(given=text.encode())
    assert done.returncode == 2
    assert "certHash" in done.stdout
    assert "was removed from the text" in done.stderr


SPACED = ":".join(re.findall("..", THUMBPRINT))
OTHER = "AB" * 20


@pytest.mark.parametrize(
    "text",
    [
        f"Certificate fingerprints:\n\t SHA1: {SPACED}\n\t MD5: {SPACED[:47]}\n",
        f"SHA-1 Fingerprint\n{SPACED}\n",
        f"   PSParentPath: CurrentUser\\My\n\nThumbprint  Subject\n{THUMBPRINT}  CN=cme.example.com\n",
        f"\tFingerprint:\n\t\tsha1:{THUMBPRINT.lower()}\n\tPublic Key ID:\n\t\tsha1:{OTHER}\n",
        f"    X509v3 Subject Key Identifier:\n        {OTHER}\n    Signature: 1\nSHA1 Fingerprint={SPACED}\n",
    ],
    ids=["keytool", "browser", "PowerShell", "certtool", "openssl"],
)
def test_the_certificates_hash_is_found_in_what_tools_print(text: str) -> None:
    done = run("--json", given=text.encode())
    assert (done.returncode, done.stderr) == (0, "")
    assert re.findall(r'"thumbprint": "(\w+)"', done.stdout) == [THUMBPRINT]


def test_a_phones_config_is_sent_to_the_command_that_reads_it() -> None:
    text = f"<device>\n<vpnGroup>\n<certHash1>{TAC}</certHash1>\n</vpnGroup>\n</device>\n"
    done = run(given=text.encode())
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "it is a phone's config: give it to `certhash cnf`" in done.stderr


@pytest.mark.parametrize("given", [f'"{TAC}"', f"'{THUMBPRINT}'", f"\u201c{TAC}\u201d", f"certHash1 {TAC}"])
def test_quotation_marks_and_names_around_a_hash(given: str) -> None:
    done = run(given)
    assert done.returncode == 0
    assert TAC in done.stdout
    assert THUMBPRINT in done.stdout
