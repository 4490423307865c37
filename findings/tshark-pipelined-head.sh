#!/bin/bash
# Version: tshark 4.0.17 (Debian 12). The same in 4.4.19 (Debian 13) and 4.6.9 (unstable).
# Expected: a client that sends HEAD and GET without waiting in between (pipelining, RFC 9112) gets two responses; the one to
#   HEAD has no body. `tshark --export-objects http` writes the file that GET brought.
# Behaviour: Wireshark keeps the newest request only, takes both responses for answers to GET, and the second one, status
#   line and all, for the body of the first. What it writes is as long as the file, begins with `HTTP/1.1 200 OK`, and
#   lacks the file's end.
# Output seen: "responses: 1 of 2; written: 40 bytes, first line: HTTP/1.1 200 OK".
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
tshark --version 2>/dev/null | grep -q '4\.0\.17' || { echo "tshark 4.0.17 is needed: apt-get install tshark, on Debian 12" >&2; exit 1; }
python3 - <<'PYTHON'
import socket
import struct

PHONE, SERVER = socket.inet_aton("192.0.2.9"), socket.inet_aton("192.0.2.1")
HEAD = b"HEAD /file.xml HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n"
GET = b"GET /file.xml HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n"
FILE = b"<device><vpnGroup/></device>".ljust(40)
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n"
packets = []
sent = {True: 1, False: 1}


def say(from_phone, flags, payload=b""):
    ends, ports = (PHONE + SERVER, (50000, 80)) if from_phone else (SERVER + PHONE, (80, 50000))
    tcp = struct.pack("!HHIIBBHHH", *ports, sent[from_phone], sent[not from_phone], 0x50, flags, 65000, 0, 0)
    sent[from_phone] += len(payload) + (flags & 2) // 2
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 40 + len(payload), 0, 0, 64, 6, 0) + ends
    packets.append(ip + tcp + payload)


say(True, 2)
say(False, 18)
say(True, 16)
say(True, 24, HEAD)
say(True, 24, GET)
say(False, 24, ANSWER)
say(False, 24, ANSWER + FILE)
with open("head.pcap", "wb") as out:
    out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101))
    for number, packet in enumerate(packets):
        out.write(struct.pack("<IIII", 1700000000, number, len(packet), len(packet)) + packet)
PYTHON
responses=$(tshark -n -r head.pcap -Y http.response -T fields -e http.response.code 2>/dev/null | tr ',' '\n' | grep -c 200)
tshark -n -q -r head.pcap --export-objects http,written 2>/dev/null >&2
file=$(find written -type f | head -n 1)
size=$(stat -c %s "$file")
first=$(head -n 1 "$file" | tr -d '\r')
echo "responses: $responses of 2; written: $size bytes, first line: $first"
[ "$responses" = 1 ] && [ "$size" = 40 ] && [ "$first" = "HTTP/1.1 200 OK" ]
