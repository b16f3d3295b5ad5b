#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# record.sh: the record of what weft reaches: runs the agreed matrix on a real broker, and makes the tables and pictures
# of docs/performance.md from what it wrote.
#
#   bash bench/record.sh [PART ...]      run these parts (default: all), then the page; wants a machine with nothing else to do
#   bash bench/record.sh --page          only the page, from the files of bench/record/
#   bash bench/record.sh --list          the parts, and the command of each
#
# WEFT_BENCH_SCALE=N divides the number of records, to try the script. All of it ends within 25 minutes: what has not
# begun by then is left out, with a line, and the exit status is 1.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 2
. examples/setup.sh

bench=${WEFT_BENCH_BUILD:-build}/bin/weft-bench
record=bench/record
page=docs/performance.md
scale=${WEFT_BENCH_SCALE:-1}
budget_s=1500
stop_s=60 # left for the broker's end and the page

records() { echo $(($1 / scale > 1000 ? $1 / scale : 1000)); }

common=(--num-partitions 8 --num-keys 10000 --repetitions 3)
workers=(--workers 1,2,4 --worker-language c,python)

# Each part is an invocation: what is compared is in one.
part() {
    case $1 in
    noop-100) # what weft costs: nothing is done with records of 100 bytes
        args=(--num-messages "$(records 3000000)" --observe light --concurrency 2 --label v100
            --modes raw,raw-poll-headers,async,async-plain,inline,process --workers 1,2,4 --worker-language c,python,python-record) ;;
    noop-plain-100) # the same without headers, which handlers of key and value do not ask for
        args=(--num-messages "$(records 3000000)" --observe light --set record.headers=false --label plain-v100
            --modes raw-poll,process --workers 1 --worker-language c,python,python-record) ;;
    noop-plain-1000)
        args=(--num-messages "$(records 1000000)" --observe light --set record.headers=false --label plain-v1000
            --value-bytes 1000 --modes raw-poll,process --workers 1 --worker-language c,python) ;;
    noop-1000)
        args=(--num-messages "$(records 1000000)" --observe light --concurrency 2 --label v1000 --value-bytes 1000
            --modes raw,async,async-plain,process "${workers[@]}") ;;
    noop-16000)
        args=(--num-messages "$(records 100000)" --observe light --concurrency 2 --label v16000 --value-bytes 16000
            --modes raw,async,process "${workers[@]}") ;;
    cpu-50us) # work that needs the processor: how workers scale
        args=(--num-messages "$(records 40000)" --value-bytes 100,1000,16000 --concurrency 2 --workloads cpu
            --worker-cpu-us 50 --modes raw-poll,async,process "${workers[@]}" --label 50us) ;;
    sleep) # work that waits: 100 threads, and what is left of bare sleeps
        args=(--num-messages "$(records 200000)" --concurrency 100 --workloads sleep --worker-sleep-ms 0.1,1,10
            --modes floor,async) ;;
    sleep-1000) # ten times as many threads
        args=(--num-messages "$(records 300000)" --concurrency 1000 --workloads sleep --worker-sleep-ms 10
            --modes floor,async --label 10ms-c1000) ;;
    pending-10ms) # many records that wait, on two threads
        args=(--num-messages "$(records 800000)" --concurrency 2 --pending 2000 --workloads sleep --worker-sleep-ms 10
            --modes pending --label 10ms) ;;
    pending-10ms-1000) # memory with 1,000 in flight
        args=(--num-messages "$(records 400000)" --concurrency 2 --pending 1000 --workloads sleep --worker-sleep-ms 10
            --modes pending --value-bytes 1000 --label 10ms-v1000 --observe light) ;;
    hot-key) # half of the records are of one key; the hot partition would come half a second after the first one, when a
        # request that has nothing to bring any more ends (fetch.wait.max.ms)
        args=(--num-messages "$(records 8000)" --key-distribution hot --concurrency 4 --workloads sleep
            --worker-sleep-ms 1 --modes floor,async --label hot --set kafka.fetch.wait.max.ms=50) ;;
    latency) # at a rate that is far from the limit, and the cost of idling after it
        args=(--num-messages "$(records 14000)" --rate 2000 --concurrency 4 --workers 2 --idle-sec 3
            --modes raw-poll,async,inline,process --label 2000) ;;
    flat-keys) # does the number of keys matter?
        args=(--num-messages "$(records 1000000)" --num-keys 10,10000,1000000 --observe light --concurrency 2
            --modes raw-poll,async --label keys) ;;
    flat-partitions)
        args=(--num-messages "$(records 1000000)" --num-partitions 1,1000 --observe light --concurrency 2
            --modes raw-poll,async --label partitions) ;;
    deaths) args=(deaths) ;; # how soon a killed worker's record runs again: a program of its own, which prints lines
    *) echo "record.sh: $1: no such part" >&2; return 1 ;;
    esac
}

