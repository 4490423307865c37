"""Test the verdicts from configurations alone: no match if another line may decide."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

import pytest
from tests.cnf.running_configs import chain
from tests.conftest import certhash
from tests.harness.openssl import make

from certhash import report
from certhash.cnf import read
from certhash.cnf.read import read_source
from certhash.judgement.correlate import correlate
from certhash.judgement.document import Document, Tool

if TYPE_CHECKING:
    from pathlib import Path

    from tests.harness.openssl import Certificate

TOOL = Tool("0", "4.0", "5.2", "plugin")
HOST, ADDRESS = "vpn.example.com", "203.0.113.10"


class Pki(NamedTuple):
    """Two certificates of one CA."""

    root: Certificate
    old: Certificate
    new: Certificate


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    folder = tmp_path_factory.mktemp("paper")
    root = make(folder, "root", bits=1024)
    signed = ("-CA", "root.pem", "-CAkey", "root.key")
    named = ("-addext", f"subjectAltName=DNS:{HOST},IP:{ADDRESS}")
    return Pki(
        root,
        make(folder, "old", *signed, *named, bits=1024),
        make(folder, "new", *signed, *named, bits=1024),
    )


def phone(*hashes: str, url: str = f"https://{HOST}/phone", check: str = "0") -> str:
    listed = "".join(f"<certHash{n}>{value}</certHash{n}>" for n, value in enumerate(hashes, 1))
    switch = f"<enableHostIDCheck>{check}</enableHostIDCheck>" if check else ""
    return (
        f"<device><vpnGroup>{switch}<addresses><url1>{url}</url1></addresses><credentials>"
        f"<hashAlg>0</hashAlg>{listed}</credentials></vpnGroup></device>"
    )


def asa(
    pki: Pki, *lines: str, address: str = f"ip address {ADDRESS} 255.255.255.0", chains: bool = True
) -> str:
    stored = [
        chain("OLD", ("01", pki.old), ("ca 0A", pki.root), word="ca"),
        chain("NEW", ("02", pki.new), ("ca 0A", pki.root), word="ca"),
    ]
    return "\n".join(
        [
            "interface GigabitEthernet0/0",
            " nameif Outside",
            f" {address}",
            "!",
            *(stored if chains else stored[:1]),
            *lines,
            "webvpn",
            " enable outside",
        ]
    )


def audited(folder: Path, *texts: str, resolve: bool = True) -> Document:
    """Audit a phone's file and configurations, without any capture."""
    for number, text in enumerate(texts):
        name = "SEP00005E005301.cnf.xml" if text.startswith("<device>") else f"config{number}.txt"
        (folder / name).write_text(text)
    return correlate([], read([str(folder)]), TOOL, resolve={HOST: [ADDRESS]} if resolve else {})


def verdict(folder: Path, *texts: str, resolve: bool = True) -> str:
    (row,) = audited(folder, *texts, resolve=resolve).expectations
    return row.verdict


# ---------------------------------------------------------------- an ASA that chooses by SNI


@pytest.mark.parametrize(
    "name", [HOST, HOST.upper(), f'"{HOST}"', f"{HOST}.", "*.example.com", "vpn*.example.com"]
)
@pytest.mark.parametrize("expected", ["old", "new"])
def test_a_trust_point_by_name_leaves_open_what_the_phone_sees(
    pki: Pki, tmp_path: Path, name: str, expected: str
) -> None:
    text = asa(pki, f"ssl trust-point NEW domain {name}", "ssl trust-point OLD outside")
    (row,) = audited(tmp_path, phone(getattr(pki, expected).cert_hash), text).expectations
    assert row.verdict == "unverifiable"
    assert f'"ssl trust-point NEW domain {name}"' in row.explanation
    assert "trustpoint NEW" in row.explanation
    line = text.splitlines().index(f"ssl trust-point NEW domain {name}") + 1
    assert f"line {line} " in row.explanation


