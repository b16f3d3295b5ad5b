/* SPDX-License-Identifier: Apache-2.0
 *
 * The broker's side of the fake Kafka: logs with holes, and what the group has committed. Shared by the doors of all
 * members (fake_kafka.h). No threads, no clock; topics live until the cluster ends.
 */
#ifndef SUPPORT_FAKE_CLUSTER_H
#define SUPPORT_FAKE_CLUSTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct fake_header {
    const char *name;
    const void *value; /* NULL: null */
    size_t value_bytes;
} fake_header;

typedef struct fake_record {
    int64_t offset; /* -1: the next one; beyond it: what lies between is a hole */
    int64_t timestamp_ms;
    const void *key; /* NULL: null key */
    size_t key_bytes;
    const void *value; /* NULL: null value */
    size_t value_bytes;
    const fake_header *headers;
    size_t header_count;
} fake_record;

typedef struct fake_partition {
    const char *topic;
    int32_t partition;
    fake_record **records; /* by rising offset */
    size_t record_count;
    size_t record_room;
    int64_t start;     /* of the log */
    int64_t end;       /* one past the last offset, markers included */
    int64_t committed; /* -1: nothing */
    char *metadata;    /* NULL: none */
    size_t metadata_bytes;
    uint64_t commits;  /* that were stored */
    const void *owner; /* the member whose commits are taken; NULL: none */
} fake_partition;

typedef struct fake_cluster fake_cluster;

fake_cluster *fake_cluster_new(void);
void fake_cluster_free(fake_cluster *cluster);

void fake_cluster_topic(fake_cluster *cluster, const char *topic, int32_t partitions);
/* NULL: no such partition. Valid until the cluster ends. */
fake_partition *fake_cluster_partition(fake_cluster *cluster, const char *topic, int32_t partition);

/* Put a copy of the record at the end of the log; returns its offset. */
int64_t fake_cluster_append(fake_cluster *cluster, const char *topic, int32_t partition, const fake_record *record);
/* Short form: key "k<key>" (null when < 0) and the offset in decimal as value; `hole` offsets are left out before it.
 */
int64_t fake_cluster_add(fake_cluster *cluster, const char *topic, int32_t partition, int key, int64_t hole);
/* Offsets at the end of the log that no record has: a transaction marker, or compacted ones. */
void fake_cluster_mark(fake_cluster *cluster, const char *topic, int32_t partition, int64_t offsets);
/* Retention: records below `start` are gone. */
void fake_cluster_retain(fake_cluster *cluster, const char *topic, int32_t partition, int64_t start);
/* The topic was made anew: an empty log that begins at 0. What was committed stays, as on a real broker. */
void fake_cluster_reset(fake_cluster *cluster, const char *topic, int32_t partition);

/* Metadata longer than this is refused, for its partition alone; 4096 at first. */
void fake_cluster_set_metadata_max(fake_cluster *cluster, size_t bytes);
size_t fake_cluster_metadata_max(const fake_cluster *cluster);

/* What a broker does with one committed offset. */
void fake_partition_commit(fake_partition *partition, int64_t offset, const char *metadata, size_t metadata_bytes);
/* The first record at or above `offset`; record_count: none. */
size_t fake_partition_find(const fake_partition *partition, int64_t offset);

#endif
