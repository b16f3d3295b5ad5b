/* SPDX-License-Identifier: Apache-2.0
 *
 * What a weft_config is made of; for the config_*.c files only.
 *
 * Invariants:
 * 1. A setting is valid: its name is an option or an allowed kafka. name, its value passes wf_option_parse().
 * 2. There is at most one setting per source and name.
 */
#ifndef WF_CONFIG_STORE_H
#define WF_CONFIG_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "config.h"

/* Later ones win. */
typedef enum wf_config_source {
    WF_CONFIG_DEFAULT = 0,
    WF_CONFIG_FILE,
    WF_CONFIG_ENVIRONMENT,
    WF_CONFIG_CODE,
} wf_config_source;

typedef struct wf_config_setting {
    wf_config_source source;
    uint32_t load; /* which reading of a file it came from: a second one in the same reading is a duplicate */
    char *name;
    char *value;
    char *place; /* "weft.properties:3", "environment WEFT_THREADS", "code" */
} wf_config_setting;

typedef struct wf_config_problem {
    wf_config_source source;
    char *name;
    char *text;
} wf_config_problem;

struct weft_config {
    wf_setting_judge judge; /* NULL: there is none */
    wf_config_setting *settings;
    size_t setting_count;
    wf_config_problem *problems;
    size_t problem_count;
    uint64_t problems_not_kept; /* beyond the limit */
    uint32_t loads;             /* files read so far */
    bool no_memory;             /* something could not be kept: the configuration is not whole */
};

enum {
    WF_CONFIG_NAME_MAX_BYTES = 255,
    WF_CONFIG_PROBLEMS_MAX = 200, /* more than anybody reads; bounds what a hostile file can make us keep */
    WF_CONFIG_SHOWN_BYTES = 80,   /* of a value in a problem */
    WF_CONFIG_KAFKA_MAX = 512,    /* librdkafka 2 has about 190 settings */
};

/* Where a value comes from: what put() needs to keep it or to complain. */
typedef struct wf_config_origin {
    wf_config_source source;
    uint32_t load;
    const char *place;
} wf_config_origin;

/* Check one value and keep it, or keep why not. Returns: as weft_config_set(). */
weft_status wf_config_put(weft_config *config, const wf_config_origin *origin, const char *name, const char *value);

/* Keep a problem: "PLACE: text". `name` may be "". */
void wf_config_complain(weft_config *config, const wf_config_origin *origin, const char *name, const char *format, ...)
    WEFT_PRINTF(4, 5);

/* Forget all settings and problems that came from the environment. */
void wf_config_forget_environment(weft_config *config);

/* The setting in effect; NULL: nobody set it. */
const wf_config_setting *wf_config_effective(const weft_config *config, const char *name);

/* The text in effect of an option, and its number. */
const char *wf_config_text(const weft_config *config, wf_option_id id);
wf_option_value wf_config_value(const weft_config *config, wf_option_id id);

/* The kafka. settings in effect, by name; the caller frees the array. NULL: no memory. */
const wf_config_setting **wf_config_kafka(const weft_config *config, size_t *ret_count);

/* The name of a kafka. setting as librdkafka knows it; NULL: it is none. */
const char *wf_config_kafka_name(const char *name);

/* Write to `out` what is wrong with options that are each valid, and what the judge says of settings of librdkafka, one
 * line each. Returns: WEFT_OK; WEFT_ENOMEM. */
weft_status wf_config_cross_check(const weft_config *config, FILE *out, size_t *ret_lines);

/* Write at most `max_bytes` of a value between quotes, on one line; **** for a secret. */
void wf_config_print_value(FILE *out, const char *name, const char *value, size_t max_bytes);

/* Write "from 1 to 10000 ms", "one of key, partition", ... */
void wf_option_print_range(FILE *out, const wf_option_info *info);

/* A growing text. close() gives it to the caller; NULL: memory ran out on the way. */
typedef struct wf_text {
    FILE *out;
    char *text;
    size_t bytes;
} wf_text;

bool wf_text_open(wf_text *text);
char *wf_text_close(wf_text *text);

#endif
