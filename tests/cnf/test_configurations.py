"""Test the reading of configurations in Cisco's documented formats, whole and damaged.

The certificates are created with openssl, and the hashes are compared with openssl's fingerprints.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.cnf.running_configs import ASA, assert_phone, chain, cme, only, pki, read_text, shown

from certhash.cnf import read
from certhash.cnf.pasted import read_pasted
from certhash.cnf.read import NOTHING_THERE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cnf.running_configs import Pki

    from certhash.model import Sources

__all__ = ["pki"]  # a fixture


def test_without_the_hash_algorithm(pki: Pki, tmp_path: Path) -> None:
    (warning,) = only(read_text(tmp_path, cme(pki).replace("  vpn-hash-algorithm sha-1\n", ""))).warnings
    assert "vpn-hash-algorithm" in warning


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
