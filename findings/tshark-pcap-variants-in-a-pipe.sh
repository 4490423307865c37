#!/bin/bash
# Version: tshark and editcap 4.0.17 (Debian 12, package tshark). The same with 4.4.19 (Debian 13) and 4.6.9 (unstable).
# Expected: `tshark -r FILE` and `tshark -r - <FILE` show the same packets, and so does a pipe.
# Behaviour: the variants of pcap that keep its magic number and version and have longer headers before each packet
#   (that of Red Hat Linux 6.1, and Nokia's) are read from a file, also on standard input. In a pipe, which cannot be read
#   twice, tshark takes them for plain pcap: it prints some first packets wrongly and calls the rest damaged.
# Output seen: "pcap: 3, 3, 3; rh6_1pcap: 3, 3, 1; nokiapcap: 3, 3, 2" (from a file, as standard input, in a pipe).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
tshark --version 2>/dev/null | grep -q '4\.0\.17' && command -v editcap text2pcap >/dev/null ||
    { echo "tshark and editcap 4.0.17 are needed: apt-get install tshark, on Debian 12" >&2; exit 1; }
for _ in 1 2 3; do
    printf '000000 00 00 5e 00 53 01 00 00 5e 00 53 02 08 00 45 00 00 21 00 00 00 00 40 11 00 00 c0 00 02 09 c0 00 02 01 '
    printf 'c3 50 13 88 00 0d 00 00 68 65 6c 6c 6f\n\n'
done | text2pcap -q -F pcap - three.pcap 2>/dev/null
count() { { tshark -n -r "$@" 2>/dev/null || true; } | wc -l; }
said=""
for format in pcap rh6_1pcap nokiapcap; do
    editcap -F "$format" three.pcap "three.$format"
    said+="$format: $(count "three.$format"), $(count - <"three.$format"), $(cat "three.$format" | count -); "
done
echo "${said%; }"
[ "${said%; }" = "pcap: 3, 3, 3; rh6_1pcap: 3, 3, 1; nokiapcap: 3, 3, 2" ]
