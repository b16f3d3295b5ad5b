/* SPDX-License-Identifier: Apache-2.0 */
#include "kafka_list.h"

#include <string.h>

#include <librdkafka/rdkafka.h>

#include "kafka_commit.h"
#include "kafka_note.h"

rd_kafka_topic_partition_list_t *wf_kafka_list_of(const wf_kafka_partition *partitions, size_t count) {
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)count);
    for (size_t i = 0; i < count; i++) {
        const wf_kafka_partition *from = &partitions[i];
        rd_kafka_topic_partition_t *to = rd_kafka_topic_partition_list_add(list, from->topic, from->partition);
        to->offset = from->offset;
        if (from->metadata && from->metadata_bytes > 0) {
            to->metadata = wf_kafka_allocate(from->metadata_bytes, 1); /* the list frees it with free() */
            memcpy(to->metadata, from->metadata, from->metadata_bytes);
            to->metadata_size = from->metadata_bytes;
        }
    }
    return list;
}

wf_kafka_partition *wf_kafka_view_of(const rd_kafka_topic_partition_list_t *list, size_t *ret_count) {
    size_t count = list ? (size_t)list->cnt : 0;
    wf_kafka_partition *view = wf_kafka_allocate(count, sizeof *view);
    for (size_t i = 0; i < count; i++) {
        const rd_kafka_topic_partition_t *from = &list->elems[i];
        int64_t offset = from->offset >= 0 ? from->offset : WF_KAFKA_OFFSET_NONE;
        size_t bytes = wf_kafka_metadata_bytes(rd_kafka_version(), from->metadata, from->metadata_size);
        view[i] = (wf_kafka_partition){from->topic, from->partition, offset, from->metadata, bytes, (int)from->err};
    }
    *ret_count = count;
    return view;
}
