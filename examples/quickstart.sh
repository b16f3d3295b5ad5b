#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# quickstart.sh: from a bare Debian 12 to the main job. Installs what is missing, builds into build/, and runs the orders
# example on an embedded broker, which prints some lines of its own /metrics; its exit status is the example's.
#
#   bash examples/quickstart.sh [argument of build/bin/orders ...]
set -euo pipefail
cd "$(dirname "$0")/.."
. examples/setup.sh

# shellcheck disable=SC2086
install_missing $WEFT_PACKAGES
echo "quickstart: building into build/" >&2
configure_and_build build "" -DCMAKE_BUILD_TYPE=Release
[ $# -gt 0 ] || set -- --records 200000
# Some lines of its own /metrics, on any free port.
export METRICS_ENABLED="${METRICS_ENABLED:-true}" METRICS_PORT="${METRICS_PORT:-0}"
exec build/bin/orders "$@"
