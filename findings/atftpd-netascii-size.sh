#!/bin/bash
# Version: atftpd 0.8.0 (Debian 12).
# Expected: a read request for netascii with `tsize` 0 (RFC 2349: tell me the size) is answered with the number of bytes
#   that will come, or without `tsize`, as dnsmasq does.
# Behaviour: the client's own 0 comes back as the size, and then the file. A client that holds the size against what it got,
#   or takes its buffer from it, has an empty file. In octet mode the size is right.
# Output seen: "octet: tsize 18, 18 bytes sent; netascii: tsize 0, 19 bytes sent".
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
apt-get download -qq atftpd libwrap0 libpcre3 2>/dev/null
for package in *.deb; do dpkg-deb -x "$package" root; done
dpkg-deb -f atftpd_*.deb Version | grep -q '^0\.8\.0-' || { echo "atftpd 0.8.0 of Debian 12 is needed" >&2; exit 1; }
mkdir served
printf '<device>\n</device>' >served/file.xml
chmod -R a+rX .
cat > ask.py <<'PYTHON'
import os
import socket
import subprocess
import sys
import time

top = os.getcwd()
mode = sys.argv[1].encode()
program = [f"{top}/root/usr/sbin/atftpd", "--daemon", "--no-fork", "--user", "root.root", f"{top}/served"]
libraries = {"LD_LIBRARY_PATH": f"{top}/root/usr/lib/x86_64-linux-gnu"}
with open("log", "w") as log:
    server = subprocess.Popen(program, env={**os.environ, **libraries}, stdout=log, stderr=log)
try:
    for _ in range(50):
        time.sleep(0.1)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(1)
            client.sendto(b"\0\1file.xml\0" + mode + b"\0tsize\0000\0", ("127.0.0.1", 69))
            try:
                options, transfer = client.recvfrom(2048)
            except TimeoutError:
                continue
            client.sendto(b"\0\4\0\0", transfer)
            data = client.recv(2048)
            client.sendto(b"\0\4\0\1", transfer)
            size = options.removeprefix(b"\0\6tsize\0").rstrip(b"\0").decode()
            print(f"tsize {size}, {len(data) - 4} bytes sent")
            break
finally:
    server.terminate()
    server.wait()
PYTHON
alone=(unshare --net)  # the port is 69: in a network of its own
[ "$EUID" = 0 ] || alone=(unshare --map-root-user --net)
fetched() { "${alone[@]}" sh -c 'ip link set lo up; exec python3 ask.py "$@"' - "$@"; }
octet=$(fetched octet)
netascii=$(fetched netascii)
echo "octet: $octet; netascii: $netascii"
[ "$octet" = "tsize 18, 18 bytes sent" ] && [ "$netascii" = "tsize 0, 19 bytes sent" ]
