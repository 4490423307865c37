"""Test the reading of configurations and show output in Cisco's documented formats, whole and damaged.

The certificates are created with openssl, and the hashes are compared with openssl's fingerprints.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.harness.openssl import make

from certhash.cnf import read
from certhash.cnf.pasted import read_pasted
from certhash.cnf.read import NOTHING_THERE

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


def test_without_the_hash_algorithm(pki: Pki, tmp_path: Path) -> None:
    (warning,) = only(read_text(tmp_path, cme(pki).replace("  vpn-hash-algorithm sha-1\n", ""))).warnings
    assert "vpn-hash-algorithm" in warning


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


def test_leaf_and_root(pki: Pki, tmp_path: Path) -> None:
    assert_phone(only(read_text(tmp_path, cme(pki))), pki.leaf)
    assert_phone(only(read_text(tmp_path, cme(pki, end="root"))), pki.root)


def test_a_self_signed_certificate_is_leaf_and_root(pki: Pki, tmp_path: Path) -> None:
    chains = chain("cme_cert", ("self-signed 01", pki.alone))
    for end in ("leaf", "root", ""):
        assert_phone(only(read_text(tmp_path, cme(pki, end=end, chains=chains))), pki.alone)


def test_lines_are_those_of_the_file(pki: Pki, tmp_path: Path) -> None:
    text = cme(pki)
    cnf = only(read_text(tmp_path, text))
    assert cnf.group is not None
    lines = text.splitlines()
    assert "vpn-gateway 1" in lines[(cnf.group.urls[0].line or 0) - 1]
    assert "vpn-trustpoint 1" in lines[(cnf.group.hashes[0].line or 0) - 1]


def test_what_the_router_serves(pki: Pki, tmp_path: Path) -> None:
    """IOS presents the leaf; the root of the same trustpoint is known, but not presented."""
    sources = read_text(tmp_path, cme(pki))
    served = {item.role: [(end.address, end.port) for end in item.served_at] for item in sources.known}
    assert served == {"leaf": [("10.201.160.201", 443)], "ca": []}
    assert {item.role: item.der for item in sources.known} == {"leaf": pki.leaf.der, "ca": pki.root.der}
    assert {item.trustpoint for item in sources.known} == {"cme_cert"}


@pytest.mark.parametrize(("said", "port"), [(" port 444", 444), ("", 443)])
def test_gateway_on_an_interface(pki: Pki, tmp_path: Path, said: str, port: int) -> None:
    text = cme(pki).replace("ip address 10.201.160.201 port 443", f"ip interface GigabitEthernet 0/0{said}")
    served = [end for item in read_text(tmp_path, text).known for end in item.served_at]
    assert [(end.address, end.port) for end in served] == [("10.201.160.201", port)]


def test_a_gateway_on_an_interface_with_secondary_addresses(pki: Pki, tmp_path: Path) -> None:
    """IOS prints secondary addresses first."""
    text = cme(pki).replace("ip address 10.201.160.201 port 443", "ip interface GigabitEthernet0/0")
    text = text.replace(" ip address 10", " ip address 10.9.9.9 255.255.255.0 secondary\n ip address 10")
    served = [end for item in read_text(tmp_path, text).known for end in item.served_at]
    assert [(end.address, end.port) for end in served] == [("10.201.160.201", 443)]


def test_a_gateway_out_of_service_serves_nothing(pki: Pki, tmp_path: Path) -> None:
    text = cme(pki).replace(" inservice\n", "", 1)
    assert [end for item in read_text(tmp_path, text).known for end in item.served_at] == []


@pytest.mark.parametrize("trustpoint", ["cme_cert", "cme_cert outside"])
def test_what_an_asa_serves(pki: Pki, tmp_path: Path, trustpoint: str) -> None:
    """In Cisco's guide, phones match the CA certificate that the ASA sends with its own."""
    certificates = chain("cme_cert", ("02", pki.leaf), ("ca 01", pki.root), word="ca")
    sources = read_text(tmp_path, ASA.format(chain=certificates, trustpoint=trustpoint))
    assert sources.problems == ()
    assert sources.cnf_files == ()
    served = {item.role: [(end.address, end.port) for end in item.served_at] for item in sources.known}
    assert served == {"leaf": [("203.0.113.1", 8443)], "ca": [("203.0.113.1", 8443)]}
    assert {item.der for item in sources.known} == {pki.leaf.der, pki.root.der}


