/* SPDX-License-Identifier: Apache-2.0
 *
 * What a handler does with a record, the same in every mode; and what a record says of itself.
 */
#ifndef BENCH_WORK_H
#define BENCH_WORK_H

#include <stdint.h>

#include "options.h"

typedef struct bench_work {
    work_kind kind;
    uint64_t ns;         /* how long */
    uint64_t iterations; /* cpu: rounds over the value instead; 0: by time */
} bench_work;

/* The lengths of a kind that the options name, at least one; and the work of one of them. */
size_t work_lengths(const bench_options *options, work_kind kind);
bench_work work_of(const bench_options *options, work_kind kind, size_t length);

/* Do it on the calling thread. */
void work_do(const bench_work *work, const void *value, size_t value_bytes);

uint64_t now_ns(void); /* monotonic */
void sleep_until_ns(uint64_t at_ns);

/* The first bytes of each value, in the byte order of this machine. */
typedef struct record_stamp {
    uint64_t index;    /* in the order in which the topic was filled */
    uint32_t key;      /* its number; NULL_KEY: none */
    uint32_t sequence; /* among the records of its key, from 0 */
} record_stamp;

#define NULL_KEY UINT32_MAX

#endif
