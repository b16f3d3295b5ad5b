/* SPDX-License-Identifier: Apache-2.0
 *
 * Configuration from files and from the environment. Foreign input: any bytes, any size.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config.h"
#include "config_store.h"

extern char **environ;

enum { PLACE_BYTES = 512 };

static bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\f';
}

/* Cut blanks off both ends of [*from, *end). */
static void trim(const char **from, const char **end) {
    while (*from < *end && is_blank(**from)) (*from)++;
    while (*from < *end && is_blank((*end)[-1])) (*end)--;
}

static weft_status load_line(weft_config *config, const wf_config_origin *origin, const char *from, const char *end) {
    trim(&from, &end);
    if (from == end || *from == '#' || *from == '!') return WEFT_OK;
    const char *equals = memchr(from, '=', (size_t)(end - from));
    if (!equals) {
        wf_config_complain(config, origin, "", "a line must have the form name = value");
        return WEFT_EINVAL;
    }
    const char *name_end = equals, *value_from = equals + 1;
    trim(&from, &name_end);
    trim(&value_from, &end);
    char *name = strndup(from, (size_t)(name_end - from));
    char *value = strndup(value_from, (size_t)(end - value_from));
    weft_status status = WEFT_ENOMEM;
    if (name && value)
        status = wf_config_put(config, origin, name, value);
    else
        config->no_memory = true;
    free(name);
    free(value);
    return status;
}

/* `overall` is the answer of the whole, `status` that of a part. */
static weft_status worse(weft_status overall, weft_status status) {
    if (status == WEFT_OK || overall == WEFT_ENOMEM) return overall;
    return status == WEFT_ENOMEM ? WEFT_ENOMEM : WEFT_ECONFIG;
}

weft_status wf_config_load_text(weft_config *config, const char *path, const char *text, size_t bytes) {
    char place[PLACE_BYTES];
    wf_config_origin origin = {.source = WF_CONFIG_FILE, .load = ++config->loads, .place = place};
    snprintf(place, sizeof place, "%s", path);
    if (bytes > WF_CONFIG_FILE_MAX_BYTES) {
        wf_config_complain(config, &origin, "", "the file has more than %d bytes", WF_CONFIG_FILE_MAX_BYTES);
        return WEFT_ECONFIG;
    }
    const char *nul = memchr(text, '\0', bytes);
    if (nul) {
        wf_config_complain(config, &origin, "", "not a text file: byte %zu is 0", (size_t)(nul - text) + 1);
        return WEFT_ECONFIG;
    }
    const char *at = text, *end = text + bytes;
    if (bytes >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) at += 3;

    weft_status overall = WEFT_OK;
    for (size_t line = 1; at < end; line++) {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        if (!line_end) line_end = end;
        snprintf(place, sizeof place, "%.*s:%zu", PLACE_BYTES - 32, path, line);
        overall = worse(overall, load_line(config, &origin, at, line_end));
        at = line_end < end ? line_end + 1 : end;
    }
    return overall;
}

/* Read at most one byte more than allowed, so that load_text() sees when there is more. */
static weft_status read_file(int fd, char *text, size_t capacity, size_t *ret_bytes) {
    size_t bytes = 0;
    while (bytes < capacity) {
        ssize_t got = read(fd, text + bytes, capacity - bytes);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return WEFT_ESYSTEM;
        if (got == 0) break;
        bytes += (size_t)got;
    }
    *ret_bytes = bytes;
    return WEFT_OK;
}

