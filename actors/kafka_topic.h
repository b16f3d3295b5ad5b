/* SPDX-License-Identifier: Apache-2.0
 *
 * The topics that a consumer has seen, each with one lasting name, and which of their partitions are held back. Pure data.
 *
 * 1. A topic is never removed before the table ends, so the address of its entry can stand for it.
 * 2. Handles (the library's own addresses of topics) may change and may be reused for another topic after an assignment:
 *    wf_kafka_topics_forget_handles() comes before each.
 */
#ifndef WF_KAFKA_TOPIC_H
#define WF_KAFKA_TOPIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct wf_kafka_topic {
    struct wf_kafka_topic *next;
    const void *handle; /* the one its records carried last; NULL: none since the last assignment */
    char *name;
    bool *held;         /* by partition */
    size_t held_count;
} wf_kafka_topic;

typedef struct wf_kafka_topics {
    wf_kafka_topic *first;
    wf_kafka_topic *last_seen; /* of the last record; NULL: none */
} wf_kafka_topics;

/* Found or made. */
wf_kafka_topic *wf_kafka_topic_by_name(wf_kafka_topics *topics, const char *name);

/* NULL: this handle was not seen yet; then find the topic by name and wf_kafka_topic_seen() it. */
static inline wf_kafka_topic *wf_kafka_topic_by_handle(wf_kafka_topics *topics, const void *handle) {
    if (topics->last_seen && topics->last_seen->handle == handle) return topics->last_seen;
    wf_kafka_topic *topic = topics->first;
    while (topic && topic->handle != handle) topic = topic->next;
    if (topic) topics->last_seen = topic;
    return topic;
}

void wf_kafka_topic_seen(wf_kafka_topics *topics, wf_kafka_topic *topic, const void *handle);
void wf_kafka_topics_forget_handles(wf_kafka_topics *topics);

/* The flag of one partition (>= 0), false at first; valid until the next call for this topic. */
bool *wf_kafka_topic_held(wf_kafka_topic *topic, int32_t partition);

void wf_kafka_topics_deinit(wf_kafka_topics *topics);

#endif
