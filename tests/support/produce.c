/* SPDX-License-Identifier: Apache-2.0 */
#include "produce.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <librdkafka/rdkafka.h>

#include "must.h"

struct test_producer {
    rd_kafka_t *client;
    uint64_t failed; /* deliveries, counted by the report callback */
    rd_kafka_resp_err_t last_error;
};

enum { PATIENCE_MS = 60000 };

static void on_delivery(rd_kafka_t *client, const rd_kafka_message_t *message, void *context) {
    test_producer *producer = context;

    (void)client;
    if (!message->err) return;
    /* An aborted transaction drops what it had not sent. */
    if (message->err == RD_KAFKA_RESP_ERR__PURGE_QUEUE || message->err == RD_KAFKA_RESP_ERR__PURGE_INFLIGHT) return;
    producer->failed++;
    producer->last_error = message->err;
}

static void set(rd_kafka_conf_t *conf, const char *name, const char *value) {
    char error[256];

    MUST(rd_kafka_conf_set(conf, name, value, error, sizeof error) == RD_KAFKA_CONF_OK, "producer: %s", error);
}

static void check(rd_kafka_error_t *error, const char *what) {
    MUST(!error, "producer: %s: %s", what, rd_kafka_error_string(error));
}

test_producer *producer_open(const char *bootstrap, const char *const *settings) {
    char error[256];
    test_producer *producer = must_alloc(1, sizeof *producer);
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    int transactional = 0;

    set(conf, "bootstrap.servers", bootstrap);
    set(conf, "enable.idempotence", "true"); /* keeps the order also when a request is sent again */
    set(conf, "linger.ms", "5");
    set(conf, "queue.buffering.max.messages", "1000000");
    for (size_t i = 0; settings && settings[i]; i += 2) {
        set(conf, settings[i], settings[i + 1]);
        transactional |= strcmp(settings[i], "transactional.id") == 0;
    }
    rd_kafka_conf_set_opaque(conf, producer);
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    producer->client = rd_kafka_new(RD_KAFKA_PRODUCER, conf, error, sizeof error);
    MUST(producer->client, "producer: %s", error);
    if (transactional) check(rd_kafka_init_transactions(producer->client, PATIENCE_MS), "init transactions");
    return producer;
}

void producer_close(test_producer *producer) {
    if (!producer) return;
    producer_flush(producer);
    rd_kafka_destroy(producer->client);
    free(producer);
}

static rd_kafka_headers_t *headers_of(const produced_record *record) {
    rd_kafka_headers_t *headers = rd_kafka_headers_new(record->header_count);

    for (size_t i = 0; i < record->header_count; i++) {
        const produced_header *header = &record->headers[i];

        MUST(!rd_kafka_header_add(headers, header->name, -1, header->value, (ssize_t)header->value_bytes), "header");
    }
    return headers;
}

static rd_kafka_error_t *put(test_producer *producer, const produced_record *record, rd_kafka_headers_t *headers) {
    rd_kafka_vu_t fields[8] = {
        {.vtype = RD_KAFKA_VTYPE_TOPIC, .u.cstr = record->topic},
        {.vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = record->partition},
        {.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY},
        {.vtype = RD_KAFKA_VTYPE_KEY, .u.mem = {(void *)(uintptr_t)record->key, record->key_bytes}},
        {.vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = {(void *)(uintptr_t)record->value, record->value_bytes}},
        {.vtype = RD_KAFKA_VTYPE_TIMESTAMP, .u.i64 = record->timestamp_ms},
    };
    size_t count = 6;

    if (headers) fields[count++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_HEADERS, .u.headers = headers};
    return rd_kafka_produceva(producer->client, fields, count);
}

void producer_put(test_producer *producer, const produced_record *record) {
    rd_kafka_headers_t *headers = record->header_count ? headers_of(record) : NULL;
    uint64_t deadline_ms = must_now_ms() + PATIENCE_MS;
    rd_kafka_error_t *error;

    /* The headers belong to librdkafka once it has taken the record, and to us as long as it has not. */
    while ((error = put(producer, record, headers))) {
        MUST(rd_kafka_error_code(error) == RD_KAFKA_RESP_ERR__QUEUE_FULL && must_now_ms() < deadline_ms, "producer: %s",
             rd_kafka_error_string(error));
        rd_kafka_error_destroy(error);
        rd_kafka_poll(producer->client, 50);
    }
    rd_kafka_poll(producer->client, 0);
}

void producer_flush(test_producer *producer) {
    MUST(!rd_kafka_flush(producer->client, PATIENCE_MS), "producer: %d records are still on their way",
         rd_kafka_outq_len(producer->client));
    MUST(!producer->failed, "producer: %" PRIu64 " records were not delivered: %s", producer->failed,
         rd_kafka_err2str(producer->last_error));
}

void producer_begin(test_producer *producer) {
    check(rd_kafka_begin_transaction(producer->client), "begin");
}

void producer_commit(test_producer *producer) {
    check(rd_kafka_commit_transaction(producer->client, PATIENCE_MS), "commit");
}

void producer_abort(test_producer *producer) {
    check(rd_kafka_abort_transaction(producer->client, PATIENCE_MS), "abort");
}

static void put_planned(test_producer *producer, const keyed_plan *plan, uint64_t i, char *value) {
    uint64_t key_index = plan->keys ? i % plan->keys : i;
    uint64_t sequence = plan->keys ? i / plan->keys : i;
    char key[32];
    int key_bytes = snprintf(key, sizeof key, "k%" PRIu64, key_index);
    int digits = snprintf(value, 24, "%" PRIu64, sequence);

    MUST((size_t)digits <= plan->value_bytes, "a value of %zu bytes can't hold %s", plan->value_bytes, value);
    value[digits] = ' '; /* the value has room for more than it sends */
    producer_put(producer, &(produced_record){
                               .topic = plan->topic,
                               .partition = (int32_t)(key_index % (uint64_t)plan->partitions),
                               .key = plan->keys ? key : NULL,
                               .key_bytes = plan->keys ? (size_t)key_bytes : 0,
                               .value = value,
                               .value_bytes = plan->value_bytes,
                           });
}

void produce_keyed(const char *bootstrap, const keyed_plan *plan) {
    static const char *const settings[] = {"compression.codec", "lz4", "linger.ms", "20", NULL};
    test_producer *producer = producer_open(bootstrap, settings);
    char *value = must_alloc(1, plan->value_bytes + 32);

    for (uint64_t i = 0; i < plan->records; i++) {
        memset(value, 'x', plan->value_bytes);
        put_planned(producer, plan, plan->first + i, value);
    }
    producer_close(producer);
    free(value);
}

uint64_t value_sequence(const void *value, size_t bytes) {
    const unsigned char *text = value;
    uint64_t sequence = 0;
    size_t i = 0;

    for (; i < bytes && i < 20 && text[i] >= '0' && text[i] <= '9'; i++) sequence = sequence * 10 + (text[i] - '0');
    return i > 0 ? sequence : UINT64_MAX;
}