@pytest.mark.parametrize(
    "line",
    [
        "ssl trust-point NEW out",
        "ssl trust-point NEW outsde",
        "x ssl trust-point NEW outside",
        "ssl trust-piont NEW outside",
    ],
)
def test_a_damaged_trust_point_of_an_interface_leaves_open_what_it_presents(
    pki: Pki, tmp_path: Path, line: str
) -> None:
    text = asa(pki, "ssl trust-point OLD", line)
    document = audited(tmp_path, phone(pki.old.cert_hash), text)
    assert [row.verdict for row in document.expectations] == ["unverifiable"]
    assert line in document.problems[0].message


def test_a_trust_point_of_another_interface_is_named_if_that_is_not_there(pki: Pki, tmp_path: Path) -> None:
    text = asa(pki, "ssl trust-point OLD outside", "ssl trust-point NEW inside")
    document = audited(tmp_path, phone(pki.old.cert_hash), text)
    assert [row.verdict for row in document.expectations] == ["match"]
    assert '"ssl trust-point NEW inside": no interface of this text' in document.problems[0].message
    text += "\ninterface GigabitEthernet0/1\n nameif inside\n ip address 192.0.2.1 255.255.255.0\n"
    assert not audited(tmp_path, phone(pki.old.cert_hash), text).problems


def test_where_both_certificates_have_the_hash_the_choice_does_not_matter(pki: Pki, tmp_path: Path) -> None:
    text = asa(pki, f"ssl trust-point NEW domain {HOST}", "ssl trust-point OLD outside")
    assert verdict(tmp_path, phone(pki.root.cert_hash), text) == "match"
    assert verdict(tmp_path, phone(pki.old.cert_hash, pki.new.cert_hash), text) == "match"


def test_a_name_of_somebody_else_decides_nothing(pki: Pki, tmp_path: Path) -> None:
    text = asa(pki, "ssl trust-point NEW domain other.example.com", "ssl trust-point OLD outside")
    assert verdict(tmp_path, phone(pki.old.cert_hash), text) == "match"
    by_address = phone(pki.old.cert_hash, url=f"https://{ADDRESS}/phone")
    text = asa(pki, f"ssl trust-point NEW domain {HOST}", "ssl trust-point OLD outside")
    assert verdict(tmp_path, by_address, text) == "match"


@pytest.mark.parametrize(
    "lines",
    [
        (f"ssl trust-point NEW domain {HOST}", "ssl trust-point OLD outside"),
        ("ssl trust-point OLD outside", "ssl trust-point NEW outside"),
    ],
)
def test_a_trust_point_whose_certificate_is_not_there_makes_no_match(
    pki: Pki, tmp_path: Path, lines: tuple[str, ...]
) -> None:
    document = audited(tmp_path, phone(pki.old.cert_hash), asa(pki, *lines, chains=False))
    (row,) = document.expectations
    assert row.verdict == "unverifiable"
    assert "trust-point NEW" in row.explanation
    assert any("crypto ca export NEW identity-certificate" in each.message for each in document.problems)


def test_an_interface_without_a_trust_point_presents_what_nobody_knows(pki: Pki, tmp_path: Path) -> None:
    (row,) = audited(tmp_path, phone(pki.old.cert_hash), asa(pki)).expectations
    assert row.verdict == "unseen"
    assert "no ssl trust-point applies to outside" in row.explanation
    by_name = asa(pki, f"ssl trust-point OLD domain {HOST}")
    assert verdict(tmp_path, phone(pki.old.cert_hash), by_name) == "unverifiable"


# ---------------------------------------------------------------- an ASA with unknown address


