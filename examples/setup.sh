# SPDX-License-Identifier: Apache-2.0
#
# setup.sh: what the scripts of this repository share. Sourced by examples/quickstart.sh and tests/run.sh.
#
#   install_missing PACKAGE...     Debian packages by name; nothing happens when all of them are there
#   configure_and_build DIR TARGETS [CMAKE_ARGUMENT...]
# shellcheck shell=bash

# To build the library and the examples.
WEFT_PACKAGES="cmake ninja-build gcc libc6-dev pkg-config librdkafka-dev libzmq3-dev libxxhash-dev
libcivetweb-dev libjansson-dev libzstd-dev zlib1g-dev"

# A tool counts as present wherever it comes from; a library only as a package.
package_is_present() {
    case $1 in
    cmake | gcc | clang | kcat | npm) command -v "$1" >/dev/null && return ;;
    ninja-build) command -v ninja >/dev/null && return ;;
    pkg-config) command -v pkg-config >/dev/null && return ;;
    maven) command -v mvn >/dev/null && return ;;
    nodejs) command -v node >/dev/null && return ;;
    golang-go) command -v go >/dev/null && return ;;
    default-jre-headless) command -v java >/dev/null && return ;;
    esac
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

install_missing() {
    local missing=() as_root=() package
    if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
        echo "setup: not a Debian system; going on with what is installed (needed: $*)" >&2
        return 0
    fi
    for package in "$@"; do
        package_is_present "$package" || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || { echo "setup: please install as root: ${missing[*]}" >&2; return 1; }
        as_root=(sudo)
    fi
    echo "setup: installing ${missing[*]}" >&2
    local apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 -o Acquire::Retries=3)
    local log
    log=$(mktemp)
    if ! "${apt[@]}" update >"$log" 2>&1 ||
        ! "${apt[@]}" install -y --no-install-recommends "${missing[@]}" </dev/null >>"$log" 2>&1; then
        tail -20 "$log" >&2
        rm -f "$log"
        echo "setup: could not install: ${missing[*]}" >&2
        return 1
    fi
    rm -f "$log"
}

# TARGETS is one word per target, in quotes; empty: all. Output is shown only when something goes wrong.
configure_and_build() {
    local dir=$1 targets=$2 generator=() log
    shift 2
    [ -f "$dir/CMakeCache.txt" ] || ! command -v ninja >/dev/null || generator=(-G Ninja)
    log=$(mktemp)
    # shellcheck disable=SC2086
    if ! cmake -S . -B "$dir" "${generator[@]}" "$@" >"$log" 2>&1 ||
        ! cmake --build "$dir" -j "$(nproc)" ${targets:+--target $targets} >>"$log" 2>&1; then
        tail -60 "$log" >&2
        rm -f "$log"
        return 1
    fi
    rm -f "$log"
}
