/* SPDX-License-Identifier: Apache-2.0 */
#include "chaos_evidence.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "must.h"
#include "topic.h"

uint64_t chaos_now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static bool note_key(const logged_record *record, void *context) {
    chaos_topic *to = context;
    int32_t p = record->partition;
    char text[32] = "";
    memcpy(text, record->key, record->key_bytes < sizeof text ? record->key_bytes : sizeof text - 1);
    MUST(record->offset == to->ends[p], "partition %d has a hole", p);
    if ((to->ends[p] & (to->ends[p] - 1)) == 0) { /* grow at powers of two */
        to->keys[p] = realloc(to->keys[p], (size_t)(to->ends[p] ? 2 * to->ends[p] : 1) * sizeof(uint32_t));
        MUST(to->keys[p], "no memory");
    }
    to->keys[p][to->ends[p]++] = (uint32_t)strtoul(text + 1, NULL, 10);
    return true;
}

uint64_t chaos_topic_read(chaos_topic *self, const char *bootstrap, const char *topic, int partitions) {
    MUST(partitions <= CHAOS_PARTITIONS_MAX, "%d partitions", partitions);
    *self = (chaos_topic){.partitions = partitions};
    return topic_read(bootstrap, topic, note_key, self);
}

void chaos_topic_free(chaos_topic *self) {
    for (int p = 0; p < self->partitions; p++) free(self->keys[p]);
}

void chaos_journals_add(chaos_journals *self, const char *path, uint32_t member) {
    FILE *file = fopen(path, "r");
    char what;
    chaos_event event = {.member = member};
    if (!file) return;
    while (fscanf(file, " %c %" SCNd32 " %" SCNd64 " %" SCNu64, &what, &event.partition, &event.offset, &event.ns) ==
           4) {
        event.end = what == 'E';
        if (self->count == self->room) {
            self->room = self->room ? 2 * self->room : 1 << 16;
            self->events = realloc(self->events, self->room * sizeof *self->events);
            MUST(self->events, "no memory");
        }
        self->events[self->count++] = event;
    }
    fclose(file);
}

size_t chaos_commits_add(const char *bootstrap, const char *topic, int partitions, chaos_commit *commits, size_t count,
                         size_t room) {
    for (int32_t p = 0; p < partitions && count < room; p++) {
        int64_t offset = group_committed(bootstrap, topic, topic, p, NULL, NULL);
        if (offset > 0) commits[count++] = (chaos_commit){chaos_now_ns(), offset, p};
    }
    return count;
}

bool chaos_all_committed(const char *bootstrap, const char *topic, int partitions) {
    for (int32_t p = 0; p < partitions; p++) {
        int64_t first, end;
        topic_ends(bootstrap, topic, p, &first, &end);
        if (group_committed(bootstrap, topic, topic, p, NULL, NULL) < end) return false;
    }
    return true;
}