@pytest.mark.parametrize(
    ("address", "stands"),
    [
        ("ip address dhcp setroute", " (ip address dhcp setroute)"),
        ("ip address pppoe setroute", " (ip address pppoe setroute)"),
        ("no ip address", ""),
    ],
)
def test_an_address_that_is_not_there_is_named(pki: Pki, tmp_path: Path, address: str, stands: str) -> None:
    text = asa(pki, "ssl trust-point OLD outside", address=address)
    document = audited(tmp_path, phone(pki.old.cert_hash, url=f"https://{ADDRESS}/phone"), text)
    (row,), (problem,) = document.expectations, document.problems
    line = text.splitlines().index("ssl trust-point OLD outside") + 1
    assert problem.message.startswith(
        f'line {line} "ssl trust-point OLD outside": the address of interface outside is not in the '
        f"configuration{stands}, so a URL with this address cannot be checked"
    )
    assert row.verdict == "unseen"
    assert row.explanation.startswith("No capture was given")
    assert f'line {line} "ssl trust-point OLD outside": the address of interface outside' in row.explanation
    assert not any("--resolve" in line for line in row.advice), "the URL has no name"
    assert document.exit_status == 2


def test_group_url_ties_a_name_to_the_asa(pki: Pki, tmp_path: Path) -> None:
    group = ("tunnel-group PHONE webvpn-attributes", f" group-url https://{HOST}/phone enable")
    text = asa(pki, "ssl trust-point OLD outside", *group, address="ip address dhcp setroute")
    assert verdict(tmp_path, phone(pki.old.cert_hash), text, resolve=False) == "match"
    assert verdict(tmp_path, phone(pki.new.cert_hash), text, resolve=False) == "mismatch"
    disabled = text.replace("phone enable", "phone disable")
    assert verdict(tmp_path, phone(pki.old.cert_hash), disabled, resolve=False) == "unseen"
    elsewhere = asa(
        pki, "ssl trust-point OLD outside", *group, address="ip address 198.51.100.7 255.255.255.0"
    )
    assert verdict(tmp_path, phone(pki.old.cert_hash), elsewhere) == "unseen"


# ---------------------------------------------------------------- IOS


def ios(pki: Pki, gateway: str) -> str:
    return chain("VPN", ("01", pki.old)) + "\n!\n" + gateway


GATEWAY = f"""\
webvpn gateway G
 ip address {ADDRESS} port 443
 ssl trustpoint VPN
 inservice
!
"""


def test_a_gateway_without_a_trustpoint_presents_its_default(pki: Pki, tmp_path: Path) -> None:
    told = phone(pki.old.cert_hash, url=f"https://{ADDRESS}/phone")
    assert verdict(tmp_path, told, ios(pki, GATEWAY)) == "match"
    (row,) = audited(tmp_path, told, ios(pki, GATEWAY.replace(" ssl trustpoint VPN\n", ""))).expectations
    assert row.verdict == "unseen"
    assert '"webvpn gateway G": it names no trustpoint, so IOS presents its default' in row.explanation
    (row,) = audited(tmp_path, told, ios(pki, GATEWAY.replace(" inservice\n", ""))).expectations
    assert "it is not in service" in row.explanation


def test_a_policy_of_ios_xe_presents_its_trustpoint(pki: Pki, tmp_path: Path) -> None:
    policy = (
        f"crypto ssl policy P\n pki trustpoint VPN sign\n ip address local {ADDRESS} port 443\n no shutdown\n"
    )
    told = phone(pki.old.cert_hash, url=f"https://{ADDRESS}/phone")
    assert verdict(tmp_path, told, ios(pki, policy)) == "match"
    assert verdict(tmp_path, told, ios(pki, policy.replace("no shutdown", "shutdown"))) == "unseen"


def test_a_fingerprint_alone_counts_too(pki: Pki, tmp_path: Path) -> None:
    """Return the output of show crypto pki certificates verbose, without hex."""
    digits = pki.old.fingerprint
    groups = " ".join(digits[at : at + 8] for at in range(0, 40, 8))
    shown = f"Certificate\n  Fingerprint SHA1: {groups}\n  Associated Trustpoints: VPN\n"
    told = phone(pki.old.cert_hash, url=f"https://{ADDRESS}/phone", check="1")
    (row,) = audited(tmp_path, told, GATEWAY + shown).expectations
    assert row.verdict == "match"
    assert "is unknown: only its fingerprint is known" in row.warnings[0]
    # Another one in hex under the same trustpoint: it is unknown which of them is in use.
    both = chain("VPN", ("01", pki.new)) + "\n!\n" + GATEWAY + shown
    assert verdict(tmp_path, told, both) == "unverifiable"


