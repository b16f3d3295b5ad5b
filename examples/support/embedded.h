/* SPDX-License-Identifier: Apache-2.0
 *
 * A Kafka inside the process, for trying things out: librdkafka's mock cluster on a loopback port, reachable by other
 * processes too. It keeps 5 MiB or 100,000 batches per partition and forgets everything at the end; it is no broker for
 * work. Its interface in librdkafka is not stable, so embedded.c is the only file of the examples that knows it.
 */
#ifndef EMBEDDED_H
#define EMBEDDED_H

#include <stdbool.h>
#include <stdint.h>

typedef struct embedded_broker embedded_broker;

/* NULL, with a line on stderr, when it can't start. */
embedded_broker *embedded_broker_start(const char *topic, int partitions);
void embedded_broker_stop(embedded_broker *broker);

/* One more topic. False, with a line on stderr, when it can't be. */
bool embedded_broker_topic(embedded_broker *broker, const char *topic, int partitions);

/* host:port, lives as long as the broker. */
const char *embedded_broker_address(const embedded_broker *broker);

/* Fill a topic of any broker: record i has key "customer-<i mod keys>" and value "<i div keys> order <i>", so that the
 * number at the beginning of the value counts up per key. False, with a line on stderr, when a record was not
 * delivered. */
bool fill_topic(const char *address, const char *topic, uint64_t records, uint64_t keys);

/* What a group has committed for a partition; -1: nothing, or no answer within ten seconds. */
int64_t committed_offset(const char *address, const char *group, const char *topic, int32_t partition);

#endif