parts="noop-100 noop-plain-100 noop-1000 noop-plain-1000 noop-16000 cpu-50us sleep sleep-1000 pending-10ms pending-10ms-1000 hot-key latency
flat-keys flat-partitions deaths"

# The tables of all parts, between the two marks of the page; what people wrote around them stays.
make_page() {
    local part pictures tables
    tables=$(mktemp)
    rm -f docs/performance/*.svg
    for part in $parts; do
        [ ! -f "$record/$part.json" ] || { echo && "$bench" markdown --machine "$record/$part.json" && break; }
    done >"$tables"
    if [ -f "$record/deaths.txt" ]; then
        { echo; echo "### deaths"; echo; sed 's/^/    /' "$record/deaths.txt"; } >>"$tables"
    fi
    for part in $parts; do
        [ -f "$record/$part.json" ] || continue
        "$bench" plot --output-dir docs/performance "$record/$part.json" >/dev/null || return 1
        { echo; echo "### $part"; echo; "$bench" markdown "$record/$part.json" || return 1; echo; } >>"$tables"
        for pictures in "docs/performance/$part"-*.svg; do
            [ -f "$pictures" ] && echo "![$(basename "$pictures" .svg)](performance/$(basename "$pictures"))" >>"$tables"
        done
        part "$part" && printf '\n    weft-bench --bootstrap-servers ...%s\n' "$(printf ' %s' "${common[@]}" "${args[@]}")" >>"$tables"
    done
    awk -v tables="$tables" '
        /<!-- tables: begin/ { print; while ((getline line < tables) > 0) print line; skip = 1 }
        /<!-- tables: end/ { skip = 0 }
        !skip || /<!-- tables: end/ { if (!/<!-- tables: begin/) print }' "$page" >"$page.new" && mv "$page.new" "$page"
    rm -f "$tables"
}

case ${1:-} in
--list)
    for name in $parts; do
        part "$name" || exit
        if [ "$name" = deaths ]; then echo "$name: weft-bench deaths --workers 1, 2, 4"; else
            echo "$name: weft-bench ${common[*]} ${args[*]}"
        fi
    done
    exit
    ;;
--page)
    install_missing gnuplot-nox || exit 2
    make_page
    exit
    ;;
esac

install_missing $WEFT_PACKAGES python3 python3-zmq gnuplot-nox kcat maven default-jre-headless || exit 2
[ -x "$bench" ] || configure_and_build "${WEFT_BENCH_BUILD:-build}" weft-bench -DCMAKE_BUILD_TYPE=Release || exit 2
chosen=${*:-$parts}
for name in $chosen; do part "$name" || exit 2; done
mkdir -p "$record" docs/performance
bash tests/kafka/broker.sh fetch || exit 2
SECONDS=0 status=0
eval "$(bash tests/kafka/broker.sh start)"
trap 'bash tests/kafka/broker.sh stop "$pid_file"' EXIT
for name in $chosen; do
    left_s=$((budget_s - stop_s - SECONDS))
    if [ "$left_s" -le 10 ]; then
        echo "record.sh: $name is left out: no time is left" >&2
        status=1
        continue
    fi
    part "$name"
    echo "== $name ($SECONDS s)"
    if [ "$name" = deaths ]; then
        for workers_count in 1 2 4; do
            timeout "$left_s" "$bench" deaths --workers "$workers_count" || status=1
        done >"$record/deaths.txt"
        cat "$record/deaths.txt"
        continue
    fi
    # SIGTERM, so that what there is gets written.
    timeout "$left_s" "$bench" --bootstrap-servers "$bootstrap" "${common[@]}" "${args[@]}" \
        --json-output "$record/$name.json" >"$record/$name.log" 2>&1 || { status=1; tail -20 "$record/$name.log" >&2; }
    grep -v '^\[\|^filling' "$record/$name.log"
    rm -f "$record/$name.log"
done
make_page || status=1
echo "record.sh: done in $SECONDS s"
exit "$status"
