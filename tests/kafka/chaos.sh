#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# chaos.sh [--sidecar] [--seconds N] [--runs N] [--seed N]: long runs of test_chaos, or with --sidecar of test_sidecar_chaos,
# one seed after the other, on a broker of its own.
# Build the tests first (bash tests/run.sh kafka). Stops at the first run that fails; its journals and logs stay.
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=600 runs=1 seed=$RANDOM program=test_chaos broker=""
while [ $# -gt 0 ]; do
    case $1 in
    --sidecar) program=test_sidecar_chaos; shift; continue ;;
    --seconds) seconds=$2 ;;
    --runs) runs=$2 ;;
    --seed) seed=$2 ;;
    *) sed -n '4,6s/^# \{0,1\}//p' "$0"; exit 2 ;;
    esac
    shift 2
done
trap '[ -z "$broker" ] || bash tests/kafka/broker.sh stop "$broker"' EXIT
if [ "$program" = test_sidecar_chaos ]; then # the other one has its own
    answer=$(bash tests/kafka/broker.sh start)
    broker=$(sed -n 's/^pid_file=//p' <<<"$answer")
    WEFT_TEST_KAFKA_BOOTSTRAP=$(sed -n 's/^bootstrap=//p' <<<"$answer")
    export WEFT_TEST_KAFKA_BOOTSTRAP
fi
for ((run = 0; run < runs; run++)); do
    WEFT_TEST_CHAOS_SECONDS=$seconds WEFT_TEST_SEED=$((seed + run)) "build-test/tests/kafka/$program"
done
