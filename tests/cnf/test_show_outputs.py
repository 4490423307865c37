"""Test the reading of show and export output of IOS and ASA, and of typed commands."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest
from tests.cnf import show_outputs as shown
from tests.harness.openssl import make

from certhash.cnf import read

if TYPE_CHECKING:
    from pathlib import Path

    from tests.harness.openssl import Certificate

    from certhash.model import Sources


def read_text(tmp_path: Path, text: str) -> Sources:
    path = tmp_path / "log.txt"
    path.write_text(text)
    return read([str(path)])


def known(sources: Sources) -> list[tuple[str | None, str | None, str]]:
    return [(item.trustpoint, item.role, item.sha1.hex().upper()[:8]) for item in sources.known]


def messages(sources: Sources) -> list[str]:
    return [problem.message for problem in sources.problems]


STATUS = [
    ("SLA-TrustPoint", "ca", "00112233"),
    ("cme_cert", "ca", "10112233"),
    ("cme_cert", "leaf", "7D9DB140"),
    ("TP-self-signed-100", "self-signed", "20112233"),
]


def test_role_and_trustpoint_of_every_fingerprint(tmp_path: Path) -> None:
    sources = read_text(tmp_path, shown.TRUSTPOINTS_STATUS)
    assert messages(sources) == []
    assert known(sources) == STATUS


def test_status_answers_for_the_configuration_above_it(tmp_path: Path) -> None:
    sources = read_text(tmp_path, shown.CME_AND_STATUS)
    assert messages(sources) == []
    (cnf,) = sources.cnf_files
    assert cnf.group is not None
    digests = [item.digest.hex().upper() for item in cnf.group.hashes]
    assert digests == [
        "7D9DB14073017168FF7D2A0DB392243DB0363EDF",
        "1011223344556677" + "8899AABBCCDDEEFF00112233",
    ]


ISSUER = "  Issuing CA certificate configured:\n    Subject Name:\n     cn=cme_cert CA\n"
OWN = "  Router General Purpose certificate configured:\n    Subject Name:\n     cn=cme_cert\n"


@pytest.mark.parametrize(
    ("lost", "changed"),
    [
        ("Trustpoint cme_cert:", {("cme_cert", "ca"): (None, "ca"), ("cme_cert", "leaf"): (None, "leaf")}),
        (ISSUER, {("cme_cert", "ca"): ("cme_cert", None)}),
        (OWN, {("cme_cert", "leaf"): ("cme_cert", None)}),
    ],
)
def test_a_heading_that_is_lost_is_not_guessed(
    tmp_path: Path, lost: str, changed: dict[tuple[str | None, str | None], tuple[str | None, str | None]]
) -> None:
    assert lost in shown.TRUSTPOINTS_STATUS
    found = known(read_text(tmp_path, shown.TRUSTPOINTS_STATUS.replace(lost, "")))
    wanted = [(*changed.get((name, role), (name, role)), digits) for name, role, digits in STATUS]
    assert sorted(found, key=str) == sorted(wanted, key=str)


@pytest.fixture(name="leaf", scope="module")
def _leaf(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make(tmp_path_factory.mktemp("pki"), "vpn.example.com", bits=1024)


def certificate(trustpoint: str, leaf: Certificate) -> str:
    digits = leaf.der.hex()
    lines = "".join(f"    {digits[at : at + 64]}\n" for at in range(0, len(digits), 64))
    return f"crypto ca certificate chain {trustpoint}\n certificate 31\n{lines}  quit\n"


ADDRESSES = """\
interface GigabitEthernet0/0
 nameif Outside
 ip address 203.0.113.1 255.255.255.0
webvpn
 enable outside
