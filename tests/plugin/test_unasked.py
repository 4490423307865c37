"""Test that the plugin does not change the dissection of any packet, unless the user enables that."""

from __future__ import annotations

import subprocess
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import pytest
from tests.conftest import need
from tests.harness.fidelity.kinds import pcap, upgrades
from tests.harness.fidelity.test_openvpn import RECORDED as OPENVPN
from tests.harness.fidelity.test_openvpn import presented
from tests.plugin.machines import TOP

if TYPE_CHECKING:
    from pathlib import Path

    from tests.harness.fidelity.kitchen import Kitchen
    from tests.plugin.machines import Machine

SAMPLES = sorted(
    path
    for folder in ("captures", "tests/captures")
    for path in (TOP / folder).iterdir()
    if path.name.endswith((".pcap", ".pcapng", ".pcap.gz")) and path.name != "cut-short.pcap"
)
"""All captures except one that mergecap refuses."""
FOLLOWED = ("after-rdp", "after-rdp-elsewhere", "after-http-upgrade", "after-http-upgrade-elsewhere")
LEFT_ALONE = ("after-smtp", "after-connect-elsewhere")
HEURISTICS_FIRST = ("-o", "tcp.try_heuristic_first:TRUE", "-o", "udp.try_heuristic_first:TRUE")
"""Otherwise the dissector of a registered port precedes every heuristic."""
FOLLOW = ("-o", "certhash.follow_tls:TRUE")


def protocols(place: Machine, capture: Path, *options: str) -> list[str]:
    """Return the number and the protocols of every frame."""
    done = place.run(
        "tshark", "-n", "-r", capture, *options, "-T", "fields", "-e", "frame.number", "-e", "frame.protocols"
    )
    assert done.stdout, done.stderr
    assert "Lua" not in done.stderr, done.stderr
    return done.stdout.splitlines()


def plugin(place: Machine) -> tuple[str, str]:
    """Return the options that load the plugin."""
    return "-X", f"lua_script:{place.plugin}"


def joined(captures: list[Path], target: Path) -> bytes:
    """Return one capture with the packets of all, in this order."""
    subprocess.run([need("mergecap"), "-a", "-F", "pcapng", "-w", target, *captures], check=True)
    return target.read_bytes()


class Upgrade(NamedTuple):
    """A capture in which TLS begins after another protocol, and the SHA-1 (hex) of its certificates."""

    name: str
    capture: bytes
    expected: tuple[str, ...]


@pytest.fixture(scope="module")
def kinds(kitchen: Kitchen) -> list[Upgrade]:
    """Return what the plugin can follow, and what it leaves alone."""
    script = next(s for s in kitchen.scripts if s.of_client > 1 and len(s.clear) > s.of_client)
    return [
        Upgrade(name, pcap(frames), expected)
        for name, frames, expected in upgrades(script)
        if name in {*FOLLOWED, *LEFT_ALONE}
    ]


@pytest.mark.parametrize("first", [(), HEURISTICS_FIRST], ids=["ports-first", "heuristics-first"])
def test_packets_are_dissected_as_without_the_plugin(
    place: Machine, kinds: list[Upgrade], tmp_path: Path, first: tuple[str, ...]
) -> None:
    contents = [joined([*SAMPLES, OPENVPN], tmp_path / "all.pcapng")]
    contents += [kind.capture for kind in kinds]
    for content in contents:
        capture = place.put("unasked/capture", content)
        assert protocols(place, capture, *plugin(place), *first) == protocols(place, capture, *first)


def test_the_preference_follows_tls_into_other_protocols(place: Machine, kinds: list[Upgrade]) -> None:
    for kind in kinds:
        capture = place.put("unasked/capture", kind.capture)
        options = (*HEURISTICS_FIRST, *FOLLOW)
        alone = protocols(place, capture, *HEURISTICS_FIRST)
        assert (protocols(place, capture, *plugin(place), *options) == alone) == (kind.name in LEFT_ALONE)
        rows = place.fields(capture, "certhash.thumbprint", options=options)
        assert {sha1 for row in rows for sha1 in row["certhash.thumbprint"]} == set(kind.expected), kind.name


def test_the_preference_follows_openvpn_to_any_port(place: Machine) -> None:
    capture = place.put("unasked/openvpn.pcapng", OPENVPN.read_bytes())
    rows = place.fields(capture, "certhash.thumbprint", options=(*HEURISTICS_FIRST, *FOLLOW))
    found = Counter(sha1 for row in rows for sha1 in row["certhash.thumbprint"])
    assert found == Counter(sha1 for tunnel in presented().values() for sha1 in tunnel)