@pytest.mark.parametrize("trustpoint", ["cme_cert inside", "cme_cert outside vpnlb-ip"])
def test_a_trust_point_for_something_else_is_not_served(pki: Pki, tmp_path: Path, trustpoint: str) -> None:
    certificates = chain("cme_cert", ("02", pki.leaf), word="ca")
    sources = read_text(tmp_path, ASA.format(chain=certificates, trustpoint=trustpoint))
    assert [item.served_at for item in sources.known] == [()]


def test_asa_without_the_certificate(tmp_path: Path) -> None:
    (problem,) = read_text(tmp_path, ASA.format(chain="", trustpoint="cme_cert outside")).problems
    assert "crypto ca export cme_cert identity-certificate" in problem.message


# ---------------------------------------------------------------- pastes


def paged(text: str, pager: str) -> str:
    lines = text.splitlines(keepends=True)
    return "".join(line if number % 7 else pager + line for number, line in enumerate(lines, 1))


LOGGED = "*Mar  1 00:00:01.000: %SYS-5-CONFIG_I: Configured from console by vty0 (10.1.1.1)"


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: text.encode("utf-16"),
        lambda text: b"\xef\xbb\xbf" + text.encode(),
        lambda text: ("CME#show running-config\nBuilding configuration...\n\n" + text + "\nCME#").encode(),
        lambda text: paged(text, " --More-- \b\b\b\b\b\b\b\b\b\b          \b\b\b\b\b\b\b\b\b\b").encode(),
        lambda text: paged(text, "<--- More --->\r              \r").encode(),
        lambda text: paged(text, " --More-- \r          \r").encode(),
        lambda text: "\n".join(line.strip() for line in text.splitlines()).encode(),
        lambda text: text.replace("  \tquit", "quit").encode(),
        lambda text: text.replace("\n ", "\n\t").encode(),
        lambda text: text.replace("\n", "\n\n").encode(),
        lambda text: text.replace("\n", f"\n{LOGGED}\n").encode(),
    ],
)
def test_pastes_read_like_the_configuration(pki: Pki, tmp_path: Path, damage: object) -> None:
    assert callable(damage)
    sources = read_text(tmp_path, damage(cme(pki)))
    assert_phone(only(sources), pki.leaf)
    assert [item.der for item in sources.known] == [pki.leaf.der, pki.root.der]
    assert [len(item.served_at) for item in sources.known] == [1, 0]


def test_a_url_wrapped_by_the_window(pki: Pki, tmp_path: Path) -> None:
    url = "https://10.201.160.201/" + "SSLVPN" * 20
    text = cme(pki, url=url)
    wrapped = "\n".join(
        line if "vpn-gateway" not in line else "\n".join(line[at : at + 80] for at in range(0, len(line), 80))
        for line in text.splitlines()
    )
    assert wrapped != text
    assert_phone(only(read_text(tmp_path, wrapped)), pki.leaf, url)


def test_commands_as_somebody_typed_them(pki: Pki, tmp_path: Path) -> None:
    typed = f"""\
CME(config)#voice service voip
CME(conf-voi-serv)#vpn-group 1
CME(conf-vpn-group)#vpn-gateway 1 https://10.201.160.201/SSLVPNphone
CME(conf-vpn-group)#vpn-trustpoint 1 trustpoint cme_cert leaf
CME(conf-vpn-group)#vpn-hash-algorithm sha-1
CME(conf-vpn-group)#exit
CME(conf-voi-serv)#vpn-profile 1
CME(conf-vpn-profile)#host-id-check disable
CME(config)#ephone 1
CME(config-ephone)#mac-address 001F.6C81.110E
CME(config-ephone)#vpn-group 1
CME(config-ephone)#vpn-profile 1
CME(config-ephone)#end
CME#show crypto pki certificates verbose cme_cert
{shown(pki)}
CME#"""
    assert_phone(only(read_text(tmp_path, typed)), pki.leaf)