# ---------------------------------------------------------------- reports


def test_every_report_marks_a_match_on_paper_and_warns_of_the_host_id_check(pki: Pki, tmp_path: Path) -> None:
    told = phone(pki.old.cert_hash, url="https://203.0.113.11/phone", check="")
    text = asa(pki, "ssl trust-point OLD outside", address="ip address 203.0.113.11 255.255.255.0")
    document = audited(tmp_path, told, text)
    (row,) = document.expectations
    assert (row.verdict, row.on_paper, document.exit_status) == ("match", True, 0)
    for form in ("table", "csv", "html", "junit", "sarif"):
        written = " ".join(report.render(document, form).split())
        assert "on paper: no handshake was seen" in written, form
        assert "the host-ID check is on by default" in written, form
        assert "203.0.113.11" in written
    assert "match (on paper) " in report.render(document, "table")
    assert json.loads(report.render(document, "json"))["expectations"][0]["on_paper"] is True
    (seen,) = audited(tmp_path, told.replace("<url1>", "<enableX>0</enableX><url1>"), text).expectations
    assert seen.verdict == "match"


def test_no_capture_is_not_said_to_have_no_handshake(pki: Pki, tmp_path: Path) -> None:
    (tmp_path / "SEP00005E005301.cnf.xml").write_text(phone(pki.old.cert_hash))
    done = certhash("audit", "--no-cache", "--cnf", tmp_path)
    assert "No capture was given" in done.out
    assert "captures contain" not in done.out


@pytest.mark.parametrize("before", ["10:00:01 ", "> ", "R1: "])
def test_a_host_id_setting_that_cannot_be_read_is_named(before: str) -> None:
    """With text before a line of show voice vpn, the check must not silently be on by default."""
    shown = (
        "The Voice Service VPN Group 1 setting:\nVPN Gateway 1 URL https://203.0.113.10/x\n"
        f"The Voice Service VPN Profile 1 setting:\n{before}The host_id_check setting: 0\n"
    )
    messages = [each.message for each in read_source("log.txt", shown.encode()).problems]
    assert any("host_id_check setting: 0" in each for each in messages)


def test_a_group_with_a_line_that_cannot_be_read_makes_no_mismatch(pki: Pki, tmp_path: Path) -> None:
    group = (
        f"{chain('T', ('01', pki.old))}\nvoice service voip\n vpn-group 1\n"
        f"  vpn-gateway 1 https://{ADDRESS}/phone\n  vpn-trustpoint 1 trustpoint T leaf\n"
        "{}  vpn-hash-algorithm sha-1\n"
    )
    head_end = asa(pki, "ssl trust-point NEW outside")
    for name, line, expected in (("whole", "", "mismatch"), ("cut", "  vpn-trustpo\n", "unverifiable")):
        (tmp_path / name).mkdir()
        assert verdict(tmp_path / name, group.format(line), head_end) == expected


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("crypto ca import OLD pkcs12 secret", "unverifiable"),
        ("cry ca enr OLD noconfirm", "unverifiable"),
        ("crypto ca import OTHER certificate", "match"),
        ("clear configure ssl", "unseen"),
    ],
)
def test_import_command_after_the_shown_certificate_may_replace_it(
    pki: Pki, tmp_path: Path, typed: str, expected: str
) -> None:
    shown = asa(pki, "ssl trust-point OLD outside")
    document = audited(tmp_path, phone(pki.old.cert_hash), f"{shown}\nasa(config)# {typed}\n")
    (row,) = document.expectations
    assert row.verdict == expected
    assert "secret" not in row.explanation + "".join(each.message for each in document.problems)


def test_import_command_before_the_shown_certificate_does_not_replace_it(pki: Pki, tmp_path: Path) -> None:
    text = f"asa(config)# crypto ca import OLD pkcs12 secret\n{asa(pki, 'ssl trust-point OLD outside')}"
    assert verdict(tmp_path, phone(pki.old.cert_hash), text) == "match"
