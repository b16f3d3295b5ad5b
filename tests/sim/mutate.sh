#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# mutate.sh [NAME...]: makes each mistake of mutations.txt in a copy of the tree, builds the simulator, and shows which seed finds it.
# WEFT_RUNS (2000) seeds are tried. The last line is `N passed, N failed`: a mistake that no seed finds is a failure.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
copy=$(mktemp -d "${TMPDIR:-/tmp}/weft-mutations.XXXXXX")
trap 'rm -rf "$copy"' EXIT
passed=0 failed=0

(cd "$root" && git ls-files -z | xargs -0 tar cf -) | tar xf - -C "$copy"
cmake -S "$copy" -B "$copy/build" -DWEFT_TESTS=ON -DCMAKE_BUILD_TYPE=Release >"$copy/log" 2>&1 &&
    cmake --build "$copy/build" --target sim -j2 >>"$copy/log" 2>&1 || {
    cat "$copy/log"
    exit 2
}

fail() {
    echo "FAIL $1: $2"
    failed=$((failed + 1))
}

try() { # name file script
    local name=$1 file=$2 script=$3 lines status
    sed -i "$script" "$copy/$file"
    lines=$(diff "$root/$file" "$copy/$file" | grep -c '^>')
    if [ "$lines" -ne 1 ]; then
        fail "$name" "the script changes $lines lines of $file"
    elif ! cmake --build "$copy/build" --target sim -j2 >"$copy/log" 2>&1; then
        fail "$name" "it does not compile: $(grep -m 1 error "$copy/log")"
    else
        timeout 300 "$copy/build/tests/sim/sim" --runs "${WEFT_RUNS:-2000}" >"$copy/out" 2>&1
        status=$?
        if [ $status -eq 0 ]; then
            fail "$name" "no seed finds it"
        else
            passed=$((passed + 1))
            printf '%-34s %-32s %s\n' "$name" "$(grep -m 1 -o 'seed=[0-9]* step=[0-9]*' "$copy/out" || echo "status $status")" \
                "$(grep -m 1 -E '^(sim|weft): ' "$copy/out" | cut -c 1-120)"
        fi
    fi
    cp "$root/$file" "$copy/$file"
}

while IFS='|' read -r name file script; do
    name=$(echo $name) file=$(echo $file)
    case $name in '' | \#*) continue ;; esac
    if [ $# -gt 0 ] && [[ " $* " != *" $name "* ]]; then continue; fi
    try "$name" "$file" "${script# }"
done < <(sed 's/ | /|/; s/ | /|/' "$here/mutations.txt")
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
