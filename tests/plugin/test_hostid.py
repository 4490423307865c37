"""Test that plugin and command agree on the host-ID check, with the same cases for both."""

from __future__ import annotations

import ipaddress
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.x509.oid import NameOID
from tests.harness.packets import HEAD_END, conversation, identity, talk
from tests.plugin.desk import DEVICE, LEAF, Desk, told, value
from tests.plugin.machines import PLUGIN

from certhash.headend import parse_url
from certhash.hostid import doubt

if TYPE_CHECKING:
    from tests.plugin.machines import Machine

SCRIPT = Path(__file__).parent / "lua" / "hostid.lua"
CHECKS = {"1": True, "0": False, "": None}
URLS = [
    "https://vpn.example.com/x",
    "https://VPN.example.com.:8443/x",
    "https://203.0.113.10/x",
    "https://[2001:db8::10]/x",
    "https://[::ffff:203.0.113.10]/x",
    "https://host.example.com/x",
]


def certificate(subject: x509.Name, *names: x509.GeneralName, critical: bool = False) -> bytes:
    return identity(subject, names=names, critical=critical).der


def common(*names: str) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, name) for name in names]
    return x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Example"), *attributes])


def address(text: str) -> x509.IPAddress:
    return x509.IPAddress(ipaddress.ip_address(text))


BMP = x509.Name(
    [x509.NameAttribute(NameOID.COMMON_NAME, "vpn.example.com", x509.name._ASN1Type.BMPString)]  # noqa: SLF001
)
CERTIFICATES = [
    certificate(common("vpn.example.com")),
    certificate(common("VPN.Example.COM.")),
    certificate(common("IOS-Self-Signed-Certificate-1", "vpn.example.com")),
    certificate(common("203.0.113.10")),
    certificate(common("2001:DB8:0::10")),
    certificate(common()),
    certificate(BMP),
    certificate(common("vpn.example.com"), x509.DNSName("host.example.com"), critical=True),
    certificate(common("vpn.example.com"), x509.RFC822Name("a@vpn.example.com")),
    certificate(common("x"), x509.DNSName("*.example.com"), address("203.0.113.10")),
    certificate(common("x"), address("2001:db8::10"), x509.DNSName("203.0.113.10")),
    certificate(common("vpn.example.com\x00.example.net")),
    b"no certificate",
]


def test_the_plugin_and_the_command_say_the_same(lua: str, tmp_path: Path) -> None:
    cases = [(der, check, url) for der in CERTIFICATES for check in CHECKS for url in URLS]
    told_of = tmp_path / "cases"
    told_of.write_text("".join(f"{der.hex()}\t{check}\t{url}\n" for der, check, url in cases))
    done = subprocess.run(
        [lua, SCRIPT, PLUGIN / "certhash", told_of], capture_output=True, text=True, check=True, timeout=20
    )
    expected = [doubt(CHECKS[check], der, parse_url(url)) or "" for der, check, url in cases]
    # The plugin escapes unprintable characters later than the command.
    shown = [line.replace("\0", "\\00") for line in done.stdout.split("\n")[:-1]]
    assert shown == expected
    accepted = [bool(text) for text in expected if "is on" in text or not text]
    assert 50 < sum(accepted) < len(accepted) - 50


def test_a_match_whose_names_the_phone_refuses_is_warned_of(place: Machine) -> None:
    """The warning is in the tree and in the expert information; there is none if the check is off."""
    frames = conversation(talk(LEAF))
    shown = {}
    off = b"<enableHostIDCheck>0</enableHostIDCheck>"
    assert off in told(value(LEAF))
    for state, switch in (("default", b""), ("on", off.replace(b"0", b"1")), ("off", off)):
        content = told(value(LEAF)).replace(off, switch)
        desk = Desk(place, {f"{DEVICE}.cnf.xml": content}, frames)
        assert desk.verdicts() == ["match"]
        shown[state] = desk.frames("certhash.expert.host_id"), desk.words()
    why = f"and the certificate does not name {HEAD_END} (it names vpn.example): the phone then ends"
    assert f"{DEVICE}: the host-ID check is on, {why}" in shown["on"][1]
    assert (
        f"{DEVICE}: the host-ID check is on by default (the file does not say), {why}" in shown["default"][1]
    )
    assert shown["on"][0] == shown["default"][0] == desk.frames("certhash.expert.match")
    assert shown["off"][0] == []
    assert "host-ID" not in shown["off"][1]
