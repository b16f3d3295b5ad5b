/* SPDX-License-Identifier: Apache-2.0
 *
 * Looking at topics and groups from outside, and preparing them: what an operator does with command-line tools.
 *
 * topic_create(), topic_delete() and topic_grow() are admin calls and need a real broker; the rest works on the mock as
 * well.
 */
#ifndef SUPPORT_TOPIC_H
#define SUPPORT_TOPIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* `settings`: pairs of topic settings ("cleanup.policy", "compact"), NULL at the end, or NULL. Returns when the topic
 * can be used. */
void topic_create(const char *bootstrap, const char *topic, int partitions, const char *const *settings);
void topic_delete(const char *bootstrap, const char *topic); /* returns when no broker knows it any more */
void topic_grow(const char *bootstrap, const char *topic, int partitions);
void topic_truncate(const char *bootstrap, const char *topic, int32_t partition, int64_t before_offset);

/* The first offset and the one past the last. */
void topic_ends(const char *bootstrap, const char *topic, int32_t partition, int64_t *ret_first, int64_t *ret_end);

/* What a group has committed: the offset, -1 for nothing; the metadata, NULL for none (free() frees it; length beside
 * it). */
int64_t group_committed(const char *bootstrap, const char *group, const char *topic, int32_t partition,
                        char **ret_metadata, size_t *ret_bytes);

/* Commit for a group that has no members. `metadata` may be NULL. */
void group_commit(const char *bootstrap, const char *group, const char *topic, int32_t partition, int64_t offset,
                  const char *metadata, size_t metadata_bytes);

/* One record as it is in the log; valid during the call. Return false to stop. */
typedef struct logged_record {
    int32_t partition;
    int64_t offset;
    int64_t timestamp_ms;
    const void *key; /* NULL: null key */
    size_t key_bytes;
    const void *value; /* NULL: null value */
    size_t value_bytes;
    const void *message; /* for logged_header() */
} logged_record;
typedef bool (*logged_visit)(const logged_record *record, void *context);

/* Every record of the topic from its beginning to the end that it has when the call starts, partition by partition
 * (read_committed). Returns how many there were. */
uint64_t topic_read(const char *bootstrap, const char *topic, logged_visit visit, void *context);

/* The last header of that name: false when there is none. */
bool logged_header(const logged_record *record, const char *name, const void **ret_value, size_t *ret_bytes);

#endif
