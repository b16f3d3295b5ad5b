/* SPDX-License-Identifier: Apache-2.0 */
#include "topic.h"

#include <stdlib.h>
#include <string.h>

#include <librdkafka/rdkafka.h>

#include "must.h"

enum { PATIENCE_MS = 30000 };

static void set(rd_kafka_conf_t *conf, const char *name, const char *value) {
    char error[256];

    MUST(rd_kafka_conf_set(conf, name, value, error, sizeof error) == RD_KAFKA_CONF_OK, "topic: %s", error);
}

static void check(rd_kafka_resp_err_t error, const char *what, const char *topic) {
    MUST(!error, "%s %s: %s", what, topic, rd_kafka_err2str(error));
}

static rd_kafka_t *client_open(rd_kafka_type_t type, const char *bootstrap, const char *group) {
    char error[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_t *client;

    set(conf, "bootstrap.servers", bootstrap);
    if (type == RD_KAFKA_CONSUMER) {
        set(conf, "group.id", group ? group : "weft-test-looks");
        set(conf, "enable.auto.commit", "false");
        set(conf, "enable.partition.eof", "true");
        set(conf, "auto.offset.reset", "earliest");
        set(conf, "fetch.wait.max.ms", "20");
        set(conf, "check.crcs", "true");
    }
    client = rd_kafka_new(type, conf, error, sizeof error);
    MUST(client, "topic: %s", error);
    return client;
}

/* How many partitions the broker reports; 0: it does not know the topic. */
static int partition_count(rd_kafka_t *client, const char *topic) {
    const rd_kafka_metadata_t *metadata;
    rd_kafka_topic_t *handle = rd_kafka_topic_new(client, topic, NULL);
    int count = 0;

    check(rd_kafka_metadata(client, 0, handle, &metadata, PATIENCE_MS), "metadata of", topic);
    if (metadata->topic_cnt == 1 && !metadata->topics[0].err) {
        count = metadata->topics[0].partition_cnt;
        for (int i = 0; i < metadata->topics[0].partition_cnt; i++) {
            if (metadata->topics[0].partitions[i].err) count = -1; /* no leader yet */
        }
    }
    rd_kafka_metadata_destroy(metadata);
    rd_kafka_topic_destroy(handle);
    return count;
}

/* An admin call is done when the controller has noted it; the broker itself may need another moment. */
static void await_partitions(rd_kafka_t *client, const char *topic, int wanted) {
    uint64_t deadline_ms = must_now_ms() + PATIENCE_MS;

    while (partition_count(client, topic) != wanted) {
        MUST(must_now_ms() < deadline_ms, "%s does not get %d partitions", topic, wanted);
        rd_kafka_poll(client, 20);
    }
}

/* The error of the only topic or partition that an admin call was about. */
static rd_kafka_resp_err_t result_of(const rd_kafka_event_t *event) {
    const rd_kafka_topic_result_t **results = NULL;
    size_t count = 0;
    rd_kafka_event_t *mutable = (rd_kafka_event_t *)(uintptr_t)event;

    if (rd_kafka_event_error(mutable)) return rd_kafka_event_error(mutable);
    switch (rd_kafka_event_type(mutable)) {
    case RD_KAFKA_EVENT_CREATETOPICS_RESULT:
        results = rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(mutable), &count);
        break;
    case RD_KAFKA_EVENT_DELETETOPICS_RESULT:
        results = rd_kafka_DeleteTopics_result_topics(rd_kafka_event_DeleteTopics_result(mutable), &count);
        break;
    case RD_KAFKA_EVENT_CREATEPARTITIONS_RESULT:
        results = rd_kafka_CreatePartitions_result_topics(rd_kafka_event_CreatePartitions_result(mutable), &count);
        break;
    case RD_KAFKA_EVENT_DELETERECORDS_RESULT:
        return rd_kafka_DeleteRecords_result_offsets(rd_kafka_event_DeleteRecords_result(mutable))->elems[0].err;
    default:
        return RD_KAFKA_RESP_ERR__BAD_MSG;
    }
    return count == 1 ? rd_kafka_topic_result_error(results[0]) : RD_KAFKA_RESP_ERR__BAD_MSG;
}