"""


@pytest.mark.parametrize("output", [shown.SHOW_SSL, shown.SHOW_SSL_OLD, "ssl trust-point VPN_TP OUTSIDE\n"])
def test_which_trust_point_an_asa_serves_on_which_interface(
    tmp_path: Path, leaf: Certificate, output: str
) -> None:
    """`show ssl` names interfaces like the configuration; upper and lower case do not matter."""
    sources = read_text(tmp_path, ADDRESSES + certificate("VPN_TP", leaf) + output)
    assert [(end.address, end.port) for item in sources.known for end in item.served_at] == [
        ("203.0.113.1", 443)
    ]
    assert [item.der for item in sources.known] == [leaf.der]


def test_which_trustpoint_an_ios_gateway_serves(tmp_path: Path, leaf: Certificate) -> None:
    text = certificate("cme_cert", leaf).replace("crypto ca", "crypto pki") + shown.SHOW_GATEWAY
    sources = read_text(tmp_path, text)
    assert messages(sources) == []
    assert [(end.address, end.port) for item in sources.known for end in item.served_at] == [
        ("203.0.113.20", 443)
    ]
    down = read_text(tmp_path, text.replace("Admin Status: up", "Admin Status: down"))
    assert [item.served_at for item in down.known] == [()]


def test_what_prints_no_fingerprint_is_answered_once(tmp_path: Path) -> None:
    (message,) = messages(read_text(tmp_path, shown.WITHOUT_VERBOSE))
    assert message.startswith("line 2: ")
    assert "type `show crypto pki certificates verbose`" in message
    asa = "asa# show crypto ca certificates\n" + shown.WITHOUT_VERBOSE.partition("\n")[2]
    (message,) = messages(read_text(tmp_path, asa))
    assert "type `crypto ca export cme_cert identity-certificate`" in message


def test_what_prints_no_fingerprint_is_fine_beside_the_certificates(tmp_path: Path) -> None:
    sources = read_text(tmp_path, shown.WITHOUT_VERBOSE + "\n" + shown.VERBOSE)
    assert messages(sources) == []
    assert len(sources.known) == 3


def test_show_trustpoints_without_status(tmp_path: Path) -> None:
    text = "Trustpoint CME:\n    Subject Name:\n    cn=CA\n    Certificate configured.\n"
    (message,) = messages(read_text(tmp_path, text))
    assert message.endswith("type `show crypto pki trustpoints status`")
    assert messages(read_text(tmp_path, text.replace("CME", "cme_cert") + shown.VERBOSE)) == []


def test_the_built_in_pool_is_passed_over(tmp_path: Path) -> None:
    pool = (
        "CA Certificate\n  Status: Available\n  Certificate Usage: Signature\n  Trustpool: Built-In\n\n" * 3
    )
    assert messages(read_text(tmp_path, pool + shown.VERBOSE)) == []


def test_the_fingerprint_of_a_request_is_passed_over(tmp_path: Path) -> None:
    request = "CSR Fingerprint SHA1: 583381E9DDC3D287CC59BA96ED12AF917097D339\n"
    sources = read_text(tmp_path, request + shown.VERBOSE)
    assert messages(sources) == []
    assert len(sources.known) == 3


def test_show_certificates_pem_names_each_trustpoint(tmp_path: Path, leaf: Certificate) -> None:
    text = f"------Trustpoint: CME------\n% Self-signed CA certificate:\n{leaf.pem}"
    sources = read_text(
        tmp_path, text + "------Trustpoint: other------\n% General Purpose Certificate:\n" + leaf.pem
    )
    assert [(item.trustpoint, item.role) for item in sources.known] == [("CME", "ca"), ("other", "leaf")]


PKCS12 = base64.encodebytes(bytes.fromhex("3082030902010330") * 30).decode()


ON_IOS = f"""\
R1(config)#crypto pki export CME pkcs12 terminal password x
% Exported pkcs12 follows:
{PKCS12}---End - This line not part of the pkcs12---
CRYPTO_PKI: Exported PKCS12 file successfully.
"""
ON_ASA = f"""\
asa(config)# crypto ca export VPN pkcs12 x

