#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The tests of the worker in Go, counted as tests/run.sh counts: the last line is `N passed, N failed`.
set -uo pipefail
cd "$(dirname "$0")/../../examples/workers/go" || exit 2
go test -count=1 -v ./weft | awk '
    { print }
    /^--- PASS/ { passed++ }
    /^--- FAIL/ { failed++ }
    END { printf "%d passed, %d failed\n", passed, failed }'
