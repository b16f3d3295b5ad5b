/* SPDX-License-Identifier: Apache-2.0
 *
 * What librdkafka says of its settings, asked when a configuration is checked and not first when it is used. Names and
 * values are judged one by one; what does not fit together, and some values (mechanisms, strategies, certificates), are
 * judged only when a client is made. So one is made, and ends again at once.
 *
 * 1. That client knows no broker, serves nobody and logs nothing: it leaves no trace.
 * 2. No program is started for it, and nothing is read that could be read only once.
 * 3. A number is taken as it was written, or not at all.
 */
#include "kafka_judge.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include <librdkafka/rdkafka.h>

#include "config.h"
#include "kafka_setting.h"

/* The name nearest to `name` in a list of names and values, as librdkafka dumps it, is copied: the list goes. */
static void look_through(const char **list, size_t count, const char *name, unsigned *nearest, char ret_found[64]) {
    for (size_t i = 0; i < count; i += 2)
        if (wf_option_is_nearer(name, list[i], nearest)) snprintf(ret_found, 64, "%s", list[i]);
    rd_kafka_conf_dump_free(list, count);
}

static void add_suggestion(rd_kafka_conf_t *conf, const char *name, char *reason, size_t reason_bytes) {
    char found[64] = "";
    unsigned nearest = WF_OPTION_FAR;
    size_t count, bytes = strlen(reason);
    const char **list = rd_kafka_conf_dump(conf, &count);
    look_through(list, count, name, &nearest, found);
    rd_kafka_topic_conf_t *topic_conf = rd_kafka_topic_conf_new();
    list = rd_kafka_topic_conf_dump(topic_conf, &count);
    look_through(list, count, name, &nearest, found);
    rd_kafka_topic_conf_destroy(topic_conf);
    if (*found) snprintf(reason + bytes, reason_bytes - bytes, "; did you mean %s?", found);
}

/* librdkafka reads a number until something else comes, and takes 5m for 5. What it took is in its answer. */
static bool is_cut(rd_kafka_conf_t *conf, const char *name, const char *value, char *reason, size_t reason_bytes) {
    char taken[32], *end;
    size_t taken_bytes = sizeof taken;
    if (rd_kafka_conf_get(conf, name, taken, &taken_bytes) != RD_KAFKA_CONF_OK) return false;
    bool is_number = *taken && taken[strspn(taken, "-0123456789")] == '\0';
    if (!is_number || strcmp(taken, value) == 0) return false;
    (void)strtol(value, &end, 0);
    if (end != value && end[strspn(end, " \t")] == '\0') return false;
    snprintf(reason, reason_bytes, "must be a whole number; librdkafka would read this as %s", taken);
    return true;
}

bool wf_kafka_conf_set(void *conf, const char *name, const char *value, char *reason, size_t reason_bytes) {
    rd_kafka_conf_res_t result = rd_kafka_conf_set(conf, name, value, reason, reason_bytes);
    if (result == RD_KAFKA_CONF_UNKNOWN) add_suggestion(conf, name, reason, reason_bytes);
    return result == RD_KAFKA_CONF_OK && !is_cut(conf, name, value, reason, reason_bytes);
}

static void no_log(const rd_kafka_t *rk, int level, const char *facility, const char *text) {
    (void)rk, (void)level, (void)facility, (void)text;
}

static bool ends_with(const char *text, const char *end) {
    size_t bytes = strlen(text), end_bytes = strlen(end);
    return bytes >= end_bytes && strcmp(text + bytes - end_bytes, end) == 0;
}

/* A key that comes through a pipe is for the door. */
static bool has_pipe(const wf_setting *settings, size_t count) {
    struct stat file;
    for (size_t i = 0; i < count; i++)
        if (ends_with(settings[i].name, ".location") && stat(settings[i].value, &file) == 0 &&
            !S_ISREG(file.st_mode) && !S_ISDIR(file.st_mode))
            return true;
    return false;
}

/* What makes the client harmless. A setting that this build of the library has not can't do harm either. */
static void disarm(rd_kafka_conf_t *conf, const wf_setting *settings, size_t count) {
    const char *protocol = wf_kafka_setting_value(settings, count, "security.protocol");
    char reason[512];
    rd_kafka_conf_set_log_cb(conf, no_log);
    rd_kafka_conf_set(conf, "log.queue", "false", reason, sizeof reason);
    rd_kafka_conf_set(conf, "test.mock.num.brokers", "0", reason, sizeof reason);
    rd_kafka_conf_set(conf, "sasl.kerberos.min.time.before.relogin", "0", reason, sizeof reason); /* no kinit */
    if (!protocol || !has_pipe(settings, count)) return;
    bool sasl = strncasecmp(protocol, "sasl", 4) == 0;
    rd_kafka_conf_set(conf, "security.protocol", sasl ? "sasl_plaintext" : "plaintext", reason, sizeof reason);
}

void wf_kafka_judge(const wf_setting *settings, size_t count, wf_setting_refuse refuse, void *context) {
    char reason[512];
    if (count == 0) return;
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    wf_kafka_settings_defaults(wf_kafka_conf_set, conf);
    rd_kafka_conf_set(conf, "group.id", "weft", reason, sizeof reason);
    wf_kafka_settings_set(settings, count, wf_kafka_conf_set, conf, refuse, context);
    disarm(conf, settings, count);
    rd_kafka_t *client = rd_kafka_new(RD_KAFKA_CONSUMER, conf, reason, sizeof reason);
    if (client) {
        rd_kafka_destroy_flags(client, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
        return;
    }
    rd_kafka_conf_destroy(conf);
    wf_kafka_settings_hide(settings, count, reason, sizeof reason);
    refuse(context, wf_settings_all, reason);
}

/* Here, because a configuration is of use only with a judge, and the layer below has none. */
weft_status weft_config_new(weft_config **ret_config) {
    return wf_config_new(wf_kafka_judge, ret_config);
}
