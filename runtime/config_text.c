/* SPDX-License-Identifier: Apache-2.0
 *
 * What people read of a configuration: values, ranges, problems, the dump and the help.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "config_store.h"

bool wf_text_open(wf_text *text) {
    *text = (wf_text){0};
    text->out = open_memstream(&text->text, &text->bytes);
    return text->out != NULL;
}

char *wf_text_close(wf_text *text) {
    bool failed = ferror(text->out) != 0;
    failed |= fclose(text->out) != 0;
    if (!failed) return text->text;
    free(text->text);
    return NULL;
}

void wf_config_print_value(FILE *out, const char *name, const char *value, size_t max_bytes) {
    if (wf_option_is_secret(name)) {
        fputs("****", out);
        return;
    }
    fputc('"', out);
    size_t i = 0;
    for (; value[i] && i < max_bytes; i++) {
        unsigned char c = (unsigned char)value[i];
        if (c == '\n')
            fputs("\\n", out);
        else if (c < 0x20 || c == 0x7f)
            fprintf(out, "\\x%02x", c);
        else
            fputc(c, out);
    }
    fputs(value[i] ? "\"..." : "\"", out);
}

void wf_option_print_range(FILE *out, const wf_option_info *info) {
    const char *separator = "";
    switch (info->type) {
    case WF_OPTION_STRING:
    case WF_OPTION_LIST:
        fprintf(out, "%" PRId64 " to %" PRId64 " bytes", info->minimum, info->maximum);
        return;
    case WF_OPTION_INTEGER:
        fprintf(out, "%" PRId64 " to %" PRId64 "%s%s", info->minimum, info->maximum, *info->unit ? " " : "",
                info->unit);
        return;
    case WF_OPTION_BOOLEAN:
        fputs("true, false", out);
        return;
    case WF_OPTION_CHOICE:
        for (size_t i = 0; i < wf_option_choice_count; i++) {
            if (wf_option_choices[i].id != info->id) continue;
            fprintf(out, "%s%s", separator, wf_option_choices[i].text);
            separator = ", ";
        }
        return;
    }
}

static weft_status print_problems(const weft_config *config, FILE *out, size_t *ret_lines) {
    for (size_t i = 0; i < config->problem_count; i++) fprintf(out, "%s\n", config->problems[i].text);
    if (config->problems_not_kept > 0) fprintf(out, "and %" PRIu64 " more\n", config->problems_not_kept);
    weft_status status = wf_config_cross_check(config, out, ret_lines);
    *ret_lines += config->problem_count + (config->problems_not_kept > 0);
    return status;
}

/* Returns: WEFT_OK, without a text; WEFT_ECONFIG with one; WEFT_ENOMEM. */
static weft_status collect_problems(const weft_config *config, char **ret_text) {
    wf_text text;
    if (!wf_text_open(&text)) return WEFT_ENOMEM;
    size_t lines = 0;
    weft_status status = print_problems(config, text.out, &lines);
    char *closed = wf_text_close(&text);
    if (!closed) return WEFT_ENOMEM;
    if (status == WEFT_OK && lines > 0) {
        *ret_text = closed;
        return WEFT_ECONFIG;
    }
    free(closed);
    return status;
}

char *weft_config_problems(const weft_config *config) {
    char *text = NULL;
    return config && collect_problems(config, &text) == WEFT_ECONFIG ? text : NULL;
}

weft_status weft_config_check(const weft_config *config) {
    if (!config) return WEFT_EINVAL;
    char *text = NULL;
    weft_status status = config->no_memory ? WEFT_ENOMEM : collect_problems(config, &text);
    free(text);
    return status;
}

static void dump_line(FILE *out, const char *name, const char *value, const char *place) {
    fprintf(out, "%s = ", name);
    wf_config_print_value(out, name, value, SIZE_MAX);
    fprintf(out, " (%s)\n", place);
}

/* The kafka. settings in effect, by name. */
static bool dump_kafka(const weft_config *config, FILE *out) {
    size_t count;
    const wf_config_setting **settings = wf_config_kafka(config, &count);
    if (!settings) return false;
    for (size_t i = 0; i < count; i++) dump_line(out, settings[i]->name, settings[i]->value, settings[i]->place);
    free(settings);
    return true;
}

char *weft_config_dump(const weft_config *config) {
    wf_text text;
    if (!config || !wf_text_open(&text)) return NULL;
    for (size_t i = 0; i < WF_OPTION_COUNT; i++) {
        const wf_option_info *info = &wf_option_table[i];
        const wf_config_setting *setting = wf_config_effective(config, info->name);
        dump_line(text.out, info->name, wf_config_text(config, info->id), setting ? setting->place : "default");
    }
    bool whole = dump_kafka(config, text.out);
    char *closed = wf_text_close(&text);
    if (whole) return closed;
    free(closed);
    return NULL;
}

char *weft_config_help(void) {
    wf_text text;
    if (!wf_text_open(&text)) return NULL;
    for (size_t i = 0; i < WF_OPTION_COUNT; i++) {
        const wf_option_info *info = &wf_option_table[i];
        fprintf(text.out, "%s\n    %s\n    ", info->name, info->help);
        wf_option_print_range(text.out, info);
        if (info->secret)
            fputs("; secret", text.out);
        else if (*info->default_text)
            fprintf(text.out, "; default %s", info->default_text);
        fputc('\n', text.out);
    }
    fputs("kafka.NAME\n    any other setting of librdkafka for consumers\n", text.out);
    return wf_text_close(&text);
}
