/* SPDX-License-Identifier: Apache-2.0
 *
 * What librdkafka says of its settings, before there is a door: names, values, and whether they fit together.
 */
#ifndef WF_KAFKA_JUDGE_H
#define WF_KAFKA_JUDGE_H

#include <stdbool.h>
#include <stddef.h>

#include "config.h"

/* Set one of an rd_kafka_conf_t; a wf_kafka_set. */
bool wf_kafka_conf_set(void *conf, const char *name, const char *value, char *reason, size_t reason_bytes);

/* The judge of every configuration that weft_config_new() makes. Takes some milliseconds when there are settings. */
void wf_kafka_judge(const wf_setting *settings, size_t count, wf_setting_refuse refuse, void *context);

#endif