Exported pkcs12 follows:
-----BEGIN PKCS12-----
{PKCS12}-----END PKCS12-----
"""


@pytest.mark.parametrize("text", [ON_IOS, ON_ASA])
def test_a_pkcs12_export_names_the_form_that_can_be_read(tmp_path: Path, text: str) -> None:
    (message,) = messages(read_text(tmp_path, text))
    assert "passphrase" in message
    assert "crypto pki export NAME pem terminal" in message
    assert "crypto ca export NAME identity-certificate" in message


@pytest.mark.parametrize("hidden", ["", "  <removed>\n", "  [removed]\n", "  ...\n", "  30820343 3082022B\n"])
def test_a_redacted_certificate_is_one_line(tmp_path: Path, hidden: str) -> None:
    group = shown.CME_AND_STATUS.partition("R1#show crypto")[0]
    text = (
        f"{group}!\ncrypto pki certificate chain cme_cert\n certificate self-signed 01\n{hidden}  \tquit\n!\n"
    )
    (message,) = messages(
        read_text(tmp_path, text.replace("  vpn-trustpoint 2 trustpoint cme_cert root\n", ""))
    )
    assert message.startswith('line 17 "certificate self-signed 01" of trustpoint cme_cert: ')
    assert "paste it whole, or add the output of `show crypto pki certificates verbose`" in message


# ---------------------------------------------------------------- typed commands

TYPED = """\
R1#conf t
R1(config)#voice serv voip
R1(conf-voi-serv)#vpn-gr 1
R1(conf-vpn-group)#vpn-gat 1 https://203.0.113.20/SSLVPNphone
R1(conf-vpn-group)#vpn-tr 1 tr cme_cert le
R1(conf-vpn-group)#vpn-h sha-1
R1(conf-vpn-group)#ex
R1(conf-voi-serv)#vpn-prof 1
R1(conf-vpn-profile)#host-id dis
R1(config)#Ephone 1
R1(config-ephone)#mac 0000.5E00.5312
R1(config-ephone)#vpn-gr 1
R1(config-ephone)#vpn-pr 1
R1(config-ephone)#do sh cry pki trustp stat
"""


def test_keywords_in_short(tmp_path: Path) -> None:
    sources = read_text(tmp_path, TYPED + shown.TRUSTPOINTS_STATUS.partition("\n")[2])
    assert messages(sources) == []
    (cnf,) = sources.cnf_files
    assert cnf.group is not None
    assert (cnf.device, cnf.group.host_id_check) == ("SEP00005E005312", False)
    assert [item.digest.hex()[:8] for item in cnf.group.hashes] == ["7d9db140"]
    assert known(sources) == STATUS


@pytest.mark.parametrize(
    "command", ["cry pki exp CME pem term", "CRYPTO PKI EXPORT CME pem terminal", "do cry ca exp CME i"]
)
def test_an_export_typed_in_short_names_its_trustpoint(
    tmp_path: Path, leaf: Certificate, command: str
) -> None:
    sources = read_text(tmp_path, f"R1(config)#{command}\n% CA certificate:\n{leaf.pem}")
    assert [(item.trustpoint, item.role, item.der) for item in sources.known] == [("CME", "ca", leaf.der)]


@pytest.mark.parametrize(
    "answer",
    [
        "                         ^\n% Invalid input detected at '^' marker.",
        "% Incomplete command.",
        '% Ambiguous command:  "vpn-t 1"',
        "ERROR: % Invalid input detected at '^' marker.",
    ],
)
def test_a_command_that_was_refused_changes_nothing(tmp_path: Path, answer: str) -> None:
    refused = f"R1(conf-vpn-group)#vpn-trustpoint 1 trustpoint TP-self-signed-100 leaf\n{answer}\n"
    text = (TYPED + shown.TRUSTPOINTS_STATUS.partition("\n")[2]).replace(
        "R1(conf-vpn-group)#ex\n", refused + "R1(conf-vpn-group)#ex\n"
    )
    (cnf,) = read_text(tmp_path, text).cnf_files
    assert cnf.group is not None
    assert [item.digest.hex()[:8] for item in cnf.group.hashes] == ["7d9db140"]


# ---------------------------------------------------------------- other fingerprints, and histories

SHA1, SHA256 = "7D9DB140 73017168 FF7D2A0D B392243D B0363EDF", "481A6986 4DEEE366 883F1E48 6BE3451D " * 2


@pytest.mark.parametrize(
    "lines",
    [
        f"  Fingerprint SHA1: {SHA1}\n  Fingerprint SHA256: {SHA256}\n",
        f"  Fingerprint SHA256: {SHA256}\n  Fingerprint SHA1: {SHA1}\n",
        f"  Fingerprint SHA1: {SHA1} Fingerprint SHA256: {SHA256}\n",
        f"  Fingerprint MD5: {SHA1[:35]} Fingerprint SHA1: {SHA1}\n",
        f"  Fingerprint SHA1: {SHA1}\n  Fingerprint SHA256: {SHA256[:36]}\n    {SHA256[36:]}\n",
    ],
)
def test_a_sha256_beside_the_sha1_does_not_matter(tmp_path: Path, lines: str) -> None:
    head = "Certificate\n  Status: Available\n"
    sources = read_text(tmp_path, f"{head}{lines}  Associated Trustpoints: cme_cert\n")
    assert messages(sources) == []
    assert known(sources) == [("cme_cert", "leaf", SHA1[:8])]


def test_a_sha256_alone_is_named(tmp_path: Path) -> None:
    """The SHA-1 of another certificate does not stand for this one's."""
    block = "Certificate\n  Status: Available\n  Fingerprint {}\n  Associated Trustpoints: cme_cert\n\n"
    text = block.format(f"SHA256: {SHA256}") + "CA " + block.format(f"SHA1: {SHA1}")
    sources = read_text(tmp_path, text)
    (message,) = messages(sources)
    assert message.startswith('line 3 "Fingerprint SHA256: ')
    assert "is not a SHA-1" in message
    assert known(sources) == [("cme_cert", "ca", SHA1[:8])]


