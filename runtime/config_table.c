/* SPDX-License-Identifier: Apache-2.0
 *
 * The rows of config.def, and how a text becomes a value of a row. Pure.
 */
#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "check.h"
#include "config.h"
#include "weft/actor.h"

const wf_option_info wf_option_table[WF_OPTION_COUNT] = {
#define WF_COUNT_OFFSET_STRING(field) 0
#define WF_COUNT_OFFSET_LIST(field) offsetof(wf_options, field##_count)
#define WF_COUNT_OFFSET_INTEGER(field) 0
#define WF_COUNT_OFFSET_BOOLEAN(field) 0
#define WF_COUNT_OFFSET_CHOICE(field) 0
#define WF_SECRECY_PUBLIC false
#define WF_SECRECY_SECRET true
#define OPTION(field, name_, type_, unit_, minimum_, maximum_, default_, secrecy_, help_)                              \
    [WF_OPTION_ID_##field] = {                                                                                         \
        .id = WF_OPTION_ID_##field,                                                                                    \
        .type = WF_OPTION_##type_,                                                                                     \
        .name = name_,                                                                                                 \
        .unit = unit_,                                                                                                 \
        .minimum = minimum_,                                                                                           \
        .maximum = maximum_,                                                                                           \
        .default_text = default_,                                                                                      \
        .secret = WF_SECRECY_##secrecy_,                                                                               \
        .help = help_,                                                                                                 \
        .offset = offsetof(wf_options, field),                                                                         \
        .count_offset = WF_COUNT_OFFSET_##type_(field),                                                                \
    },
#include "config.def"
};

const wf_option_choice wf_option_choices[] = {
#define CHOICE(field, constant, number, text, help) {WF_OPTION_ID_##field, constant, text, help},
#define ALIAS(field, constant, text, help) {WF_OPTION_ID_##field, constant, text, help},
#include "config.def"
};

const size_t wf_option_choice_count = sizeof wf_option_choices / sizeof wf_option_choices[0];

static_assert(WF_LOG_LEVEL_ERROR == (int)WEFT_LOG_ERROR && WF_LOG_LEVEL_WARN == (int)WEFT_LOG_WARN &&
                  WF_LOG_LEVEL_INFO == (int)WEFT_LOG_INFO && WF_LOG_LEVEL_DEBUG == (int)WEFT_LOG_DEBUG,
              "log.level is a weft_log_level");

const wf_option_info *wf_option_find(const char *name) {
    for (size_t i = 0; i < WF_OPTION_COUNT; i++)
        if (strcmp(wf_option_table[i].name, name) == 0) return &wf_option_table[i];
    return NULL;
}

const char *wf_option_choice_text(wf_option_id id, int choice) {
    for (size_t i = 0; i < wf_option_choice_count; i++)
        if (wf_option_choices[i].id == id && wf_option_choices[i].choice == choice) return wf_option_choices[i].text;
    return NULL;
}

enum { SUGGEST_MAX_BYTES = 64 };

static unsigned least(unsigned a, unsigned b) {
    return a < b ? a : b;
}

/* How many letters to insert, drop, change or swap with their neighbour. Both texts are shorter than SUGGEST_MAX_BYTES.
 */
