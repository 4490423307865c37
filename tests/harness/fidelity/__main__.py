"""``python -m tests.harness.fidelity FOLDER...`` (or ``--generate N``): compare with independent readers."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.harness.fidelity.compare import compare, differs_from_what_was_made
from tests.harness.fidelity.generate import generate
from tests.harness.fidelity.kitchen import Kitchen


def main() -> int:
    """Compare, print the result, and return 1 if a difference has no explanation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("captures", nargs="*", type=Path, help="captures, and folders of them")
    parser.add_argument(
        "--generate", type=int, default=0, metavar="N", help="compare N generated captures too"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the first generated capture")
    parser.add_argument("--keep", type=Path, help="the folder in which generated captures stay")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        captures = list(arguments.captures)
        made = {}
        if arguments.generate:
            folder = arguments.keep or Path(temporary)
            folder.mkdir(exist_ok=True)
            numbers = range(arguments.seed, arguments.seed + arguments.generate)
            made = {str(g.path): g for g in generate(folder, numbers, Kitchen(Path(temporary)))}
            captures += [g.path for g in made.values()]
        result = compare(captures)
    wrong = [
        d
        for seen in result.seen
        if seen.path in made
        for d in differs_from_what_was_made(made[seen.path], seen)
    ]
    for difference in (*result.differences, *wrong):
        print(f"{difference.path}: {difference.reader}: {difference.what}")
        print(f"    {difference.explained or 'DEFECT: there is no explanation'}")
    print(f"captures {len(result.seen)}, certificates {result.certificates}")
    for reader, count in result.read.items():
        print(f"{reader}: {count} certificates, {result.agreed[reader]} captures read the same")
    unexplained = len(result.defects) + len(wrong)
    print(f"differences {len(result.differences) + len(wrong)}, unexplained {unexplained}")
    return bool(unexplained)


if __name__ == "__main__":
    sys.exit(main())