static void await_result(rd_kafka_queue_t *queue, const char *what, const char *topic) {
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, PATIENCE_MS);

    MUST(event, "%s %s: no answer", what, topic);
    check(result_of(event), what, topic);
    rd_kafka_event_destroy(event);
    rd_kafka_queue_destroy(queue);
}

void topic_create(const char *bootstrap, const char *topic, int partitions, const char *const *settings) {
    char error[256];
    rd_kafka_t *client = client_open(RD_KAFKA_PRODUCER, bootstrap, NULL);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(client);
    rd_kafka_NewTopic_t *request = rd_kafka_NewTopic_new(topic, partitions, 1, error, sizeof error);

    MUST(request, "create %s: %s", topic, error);
    for (size_t i = 0; settings && settings[i]; i += 2) {
        check(rd_kafka_NewTopic_set_config(request, settings[i], settings[i + 1]), settings[i], topic);
    }
    rd_kafka_CreateTopics(client, &request, 1, NULL, queue);
    await_result(queue, "create", topic);
    rd_kafka_NewTopic_destroy(request);
    await_partitions(client, topic, partitions);
    rd_kafka_destroy(client);
}

void topic_delete(const char *bootstrap, const char *topic) {
    rd_kafka_t *client = client_open(RD_KAFKA_PRODUCER, bootstrap, NULL);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(client);
    rd_kafka_DeleteTopic_t *request = rd_kafka_DeleteTopic_new(topic);

    rd_kafka_DeleteTopics(client, &request, 1, NULL, queue);
    await_result(queue, "delete", topic);
    rd_kafka_DeleteTopic_destroy(request);
    await_partitions(client, topic, 0);
    rd_kafka_destroy(client);
}

void topic_grow(const char *bootstrap, const char *topic, int partitions) {
    char error[256];
    rd_kafka_t *client = client_open(RD_KAFKA_PRODUCER, bootstrap, NULL);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(client);
    rd_kafka_NewPartitions_t *request = rd_kafka_NewPartitions_new(topic, (size_t)partitions, error, sizeof error);

    MUST(request, "grow %s: %s", topic, error);
    rd_kafka_CreatePartitions(client, &request, 1, NULL, queue);
    await_result(queue, "grow", topic);
    rd_kafka_NewPartitions_destroy(request);
    await_partitions(client, topic, partitions);
    rd_kafka_destroy(client);
}

void topic_truncate(const char *bootstrap, const char *topic, int32_t partition, int64_t before_offset) {
    rd_kafka_t *client = client_open(RD_KAFKA_PRODUCER, bootstrap, NULL);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(client);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_DeleteRecords_t *request;

    rd_kafka_topic_partition_list_add(list, topic, partition)->offset = before_offset;
    request = rd_kafka_DeleteRecords_new(list);
    rd_kafka_DeleteRecords(client, &request, 1, NULL, queue);
    await_result(queue, "truncate", topic);
    rd_kafka_DeleteRecords_destroy(request);
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_destroy(client);
}

void topic_ends(const char *bootstrap, const char *topic, int32_t partition, int64_t *ret_first, int64_t *ret_end) {
    rd_kafka_t *client = client_open(RD_KAFKA_CONSUMER, bootstrap, NULL);
    uint64_t deadline_ms = must_now_ms() + PATIENCE_MS;
    rd_kafka_resp_err_t error;

    /* The broker tells of a new partition a moment before it is the leader of it. */
    while ((error = rd_kafka_query_watermark_offsets(client, topic, partition, ret_first, ret_end, PATIENCE_MS)) ==
               RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION &&
           must_now_ms() < deadline_ms)
        rd_kafka_poll(client, 20);
    check(error, "ends of", topic);
    rd_kafka_destroy(client);
}

