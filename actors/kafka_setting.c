/* SPDX-License-Identifier: Apache-2.0 */
#include "kafka_setting.h"

#include <stdio.h>
#include <string.h>

const wf_kafka_setting wf_kafka_fixed_settings[] = {
    {"enable.auto.commit", "false"},
    {"enable.auto.offset.store", "false"},
    {"enable.partition.eof", "true"},
    {"log.queue", "true"},
};
const size_t wf_kafka_fixed_setting_count = sizeof wf_kafka_fixed_settings / sizeof wf_kafka_fixed_settings[0];

const char *wf_kafka_setting_value(const wf_kafka_setting *settings, size_t count, const char *name) {
    const char *value = NULL;
    for (size_t i = 0; i < count; i++)
        if (strcmp(settings[i].name, name) == 0) value = settings[i].value;
    return value;
}

static bool is_secret(const char *name) {
    static const char *const marks[] = {"password", "secret", ".pem", "jaas", "oauthbearer.config"};
    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++)
        if (strstr(name, marks[i])) return true;
    return false;
}

weft_status wf_kafka_setting_refuse(const char *name, const char *value, const char *reason, char **ret_error) {
    const char *shown = !value ? "" : is_secret(name) ? "(not shown)" : value;
    char *text = NULL;
    if (asprintf(&text, "kafka setting %s = \"%s\": %s", name, shown, reason) < 0) return WEFT_ENOMEM;
    *ret_error = text;
    return WEFT_ECONFIG;
}

static bool is_filled(const char *value) {
    return value && value[0] != '\0';
}

weft_status wf_kafka_settings_check(const wf_kafka_setting *settings, size_t count, char **ret_error) {
    for (size_t i = 0; i < wf_kafka_fixed_setting_count; i++) {
        const wf_kafka_setting *fixed = &wf_kafka_fixed_settings[i];
        const char *value = wf_kafka_setting_value(settings, count, fixed->name);
        if (!value || strcmp(value, fixed->value) == 0) continue;
        char reason[64];
        snprintf(reason, sizeof reason, "weft needs it to be %s", fixed->value);
        return wf_kafka_setting_refuse(fixed->name, value, reason, ret_error);
    }
    if (!is_filled(wf_kafka_setting_value(settings, count, "bootstrap.servers")) &&
        !is_filled(wf_kafka_setting_value(settings, count, "metadata.broker.list")))
        return wf_kafka_setting_refuse("bootstrap.servers", "", "at least one broker must be named", ret_error);
    if (!is_filled(wf_kafka_setting_value(settings, count, "group.id")))
        return wf_kafka_setting_refuse("group.id", "", "a consumer group must be named", ret_error);
    return WEFT_OK;
}