def test_what_a_log_takes_back_does_not_count(pki: Pki, tmp_path: Path) -> None:
    """A configuration, followed by the commands that change it."""

    def typed(*commands: str, text: str = "") -> Sources:
        lines = "".join(f"CME(config)#{command}\n" for command in commands)
        return read_text(tmp_path, (text or cme(pki)) + "CME#configure terminal\n" + lines)

    group = "voice service voip", "vpn-group 1"
    cnf = only(typed(*group, "no vpn-trustpoint 1", "vpn-trustpoint 2 trustpoint cme_cert root"))
    assert cnf.group is not None
    assert [(item.number, item.value) for item in cnf.group.hashes] == [(2, pki.root.cert_hash)]
    cnf = only(typed(*group, "no vpn-gateway 1", "vpn-gateway 2 https://10.1.1.1/x", "no vpn-hash-algorithm"))
    assert cnf.group is not None
    assert [url.value for url in cnf.group.urls] == ["https://10.1.1.1/x"]
    assert "vpn-hash-algorithm" in cnf.warnings[0]
    cnf = only(
        typed("voice service voip", "no vpn-group 1", "vpn-group 1", "vpn-gateway 1 https://10.1.1.1/x")
    )
    assert cnf.group is not None
    assert cnf.group.hashes == ()
    cnf = only(typed("voice service voip", "vpn-profile 1", "no host-id-check disable"))
    assert cnf.group is not None
    assert cnf.group.host_id_check is None
    assert only(typed("ephone 1", "no vpn-group 1")).device == "vpn-group 1"
    assert only(typed("no ephone 1")).device == "vpn-group 1"
    (cnf,) = typed("no crypto pki trustpoint cme_cert").cnf_files
    assert cnf.group is not None
    assert cnf.group.hashes == ()
    for commands in (
        ("webvpn gateway sslvpn_gw", "no inservice"),
        ("webvpn gateway sslvpn_gw", "no ssl trustpoint cme_cert"),
        ("no webvpn gateway sslvpn_gw",),
    ):
        assert [item.served_at for item in typed(*commands).known] == [(), ()]
    asa = ASA.format(chain=chain("cme_cert", ("02", pki.leaf), word="ca"), trustpoint="cme_cert outside")
    assert [len(item.served_at) for item in typed(text=asa).known] == [1]
    for commands in (("no ssl trust-point cme_cert outside",), ("webvpn", "no enable outside")):
        assert [item.served_at for item in typed(*commands, text=asa).known] == [()]


# ---------------------------------------------------------------- half of it


def test_a_certificate_that_is_cut_short(pki: Pki, tmp_path: Path) -> None:
    text = cme(pki, chains=chain("cme_cert", ("02", pki.leaf)))
    position = text.index("quit") - 60
    for damaged in (text[:position], text[:position] + "\n!\n" + text[text.index("voice service") :]):
        sources = read_text(tmp_path, damaged)
        assert sources.known == ()
        assert any('"certificate 02" of trustpoint cme_cert' in p.message for p in sources.problems)
        assert not any("\n" in p.message for p in sources.problems)
        assert all(cnf.group is not None and cnf.group.hashes == () for cnf in sources.cnf_files)


def test_certificates_that_a_saved_configuration_names(pki: Pki, tmp_path: Path) -> None:
    chains = "crypto pki certificate chain cme_cert\n certificate self-signed 01 nvram:IOS-Self-Sig#2.cer"
    sources = read_text(tmp_path, cme(pki, chains=chains))
    (cnf,) = sources.cnf_files
    assert cnf.group is not None
    assert cnf.group.hashes == ()
    assert len(cnf.group.unresolved) == 1
    assert sources.problems
    assert all("nvram:IOS-Self-Sig#2.cer" in problem.message for problem in sources.problems)


def test_trustpoints_that_cannot_be_told(pki: Pki, tmp_path: Path) -> None:
    two_roots = chain("cme_cert", ("ca 01", pki.root), ("ca 02", pki.alone))
    for end, chains, words in (
        ("root", two_roots, "2 certificates"),
        ("leaf", chain("cme_cert", ("ca 01", pki.root)), "no leaf certificate"),
        ("", chain("cme_cert", ("02", pki.leaf), ("ca 01", pki.root)), "2 certificates"),
        ("leaf", chain("cme_cert", ("02", pki.leaf), ("03", pki.alone)), "2 certificates"),
        (
            "leaf",
            chain("cme_cert", ("02", pki.leaf)) + "\n" + chain("cme_cert", ("03", pki.alone)),
            "2 certificates",
        ),
        ("leaf", chain("another", ("02", pki.leaf)), "not in the configuration"),
    ):
        sources = read_text(tmp_path, cme(pki, end=end, chains=chains))
        (cnf,) = sources.cnf_files
        assert cnf.group is not None
        assert cnf.group.hashes == ()
        assert words in cnf.group.unresolved[0]
        assert sources.problems


