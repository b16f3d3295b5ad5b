/* SPDX-License-Identifier: Apache-2.0
 *
 * What worker processes did with records, in the order in which they did it: a file to which all of them append, an
 * entry in one system call, so that nothing is lost when one is killed.
 */
#ifndef SUPPORT_TRAIL_H
#define SUPPORT_TRAIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct trail trail;

typedef enum trail_kind { TRAIL_BEGIN = 1, TRAIL_DONE, TRAIL_FAILED } trail_kind;

typedef struct trail_entry {
    uint32_t kind;
    int32_t pid;
    int64_t offset;
    uint64_t key; /* a number of the key; 0: null */
    int32_t partition;
    uint32_t attempt;
} trail_entry;

trail *trail_create(char path[64]); /* a new file; its path is for workers */
trail *trail_open(const char *path);
void trail_close(trail **file); /* the file stays */
void trail_discard(trail **file, const char *path);

void trail_add(trail *file, const trail_entry *entry);
size_t trail_count(const trail *file);
trail_entry trail_get(const trail *file, size_t index);

typedef struct trail_verdict {
    uint64_t begun, done, failed; /* entries */
    uint64_t records;             /* different ones that are done */
    uint64_t cut;                 /* begun and never ended: their process died */
    uint64_t repeated;            /* begun again after they were done: their process died before it could tell */
    uint64_t out_of_order;        /* begun before an earlier one of the key was done, or while another one runs */
    char example[160];
} trail_verdict;

/* `ordered`: by key of a partition. */
trail_verdict trail_judge(const trail *file, bool ordered);

/* Wait until that many different records are done. */
bool trail_await(const trail *file, uint64_t records, uint64_t timeout_ms);

#endif
