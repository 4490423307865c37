#!/usr/bin/env bash
# Runs the tests with the newest of everything, outside CI, about once a week: the newest Python that is here (or $PYTHON), the
# newest releases of all packages, and Debian's Wiresharks as they are today (unstable's among them). It prints what changed
# since the last run here, then the tests' result. Arguments go to pytest: tests/harness/newest.sh -k audit
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../../scripts/setup.sh"

newest_python() {
    local version
    for version in 3.{20..11}; do
        "python$version" -c 'import ensurepip, venv' 2>/dev/null && echo "python$version" && return
    done
    echo python3
}

kept="${XDG_STATE_HOME:-$HOME/.local/state}/certhash/newest.txt"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work" # tshark runs as an unprivileged user
python="${PYTHON:-$(newest_python)}"
export CERTHASH_TEST_CACHE="$work/cache"

"$python" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check --upgrade --upgrade-strategy eager \
    --editable "$root[test]" || stop "not everything can be installed with $("$python" --version)"
cd "$root"
{
    "$work/venv/bin/python" --version
    for version in 4.0 4.4 4.6; do
        "$work/venv/bin/python" -c "
from tests.harness import wiresharks
try:
    print(wiresharks.unpacked('$version').tshark)
except RuntimeError as error:
    raise SystemExit(f'Wireshark $version: {error}')" >"$work/tshark" &&
            "$(cat "$work/tshark")" --version 2>/dev/null | head -n 1
    done
    "$work/venv/bin/python" -m pip --disable-pip-version-check freeze --exclude-editable
} >"$work/now.txt"
if [ -f "$kept" ]; then
    echo "Changed since $(date -r "$kept" +%F) (- then, + now):"
    diff --unchanged-line-format= --old-line-format='- %L' --new-line-format='+ %L' "$kept" "$work/now.txt" || true
else
    echo "The first run here; with these:"
    cat "$work/now.txt"
fi
mkdir -p "$(dirname "$kept")"
cp "$work/now.txt" "$kept"
PATH="$work/venv/bin:$PATH" "$work/venv/bin/python" -m pytest -n auto --dist worksteal -p no:cacheprovider "$@"
