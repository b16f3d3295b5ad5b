/* SPDX-License-Identifier: Apache-2.0
 *
 * The group side of weft-offsets: what is committed, how far the logs reach, who is a member, and writing commits anew.
 * Every call blocks for some seconds at most.
 */
#ifndef OFFSETS_GROUP_H
#define OFFSETS_GROUP_H

#include "config.h"
#include "offsets_map.h"

enum { GROUP_ERROR_BYTES = 400 };

typedef struct committed_group committed_group;

/* With bootstrap.servers, group.id, client.id and kafka.* of the options. NULL: the reason is in `error`. */
committed_group *group_open(const wf_options *options, char error[GROUP_ERROR_BYTES]);
void group_close(committed_group *group);

/* "Stable", "Empty", ...; valid until the next call. NULL: the brokers can't be asked, the reason is in `error`. */
const char *group_state(committed_group *group, size_t *ret_members, char error[GROUP_ERROR_BYTES]);

/* Every partition of these topics, or, with none, all that the group has committed; sorted, and read with map_read().
 * The caller frees each with map_free(), and the array. */
bool group_read(committed_group *group, const char *const *topics, size_t topic_count, committed_map **ret_maps,
                size_t *ret_count, char error[GROUP_ERROR_BYTES]);

/* The first offset of a log and the one past its last. */
bool group_log_ends(committed_group *group, const char *topic, int32_t partition, int64_t *ret_first, int64_t *ret_end,
                    char error[GROUP_ERROR_BYTES]);

/* Commit offset and text of these anew. */
bool group_write(committed_group *group, const committed_map *maps, size_t count, char error[GROUP_ERROR_BYTES]);

#endif
