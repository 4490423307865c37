"""Test that the plugin does not change the dissection of any packet, unless the user enables that."""

from __future__ import annotations

import subprocess
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import pytest
from tests.conftest import need
from tests.harness.fidelity.kinds import upgrades
from tests.harness.fidelity.test_openvpn import RECORDED as OPENVPN
from tests.harness.fidelity.test_openvpn import presented
from tests.harness.packets import pcap
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
    """A connection in which TLS begins after another protocol."""

    name: str
    packets: range
    """Their numbers in the capture of all."""
    expected: Counter[str]
    """The SHA-1 of its certificates, in hex."""


@pytest.fixture(scope="module")
def upgraded(kitchen: Kitchen) -> tuple[bytes, list[Upgrade]]:
    """Return a capture of what the plugin can follow and then what it leaves alone, and what is in it.

    A heuristic of Wireshark that has claimed a connection is asked before all others from then on, so HTTP's
    would claim what the plugin follows.
    """
    script = next(s for s in kitchen.scripts if s.of_client > 1 and len(s.clear) > s.of_client)
    made = {name: (frames, expected) for name, frames, expected in upgrades(script)}
    packets: list[bytes] = []
    kinds = []
    for name in (*FOLLOWED, *LEFT_ALONE):
        frames, expected = made[name]
        kinds.append(
            Upgrade(name, range(len(packets) + 1, len(packets) + len(frames) + 1), Counter(expected))
        )
        packets += frames
    return pcap(packets), kinds


@pytest.mark.parametrize("first", [(), HEURISTICS_FIRST], ids=["ports-first", "heuristics-first"])
def test_packets_are_dissected_as_without_the_plugin(
    place: Machine, upgraded: tuple[bytes, list[Upgrade]], tmp_path: Path, first: tuple[str, ...]
) -> None:
    (tmp_path / "upgraded.pcap").write_bytes(upgraded[0])
    content = joined([*SAMPLES, OPENVPN, tmp_path / "upgraded.pcap"], tmp_path / "all.pcapng")
    capture = place.put("unasked/capture", content)
    assert protocols(place, capture, *plugin(place), *first) == protocols(place, capture, *first)


def test_the_preference_follows_tls_into_other_protocols(
    place: Machine, upgraded: tuple[bytes, list[Upgrade]]
) -> None:
    capture = place.put("unasked/upgraded", upgraded[0])
    options = (*HEURISTICS_FIRST, *FOLLOW)
    with_it = protocols(place, capture, *plugin(place), *options)
    alone = protocols(place, capture, *HEURISTICS_FIRST)
    rows = place.fields(capture, "certhash.thumbprint", options=options)
    for kind in upgraded[1]:
        here = slice(kind.packets.start - 1, kind.packets.stop - 1)
        assert (with_it[here] == alone[here]) == (kind.name in LEFT_ALONE), kind.name
        found = Counter(
            sha1
            for row in rows
            if int(row["frame.number"][0]) in kind.packets
            for sha1 in row["certhash.thumbprint"]
        )
        assert found == kind.expected, kind.name


def test_the_preference_follows_openvpn_to_any_port(place: Machine) -> None:
    capture = place.put("unasked/openvpn.pcapng", OPENVPN.read_bytes())
    rows = place.fields(capture, "certhash.thumbprint", options=(*HEURISTICS_FIRST, *FOLLOW))
    found = Counter(sha1 for row in rows for sha1 in row["certhash.thumbprint"])
    assert found == Counter(sha1 for tunnel in presented().values() for sha1 in tunnel)