def test_a_sha256_belongs_to_the_trustpoint_below_it(tmp_path: Path) -> None:
    text = (
        f"Fingerprint SHA256: {SHA256}\nAssociated Trustpoints: A\n"
        f"Fingerprint SHA1: {SHA1}\nAssociated Trustpoints: B\n"
    )
    (message,) = messages(read_text(tmp_path, text))
    assert message.startswith("line 1 ")


def test_a_second_sha1_on_a_line_is_named(tmp_path: Path) -> None:
    text = f"Certificate\n  Fingerprint SHA1: {SHA1} Fingerprint SHA1: {'00' * 20}\n"
    (message,) = messages(read_text(tmp_path, text))
    assert "has several fingerprints" in message


HISTORY = """ idx   sess           user@line      Logged command
    1     1        console@console  |  voice service voip
    2     1        console@console  |   vpn-group 1
    3     1           admin@vty0    |    vpn-trustpoint 1 trustpoint cme_cert leaf
"""
PROVISIONING = "voice service voip\n vpn-group 1\n  vpn-trustpoint 1 trustpoint cme_cert leaf\n"


@pytest.mark.parametrize(
    "text",
    [
        f"R1#show archive log config all\n{HISTORY}R1#\n",
        HISTORY,
        "\n".join(HISTORY.splitlines()[1:]),
        f"R1#sh arch log conf all provisioning\n{PROVISIONING}R1#\n",
    ],
)
def test_a_history_of_commands_is_no_configuration(tmp_path: Path, text: str) -> None:
    sources = read_text(tmp_path, text)
    (message,) = messages(sources)
    assert message.startswith("line 1: this is `show archive log config`")
    assert "`show running-config`" in message
    assert not sources.cnf_files


def test_what_else_is_in_a_log_with_a_history_is_read(tmp_path: Path) -> None:
    text = f"R1#show archive log config all\n{HISTORY}R1#show run\n{shown.CME_AND_STATUS}"
    sources = read_text(tmp_path, text)
    assert len(messages(sources)) == 1
    assert [cnf.group is not None for cnf in sources.cnf_files] == [True]
