#!/bin/bash
# Version: sharkd 4.0.17 (Debian 12, package tshark). Gone in 4.4.19 (Debian 13) and 4.6.9 (unstable).
# Expected: after `load` of another capture, `frames` with a filter answers for that capture, as `tshark -Y` does.
# Behaviour: what a filter found is kept by the filter's text and outlives `load`: the same filter on the second capture
#   gives the frame numbers of the first. A space more in the filter gives the right ones. So a server that loads one
#   capture after another must not use a filter's text twice. Preferences set between two loads (`setconf`) seem to have
#   no effect for the same reason.
# Output seen: "tshark: 2 then 3; sharkd, the same filter: 2 then 2; sharkd, a space more: 2 then 3".
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
tshark --version 2>/dev/null | grep -q '4\.0\.17' && command -v sharkd >/dev/null ||
    { echo "tshark and sharkd 4.0.17 are needed: apt-get install tshark, on Debian 12" >&2; exit 1; }
for frame in 2 3; do  # three UDP packets; one of them goes to port 69
    for number in 1 2 3; do
        port=5000
        [ "$number" = "$frame" ] && port=69
        printf '000000 00 00 5e 00 53 01 00 00 5e 00 53 02 08 00 45 00 00 21 00 00 00 00 40 11 00 00 c0 00 02 09 c0 00 02 01 '
        printf 'c3 50 %02x %02x 00 0d 00 00 68 65 6c 6c 6f\n\n' $((port / 256)) $((port % 256))
    done | text2pcap -q - "in$frame.pcap" 2>/dev/null
done
rows() {  # the frame numbers that two loads and two filters give
    printf '{"jsonrpc":"2.0","id":%d,"method":"%s","params":{%s}}\n' 1 load "\"file\":\"$work/in2.pcap\"" \
        2 frames "\"filter\":\"$1\"" 3 load "\"file\":\"$work/in3.pcap\"" 4 frames "\"filter\":\"$2\"" |
        sharkd - 2>/dev/null | sed -n 's/.*"num":\([0-9]*\).*/\1/p' | paste -sd' ' | sed 's/ / then /'
}
alone="$(for name in in2 in3; do tshark -n -r $name.pcap -Y 'udp.dstport == 69' -T fields -e frame.number 2>/dev/null; done |
    paste -sd' ' | sed 's/ / then /')"
same=$(rows 'udp.dstport == 69' 'udp.dstport == 69')
other=$(rows 'udp.dstport == 69' 'udp.dstport ==  69')
echo "tshark: $alone; sharkd, the same filter: $same; sharkd, a space more: $other"
[ "$alone" = "2 then 3" ] && [ "$same" = "2 then 2" ] && [ "$other" = "2 then 3" ]
