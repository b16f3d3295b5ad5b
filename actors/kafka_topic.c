/* SPDX-License-Identifier: Apache-2.0 */
#include "kafka_topic.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"

wf_kafka_topic *wf_kafka_topic_by_name(wf_kafka_topics *topics, const char *name) {
    for (wf_kafka_topic *topic = topics->first; topic; topic = topic->next)
        if (strcmp(topic->name, name) == 0) return topic;
    wf_kafka_topic *made = calloc(1, sizeof *made);
    WF_CHECK(made != NULL);
    made->name = strdup(name);
    WF_CHECK(made->name != NULL);
    made->next = topics->first;
    topics->first = made;
    return made;
}

void wf_kafka_topic_seen(wf_kafka_topics *topics, wf_kafka_topic *topic, const void *handle) {
    topic->handle = handle;
    topics->last_seen = topic;
}

void wf_kafka_topics_forget_handles(wf_kafka_topics *topics) {
    for (wf_kafka_topic *topic = topics->first; topic; topic = topic->next) topic->handle = NULL;
    topics->last_seen = NULL;
}

bool *wf_kafka_topic_held(wf_kafka_topic *topic, int32_t partition) {
    WF_CHECK(partition >= 0);
    size_t index = (size_t)partition;
    if (index >= topic->held_count) {
        size_t count = index + 16;
        bool *held = realloc(topic->held, count * sizeof *held);
        WF_CHECK(held != NULL);
        memset(held + topic->held_count, 0, (count - topic->held_count) * sizeof *held);
        topic->held = held;
        topic->held_count = count;
    }
    return &topic->held[index];
}

void wf_kafka_topics_deinit(wf_kafka_topics *topics) {
    while (topics->first) {
        wf_kafka_topic *topic = topics->first;
        topics->first = topic->next;
        free(topic->name);
        free(topic->held);
        free(topic);
    }
    topics->last_seen = NULL;
}
