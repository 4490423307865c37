# Sourced by `run` and `test`: installs what is missing, or says which command does, and stops.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv="$root/.venv"

# Many images set this, and then certhash would be compiled at every start.
unset PYTHONDONTWRITEBYTECODE

stop() {
    echo "certhash: $*" >&2
    exit 2
}

# logged COMMAND ...: run it silently; where it fails, the variable `said` has its last line, or that of an error.
logged() {
    local log status=0
    log=$(mktemp 2>/dev/null) || stop "no file can be written in ${TMPDIR:-/tmp}: free some space, or set TMPDIR"
    "$@" >"$log" 2>&1 </dev/null || status=$?
    said=$(grep -E '^(E|ERROR|Error|OSError).*:|No space left' "$log" | tail -n 1) || said=$(tail -n 1 "$log")
    rm -f "$log"
    return "$status"
}

# need_packages PROGRAM=PACKAGE ...: install the Debian packages of those programs that are not there.
need_packages() {
    local pair missing=() PATH="$PATH:/usr/sbin:/sbin"
    for pair in "$@"; do
        command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
    done
    [ ${#missing[@]} -gt 0 ] && install_packages "${missing[@]}"
    return 0
}

# need_libraries SONAME=PACKAGE ...: the same for shared libraries that a Python package brings no copy of.
need_libraries() {
    local pair missing=() PATH="$PATH:/usr/sbin:/sbin"
    for pair in "$@"; do
        ldconfig -p 2>/dev/null | grep -qF "${pair%%=*} " || missing+=("${pair#*=}")
    done
    [ ${#missing[@]} -gt 0 ] && install_packages "${missing[@]}"
    return 0
}

install_packages() {
    local as_root=()
    local command="apt-get update && apt-get install --no-install-recommends $*"
    command -v apt-get >/dev/null || stop "missing: $*; install them with your system's package manager"
    if [ "$(id -u)" -ne 0 ]; then
        sudo -n true 2>/dev/null || [ -t 0 ] || stop "missing: $*; as root, run: $command"
        command -v sudo >/dev/null || stop "missing: $*; as root, run: $command"
        as_root=(sudo)
    fi
    echo "certhash: installing $*" >&2
    # An earlier run may have been stopped half-way; --configure goes on from there.
    logged "${as_root[@]}" dpkg --configure -a &&
        logged "${as_root[@]}" apt-get update -qq &&
        logged "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@" ||
        stop "could not install $*: $said; as root, run: $command"
}

# need_environment EXTRA: a virtual environment with the package, editable, and its dependencies.
need_environment() {
    local extra="$1" python="${PYTHON:-python3}" base wanted stamp
    command -v "$python" >/dev/null || install_packages python3
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        stop "$("$python" --version) is too old: certhash needs Python 3.11 or newer; set PYTHON to one"
    "$python" -c 'import ensurepip, venv' 2>/dev/null || install_packages python3-venv
    base="$("$python" --version) $root"
    wanted="$extra $base $(cksum <"$root/pyproject.toml")"
    stamp="$venv/.made-for${extra//[^a-z]/}"
    is_made && return
    [ -w "$root" ] || stop "$root may not be written; clone it into a folder of yours"
    (
        flock -n 9 || { echo "certhash: another run is setting up $venv; waiting for it" >&2 && flock 9; }
        is_made || make_environment "$extra"
    ) 9>"$root/.venv.lock"
}

is_made() { [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; }

# It works for one Python and in one folder: for another it is made anew.
make_environment() {
    echo "certhash: setting up $venv" >&2
    if [ "$(cat "$venv/.made-with" 2>/dev/null)" != "$base" ] || ! "$venv/bin/python" -c '' 2>/dev/null; then
        logged "$python" -m venv --clear "$venv" || stop "no virtual environment could be made in $venv: $said"
        echo "$base" >"$venv/.made-with" || stop "$venv cannot be written"
    fi
    logged "$venv/bin/python" -m pip install --disable-pip-version-check --editable "$root$1" ||
        stop "could not install the Python packages: $said; run: $venv/bin/python -m pip install --editable '$root$1'"
    echo "$wanted" >"$stamp" || stop "$stamp cannot be written"
}
