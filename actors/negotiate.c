/* SPDX-License-Identifier: Apache-2.0 */
#include "negotiate.h"

#include <string.h>
#include <strings.h>

/* A part of a header, without blanks around it. */
typedef struct span {
    const char *at;
    size_t bytes;
} span;

static span trimmed(const char *at, size_t bytes) {
    while (bytes > 0 && (*at == ' ' || *at == '\t')) at++, bytes--;
    while (bytes > 0 && (at[bytes - 1] == ' ' || at[bytes - 1] == '\t')) bytes--;
    return (span){at, bytes};
}

static bool is(span part, const char *word) {
    return strlen(word) == part.bytes && strncasecmp(part.at, word, part.bytes) == 0;
}

/* The next part up to a separator outside of quotes; moves *at behind it. False: there is none. */
static bool next_part(const char **at, const char *end, char separator, span *ret_part) {
    if (*at >= end) return false;
    const char *from = *at, *to = from;
    for (bool quoted = false; to < end && (quoted || *to != separator); to++) {
        if (quoted && *to == '\\' && to + 1 < end)
            to++;
        else if (*to == '"')
            quoted = !quoted;
    }
    *ret_part = trimmed(from, (size_t)(to - from));
    *at = to < end ? to + 1 : end;
    return true;
}

static span unquoted(span value) {
    if (value.bytes < 2 || value.at[0] != '"' || value.at[value.bytes - 1] != '"') return value;
    return (span){value.at + 1, value.bytes - 2};
}

/* A weight in thousandths, 0 to 1000: "1", "0.75". What is none counts as 0: it is not wanted for certain. */
static int weight_of(span value) {
    if (value.bytes == 0 || value.bytes > 5 || (value.at[0] != '0' && value.at[0] != '1')) return 0;
    int weight = (value.at[0] - '0') * 1000, unit = 100;
    if (value.bytes > 1 && value.at[1] != '.') return 0;
    for (size_t i = 2; i < value.bytes; i++, unit /= 10) {
        if (value.at[i] < '0' || value.at[i] > '9') return 0;
        weight += (value.at[i] - '0') * unit;
    }
    return weight <= 1000 ? weight : 0;
}

typedef struct choice {
    span name;
    span version; /* empty: none */
    int weight;
} choice;

static choice read_choice(span part) {
    const char *at = part.at, *end = at + part.bytes;
    choice result = {.weight = 1000};
    span parameter;
    if (!next_part(&at, end, ';', &result.name)) return (choice){0};
    while (next_part(&at, end, ';', &parameter)) {
        const char *equals = memchr(parameter.at, '=', parameter.bytes);
        if (!equals) continue;
        span name = trimmed(parameter.at, (size_t)(equals - parameter.at));
        span value = trimmed(equals + 1, (size_t)(parameter.at + parameter.bytes - equals - 1));
        if (is(name, "q")) result.weight = weight_of(unquoted(value));
        if (is(name, "version")) result.version = unquoted(value);
    }
    return result;
}

/* The form that a choice names; false: none of ours. */
static bool form_of(const choice *wanted, wf_form *ret_form) {
    bool any_version = wanted->version.bytes == 0;
    *ret_form = WF_FORM_TEXT;
    if (is(wanted->name, "application/openmetrics-text")) {
        *ret_form = WF_FORM_OPENMETRICS;
        return any_version || is(wanted->version, "1.0.0") || is(wanted->version, "0.0.1");
    }
    if (is(wanted->name, "text/plain")) return any_version || is(wanted->version, "0.0.4");
    return is(wanted->name, "text/*") || is(wanted->name, "*/*");
}

wf_form wf_negotiate_form(const char *accept) {
    wf_form best = WF_FORM_TEXT;
    if (!accept) return best;
    int weight = 0;
    const char *at = accept, *end = accept + strlen(accept);
    for (span part; next_part(&at, end, ',', &part);) {
        choice wanted = read_choice(part);
        wf_form form;
        if (wanted.weight <= weight || !form_of(&wanted, &form)) continue;
        best = form;
        weight = wanted.weight;
    }
    return best;
}

bool wf_negotiate_gzip(const char *accept_encoding) {
    if (!accept_encoding) return false;
    int gzip = -1, any = -1;
    const char *at = accept_encoding, *end = at + strlen(at);
    for (span part; next_part(&at, end, ',', &part);) {
        choice wanted = read_choice(part);
        if (is(wanted.name, "gzip") || is(wanted.name, "x-gzip")) gzip = wanted.weight;
        if (is(wanted.name, "*")) any = wanted.weight;
    }
    return gzip >= 0 ? gzip > 0 : any > 0;
}
