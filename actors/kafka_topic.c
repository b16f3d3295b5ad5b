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

wf_kafka_topic *wf_kafka_topic_by_handle(wf_kafka_topics *topics, const void *handle,
                                         const char *(*name_of)(const void *handle)) {
    wf_kafka_topic *topic = topics->first;
    while (topic && topic->handle != handle) topic = topic->next;
    if (!topic) topic = wf_kafka_topic_by_name(topics, name_of(handle));
    topic->handle = handle;
    topics->last_seen = topic;
    return topic;
}

wf_kafka_place *wf_kafka_place_of(wf_kafka_topics *topics, const char *name, int32_t partition) {
    WF_CHECK(partition >= 0);
    wf_kafka_topic *topic = wf_kafka_topic_by_name(topics, name);
    size_t index = (size_t)partition;
    if (index >= topic->place_count) {
        size_t count = index + 16;
        wf_kafka_place *places = realloc(topic->places, count * sizeof *places);
        WF_CHECK(places != NULL);
        memset(places + topic->place_count, 0, (count - topic->place_count) * sizeof *places);
        topic->places = places;
        topic->place_count = count;
    }
    return &topic->places[index];
}

wf_kafka_topic *wf_kafka_topics_withheld(wf_kafka_topics *topics, int32_t *ret_partition) {
    for (wf_kafka_topic *topic = topics->first; topic; topic = topic->next)
        for (size_t i = 0; i < topic->place_count; i++) {
            *ret_partition = (int32_t)i;
            if (topic->places[i].withheld) return topic;
        }
    return NULL;
}

static void clear_places(wf_kafka_topics *topics) {
    for (wf_kafka_topic *topic = topics->first; topic; topic = topic->next)
        if (topic->places) memset(topic->places, 0, topic->place_count * sizeof *topic->places);
}

void wf_kafka_topics_assign(wf_kafka_topics *topics, const wf_kafka_partition *partitions, size_t count,
                            bool incremental) {
    if (!incremental) clear_places(topics);
    for (size_t i = 0; i < count; i++)
        *wf_kafka_place_of(topics, partitions[i].topic, partitions[i].partition) =
            (wf_kafka_place){.assigned = true, .positioned = partitions[i].offset >= 0};
    for (wf_kafka_topic *topic = topics->first; topic; topic = topic->next) topic->handle = NULL;
    topics->last_seen = NULL;
}

void wf_kafka_topics_unassign(wf_kafka_topics *topics, const wf_kafka_partition *partitions, size_t count,
                              bool incremental) {
    if (!incremental) clear_places(topics);
    for (size_t i = 0; i < count; i++)
        *wf_kafka_place_of(topics, partitions[i].topic, partitions[i].partition) = (wf_kafka_place){.assigned = false};
}

void wf_kafka_topics_deinit(wf_kafka_topics *topics) {
    while (topics->first) {
        wf_kafka_topic *topic = topics->first;
        topics->first = topic->next;
        free(topic->name);
        free(topic->places);
        free(topic);
    }
    topics->last_seen = NULL;
}
