/* SPDX-License-Identifier: Apache-2.0
 *
 * The topics that a consumer has seen, each with one lasting name, and what is known of their partitions. Pure data.
 *
 * 1. A topic is never removed before the table ends, so the address of its entry can stand for it.
 * 2. Nothing is delivered of a partition while it is held. Held is paused: that throws away what was read ahead of it.
 * Taking its queue off the record queue instead (rd_kafka_queue_forward to NULL and back) keeps it, and like the pause
 * lost and repeated nothing in 70 random holds over 40,000 records; but 39 to 52 % of the records then came while their
 *    partition was held, all those that lay on the record queue already, and who holds a partition has no room for
 * them. It is not paused before its position is known, because that is dangerous with librdkafka 2.0.2: the resume asks
 *    for the position again, and that answer, coming late, takes the partition back to its beginning (seen in 4 of 60
 *    runs of random holds). Such a hold comes into force by withholding what arrives first, and pausing there.
 * 3. Handles (the library's own addresses of topics) may change and may be reused for another topic after an
 *    assignment, so they are forgotten at each.
 */
#ifndef WF_KAFKA_TOPIC_H
#define WF_KAFKA_TOPIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kafka.h"

/* A partition. Its *position* is known once it was assigned or sought at an offset, or has delivered something: before
 * that the library still asks for it. */
typedef struct wf_kafka_place {
    bool assigned;
    bool held; /* nothing of it is delivered */
    bool positioned;
    bool withheld; /* something came while it was held without a position; the first offset of it: */
    int64_t offset;
} wf_kafka_place;

typedef struct wf_kafka_topic {
    struct wf_kafka_topic *next;
    const void *handle; /* the one its records carried last; NULL: none since the last assignment */
    char *name;
    wf_kafka_place *places; /* by partition */
    size_t place_count;
} wf_kafka_topic;

typedef struct wf_kafka_topics {
    wf_kafka_topic *first;
    wf_kafka_topic *last_seen; /* of the last record; NULL: none */
} wf_kafka_topics;

/* Found or made. */
wf_kafka_topic *wf_kafka_topic_by_name(wf_kafka_topics *topics, const char *name);

/* The topic of a handle, of which the library tells the name. It may use several handles for one topic in turn. */
wf_kafka_topic *wf_kafka_topic_by_handle(wf_kafka_topics *topics, const void *handle,
                                         const char *(*name_of)(const void *handle));
static inline wf_kafka_topic *wf_kafka_topic_of(wf_kafka_topics *topics, const void *handle,
                                                const char *(*name_of)(const void *handle)) {
    if (topics->last_seen && topics->last_seen->handle == handle) return topics->last_seen;
    return wf_kafka_topic_by_handle(topics, handle, name_of);
}

/* What is known of one partition (>= 0): nothing at first. Valid until the next call. */
wf_kafka_place *wf_kafka_place_of(wf_kafka_topics *topics, const char *name, int32_t partition);

/* Something of this partition has arrived: is it to be delivered? What is not is noted as withheld. */
static inline bool wf_kafka_topic_admits(wf_kafka_topic *topic, int32_t partition, int64_t offset) {
    if ((size_t)partition >= topic->place_count) return true;
    wf_kafka_place *place = &topic->places[partition];
    place->positioned = place->positioned || !place->held;
    if (!place->held) return true;
    if (!place->withheld) place->offset = offset;
    place->withheld = true;
    return false;
}

/* One that has something withheld, or NULL; *ret_partition is its number. */
wf_kafka_topic *wf_kafka_topics_withheld(wf_kafka_topics *topics, int32_t *ret_partition);

/* Note that these were assigned (taken). Not incremental: instead of everything before (everything). */
void wf_kafka_topics_assign(wf_kafka_topics *topics, const wf_kafka_partition *partitions, size_t count,
                            bool incremental);
void wf_kafka_topics_unassign(wf_kafka_topics *topics, const wf_kafka_partition *partitions, size_t count,
                              bool incremental);

void wf_kafka_topics_deinit(wf_kafka_topics *topics);

#endif
