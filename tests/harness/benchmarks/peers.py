"""Find and hash the certificates of a capture with other programs, as far as each can.

``python tests/harness/benchmarks/peers.py PEER CAPTURE``; where CAPTURE is a folder, each file in it in turn.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

FIELD = "tls.handshake.certificate"


def tshark(capture: Path) -> None:
    """Use stock tshark with default preferences; hash the certificates here."""
    command = [
        "tshark",
        "-n",
        "-r",
        str(capture),
        "-Y",
        FIELD,
        "-T",
        "fields",
        "-e",
        "frame.number",
        "-e",
        FIELD,
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            frame, _, certificates = line.strip().partition("\t")
            for certificate in certificates.split(","):
                digest = hashlib.sha1(bytes.fromhex(certificate), usedforsecurity=False).digest()
                print(frame, base64.b64encode(digest).decode())


def pyshark(capture: Path) -> None:
    """Loop over pyshark's packets, as its documentation shows."""
    import pyshark as library

    loop = asyncio.new_event_loop()
    packets = library.FileCapture(str(capture), display_filter=FIELD, keep_packets=False, eventloop=loop)
    for packet in packets:
        for field in packet.tls.handshake_certificate.all_fields:
            der = bytes.fromhex(field.get_default_value().replace(":", ""))
            print(packet.number, base64.b64encode(hashlib.sha1(der, usedforsecurity=False).digest()).decode())
    packets.close()


def ndpi(capture: Path) -> None:
    """Run nDPI's reader, which prints the SHA-1 of each server's certificate."""
    subprocess.run(["ndpiReader", "-v", "2", "-i", capture], check=True)


def suricata(capture: Path) -> None:
    """Run Suricata with its TLS log alone."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Path(folder) / "suricata.yaml"
        settings.write_text(
            "%YAML 1.1\n---\noutputs:\n  - eve-log:\n      enabled: yes\n      filetype: regular\n"
            "      filename: eve.json\n      types:\n        - tls:\n            extended: yes\n"
            "app-layer:\n  protocols:\n    tls:\n      enabled: yes\n"
        )
        command = [
            "suricata",
            "-r",
            str(capture),
            "-c",
            str(settings),
            "-l",
            folder,
            "-k",
            "none",
            "-S",
            "/dev/null",
        ]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def main() -> None:
    """Run one peer on one capture, or on all of a folder."""
    peer = {"tshark": tshark, "pyshark": pyshark, "ndpi": ndpi, "suricata": suricata}[sys.argv[1]]
    capture = Path(sys.argv[2])
    for path in sorted(capture.iterdir()) if capture.is_dir() else [capture]:
        peer(path)


if __name__ == "__main__":
    main()