int64_t group_committed(const char *bootstrap, const char *group, const char *topic, int32_t partition,
                        char **ret_metadata, size_t *ret_bytes) {
    rd_kafka_t *client = client_open(RD_KAFKA_CONSUMER, bootstrap, group);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_t *entry = rd_kafka_topic_partition_list_add(list, topic, partition);
    int64_t offset;

    check(rd_kafka_committed(client, list, PATIENCE_MS), "committed offset of", topic);
    check(entry->err, "committed offset of", topic);
    offset = entry->offset >= 0 ? entry->offset : -1;
    if (ret_bytes) *ret_bytes = entry->metadata_size;
    if (ret_metadata) {
        *ret_metadata = NULL;
        if (entry->metadata_size > 0) {
            *ret_metadata = must_alloc(1, entry->metadata_size + 1);
            memcpy(*ret_metadata, entry->metadata, entry->metadata_size);
        }
    }
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_destroy(client);
    return offset;
}

void group_commit(const char *bootstrap, const char *group, const char *topic, int32_t partition, int64_t offset,
                  const char *metadata, size_t metadata_bytes) {
    rd_kafka_t *client = client_open(RD_KAFKA_CONSUMER, bootstrap, group);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_t *entry = rd_kafka_topic_partition_list_add(list, topic, partition);

    entry->offset = offset;
    if (metadata) {
        entry->metadata = must_alloc(1, metadata_bytes + 1); /* the list frees it */
        memcpy(entry->metadata, metadata, metadata_bytes);
        entry->metadata_size = metadata_bytes;
    }
    check(rd_kafka_commit(client, list, 0), "commit for", topic);
    check(entry->err, "commit for", topic);
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_destroy(client);
}

static logged_record logged_of(rd_kafka_message_t *message) {
    return (logged_record){
        .partition = message->partition,
        .offset = message->offset,
        .timestamp_ms = rd_kafka_message_timestamp(message, NULL),
        .key = message->key,
        .key_bytes = message->key_len,
        .value = message->payload,
        .value_bytes = message->len,
        .message = message,
    };
}

/* Read the assigned partition up to `end`; false: the visitor has had enough. */
static bool read_partition(rd_kafka_t *client, int64_t end, logged_visit visit, void *context, uint64_t *count) {
    uint64_t deadline_ms = must_now_ms() + PATIENCE_MS;

    for (;;) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(client, 100);
        bool over, enough = false;

        MUST(message || must_now_ms() < deadline_ms, "a partition does not come to its end");
        if (!message) continue;
        if (message->err && message->err != RD_KAFKA_RESP_ERR__PARTITION_EOF) {
            MUST(must_now_ms() < deadline_ms, "read: %s", rd_kafka_message_errstr(message));
            rd_kafka_message_destroy(message);
            continue;
        }
        over = message->offset >= end;
        if (!message->err && !over) {
            logged_record record = logged_of(message);

            ++*count;
            enough = !visit(&record, context);
            deadline_ms = must_now_ms() + PATIENCE_MS;
        }
        rd_kafka_message_destroy(message);
        if (over || enough) return !enough;
    }
}

uint64_t topic_read(const char *bootstrap, const char *topic, logged_visit visit, void *context) {
    rd_kafka_t *client = client_open(RD_KAFKA_CONSUMER, bootstrap, NULL);
    int partitions = partition_count(client, topic);
    uint64_t count = 0;
    bool more = true;

    rd_kafka_poll_set_consumer(client);
    for (int32_t partition = 0; partition < partitions && more; partition++) {
        rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
        int64_t first, end;

        check(rd_kafka_query_watermark_offsets(client, topic, partition, &first, &end, PATIENCE_MS), "ends of", topic);
        if (first < end) {
            rd_kafka_topic_partition_list_add(list, topic, partition)->offset = first;
            check(rd_kafka_assign(client, list), "assign", topic);
            more = read_partition(client, end, visit, context, &count);
            check(rd_kafka_assign(client, NULL), "unassign", topic);
        }
        rd_kafka_topic_partition_list_destroy(list);
    }
    rd_kafka_consumer_close(client);
    rd_kafka_destroy(client);
    return count;
}

bool logged_header(const logged_record *record, const char *name, const void **ret_value, size_t *ret_bytes) {
    rd_kafka_headers_t *headers;

    if (rd_kafka_message_headers(record->message, &headers)) return false;
    return !rd_kafka_header_get_last(headers, name, ret_value, ret_bytes);
}