static unsigned edit_distance(const char *a, const char *b) {
    size_t a_bytes = strlen(a), b_bytes = strlen(b);
    unsigned rows[3][SUGGEST_MAX_BYTES + 1];
    unsigned *before = rows[0], *last = rows[1], *row = rows[2];
    for (size_t j = 0; j <= b_bytes; j++) last[j] = (unsigned)j;
    for (size_t i = 1; i <= a_bytes; i++) {
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= b_bytes; j++) {
            unsigned changed = last[j - 1] + (a[i - 1] != b[j - 1]);
            row[j] = least(changed, least(last[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = least(row[j], before[j - 2] + 1);
        }
        unsigned *spare = before;
        before = last;
        last = row;
        row = spare;
    }
    return last[b_bytes];
}

bool wf_option_is_nearer(const char *typed, const char *text, unsigned *nearest) {
    size_t typed_bytes = strlen(typed);
    if (typed_bytes == 0 || typed_bytes >= SUGGEST_MAX_BYTES || strlen(text) >= SUGGEST_MAX_BYTES) return false;
    unsigned allowed = typed_bytes < 6 ? 2 : (unsigned)typed_bytes / 3;
    unsigned distance = edit_distance(typed, text);
    if (typed_bytes >= 4 && strncasecmp(typed, text, typed_bytes) == 0) distance = text[typed_bytes] == '\0' ? 0 : 1;
    if (distance > allowed || distance >= typed_bytes || distance >= *nearest) return false;
    *nearest = distance;
    return true;
}

/* Also a slip of the pen: a misspelt password is one, too. */
static bool sounds_secret(const char *part, size_t bytes) {
    static const struct {
        const char *word;
        unsigned distance; /* small enough that no name of librdkafka is near */
    } words[] = {{"password", 2}, {"passphrase", 2}, {"passwd", 1}, {"pass", 0},       {"pwd", 0},
                 {"secret", 1},   {"token", 1},      {"jaas", 0},   {"credential", 2}, {"credentials", 2}};
    char copy[SUGGEST_MAX_BYTES];
    if (bytes >= sizeof copy) return false;
    for (size_t i = 0; i < bytes; i++) copy[i] = (char)tolower((unsigned char)part[i]);
    copy[bytes] = '\0';
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (edit_distance(copy, words[i].word) <= words[i].distance) return true;
    return false;
}

static bool is_secret_name(const char *name) {
    static const char *const marks[] = {"password",          "secret", "token", "key.pem", "ssl.key", "jaas",
                                        "oauthbearer.config"};
    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++)
        if (strcasestr(name, marks[i])) return true;
    static const char separators[] = "._-";
    for (const char *at = name; *at;) {
        at += strspn(at, separators);
        size_t bytes = strcspn(at, separators);
        if (sounds_secret(at, bytes)) return true;
        at += bytes;
    }
    return false;
}

bool wf_option_hides(const wf_option_info *info, const char *name) {
    return info ? info->secret : is_secret_name(name);
}

bool wf_option_is_secret(const char *name) {
    return wf_option_hides(wf_option_find(name), name);
}

const char *wf_option_suggest(const char *name) {
    const char *found = NULL;
    unsigned nearest = WF_OPTION_FAR;
    for (size_t i = 0; i < WF_OPTION_COUNT; i++)
        if (wf_option_is_nearer(name, wf_option_table[i].name, &nearest)) found = wf_option_table[i].name;
    return found;
}

static weft_status parse_integer(const wf_option_info *info, const char *text, int64_t *ret_integer, char *reason) {
    const char *unit = info->unit;
    snprintf(reason, WF_OPTION_REASON_BYTES, "must be a whole number from %lld to %lld%s%s", (long long)info->minimum,
             (long long)info->maximum, *unit ? " " : "", unit);
    bool negative = *text == '-';
    const char *digits = text + negative;
    if (*digits == '\0' || digits[strspn(digits, "0123456789")] != '\0') return WEFT_EINVAL;
    int64_t value = 0;
    for (; *digits; digits++) {
        int digit = *digits - '0';
        if (value > (INT64_MAX - digit) / 10) return WEFT_ERANGE;
        value = value * 10 + digit;
    }
    if (negative) value = -value;
    if (value < info->minimum || value > info->maximum) return WEFT_ERANGE;
    *ret_integer = value;
    return WEFT_OK;
}

static weft_status parse_choice(const wf_option_info *info, const char *text, int *ret_choice, char *reason) {
    const char *near_text = NULL, *separator = " ";
    unsigned nearest = WF_OPTION_FAR;
    int at = snprintf(reason, WF_OPTION_REASON_BYTES, "must be one of");
    for (size_t i = 0; i < wf_option_choice_count; i++) {
        const wf_option_choice *row = &wf_option_choices[i];
        if (row->id != info->id) continue;
        if (strcmp(row->text, text) == 0) {
            *ret_choice = row->choice;
            return WEFT_OK;
        }
        if (wf_option_is_nearer(text, row->text, &nearest)) near_text = row->text;
        at += snprintf(reason + at, (size_t)(WF_OPTION_REASON_BYTES - at), "%s%s", separator, row->text);
        separator = ", ";
        WF_CHECK(at < WF_OPTION_REASON_BYTES - 64);
    }
    if (near_text) snprintf(reason + at, (size_t)(WF_OPTION_REASON_BYTES - at), " (did you mean %s?)", near_text);
    return WEFT_EINVAL;
}

static weft_status parse_boolean(const char *text, bool *ret_boolean, char *reason) {
    bool is_true = strcmp(text, "true") == 0;
    if (!is_true && strcmp(text, "false") != 0) {
        snprintf(reason, WF_OPTION_REASON_BYTES, "must be true or false");
        return WEFT_EINVAL;
    }
    *ret_boolean = is_true;
    return WEFT_OK;
}

static weft_status parse_text(const wf_option_info *info, const char *text, char *reason) {
    size_t bytes = strlen(text);
    if ((int64_t)bytes < info->minimum || (int64_t)bytes > info->maximum) {
        snprintf(reason, WF_OPTION_REASON_BYTES, "must have from %lld to %lld bytes, has %zu", (long long)info->minimum,
                 (long long)info->maximum, bytes);
        return WEFT_ERANGE;
    }
    for (size_t i = 0; i < bytes; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c >= 0x20 && c != 0x7f) continue;
        snprintf(reason, WF_OPTION_REASON_BYTES, "must not have control characters, has one at byte %zu", i + 1);
        return WEFT_EINVAL;
    }
    return WEFT_OK;
}

/* Elements are separated by commas, blanks around them don't count. */
static weft_status parse_list(const wf_option_info *info, const char *text, char *reason) {
    weft_status status = parse_text(info, text, reason);
    if (status != WEFT_OK || *text == '\0') return status;
    for (const char *at = text;; at++) {
        at += strspn(at, " ");
        if (*at == ',' || *at == '\0') {
            snprintf(reason, WF_OPTION_REASON_BYTES, "must not have empty elements between its commas");
            return WEFT_EINVAL;
        }
        at += strcspn(at, ",");
        if (*at == '\0') return WEFT_OK;
    }
}

weft_status wf_option_parse(const wf_option_info *info, const char *text, wf_option_value *ret_value,
                            char reason[WF_OPTION_REASON_BYTES]) {
    switch (info->type) {
    case WF_OPTION_STRING:
        return parse_text(info, text, reason);
    case WF_OPTION_LIST:
        return parse_list(info, text, reason);
    case WF_OPTION_INTEGER:
        return parse_integer(info, text, &ret_value->integer, reason);
    case WF_OPTION_BOOLEAN:
        return parse_boolean(text, &ret_value->boolean, reason);
    case WF_OPTION_CHOICE:
        return parse_choice(info, text, &ret_value->choice, reason);
    }
    WF_UNREACHABLE("option type");
}
