/* SPDX-License-Identifier: Apache-2.0 */
#include "embedded.h"

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct embedded_broker {
    rd_kafka_t *host; /* the client that the mock cluster lives in */
    rd_kafka_mock_cluster_t *cluster;
};

static rd_kafka_t *open_client(rd_kafka_type_t type, const char *const *settings) {
    char error[512] = "out of memory";
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    for (; settings[0]; settings += 2)
        if (rd_kafka_conf_set(conf, settings[0], settings[1], error, sizeof error) != RD_KAFKA_CONF_OK) {
            fprintf(stderr, "%s = %s: %s\n", settings[0], settings[1], error);
            rd_kafka_conf_destroy(conf);
            return NULL;
        }
    rd_kafka_t *client = rd_kafka_new(type, conf, error, sizeof error);
    if (!client) {
        fprintf(stderr, "librdkafka: %s\n", error);
        rd_kafka_conf_destroy(conf);
    }
    return client;
}

embedded_broker *embedded_broker_start(const char *topic, int partitions) {
    embedded_broker *broker = calloc(1, sizeof *broker);
    if (!broker) return NULL;
    broker->host =
        open_client(RD_KAFKA_PRODUCER, (const char *[]){"bootstrap.servers", "127.0.0.1:9", "log_level", "2", NULL});
    broker->cluster = broker->host ? rd_kafka_mock_cluster_new(broker->host, 1) : NULL;
    if (!broker->cluster || !embedded_broker_topic(broker, topic, partitions)) {
        fprintf(stderr, "the embedded broker does not start\n");
        embedded_broker_stop(broker);
        return NULL;
    }
    return broker;
}

bool embedded_broker_topic(embedded_broker *broker, const char *topic, int partitions) {
    rd_kafka_resp_err_t error = rd_kafka_mock_topic_create(broker->cluster, topic, partitions, 1);
    if (error) fprintf(stderr, "embedded broker: topic %s: %s\n", topic, rd_kafka_err2str(error));
    return error == RD_KAFKA_RESP_ERR_NO_ERROR;
}

void embedded_broker_stop(embedded_broker *broker) {
    if (!broker) return;
    if (broker->cluster) rd_kafka_mock_cluster_destroy(broker->cluster);
    if (broker->host) rd_kafka_destroy(broker->host);
    free(broker);
}

const char *embedded_broker_address(const embedded_broker *broker) {
    return rd_kafka_mock_cluster_bootstraps(broker->cluster);
}

/* --- filling a topic */

static void on_delivery(rd_kafka_t *client, const rd_kafka_message_t *message, void *opaque) {
    (void)client;
    if (message->err) ++*(uint64_t *)opaque;
}

static rd_kafka_resp_err_t put(rd_kafka_t *client, const char *topic, uint64_t i, uint64_t keys) {
    char key[32], value[64];
    int key_bytes = snprintf(key, sizeof key, "customer-%llu", (unsigned long long)(i % keys));
    int value_bytes =
        snprintf(value, sizeof value, "%llu order %llu", (unsigned long long)(i / keys), (unsigned long long)i);
    for (;;) {
        rd_kafka_resp_err_t error = rd_kafka_producev(
            client, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_KEY(key, (size_t)key_bytes),
            RD_KAFKA_V_VALUE(value, (size_t)value_bytes), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
        if (error != RD_KAFKA_RESP_ERR__QUEUE_FULL) return error;
        rd_kafka_poll(client, 10);
    }
}

bool fill_topic(const char *address, const char *topic, uint64_t records, uint64_t keys) {
    char error[512];
    uint64_t failed = 0;
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "bootstrap.servers", address, NULL, 0);
    rd_kafka_conf_set(conf, "compression.codec", "lz4", NULL, 0);
    rd_kafka_conf_set(conf, "linger.ms", "5", NULL, 0);
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    rd_kafka_conf_set_opaque(conf, &failed);
    rd_kafka_t *client = rd_kafka_new(RD_KAFKA_PRODUCER, conf, error, sizeof error);
    if (!client) {
        fprintf(stderr, "producer: %s\n", error);
        rd_kafka_conf_destroy(conf);
        return false;
    }
    rd_kafka_resp_err_t refused = RD_KAFKA_RESP_ERR_NO_ERROR;
    for (uint64_t i = 0; i < records && !refused; i++) {
        refused = put(client, topic, i, keys);
        if (i % 1000 == 0) rd_kafka_poll(client, 0);
    }
    bool flushed = rd_kafka_flush(client, 60000) == RD_KAFKA_RESP_ERR_NO_ERROR;
    if (!flushed) failed += (uint64_t)rd_kafka_outq_len(client);
    rd_kafka_destroy(client);
    if (refused) fprintf(stderr, "produce: %s\n", rd_kafka_err2str(refused));
    if (!flushed || failed)
        fprintf(stderr, "%llu records were not delivered to %s\n", (unsigned long long)failed, address);
    return !refused && flushed && failed == 0;
}

/* --- reading a commit back */

int64_t committed_offset(const char *address, const char *group, const char *topic, int32_t partition) {
    rd_kafka_t *client =
        open_client(RD_KAFKA_CONSUMER, (const char *[]){"bootstrap.servers", address, "group.id", group, NULL});
    if (!client) return -1;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic, partition);
    int64_t offset = -1;
    if (rd_kafka_committed(client, list, 10000) == RD_KAFKA_RESP_ERR_NO_ERROR && list->elems[0].offset >= 0)
        offset = list->elems[0].offset;
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_destroy(client);
    return offset;
}
