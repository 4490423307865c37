#!/bin/bash
# Version: tshark 4.0.17 (Debian 12, package tshark). The same with 4.4.19 (Debian 13) and 4.6.9 (unstable).
# Expected: a chunked HTTP response (RFC 9112, section 7.1) is shown wherever TCP splits it into segments.
# Behaviour: if a segment ends between CR and LF of the line break that ends the response, tshark shows no response at all,
#   and no body: it marks the segment as malformed. One byte earlier or later, it shows both.
# Output seen: "split after CR LF of the last chunk: 200 hello; between CR and LF at the end: nothing; not split: 200 hello".
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
tshark --version 2>/dev/null | grep -q '4\.0\.17' && command -v text2pcap >/dev/null ||
    { echo "tshark and text2pcap 4.0.17 are needed: apt-get install tshark, on Debian 12" >&2; exit 1; }
packet() { # direction, text with escapes
    printf '%s\n' "$1"
    printf "$2" | od -An -v -tx1 -w16 | awk '{ printf "%06x%s\n", (NR - 1) * 16, $0 } END { print "" }'
}
shown() { # the segments of the response
    { packet O 'GET /a.txt HTTP/1.1\r\nHost: www.example.com\r\n\r\n'; for part in "$@"; do packet I "$part"; done; } |
        text2pcap -q -D -F pcap -4 192.0.2.10,192.0.2.1 -T 40000,80 - talk.pcap 2>/dev/null
    tshark -n -r talk.pcap -Y http.response -T fields -e http.response.code -e http.file_data -E separator=' ' 2>/dev/null |
        grep . || echo nothing
}
head='HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n'
said="split after CR LF of the last chunk: $(shown "${head}0\r\n" '\r\n'); "
said+="between CR and LF at the end: $(shown "${head}0\r\n\r" '\n'); not split: $(shown "${head}0\r\n\r\n")"
echo "$said"
[ "$said" = "split after CR LF of the last chunk: 200 hello; between CR and LF at the end: nothing; not split: 200 hello" ]
