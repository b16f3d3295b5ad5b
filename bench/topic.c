/* SPDX-License-Identifier: Apache-2.0 */
#include "topic.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <librdkafka/rdkafka.h>

enum {
    PATIENCE_MS = 30000,
    LEAD_NS = 20000000,
    EMBEDDED_BYTES = 5 << 20,
    EMBEDDED_BATCHES = 100000,
    /* Bytes that the log has around key and value: of a record, and of a batch (which holds hundreds). */
    RECORD_OVERHEAD = 16,
    BATCH_OVERHEAD = 80
};

static rd_kafka_t *open_client(rd_kafka_type_t type, const char *const *settings) {
    char error[512] = "out of memory";
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_t *client = NULL;
    bool fine = true;
    for (; settings[0] && fine; settings += 2)
        fine = rd_kafka_conf_set(conf, settings[0], settings[1], error, sizeof error) == RD_KAFKA_CONF_OK;
    if (fine) client = rd_kafka_new(type, conf, error, sizeof error);
    if (client) return client;
    fprintf(stderr, "weft-bench: librdkafka: %s\n", error);
    rd_kafka_conf_destroy(conf);
    return NULL;
}

static rd_kafka_t *open_admin(const char *bootstrap) {
    return open_client(RD_KAFKA_PRODUCER, (const char *[]){"bootstrap.servers", bootstrap, "log_level", "2", NULL});
}

static size_t key_text(const record_stamp *stamp, char text[16]) {
    return (size_t)snprintf(text, 16, "key-%07u", stamp->key);
}

/* --- the embedded broker's limits */

bool topic_fits_embedded(const bench_topic *topic, bool one_by_one) {
    uint64_t per_partition[PARTITIONS_MAX] = {0}, most = 0;
    dataset_walk *walk = dataset_walk_begin(topic);
    if (!walk) return false;
    for (uint64_t i = 0; i < topic->records; i++) {
        int32_t partition;
        dataset_walk_next(walk, &partition);
        if (++per_partition[partition] > most) most = per_partition[partition];
    }
    dataset_walk_end(walk);
    uint64_t record_bytes = topic->value_bytes + 11 + RECORD_OVERHEAD + (one_by_one ? BATCH_OVERHEAD : 1);
    if (most * record_bytes <= EMBEDDED_BYTES && (!one_by_one || most <= EMBEDDED_BATCHES)) return true;
    fprintf(stderr,
            "weft-bench: the embedded broker keeps 5 MiB or 100,000 batches per partition, and %llu records of %zu "
            "bytes would be in one of %s: at most %llu fit. Lower --num-messages or --value-bytes, raise "
            "--num-partitions, or give --bootstrap-servers\n",
            (unsigned long long)most, topic->value_bytes, topic->name,
            (unsigned long long)(EMBEDDED_BYTES / record_bytes));
    return false;
}

/* --- administration */

/* The answer to a request, for its error; RD_KAFKA_RESP_ERR__TIMED_OUT when there is none. */
static rd_kafka_resp_err_t answer_of(rd_kafka_queue_t *queue) {
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, PATIENCE_MS);
    rd_kafka_resp_err_t error = event ? rd_kafka_event_error(event) : RD_KAFKA_RESP_ERR__TIMED_OUT;
    size_t count = 0;
    if (event && !error && rd_kafka_event_type(event) == RD_KAFKA_EVENT_CREATETOPICS_RESULT) {
        const rd_kafka_topic_result_t **results =
            rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &count);
        if (count == 1) error = rd_kafka_topic_result_error(results[0]);
    }
    if (event) rd_kafka_event_destroy(event);
    return error;
}

bool topic_create(const bench_cluster *cluster, const bench_topic *topic, bool *ret_is_new) {
    char error[256] = "no answer";
    *ret_is_new = true;
    if (cluster->embedded) return embedded_broker_topic(cluster->embedded, topic->name, topic->partitions);
    rd_kafka_t *client = open_admin(cluster->bootstrap);
    if (!client) return false;
    rd_kafka_queue_t *queue = rd_kafka_queue_new(client);
    rd_kafka_NewTopic_t *request = rd_kafka_NewTopic_new(topic->name, topic->partitions, 1, error, sizeof error);
    rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR__INVALID_ARG;
    if (request) {
        rd_kafka_CreateTopics(client, &request, 1, NULL, queue);
        code = answer_of(queue);
        rd_kafka_NewTopic_destroy(request);
    }
    rd_kafka_queue_destroy(queue);
    rd_kafka_destroy(client);
    *ret_is_new = code != RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS;
    if (!code || !*ret_is_new) return true;
    fprintf(stderr, "weft-bench: topic %s can't be made: %s\n", topic->name, request ? rd_kafka_err2str(code) : error);
    return false;
}

