/* SPDX-License-Identifier: Apache-2.0
 *
 * A Kafka in this process: librdkafka's mock cluster on 127.0.0.1, reachable from other processes too.
 *
 * Its limits: 5 MiB or 100,000 message sets per partition, the oldest go first (fill it with lz4 and check what is
 * there: topic_ends()); no admin calls; no transaction markers, so no holes between offsets; the first join of a group
 * takes 3 s; an empty fetch waits the whole fetch.wait.max.ms. Set session.timeout.ms=6000, heartbeat.interval.ms=200
 * and fetch.wait.max.ms=10 for consumers that have to be quick on it: MOCK_CONSUMER_SETTINGS.
 *
 * A member whose session ends while it waits for the answer to its JoinGroup never gets one. So the session time-out
 * has to be longer than the first join by more than this process may ever stand still: with 3,600 ms a machine that was
 * busy for 0.6 s made a consumer wait for ever.
 */
#ifndef SUPPORT_MOCK_H
#define SUPPORT_MOCK_H

#include <stddef.h>

typedef struct mock_cluster mock_cluster;

/* Pairs of a settings list; NULL ends the list, not this. */
#define MOCK_CONSUMER_SETTINGS "session.timeout.ms", "6000", "heartbeat.interval.ms", "200", "fetch.wait.max.ms", "10"

/* Kafka protocol requests that can be made to fail. */
enum {
    MOCK_FETCH = 1,
    MOCK_LIST_OFFSETS = 2,
    MOCK_OFFSET_COMMIT = 8,
    MOCK_OFFSET_FETCH = 9,
    MOCK_FIND_COORDINATOR = 10,
    MOCK_JOIN_GROUP = 11,
    MOCK_HEARTBEAT = 12,
    MOCK_SYNC_GROUP = 14,
};

mock_cluster *mock_open(int brokers);
void mock_close(mock_cluster *mock);

const char *mock_bootstrap(const mock_cluster *mock); /* lives as long as the mock */
void mock_topic(mock_cluster *mock, const char *topic, int partitions);

/* The next `count` requests of this kind are answered with these Kafka error codes; -195 (local transport) cuts the
 * connection. */
void mock_fail(mock_cluster *mock, int request, const int *errors, size_t count);

/* Brokers are numbered from 1. */
void mock_broker_up(mock_cluster *mock, int broker, int up);
void mock_round_trip(mock_cluster *mock, int broker, int round_trip_ms);
void mock_leader(mock_cluster *mock, const char *topic, int partition, int broker);
void mock_coordinator(mock_cluster *mock, const char *group, int broker);

#endif
