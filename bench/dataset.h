/* SPDX-License-Identifier: Apache-2.0
 *
 * What is in a topic: the same from the same parameters, so that whoever reads it can say what must come.
 *
 * 1. Record i has a key, a place in the sequence of its key, a partition; offsets of a partition begin at 0 and have no
 *    holes, so (partition, offset) has a position: first[partition] + offset.
 * 2. A key is in one partition.
 */
#ifndef BENCH_DATASET_H
#define BENCH_DATASET_H

#include "matrix.h"

typedef struct dataset {
    uint64_t records, keys;
    int partitions;
    uint64_t first[PARTITIONS_MAX + 1]; /* position of offset 0; the last one: records */
    record_stamp *stamps;               /* by position; NULL: only counted */
    uint64_t bytes;                     /* of memory that this takes */
} dataset;

/* NULL: no memory. `with_stamps`: with what each record is. */
dataset *dataset_make(const bench_topic *topic, bool with_stamps);
void dataset_free(dataset *self);

static inline uint64_t dataset_position(const dataset *self, int32_t partition, int64_t offset) {
    return self->first[partition] + (uint64_t)offset;
}

/* Does the log have such a place? */
static inline bool dataset_has(const dataset *self, int32_t partition, int64_t offset) {
    return partition >= 0 && partition < self->partitions && offset >= 0 &&
           (uint64_t)offset < self->first[partition + 1] - self->first[partition];
}

/* Walks through the records in the order in which they are produced. */
typedef struct dataset_walk dataset_walk;
dataset_walk *dataset_walk_begin(const bench_topic *topic); /* NULL: no memory */
void dataset_walk_end(dataset_walk *walk);
record_stamp dataset_walk_next(dataset_walk *walk, int32_t *ret_partition);

#endif
