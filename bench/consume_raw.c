/* SPDX-License-Identifier: Apache-2.0
 *
 * The limit: three loops over librdkafka alone that only count. Each assigns all partitions from the beginning, without
 * a group.
 *
 * "Tuned" is a queue of a million records: with the default of 100,000 librdkafka 2.0.2 stops fetching for up to a
 * second whenever its queue has once been full, which a loop that is a little slower than the broker runs into.
 */
#include "consume.h"

#include <stdio.h>
#include <stdlib.h>

#include <librdkafka/rdkafka.h>

enum { BATCH = 512, WAIT_MS = 100 };

typedef struct raw_loop {
    rd_kafka_t *client;
    rd_kafka_queue_t *queue; /* where records come from, NULL: the consumer's own */
    consume_tally tally;
    unsigned in_call; /* records of this call of the callback loop */
    bool headers;     /* look whether a record has any */
    bool failed;
} raw_loop;

static bool set(rd_kafka_conf_t *conf, const char *name, const char *value) {
    char error[256];

    if (rd_kafka_conf_set(conf, name, value, error, sizeof error) == RD_KAFKA_CONF_OK) return true;
    fprintf(stderr, "%s\n", error);
    return false;
}

static rd_kafka_t *open_client(const consume_plan *plan, bool tuned) {
    char error[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_t *client = NULL;
    bool fine = set(conf, "bootstrap.servers", plan->bootstrap) && set(conf, "group.id", "weft-bench-raw") &&
                set(conf, "enable.auto.commit", "false") && set(conf, "enable.auto.offset.store", "false");

    if (fine && tuned) {
        fine = set(conf, "queued.min.messages", "1000000") && set(conf, "queued.max.messages.kbytes", "1048576");
    }
    if (fine) client = rd_kafka_new(RD_KAFKA_CONSUMER, conf, error, sizeof error);
    if (client) return client;
    if (fine) fprintf(stderr, "%s\n", error);
    rd_kafka_conf_destroy(conf);
    return NULL;
}

/* Open the client and, before anything is fetched, lead all partitions into a queue of our own where one is wanted. */
static bool raw_open(raw_loop *raw, const consume_plan *plan, bool tuned, bool own_queue) {
    rd_kafka_topic_partition_list_t *list;
    rd_kafka_resp_err_t error;

    if (!consume_tally_init(&raw->tally, plan)) return false;
    raw->client = open_client(plan, tuned);
    if (!raw->client) return false;
    rd_kafka_poll_set_consumer(raw->client);
    if (own_queue) raw->queue = rd_kafka_queue_new(raw->client);
    list = rd_kafka_topic_partition_list_new(plan->partitions);
    for (int32_t i = 0; i < plan->partitions; i++) {
        rd_kafka_topic_partition_list_add(list, plan->topic, i)->offset = raw->tally.next[i];
        if (own_queue) {
            rd_kafka_queue_t *partition = rd_kafka_queue_get_partition(raw->client, plan->topic, i);

            rd_kafka_queue_forward(partition, raw->queue);
            rd_kafka_queue_destroy(partition);
        }
    }
    error = rd_kafka_assign(raw->client, list);
    rd_kafka_topic_partition_list_destroy(list);
    if (error) fprintf(stderr, "assign: %s\n", rd_kafka_err2str(error));
    return !error;
}

static bool raw_close(raw_loop *raw, consume_result *ret_result) {
    bool fine = !raw->failed && consume_tally_result(&raw->tally, ret_result);

    if (raw->queue) rd_kafka_queue_destroy(raw->queue);
    if (raw->client) {
        rd_kafka_consumer_close(raw->client);
        rd_kafka_destroy(raw->client);
    }
    free(raw);
    return fine;
}

/* Count one message; errors that librdkafka gets over by itself are not ours. */
static void count(raw_loop *raw, const rd_kafka_message_t *message) {
    if (message->err) {
        raw->failed |= rd_kafka_fatal_error(raw->client, NULL, 0) != RD_KAFKA_RESP_ERR_NO_ERROR;
        return;
    }
    if (raw->tally.records == 0) raw->tally.first_ns = consume_now_ns();
    consume_tally_record(&raw->tally, message->partition, message->offset);
    rd_kafka_headers_t *headers;
    if (raw->headers) raw->failed |= rd_kafka_message_headers(message, &headers) != RD_KAFKA_RESP_ERR__NOENT;
}

static bool poll_loop(const consume_plan *plan, bool tuned, bool headers, consume_result *ret_result) {
    raw_loop *raw = calloc(1, sizeof *raw);

    if (!raw) return false;
    raw->headers = headers;
    raw->failed = !raw_open(raw, plan, tuned, false);
    while (raw->tally.left > 0 && !raw->failed) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(raw->client, WAIT_MS);

        if (!message) continue;
        count(raw, message);
        rd_kafka_message_destroy(message);
    }
    raw->tally.last_ns = consume_now_ns();
    return raw_close(raw, ret_result);
}

bool consume_raw_poll(const consume_plan *plan, consume_result *ret_result) {
    return poll_loop(plan, true, false, ret_result);
}

bool consume_raw_poll_headers(const consume_plan *plan, consume_result *ret_result) {
    return poll_loop(plan, true, true, ret_result);
}

bool consume_raw_poll_defaults(const consume_plan *plan, consume_result *ret_result) {
    return poll_loop(plan, false, false, ret_result);
}

bool consume_raw_batch(const consume_plan *plan, consume_result *ret_result) {
    raw_loop *raw = calloc(1, sizeof *raw);
    rd_kafka_message_t *messages[BATCH];

    if (!raw) return false;
    raw->failed = !raw_open(raw, plan, true, false);
    if (!raw->failed) raw->queue = rd_kafka_queue_get_consumer(raw->client);
    while (raw->tally.left > 0 && !raw->failed) {
        ssize_t got = rd_kafka_consume_batch_queue(raw->queue, WAIT_MS, messages, BATCH);

        for (ssize_t i = 0; i < got; i++) {
            count(raw, messages[i]);
            rd_kafka_message_destroy(messages[i]);
        }
    }
    raw->tally.last_ns = consume_now_ns();
    return raw_close(raw, ret_result);
}

static void on_message(rd_kafka_message_t *message, void *context) {
    raw_loop *raw = context;

    count(raw, message);
    if (++raw->in_call >= BATCH || raw->tally.left == 0) rd_kafka_yield(raw->client);
}

bool consume_raw_callback(const consume_plan *plan, consume_result *ret_result) {
    raw_loop *raw = calloc(1, sizeof *raw);

    if (!raw) return false;
    raw->failed = !raw_open(raw, plan, true, true);
    while (raw->tally.left > 0 && !raw->failed) {
        rd_kafka_message_t *event;

        raw->in_call = 0;
        rd_kafka_consume_callback_queue(raw->queue, WAIT_MS, on_message, raw);
        event = rd_kafka_consumer_poll(raw->client, 0);
        if (event) rd_kafka_message_destroy(event);
    }
    raw->tally.last_ns = consume_now_ns();
    return raw_close(raw, ret_result);
}
