#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# chaos.sh [--seconds N] [--runs N] [--seed N]: long runs of test_chaos, one seed after the other, each on a broker of its own.
# Build the tests first (bash tests/run.sh kafka). Stops at the first run that fails; its journals and logs stay.
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=600 runs=1 seed=$RANDOM
while [ $# -gt 0 ]; do
    case $1 in
    --seconds) seconds=$2 ;;
    --runs) runs=$2 ;;
    --seed) seed=$2 ;;
    *) sed -n '4,5s/^# \{0,1\}//p' "$0"; exit 2 ;;
    esac
    shift 2
done
for ((run = 0; run < runs; run++)); do
    WEFT_TEST_CHAOS_SECONDS=$seconds WEFT_TEST_SEED=$((seed + run)) build-test/tests/kafka/test_chaos
done
