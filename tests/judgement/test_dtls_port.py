"""Test which handshakes over UDP are with a head-end whose configuration moves DTLS to another port."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Literal

import pytest
from msgspec.structs import replace
from tests.judgement.test_correlate import HEAD_END, LEAF, OTHER, TOOL, handshake, observation

from certhash.cnf.cleaning import clean
from certhash.cnf.pasted import read_pasted
from certhash.cnf.stated import read_stated
from certhash.judgement.correlate import correlate
from certhash.model import DtlsPort, Endpoint, Sources

if TYPE_CHECKING:
    from collections.abc import Sequence

ADDRESS = HEAD_END.address
MOVED = DtlsPort("asa.txt", 9, "dtls port 4433", ADDRESS, 443, 4433)
ASA = f"""interface GigabitEthernet0/0
 nameif outside
 ip address {ADDRESS} 255.255.255.0
!
ssl trust-point VPN outside
webvpn
 port 8443
 enable outside
 dtls port 4433
!
"""
IOS = f"""webvpn gateway G
 ip address {ADDRESS} port 8443
 ssl trustpoint VPN
 inservice
 dtls port 4433
!
"""


def verdict(
    chain: Sequence[bytes],
    moved: tuple[DtlsPort, ...],
    port: int = 4433,
    transport: Literal["tcp", "udp"] = "udp",
    url: str = f"https://{ADDRESS}/x",
) -> str:
    """Judge one handshake at a port of the head-end's address, for a phone that expects LEAF."""
    made, certificates = handshake(1, chain, server=Endpoint(ADDRESS, port))
    value = base64.b64encode(hashlib.sha1(LEAF, usedforsecurity=False).digest()).decode()
    sources = Sources(read_stated([f"{value}={url}"]), dtls_ports=moved)
    seen = observation((replace(made, transport=transport), certificates))
    return correlate([seen], sources, TOOL).expectations[0].verdict


def test_dtls_at_the_port_of_the_configuration_is_with_the_head_end() -> None:
    assert verdict([LEAF], (MOVED,)) == "match"
    assert verdict([OTHER], (MOVED,)) == "mismatch"
    assert verdict([LEAF], ()) == "unseen"


@pytest.mark.parametrize(
    "moved",
    [
        replace(MOVED, address="203.0.113.99"),
        replace(MOVED, port=8443),
        replace(MOVED, dtls_port=4434),
    ],
)
def test_dtls_port_of_another_head_end_or_port_does_not_apply(moved: DtlsPort) -> None:
    assert verdict([LEAF], (moved,)) == "unseen"


def test_it_is_of_no_matter_to_tls() -> None:
    """The port of a URL is that of TLS; what listens there over TCP at the DTLS port is something else."""
    assert verdict([LEAF], (MOVED,), transport="tcp") == "unseen"
    assert verdict([LEAF], (MOVED,), url=f"https://{ADDRESS}:4433/x") == "match"  # it is the URL's own port


def test_a_phone_uses_443_whatever_the_configuration_says() -> None:
    assert verdict([LEAF], (MOVED,), port=443) == "match"


@pytest.mark.parametrize(
    ("text", "ports"),
    [
        (ASA, [(8443, 4433)]),
        (IOS, [(8443, 4433)]),
        (ASA.replace("enable outside", "enable outside tls-only"), []),
        (ASA + "asa(config-webvpn)# no dtls port\n", [(8443, 4433)]),  # no section is open here
        (ASA.replace(" dtls port 4433\n", " dtls port 4433\n no dtls port\n"), []),
        (ASA.replace(f" ip address {ADDRESS} 255.255.255.0\n", " ip address dhcp setroute\n"), []),
        (IOS.replace(" inservice\n", ""), []),
    ],
)
def test_what_a_configuration_says(text: str, ports: list[tuple[int, int]]) -> None:
    sources = read_pasted(clean(text), "asa.txt")
    assert sources is not None
    assert [(each.port, each.dtls_port) for each in sources.dtls_ports] == ports
    assert {each.address for each in sources.dtls_ports} <= {ADDRESS}


@pytest.mark.parametrize(
    "text",
    [
        ASA.replace("4433", "70000"),
        ASA.replace("4433", "four"),
        IOS.replace("4433", "4433x"),
        f"dtls port 4433\n{IOS}",
    ],
)
def test_a_line_that_cannot_be_read_is_named(text: str) -> None:
    sources = read_pasted(clean(text), "asa.txt")
    assert sources is not None
    assert any("dtls port" in problem.message for problem in sources.problems)
