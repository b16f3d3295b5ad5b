#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# quickstart.sh: from a bare Debian 12 to the main job. Installs what is missing, builds into build/, and runs the orders
# example on an embedded broker, which prints some lines of its own /metrics; then the same number of records through
# weft-sidecar with two worker processes in Python. Its exit status is that of the first of the two that failed.
#
#   bash examples/quickstart.sh [argument of build/bin/orders ...]
set -euo pipefail
cd "$(dirname "$0")/.."
. examples/setup.sh

# shellcheck disable=SC2086
install_missing $WEFT_PACKAGES python3 python3-zmq
echo "quickstart: building into build/" >&2
configure_and_build build "" -DCMAKE_BUILD_TYPE=Release
[ $# -gt 0 ] || set -- --records 200000
# Some lines of its own /metrics, on any free port.
export METRICS_ENABLED="${METRICS_ENABLED:-true}" METRICS_PORT="${METRICS_PORT:-0}"
echo "orders: the async engine, handlers in threads"
build/bin/orders "$@"
echo
echo "weft-sidecar: the process engine, two Python workers"
METRICS_ENABLED=false WEFT_GROUP_ID=sidecar WEFT_LOG_LEVEL=warn build/bin/with_broker --records 200000 -- \
    build/bin/weft-sidecar --until-end --workers 2 -- /usr/bin/python3 examples/workers/python/count_words.py
