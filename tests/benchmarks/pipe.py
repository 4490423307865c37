"""Carve a capture into tshark and hash what it finds: the least that an audit does, to time the two alone.

``python tests/benchmarks/pipe.py CAPTURE [PREFERENCE...]``; prints what passed and how long each part took.
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
from certhash.capture.source import open_capture

FIELDS = ("frame.number", "tcp.stream", "tls.handshake.type", "tls.handshake.certificate")
FILTER = "tls.handshake.type == 1 or tls.handshake.certificate or tls.alert_message.desc"


def main() -> None:
    """Carve, dissect, hash."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        command = ["tshark", "-n", "-r", "-", "-Y", FILTER, "-T", "fields"]
        command += [part for name in FIELDS for part in ("-e", name)]
        for preference in ("tcp.reassemble_out_of_order:TRUE", "tcp.try_heuristic_first:TRUE", *sys.argv[2:]):
            command += ["-o", preference]
        for name in ("x509sat", "x509ce", "pkix1explicit", "pkix1implicit"):
            command += ["--disable-protocol", name]
        home = {**os.environ, "WIRESHARK_CONFIG_DIR": folder}
        pipe = subprocess.PIPE
        with subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, env=home
        ) as tshark:
            assert tshark.stdin is not None
            assert tshark.stdout is not None
            lines: list[bytes] = []
            reader = threading.Thread(target=lines.extend, args=(tshark.stdout,))
            reader.start()
            with open_capture(Path(sys.argv[1])) as source:
                carved = carve(source, tshark.stdin.write)
            tshark.stdin.close()
            carving = time.perf_counter() - started
            reader.join()
    hashes = {hashlib.sha256(line.split(b"\t")[3]).hexdigest() for line in lines}
    print(
        f"{carved.packets} packets, {len(carved.frames)} passed on, {len(lines)} rows, {len(hashes) - 1} chains;"
        f" carved after {carving:.2f} s, done after {time.perf_counter() - started:.2f} s"
    )


if __name__ == "__main__":
    main()
