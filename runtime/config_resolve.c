/* SPDX-License-Identifier: Apache-2.0
 *
 * The typed copy of a configuration: wf_options.
 */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "config.h"
#include "config_store.h"

static void *field_of(wf_options *options, size_t offset) {
    return (char *)options + offset;
}

/* `text` is valid: its elements are not empty. */
static weft_status split_list(const char *text, char ***ret_list, size_t *ret_count) {
    size_t capacity = 1;
    for (const char *at = text; *at; at++) capacity += *at == ',';
    char **list = calloc(capacity, sizeof *list);
    if (!list) return WEFT_ENOMEM;
    *ret_list = list;
    *ret_count = 0;
    for (const char *at = text; *at;) {
        at += strspn(at, " ");
        size_t bytes = strcspn(at, ",");
        const char *next = at[bytes] == ',' ? at + bytes + 1 : at + bytes;
        while (bytes > 0 && at[bytes - 1] == ' ') bytes--;
        char *element = strndup(at, bytes);
        if (!element) return WEFT_ENOMEM;
        list[(*ret_count)++] = element;
        at = next;
    }
    return WEFT_OK;
}

static weft_status resolve_option(const weft_config *config, const wf_option_info *info, wf_options *options) {
    const char *text = wf_config_text(config, info->id);
    void *field = field_of(options, info->offset);
    switch (info->type) {
    case WF_OPTION_STRING: {
        char *copy = strdup(text);
        *(const char **)field = copy;
        return copy ? WEFT_OK : WEFT_ENOMEM;
    }
    case WF_OPTION_LIST:
        return split_list(text, field, field_of(options, info->count_offset));
    case WF_OPTION_INTEGER:
        *(int64_t *)field = wf_config_value(config, info->id).integer;
        return WEFT_OK;
    case WF_OPTION_BOOLEAN:
        *(bool *)field = wf_config_value(config, info->id).boolean;
        return WEFT_OK;
    case WF_OPTION_CHOICE:
        *(int *)field = wf_config_value(config, info->id).choice;
        return WEFT_OK;
    }
    WF_UNREACHABLE("option type");
}

static weft_status resolve_kafka(const weft_config *config, wf_options *options) {
    size_t count;
    const wf_config_setting **settings = wf_config_kafka(config, &count);
    options->kafka = settings ? calloc(count + 1, sizeof *options->kafka) : NULL;
    weft_status status = options->kafka ? WEFT_OK : WEFT_ENOMEM;
    for (size_t i = 0; status == WEFT_OK && i < count; i++) {
        wf_setting *copy = &options->kafka[options->kafka_count++];
        copy->name = strdup(wf_config_kafka_name(settings[i]->name));
        copy->value = strdup(settings[i]->value);
        if (!copy->name || !copy->value) status = WEFT_ENOMEM;
    }
    free(settings);
    return status;
}

weft_status wf_config_resolve(const weft_config *config, wf_options *ret_options) {
    weft_status status = weft_config_check(config);
    wf_options options = {0};
    for (size_t i = 0; i < WF_OPTION_COUNT && status == WEFT_OK; i++)
        status = resolve_option(config, &wf_option_table[i], &options);
    if (status == WEFT_OK) status = resolve_kafka(config, &options);
    if (status != WEFT_OK) {
        wf_options_free(&options);
        return status;
    }
    if (options.in_flight_max_records > options.queue_max_records)
        options.in_flight_max_records = options.queue_max_records;
    *ret_options = options;
    return WEFT_OK;
}

void wf_options_free(wf_options *options) {
    for (size_t i = 0; i < WF_OPTION_COUNT; i++) {
        const wf_option_info *info = &wf_option_table[i];
        if (info->type == WF_OPTION_STRING) free(*(char **)field_of(options, info->offset));
        if (info->type != WF_OPTION_LIST) continue;
        char **list = *(char ***)field_of(options, info->offset);
        size_t count = *(size_t *)field_of(options, info->count_offset);
        for (size_t j = 0; j < count; j++) free(list[j]);
        free(list);
    }
    for (size_t i = 0; i < options->kafka_count; i++) {
        free((char *)options->kafka[i].name);
        free((char *)options->kafka[i].value);
    }
    free(options->kafka);
    *options = (wf_options){0};
}
