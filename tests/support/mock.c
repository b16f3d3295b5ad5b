/* SPDX-License-Identifier: Apache-2.0 */
#include "mock.h"

#include <stdlib.h>

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include "must.h"

struct mock_cluster {
    rd_kafka_t *client; /* the cluster lives on its handle and needs nothing else of it */
    rd_kafka_mock_cluster_t *cluster;
};

mock_cluster *mock_open(int brokers) {
    char error[256];
    mock_cluster *mock = must_alloc(1, sizeof *mock);

    mock->client = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), error, sizeof error);
    MUST(mock->client, "mock: %s", error);
    mock->cluster = rd_kafka_mock_cluster_new(mock->client, brokers);
    MUST(mock->cluster, "mock: no cluster");
    return mock;
}

void mock_close(mock_cluster *mock) {
    if (!mock) return;
    rd_kafka_mock_cluster_destroy(mock->cluster);
    rd_kafka_destroy(mock->client);
    free(mock);
}

const char *mock_bootstrap(const mock_cluster *mock) {
    return rd_kafka_mock_cluster_bootstraps(mock->cluster);
}

static void check(rd_kafka_resp_err_t error, const char *what) {
    MUST(!error, "mock: %s: %s", what, rd_kafka_err2str(error));
}

void mock_topic(mock_cluster *mock, const char *topic, int partitions) {
    check(rd_kafka_mock_topic_create(mock->cluster, topic, partitions, 1), topic);
}

void mock_fail(mock_cluster *mock, int request, const int *errors, size_t count) {
    rd_kafka_resp_err_t *list = must_alloc(count, sizeof *list);

    for (size_t i = 0; i < count; i++) list[i] = (rd_kafka_resp_err_t)errors[i];
    rd_kafka_mock_push_request_errors_array(mock->cluster, (int16_t)request, count, list);
    free(list);
}

void mock_broker_up(mock_cluster *mock, int broker, int up) {
    check(up ? rd_kafka_mock_broker_set_up(mock->cluster, broker)
             : rd_kafka_mock_broker_set_down(mock->cluster, broker),
          "broker up or down");
}

void mock_round_trip(mock_cluster *mock, int broker, int round_trip_ms) {
    check(rd_kafka_mock_broker_set_rtt(mock->cluster, broker, round_trip_ms), "round trip");
}

void mock_leader(mock_cluster *mock, const char *topic, int partition, int broker) {
    check(rd_kafka_mock_partition_set_leader(mock->cluster, topic, partition, broker), "leader");
}

void mock_coordinator(mock_cluster *mock, const char *group, int broker) {
    check(rd_kafka_mock_coordinator_set(mock->cluster, "group", group, broker), "coordinator");
}
