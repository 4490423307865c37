"""Define the fields that tshark prints without the plugin's lines, and parse them into a row per frame.

This is for a tshark without Lua, and for live captures, where the plugin only adds fields of its own.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from certhash.capture.records import (
    AlertRecord,
    CertificateRecord,
    DownloadRecord,
    Row,
    answers_in,
    microseconds,
    numbers_in,
    senders,
)
from certhash.capture.tls import PRE_SHARED_KEY
from certhash.capture.tshark import AGGREGATOR, SEPARATOR
from certhash.model import Endpoint

if TYPE_CHECKING:
    from collections.abc import Callable

    from certhash.capture.records import Values
    from certhash.model import Transport

_BASE = (
    "frame.number",
    "frame.time_epoch",
    "frame.protocols",
    "ip.src",
    "ip.dst",
    "ipv6.src",
    "ipv6.dst",
    "eth.src",
    "eth.dst",
    "tcp.stream",
    "tcp.srcport",
    "tcp.dstport",
    "udp.stream",
    "udp.srcport",
    "udp.dstport",
    "tcp.analysis.lost_segment",
    "tcp.analysis.ack_lost_segment",
    "_ws.short",
    "dns.resp.name",
    "dns.resp.type",
    "dns.a",
    "dns.aaaa",
    "dns.cname",
)
_TLS = (
    "record.content_type",
    "record.version",
    "handshake.type",
    "handshake.version",
    "handshake.extensions.supported_version",
    "handshake.random",
    "handshake.session_id",
    "handshake.ciphersuite",
    "handshake.extension.type",
    "handshake.extensions_server_name",
    "handshake.certificate",
    "handshake.certificate_length",
    "alert_message.level",
    "alert_message.desc",
)
_PLUGIN = (
    "certhash.sha1",
    "certhash.position",
    "certhash.certificate_bytes",
    "certhash.cnf_downloaded",
    "certhash.cnf_content",
    "certhash.cnf_client",
    "certhash.cnf_server",
    "_ws.lua.error",
)
_STOCK = (*_BASE, *(f"tls.{f}" for f in _TLS), *(f"dtls.{f}" for f in _TLS))
"""The fields of a tshark without the plugin."""
_WITH_PLUGIN = _STOCK + _PLUGIN

_STOCK_FILTER = " || ".join(
    (
        *(
            f"{p}.{f}"
            for p in ("tls", "dtls")
            for f in (
                "handshake",
                "handshake.type",
                "handshake.certificate",
                "alert_message",
                "record.content_type == 20",
            )
        ),
        "dns.a || dns.aaaa",
        # Not evidence by themselves: they explain why a certificate is not seen.
        "tcp.analysis.lost_segment || tcp.analysis.ack_lost_segment || ((tcp || udp) && _ws.short)",
    )
)
_PLUGIN_FILTER = f"{_STOCK_FILTER} || certhash.cnf_downloaded || _ws.lua.error"

_COLUMN = {name: number for number, name in enumerate(_WITH_PLUGIN)}
_PAIR = {name: (_COLUMN[f"tls.{name}"], _COLUMN[f"dtls.{name}"]) for name in _TLS}
_HEX = re.compile(r"(?:[0-9A-Fa-f]{2})+")


def names(*, plugin: bool) -> tuple[str, ...]:
    """Return the fields that tshark must print."""
    return _WITH_PLUGIN if plugin else _STOCK


def display_filter(*, plugin: bool) -> str:
    """Return the display filter for frames that may be relevant."""
    return _PLUGIN_FILTER if plugin else _STOCK_FILTER


def parse(line: str, *, plugin: bool) -> Row:
    """Parse one line of tshark's output.

    Raises:
        ValueError: the line does not have the fields of :func:`names`.
    """
    cells = line.split(SEPARATOR)
    if len(cells) != len(names(plugin=plugin)):
        raise ValueError(f"tshark printed {len(cells)} fields instead of {len(names(plugin=plugin))}")
    if not plugin:
        cells += [""] * len(_PLUGIN)

    def values(name: str) -> list[str]:
        cell = cells[_COLUMN[name]]
        return cell.split(AGGREGATOR) if cell else []

    def both(name: str) -> list[str]:
        tls, dtls = _PAIR[name]
        return [v for cell in (cells[tls], cells[dtls]) if cell for v in cell.split(AGGREGATOR)]

    def numbers(name: str) -> tuple[int, ...]:
        tls, dtls = _PAIR[name]
        return numbers_in(cells[tls]) + numbers_in(cells[dtls])

    transport, stream, ports = _transport(values)
    addresses = _addresses(values, cells[_COLUMN["frame.protocols"]])
    source, destination = (Endpoint(*end) for end in zip(addresses, ports, strict=True))
    levels, codes = numbers("alert_message.level"), numbers("alert_message.desc")
    certificates, unpaired = _certificates(both("handshake.certificate"), numbers, values, plugin=plugin)
    return Row(
        frame=int(cells[_COLUMN["frame.number"]]),
        time=microseconds(cells[_COLUMN["frame.time_epoch"]] or "0"),
        timed=bool(cells[_COLUMN["frame.time_epoch"]]),
        transport=transport,
        stream=stream,
        source=source,
        destination=destination,
        dtls=bool(cells[_COLUMN["dtls.record.content_type"]]),
        lost=senders(
            (source, cells[_COLUMN["tcp.analysis.lost_segment"]]),
            (destination, cells[_COLUMN["tcp.analysis.ack_lost_segment"]]),
        ),
        cut=bool(cells[_COLUMN["_ws.short"]]),
        content_types=numbers("record.content_type"),
        types=numbers("handshake.type"),
        record_version=next(iter(numbers("record.version")), None),
        version=next(iter(numbers("handshake.version")), None),
        supported_version=next(iter(numbers("handshake.extensions.supported_version")), None),
        random=next(iter(both("handshake.random")), None),
        session_id=next(iter(both("handshake.session_id")), None),
        cipher_suite=next(iter(numbers("handshake.ciphersuite")), None),
        server_name=next(iter(both("handshake.extensions_server_name")), None),
        has_pre_shared_key=PRE_SHARED_KEY in numbers("handshake.extension.type"),
        certificates=certificates,
        unpaired_hashes=unpaired,
        alerts=tuple(AlertRecord(level, code) for level, code in zip(levels, codes, strict=False)),
        answers=answers_in(values) if cells[_COLUMN["dns.resp.name"]] else (),
        downloads=_downloads(values) if cells[_COLUMN["certhash.cnf_downloaded"]] else (),
        plugin_error=bool(cells[_COLUMN["_ws.lua.error"]]),
    )


def _certificates(
    hexes: list[str], numbers: Callable[[str], tuple[int, ...]], values: Values, *, plugin: bool
) -> tuple[tuple[CertificateRecord, ...], int]:
    """Combine each certificate with the plugin's fields for it; also count hashes beyond one each."""
    hashes, positions = values("certhash.sha1"), values("certhash.position")
    unpaired = len(hashes) - len(hexes) if plugin else 0
    if not hexes:
        return (), unpaired
    lengths = numbers("handshake.certificate_length")
    rest = iter(values("certhash.certificate_bytes"))
    paired = bool(hashes) and len(hashes) == len(positions) == len(hexes)
    found = []
    for i, text in enumerate(hexes):
        der = _der(text)
        stated = lengths[i] if len(lengths) == len(hexes) else len(der)
        if len(der) != stated:
            der = _der(next(rest, "")) or der
        position, sha1 = (int(positions[i]), hashes[i]) if paired else (i, None)
        found.append(CertificateRecord(position, der, len(der) == stated, sha1))
    return tuple(found), unpaired


