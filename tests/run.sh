#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# run.sh: set-up and tests. The last line is `N passed, N failed`; the exit status is 0 only when nothing failed.
#
#   bash tests/run.sh [--minimum] [tier...]
#
#   unit actor tidy system sim stress     without arguments: all of these; they need no JVM
#   workers                               workers in Node and Go, whose toolchains nothing else needs; installs them
#   kafka                                 on a real broker, started here unless WEFT_TEST_KAFKA_BOOTSTRAP names one
#   asan                                  unit actor system sim stress, built with the address and undefined sanitizers
#   tsan                                  sim stress, built with the thread sanitizer (Criterion can't run under it)
#   fuzz                                  every fuzzer for WEFT_TEST_FUZZ_SECONDS (20) over its corpus, with clang
#   asan:TIER, tsan:TIER                  one tier in that build, for example asan:kafka
#
# Several programs of a tier run at a time. What one says and counts is kept until its turn, so that the output reads as if they had
# run one after the other.
#
# WEFT_TEST_ONLY=PATTERN runs only the programs whose name matches, and then demands no minimum but one test.
# What can't pass: a crash, a leak, a hang, a program that runs no test or leaves processes behind, and a tier that runs fewer
# tests than tests/minimum.txt says (--minimum rewrites its lines of the tiers that ran).
#
# Plain programs run without arguments, and see WEFT_TEST_BUILD=test|asan|tsan to scale what they do. They count as one test each,
# unless the last line they print is `N passed, N failed`.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 2
. examples/setup.sh

scratch=$(mktemp -d "${TMPDIR:-/tmp}/weft-tests.XXXXXX")
passed=0 failed=0 broker_pid_file="" slots=1
declare -A counts=() built=()
begun=() # programs of this tier that were not shown yet

cleanup() {
    local process
    # shellcheck disable=SC2046
    kill $(jobs -rp) 2>/dev/null
    for process in $(descendants "$scratch/"); do kill -KILL "$process" 2>/dev/null; done
    [ -z "$broker_pid_file" ] || tests/kafka/broker.sh stop "$broker_pid_file"
    rm -rf "$scratch"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

count() { # tier passed failed
    passed=$((passed + $2))
    failed=$((failed + $3))
    counts[$1]=$((${counts[$1]:-0} + $2 + $3))
}

# One failure that is no single test of a program.
fault() { # tier text
    echo "FAIL $1: $2"
    failed=$((failed + 1))
}

# What still lives of a run. Found by a variable in the environment, because Criterion gives each test a session of its own.
descendants() { # mark
    local file
    for file in $(grep -lsF "WEFT_TEST_RUN=$1" /proc/[0-9]*/environ); do
        file=${file#/proc/}
        echo "${file%/environ}"
    done
}

# --- programs of a tier, several at a time

# So many at once. Most of the system tier is waiting, for others and for time; races and a real broker want a machine of their own.
slots_of() { # tier
    case $1 in
    system) echo $(($(nproc) * 2)) ;;
    kafka | stress) echo 1 ;;
    *) nproc ;;
    esac
}

# Run it aside as soon as there is room.
begin() { # label name command...
    local label=$1 name=$2
    shift 2
    while [ "$(jobs -rp | wc -l)" -ge "$slots" ]; do
        wait -n
        show_ended "$label"
    done
    rm -f "$scratch/$name.tally"
    (
        passed=0 failed=0 counts=()
        "$@"
        echo "$passed $failed ${counts[$label]:-0}" >"$scratch/$name.tally"
    ) >"$scratch/$name.said" 2>&1 &
    begun+=("$name")
}

