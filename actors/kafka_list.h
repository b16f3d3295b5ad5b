/* SPDX-License-Identifier: Apache-2.0
 *
 * Lists of partitions, in librdkafka's terms and in ours. Memory that can't be had ends the process.
 */
#ifndef WF_KAFKA_LIST_H
#define WF_KAFKA_LIST_H

#include "kafka.h"

struct rd_kafka_topic_partition_list_s;

/* To be destroyed by librdkafka. */
struct rd_kafka_topic_partition_list_s *wf_kafka_list_of(const wf_kafka_partition *partitions, size_t count);

/* The list in our terms, NULL: an empty one. To be freed; the strings stay the list's. */
wf_kafka_partition *wf_kafka_view_of(const struct rd_kafka_topic_partition_list_s *list, size_t *ret_count);

#endif
