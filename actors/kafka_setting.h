/* SPDX-License-Identifier: Apache-2.0
 *
 * What the door demands of the Kafka settings before the library sees them, and how a refused one is reported.
 */
#ifndef WF_KAFKA_SETTING_H
#define WF_KAFKA_SETTING_H

#include <stdbool.h>
#include <stddef.h>

#include "kafka.h"

/* Settings that the door relies on; a user's own value for one of them must be the same. */
extern const wf_kafka_setting wf_kafka_fixed_settings[];
extern const size_t wf_kafka_fixed_setting_count;

/* WEFT_OK; WEFT_ECONFIG with a text: a fixed setting has another value, or one that is needed is missing or empty. */
weft_status wf_kafka_settings_check(const wf_kafka_setting *settings, size_t count, char **ret_error);

/* The value of the last setting of this name; NULL: there is none. */
const char *wf_kafka_setting_value(const wf_kafka_setting *settings, size_t count, const char *name);

/* Always WEFT_ECONFIG (WEFT_ENOMEM without memory), with "kafka setting NAME = "VALUE": REASON". Secret values are not
 * shown. */
weft_status wf_kafka_setting_refuse(const char *name, const char *value, const char *reason, char **ret_error);

#endif
