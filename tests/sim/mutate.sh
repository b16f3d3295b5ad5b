#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# mutate.sh [--shrink] [NAME...]: makes each mistake of mutations.txt in a copy of the tree, builds the simulator, and runs the seed
# that the list names for it. A seed that finds it no more, because the product has changed, is replaced in the list by one of
# WEFT_RUNS (2000) that does; a mistake that none finds is a failure. The last line is `N passed, N failed`.
#
#   --shrink   also make the history smaller
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
copy=$(mktemp -d "${TMPDIR:-/tmp}/weft-mutations.XXXXXX")
trap 'rm -rf "$copy"' EXIT
passed=0 failed=0 shrinks=""
while [[ ${1:-} == --* ]]; do
    case $1 in
    --shrink) shrinks=yes ;;
    *) sed -n '4,8s/^# \{0,1\}//p' "$0"; exit 2 ;;
    esac
    shift
done

(cd "$root" && git ls-files -z | xargs -0 tar cf -) | tar xf - -C "$copy"
cmake -S "$copy" -B "$copy/build" -DWEFT_TESTS=ON -DCMAKE_BUILD_TYPE=Release >"$copy/log" 2>&1 &&
    cmake --build "$copy/build" --target sim -j2 >>"$copy/log" 2>&1 || {
    cat "$copy/log"
    exit 2
}
sim=$copy/build/tests/sim/sim

fail() {
    echo "FAIL $1: $2"
    failed=$((failed + 1))
}

# Runs the simulator; its last words go to $copy/out.
simulate() { { timeout 900 "$sim" "$@" >"$copy/out" 2>&1; } 2>/dev/null; }

show() { # name
    local seen
    seen=$(grep -m 1 -o 'seed=[0-9]* step=[0-9]*' "$copy/out")
    passed=$((passed + 1))
    printf '%-34s %-24s %s\n' "$1" "$seen" "$(grep -m 1 -E '^(sim|weft): ' "$copy/out" | cut -c 1-120)"
    [ -n "$shrinks" ] || return
    seen=${seen#seed=}
    simulate --seed "${seen%% *}" --shrink
    grep -E '^(after|again)' "$copy/out" | sed "s|$copy/build|build-test|; s/^/    /"
}

try() { # name seed file script
    local name=$1 seed=$2 file=$3 script=$4 lines
    sed -i "$script" "$copy/$file"
    lines=$(diff "$root/$file" "$copy/$file" | grep -c '^>')
    if [ "$lines" -ne 1 ]; then
        fail "$name" "the script changes $lines lines of $file"
    elif ! cmake --build "$copy/build" --target sim -j2 >"$copy/log" 2>&1; then
        fail "$name" "it does not compile: $(grep -m 1 error "$copy/log")"
    elif ! simulate --seed "$seed"; then
        show "$name"
    elif simulate --runs "${WEFT_RUNS:-2000}" --jobs "$(nproc)" || ! grep -q '^failed: seed=' "$copy/out"; then
        fail "$name" "no seed finds it"
    else
        seed=$(sed -n 's/^failed: seed=\([0-9]*\) .*/\1/p' "$copy/out" | sort -n | head -1)
        sed -i "s/^$name | [0-9]* |/$name | $seed |/" "$here/mutations.txt"
        show "$name"
    fi
    cp "$root/$file" "$copy/$file"
}

while IFS='|' read -r name seed file script; do
    name=$(echo $name) seed=$(echo $seed) file=$(echo $file)
    case $name in '' | \#*) continue ;; esac
    if [ $# -gt 0 ] && [[ " $* " != *" $name "* ]]; then continue; fi
    try "$name" "$seed" "$file" "${script# }"
done < <(sed 's/ | /|/; s/ | /|/; s/ | /|/' "$here/mutations.txt")
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
