"""Write frames as capture files of many kinds."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from tests.harness.packets import block

if TYPE_CHECKING:
    from collections.abc import Sequence

Frame = tuple[bytes, int]
"""The bytes of a frame on the wire, and the number of captured bytes."""

ETHERNET, NULL, LOOP, RAW, COOKED, COOKED_2 = 1, 0, 108, 101, 113, 276


def relinked(frame: bytes, link: int) -> bytes:
    """Convert an Ethernet frame without VLAN tags to another link type."""
    kind, packet = frame[12:14], frame[14:]
    version = packet[0] >> 4 if packet else 4
    match link:
        case 0:
            return struct.pack("<I", 2 if version == 4 else 24) + packet
        case 108:
            return struct.pack(">I", 2 if version == 4 else 24) + packet
        case 101:
            return packet
        case 113:
            return struct.pack(">HHH8s", 0, 1, 6, frame[6:12] + bytes(2)) + kind + packet
        case 276:
            return kind + struct.pack(">HIHBB8s", 0, 1, 1, 0, 6, frame[6:12] + bytes(2)) + packet
        case _:
            return frame


def as_pcap(
    frames: Sequence[Frame], order: str = "<", link: int = ETHERNET, nanoseconds: bool = False
) -> bytes:
    """Return a pcap file."""
    magic = 0xA1B23C4D if nanoseconds else 0xA1B2C3D4
    out = [struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 262144, link)]
    for number, (frame, captured) in enumerate(frames):
        data = relinked(frame, link)
        here = len(data) if captured >= len(frame) else min(captured, len(data))
        seconds, fraction = 1_700_000_000 + number // 1000, number % 1000 * 1000
        out.append(struct.pack(order + "IIII", seconds, fraction, here, len(data)) + data[:here])
    return b"".join(out)


def section(order: str) -> bytes:
    """Return a section header."""
    return block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))


def interface(order: str, link: int, snaplen: int = 0) -> bytes:
    """Return an interface description."""
    return block(order, 1, struct.pack(order + "HHI", link, 0, snaplen))


def packet(order: str, number: int, frame: Frame, interface_number: int = 0, kind: int = 6) -> bytes:
    """Return a packet: an enhanced (6), a simple (3) or an obsolete (2) block, options included."""
    data = relinked(frame[0], RAW if interface_number else ETHERNET)
    here = len(data) if frame[1] >= len(frame[0]) else min(frame[1], len(data))
    if kind == 3:
        return block(order, 3, struct.pack(order + "I", len(data)) + data)
    time = 1_700_000_000_000_000 + number * 1000
    head = (interface_number, time >> 32, time & 0xFFFFFFFF, here, len(data))
    fields = struct.pack(order + ("IIIII" if kind == 6 else "HxxIIII"), *head)
    comment = struct.pack(order + "HH", 1, 4) + b"test" + bytes(4)
    return block(order, kind, fields + data[:here] + bytes(-here % 4) + comment)


def as_pcapng(frames: Sequence[Frame], secrets: bytes = b"") -> bytes:
    """Return a pcapng file with two sections, of either byte order, and two interfaces in each."""
    out = []
    half = len(frames) // 2
    number = 0
    for order, part in (("<", frames[:half]), (">", frames[half:])):
        out += [section(order), interface(order, ETHERNET), interface(order, RAW)]
        if secrets:
            out.append(block(order, 10, struct.pack(order + "II", 0x544C534B, len(secrets)) + secrets))
        for frame in part:
            which = number % 5 == 0 and frame[0][12:14] in (b"\x08\x00", b"\x86\xdd")
            kind = (
                3
                if number % 7 == 0 and frame[1] >= len(frame[0]) and not which
                else 2
                if number % 11 == 0
                else 6
            )
            out.append(packet(order, number, frame, int(which), kind))
            if number % 50 == 0:
                out.append(block(order, 5, struct.pack(order + "III", 0, 0, 0)))
            number += 1
    return b"".join(out)
