"""Read captured frames from dumpcap's file, set their times, damage them, and write them."""

from __future__ import annotations

import gzip
import struct
import subprocess
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence
    from pathlib import Path

_FILE_HEADER = struct.Struct("<IHHiIII")
_RECORD = struct.Struct("<IIII")
_MAGIC = 0xA1B2C3D4  # times in microseconds
_ETHERNET = 1
_LONGEST = 262144


@dataclass(frozen=True)
class Frame:
    """One Ethernet frame: the time in microseconds since 1970 and its bytes."""

    time: int
    data: bytes

    @property
    def ethertype(self) -> int:
        """The EtherType, of an untagged frame."""
        return int.from_bytes(self.data[12:14])

    @property
    def payload(self) -> bytes:
        """Return the payload of TCP or UDP; empty for any other frame."""
        return self.data[self._payload_offset() :][: self._payload_length()]

    def _transport(self) -> tuple[int, int, int]:
        """Return the protocol, the offset of its header, and the end of the IP packet."""
        if self.ethertype == 0x0800:
            header = (self.data[14] & 0x0F) * 4
            return self.data[23], 14 + header, 14 + int.from_bytes(self.data[16:18])
        if self.ethertype == 0x86DD:
            return self.data[20], 54, 54 + int.from_bytes(self.data[18:20])
        return -1, len(self.data), len(self.data)

    def _payload_offset(self) -> int:
        protocol, offset, end = self._transport()
        if protocol == 6:
            return offset + (self.data[offset + 12] >> 4) * 4
        return offset + 8 if protocol == 17 else end

    def _payload_length(self) -> int:
        return self._transport()[2] - self._payload_offset()

    @property
    def protocol(self) -> int:
        """Return the protocol above IP: 6 for TCP, 17 for UDP; -1 without IP."""
        return self._transport()[0]

    @property
    def opens_tcp(self) -> bool:
        """Return whether this is the first packet of a TCP connection."""
        protocol, offset, _ = self._transport()
        return protocol == 6 and self.data[offset + 13] == 0x02

    @property
    def ports(self) -> tuple[int, int]:
        """Return source and destination port; (0, 0) for a frame that is neither TCP nor UDP."""
        protocol, offset, _ = self._transport()
        if protocol not in (6, 17):
            return 0, 0
        return int.from_bytes(self.data[offset : offset + 2]), int.from_bytes(
            self.data[offset + 2 : offset + 4]
        )


def read(path: Path) -> list[Frame]:
    """Read a pcap file (little-endian, microseconds, as dumpcap writes it here).

    An incomplete last record, which dumpcap is still writing, is ignored.
    """
    data = path.read_bytes()
    frames: list[Frame] = []
    if len(data) < _FILE_HEADER.size:
        return frames
    assert _FILE_HEADER.unpack_from(data)[0] == _MAGIC, path
    position = _FILE_HEADER.size
    while position + _RECORD.size <= len(data):
        seconds, fraction, kept, _ = _RECORD.unpack_from(data, position)
        position += _RECORD.size
        if position + kept > len(data):
            break
        frames.append(Frame(seconds * 1_000_000 + fraction, data[position : position + kept]))
        position += kept
    return frames


def write(frames: Sequence[Frame], path: Path) -> None:
    """Write the frames as ``.pcap``, ``.pcap.gz`` or ``.pcapng``, according to the suffix."""
    content = bytearray(_FILE_HEADER.pack(_MAGIC, 2, 4, 0, 0, _LONGEST, _ETHERNET))
    for frame in frames:
        seconds, fraction = divmod(frame.time, 1_000_000)
        content += _RECORD.pack(seconds, fraction, len(frame.data), len(frame.data)) + frame.data
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(bytes(content), mtime=0))
    elif path.suffix == ".pcap":
        path.write_bytes(content)
    else:
        plain = path.with_suffix(".plain.pcap")
        plain.write_bytes(content)
        edit(plain, path, "-F", "pcapng")
        plain.unlink()


def edit(source: Path, target: Path, *options: str) -> None:
    """Let editcap write ``target``, for pcapng, secrets and snapshot lengths."""
    subprocess.run(["editcap", *options, source, target], check=True, capture_output=True)


def dated(frames: Sequence[Frame], start: dt.datetime) -> list[Frame]:
    """Shift the times of the frames so that the first one has ``start``."""
    shift = round(start.timestamp() * 1_000_000) - frames[0].time
    return [replace(frame, time=frame.time + shift) for frame in frames]


def paused(frames: Sequence[Frame], at: int, seconds: int) -> list[Frame]:
    """Insert a pause before frame ``at`` (an index): later frames are shifted by that many seconds."""
    later = [replace(frame, time=frame.time + seconds * 1_000_000) for frame in frames[at:]]
    return [*frames[:at], *later]


def tagged(frames: Sequence[Frame], vlan: int) -> list[Frame]:
    """Add an 802.1Q tag to every frame, as in a capture on a trunk port (a phone's voice VLAN)."""
    tag = struct.pack(">HH", 0x8100, 5 << 13 | vlan)  # 5 is the priority of phones for voice
    return [replace(frame, data=frame.data[:12] + tag + frame.data[12:]) for frame in frames]


def flight(frames: Sequence[Frame], port: int) -> list[int]:
    """Return the indexes of the first consecutive segments that the server at ``port`` sends."""
    indexes: list[int] = []
    for index, frame in enumerate(frames):
        if not frame.payload:
            continue
        if frame.ports[0] == port:
            indexes.append(index)
        elif indexes:
            break
    return indexes


def swapped(frames: Sequence[Frame], first: int, second: int) -> list[Frame]:
    """Swap two frames, as if one had overtaken the other; the times stay in order."""
    out = list(frames)
    out[first] = replace(frames[first], data=frames[second].data)
    out[second] = replace(frames[second], data=frames[first].data)
    return out


def patched(frame: Frame, at: int, data: bytes) -> Frame:
    """Replace bytes of the payload at an offset, and correct the checksum (IPv4 only)."""
    protocol, offset, end = frame._transport()  # noqa: SLF001 - the same module
    place = frame._payload_offset() + at  # noqa: SLF001
    packet = bytearray(frame.data)
    packet[place : place + len(data)] = data
    checksum = offset + (16 if protocol == 6 else 6)
    packet[checksum : checksum + 2] = bytes(2)
    pseudo = packet[26:34] + struct.pack(">HH", protocol, end - offset)
    summed = bytes(pseudo + packet[offset:end]) + bytes((end - offset) % 2)
    total = sum(struct.unpack(f">{len(summed) // 2}H", summed))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    packet[checksum : checksum + 2] = (total ^ 0xFFFF).to_bytes(2)
    return replace(frame, data=bytes(packet))


def without(frames: Sequence[Frame], index: int) -> list[Frame]:
    """Drop one frame, like a capture that could not keep up."""
    return [*frames[:index], *frames[index + 1 :]]
