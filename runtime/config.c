/* SPDX-License-Identifier: Apache-2.0
 *
 * The settings of a weft_config: which are taken, which one is in effect, and the typed copy of all.
 */
#include "config.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "config_store.h"

weft_status wf_config_new(wf_setting_judge judge, weft_config **ret_config) {
    weft_config *config = calloc(1, sizeof *config);
    if (!config) return WEFT_ENOMEM;
    config->judge = judge;
    *ret_config = config;
    return WEFT_OK;
}

static void free_setting(wf_config_setting *setting) {
    free(setting->name);
    free(setting->value);
    free(setting->place);
}

static void free_problem(wf_config_problem *problem) {
    free(problem->name);
    free(problem->text);
}

void weft_config_free(weft_config **config) {
    if (!config || !*config) return;
    weft_config *old = *config;
    *config = NULL;
    for (size_t i = 0; i < old->setting_count; i++) free_setting(&old->settings[i]);
    for (size_t i = 0; i < old->problem_count; i++) free_problem(&old->problems[i]);
    free(old->settings);
    free(old->problems);
    free(old);
}

/* Names of files, variables and settings can have any bytes; in a problem or a dump they stay on one line. */
static void keep_on_one_line(char *text) {
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f) *text = '?';
}

void wf_config_complain(weft_config *config, const wf_config_origin *origin, const char *name, const char *format,
                        ...) {
    if (config->problem_count == WF_CONFIG_PROBLEMS_MAX) {
        config->problems_not_kept++;
        return;
    }
    wf_config_problem *grown = realloc(config->problems, (config->problem_count + 1) * sizeof *grown);
    if (!grown) {
        config->no_memory = true;
        return;
    }
    config->problems = grown;

    wf_config_problem problem = {.source = origin->source, .name = strdup(name)};
    wf_text text;
    if (wf_text_open(&text)) {
        va_list arguments;
        va_start(arguments, format);
        fprintf(text.out, "%s: ", origin->place);
        vfprintf(text.out, format, arguments);
        va_end(arguments);
        problem.text = wf_text_close(&text);
    }
    if (!problem.name || !problem.text) {
        config->no_memory = true;
        free_problem(&problem);
        return;
    }
    keep_on_one_line(problem.text);
    config->problems[config->problem_count++] = problem;
}

/* The problem of one value: `PLACE: name = "value": reason`. */
static void complain_value(weft_config *config, const wf_config_origin *origin, const char *name, const char *value,
                           const char *reason) {
    wf_text shown;
    char *text = NULL;
    if (wf_text_open(&shown)) {
        wf_config_print_value(shown.out, name, value, WF_CONFIG_SHOWN_BYTES);
        text = wf_text_close(&shown);
    }
    wf_config_complain(config, origin, name, "%s = %s: %s", name, text ? text : "?", reason);
    if (!text) config->no_memory = true;
    free(text);
}

/* Forget what `source` said of a name, or of all names when it is NULL. */
static void forget(weft_config *config, wf_config_source source, const char *name) {
    size_t kept = 0;
    for (size_t i = 0; i < config->problem_count; i++) {
        wf_config_problem *problem = &config->problems[i];
        if (problem->source == source && (!name || strcmp(problem->name, name) == 0))
            free_problem(problem);
        else
            config->problems[kept++] = *problem;
    }
    config->problem_count = kept;
    if (name) return;
    kept = 0;
    for (size_t i = 0; i < config->setting_count; i++) {
        wf_config_setting *setting = &config->settings[i];
        if (setting->source == source)
            free_setting(setting);
        else
            config->settings[kept++] = *setting;
    }
    config->setting_count = kept;
}

static wf_config_setting *find_setting(const weft_config *config, wf_config_source source, const char *name) {
    for (size_t i = 0; i < config->setting_count; i++) {
        wf_config_setting *setting = &config->settings[i];
        if (setting->source == source && strcmp(setting->name, name) == 0) return setting;
    }
    return NULL;
}

static void take_back(weft_config *config, wf_config_source source, const char *name) {
    wf_config_setting *setting = find_setting(config, source, name);
    if (!setting) return;
    free_setting(setting);
    *setting = config->settings[--config->setting_count];
}

