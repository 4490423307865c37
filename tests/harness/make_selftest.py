"""``python -m tests.harness.make_selftest`` (as root): record the self-test capture of ``certhash doctor``.

A phone downloads its configuration over TFTP and connects to an OpenSSL head-end that sends a chain of two
certificates; the two segments with the chain arrive in the wrong order. The expected result is stored beside
the capture: the hashes of the generated certificates, computed by ``hashlib``.
"""

from __future__ import annotations

import base64
import hashlib
import json
import sys
import tempfile
from pathlib import Path

from tests.harness.recorder import certificates, frames, network, phone_files, servers
from tests.harness.recorder.phone import TLS_1_2, Phone
from tests.harness.recorder.stage import Stage
from tests.harness.recorder.visits import TFTP_SERVER

PACKAGE = Path(__file__).resolve().parents[2] / "scripts" / "certhash"
HEAD_END = "203.0.113.250"


def main() -> int:
    """Record the capture, and write both files to the package."""
    phone = Phone("SEP00005E0053FE", "198.51.100.250", version=TLS_1_2)
    root = certificates.authority("Self-test CA")
    identity = certificates.server("selftest.example.com", by=root)
    vpn = phone_files.vpn_group([f"https://{HEAD_END}/SSLVPNphone"], [certificates.cert_hash(root)])
    with tempfile.TemporaryDirectory() as folder:
        stage = Stage(Path(folder))
        with stage.cable(phone):
            tftp = stage.work / "tftp"
            stage.cnf(phone.file, phone_files.cme(vpn), served_at=tftp)
            head_end = servers.head_end(
                identity, HEAD_END, stage.work, protocol="tls1_2", chain=(root.certificate,)
            )
            with (
                servers.tftp(TFTP_SERVER, tftp, stage.work / "tftpd.log"),
                head_end,
                stage.recording() as caught,
            ):
                phone.fetch_over_tftp(TFTP_SERVER, stage.work)
                phone.connect()
    first, second, *_ = frames.flight(caught, 443)
    frames.write(
        frames.dated(frames.swapped(caught, first, second), stage.first_day), PACKAGE / "selftest.pcap"
    )
    chain = [certificates.der(each) for each in (identity.certificate, root.certificate)]
    expected = {
        "device": phone.name,
        "verdict": "match",
        "sha1": [
            base64.b64encode(hashlib.sha1(der, usedforsecurity=False).digest()).decode() for der in chain
        ],
    }
    (PACKAGE / "selftest.json").write_text(json.dumps(expected, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    finally:
        network.remove()
