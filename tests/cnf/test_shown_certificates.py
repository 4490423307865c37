"""Test what show and export commands print of certificates and hashes, alone and with a configuration.

The certificates are created with openssl, and the hashes are compared with openssl's fingerprints.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest
from tests.cnf.running_configs import assert_phone, chain, cme, only, pki, read_text, shown

from certhash.cnf import read

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cnf.running_configs import Pki


__all__ = ["pki"]  # a fixture


@pytest.mark.parametrize("wrap", [False, True])
def test_show_certificates(pki: Pki, tmp_path: Path, wrap: bool) -> None:
    sources = read_text(tmp_path, shown(pki, wrap=wrap))
    assert sources.problems == ()
    assert [(item.trustpoint, item.role, item.sha1.hex().upper(), item.der) for item in sources.known] == [
        ("cme_cert", "leaf", pki.leaf.fingerprint, None),
        ("cme_cert", "ca", pki.root.fingerprint, None),
        ("second", "ca", pki.root.fingerprint, None),
    ]


def test_the_command_names_the_trustpoint_where_its_output_does_not(pki: Pki, tmp_path: Path) -> None:
    output = "Certificate has the following attributes:\n       Fingerprint SHA1: {}\n"
    text = (
        "CME(config)#crypto pki authenticate first\n"
        + output.format(pki.root.fingerprint)
        + "CME(config)#crypto pki authenticate second\n"
        + output.format(pki.alone.fingerprint)
    )
    found = [(item.trustpoint, item.sha1.hex().upper()) for item in read_text(tmp_path, text).known]
    assert found == [("first", pki.root.fingerprint), ("second", pki.alone.fingerprint)]


@pytest.mark.parametrize(
    ("heading", "role"),
    [
        ("CA Certificate (Rollover)", None),
        ("Certificate (Rollover)", None),
        ("Certificate (subordinate CA certificate, Rollover)", None),
        ("Certificate (subordinate CA certificate)", "leaf"),
        ("Certificate (RA mode CS certificate)", "leaf"),
    ],
)
def test_show_certificates_that_are_not_in_use_yet(
    pki: Pki, tmp_path: Path, heading: str, role: str | None
) -> None:
    """The headings that genieparser knows; a rollover certificate is not yet a trustpoint's leaf or root."""
    text = "\n" + shown(pki)
    for usual, kept in (("\nCA Certificate\n", "leaf"), ("\nCertificate\n", "ca")):
        sources = read_text(tmp_path, text.replace(usual, f"\n{heading}\n"))
        assert sources.problems == ()
        assert {item.role for item in sources.known} == {kept, role}


def test_fingerprints_answer_for_a_saved_configuration(pki: Pki, tmp_path: Path) -> None:
    chains = (
        "crypto pki certificate chain cme_cert\n"
        " certificate 02 nvram:cme#2.cer\n"
        " certificate ca 01 nvram:r#1CA.cer"
    )
    text = cme(pki, end="root", chains=chains) + "CME#show crypto pki certificates verbose\n" + shown(pki)
    assert_phone(only(read_text(tmp_path, text)), pki.root)


def test_requests_and_md5_are_no_certificates(tmp_path: Path) -> None:
    text = """\
Certificate
  Subject:
    Name: r1
   Status: Pending
   Key Usage: General Purpose
   Certificate Request Fingerprint MD5: 796D8F17 F3E22A2E DADC2587 211ABA9A
   Certificate Request Fingerprint SHA1: 481A6986 4DEEE366 883F1E48 6BE3451D D037CF70
   Associated Trustpoint: t
INFO: Certificate has the following attributes:
Fingerprint:     dbc1e67d 061ff7f2 9f9b3a10 63fc7912
"""
    assert read_text(tmp_path, text).known == ()


def test_cut_fingerprint_is_a_problem(pki: Pki, tmp_path: Path) -> None:
    text = shown(pki)
    sources = read_text(tmp_path, text[: text.index("Fingerprint SHA1") + 30])
    assert "40 hex digits" in sources.problems[0].message


