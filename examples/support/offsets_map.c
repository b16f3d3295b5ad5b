/* SPDX-License-Identifier: Apache-2.0 */
#include "offsets_map.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "metadata.h"

static void set_wrong(committed_map *map, const char *remark) {
    map->wrong = true;
    snprintf(map->remark, sizeof map->remark, "%s", remark);
}

static void decode(committed_map *map) {
    map->format = wf_metadata_format_of(map->text, map->bytes);
    if (map->format == WF_METADATA_FORMATS) {
        map->state = MAP_UNKNOWN;
        set_wrong(map, "the metadata is of no format that is known: weft would ignore it");
        return;
    }
    map->form = wf_metadata_codec_of(map->format)->form(map->text, map->bytes);
    if (wf_metadata_decode_any(map->base, map->text, map->bytes, &map->runs, &map->count) != WEFT_OK) {
        map->state = MAP_UNREADABLE;
        set_wrong(map, "the map is damaged, of another offset, or wider than any map: weft would ignore it");
        return;
    }
    map->state = MAP_READ;
    for (size_t i = 0; i < map->count; i++) map->complete += (uint64_t)(map->runs[i].end - map->runs[i].first);
    if (map->form && strcmp(map->form, "overflow") == 0)
        snprintf(map->remark, sizeof map->remark, "its writer had more to say than fits, and kept nothing");
}

static void compare_with_log(committed_map *map) {
    int64_t end = map->count ? map->runs[map->count - 1].end : map->base;
    if (map->log_end < 0 || map->base < 0) return;
    if (map->base > map->log_end) {
        set_wrong(map, "the committed offset lies beyond the log: auto.offset.reset decides");
    } else if (end > map->log_end) {
        set_wrong(map, "");
        snprintf(map->remark, sizeof map->remark,
                 "the map reaches up to %" PRId64 ", the log only to %" PRId64 ": weft would ignore it", end - 1,
                 map->log_end - 1);
    } else if (map->base < map->log_first && !map->wrong) {
        snprintf(map->remark, sizeof map->remark,
                 "the log begins at %" PRId64 " now: what was open before it is lost to retention", map->log_first);
    }
}

void map_read(committed_map *map) {
    map->state = map->base < 0 ? MAP_NOTHING : MAP_EMPTY;
    if (map->base >= 0 && map->bytes > 0) decode(map);
    compare_with_log(map);
}

void map_free(committed_map *map) {
    free(map->text);
    free(map->runs);
    *map = (committed_map){0};
}

weft_status map_convert(const committed_map *map, wf_metadata_format format, size_t max_bytes, char *text,
                        size_t *ret_bytes) {
    if (map->state != MAP_READ || map->wrong) return WEFT_ECORRUPT;
    if (map->count == 0) {
        *ret_bytes = 0;
        return WEFT_OK;
    }
    if (max_bytes > WF_METADATA_BYTES_MAX) max_bytes = WF_METADATA_BYTES_MAX;
    return wf_metadata_codec_of(format)->encode(map->base, map->runs, map->count, text, max_bytes, ret_bytes);
}

static int64_t end_of(const committed_map *map) {
    if (map->log_end >= 0) return map->log_end > map->base ? map->log_end : map->base;
    return map->count ? map->runs[map->count - 1].end : map->base;
}

uint64_t map_span(const committed_map *map) {
    return map->base < 0 ? 0 : (uint64_t)(end_of(map) - map->base);
}

uint64_t map_to_run(const committed_map *map) {
    return map_span(map) - (map->wrong ? 0 : map->complete);
}

/* How many of [first, end) are complete. `at` remembers the place between calls with rising offsets. */
static uint64_t complete_in(const committed_map *map, int64_t first, int64_t end, size_t *at) {
    uint64_t complete = 0;
    while (*at < map->count && map->runs[*at].end <= first) (*at)++;
    for (size_t i = *at; i < map->count && map->runs[i].first < end; i++) {
        int64_t from = map->runs[i].first > first ? map->runs[i].first : first;
        int64_t to = map->runs[i].end < end ? map->runs[i].end : end;
        complete += (uint64_t)(to - from);
    }
    return complete;
}

uint64_t map_bar(const committed_map *map, char *bar, size_t columns) {
    uint64_t span = map_span(map), each = columns ? (span + columns - 1) / columns : 0;
    size_t at = 0, used = 0;
    for (uint64_t from = 0; from < span; from += each) {
        uint64_t to = each < span - from ? from + each : span;
        uint64_t complete = complete_in(map, map->base + (int64_t)from, map->base + (int64_t)to, &at);
        bar[used++] = complete == 0 ? '.' : complete == to - from ? '#' : '+';
    }
    bar[used] = '\0';
    return each;
}
