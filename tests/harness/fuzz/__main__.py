"""``python -m tests.harness.fuzz TARGET [CORPUS] [-max_total_time=S]``: fuzz a target, guided by coverage."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path


def main() -> None:
    """Start atheris with the samples of the target; failing inputs are written to ``crash-*``."""
    import atheris

    with atheris.instrument_imports(include=["certhash"]):
        from tests.harness.fuzz.targets import TARGETS
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in TARGETS:
        sys.exit(f"{__doc__}\ntargets: {', '.join(TARGETS)}")
    target, samples = TARGETS[name]
    with tempfile.TemporaryDirectory() as folder:
        for number, sample in enumerate(samples()):
            (Path(folder) / f"{number}").write_bytes(sample)
        # atheris 3.0 stores the result of every comparison that it watches. carve compares arrays, about
        # 50 kB per input, so a run ends at libFuzzer's limit of 2 GB after about 40,000 inputs, and the next
        # one continues from CORPUS. carve itself stores nothing.
        atheris.Setup([sys.argv[0], *sys.argv[2:], folder], target)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
