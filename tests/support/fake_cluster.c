/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_cluster.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "must.h"

/* A record is one block and lives until the cluster ends: doors may have fetched it before it left the log. */
typedef struct kept {
    struct kept *next;
    fake_record record;
} kept;

typedef struct fake_topic {
    struct fake_topic *next;
    char *name;
    fake_partition *partitions;
    int32_t partition_count;
} fake_topic;

struct fake_cluster {
    fake_topic *topics;
    kept *records;
    size_t metadata_max;
};

fake_cluster *fake_cluster_new(void) {
    fake_cluster *cluster = must_alloc(1, sizeof *cluster);
    cluster->metadata_max = 4096;
    return cluster;
}

void fake_cluster_free(fake_cluster *cluster) {
    while (cluster->topics) {
        fake_topic *topic = cluster->topics;
        cluster->topics = topic->next;
        for (int32_t i = 0; i < topic->partition_count; i++) {
            free(topic->partitions[i].records);
            free(topic->partitions[i].metadata);
        }
        free(topic->partitions);
        free(topic->name);
        free(topic);
    }
    while (cluster->records) {
        kept *record = cluster->records;
        cluster->records = record->next;
        free(record);
    }
    free(cluster);
}

void fake_cluster_topic(fake_cluster *cluster, const char *name, int32_t partitions) {
    MUST(fake_cluster_partition(cluster, name, 0) == NULL, "topic %s is there already", name);
    fake_topic *topic = must_alloc(1, sizeof *topic);
    topic->name = strdup(name);
    MUST(topic->name, "no memory");
    topic->partition_count = partitions;
    topic->partitions = must_alloc((size_t)partitions, sizeof *topic->partitions);
    for (int32_t i = 0; i < partitions; i++)
        topic->partitions[i] = (fake_partition){.topic = topic->name, .partition = i, .committed = -1};
    topic->next = cluster->topics;
    cluster->topics = topic;
}

fake_partition *fake_cluster_partition(fake_cluster *cluster, const char *name, int32_t partition) {
    for (fake_topic *topic = cluster->topics; topic; topic = topic->next)
        if (strcmp(topic->name, name) == 0)
            return partition >= 0 && partition < topic->partition_count ? &topic->partitions[partition] : NULL;
    return NULL;
}

static fake_partition *partition_that_is_there(fake_cluster *cluster, const char *topic, int32_t number) {
    fake_partition *partition = fake_cluster_partition(cluster, topic, number);
    MUST(partition, "no partition %s %d", topic, (int)number);
    return partition;
}

static char *put(char **at, const void *bytes, size_t count) {
    char *begin = *at;
    if (count > 0) memcpy(begin, bytes, count);
    *at += count;
    return begin;
}

static fake_record *keep(fake_cluster *cluster, const fake_record *from) {
    size_t bytes = from->key_bytes + from->value_bytes + from->header_count * sizeof *from->headers;
    for (size_t i = 0; i < from->header_count; i++)
        bytes += strlen(from->headers[i].name) + 1 + from->headers[i].value_bytes;
    kept *made = must_alloc(1, sizeof *made + bytes);
    made->next = cluster->records;
    cluster->records = made;
    made->record = *from;
    fake_header *headers = (fake_header *)(made + 1);
    char *at = (char *)(headers + from->header_count);
    for (size_t i = 0; i < from->header_count; i++) {
        headers[i] = from->headers[i];
        headers[i].name = put(&at, from->headers[i].name, strlen(from->headers[i].name) + 1);
        if (from->headers[i].value) headers[i].value = put(&at, from->headers[i].value, from->headers[i].value_bytes);
    }
    made->record.headers = headers;
    if (from->key) made->record.key = put(&at, from->key, from->key_bytes);
    if (from->value) made->record.value = put(&at, from->value, from->value_bytes);
    return &made->record;
}

int64_t fake_cluster_append(fake_cluster *cluster, const char *topic, int32_t number, const fake_record *record) {
    fake_partition *partition = partition_that_is_there(cluster, topic, number);
    MUST(record->offset < 0 || record->offset >= partition->end, "the log does not go back");
    if (partition->record_count == partition->record_room) {
        partition->record_room = partition->record_room ? 2 * partition->record_room : 64;
        partition->records = realloc(partition->records, partition->record_room * sizeof *partition->records);
        MUST(partition->records, "no memory");
    }
    fake_record *added = keep(cluster, record);
    if (added->offset < 0) added->offset = partition->end;
    partition->records[partition->record_count++] = added;
    partition->end = added->offset + 1;
    return added->offset;
}

int64_t fake_cluster_add(fake_cluster *cluster, const char *topic, int32_t number, int key, int64_t hole) {
    char key_text[16];
    char value[32];
    int64_t offset = partition_that_is_there(cluster, topic, number)->end + hole;
    int key_bytes = snprintf(key_text, sizeof key_text, "k%d", key);
    int value_bytes = snprintf(value, sizeof value, "%lld", (long long)offset);
    fake_record record = {
        .offset = offset,
        .timestamp_ms = 1700000000000 + offset,
        .key = key >= 0 ? key_text : NULL,
        .key_bytes = key >= 0 ? (size_t)key_bytes : 0,
        .value = value,
        .value_bytes = (size_t)value_bytes,
    };
    return fake_cluster_append(cluster, topic, number, &record);
}

void fake_cluster_mark(fake_cluster *cluster, const char *topic, int32_t number, int64_t offsets) {
    partition_that_is_there(cluster, topic, number)->end += offsets;
}

void fake_cluster_retain(fake_cluster *cluster, const char *topic, int32_t number, int64_t start) {
    fake_partition *partition = partition_that_is_there(cluster, topic, number);
    MUST(start >= partition->start && start <= partition->end, "retention outside of the log");
    size_t gone = fake_partition_find(partition, start);
    memmove(partition->records, partition->records + gone,
            (partition->record_count - gone) * sizeof *partition->records);
    partition->record_count -= gone;
    partition->start = start;
}

void fake_cluster_reset(fake_cluster *cluster, const char *topic, int32_t number) {
    fake_partition *partition = partition_that_is_there(cluster, topic, number);
    partition->record_count = 0;
    partition->start = partition->end = 0;
}

void fake_cluster_set_metadata_max(fake_cluster *cluster, size_t bytes) {
    cluster->metadata_max = bytes;
}

size_t fake_cluster_metadata_max(const fake_cluster *cluster) {
    return cluster->metadata_max;
}

void fake_partition_commit(fake_partition *partition, int64_t offset, const char *metadata, size_t metadata_bytes) {
    char *copy = must_alloc(metadata_bytes + 1, 1);
    if (metadata_bytes > 0) memcpy(copy, metadata, metadata_bytes);
    free(partition->metadata);
    partition->committed = offset;
    partition->metadata = copy;
    partition->metadata_bytes = metadata_bytes;
    partition->commits++;
}

size_t fake_partition_find(const fake_partition *partition, int64_t offset) {
    size_t low = 0;
    size_t high = partition->record_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (partition->records[middle]->offset < offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}