@lru_cache(maxsize=1024)
def _der(text: str) -> bytes:
    """Parse a cell of hex; cached, as the same certificates recur."""
    return bytes.fromhex(text) if _HEX.fullmatch(text) else b""


def _transport(values: Values) -> tuple[Transport, int | None, tuple[int | None, int | None]]:
    """Return the innermost transport of the frame; EAP-TLS has none."""
    name: Transport
    for name in ("tcp", "udp"):
        streams = values(f"{name}.stream")
        if streams:
            ports = (values(f"{name}.{side}port")[-1:] for side in ("src", "dst"))
            source, destination = (int(port[0]) if port else None for port in ports)
            return name, int(streams[-1]), (source, destination)
    return "other", None, (None, None)


def _addresses(values: Values, protocols: str) -> tuple[str, str]:
    """Return the innermost addresses: the outer ones of a tunnel belong to other hosts."""
    order = [p for p in protocols.split(":") if p in ("ip", "ipv6")]
    for kind in (order[-1] if order else "ip", "ip", "ipv6", "eth"):
        sources, destinations = values(f"{kind}.src"), values(f"{kind}.dst")
        if sources and destinations:
            return sources[-1], destinations[-1]
    return "", ""


def _downloads(values: Values) -> tuple[DownloadRecord, ...]:
    names, contents = values("certhash.cnf_downloaded"), values("certhash.cnf_content")
    clients, servers = values("certhash.cnf_client"), values("certhash.cnf_server")
    return tuple(
        DownloadRecord(
            name,
            bytes.fromhex(contents[i]) if i < len(contents) and _HEX.fullmatch(contents[i]) else b"",
            clients[i] if i < len(clients) else None,
            servers[i] if i < len(servers) else None,
        )
        for i, name in enumerate(names)
    )