weft_status weft_config_load_file(weft_config *config, const char *path) {
    if (!config || !path) return WEFT_EINVAL;
    const wf_config_origin origin = {.source = WF_CONFIG_FILE, .place = path};
    /* O_NONBLOCK: a named pipe must not hold us up before we have seen what it is. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    char *text = NULL;
    size_t bytes = 0;
    struct stat file;
    weft_status status = WEFT_ESYSTEM;
    if (fd < 0 || fstat(fd, &file) != 0) {
        wf_config_complain(config, &origin, "", "the file can't be opened: %s", strerror(errno));
    } else if (!S_ISREG(file.st_mode)) {
        const char *kind = S_ISDIR(file.st_mode) ? "a directory" : "not a regular file";
        wf_config_complain(config, &origin, "", "the file can't be read: it is %s", kind);
    } else if (!(text = malloc(WF_CONFIG_FILE_MAX_BYTES + 1))) {
        config->no_memory = true;
        status = WEFT_ENOMEM;
    } else if (read_file(fd, text, WF_CONFIG_FILE_MAX_BYTES + 1, &bytes) != WEFT_OK) {
        wf_config_complain(config, &origin, "", "the file can't be read: %s", strerror(errno));
    } else {
        status = wf_config_load_text(config, path, text, bytes);
    }
    free(text);
    if (fd >= 0) close(fd);
    return status;
}

/* WEFT_QUEUE_MAX_RECORDS -> queue.max.records; two underscores are one. `name` has room for the whole variable. */
static void name_of_variable(const char *variable, size_t bytes, char *name) {
    for (size_t i = 0; i < bytes; i++) {
        if (variable[i] != '_')
            *name++ = (char)tolower((unsigned char)variable[i]);
        else if (i + 1 < bytes && variable[i + 1] == '_')
            *name++ = variable[i++];
        else
            *name++ = '.';
    }
    *name = '\0';
}

static bool begins_with(const char *text, const char *prefix) {
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* Names from before weft: the variable of an option, or NULL. */
static const char *old_name(const char *variable, const char *equals) {
    static const struct {
        const char *variable, *option;
    } names[] = {{"METRICS_ENABLED", "metrics.enabled"}, {"METRICS_PORT", "metrics.port"}};
    size_t bytes = (size_t)(equals - variable);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strlen(names[i].variable) == bytes && begins_with(variable, names[i].variable)) return names[i].option;
    return NULL;
}

/* Is the same option also given by weft's own variable? The old one may be another program's then: where a service is
 * called metrics, Kubernetes sets METRICS_PORT to a URL. */
static bool has_own_name(char *const *variables, const char *old, const char *equals) {
    for (; *variables; variables++)
        if (begins_with(*variables, "WEFT_") && strncmp(*variables + 5, old, (size_t)(equals - old) + 1) == 0)
            return true;
    return false;
}

/* Those may be written as other programs read them. */
static weft_status load_old_name(weft_config *config, const char *variable, const char *equals, const char *option) {
    static const char *const words[][2] = {{"1", "true"},      {"yes", "true"},   {"on", "true"},  {"True", "true"},
                                           {"TRUE", "true"},   {"0", "false"},    {"no", "false"}, {"off", "false"},
                                           {"False", "false"}, {"FALSE", "false"}};
    char place[PLACE_BYTES];
    const wf_config_origin origin = {.source = WF_CONFIG_ENVIRONMENT, .place = place};
    const char *value = equals + 1;
    snprintf(place, sizeof place, "environment %.*s", (int)(equals - variable), variable);
    for (size_t i = 0; wf_option_find(option)->type == WF_OPTION_BOOLEAN && i < sizeof words / sizeof words[0]; i++)
        if (strcmp(value, words[i][0]) == 0) value = words[i][1];
    return wf_config_put(config, &origin, option, value);
}

static weft_status load_variable(weft_config *config, const char *variable, const char *equals) {
    const char *tail = variable + strlen("WEFT_");
    size_t tail_bytes = (size_t)(equals - tail);
    char name[WF_CONFIG_NAME_MAX_BYTES + 1], place[PLACE_BYTES];
    const wf_config_origin origin = {.source = WF_CONFIG_ENVIRONMENT, .place = place};
    snprintf(place, sizeof place, "environment %.*s", (int)(equals - variable < 300 ? equals - variable : 300),
             variable);
    if (tail_bytes > WF_CONFIG_NAME_MAX_BYTES) {
        wf_config_complain(config, &origin, "", "the name is too long for an option");
        return WEFT_EINVAL;
    }
    name_of_variable(tail, tail_bytes, name);
    return wf_config_put(config, &origin, name, equals + 1);
}

weft_status wf_config_load_variables(weft_config *config, char *const *variables) {
    wf_config_forget_environment(config);
    weft_status overall = WEFT_OK;
    /* Of two names of an option, weft's own counts. */
    for (char *const *at = variables; at && *at; at++) {
        const char *equals = strchr(*at, '=');
        const char *option = equals ? old_name(*at, equals) : NULL;
        if (option && !has_own_name(variables, *at, equals))
            overall = worse(overall, load_old_name(config, *at, equals, option));
    }
    for (; variables && *variables; variables++) {
        const char *variable = *variables;
        const char *equals = strchr(variable, '=');
        if (!equals || !begins_with(variable, "WEFT_")) continue;
        if (begins_with(variable, "WEFT_APP_") || begins_with(variable, "WEFT_TEST_")) continue;
        overall = worse(overall, load_variable(config, variable, equals));
    }
    return overall;
}

weft_status weft_config_load_environment(weft_config *config) {
    return config ? wf_config_load_variables(config, environ) : WEFT_EINVAL;
}
