#!/bin/bash
# Version: curl 7.88.1, tftpd-hpa 5.2, atftpd 0.8.0 (Debian 12).
# Expected: `curl 'tftp://SERVER/NAME;mode=netascii'` fetches a text file as octet mode does: with line feeds for the CR LF
#   that are on the wire.
# Behaviour: three programs that are right by themselves do not meet. curl asks for `tsize` in every mode; tftpd-hpa answers
#   netascii with `tsize` with error 8 (RFC 2347 would have it leave the option out), and atftpd with a size of 0, which curl
#   refuses. Both reach the user as "getpeername() failed". Octet mode works with both.
# Output seen: "tftpd-hpa: octet 0, netascii 42; atftpd: octet 0, netascii 71" (exit status of curl).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
curl --version | grep -q '^curl 7\.88\.1 ' || { echo "curl 7.88.1 is needed: apt-get install curl, on Debian 12" >&2; exit 1; }
apt-get download -qq atftpd libwrap0 libpcre3 tftpd-hpa 2>/dev/null
for package in *.deb; do dpkg-deb -x "$package" root; done
dpkg-deb -f atftpd_*.deb Version | grep -q '^0\.8\.0-' || { echo "atftpd 0.8.0 of Debian 12 is needed" >&2; exit 1; }
dpkg-deb -f tftpd-hpa_*.deb Version | grep -q '^5\.2+' || { echo "tftpd-hpa 5.2 of Debian 12 is needed" >&2; exit 1; }
mkdir served
printf 'one\ntwo\n' >served/file.txt
chmod -R a+rX .
cat > fetch.sh <<'E2'
ip link set lo up
export LD_LIBRARY_PATH="$PWD/root/usr/lib/x86_64-linux-gnu"
"$@" "$PWD/served" >log 2>&1 &
server=$!
unset LD_LIBRARY_PATH
for mode in octet netascii; do
    for _ in $(seq 10); do
        status=0
        curl -s -m 5 -o "got" "tftp://127.0.0.1/file.txt;mode=$mode" || status=$?
        [ "$status" = 7 ] || [ "$mode$status" = octet28 ] || break  # the server is not there yet
        sleep 0.3
    done
    echo "$mode $status"
done | paste -sd, | sed 's/,/, /'
kill "$server"
E2
alone=(unshare --net)  # the port is 69: in a network of its own
[ "$EUID" = 0 ] || alone=(unshare --map-root-user --net)
hpa=$("${alone[@]}" bash fetch.sh root/usr/sbin/in.tftpd --foreground --user root --secure)
atftpd=$("${alone[@]}" bash fetch.sh root/usr/sbin/atftpd --daemon --no-fork --user root.root)
echo "tftpd-hpa: $hpa; atftpd: $atftpd"
[ "$hpa" = "octet 0, netascii 42" ] && [ "$atftpd" = "octet 0, netascii 71" ]
