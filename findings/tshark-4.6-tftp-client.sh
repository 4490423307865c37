#!/bin/bash
# Version: tshark 4.6.9 (Debian unstable, package tshark; TSHARK names the program). Not in 4.0.17 and 4.4.19.
# Expected: all packets of a TFTP transfer (RFC 1350) are shown as TFTP, those of the client, too, as in earlier versions.
# Behaviour: only the request and the server's packets are TFTP. The client's acknowledgements, and the error with which it
#   ends a transfer, are plain UDP: a filter such as tftp.opcode == 5 does not find that error.
# Output seen: "request: tftp; data: tftp; acknowledgement: udp; error of the client: udp".
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work" && cd "$work"
tshark=${TSHARK:-tshark}
"$tshark" --version 2>/dev/null | grep -q '4\.6\.9' && command -v text2pcap >/dev/null ||
    { echo "tshark 4.6.9 is needed: apt-get install tshark, on Debian unstable, or TSHARK=/path/to/it" >&2; exit 1; }
packet() { # source, its port, destination, its port, text with escapes: appends to the capture
    printf '%s\n' "$(printf "$5" | od -An -v -tx1 | tr -d '\n' | sed 's/^/000000/')" |
        text2pcap -q -F pcap -4 "$1,$3" -u "$2,$4" - one.pcap 2>/dev/null
    if [ -e all.pcap ]; then tail -c +25 one.pcap >>all.pcap; else cp one.pcap all.pcap; fi
}
packet 192.0.2.10 40000 192.0.2.1 69 '\0\1phone.xml\0octet\0'
packet 192.0.2.1 32769 192.0.2.10 40000 "\\0\\3\\0\\1$(printf '%0512d' 0)"
packet 192.0.2.10 40000 192.0.2.1 32769 '\0\4\0\1'
packet 192.0.2.10 40000 192.0.2.1 32769 '\0\5\0\3disk full\0'
names=(request data acknowledgement "error of the client") said=""
while read -r protocols; do
    kind=udp
    if [[ $protocols == *tftp* ]]; then kind=tftp; fi
    said+="${names[0]}: $kind; " names=("${names[@]:1}")
done < <("$tshark" -n -r all.pcap -T fields -e frame.protocols 2>/dev/null)
echo "${said%; }"
[ "${said%; }" = "request: tftp; data: tftp; acknowledgement: udp; error of the client: udp" ]
