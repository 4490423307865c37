"""Generate damaged configuration files from valid ones: changed bytes, and misplaced tags."""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING

from tests.harness.fuzz.mutate import mutated

if TYPE_CHECKING:
    from collections.abc import Sequence

_TAG = re.compile(rb"<[^<>]*>")
_STRAY = (
    *(b"<", b">", b"&", b"/", b'"', b"</", b"/>", b"\r\n", b" ", b"\0", b"x:", b"1"),
    *(b"<!--", b"-->", b"<![CDATA[", b"]]>", b"<?x ", b"?>", b"&#50;", b"&lt;", b"&nbsp;"),
    *(b"\xfc", b"\xc3\xbc", b"\xef\xbb\xbf", b"vpnGroup", b"<vpnGroup/>", b"</vpnGroup>", b"<credentials>"),
    *(b"<url1/>", b"<certHash2>", b"<device>", b"</device>"),
)


def _tags(choose: random.Random, data: bytes) -> bytes:
    """Move, drop, repeat, swap or insert tags or other text, often near the vpnGroup."""
    tags = [found.span() for found in _TAG.finditer(data)]
    if not tags:
        return data
    group = data.find(b"<vpnGroup")
    near = [span for span in tags if 0 <= group <= span[0] < group + 700] or tags
    start, end = choose.choice(choose.choice((tags, near, near)))
    tag = data[start:end]
    low, high = max(start - 300, 0), min(end + 300, len(data))
    place = choose.randrange(low, high + 1)
    other = choose.choice(near)
    first, last = min(start, other[0]), max(end, other[1])
    ways = {
        "dropped": data[:start] + data[end:],
        "moved": data[:place] + tag + data[place:start] + data[end:]
        if place <= start
        else data[:start] + data[end : max(place, end)] + tag + data[max(place, end) :],
        "repeated": data[:place] + tag + data[place:],
        "exchanged": data[:start] + data[slice(*other)] + data[end:],
        "other case": data[:start] + tag.swapcase() + data[end:],
        "comment": data[:first] + b"<!-- " + data[first:last] + b" -->" + data[last:],
        "other number": data[:start]
        + tag.replace(b"1", choose.choice((b"2", b"3", b"", b"11")))
        + data[end:],
        "stray": data[:place] + choose.choice(_STRAY) + data[place:],
    }
    return choose.choice(list(ways.values()))


def mutants(samples: Sequence[bytes], count: int, seed: int = 0) -> list[bytes]:
    """Return damaged files, the same ones for the same arguments."""
    choose = random.Random(seed)
    made = []
    for _ in range(count):
        data = choose.choice(samples)
        for _ in range(choose.choice((1, 1, 1, 2, 3))):
            data = _tags(choose, data) if choose.random() < 0.75 else mutated(choose, data, 1)
        made.append(data)
    return made