def test_raw_is_not_guessed(pki: Pki, tmp_path: Path) -> None:
    text = cme(pki).replace("1 trustpoint cme_cert leaf", f"1 raw {pki.leaf.cert_hash}")
    (cnf,) = read_text(tmp_path, text).cnf_files
    assert cnf.group is not None
    assert cnf.group.hashes == ()
    assert "raw" in cnf.group.unresolved[0]


def test_an_ephone_whose_group_is_missing(pki: Pki, tmp_path: Path) -> None:
    text = cme(pki)
    sources = read_text(tmp_path, text[: text.index("voice service")] + text[text.index("ephone  1") :])
    assert sources.cnf_files == ()
    assert "SEP001F6C81110E is in vpn-group 1" in sources.problems[0].message


@given(st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_damage_makes_up_a_hash(pki: Pki, data: st.DataObject) -> None:
    """With lost, repeated or moved lines, or a cut text, every hash that is read is still one in the text."""
    lines = (cme(pki) + "CME#show crypto pki certificates verbose\n" + shown(pki)).splitlines()
    first = data.draw(st.integers(0, len(lines) - 1))
    last = data.draw(st.integers(first, min(first + 12, len(lines))))
    kept = data.draw(st.sampled_from(["lost", "doubled", "moved", "cut"]))
    damaged = {
        "lost": lines[:first] + lines[last:],
        "doubled": lines[:last] + lines[first:],
        "moved": lines[:first] + lines[last:] + lines[first:last],
        "cut": lines[:first],
    }[kept]
    sources = read_pasted("\n".join(damaged), "config")
    if sources is None:
        return
    known = {pki.root.cert_hash, pki.leaf.cert_hash}
    for cnf in sources.cnf_files:
        assert cnf.group is not None
        assert {item.value for item in cnf.group.hashes} <= known
    assert {base64.b64encode(item.sha1).decode() for item in sources.known} <= known
    assert not any("\n" in problem.message for problem in sources.problems)


@given(st.text(max_size=300))
def test_any_text_is_read_without_a_traceback(text: str) -> None:
    for start in (
        "",
        "voice service voip\n vpn-group 1\n",
        "crypto pki certificate chain x\n certificate 01\n",
    ):
        read_pasted(start + text, "config")


def test_a_group_without_its_phones(pki: Pki, tmp_path: Path) -> None:
    text = cme(pki)
    cnf = only(read_text(tmp_path, text[: text.index("ephone  1")]))
    assert cnf.device == "vpn-group 1"


def test_a_half_that_starts_within_the_group(pki: Pki, tmp_path: Path) -> None:
    text = cme(pki)
    sources = read_text(tmp_path, text[text.index("  vpn-gateway") :])
    assert any("outside a vpn-group" in problem.message for problem in sources.problems)


def test_two_phones_with_one_name(pki: Pki, tmp_path: Path) -> None:
    second = cme(pki).replace(
        "ephone  2\n mac-address 001F.6C81.110F", "ephone  2\n mac-address 001f.6c81.110e\n vpn-group 2"
    )
    second = second.replace(
        " vpn-profile 1\n  host",
        " vpn-group 2\n  vpn-gateway 1 https://10.1.1.1/x\n vpn-profile 1\n  host",
        1,
    )
    sources = read_text(tmp_path, second)
    assert [cnf.device for cnf in sources.cnf_files] == ["SEP001F6C81110E"] * 2
    assert all("another file contradicts it" in cnf.warnings[-1] for cnf in sources.cnf_files)


def test_profile_says_the_host_id_check(pki: Pki, tmp_path: Path) -> None:
    for line, wanted in (("  host-id-check enable\n", True), ("", None)):
        cnf = only(read_text(tmp_path, cme(pki).replace("  host-id-check disable\n", line)))
        assert cnf.group is not None
        assert cnf.group.host_id_check is wanted


def test_a_profile_that_is_not_there_is_named(pki: Pki, tmp_path: Path) -> None:
    cnf = only(read_text(tmp_path, cme(pki).replace(" vpn-profile 1\n button", " vpn-profile 2\n button")))
    assert cnf.group is not None
    assert cnf.group.host_id_check is None
    assert cnf.warnings == ("its vpn-profile 2 is not in the configuration",)


def test_a_phone_is_given_three_urls(pki: Pki, tmp_path: Path) -> None:
    first = "  vpn-gateway 1 https://10.201.160.201/SSLVPNphone\n"
    more = "".join(f"  vpn-gateway {number} https://10.0.0.{number}/x\n" for number in (2, 3, 4))
    cnf = only(read_text(tmp_path, cme(pki).replace(first, first + more)))
    assert cnf.group is not None
    assert [url.number for url in cnf.group.urls] == [1, 2, 3]


def test_ordinary_configuration_says_nothing(tmp_path: Path) -> None:
    text = "hostname r1\n!\ninterface Vlan1\n ip address 10.0.0.1 255.0.0.0\n!\nend\n"
    (problem,) = read_text(tmp_path, text).problems
    assert "contains no cnf file, configuration or certificate" in problem.message
    (problem,) = read([str(tmp_path)]).problems
    assert problem.message == NOTHING_THERE


@pytest.mark.parametrize("url", ["https://[2001:DB8::1]:8443/x", "https://VPN.Example.COM:444/SSLVPNphone"])
def test_urls_are_kept_as_written(pki: Pki, tmp_path: Path, url: str) -> None:
    assert_phone(only(read_text(tmp_path, cme(pki, url=url))), pki.leaf, url)


def test_unusable_url_is_reported_once(pki: Pki, tmp_path: Path) -> None:
    (problem,) = read_text(tmp_path, cme(pki, url="http://10.1.1.1/x")).problems
    assert "https://" in problem.message


# ---------------------------------------------------------------- show output


def shown(pki: Pki, *, wrap: bool = False) -> str:
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
    problems = read_text(tmp_path, "Fingerprint SHA1: 0123\n" * 50_000).problems
    assert len(problems) == 21
    assert "49,980 more" in problems[-1].message


def test_damaged_pem_in_a_log_leaves_the_others(pki: Pki, tmp_path: Path) -> None:
    damaged = pki.root.pem.replace("MII", "MI*")
    sources = read_text(tmp_path, damaged + pki.leaf.pem)
    assert [item.der for item in sources.known] == [pki.leaf.der]
    assert "line 1" in sources.problems[0].message


@pytest.mark.parametrize(
    "line",
    [
        "  vpn-trustpoint 2 trustpoint B root <-- new",
        "  vpn-trustpoint trustpoint B root",
        "  vpn-trustpint 2 trustpoint B root",
        "  vpn-trustpo",
        "  [output omitted]",
        "  <snip>",
        "  ...",
        "  the second one is of the new ASA",
    ],
)
def test_unreadable_line_that_may_set_a_hash_leaves_the_group_open(
    pki: Pki, tmp_path: Path, line: str
) -> None:
    text = cme(pki).replace("  vpn-hash-algorithm", f"{line}\n  vpn-hash-algorithm")
    number = text.splitlines().index(line) + 1
    sources = read_text(tmp_path, text)
    (cnf,) = sources.cnf_files
    assert cnf.group is not None
    assert len(cnf.group.hashes) == 1
    said = f'line {number} "{line.strip()}" cannot be read: it may set another hash'
    assert cnf.group.unresolved == (said,)
    assert [problem.message for problem in sources.problems] == [said]


def test_group_with_one_unreadable_hash_is_not_reported_as_empty(pki: Pki, tmp_path: Path) -> None:
    (cnf,) = read_text(tmp_path, cme(pki).replace(" leaf", " leaf ! was B")).cnf_files
    assert cnf.group is not None
    assert len(cnf.group.unresolved) == 1
    assert not any("no vpn-trustpoint" in warning for warning in cnf.warnings)


def test_commands_and_answers_inside_a_group_leave_no_hash_open(pki: Pki, tmp_path: Path) -> None:
    text = cme(pki).replace("  vpn-hash-algorithm", " !\n exit\n% Nothing is changed\n  vpn-hash-algorithm")
    (cnf,) = read_text(tmp_path, text).cnf_files
    assert cnf.group is not None
    assert cnf.group.unresolved == ()


def test_a_configuration_that_is_pasted_twice_says_the_same(pki: Pki, tmp_path: Path) -> None:
    assert only(read_text(tmp_path, cme(pki) + cme(pki))).says == only(read_text(tmp_path, cme(pki))).says


def test_a_certificate_without_its_first_line_is_left_open_once(pki: Pki, tmp_path: Path) -> None:
    text = "\n".join(chain("A", ("01", pki.leaf)).splitlines()[2:])
    sources = read_text(tmp_path, text)
    assert [each.line for each in sources.unsettled] == [1]
