"""Test that a line that a window broke in two is read whole, or named, and never read by its first half."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from certhash.cnf.cleaning import clean
from certhash.cnf.pasted import read_pasted

if TYPE_CHECKING:
    from certhash.model import Sources

ASA = """interface GigabitEthernet0/0
 nameif outside
 ip address 203.0.113.20 255.255.255.0
!
{line}
webvpn
 enable outside
!
"""
CME = """voice service voip
 vpn-group 1
  vpn-gateway 1 https://203.0.113.20/x
  {line}
  vpn-hash-algorithm sha-1
!
"""
DIGITS = {
    name: f"{n:02X}112233 44556677 8899AABB CCDDEEFF 00112233"
    for n, name in enumerate(("OLD", "VPN", "VPN-NEW"))
}
STATUS = "".join(
    f"Trustpoint {name}:\n  Router General Purpose certificate configured:\n    Fingerprint SHA1: {digits}\n"
    for name, digits in DIGITS.items()
)


def read(text: str) -> Sources:
    sources = read_pasted(clean(text + STATUS), "log.txt")
    assert sources is not None
    return sources


def served(sources: Sources) -> list[tuple[str | None, str | None]]:
    """Return the trust-points that are presented, and for which name."""
    return [(each.trustpoint, place.name) for each in sources.known for place in each.served_at]


@pytest.mark.parametrize(
    ("line", "trustpoint"),
    [
        ("ssl trust-point VPN outside", "VPN"),
        ("ssl trust-point VPN\noutside", "VPN"),
        ("ssl trust-point VPN\n outside", "VPN"),
        ("ssl trust-point VPN out\nside", "VPN"),
        ("ssl trust-point VPN\n-NEW outside", "VPN-NEW"),
        ("ssl trust-point VPN-\nNEW outside", "VPN-NEW"),
        ("ssl\ntrust-point VPN outside", "VPN"),
        ("ssl trust-\npoint VPN-NEW outside", "VPN-NEW"),
        ("ssl trust-point\nVPN outside", "VPN"),
        ("ssl trust-point VPN\n-\nNEW\noutside", "VPN-NEW"),
        ("ssl trust-point VPN\n\n-NEW outside", "VPN-NEW"),
        ("ssl trust-point OLD\nssl trust-point VPN-NEW out\nside", "VPN-NEW"),
    ],
)
def test_one_way_of_joining_is_whole(line: str, trustpoint: str) -> None:
    sources = read(ASA.format(line=line))
    assert served(sources) == [(trustpoint, None)]
    assert not sources.problems


@pytest.mark.parametrize("rest", ["\nple.com", " \nvpn.example.com"])
def test_a_domain_is_joined(rest: str) -> None:
    """Of the first half alone, OLD would be presented to phones that have the name in their URL."""
    half = "ssl trust-point VPN-NEW domain" + (rest if rest[0] == " " else f" vpn.exam{rest}")
    sources = read(ASA.format(line=f"ssl trust-point OLD outside\n{half}"))
    assert ("VPN-NEW", "vpn.example.com") in served(sources)


@pytest.mark.parametrize("line", ["ssl trust-point VPN\nfoo", "ssl trust-point OLD out\nsi"])
def test_what_is_not_clear_is_named_and_left_open(line: str) -> None:
    sources = read(ASA.format(line=line))
    assert any("paste it as one line" in problem.message for problem in sources.problems)
    assert any(each.line == 5 and each.presents for each in sources.unsettled)


@pytest.mark.parametrize(
    "following",
    ["webvpn", "!", "names", "ssl trust-point OLD domain other.example.com", "username x password y"],
)
def test_a_command_is_no_second_half(following: str) -> None:
    sources = read(ASA.format(line=f"ssl trust-point VPN\n{following}"))
    assert ("VPN", None) in served(sources)
    assert not sources.problems


@pytest.mark.parametrize(
    ("line", "hashed"),
    [
        ("vpn-trustpoint 1 trustpoint VPN\nleaf", "VPN"),
        ("vpn-trustpoint 1 trustpoint VPN\n-NEW leaf", "VPN-NEW"),
        ("vpn-trustpoint 1 trustpoint\nVPN leaf", "VPN"),
        ("vpn-trustpoint 1\n trustpoint VPN leaf", "VPN"),
        # The phone expects the root's hash, and only the leaf's is there.
        ("vpn-trustpoint 1 trustpoint VPN\nroot", None),
        ("vpn-trustpoint 1 trustpoint VPN\n-NEW", None),
        ("vpn-trustpoint 1 trustpoint VPN-\nNEW\n leaf", None),
    ],
)
def test_a_vpn_trustpoint_is_joined_or_unresolved(line: str, hashed: str | None) -> None:
    (cnf,) = read(CME.format(line=line)).cnf_files
    assert cnf.group is not None
    assert [each.digest for each in cnf.group.hashes] == ([bytes.fromhex(DIGITS[hashed])] if hashed else [])
    assert bool(cnf.group.unresolved) == (hashed is None)


def test_a_line_that_leaves_a_head_end_open_is_listed_once() -> None:
    """The readers of IOS and of ASA both have it, each for its own places."""
    router = "webvpn gateway G\n ip address 203.0.113.9 port 443\n ssl trustpoint VPN\n inservice\n!\n"
    sources = read(router + ASA.format(line="ssl trust-point VPN\nfoo"))
    (item,) = (each for each in sources.unsettled if each.line == 10)
    assert {place.address for place in item.at} == {"203.0.113.9", "203.0.113.20"}


@pytest.mark.parametrize("line", [" dtls\n port 4433", " dtls port\n 4433", " dtls port 4433"])
def test_the_port_of_dtls_is_not_taken_for_that_of_tls(line: str) -> None:
    sources = read(ASA.format(line="ssl trust-point VPN outside").replace(" enable", f"{line}\n enable"))
    assert [place.port for each in sources.known for place in each.served_at] == [443]
    assert [(each.port, each.dtls_port) for each in sources.dtls_ports] == [(443, 4433)]