VOICE_VPN = """\
Router #show voice vpn
The Voice Service VPN Group 1 setting:
VPN Gateway 1 URL https://9.10.60.254/SSLVPNphone
VPN Trustpoint hash in sha-1
VPN Trustpoint 1 trustpoint cme_cert root fbUqFIbtWtaYSGSlTP/Umshcgyk= The Voice Service
VPN Profile 1 setting:
The host_id_check setting: 0
"""
"""The output in Cisco's guide, wrapped as there; in hex 7DB52A14 86ED5AD6 984864A5 4CFFD49A C85C8329."""


@pytest.mark.parametrize(
    "text",
    [
        VOICE_VPN,
        VOICE_VPN.replace("root fbUq", "root\nfbUq"),
        VOICE_VPN.replace("fbUqFIbtWtaY", "fbUqFIbt\nWtaY"),
        VOICE_VPN.replace("\n", "\r\n"),
    ],
)
def test_show_voice_vpn(tmp_path: Path, text: str) -> None:
    cnf = only(read_text(tmp_path, text))
    assert cnf.device == "vpn-group 1"
    assert cnf.group is not None
    assert [item.value for item in cnf.group.urls] == ["https://9.10.60.254/SSLVPNphone"]
    assert [item.digest.hex().upper() for item in cnf.group.hashes] == [
        "7DB52A1486ED5AD6984864A54CFFD49AC85C8329"
    ]
    assert cnf.group.host_id_check is False


def test_lines_of_show_voice_vpn_are_those_of_the_file(tmp_path: Path) -> None:
    cnf = only(read_text(tmp_path, "!\n" * 300 + VOICE_VPN))
    assert cnf.group is not None
    assert ([url.line for url in cnf.group.urls], [one.line for one in cnf.group.hashes]) == ([303], [305])


def test_show_voice_vpn_cut_in_the_hash(tmp_path: Path) -> None:
    sources = read_text(tmp_path, VOICE_VPN[: VOICE_VPN.index("TP/Um")])
    (cnf,) = sources.cnf_files
    assert cnf.group is not None
    assert cnf.group.hashes == ()
    assert cnf.group.unresolved
    assert "cannot be read" in sources.problems[0].message


def test_show_voice_vpn_answers_for_the_configuration(pki: Pki, tmp_path: Path) -> None:
    text = cme(pki, end="root", chains="!") + VOICE_VPN
    text = text.replace(" ssl trustpoint cme_cert\n", "")
    cnf = only(read_text(tmp_path, text))
    assert cnf.device == "SEP001F6C81110E"
    assert cnf.group is not None
    assert [item.value for item in cnf.group.hashes] == ["fbUqFIbtWtaYSGSlTP/Umshcgyk="]


def test_show_voice_vpn_that_contradicts_the_configuration(pki: Pki, tmp_path: Path) -> None:
    """A log from before and after a renewal: it is unknown which of the two hashes a phone gets."""
    (cnf,) = read_text(tmp_path, cme(pki, end="root") + VOICE_VPN).cnf_files
    assert cnf.group is not None
    assert cnf.group.hashes == ()
    assert "show voice vpn" in cnf.group.unresolved[0]
    agreeing = VOICE_VPN.replace("fbUqFIbtWtaYSGSlTP/Umshcgyk=", pki.root.cert_hash)
    assert_phone(only(read_text(tmp_path, cme(pki, end="root") + agreeing)), pki.root)
    several = cme(pki, chains=chain("cme_cert", ("02", pki.leaf), ("03", pki.alone)))
    agreeing = agreeing.replace("root", "leaf").replace(pki.root.cert_hash, pki.leaf.cert_hash)
    assert_phone(only(read_text(tmp_path, several + agreeing)), pki.leaf)


# ---------------------------------------------------------------- certificates


