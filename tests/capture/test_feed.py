"""Test the first pass in its own process: numbers arrive in time, and no kind of exit hides a problem."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from certhash.capture import feed, observe, tshark
from certhash.capture.feed import Fed, Feed
from certhash.capture.first_pass.carve import carve
from certhash.capture.first_pass.decompress import Source
from certhash.capture.first_pass.layout import recognise
from tests.conftest import TOP

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

CAPTURE = TOP / "captures" / "ca-hash.pcapng"
VOICE = TOP / "captures" / "voice-vlan.pcap.gz"


def test_it_hands_over_what_carve_leaves_and_numbers_it() -> None:
    for path in (CAPTURE, VOICE):
        left = bytearray()
        with path.open("rb") as source:
            carved = carve(Source(source), left.extend)
        with path.open("rb", buffering=0) as source:
            under_way = Feed(source, 1, keys=False)
            assert under_way.outlets[0].read() == left
            frames = [under_way.frame(0, n + 1) for n in range(len(carved.frames))]
            fed = under_way.end()
        assert frames == [carved.frames.frame(n + 1) for n in range(len(frames))]
        assert fed.carved is not None
        assert (fed.carved.packets, fed.carved.status) == (carved.packets, carved.status)
        assert fed == Fed(fed.carved)


def test_it_ends_when_nobody_reads(tmp_path: Path) -> None:
    """The pass ends even if it has nothing more to write and much more to read."""
    large = tmp_path / "large.pcapng"
    content = CAPTURE.read_bytes()
    assert recognise(content[:24]) == "pcapng"  # sections of pcapng files may be concatenated
    large.write_bytes(content * (4 * (1 << 20) // len(content)))
    with large.open("rb", buffering=0) as source:
        under_way = Feed(source, 2, keys=False)
        assert under_way.end() == Fed()


def test_unknown_packet_number_from_tshark_does_not_block_the_feed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The pass still has more to write than a pipe holds when the number of the packet is needed."""

    def endless(_source: object, sink: Callable[[bytes], object], **_: object) -> None:
        while True:
            sink(bytes(1 << 16))

    monkeypatch.setattr(feed, "carve", endless)
    monkeypatch.setattr(feed, "_PATIENCE", 0.2)
    with CAPTURE.open("rb", buffering=0) as source:
        under_way = Feed(source, 1, keys=False)
        assert under_way.frame(0, 7) == 7
        assert "more packets" in under_way.end().failed


def test_a_pass_that_is_killed_hides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(feed, "carve", killed)
    seen = observe.observe(str(CAPTURE), observe.Settings(tshark.find()))
    assert seen.status == "complete"
    assert [len(h.certificates) for h in seen.handshakes] == [2]
    assert any("first pass failed" in problem.message for problem in seen.problems)
