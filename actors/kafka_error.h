/* SPDX-License-Identifier: Apache-2.0
 *
 * What the codes of librdkafka mean to the poller. Pure: the codes are part of its ABI (negative ones) and of Kafka's
 * protocol.
 */
#ifndef WF_KAFKA_ERROR_H
#define WF_KAFKA_ERROR_H

#include <stddef.h>

#include "kafka.h"

/* The meaning of a code as the answer to a commit. Unknown codes: try again. */
wf_kafka_error wf_kafka_error_of(int code);

/* The answer to a commit: `call_code` for the whole, partitions[].error as librdkafka left them (codes), replaced by
 * what they mean (wf_kafka_error). The call's code belongs to partitions that have none of their own, unless it was
 * taken from one that has. Returns the worst; *ret_code is the code behind it. */
wf_kafka_error wf_kafka_commit_errors(int call_code, wf_kafka_partition *partitions, size_t count, int *ret_code);

#endif
