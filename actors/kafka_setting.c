/* SPDX-License-Identifier: Apache-2.0 */
#include "kafka_setting.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"

/* What the door relies on; a user's own value for one of them must be the same. */
static const wf_setting fixed_settings[] = {
    {"enable.auto.commit", "false"},
    {"enable.auto.offset.store", "false"},
    {"enable.partition.eof", "true"},
    {"log.queue", "true"},
};
static const size_t fixed_count = sizeof fixed_settings / sizeof fixed_settings[0];

/* 2.10.0: commits during a cooperative rebalance no longer lose partitions. */
static const int cooperative_version = 0x020a0000;
/* 2.1.0: batches and the pauses of another thread get along. */
static const int batch_version = 0x02010000;

const char *wf_kafka_setting_value(const wf_setting *settings, size_t count, const char *name) {
    const char *value = NULL;
    for (size_t i = 0; i < count; i++)
        if (strcmp(settings[i].name, name) == 0) value = settings[i].value;
    return value;
}

/* One line more in *text; always WEFT_ECONFIG, or WEFT_ENOMEM. Secret values are not shown. */
static weft_status refuse_setting(const char *name, const char *value, const char *reason, char **text) {
    const char *shown = !value ? "" : wf_option_is_secret(name) ? "****" : value;
    char *longer = NULL;
    if (asprintf(&longer, "%s%skafka setting %s = \"%s\": %s", *text ? *text : "", *text ? "\n" : "", name, shown,
                 reason) < 0)
        return WEFT_ENOMEM;
    free(*text);
    *text = longer;
    return WEFT_ECONFIG;
}

static bool is_filled(const char *value) {
    return value && value[0] != '\0';
}

weft_status wf_kafka_settings_check(const wf_setting *settings, size_t count, char **ret_error) {
    weft_status status = WEFT_OK;
    for (size_t i = 0; i < fixed_count; i++) {
        const wf_setting *fixed = &fixed_settings[i];
        const char *value = wf_kafka_setting_value(settings, count, fixed->name);
        if (!value || strcmp(value, fixed->value) == 0) continue;
        char reason[64];
        snprintf(reason, sizeof reason, "weft needs it to be %s", fixed->value);
        status = refuse_setting(fixed->name, value, reason, ret_error);
    }
    if (!is_filled(wf_kafka_setting_value(settings, count, "bootstrap.servers")) &&
        !is_filled(wf_kafka_setting_value(settings, count, "metadata.broker.list")) &&
        !is_filled(wf_kafka_setting_value(settings, count, "test.mock.num.brokers")))
        status = refuse_setting("bootstrap.servers", "", "at least one broker must be named", ret_error);
    if (!is_filled(wf_kafka_setting_value(settings, count, "group.id")))
        status = refuse_setting("group.id", "", "a consumer group must be named", ret_error);
    return status;
}

bool wf_kafka_settings_defaults(wf_kafka_set set, void *conf) {
    char reason[512];
    set(conf, "socket.nagle.disable", "true", reason, sizeof reason);
    /* Half of librdkafka's default: with records of 1 KB weft has 80 MB and not 130, and does not do less. */
    set(conf, "queued.max.messages.kbytes", "32768", reason, sizeof reason);
    /* Short against the second that it is by default. */
    return set(conf, "fetch.queue.backoff.ms", "10", reason, sizeof reason);
}

void wf_kafka_settings_hide(const wf_setting *settings, size_t count, char *reason, size_t reason_bytes) {
    for (size_t i = 0; i < count; i++) {
        if (!*settings[i].value || !wf_option_is_secret(settings[i].name)) continue;
        if (!strstr(reason, settings[i].value)) continue;
        snprintf(reason, reason_bytes, "librdkafka refuses it, in words that have a secret in them");
        return;
    }
}

void wf_kafka_settings_set(const wf_setting *settings, size_t count, wf_kafka_set set, void *conf,
                           wf_setting_refuse refuse, void *context) {
    char reason[512];
    for (size_t i = 0; i < count; i++) {
        if (set(conf, settings[i].name, settings[i].value, reason, sizeof reason)) continue;
        wf_kafka_settings_hide(settings, count, reason, sizeof reason);
        refuse(context, i, reason);
    }
    for (size_t i = 0; i < fixed_count; i++)
        if (!set(conf, fixed_settings[i].name, fixed_settings[i].value, reason, sizeof reason))
            refuse(context, wf_settings_all, reason);
}

typedef struct refusals {
    const wf_setting *settings;
    char **text;
    weft_status status;
} refusals;

static void on_refused(void *context, size_t index, const char *reason) {
    static const wf_setting own = {"of weft's own", ""};
    refusals *to = context;
    const wf_setting *setting = index == wf_settings_all ? &own : &to->settings[index];
    to->status = refuse_setting(setting->name, setting->value, reason, to->text);
}

weft_status wf_kafka_settings_apply(const wf_setting *settings, size_t count, wf_kafka_set set, void *conf,
                                    char **ret_error) {
    refusals to = {settings, ret_error, WEFT_OK};
    wf_kafka_settings_set(settings, count, set, conf, on_refused, &to);
    return to.status;
}

static bool is_cooperative(const wf_setting *settings, size_t count) {
    const char *strategy = wf_kafka_setting_value(settings, count, "partition.assignment.strategy");
    return strategy && strstr(strategy, "cooperative");
}

bool wf_kafka_settings_allow_batches(const wf_setting *settings, size_t count, int version) {
    return version >= batch_version || !is_cooperative(settings, count);
}

const char *wf_kafka_settings_warning(const wf_setting *settings, size_t count, int version) {
    if (!is_cooperative(settings, count) || version >= cooperative_version) return NULL;
    return "cooperative rebalancing with librdkafka below 2.10 may lose partitions while commits are on their way; "
           "the eager strategies (range, roundrobin) do not";
}

weft_status wf_kafka_refuse(weft_status status, const char *reason, char **ret_error) {
    char *text = NULL;
    if (asprintf(&text, "kafka: %s", reason) < 0) return WEFT_ENOMEM;
    *ret_error = text;
    return status;
}
