"""Running-configurations of CME and ASA with real certificates, in Cisco's documented formats."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest
from tests.harness.openssl import make

from certhash.cnf import read

if TYPE_CHECKING:
    from pathlib import Path

    from tests.harness.openssl import Certificate

    from certhash.model import CnfFile, Sources


class Pki(NamedTuple):
    """A CA, a leaf of it, and a self-signed certificate."""

    root: Certificate
    leaf: Certificate
    alone: Certificate


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    """Certificates for a trustpoint with a CA and one without."""
    folder = tmp_path_factory.mktemp("pki")
    root = make(folder, "CA-ROOT", bits=1024)
    leaf = make(folder, "cme", "-CA", "CA-ROOT.pem", "-CAkey", "CA-ROOT.key", bits=1024)
    return Pki(root, leaf, make(folder, "IOS-Self-Signed-Certificate-1", bits=1024))


def hex_block(der: bytes) -> str:
    """Return the bytes as IOS shows them: groups of eight digits, eight per line, then quit."""
    digits = der.hex().upper()
    groups = [digits[at : at + 8] for at in range(0, len(digits), 8)]
    lines = ["  " + " ".join(groups[at : at + 8]) + " " for at in range(0, len(groups), 8)]
    return "\n".join([*lines, "  \tquit"])


def chain(trustpoint: str, *certificates: tuple[str, Certificate], word: str = "pki") -> str:
    blocks = "\n".join(f" certificate {kind}\n{hex_block(made.der)}" for kind, made in certificates)
    return f"crypto {word} certificate chain {trustpoint}\n{blocks}"


def cme(
    pki: Pki, *, end: str = "leaf", chains: str | None = None, url: str = "https://10.201.160.201/SSLVPNphone"
) -> str:
    if chains is None:
        chains = chain("cme_cert", ("02", pki.leaf), ("ca 01", pki.root))
    return f"""\
Current configuration : 8123 bytes
!
version 15.1
hostname CME
!
{chains}
!
voice service voip
 sip
  bind all source-interface Loopback0
 vpn-group 1
  vpn-gateway 1 {url}
  vpn-trustpoint 1 trustpoint cme_cert {end}
  vpn-hash-algorithm sha-1
 vpn-profile 1
  host-id-check disable
!
interface GigabitEthernet0/0
 ip address 10.201.160.201 255.255.255.0
!
webvpn gateway sslvpn_gw
 ip address 10.201.160.201 port 443
 ssl encryption 3des-sha1 aes128-sha1
 ssl trustpoint cme_cert
 inservice
 !
webvpn context SSLVPNphone
 gateway sslvpn_gw domain SSLVPNphone
 inservice
!
telephony-service
 cnf-file location flash:
 cnf-file perphone
!
ephone-dn  1
 number 1001
!
ephone  1
 device-security-mode none
 mac-address 001F.6C81.110E
 type 7965
 vpn-group 1
 vpn-profile 1
 button  1:1
!
ephone  2
 mac-address 001F.6C81.110F
!
end
"""


ASA = """\
: Saved
ASA Version 8.4(2)
!
hostname asa
!
interface GigabitEthernet0/0
 nameif outside
 security-level 0
 ip address 203.0.113.1 255.255.255.0 standby 203.0.113.2
!
interface GigabitEthernet0/1
 nameif inside
 ip address 10.0.0.1 255.255.255.0
 ipv6 address 2001:db8::1/64
!
{chain}
ssl trust-point {trustpoint}
webvpn
 port 8443
 enable outside
 anyconnect enable
group-policy phones attributes
 webvpn
  anyconnect keep-installer installed
"""


def read_text(tmp_path: Path, text: str | bytes, name: str = "running-config.txt") -> Sources:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read([str(path)])


def only(sources: Sources) -> CnfFile:
    assert sources.problems == ()
    (cnf,) = sources.cnf_files
    return cnf


def assert_phone(
    cnf: CnfFile, certificate: Certificate, url: str = "https://10.201.160.201/SSLVPNphone"
) -> None:
    assert cnf.kind == "configuration"
    assert cnf.warnings == ()
    assert cnf.device == "SEP001F6C81110E"
    assert cnf.group is not None
    assert [item.value for item in cnf.group.urls] == [url]
    assert [item.value for item in cnf.group.hashes] == [certificate.cert_hash]
    assert [item.algorithm for item in cnf.group.hashes] == ["SHA-1"]
    assert cnf.group.host_id_check is False
    assert cnf.group.unresolved == ()


def shown(pki: Pki, *, wrap: bool = False) -> str:
    """Return what `show crypto pki certificates verbose` prints of the leaf and of its CA."""

    def block(heading: str, made: Certificate, trustpoints: str) -> str:
        digits = made.fingerprint
        groups = " ".join(digits[at : at + 8] for at in range(0, 40, 8))
        if wrap:
            groups = digits[:6] + "\n" + digits[6:21] + "\n  " + digits[21:]
        return f"""\
{heading}
  Status: Available
  Version: 3
  Certificate Serial Number (hex): 01
  Certificate Usage: Signature
  Issuer:
    cn=CA-ROOT
  Subject:
    cn=x
  Validity Date:
    start date: 00:08:38 UTC Feb 22 2026
    end   date: 00:08:38 UTC Feb 17 2046
  Signature Algorithm: MD5 with RSA Encryption
  Fingerprint MD5: 796D8F17 F3E22A2E DADC2587 211ABA9A
  Fingerprint SHA1: {groups}
  X509v3 extensions:
    X509v3 Key Usage: 6000000
  Associated Trustpoints: {trustpoints}
  Storage: nvram:CA-ROOT#1CA.cer
"""

    return (
        block("Certificate", pki.leaf, "cme_cert")
        + "\n"
        + block("CA Certificate", pki.root, "cme_cert second")
    )
