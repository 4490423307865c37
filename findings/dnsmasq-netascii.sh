#!/bin/bash
# Version: dnsmasq-base 2.90 (Debian 12).
# Expected: in TFTP's netascii mode a line feed goes out as CR LF and a carriage return as CR NUL (RFC 1350, RFC 764), so
#   that the client gets its file back. A file with CR LF at its line ends goes out with CR NUL CR LF.
# Behaviour: each line feed becomes CR LF; a carriage return goes out bare. `a CR LF b CR c` arrives as
#   `a CR CR LF b CR c`: CR CR and CR c mean nothing in netascii. atftpd 0.8.0 beside it encodes both.
# Output seen: "dnsmasq 2.90: b'a\r\r\nb\rc'; atftpd 0.8.0: b'a\r\x00\r\nb\r\x00c'".
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
apt-get download -qq atftpd dnsmasq-base libnetfilter-conntrack3 libnfnetlink0 libnftables1 libnftnl11 libjansson4 \
    libdbus-1-3 libwrap0 libpcre3 2>/dev/null
for package in *.deb; do dpkg-deb -x "$package" root; done
dpkg-deb -f dnsmasq-base_*.deb Version | grep -q '^2\.90-' || { echo "dnsmasq-base 2.90 of Debian 12 is needed" >&2; exit 1; }
dpkg-deb -f atftpd_*.deb Version | grep -q '^0\.8\.0-' || { echo "atftpd 0.8.0 of Debian 12 is needed" >&2; exit 1; }
mkdir served
printf 'a\r\nb\rc' >served/file.txt
chmod -R a+rX .
cat > ask.py <<'PYTHON'
import os
import socket
import subprocess
import sys
import time

top = os.getcwd()
SERVERS = {
    "dnsmasq": ["dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--port=0", "--enable-tftp", "--interface=lo",
                "--bind-interfaces", "--user=root", f"--tftp-root={top}/served"],
    "atftpd": ["atftpd", "--daemon", "--no-fork", "--user", "root.root", f"{top}/served"],
}
name, *arguments = SERVERS[sys.argv[1]]
libraries = {"LD_LIBRARY_PATH": f"{top}/root/usr/lib/x86_64-linux-gnu"}
with open("log", "w") as log:
    server = subprocess.Popen(
        [f"{top}/root/usr/sbin/{name}", *arguments], env={**os.environ, **libraries}, stdout=log, stderr=log
    )
try:
    for _ in range(50):
        time.sleep(0.1)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(1)
            client.sendto(b"\0\1file.txt\0netascii\0", ("127.0.0.1", 69))
            try:
                answer, transfer = client.recvfrom(2048)
            except TimeoutError:
                continue
            client.sendto(b"\0\4\0\1", transfer)
            print(answer.removeprefix(b"\0\3\0\1"))
            break
finally:
    server.terminate()
    server.wait()
PYTHON
alone=(unshare --net)  # the port is 69: in a network of its own
[ "$EUID" = 0 ] || alone=(unshare --map-root-user --net)
fetched() { "${alone[@]}" sh -c 'ip link set lo up; exec python3 ask.py "$@"' - "$@"; }
dnsmasq=$(fetched dnsmasq)
atftpd=$(fetched atftpd)
echo "dnsmasq 2.90: $dnsmasq; atftpd 0.8.0: $atftpd"
[ "$dnsmasq" = "b'a\r\r\nb\rc'" ] && [ "$atftpd" = "b'a\r\x00\r\nb\r\x00c'" ]
