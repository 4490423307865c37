"""Test that the plugin's lines and tshark's own fields give the same results for a capture."""

from __future__ import annotations

import shutil
import struct
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from certhash.capture import records, tshark, workplace
from certhash.capture.observe import observe
from tests.conftest import CUT_SHORT, RECORDED, TOP
from tests.harness.benchmarks.captures import Turn, tls_flow, write_pcap

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from certhash.capture.observe import Settings
    from certhash.model import Observation


@pytest.fixture(scope="module")
def without_lua(settings: Settings) -> Settings:
    """Give the settings of a tshark that is taken to have no Lua."""
    return replace(settings, tshark=replace(settings.tshark, lua=None))


def test_the_plugins_lines_say_what_tsharks_fields_say(
    joined: bytes, settings: Settings, without_lua: Settings, tmp_path: Path
) -> None:
    path = tmp_path / "joined.pcapng"
    path.write_bytes(joined)
    for capture, least in ((path, len(RECORDED)), (CUT_SHORT, 1)):
        lines, fields = observe(str(capture), settings), observe(str(capture), without_lua)
        assert (lines.hash_source, fields.hash_source) == ("plugin", "python")
        # The plugin adds the files that phones fetch or do not get.
        same = {"hash_source": "plugin", "downloads": (), "failed": ()}
        assert replace(lines, **same) == replace(fields, **same)
        assert len(lines.handshakes) >= least


def hello(name: bytes) -> bytes:
    """Return a record with a ClientHello of TLS 1.2 that asks for a name."""
    names = struct.pack(">BH", 0, len(name)) + name
    extension = struct.pack(">HHH", 0, len(names) + 2, len(names)) + names
    body = b"\x03\x03" + bytes(range(32)) + b"\0" + b"\0\x02\xc0\x2f" + b"\x01\0"
    body += struct.pack(">H", len(extension)) + extension
    message = b"\x01" + len(body).to_bytes(3, "big") + body
    return b"\x16\x03\x01" + struct.pack(">H", len(message)) + message


@pytest.mark.parametrize(
    "name",
    [
        b"a\nb\x1ec\x1fd\te",
        b"\x1e" * 40,
        b"nul\0b.example",
        b"\xff\xfe\x80.example",
        "v\u2028.example".encode(),
    ],
    ids=["separators", "cells", "nul", "no UTF-8", "line separator"],
)
def test_names_that_strangers_write_stay_one_value(
    tmp_path: Path, name: bytes, settings: Settings, without_lua: Settings
) -> None:
    path = tmp_path / "name.pcap"
    with path.open("wb") as output:
        write_pcap(output, tls_flow(1, [Turn("client", hello(name))]))
    lines, fields = observe(str(path), settings), observe(str(path), without_lua)
    assert not lines.problems
    (handshake,) = lines.handshakes
    assert handshake.server_name
    assert not set(handshake.server_name) & {"\n", tshark.SEPARATOR, tshark.AGGREGATOR}
    if fields.handshakes:
        assert handshake == fields.handshakes[0]
    else:
        # tshark prints a separator in a name unescaped: the row cannot be parsed, which is reported.
        assert "cannot be parsed" in fields.problems[0].message


def test_lines_that_the_plugin_does_not_write_are_refused() -> None:
    lines = records.Lines()
    assert lines.parse(tshark.SEPARATOR.join(("certhash", "1", "4.0.17", "5.2", "tls dtls"))) is None
    assert lines.greeted
    assert lines.parse(tshark.SEPARATOR.join(("7", "no such field"))) is None
    assert lines.failures == [(7, "no such field")]
    for cells in (("",) * 3, ("1",) * 8, ("", "0", "AAAA", "xx"), ("x", *("",) * 6)):
        with pytest.raises(ValueError, match=r"."):
            lines.parse(tshark.SEPARATOR.join(cells))
    row = ("1", "0", "tcp", "0", "", "", "", "22", "11", *("",) * 8, "9 0 1", "", "")
    with pytest.raises(ValueError, match="unknown transport or certificate"):
        lines.parse(tshark.SEPARATOR.join(row))


@pytest.mark.parametrize(
    ("was", "becomes", "complaint"),
    [
        (
            "local function line(tvb, pinfo)",
            "local function line(tvb, pinfo) error('out of order')",
            "out of order",
        ),
        ("local M = {", "local M = ", None),
    ],
    ids=["fails on every frame", "does not load"],
)
def test_a_plugin_that_fails_hides_nothing(  # noqa: PLR0913, PLR0917 - fixtures
    was: str,
    becomes: str,
    complaint: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: Settings,
    alone: Callable[[Path], Observation],
) -> None:
    path = TOP / "captures" / "match.pcapng"
    right = alone(path)
    shutil.copytree(TOP / "plugin", tmp_path / "plugin")
    batch = tmp_path / "plugin" / "certhash" / "batch.lua"
    batch.write_text(batch.read_text("utf-8").replace(was, becomes), "utf-8")
    monkeypatch.setattr(workplace, "plugin_folder", lambda: tmp_path / "plugin")
    seen = observe(str(path), settings)
    assert seen.hash_source == "python"
    assert seen.handshakes == right.handshakes
    assert seen.certificates == right.certificates
    if complaint:
        assert complaint in seen.problems[0].message
