/* SPDX-License-Identifier: Apache-2.0 */
#include "dashboard.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "must.h"

char *text_with(const char *text, const char *from, const char *to) {
    size_t hits = 0, from_bytes = strlen(from), to_bytes = strlen(to);
    for (const char *at = text; (at = strstr(at, from)); at += from_bytes) hits++;
    char *result = must_alloc(strlen(text) + hits * to_bytes + 1, 1), *end = result;
    for (const char *hit; (hit = strstr(text, from)); text = hit + from_bytes) {
        memcpy(end, text, (size_t)(hit - text));
        end += hit - text;
        memcpy(end, to, to_bytes);
        end += to_bytes;
    }
    memcpy(end, text, strlen(text));
    return result;
}

static char *resolve(const char *panel, const char *expression) {
    static const char *const variables[][2] = {
        {"$__rate_interval", "1m"}, {"$job", ".*"}, {"$instance", ".*"}, {"$topic", ".*"}};
    char *text = strdup(expression);
    MUST(text, "no memory");
    for (size_t i = 0; i < sizeof variables / sizeof variables[0]; i++) {
        char *next = text_with(text, variables[i][0], variables[i][1]);
        free(text);
        text = next;
    }
    MUST(!strchr(text, '$'), "panel %s: unknown variable in %s", panel, expression);
    return text;
}

size_t dashboard_read(const char *path, dashboard_expression **ret_list) {
    json_error_t error;
    json_t *dashboard = json_load_file(path, JSON_REJECT_DUPLICATES, &error), *panel, *target;
    MUST(dashboard, "%s:%d: %s", path, error.line, error.text);
    size_t count = 0, i, j;
    dashboard_expression *list = NULL;
    json_array_foreach(json_object_get(dashboard, "panels"), i, panel) {
        const char *title = json_string_value(json_object_get(panel, "title"));
        MUST(title, "%s: panel %zu has no title", path, i);
        json_array_foreach(json_object_get(panel, "targets"), j, target) {
            const char *expression = json_string_value(json_object_get(target, "expr"));
            MUST(expression, "%s: panel %s has a target without expression", path, title);
            list = realloc(list, (count + 1) * sizeof *list);
            MUST(list, "no memory");
            list[count++] = (dashboard_expression){strdup(title), resolve(title, expression)};
        }
    }
    json_decref(dashboard);
    *ret_list = list;
    return count;
}

void dashboard_free(dashboard_expression *list, size_t count) {
    for (size_t i = 0; i < count; i++) {
        free(list[i].panel);
        free(list[i].text);
    }
    free(list);
}