def test_ios_export(pki: Pki, tmp_path: Path) -> None:
    text = (
        f"r1(config)#crypto pki export CUBEtest pem terminal\n% CA certificate:\n{pki.root.pem}\n"
        f"% General Purpose Certificate:\n{pki.leaf.pem}\nr1(config)#\n"
    )
    sources = read_text(tmp_path, text)
    assert [(item.trustpoint, item.role, item.der) for item in sources.known] == [
        ("CUBEtest", "ca", pki.root.der),
        ("CUBEtest", "leaf", pki.leaf.der),
    ]
    assert text.splitlines()[(sources.known[1].line or 0) - 1] == "-----BEGIN CERTIFICATE-----"


def test_ios_export_of_a_self_signed_certificate(pki: Pki, tmp_path: Path) -> None:
    text = (
        f"r1(config)#crypto pki export own pem terminal\n% Self-signed CA certificate:\n{pki.alone.pem}\n"
        f"% General Purpose Certificate:\n{pki.alone.pem}"
    )
    (known,) = read_text(tmp_path, text).known
    assert (known.trustpoint, known.role, known.der) == ("own", "self-signed", pki.alone.der)


def test_ios_export_on_one_line(pki: Pki, tmp_path: Path) -> None:
    """As web pages show it: all lines joined by blanks."""
    text = f"% CA certificate:\n{pki.root.pem}\n% General Purpose Certificate:\n{pki.leaf.pem}"
    for joined in (text.replace("\n", " "), text.replace("certificate:\n", "certificate: ")):
        sources = read_text(tmp_path, f"r1(config)#crypto pki export own pem terminal\n{joined}\nr1(config)#")
        assert [(item.trustpoint, item.role, item.der) for item in sources.known] == [
            ("own", "ca", pki.root.der),
            ("own", "leaf", pki.leaf.der),
        ]


def test_asa_export(pki: Pki, tmp_path: Path) -> None:
    joined = pki.leaf.pem.replace("\n", "")
    text = (
        "asa(config)# crypto ca export phones identity-certificate\n"
        f"The Privacy Enhanced Mail (PEM) encoded identity certificate follows:\n{joined}\nasa(config)# "
    )
    (known,) = read_text(tmp_path, text).known
    assert (known.trustpoint, known.role, known.der) == ("phones", "leaf", pki.leaf.der)


def test_certificate_files_in_a_folder(pki: Pki, tmp_path: Path) -> None:
    (tmp_path / "leaf.cer").write_bytes(pki.leaf.der)
    (tmp_path / "root.pem").write_text(pki.root.pem)
    (tmp_path / "own.crt").write_text(base64.b64encode(pki.alone.der).decode())
    (tmp_path / "key.pem").write_text("-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n")
    (tmp_path / "cut.cer").write_bytes(pki.leaf.der[:-5])
    (tmp_path / "large.pcap").write_bytes(b"\xd4\xc3\xb2\xa1\x02\0\x04\0" + bytes(5000))
    sources = read([str(tmp_path)])
    assert {item.der for item in sources.known} == {pki.leaf.der, pki.root.der, pki.alone.der}
    (problem,) = sources.problems
    assert problem.path == str(tmp_path / "cut.cer")
    assert "cut short" in problem.message


def test_a_log_full_of_damage_is_reported_briefly(tmp_path: Path) -> None:
    problems = read_text(tmp_path, "Fingerprint SHA1: 0123\n" * 5_000).problems
    assert len(problems) == 21
    assert "4,980 more" in problems[-1].message


def test_damaged_pem_in_a_log_leaves_the_others(pki: Pki, tmp_path: Path) -> None:
    damaged = pki.root.pem.replace("MII", "MI*")
    sources = read_text(tmp_path, damaged + pki.leaf.pem)
    assert [item.der for item in sources.known] == [pki.leaf.der]
    assert "line 1" in sources.problems[0].message
