/* SPDX-License-Identifier: Apache-2.0 */
#include "offsets_show.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

enum { COLUMNS = 64, RUNS_SHOWN = 12 };

static const char *const states[] = {
    [MAP_NOTHING] = "nothing committed", [MAP_EMPTY] = "no map",    [MAP_READ] = "read",
    [MAP_UNREADABLE] = "unreadable",     [MAP_UNKNOWN] = "unknown",
};

void show_format(const committed_map *map, char *text, size_t bytes) {
    if (map->bytes == 0)
        snprintf(text, bytes, "%s", states[map->state]);
    else if (map->format == WF_METADATA_FORMATS)
        snprintf(text, bytes, "unknown format, %zu bytes", map->bytes);
    else
        snprintf(text, bytes, "%s %s, %zu bytes", wf_metadata_codec_of(map->format)->name, map->form, map->bytes);
}

static void show_runs(const committed_map *map, bool all_runs) {
    size_t shown = all_runs || map->count <= RUNS_SHOWN ? map->count : RUNS_SHOWN;
    printf("  complete   ");
    for (size_t i = 0; i < shown; i++) {
        printf(i ? ", %" PRId64 : "%" PRId64, map->runs[i].first);
        if (map->runs[i].end - map->runs[i].first > 1) printf("-%" PRId64, map->runs[i].end - 1);
    }
    if (shown < map->count) printf(", and %zu runs more", map->count - shown);
    printf("\n");
}

static void show_bar(const committed_map *map) {
    char bar[COLUMNS + 1];
    uint64_t each = map_bar(map, bar, COLUMNS);
    printf("  from %-12" PRId64 "[%s] %" PRIu64 " to a column: # complete, + partly, . not\n", map->base, bar, each);
}

void show_map(const committed_map *map, bool all_runs) {
    char format[100];
    show_format(map, format, sizeof format);
    if (map->topic[0]) printf("%s[%" PRId32 "]", map->topic, map->partition);
    if (map->base >= 0) printf("%scommitted %" PRId64, map->topic[0] ? "  " : "", map->base);
    if (map->log_end >= 0) printf("  log [%" PRId64 ", %" PRId64 ")", map->log_first, map->log_end);
    printf("  %s\n", format);
    if (map->remark[0]) printf("  %-10s %s\n", map->wrong ? "WRONG" : "note", map->remark);
    if (map->base < 0) return;
    if (map->count > 0)
        printf("  map        %" PRIu64 " offsets complete in %zu runs, up to %" PRId64 "\n", map->complete, map->count,
               map->runs[map->count - 1].end - 1);
    printf("  to run     %" PRIu64 " of %" PRIu64 "\n", map_to_run(map), map_span(map));
    if (map->count == 0) return;
    show_runs(map, all_runs);
    show_bar(map);
}

void show_verdict(const committed_map *map) {
    char format[100];
    show_format(map, format, sizeof format);
    printf("%s[%" PRId32 "]  %s  %s%s%s\n", map->topic, map->partition, map->wrong ? "WRONG" : "ok", format,
           map->remark[0] ? ": " : "", map->remark);
}

/* Metadata may be anybody's bytes, which are no JSON text: null then. */
static json_t *text_or_null(const char *text, size_t bytes) {
    json_t *value = text ? json_stringn(text, bytes) : NULL;
    return value ? value : json_null();
}

static json_t *number_or_null(int64_t number) {
    return number < 0 ? json_null() : json_integer(number);
}

static json_t *object_of(const committed_map *map) {
    json_t *object = json_object(), *runs = json_array();
    bool known = map->state == MAP_READ || map->state == MAP_UNREADABLE;
    for (size_t i = 0; i < map->count; i++)
        json_array_append_new(runs,
                              json_pack("[I, I]", (json_int_t)map->runs[i].first, (json_int_t)(map->runs[i].end - 1)));
    if (map->topic[0]) {
        json_object_set_new(object, "topic", json_string(map->topic));
        json_object_set_new(object, "partition", json_integer(map->partition));
    }
    json_object_set_new(object, "committed", number_or_null(map->base));
    json_object_set_new(object, "log_first", number_or_null(map->log_first));
    json_object_set_new(object, "log_end", number_or_null(map->log_end));
    json_object_set_new(object, "state", json_string(states[map->state]));
    json_object_set_new(object, "format", known ? json_string(wf_metadata_codec_of(map->format)->name) : json_null());
    json_object_set_new(object, "form", known && map->form ? json_string(map->form) : json_null());
    json_object_set_new(object, "metadata", text_or_null(map->text, map->bytes));
    json_object_set_new(object, "metadata_bytes", json_integer((json_int_t)map->bytes));
    json_object_set_new(object, "complete_count", json_integer((json_int_t)map->complete));
    json_object_set_new(object, "complete_ranges", runs);
    json_object_set_new(object, "to_run", json_integer((json_int_t)map_to_run(map)));
    json_object_set_new(object, "wrong", json_boolean(map->wrong));
    json_object_set_new(object, "remark", json_string(map->remark));
    return object;
}

bool show_json(const char *group, const char *state, const committed_map *maps, size_t count) {
    json_t *root = json_object(), *partitions = json_array();
    if (group) json_object_set_new(root, "group", json_string(group));
    if (group) json_object_set_new(root, "group_state", state ? json_string(state) : json_null());
    for (size_t i = 0; i < count; i++) json_array_append_new(partitions, object_of(&maps[i]));
    json_object_set_new(root, "partitions", partitions);
    bool done = root && json_dumpf(root, stdout, JSON_INDENT(1)) == 0;
    printf("\n");
    json_decref(root);
    return done;
}