void topic_delete(const bench_cluster *cluster, const char *topic) {
    if (cluster->embedded) return;
    rd_kafka_t *client = open_admin(cluster->bootstrap);
    if (!client) return;
    rd_kafka_queue_t *queue = rd_kafka_queue_new(client);
    rd_kafka_DeleteTopic_t *request = rd_kafka_DeleteTopic_new(topic);
    rd_kafka_DeleteTopics(client, &request, 1, NULL, queue);
    rd_kafka_resp_err_t error = answer_of(queue);
    if (error) fprintf(stderr, "weft-bench: topic %s is left: %s\n", topic, rd_kafka_err2str(error));
    rd_kafka_DeleteTopic_destroy(request);
    rd_kafka_queue_destroy(queue);
    rd_kafka_destroy(client);
}

void group_delete(const bench_cluster *cluster, const char *group) {
    if (cluster->embedded) return;
    rd_kafka_t *client = open_admin(cluster->bootstrap);
    if (!client) return;
    rd_kafka_queue_t *queue = rd_kafka_queue_new(client);
    rd_kafka_DeleteGroup_t *request = rd_kafka_DeleteGroup_new(group);
    rd_kafka_DeleteGroups(client, &request, 1, NULL, queue);
    rd_kafka_resp_err_t error = answer_of(queue);
    if (error) fprintf(stderr, "weft-bench: group %s is left: %s\n", group, rd_kafka_err2str(error));
    rd_kafka_DeleteGroup_destroy(request);
    rd_kafka_queue_destroy(queue);
    rd_kafka_destroy(client);
}

bool topic_ends(const char *bootstrap, const char *topic, int partitions, int64_t *ret_first, int64_t *ret_end) {
    rd_kafka_t *client = open_admin(bootstrap);
    rd_kafka_resp_err_t error = client ? RD_KAFKA_RESP_ERR_NO_ERROR : RD_KAFKA_RESP_ERR__FAIL;
    uint64_t deadline_ns = now_ns() + 10000000000u;
    for (int32_t i = 0; i < partitions && !error; i++) {
        /* A topic just created takes a moment until its leaders know that they are. */
        do {
            error = rd_kafka_query_watermark_offsets(client, topic, i, &ret_first[i], &ret_end[i], PATIENCE_MS);
        } while (error && now_ns() < deadline_ns && rd_kafka_poll(client, 100) >= 0);
    }
    if (error) fprintf(stderr, "weft-bench: ends of %s: %s\n", topic, rd_kafka_err2str(error));
    if (client) rd_kafka_destroy(client);
    return !error;
}

bool group_committed(const char *bootstrap, const char *group, const char *topic, int partitions,
                     int64_t *ret_committed) {
    rd_kafka_t *client = open_client(
        RD_KAFKA_CONSUMER, (const char *[]){"bootstrap.servers", bootstrap, "group.id", group, "log_level", "2", NULL});
    if (!client) return false;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(partitions);
    for (int32_t i = 0; i < partitions; i++) rd_kafka_topic_partition_list_add(list, topic, i);
    rd_kafka_resp_err_t error = rd_kafka_committed(client, list, PATIENCE_MS);
    for (int32_t i = 0; i < partitions && !error; i++)
        ret_committed[i] = list->elems[i].offset >= 0 ? list->elems[i].offset : -1;
    if (error) fprintf(stderr, "weft-bench: commits of %s: %s\n", group, rd_kafka_err2str(error));
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_destroy(client);
    return !error;
}

/* --- records */

typedef struct producer {
    rd_kafka_t *client;
    rd_kafka_topic_t *topic;
    const bench_topic *plan;
    uint64_t *value;
    dataset_walk *walk;
    uint64_t failed;
    uint32_t swapped_key; /* fault order: the first two records of this key change places */
    fault_kind fault;
} producer;

static void on_delivery(rd_kafka_t *client, const rd_kafka_message_t *message, void *opaque) {
    (void)client;
    if (message->err) ++((producer *)opaque)->failed;
}

/* Beforehand: in large batches, tried again where needed, in order. At a rate: each at once, and never again, which
 * would be out of order: what is not delivered fails the run. */
static bool producer_open(producer *self, const char *bootstrap, const bench_topic *plan, bool at_once,
                          fault_kind fault) {
    char error[512];
    const char *const settings[][2] = {{"queue.buffering.max.messages", "500000"},
                                       {"compression.codec", "none"},
                                       {"linger.ms", at_once ? "0" : "20"},
                                       {"enable.idempotence", at_once ? "false" : "true"},
                                       {"message.send.max.retries", at_once ? "0" : "2147483647"}};
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    uint64_t state = 0x9e3779b97f4a7c15u;
    *self = (producer){.plan = plan, .fault = fault, .swapped_key = NULL_KEY};
    rd_kafka_conf_set(conf, "bootstrap.servers", bootstrap, NULL, 0);
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        rd_kafka_conf_set(conf, settings[i][0], settings[i][1], NULL, 0);
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    rd_kafka_conf_set_opaque(conf, self);
    self->client = rd_kafka_new(RD_KAFKA_PRODUCER, conf, error, sizeof error);
    if (!self->client) {
        fprintf(stderr, "weft-bench: producer: %s\n", error);
        rd_kafka_conf_destroy(conf);
        return false;
    }
    self->topic = rd_kafka_topic_new(self->client, plan->name, NULL);
    self->walk = dataset_walk_begin(plan);
    self->value = calloc(plan->value_bytes / 8 + 1, 8);
    for (size_t i = 0; self->value && i <= plan->value_bytes / 8; i++) { /* bytes that nothing can compress */
        state = state * 6364136223846793005u + 1442695040888963407u;
        self->value[i] = state ^ state >> 29;
    }
    return self->topic && self->walk && self->value;
}

