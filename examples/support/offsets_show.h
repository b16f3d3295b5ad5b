/* SPDX-License-Identifier: Apache-2.0
 *
 * What weft-offsets prints.
 */
#ifndef OFFSETS_SHOW_H
#define OFFSETS_SHOW_H

#include "offsets_map.h"

/* "confluent BitSet, 8 bytes" */
void show_format(const committed_map *map, char *text, size_t bytes);

/* All of one partition, with its runs (`all_runs`: every one) and a bar. */
void show_map(const committed_map *map, bool all_runs);

/* One line: is anything wrong with it? */
void show_verdict(const committed_map *map);

/* One JSON object with everything; `group` NULL: without a group. False: no memory. */
bool show_json(const char *group, const char *state, const committed_map *maps, size_t count);

#endif
