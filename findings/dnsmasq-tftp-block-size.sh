#!/bin/bash
# Version: dnsmasq-base 2.90 (Debian 12), with DNS switched off (`--port=0`).
# Expected: a TFTP client that asks for `blksize` 65464 on loopback (MTU 65536) is given 65464: an option of DNS has no
#   say in TFTP.
# Behaviour: the size granted is `--edns-packet-max` + 1031, and never more: the file goes through the buffer for DNS
#   answers. The default of 1232 gives 2263. This option is the only way to larger TFTP blocks.
# Output seen: "asked for 65464: granted 2263; with --edns-packet-max=4096: granted 5127".
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
apt-get download -qq dnsmasq-base libnetfilter-conntrack3 libnfnetlink0 libnftables1 libnftnl11 libjansson4 libdbus-1-3 \
    2>/dev/null
for package in *.deb; do dpkg-deb -x "$package" root; done
dpkg-deb -f dnsmasq-base_*.deb Version | grep -q '^2\.90-' || { echo "dnsmasq-base 2.90 of Debian 12 is needed" >&2; exit 1; }
mkdir served
head -c 9000 /dev/zero >served/SEP00005E005311.cnf.xml
chmod -R a+rX .
cat > ask.py <<'PYTHON'
import os
import socket
import subprocess
import sys
import time

program = [f"{os.getcwd()}/root/usr/sbin/dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--port=0", "--enable-tftp"]
program += [f"--tftp-root={os.getcwd()}/served", "--interface=lo", "--bind-interfaces", "--user=root"]
libraries = {"LD_LIBRARY_PATH": f"{os.getcwd()}/root/usr/lib/x86_64-linux-gnu"}
with open("log", "w") as log:
    server = subprocess.Popen([*program, *sys.argv[1:]], env={**os.environ, **libraries}, stderr=log)
try:
    for _ in range(50):
        time.sleep(0.1)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(1)
            client.sendto(b"\0\1SEP00005E005311.cnf.xml\0octet\0blksize\00065464\0", ("127.0.0.1", 69))
            try:
                answer, transfer = client.recvfrom(2048)
            except TimeoutError:
                continue
            client.sendto(b"\0\5\0\0done\0", transfer)
            print(answer.removeprefix(b"\0\6blksize\0").rstrip(b"\0").decode())
            break
finally:
    server.terminate()
    server.wait()
PYTHON
alone=(unshare --net)  # the port is 69: in a network of its own
[ "$EUID" = 0 ] || alone=(unshare --map-root-user --net)
granted() { "${alone[@]}" sh -c 'ip link set lo up; exec python3 ask.py "$@"' - "$@"; }
default=$(granted)
wider=$(granted --edns-packet-max=4096)
echo "asked for 65464: granted $default; with --edns-packet-max=4096: granted $wider"
[ "$default" = $((1232 + 1031)) ] && [ "$wider" = $((4096 + 1031)) ]
