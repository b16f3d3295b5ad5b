/* SPDX-License-Identifier: Apache-2.0
 *
 * The topic that all modes read. Its name says what is in it, so that a second call finds it and does not fill it
 * again. Records: key "key-NNNNNNN" chosen at random with a fixed seed, the partition by key number, bytes of value
 * that do not compress, not compressed.
 */
#include "consume.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <librdkafka/rdkafka.h>

enum { PATIENCE_MS = 60000 };

static rd_kafka_t *open_producer(const consume_plan *plan) {
    static const char *const settings[][2] = {{"linger.ms", "20"},
                                              {"queue.buffering.max.messages", "500000"},
                                              {"compression.codec", "none"},
                                              {"enable.idempotence", "true"}};
    char error[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    bool fine = !rd_kafka_conf_set(conf, "bootstrap.servers", plan->bootstrap, error, sizeof error);
    rd_kafka_t *client = NULL;

    for (size_t i = 0; fine && i < sizeof settings / sizeof *settings; i++) {
        fine = !rd_kafka_conf_set(conf, settings[i][0], settings[i][1], error, sizeof error);
    }
    if (fine) client = rd_kafka_new(RD_KAFKA_PRODUCER, conf, error, sizeof error);
    if (!client) {
        fprintf(stderr, "%s\n", error);
        rd_kafka_conf_destroy(conf);
    }
    return client;
}

bool consume_topic_ends(const consume_plan *plan, int64_t *ret_first, int64_t *ret_end) {
    rd_kafka_t *client = open_producer(plan);
    rd_kafka_resp_err_t error = client ? RD_KAFKA_RESP_ERR_NO_ERROR : RD_KAFKA_RESP_ERR__FAIL;
    uint64_t deadline_ns = consume_now_ns() + 10000000000u;

    for (int32_t i = 0; i < plan->partitions && !error; i++) {
        /* A topic just created takes a moment until its leaders know that they are. */
        do {
            error = rd_kafka_query_watermark_offsets(client, plan->topic, i, &ret_first[i], &ret_end[i], PATIENCE_MS);
        } while (error && consume_now_ns() < deadline_ns && rd_kafka_poll(client, 100) >= 0);
    }
    if (error) fprintf(stderr, "ends of %s: %s\n", plan->topic, rd_kafka_err2str(error));
    if (client) rd_kafka_destroy(client);
    return !error;
}

/* Create the topic; one that exists is fine. */
static bool create(rd_kafka_t *client, const consume_plan *plan) {
    char error[256];
    rd_kafka_queue_t *queue = rd_kafka_queue_new(client);
    rd_kafka_NewTopic_t *request = rd_kafka_NewTopic_new(plan->topic, plan->partitions, 1, error, sizeof error);
    rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR__TIMED_OUT;
    rd_kafka_event_t *event;

    rd_kafka_CreateTopics(client, &request, 1, NULL, queue);
    event = rd_kafka_queue_poll(queue, PATIENCE_MS);
    if (event) {
        size_t count = 0;
        const rd_kafka_topic_result_t **results;

        code = rd_kafka_event_error(event);
        results = rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &count);
        if (!code && count == 1) code = rd_kafka_topic_result_error(results[0]);
        rd_kafka_event_destroy(event);
    }
    rd_kafka_NewTopic_destroy(request);
    rd_kafka_queue_destroy(queue);
    if (!code || code == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS) return true;
    fprintf(stderr, "create %s: %s\n", plan->topic, rd_kafka_err2str(code));
    return false;
}

static uint64_t next_random(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static bool put(rd_kafka_t *client, rd_kafka_topic_t *topic, const consume_plan *plan, uint64_t key_index,
                void *value) {
    char key[32];
    int key_bytes = snprintf(key, sizeof key, "key-%07llu", (unsigned long long)key_index);
    int32_t partition = (int32_t)(key_index % (uint64_t)plan->partitions);

    while (rd_kafka_produce(topic, partition, RD_KAFKA_MSG_F_COPY, value, plan->value_bytes, key, (size_t)key_bytes,
                            NULL) != 0) {
        if (rd_kafka_last_error() != RD_KAFKA_RESP_ERR__QUEUE_FULL) {
            fprintf(stderr, "produce: %s\n", rd_kafka_err2str(rd_kafka_last_error()));
            return false;
        }
        rd_kafka_poll(client, 100);
    }
    return true;
}

static bool fill(rd_kafka_t *client, const consume_plan *plan) {
    rd_kafka_topic_t *topic = rd_kafka_topic_new(client, plan->topic, NULL);
    uint64_t state = 0x9e3779b97f4a7c15ull, *value = calloc(plan->value_bytes / 8 + 1, 8);
    bool fine = topic && value;

    for (size_t i = 0; fine && i < plan->value_bytes / 8 + 1; i++) value[i] = next_random(&state);
    for (uint64_t i = 0; fine && i < plan->records; i++) {
        bool hot = next_random(&state) % 100 < plan->hot_percent;
        uint64_t key_index = hot ? 0 : next_random(&state) % plan->keys;

        value[0] = i;
        fine = put(client, topic, plan, key_index, value);
        if (i % 1000 == 0) rd_kafka_poll(client, 0);
    }
    fine = fine && !rd_kafka_flush(client, PATIENCE_MS);
    free(value);
    rd_kafka_topic_destroy(topic);
    return fine;
}

static bool is_filled(const consume_plan *plan, uint64_t *ret_records) {
    int64_t first[CONSUME_PARTITIONS_MAX], end[CONSUME_PARTITIONS_MAX];

    *ret_records = 0;
    if (!consume_topic_ends(plan, first, end)) return false;
    for (int i = 0; i < plan->partitions; i++) *ret_records += (uint64_t)(end[i] - first[i]);
    return *ret_records == plan->records;
}

bool consume_topic_fill(const consume_plan *plan) {
    rd_kafka_t *client = open_producer(plan);
    uint64_t there = 0;
    bool fine = client && create(client, plan);

    if (fine && !is_filled(plan, &there)) {
        fine = there == 0;
        if (!fine) fprintf(stderr, "%s has %llu records: delete it\n", plan->topic, (unsigned long long)there);
        if (fine) fine = fill(client, plan) && is_filled(plan, &there);
        if (!fine) fprintf(stderr, "%s could not be filled\n", plan->topic);
    }
    if (client) rd_kafka_destroy(client);
    return fine;
}
