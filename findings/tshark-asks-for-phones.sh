#!/bin/bash
# Version: tshark 4.0.17 (Debian 12).
# Expected: listing the interfaces (`tshark -D`), or starting to capture (`tshark -i lo`), sends nothing.
# Behaviour: both run every extcap program; androiddump knocks ten times at 127.0.0.1:5037 for a telephone on a USB cable.
#   A recorder that is running on loopback has these 20 packets (SYN and RST) in its file, and another program's capture
#   gets them each time that anybody starts tshark. `dumpcap -D` and `dumpcap -i` send nothing.
# Output seen: "packets on loopback: dumpcap -D 0, tshark -D 20, all of them port 5037: yes".
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
chmod 777 .
tshark --version 2>/dev/null | grep -q '4\.0\.17' || { echo "tshark 4.0.17 is needed: apt-get install tshark, on Debian 12" >&2; exit 1; }
cat > record.sh <<'E2'
ip link set lo up
dumpcap -q -i lo -w got.pcapng 2>log &
recorder=$!
for _ in $(seq 100); do grep -q '^File:' log && break; sleep 0.1; done
"$@" >listed 2>&1 || true
sleep 1
kill -INT "$recorder"
wait "$recorder" || true
E2
alone=(unshare --net)  # nothing else on loopback: in a network of its own
[ "$EUID" = 0 ] || alone=(unshare --map-root-user --net)
count() { tshark -n -r got.pcapng -Y "$1" 2>/dev/null | wc -l; }
"${alone[@]}" bash record.sh dumpcap -D
quiet=$(count frame)
rm got.pcapng
"${alone[@]}" bash record.sh tshark -D
loud=$(count frame)
android=no
[ "$(count 'tcp.port == 5037')" = "$loud" ] && android=yes
echo "packets on loopback: dumpcap -D $quiet, tshark -D $loud, all of them port 5037: $android"
[ "$quiet" = 0 ] && [ "$loud" = 20 ] && [ "$android" = yes ]