/* Keep a valid value. */
static weft_status keep(weft_config *config, const wf_config_origin *origin, const char *name, const char *value) {
    wf_config_setting *old = find_setting(config, origin->source, name);
    if (old && origin->source == WF_CONFIG_FILE && old->load == origin->load) {
        wf_config_complain(config, origin, name, "%s is given twice, first at %s", name, old->place);
        return WEFT_EINVAL;
    }
    wf_config_setting setting = {origin->source, origin->load, strdup(name), strdup(value), strdup(origin->place)};
    if (!setting.name || !setting.value || !setting.place) goto no_memory;
    keep_on_one_line(setting.place);
    if (old) {
        free_setting(old);
        *old = setting;
        return WEFT_OK;
    }
    wf_config_setting *grown = realloc(config->settings, (config->setting_count + 1) * sizeof *grown);
    if (!grown) goto no_memory;
    config->settings = grown;
    config->settings[config->setting_count++] = setting;
    return WEFT_OK;

no_memory:
    free_setting(&setting);
    config->no_memory = true;
    return WEFT_ENOMEM;
}

/* Settings of librdkafka that weft's promises rest on, or that no text can express. */
static const struct {
    const char *name;
    const char *reason;
} refused[] = {
    {"enable.auto.commit", "weft commits what is finished, and nothing else"},
    {"auto.commit.enable", "weft commits what is finished, and nothing else"},
    {"auto.commit.interval.ms", "use commit.interval.ms"},
    {"enable.auto.offset.store", "weft keeps the offsets itself"},
    {"offset.store.method", "weft keeps the offsets itself"},
    {"offset.store.path", "weft keeps the offsets itself"},
    {"offset.store.sync.interval.ms", "weft keeps the offsets itself"},
    {"enable.partition.eof", "weft needs it on, to see holes at the end of the log"},
    {"metadata.broker.list", "use bootstrap.servers"},
    {"enabled_events", "weft reads librdkafka's events itself"},
    {"log.queue", "weft reads librdkafka's events itself"},
    {"opaque", "no text can express it"},
    {"default_topic_conf", "no text can express it"},
    {"interceptors", "no text can express it"},
};

/* Why a setting of librdkafka can't be passed through; NULL: it can. */
static const char *kafka_refusal(const char *name) {
    size_t bytes = strlen(name);
    if (bytes == 0) return "a name must follow the prefix";
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
        if (strcmp(refused[i].name, name) == 0) return refused[i].reason;
    if (wf_option_find(name)) return "is an option of weft: set it without the prefix";
    if (bytes >= 3 && strcmp(name + bytes - 3, "_cb") == 0) return "callbacks are weft's own";
    for (size_t i = 0; i < bytes; i++)
        if ((unsigned char)name[i] <= 0x20 || (unsigned char)name[i] >= 0x7f) return "a name must be printable ASCII";
    return NULL;
}

const char *wf_config_kafka_name(const char *name) {
    static const char prefix[] = "kafka.";
    return strncmp(name, prefix, sizeof prefix - 1) == 0 ? name + sizeof prefix - 1 : NULL;
}

static weft_status put_kafka(weft_config *config, const wf_config_origin *origin, const char *name, const char *value) {
    const char *refusal = kafka_refusal(wf_config_kafka_name(name));
    if (refusal) {
        complain_value(config, origin, name, value, refusal);
        return WEFT_EINVAL;
    }
    size_t count = 0;
    for (size_t i = 0; i < config->setting_count; i++) count += wf_config_kafka_name(config->settings[i].name) != NULL;
    if (count >= WF_CONFIG_KAFKA_MAX && !find_setting(config, origin->source, name)) {
        wf_config_complain(config, origin, name, "%s: too many settings of librdkafka, at most %d", name,
                           WF_CONFIG_KAFKA_MAX);
        return WEFT_ERANGE;
    }
    return keep(config, origin, name, value);
}

