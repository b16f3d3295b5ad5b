/* SPDX-License-Identifier: Apache-2.0
 *
 * What the judge of chaos is given, from where it lies: the topic, the group, and the journals of handlers, which have
 * a line "B partition offset ns" when a handler begins and "E ..." when it ends.
 */
#ifndef SUPPORT_CHAOS_EVIDENCE_H
#define SUPPORT_CHAOS_EVIDENCE_H

#include "chaos_judge.h"

enum { CHAOS_PARTITIONS_MAX = 16 };

/* Keys are "k<number>", as produce_keyed() makes them. */
typedef struct chaos_topic {
    int partitions;
    int64_t ends[CHAOS_PARTITIONS_MAX];
    uint32_t *keys[CHAOS_PARTITIONS_MAX];
} chaos_topic;

/* Returns how many records it has. */
uint64_t chaos_topic_read(chaos_topic *self, const char *bootstrap, const char *topic, int partitions);
void chaos_topic_free(chaos_topic *self);

/* Journals, one after the other. */
typedef struct chaos_journals {
    chaos_event *events;
    size_t count;
    size_t room;
} chaos_journals;

/* A file that is not there is an empty one: its process was killed before its first record. */
void chaos_journals_add(chaos_journals *self, const char *path, uint32_t member);

/* What the group of the topic's name has committed now, added to `commits` while there is room. Returns how many. */
size_t chaos_commits_add(const char *bootstrap, const char *topic, int partitions, chaos_commit *commits, size_t count,
                         size_t room);
/* Up to the end of each partition. */
bool chaos_all_committed(const char *bootstrap, const char *topic, int partitions);

uint64_t chaos_now_ns(void); /* the clock of journals */

#endif
