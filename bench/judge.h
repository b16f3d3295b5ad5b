/* SPDX-License-Identifier: Apache-2.0
 *
 * Was every record there once, and each key, or partition, in its order? A run that can't say yes is no result.
 *
 * 1. Order is judged where a record begins (judge_begin, any thread: the records of a lane come one at a time, which is
 *    what is being judged) or where the parent learns that it is complete (judge_complete, one thread).
 * 2. Completeness is judged by a bit per record (judge_complete), or by the number of records and the sum of a hash of
 *    where they are (tallies, one per thread, on cache lines of their own): both must be right.
 * 3. The first of each violation is kept as text; the others are counted.
 */
#ifndef BENCH_JUDGE_H
#define BENCH_JUDGE_H

#include <stdatomic.h>

#include "dataset.h"

typedef struct judge judge;

/* NULL: no memory. `data` must outlive it. `with_bits`: judge_complete() will be used. */
judge *judge_make(const dataset *data, run_order order, bool with_bits);
void judge_discard(judge *self);
uint64_t judge_bytes(const judge *self);

/* What one thread has begun. */
typedef struct judge_tally {
    _Alignas(64) _Atomic uint64_t records;
    _Atomic uint64_t positions; /* sum of hashes */
    _Atomic uint64_t first_ns;  /* of its first record; 0: none yet */
} judge_tally;

static inline uint64_t judge_hash(int32_t partition, int64_t offset) {
    uint64_t hash = ((uint64_t)(uint32_t)partition << 48 ^ (uint64_t)offset) * 0x9e3779b97f4a7c15u;
    return hash ^ hash >> 31;
}

void judge_begin(judge *self, int32_t partition, int64_t offset, const record_stamp *stamp);

static inline void judge_tally_add(judge_tally *tally, int32_t partition, int64_t offset) {
    uint64_t positions = atomic_load_explicit(&tally->positions, memory_order_relaxed);
    uint64_t records = atomic_load_explicit(&tally->records, memory_order_relaxed);
    atomic_store_explicit(&tally->positions, positions + judge_hash(partition, offset), memory_order_relaxed);
    atomic_store_explicit(&tally->records, records + 1, memory_order_release);
}

/* Thread: always the same. Needs the dataset's stamps. */
void judge_complete(judge *self, int32_t partition, int64_t offset);

/* After the run. True: nothing is wrong; otherwise `ret_text` says what. Bits are looked at where there are some;
 * `tallies` NULL: not those. */
bool judge_verdict(const judge *self, const judge_tally *tallies, size_t tally_count, char *ret_text,
                   size_t text_bytes);

#endif
