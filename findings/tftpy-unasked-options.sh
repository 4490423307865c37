#!/bin/bash
# Version: tftpy 0.8.7 (PyPI), its server.
# Expected: an option acknowledgement (OACK) has options of the request only, and their names are the same in any letter
#   case (both RFC 2347). A phone that asks for `tsize` alone gets an OACK with `tsize` alone.
# Behaviour: `blksize 512` is acknowledged although nobody asked, with `tsize`, `timeout` or `windowsize` in the request;
#   RFC 2347 lets a client end such a transfer with error 8. `TSIZE` and `BLKSIZE` in capitals get none of what they ask.
# Output seen: "tsize: blksize=512 tsize=600; windowsize: blksize=512; TSIZE BLKSIZE: blksize=512".
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check tftpy==0.8.7
mkdir served
head -c 600 /dev/zero >served/SEP00005E005311.cnf.xml
cat > ask.py <<'PYTHON'
import logging
import socket
import threading

import tftpy

logging.disable(logging.CRITICAL)
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
server = tftpy.TftpServer("served")
threading.Thread(target=server.listen, args=("127.0.0.1", port), daemon=True).start()
server.is_running.wait()


def acknowledged(**options):
    asked = b"".join(f"{name}\0{value}\0".encode() for name, value in options.items())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(10)
        client.sendto(b"\0\1SEP00005E005311.cnf.xml\0octet\0" + asked, ("127.0.0.1", port))
        answer, transfer = client.recvfrom(2048)
        client.sendto(b"\0\5\0\0done\0", transfer)
    parts = answer.removeprefix(b"\0\6").decode().split("\0")[:-1]
    return " ".join(f"{name}={value}" for name, value in sorted(zip(parts[::2], parts[1::2])))


seen = (acknowledged(tsize=0), acknowledged(windowsize=4), acknowledged(TSIZE=0, BLKSIZE=1024))
print("tsize: {}; windowsize: {}; TSIZE BLKSIZE: {}".format(*seen))
raise SystemExit(seen != ("blksize=512 tsize=600", "blksize=512", "blksize=512"))
PYTHON
venv/bin/python ask.py
