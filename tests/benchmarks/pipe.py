"""Carve a capture into tshark and hash what it finds: the least that an audit does, to time the two alone.

``python tests/benchmarks/pipe.py CAPTURE [TSHARKS]``; prints what passed and how long each part took.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from certhash.capture.carve import carve
from certhash.capture.decompress import Source

FIELDS = ("frame.number", "tcp.stream", "tls.handshake.type", "tls.handshake.certificate")
FILTER = "tls.handshake.type == 1 or tls.handshake.certificate or tls.alert_message.desc"


def command() -> list[str]:
    """Return what runs tshark."""
    words = ["tshark", "-n", "-r", "-", "-Y", FILTER, "-T", "fields"]
    words += [part for name in FIELDS for part in ("-e", name)]
    words += ["-o", "tcp.reassemble_out_of_order:TRUE", "-o", "tcp.try_heuristic_first:TRUE"]
    for name in ("x509sat", "x509ce", "pkix1explicit", "pkix1implicit"):
        words += ["--disable-protocol", name]
    return words


def collect(output: list[bytes], tshark: subprocess.Popen[bytes]) -> None:
    """Read all that a tshark prints."""
    assert tshark.stdout is not None
    output += tshark.stdout


def main() -> None:
    """Carve, dissect, hash."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        home = {**os.environ, "WIRESHARK_CONFIG_DIR": folder}
        pipe, nowhere = subprocess.PIPE, subprocess.DEVNULL
        tsharks = [
            subprocess.Popen(command(), stdin=pipe, stdout=pipe, stderr=nowhere, env=home)
            for _ in range(int(sys.argv[2]) if sys.argv[2:] else 1)
        ]
        lines: list[bytes] = []
        readers = [threading.Thread(target=collect, args=(lines, tshark)) for tshark in tsharks]
        for reader in readers:
            reader.start()
        inputs = [tshark.stdin for tshark in tsharks if tshark.stdin]
        with Source(Path(sys.argv[1]).open("rb", buffering=0)) as source:
            carved = carve(source, *(part.write for part in inputs))
        for part in inputs:
            part.close()
        carving = time.perf_counter() - started
        for reader, tshark in zip(readers, tsharks, strict=True):
            reader.join()
            tshark.wait()
    hashes = {hashlib.sha256(line.split(b"\t")[3]).hexdigest() for line in lines}
    passed = " + ".join(str(len(frames)) for frames in carved.shares)
    print(f"{carved.packets} packets, {passed} passed on, {len(lines)} rows, {len(hashes) - 1} chains")
    print(f"carved after {carving:.2f} s, done after {time.perf_counter() - started:.2f} s")


if __name__ == "__main__":
    main()
