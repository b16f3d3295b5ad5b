/* SPDX-License-Identifier: Apache-2.0
 *
 * Counts allocations of this process: malloc and its kin, of all libraries. The functions stand in front of the C
 * library's in this program, count, and call those. Not with a sanitizer, which stands there itself.
 */
#ifndef BENCH_ALLOCATIONS_H
#define BENCH_ALLOCATIONS_H

#include <stdbool.h>
#include <stdint.h>

bool allocations_are_counted(void);

/* Since the start of the process. Thread: any. */
uint64_t allocations_count(void);

#endif