/* The value of an unknown name is not shown: it may be a misspelt password. */
static weft_status put_unknown(weft_config *config, const wf_config_origin *origin, const char *name) {
    wf_text shown;
    char *text = NULL;
    if (wf_text_open(&shown)) {
        wf_config_print_value(shown.out, "", name, WF_CONFIG_SHOWN_BYTES);
        text = wf_text_close(&shown);
    }
    if (!text) {
        config->no_memory = true;
        return WEFT_ENOMEM;
    }
    const char *suggestion = wf_option_suggest(name);
    if (suggestion)
        wf_config_complain(config, origin, name, "no option %s; did you mean %s?", text, suggestion);
    else
        wf_config_complain(config, origin, name, "no option %s; settings of librdkafka begin with kafka.", text);
    free(text);
    return WEFT_EINVAL;
}

weft_status wf_config_put(weft_config *config, const wf_config_origin *origin, const char *name, const char *value) {
    if (*name == '\0' || strlen(name) > WF_CONFIG_NAME_MAX_BYTES) {
        wf_config_complain(config, origin, "", "the name of an option has from 1 to %d bytes, this one %zu",
                           WF_CONFIG_NAME_MAX_BYTES, strlen(name));
        return WEFT_EINVAL;
    }
    if (wf_config_kafka_name(name)) return put_kafka(config, origin, name, value);
    const wf_option_info *info = wf_option_find(name);
    if (!info) return put_unknown(config, origin, name);
    wf_option_value parsed;
    char reason[WF_OPTION_REASON_BYTES];
    weft_status status = wf_option_parse(info, value, &parsed, reason);
    if (status == WEFT_OK) return keep(config, origin, name, value);
    complain_value(config, origin, name, value, reason);
    return status;
}

weft_status weft_config_set(weft_config *config, const char *name, const char *value) {
    if (!config || !name) return WEFT_EINVAL;
    const wf_config_origin origin = {.source = WF_CONFIG_CODE, .place = "code"};
    forget(config, WF_CONFIG_CODE, name);
    if (value) return wf_config_put(config, &origin, name, value);
    take_back(config, WF_CONFIG_CODE, name);
    return WEFT_OK;
}

void wf_config_forget_environment(weft_config *config) {
    forget(config, WF_CONFIG_ENVIRONMENT, NULL);
}

const wf_config_setting *wf_config_effective(const weft_config *config, const char *name) {
    for (wf_config_source source = WF_CONFIG_CODE; source > WF_CONFIG_DEFAULT; source--) {
        const wf_config_setting *setting = find_setting(config, source, name);
        if (setting) return setting;
    }
    return NULL;
}

static int compare_names(const void *a, const void *b) {
    return strcmp((*(const wf_config_setting *const *)a)->name, (*(const wf_config_setting *const *)b)->name);
}

const wf_config_setting **wf_config_kafka(const weft_config *config, size_t *ret_count) {
    const wf_config_setting **settings = calloc(config->setting_count + 1, sizeof *settings);
    if (!settings) return NULL;
    size_t count = 0;
    for (size_t i = 0; i < config->setting_count; i++) {
        const wf_config_setting *setting = &config->settings[i];
        if (wf_config_kafka_name(setting->name) && wf_config_effective(config, setting->name) == setting)
            settings[count++] = setting;
    }
    qsort(settings, count, sizeof *settings, compare_names);
    *ret_count = count;
    return settings;
}

const char *weft_config_get(const weft_config *config, const char *name) {
    if (!config || !name) return NULL;
    const wf_config_setting *setting = wf_config_effective(config, name);
    if (setting) return setting->value;
    const wf_option_info *info = wf_option_find(name);
    return info ? info->default_text : NULL;
}

const char *wf_config_text(const weft_config *config, wf_option_id id) {
    return weft_config_get(config, wf_option_table[id].name);
}

wf_option_value wf_config_value(const weft_config *config, wf_option_id id) {
    wf_option_value value = {0};
    char reason[WF_OPTION_REASON_BYTES];
    WF_CHECK(wf_option_parse(&wf_option_table[id], wf_config_text(config, id), &value, reason) == WEFT_OK);
    return value;
}
