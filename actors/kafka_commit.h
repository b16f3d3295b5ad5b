/* SPDX-License-Identifier: Apache-2.0
 *
 * What can be committed, what comes back, and what librdkafka's codes mean for it. Pure: the codes are part of its ABI
 * (negative ones) and of Kafka's protocol.
 */
#ifndef WF_KAFKA_COMMIT_H
#define WF_KAFKA_COMMIT_H

#include <stdbool.h>
#include <stddef.h>

#include "kafka.h"

/* Something, at real offsets, with metadata that librdkafka does not garble. */
bool wf_kafka_can_commit(const wf_kafka_partition *partitions, size_t count);

/* How much of committed metadata (anybody's bytes, may be NULL) this version of librdkafka really gave us. */
size_t wf_kafka_metadata_bytes(int version, const char *metadata, size_t bytes);

/* The meaning of a code as the answer to a commit. Unknown codes: try again. */
wf_kafka_error wf_kafka_error_of(int code);

/* The answer to a commit: `call_code` for the whole, partitions[].error as librdkafka left them (codes), replaced by
 * what they mean (wf_kafka_error). The call's code belongs to partitions that have none of their own, unless it was
 * taken from one that has. Where all are TOO_LARGE, those with less metadata than the longest get RETRY: 2.0.2 does not
 * tell which it was. Returns the worst; *ret_code is the code behind it. */
wf_kafka_error wf_kafka_commit_errors(int call_code, wf_kafka_partition *partitions, size_t count, int *ret_code);

/* The first code in partitions[].error that is not 0; 0: there is none. */
int wf_kafka_first_error(const wf_kafka_partition *partitions, size_t count);

#endif
