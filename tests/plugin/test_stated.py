"""Test that the preference certhash.expect gives the same verdicts as ``--expect``, without cnf files."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING

import pytest
from tests.harness.packets import HEAD_END, conversation, identity, pcap, rejected, talk
from tests.plugin.conftest import ends

if TYPE_CHECKING:
    from tests.harness.packets import Identity
    from tests.plugin.machines import Machine

pytestmark = ends

LEAF, OTHER = identity("vpn.example"), identity("other.example")
SECOND = "203.0.113.77"
TWICE = ("-2", "-Y", "frame")  # like the window, which knows the whole capture when it shows a packet


def thumbprint(one: Identity) -> bytes:
    return hashlib.sha1(one.der, usedforsecurity=False).digest()


def cert_hash(one: Identity) -> str:
    return base64.b64encode(thumbprint(one)).decode()


def verdicts(place: Machine, frames: list[bytes], text: str) -> list[tuple[str, list[str]]]:
    """Return the verdicts of the frames with certificates, with their devices."""
    capture = place.put("stated.pcap", pcap(frames))
    options = (*TWICE, "-o", f"certhash.expect:{text}")
    rows = place.fields(capture, "certhash.verdict", "certhash.sha1", "certhash.device", options=options)
    return [(row["certhash.verdict"][0], row["certhash.device"]) for row in rows if row["certhash.sha1"]]


@pytest.mark.parametrize(
    "form", [cert_hash, lambda one: thumbprint(one).hex(), lambda one: thumbprint(one).hex(":").upper()]
)
@pytest.mark.parametrize("url", ["", f"=https://{HEAD_END}/phone"])
def test_every_form_with_and_without_a_url(place: Machine, form: object, url: str) -> None:
    assert callable(form)
    assert verdicts(place, conversation(talk(LEAF)), form(LEAF) + url) == [("match", ["-"])]
    assert verdicts(place, conversation(talk(OTHER)), form(LEAF) + url) == [("mismatch", ["-"])]
    assert verdicts(place, conversation(rejected(LEAF)), form(LEAF) + url) == [("rejected", ["-"])]


def test_one_server_that_presents_it_is_enough(place: Machine) -> None:
    frames = conversation(talk(OTHER), server=SECOND) + conversation(talk(LEAF))
    assert verdicts(place, frames, cert_hash(LEAF)) == [("unlisted", []), ("match", ["-"])]
    elsewhere = f"{cert_hash(LEAF)}=https://{SECOND}/phone"
    assert [verdict for verdict, _ in verdicts(place, frames, elsewhere)] == ["mismatch", "unlisted"]


def test_a_server_that_shows_no_certificate_may_be_the_one(place: Machine) -> None:
    hidden = conversation(talk(LEAF)[:1])  # the ClientHello alone
    frames = hidden + conversation(talk(OTHER), server=SECOND)
    assert verdicts(place, frames, cert_hash(LEAF)) == [("unlisted", [])]


def test_several_hashes(place: Machine) -> None:
    text = f"{cert_hash(OTHER)} ; {cert_hash(LEAF)}"
    assert verdicts(place, conversation(talk(LEAF)), text)[0][0] == "match"


def test_what_is_no_hash_is_named(place: Machine) -> None:
    capture = place.put("stated.pcap", pcap(conversation(talk(LEAF))))
    done = place.tshark(capture, "-o", "certhash.expect:zzz", "-Y", "certhash.verdict")
    assert "certhash.expect: zzz: not a hash" in done.stderr
