"""Test the parsing of URLs: equal head-ends compare equal, and nothing is guessed."""

from __future__ import annotations

import contextlib
import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certhash.headend import HeadEnd, parse_url


@pytest.mark.parametrize(
    ("url", "host", "port", "is_address"),
    [
        ("https://10.201.160.201/SSLVPNphone", "10.201.160.201", 443, True),
        ("https://10.1.1.1:8443/x", "10.1.1.1", 8443, True),
        ("  HTTPS://VPN.Example.COM./Phone  ", "vpn.example.com", 443, False),
        ("https://vpn.example.com", "vpn.example.com", 443, False),
        ("https://vpn.example.com:/x", "vpn.example.com", 443, False),
        ("https://vpn.example.com:0443?a:b@c", "vpn.example.com", 443, False),
        ("https://[2001:DB8:0::1]/x", "2001:db8::1", 443, True),
        ("https://[::ffff:10.1.1.1]:444/x", "10.1.1.1", 444, True),
        ("https://m\u00fcnchen.example/x", "xn--mnchen-3ya.example", 443, False),
        ("https://cme_1/x", "cme_1", 443, False),
    ],
)
def test_urls(url: str, host: str, port: int, is_address: bool) -> None:
    assert parse_url(url) == HeadEnd(host, port, is_address)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "empty"),
        ("10.1.1.1/SSLVPNphone", "https://"),
        ("http://10.1.1.1/x", "http://"),
        ("https:///x", "no host"),
        ("https://a b/x", "blanks"),
        ("https://a/\x1b[2J", "control"),
        ("https://user@host/x", "user name"),
        ("https://10.1.1.300/x", "neither an IPv4"),
        ("https://10.1.1/x", "neither an IPv4"),
        ("https://010.1.1.1/x", "neither an IPv4"),
        ("https://2001:db8::1/x", "[ ]"),
        ("https://[2001:db8::1/x", "[ ]"),
        ("https://[fe80::1%eth0]/x", "not an IPv6"),
        ("https://[10.1.1.1x]/x", "not an IPv6"),
        ("https://host:70000/x", "port"),
        ("https://host:0/x", "port"),
        ("https://host:https/x", "port"),
        ("https://-a/x", "not a valid name"),
        ("https://a..b/x", "not a valid name"),
        ("https://" + "a" * 64 + "/x", "not a valid name"),
        ("https://%VPN%/x", "not a valid name"),
        ("https://\u00fc..b/x", "not a valid name"),
    ],
)
def test_refusals(url: str, words: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]+$") as refusal:
        parse_url(url)
    assert words in str(refusal.value)


@given(st.ip_addresses(), st.integers(1, 65535))
def test_addresses_in_any_spelling(address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int) -> None:
    spellings = {str(address), address.exploded, str(address).upper()}
    brackets = "[{}]" if address.version == 6 else "{}"
    found = {parse_url(f"https://{brackets.format(text)}:{port}/x") for text in spellings}
    wanted = (address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None) or address
    assert found == {HeadEnd(str(wanted), port, True)}


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    for url in (text, "https://" + text):
        with contextlib.suppress(ValueError):
            found = parse_url(url)
            assert parse_url(f"https://{found}/") == found


def test_written_form() -> None:
    assert str(HeadEnd("2001:db8::1", 443, True)) == "[2001:db8::1]:443"
    assert str(HeadEnd("vpn.example", 8443, False)) == "vpn.example:8443"
