# Sourced by `run` and `test`: installs what is missing, or says which command does, and stops.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv="$root/.venv"

stop() {
    echo "certhash: $*" >&2
    exit 2
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
    {
        "${as_root[@]}" apt-get update -qq &&
            "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@"
    } >"${log:=$(mktemp)}" 2>&1 || {
        tail -n 5 "$log" >&2
        stop "could not install $*; as root, run: $command"
    }
}

# need_environment EXTRA: a virtual environment with the package, editable, and its dependencies.
need_environment() {
    local extra="$1" python="${PYTHON:-python3}" wanted stamp
    command -v "$python" >/dev/null || install_packages python3
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        stop "$("$python" --version) is too old: certhash needs Python 3.11 or newer; set PYTHON to one"
    "$python" -c 'import ensurepip, venv' 2>/dev/null || install_packages python3-venv
    wanted="$extra $("$python" --version) $(cksum <"$root/pyproject.toml") $root"
    stamp="$venv/.made-for${extra//[^a-z]/}"
    [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && return
    echo "certhash: setting up $venv" >&2
    [ -x "$venv/bin/python" ] && "$venv/bin/python" -c '' 2>/dev/null || "$python" -m venv --clear "$venv" ||
        stop "no virtual environment could be made in $venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable "$root$extra" ||
        stop "could not install the Python packages; run: $venv/bin/python -m pip install --editable '$root$extra'"
    echo "$wanted" >"$stamp"
}
