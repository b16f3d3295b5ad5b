/* SPDX-License-Identifier: Apache-2.0
 *
 * Topics and groups: made, filled, looked at and removed. On the embedded broker, which knows no administration, topics
 * are made by its own call and nothing needs to be removed.
 */
#ifndef BENCH_TOPIC_H
#define BENCH_TOPIC_H

#include <stdatomic.h>

#include "dataset.h"
#include "embedded.h"

/* Where topics are. `embedded` NULL: real brokers. */
typedef struct bench_cluster {
    const char *bootstrap;
    embedded_broker *embedded;
} bench_cluster;

/* What follows says on stderr what is wrong, and returns false. */

/* Does the embedded broker keep all of it? It drops the oldest beyond 5 MiB or 100,000 batches per partition. */
bool topic_fits_embedded(const bench_topic *topic, bool one_by_one);

/* `ret_is_new`: false when it was there already. */
bool topic_create(const bench_cluster *cluster, const bench_topic *topic, bool *ret_is_new);

/* Write all records, and see that the log has them. */
bool topic_fill(const bench_cluster *cluster, const bench_topic *topic, fault_kind fault);

/* Has the log exactly these? Only that many, from offset 0: what they are is not looked at. */
bool topic_is_filled(const bench_cluster *cluster, const bench_topic *topic);

/* The same at a rate, record i at start_ns + i * 1e9 / rate; `begin` is told start_ns before the first. Ends early when
 * *stopping. */
typedef void (*topic_begin)(void *context, uint64_t start_ns);
bool topic_produce(const bench_cluster *cluster, const bench_topic *topic, fault_kind fault, uint64_t rate,
                   topic_begin begin, void *context, const atomic_bool *stopping);

void topic_delete(const bench_cluster *cluster, const char *topic);
void group_delete(const bench_cluster *cluster, const char *group);

/* The ends of all partitions. */
bool topic_ends(const char *bootstrap, const char *topic, int partitions, int64_t *ret_first, int64_t *ret_end);

/* What the group has committed; -1: nothing. */
bool group_committed(const char *bootstrap, const char *group, const char *topic, int partitions,
                     int64_t *ret_committed);

#endif