# Show what those say that have ended, up to the first one that has not.
show_ended() { # label
    local name ok bad ran
    while [ ${#begun[@]} -gt 0 ] && [ -s "$scratch/${begun[0]}.tally" ]; do
        name=${begun[0]}
        begun=("${begun[@]:1}")
        cat "$scratch/$name.said"
        read -r ok bad ran <"$scratch/$name.tally"
        passed=$((passed + ok))
        failed=$((failed + bad))
        counts[$1]=$((${counts[$1]:-0} + ran))
    done
}

end_all() { # label
    while [ -n "$(jobs -rp)" ]; do
        wait -n
        show_ended "$1"
    done
    while show_ended "$1" && [ ${#begun[@]} -gt 0 ]; do
        fault "$1" "${begun[0]}: no result" # its shell was killed
        begun=("${begun[@]:1}")
    done
}

# --- one program

# Run a program with a hard limit; whatever it leaves behind is killed and reported in $left_behind.
# Returns the program's status; 137 after the limit. Output goes to the file.
run_bounded() { # seconds output command...
    local limit=$1 output=$2 mark=$2 status left="" process
    shift 2
    WEFT_TEST_RUN=$mark timeout --foreground -s KILL "$limit" "$@" >"$output" 2>&1 </dev/null &
    wait $! 2>/dev/null
    status=$?
    left_behind=""
    # What ends by itself, because its parent did, may take a moment.
    for _ in {1..20}; do
        left=$(descendants "$mark")
        [ -n "$left" ] && [ "$status" -ne 137 ] || break
        sleep 0.1
    done
    for process in $left; do
        [ "$status" -eq 137 ] || left_behind+="$(tr '\0' ' ' <"/proc/$process/cmdline" 2>/dev/null)"
        kill -KILL "$process" 2>/dev/null
    done
    return "$status"
}

show() { tail -n "${2:-60}" "$1" | sed 's/^/    /'; }

# Leaks and races are found when a process ends, too late for Criterion: every report file is a failure.
sanitizer_reports() { # tier name
    local report found=""
    for report in "$scratch/report.$2".*; do
        [ -f "$report" ] || continue
        [ -n "$found" ] || head -n 60 "$report" | sed 's/^/    /'
        found=yes
    done
    [ -z "$found" ] || fault "$1" "$2: sanitizer report"
    rm -f "$scratch/report.$2".*
}

sanitizer_options() { # name
    local support=$PWD/tests/support
    export ASAN_OPTIONS="suppressions=$support/asan.supp:detect_leaks=1:log_path=$scratch/report.$1"
    export LSAN_OPTIONS="suppressions=$support/lsan.supp:print_suppressions=0"
    export UBSAN_OPTIONS="print_stacktrace=1"
    export TSAN_OPTIONS="suppressions=$support/tsan.supp:history_size=7:second_deadlock_stack=1:log_path=$scratch/report.$1"
}

run_criterion() { # tier name program [argument...]
    local tier=$1 name=$2 status ok bad
    shift 2
    local json=$scratch/$name.json output=$scratch/$name.out
    rm -f "$json"
    sanitizer_options "$name"
    # Criterion 2.4.1 takes --timeout and ignores it: suites set .timeout, and this limit is for those that forgot.
    run_bounded 240 "$output" "$@" -j2 --verbose "--json=$json"
    status=$?
    # The first of each in the file are the program's totals; crashed tests are among the failed ones.
    ok=$(sed -n 's/^  "passed": \([0-9]*\),$/\1/p' "$json" 2>/dev/null | head -1)
    bad=$(sed -n 's/^  "failed": \([0-9]*\),$/\1/p' "$json" 2>/dev/null | head -1)
    count "$tier" "${ok:-0}" "${bad:-0}"
    if [ "$status" -eq 137 ]; then
        fault "$tier" "$name: did not end in time; what ran last:"
        show "$output" 8
    elif [ -z "$ok" ] || [ -z "$bad" ]; then
        fault "$tier" "$name: ended with status $status and without a result"
    elif [ $((ok + bad)) -eq 0 ]; then
        fault "$tier" "$name: ran no test"
    elif [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then
        fault "$tier" "$name: status $status"
    elif [ "$bad" -gt 0 ]; then
        echo "FAIL $tier: $name: $bad of $((ok + bad))"
    fi
    if [ "$status" -ne 0 ] && [ "$status" -ne 137 ]; then
        grep -v '^\[\(RUN \|PASS\|SKIP\)\]' "$output" >"$output.short"
        show "$output.short"
    fi
    [ -z "$left_behind" ] || fault "$tier" "$name: left processes behind: $left_behind"
    sanitizer_reports "$tier" "$name"
}

run_plain() { # tier name command...
    local tier=$1 name=$2 status ok=0 bad=0
    shift 2
    local output=$scratch/$name.out
    sanitizer_options "$name"
    run_bounded 600 "$output" "$@"
    status=$?
    if [[ $(tail -n 1 "$output") =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed$ ]]; then
        ok=${BASH_REMATCH[1]} bad=${BASH_REMATCH[2]}
    elif [ "$status" -eq 0 ]; then
        ok=1
    else
        bad=1
    fi
    count "$tier" "$ok" "$bad"
    if [ "$status" -eq 137 ]; then
        fault "$tier" "$name: killed, or did not end in time"
    elif [ $((ok + bad)) -eq 0 ]; then
        fault "$tier" "$name: ran no test"
    elif [ "$bad" -gt 0 ]; then
        echo "FAIL $tier: $name: $bad of $((ok + bad)), status $status"
    elif [ "$status" -ne 0 ]; then
        fault "$tier" "$name: status $status"
    fi
    if [ "$status" -ne 0 ] || [ "$bad" -gt 0 ]; then show "$output"; fi
    [ -z "$left_behind" ] || fault "$tier" "$name: left processes behind: $left_behind"
    sanitizer_reports "$tier" "$name"
}

run_fuzzer() { # tier name program
    local tier=$1 name=$2 program=$3 seconds=${WEFT_TEST_FUZZ_SECONDS:-20}
    local corpus=$scratch/corpus.$name kept=$PWD/build-fuzz/found dictionary=tests/fuzz/corpus/${name#fuzz_}.dict
    mkdir -p "$corpus" "$kept"
    # A copy: what libFuzzer adds does not belong into the tree.
    [ ! -d "tests/fuzz/corpus/${name#fuzz_}" ] || cp -r "tests/fuzz/corpus/${name#fuzz_}/." "$corpus/"
    [ -f "$dictionary" ] || dictionary=""
    unset ASAN_OPTIONS LSAN_OPTIONS
    if run_bounded $((seconds + 60)) "$scratch/$name.out" "$program" -max_total_time="$seconds" -timeout=10 \
        -rss_limit_mb=1024 -print_final_stats=1 ${dictionary:+"-dict=$dictionary"} -artifact_prefix="$kept/$name." "$corpus"; then
        count "$tier" 1 0
        sed -n "s/^stat::number_of_executed_units: */$name: runs: /p" "$scratch/$name.out"
    else
        count "$tier" 0 1
        echo "FAIL $tier: $name; the input is in ${kept#"$PWD"/}/"
        show "$scratch/$name.out" 80
    fi
}

# The folder of a build, built once. A tier that does not build is one failure.
build() { # test|asan|tsan|fuzz
    [ -z "${built[$1]:-}" ] || { [ "${built[$1]}" = yes ]; return; }
    local packages="$WEFT_PACKAGES g++ libcriterion-dev locales prometheus python3-prometheus-client curl python3-zmq systemd" targets="" options=(-DWEFT_TESTS=ON -DWEFT_BENCH=ON)
    case $1 in
    asan) options+=("-DWEFT_SANITIZE=address,undefined") ;;
    tsan) options+=(-DWEFT_SANITIZE=thread) targets="tests_sim tests_stress" ;;
    fuzz)
        packages="$WEFT_PACKAGES clang libclang-rt-14-dev"
        targets="tests_fuzz"
        # The libraries need the coverage that libFuzzer steers by; only the fuzzers themselves need its main().
        options=(-DWEFT_FUZZ=ON -DCMAKE_C_COMPILER=clang -DCMAKE_C_FLAGS=-fsanitize=fuzzer-no-link
            "-DWEFT_SANITIZE=address,undefined")
        ;;
    esac
    built[$1]=no
    echo "== building build-$1" >&2
    # shellcheck disable=SC2086
    install_missing $packages || { fault "$1" "set-up"; return 1; }
    configure_and_build "build-$1" "$targets" -DCMAKE_BUILD_TYPE=Release "${options[@]}" ||
        { fault "$1" "build-$1 does not build"; return 1; }
    built[$1]=yes
}

# Node's package by name, and the programs in Go; nothing of it is put into the tree.
build_workers() { # folder
    local go=$PWD/examples/workers/go npm=(npm install --prefix "$1/node" --no-audit --no-fund --no-package-lock)
    install_missing nodejs npm golang-go || return 1
    mkdir -p "$1/node" "$1/go"
    [ -d "$1/node/node_modules/zeromq" ] || "${npm[@]}" zeromq@6 >"$1/npm.log" 2>&1 || { show "$1/npm.log"; return 1; }
    (cd "$go" && go build -o "$1/go/" ./conformance ./count_words) && (cd tests/programs/trail_go && go build -o "$1/go/" .)
}

# One test that is no program of this build.
run_named() { # runner tier name command...
    # shellcheck disable=SC2053
    [[ $3 == ${WEFT_TEST_ONLY:-*} ]] && begin "$2" "$3" "$@"
}

# Each language: its golden frames, weft-worker-check, and the crash tests of the worker in C with its worker.
run_workers() { # tier folder
    local made=$PWD/$2/workers node=$PWD/examples/workers/node check=$PWD/$2/bin/weft-worker-check
    local crashes=(run_criterion "$1") crash=("$PWD/$2/tests/system/test_process_engine" --filter '*/*__c')
    build_workers "$made" || { fault "$1" "the workers in Node and Go can't be built"; return; }
    export NODE_PATH=$made/node/node_modules
    run_named run_plain "$1" frames_node node tests/programs/node_frames.js tests/golden/worker_frames.json
    run_named run_plain "$1" frames_go bash tests/programs/go_frames.sh
    run_named run_plain "$1" check_node "$check" -- node "$node/conformance.js"
    run_named run_plain "$1" check_go "$check" -- "$made/go/conformance"
    WEFT_TEST_TRAIL_WORKER="node $PWD/tests/programs/trail_worker.js" run_named "${crashes[@]}" crashes_node "${crash[@]}"
    WEFT_TEST_TRAIL_WORKER="$made/go/trail" run_named "${crashes[@]}" crashes_go "${crash[@]}"
}

# What the system tier asks of worker processes on the mock cluster, on the real broker too.
run_workers_on_kafka() { # tier folder
    local name
    for name in process_engine process_life worker_peers; do
        WEFT_TEST_STAGE=kafka run_named run_criterion "$1" "kafka_$name" "$PWD/$2/tests/system/test_$name"
    done
}

start_broker() {
    local answer
    [ -z "${WEFT_TEST_KAFKA_BOOTSTRAP:-}" ] || return 0
    install_missing default-jre-headless maven kcat || return 1
    answer=$(tests/kafka/broker.sh start --sasl) || return 1
    broker_pid_file=$(sed -n 's/^pid_file=//p' <<<"$answer")
    export WEFT_TEST_KAFKA_BOOTSTRAP WEFT_TEST_KAFKA_SASL_BOOTSTRAP
    WEFT_TEST_KAFKA_BOOTSTRAP=$(sed -n 's/^bootstrap=//p' <<<"$answer")
    WEFT_TEST_KAFKA_SASL_BOOTSTRAP=$(sed -n 's/^sasl_bootstrap=//p' <<<"$answer")
}

run_tier() { # [build:]tier
    local label=$1 tier=${1#*:} kind=test runner=run_criterion program started=$SECONDS
    [ "$label" = "$tier" ] || kind=${label%%:*}
    [ "$tier" != fuzz ] || kind=fuzz
    case $tier in
    sim | stress) runner=run_plain ;;
    fuzz) runner=run_fuzzer ;;
    esac
    build "$kind" || return
    if [ "$tier" = kafka ]; then start_broker || { fault "$label" "no broker"; return; }; fi
    echo "== $label" >&2
    export WEFT_TEST_BUILD=$kind
    local before_passed=$passed before_failed=$failed
    slots=$(slots_of "$tier")
    # From the sources, not from what an older build left: a test that is gone must not run.
    for program in tests/"$tier"/test_*.c tests/"$tier/$tier"_*.c tests/"$tier/$tier".c; do
        [ -f "$program" ] || continue
        program=$(basename "$program" .c)
        # shellcheck disable=SC2053
        [[ $program == ${WEFT_TEST_ONLY:-*} ]] || continue
        begin "$label" "$program" "$runner" "$label" "$program" "$PWD/build-$kind/tests/$tier/$program"
    done
    [ "$tier" != workers ] || run_workers "$label" "build-$kind"
    [ "$tier" != kafka ] || run_workers_on_kafka "$label" "build-$kind"
    end_all "$label"
    check_minimum "$label" "$tier"
    echo "$label: $((passed - before_passed)) passed, $((failed - before_failed)) failed, $((SECONDS - started)) s"
}

check_minimum() { # label tier
    local minimum
    [ -z "${WEFT_TEST_ONLY:-}" ] || return 0
    minimum=$(awk -v tier="$2" -v label="$1" '$1 == label { own = $2 } $1 == tier { all = $2 }
        END { print own ? own : all }' tests/minimum.txt)
    [ "${counts[$1]:-0}" -ge "${minimum:-1}" ] || fault "$1" "ran ${counts[$1]:-0} tests, expected at least ${minimum:-1}"
}

write_minimum() {
    local tier
    for tier in "${!counts[@]}"; do
        [ "$tier" = "${tier#*:}" ] || continue
        sed -i "s/^$tier .*/$tier ${counts[$tier]}/" tests/minimum.txt
    done
}

expand() {
    local tier
    for tier in "$@"; do
        case $tier in
        asan) echo asan:unit asan:actor asan:system asan:sim asan:stress ;;
        tsan) echo tsan:sim tsan:stress ;;
        unit | actor | tidy | system | sim | stress | workers | kafka | fuzz) echo "$tier" ;;
        asan:?* | tsan:sim | tsan:stress) echo "$tier" ;;
        *) echo "run.sh: no such tier: $tier" >&2; return 1 ;;
        esac
    done
}

minimum=""
[ "${1:-}" = --minimum ] && { minimum=yes; shift; }
if [ -n "$minimum" ] && [ -n "${WEFT_TEST_ONLY:-}" ]; then
    echo "run.sh: --minimum counts whole tiers, WEFT_TEST_ONLY runs a part of them" >&2
    exit 2
fi
[ $# -gt 0 ] || set -- unit actor tidy system sim stress
tiers=$(expand "$@") || exit 2
for tier in $tiers; do run_tier "$tier"; done
[ $((passed + failed)) -gt 0 ] || fault "$*" "ran no test: no program matches ${WEFT_TEST_ONLY:-}"
[ -z "$minimum" ] || write_minimum
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
