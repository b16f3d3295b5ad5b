/* SPDX-License-Identifier: Apache-2.0
 *
 * The topics that a consumer has seen, each with one lasting name, and what is known of
 * their partitions. Pure data.
 *
 * 1. A topic is never removed before the table ends, so the address of its entry can stand for it.
 * 2. Handles (the library's own addresses of topics) may change and may be reused for another topic after an
 * assignment: wf_kafka_topics_forget_handles() comes before each.
 */
#ifndef WF_KAFKA_TOPIC_H
#define WF_KAFKA_TOPIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct wf_kafka_place {
    bool assigned;
    bool held; /* paused by us */
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
void wf_kafka_topics_forget_handles(wf_kafka_topics *topics);

/* What is known of one partition (>= 0): nothing at first. Valid until the next call. */
wf_kafka_place *wf_kafka_place_of(wf_kafka_topics *topics, const char *name, int32_t partition);

/* All that is assigned goes: an eager assignment replaces the one before. */
void wf_kafka_topics_unassign(wf_kafka_topics *topics);

void wf_kafka_topics_deinit(wf_kafka_topics *topics);

#endif
