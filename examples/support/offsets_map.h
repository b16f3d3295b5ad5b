/* SPDX-License-Identifier: Apache-2.0
 *
 * One committed offset with its map, for weft-offsets: what the text says, and whether it can be so. Pure data.
 */
#ifndef OFFSETS_MAP_H
#define OFFSETS_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "metadata_format.h"

typedef enum map_state {
    MAP_NOTHING,    /* nothing was committed */
    MAP_EMPTY,      /* an offset without metadata */
    MAP_READ,       /* a map of a format that is known */
    MAP_UNREADABLE, /* it looks like one, and is damaged or belongs to another offset */
    MAP_UNKNOWN,    /* metadata of no format that is known */
} map_state;

typedef struct committed_map {
    char topic[256];
    int32_t partition;
    int64_t base; /* the committed offset; -1: nothing */
    char *text;   /* malloc'ed, with a NUL behind it; NULL: none */
    size_t bytes;
    int64_t log_first; /* -1: not known */
    int64_t log_end;
    /* What map_read() finds out: */
    map_state state;
    wf_metadata_format format;
    const char *form;
    wf_offset_run *runs; /* malloc'ed */
    size_t count;
    uint64_t complete; /* offsets in the runs */
    bool wrong;        /* weft would not use the map, or the offset lies outside of the log */
    char remark[200];  /* why, or what else is worth knowing; "" */
} committed_map;

/* Decode the text and compare with the ends of the log. */
void map_read(committed_map *map);
void map_free(committed_map *map);

/* The same map as text of another format, without a map where nothing is complete. `text` has room for
 * WF_METADATA_BYTES_MAX. Returns: WEFT_OK; WEFT_ERANGE: it does not fit into `max_bytes` or what the format allows;
 * WEFT_ECORRUPT: there is no map that can be believed. */
weft_status map_convert(const committed_map *map, wf_metadata_format format, size_t max_bytes, char *text,
                        size_t *ret_bytes);

/* Offsets from the committed one to the end of the log (of the map, where that is not known), and how many of them are
 * not complete. */
uint64_t map_span(const committed_map *map);
uint64_t map_to_run(const committed_map *map);

/* `columns` characters and a NUL for the span: '#' all complete, '+' partly, '.' not. Returns how many offsets a column
 * stands for; fewer columns are written when there are fewer offsets. */
uint64_t map_bar(const committed_map *map, char *bar, size_t columns);

#endif
