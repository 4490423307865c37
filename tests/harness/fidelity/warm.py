"""Compare what sharkd, as the warm engine, and a tshark for each capture make of the same captures.

``python -m tests.harness.fidelity.warm 200 --damaged 200`` compares the recorded captures, 200 generated ones
and 200 damaged ones, with every Wireshark of ``tests.harness.wiresharks``, forwards, backwards and in a
random order.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.conftest import TOP
from tests.harness import wiresharks
from tests.harness.fidelity.generate import generate
from tests.harness.fidelity.kitchen import Kitchen
from tests.harness.fuzz.mutate import lying, mutated, struck

from certhash.capture.engine import Engine
from certhash.capture.observe import Settings, observe, with_engine
from certhash.capture.tshark import find
from certhash.capture.workplace import workplace

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from certhash.capture.engine import Dissected
    from certhash.capture.workplace import Workplace

RECORDED = [
    path for folder in ("captures", "tests/captures") for path in sorted((TOP / folder).glob("*.pcap*"))
]


class Compared(NamedTuple):
    """How many captures were read, how many times the engine did it, and which came out differently."""

    captures: int
    dissected: int
    different: list[str]


class Counting(Engine):
    """An engine that counts the captures that it has dissected."""

    dissected = 0

    def dissect(self, capture: bytes | bytearray, seconds: float = 30.0) -> Dissected:
        """Dissect a capture, and count it."""
        result = super().dissect(capture, seconds)
        self.dissected += 1
        return result


@contextmanager
def warm(settings: Settings) -> Iterator[tuple[Counting, Workplace]]:
    """Return an engine, and the place that it shares with the tsharks for captures that it does not read."""
    with workplace(settings.tshark.path, keylog=settings.keylog) as place:
        engine = Counting(settings.tshark.path, place, settings.timeout, settings.tshark)
        assert with_engine(settings, place).engine is not None, "these settings exclude an engine"
        try:
            yield engine, place._replace(engine=engine)
        finally:
            engine.close()


def compare(tshark: str, orders: Sequence[Sequence[Path]]) -> Compared:
    """Read captures with a tshark each, and then with one engine, in all orders."""
    settings = Settings(find(tshark))
    with workplace(settings.tshark.path) as place:
        expected = {path: observe(str(path), settings, place) for path in set().union(*map(set, orders))}
    with warm(settings) as (engine, place):
        different = [
            f"{path} (order {number})"
            for number, order in enumerate(orders, 1)
            for path in order
            if observe(str(path), settings, place) != expected[path]
        ]
        return Compared(len(expected), engine.dissected, different)


def damaged(folder: Path, count: int, seed: int = 0) -> list[Path]:
    """Write damaged copies of recorded captures, in three ways."""
    found = []
    for number in range(seed, seed + count):
        choose = random.Random(number)
        way = (mutated, lying, struck)[number % 3]
        sources = [path for path in RECORDED if way is not struck or path.suffix == ".pcap"] or RECORDED
        source = choose.choice(sources)
        path = folder / f"damaged-{number:05}{source.suffix}"
        path.write_bytes(way(choose, source.read_bytes()))
        found.append(path)
    return found


def main() -> int:
    """Compare, print what came out, and return 1 where anything differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int, help="how many captures to generate")
    parser.add_argument("--damaged", type=int, default=0, help="how many damaged captures to make")
    parser.add_argument("--seed", type=int, default=0, help="the number of the first of either")
    parser.add_argument("--folder", type=Path, action="append", default=[], help="more captures; repeatable")
    parser.add_argument("--version", action="append", default=[], help="of Wireshark; all by default")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        numbers = range(arguments.seed, arguments.seed + arguments.count)
        paths = [*RECORDED, *(each.path for each in generate(folder, numbers, Kitchen(folder)))]
        paths += damaged(folder, arguments.damaged, arguments.seed)
        paths += [path for given in arguments.folder for path in sorted(given.rglob("*")) if path.is_file()]
        mixed = random.Random(arguments.seed).sample(paths, len(paths))
        wrong = 0
        for version in arguments.version or wiresharks.SUITES:
            result = compare(str(wiresharks.unpacked(version).tshark), (paths, paths[::-1], mixed))
            wrong += len(result.different)
            print(
                f"{version}: {result.captures} captures in 3 orders, {result.dissected} times by the engine, "
                f"{len(result.different)} differences",
                *result.different,
                sep="\n  ",
                flush=True,
            )
        print("load average", *(f"{each:.1f}" for each in os.getloadavg()))
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
