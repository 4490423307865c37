"""``python -m tests.harness.recorder [NAME...] [-o FOLDER]``: record the captures again (as root)."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.harness.recorder import network
from tests.harness.recorder.causes import CAUSES
from tests.harness.recorder.hiding import HIDING
from tests.harness.recorder.hiding_dtls import HIDING_DTLS
from tests.harness.recorder.papers import PAPERS
from tests.harness.recorder.samples import SAMPLES
from tests.harness.recorder.stage import Stage
from tests.harness.recorder.ways import WAYS

if TYPE_CHECKING:
    from collections.abc import Callable

TOP = Path(__file__).resolve().parents[3]

SETS = {"captures": SAMPLES, "tests/captures": (*CAUSES, *HIDING, *HIDING_DTLS, *WAYS, *PAPERS)}


def main() -> int:
    """Record the requested captures; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.harness.recorder", description="Record the sample captures again."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these recordings; needs -o")
    parser.add_argument("--set", choices=SETS, help="only this set of captures")
    parser.add_argument(
        "-o", "--output", type=Path, help="record into this folder instead of the project's own"
    )
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        parser.error("network namespaces need root: run it with sudo")
    if arguments.names and not arguments.output:
        parser.error("a part of the recordings needs a folder of its own: -o FOLDER")
    for folder, recordings in SETS.items():
        if arguments.set in (None, folder):
            record((arguments.output or TOP) / folder, recordings, arguments.names)
    return 0


def record(folder: Path, recordings: tuple[Callable[[Stage], None], ...], names: list[str]) -> None:
    """Record to a temporary folder, then rename it, so that a set is never incomplete."""
    fresh = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    stage = Stage(fresh)
    for recording in recordings:
        if not names or recording.__name__ in names:
            print(f"{folder.name}: {recording.__name__}", file=sys.stderr)
            recording(stage)
    stage.finish()
    shutil.rmtree(folder, ignore_errors=True)
    fresh.rename(folder)


if __name__ == "__main__":
    try:
        sys.exit(main())
    finally:
        network.remove()
