/* SPDX-License-Identifier: Apache-2.0
 *
 * The configuration inside weft: the typed values that the parts are started with, and the option table of config.def.
 */
#ifndef WF_CONFIG_H
#define WF_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weft/config.h"
#include "weft/status.h"

/* Constants of the CHOICE options: WF_ORDERING_KEY, WF_ENGINE_ASYNC, ... */
enum {
#define CHOICE(field, constant, number, text, help) constant = number,
#include "config.def"
};

/* One name per option, for tables: WF_OPTION_ID_threads. */
typedef enum wf_option_id {
#define OPTION(field, name, type, unit, minimum, maximum, default_text, secrecy, help) WF_OPTION_ID_##field,
#include "config.def"
    WF_OPTION_COUNT
} wf_option_id;

/* A setting of librdkafka that was passed through, without the "kafka." */
typedef struct wf_setting {
    const char *name;
    const char *value;
} wf_setting;

/* The options in effect: a const char * or, for a LIST, char ** and FIELD_count, or int64_t, bool, or the constant of a
 * choice. */
typedef struct wf_options {
#define WF_FIELD_STRING(field) const char *field;
#define WF_FIELD_LIST(field)                                                                                           \
    char **field;                                                                                                      \
    size_t field##_count;
#define WF_FIELD_INTEGER(field) int64_t field;
#define WF_FIELD_BOOLEAN(field) bool field;
#define WF_FIELD_CHOICE(field) int field;
#define OPTION(field, name, type, unit, minimum, maximum, default_text, secrecy, help) WF_FIELD_##type(field)
#include "config.def"
    wf_setting *kafka; /* sorted by name */
    size_t kafka_count;
} wf_options;

/* Typed copies of everything in effect. in.flight.max.records is cut to queue.max.records.
 * Owns:    the caller frees with wf_options_free(); the configuration may go earlier.
 * Returns: WEFT_OK; WEFT_ECONFIG when weft_config_check() does not agree; WEFT_ENOMEM. */
weft_status wf_config_resolve(const weft_config *config, wf_options *ret_options);

/* Frees what is inside, and zeroes it. Fine for zeroed options. */
void wf_options_free(wf_options *options);

/* The text of a choice in effect: what to tell librdkafka for auto.offset.reset. NULL: no such choice. */
const char *wf_option_choice_text(wf_option_id id, int choice);

/* --- the table itself */

typedef enum wf_option_type {
    WF_OPTION_STRING = 0,
    WF_OPTION_LIST,
    WF_OPTION_INTEGER,
    WF_OPTION_BOOLEAN,
    WF_OPTION_CHOICE,
} wf_option_type;

typedef struct wf_option_info {
    wf_option_id id;
    wf_option_type type;
    const char *name;
    const char *unit; /* "" for none */
    int64_t minimum;
    int64_t maximum;
    const char *default_text;
    bool secret;
    const char *help;
    size_t offset;       /* of the field in wf_options */
    size_t count_offset; /* of FIELD_count; LIST only */
} wf_option_info;

typedef struct wf_option_choice {
    wf_option_id id;
    int choice;
    const char *text;
    const char *help;
} wf_option_choice;

extern const wf_option_info wf_option_table[WF_OPTION_COUNT];
extern const wf_option_choice wf_option_choices[];
extern const size_t wf_option_choice_count;

/* A value of any type but STRING and LIST, which are their own text. */
typedef struct wf_option_value {
    int64_t integer;
    int choice;
    bool boolean;
} wf_option_value;

enum { WF_OPTION_REASON_BYTES = 320 };

/* Read one value. On failure `reason` says what is allowed: "must be a whole number from 1 to 10000".
 * Returns: WEFT_OK; WEFT_EINVAL for the wrong form; WEFT_ERANGE for a value outside of its range. */
weft_status wf_option_parse(const wf_option_info *info, const char *text, wf_option_value *ret_value,
                            char reason[WF_OPTION_REASON_BYTES]);

/* The row of a name; NULL: none. */
const wf_option_info *wf_option_find(const char *name);

/* The option whose name is nearest to a misspelt one; NULL: none is near. */
const char *wf_option_suggest(const char *name);

/* Is `text` nearer to what was typed than the nearest so far, which begins as WF_OPTION_FAR? A third of the letters may
 * be wrong, and two in short names; a beginning is as good as one wrong letter. */
enum { WF_OPTION_FAR = 1000 };
bool wf_option_is_nearer(const char *typed, const char *text, unsigned *nearest);

/* Must the value be hidden? The row of an option says so; where there is none (NULL: settings of librdkafka, misspelt
 * names) the name does: passwords, secrets, tokens, private keys, also with a slip in it. */
bool wf_option_hides(const wf_option_info *info, const char *name);

/* The same of any name of the configuration. */
bool wf_option_is_secret(const char *name);

/* --- settings of librdkafka, which this layer does not know */

static const size_t wf_settings_all = SIZE_MAX;

/* Told that the setting of this index can't be, and why; wf_settings_all: they can't be together. */
typedef void (*wf_setting_refuse)(void *context, size_t index, const char *reason);

/* Looks at the settings in effect, sorted by name, and refuses; a reason must not have the value of a secret in it. */
typedef void (*wf_setting_judge)(const wf_setting *settings, size_t count, wf_setting_refuse refuse, void *context);

/* What weft_config_new() does. Without a judge (NULL) all that has the form of a setting is fine. */
weft_status wf_config_new(wf_setting_judge judge, weft_config **ret_config);

/* --- reading */

enum { WF_CONFIG_FILE_MAX_BYTES = 1 << 20 };

/* What weft_config_load_file() does with the bytes of a file; `path` is for the problems. Any bytes. */
weft_status wf_config_load_text(weft_config *config, const char *path, const char *text, size_t bytes);

/* What weft_config_load_environment() does with environ: "NAME=value" texts, ended by NULL. */
weft_status wf_config_load_variables(weft_config *config, char *const *variables);

#endif
