/* SPDX-License-Identifier: Apache-2.0
 *
 * What the door demands of the Kafka settings before the library sees them, and how a refused one is reported.
 */
#ifndef WF_KAFKA_SETTING_H
#define WF_KAFKA_SETTING_H

#include <stdbool.h>
#include <stddef.h>

#include "kafka.h"

/* What the library offers to set one: false with a reason. */
typedef bool (*wf_kafka_set)(void *conf, const char *name, const char *value, char *reason, size_t reason_bytes);

/* WEFT_OK; WEFT_ECONFIG with a line for each setting that the door relies on and that has another value, or that is
 * needed and missing or empty. Lines are added to *ret_error, which is NULL or malloc'ed. */
weft_status wf_kafka_settings_check(const wf_setting *settings, size_t count, char **ret_error);

/* Set what is better than the library's own choice; the user's settings come later and win. True: this version of the
 * library can be told how soon a fetcher with a full queue looks again (from 2.2 on). */
bool wf_kafka_settings_defaults(wf_kafka_set set, void *conf);

/* Set them all, then those that the door relies on. refuse() is told what the library does not take: one of theirs by
 * its index, one of ours as wf_settings_all. */
void wf_kafka_settings_set(const wf_setting *settings, size_t count, wf_kafka_set set, void *conf,
                           wf_setting_refuse refuse, void *context);

/* The same; WEFT_ECONFIG with a line for each that the library refuses, added to *ret_error in the same way. */
weft_status wf_kafka_settings_apply(const wf_setting *settings, size_t count, wf_kafka_set set, void *conf,
                                    char **ret_error);

/* Replace what the library said by words of our own, when it has the value of a secret in it. */
void wf_kafka_settings_hide(const wf_setting *settings, size_t count, char *reason, size_t reason_bytes);

/* May records be read in batches? Before 2.1 a batch loses some while librdkafka pauses partitions that stay with us,
 * as it does in a cooperative group whenever its members change. */
bool wf_kafka_settings_allow_batches(const wf_setting *settings, size_t count, int version);

/* What an operator should know about these settings with this version of the library (0xMMmmrrpp); NULL: nothing. */
const char *wf_kafka_settings_warning(const wf_setting *settings, size_t count, int version);

/* The value of the last setting of this name; NULL: there is none. */
const char *wf_kafka_setting_value(const wf_setting *settings, size_t count, const char *name);

/* The status, with "kafka: REASON" (WEFT_ENOMEM without memory). */
weft_status wf_kafka_refuse(weft_status status, const char *reason, char **ret_error);

#endif
