#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# browser.sh [FOLDER]: the page for people in a real browser, headless Chromium, which is installed when it is missing (300 MB,
# so no tier does this). A consumer with worker processes of which one key fails is looked at in a wide and a narrow window and
# in the dark; the pictures go to FOLDER (build-test/browser), to be looked at. The last line is `N passed, N failed`.
set -uo pipefail
cd "$(dirname "$0")/.."
. examples/setup.sh
folder=$(realpath -m "${1:-build-test/browser}")
scratch=$(mktemp -d "${TMPDIR:-/tmp}/weft-browser.XXXXXX")
passed=0 failed=0 consumer=

# shellcheck disable=SC2086
install_missing $WEFT_PACKAGES python3 python3-zmq curl chromium || exit 2
configure_and_build build-test "weft-sidecar with_broker" -DCMAKE_BUILD_TYPE=Release -DWEFT_TESTS=ON || exit 2
mkdir -p "$folder"
finish() {
    [ -z "$consumer" ] || { kill "$consumer" 2>/dev/null; wait "$consumer" 2>/dev/null; }
    rm -rf "$scratch"
}
trap finish EXIT

cat >"$scratch/handler.py" <<'PYTHON'
import time
import weft


@weft.handler
def handle(record):
    if record.partition < 3 and record.offset == 50:
        raise ValueError('the <payment> service said "no" & closed the door')
    time.sleep(0.002)


weft.run()
PYTHON
PYTHONPATH=examples/workers/python METRICS_ENABLED=true METRICS_PORT=0 build-test/bin/with_broker --records 60000 --keys 3000 -- \
    build-test/bin/weft-sidecar --workers 3 --set group.id=payments --set max.attempts=50 -- /usr/bin/python3 "$scratch/handler.py" \
    >"$scratch/log" 2>&1 &
consumer=$!

check() { # what, command...
    local what=$1
    shift
    if "$@" >"$scratch/out" 2>&1; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAIL $what"
        tail -n 3 "$scratch/out"
    fi
}

page=
for _ in $(seq 300); do
    [ -n "$page" ] || page=$(grep -o -m 1 'http://127.0.0.1:[0-9]*' "$scratch/log")
    [ -z "$page" ] || ! curl -sf "$page/" | grep -q "has been unfinished for" || break
    sleep 0.1
done

browse() { # argument...
    timeout 60 chromium --headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking \
        --disable-component-update --disable-sync --hide-scrollbars --user-data-dir="$(mktemp -d "$scratch/profile.XXXXXX")" \
        "$@" "$page/" 2>"$scratch/browser.log"
}

look() { # name size argument...
    local name=$1 size=$2
    shift 2
    check "$name" browse --window-size="$size" --screenshot="$folder/$name.png" "$@"
    check "$name is a picture" file_is_png "$folder/$name.png"
}
file_is_png() { [ "$(head -c 4 "$1" | tail -c 3)" = PNG ] && [ "$(stat -c %s "$1")" -gt 10000 ]; }

look wide 1280,1100
look narrow 420,900
look dark 1280,1100 --blink-settings=preferredColorScheme=0
browse --dump-dom >"$scratch/dom"
check "what is wrong, in words" grep -q 'orders/0: offset 50 has been unfinished for' "$scratch/dom"
check "the last error, as text" grep -q 'ValueError: the &lt;payment&gt; service said' "$scratch/dom"
check "worker processes" grep -q 'Worker processes' "$scratch/dom"
check "no script" bash -c "! grep -qi '<script' '$scratch/dom'"
[ "$failed" -eq 0 ] || tail -n 20 "$scratch/log" "$scratch/browser.log"
echo "pictures: $folder/*.png"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