static bool producer_close(producer *self) {
    bool fine = !self->client || rd_kafka_flush(self->client, PATIENCE_MS) == RD_KAFKA_RESP_ERR_NO_ERROR;
    if (self->failed || !fine)
        fprintf(stderr, "weft-bench: %llu records were not delivered to %s\n", (unsigned long long)self->failed,
                self->plan->name);
    if (self->topic) rd_kafka_topic_destroy(self->topic);
    if (self->client) rd_kafka_destroy(self->client);
    if (self->walk) dataset_walk_end(self->walk);
    free(self->value);
    return fine && self->failed == 0;
}

static bool produce_next(producer *self) {
    int32_t partition;
    char key[16];
    record_stamp stamp = dataset_walk_next(self->walk, &partition);
    size_t key_bytes = key_text(&stamp, key);
    if (stamp.index == 0 && self->fault == FAULT_ORDER) self->swapped_key = stamp.key;
    if (stamp.index + 1 == self->plan->records && self->fault == FAULT_LOST) return true;
    if (stamp.key == self->swapped_key && stamp.key != NULL_KEY && stamp.sequence < 2) stamp.sequence ^= 1;
    memcpy(self->value, &stamp, sizeof stamp);
    bool is_null = stamp.key == NULL_KEY;
    while (rd_kafka_produce(self->topic, partition, RD_KAFKA_MSG_F_COPY, self->value, self->plan->value_bytes,
                            is_null ? NULL : key, is_null ? 0 : key_bytes, NULL) != 0) {
        if (rd_kafka_last_error() != RD_KAFKA_RESP_ERR__QUEUE_FULL) {
            fprintf(stderr, "weft-bench: produce: %s\n", rd_kafka_err2str(rd_kafka_last_error()));
            return false;
        }
        rd_kafka_poll(self->client, 100);
    }
    return true;
}

static bool is_filled(const bench_cluster *cluster, const bench_topic *topic, uint64_t expected) {
    int64_t first[PARTITIONS_MAX], end[PARTITIONS_MAX];
    uint64_t there = 0;
    bool begins = true;
    if (!topic_ends(cluster->bootstrap, topic->name, topic->partitions, first, end)) return false;
    for (int i = 0; i < topic->partitions; i++) {
        there += (uint64_t)(end[i] - first[i]);
        begins &= first[i] == 0;
    }
    if (there == expected && begins) return true;
    fprintf(stderr, "weft-bench: %s has %llu records%s, not %llu\n", topic->name, (unsigned long long)there,
            begins ? "" : " and does not begin at 0", (unsigned long long)expected);
    return false;
}

bool topic_is_filled(const bench_cluster *cluster, const bench_topic *topic) {
    return is_filled(cluster, topic, topic->records);
}

bool topic_fill(const bench_cluster *cluster, const bench_topic *topic, fault_kind fault) {
    producer self;
    bool fine = producer_open(&self, cluster->bootstrap, topic, false, fault);
    for (uint64_t i = 0; fine && i < topic->records; i++) {
        fine = produce_next(&self);
        if (i % 1000 == 0) rd_kafka_poll(self.client, 0);
    }
    fine &= producer_close(&self);
    return fine && is_filled(cluster, topic, topic->records - (fault == FAULT_LOST ? 1 : 0));
}

bool topic_produce(const bench_cluster *cluster, const bench_topic *topic, fault_kind fault, uint64_t rate,
                   topic_begin begin, void *context, const atomic_bool *stopping) {
    producer self;
    const struct rd_kafka_metadata *metadata = NULL;
    bool fine = producer_open(&self, cluster->bootstrap, topic, true, fault);
    /* Connected and told of the leaders: the first records do not wait for that. */
    if (fine && rd_kafka_metadata(self.client, 0, self.topic, &metadata, PATIENCE_MS) == RD_KAFKA_RESP_ERR_NO_ERROR)
        rd_kafka_metadata_destroy(metadata);
    uint64_t start_ns = now_ns() + LEAD_NS;
    if (fine) begin(context, start_ns);
    for (uint64_t i = 0; fine && i < topic->records && !atomic_load(stopping); i++) {
        sleep_until_ns(start_ns + i * 1000000000u / rate);
        fine = produce_next(&self);
        rd_kafka_poll(self.client, 0);
    }
    return producer_close(&self) && fine;
}
