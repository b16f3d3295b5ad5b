/* SPDX-License-Identifier: Apache-2.0
 *
 * A run as the parent sees it: this program again, in a process group of its own, with the same arguments and --child.
 *
 * The child writes lines to descriptor 3: "P done lag gap" as it goes, "G" when records may be produced, "R {json}" at
 * the end. The parent answers "G" with "S nanoseconds" on the child's standard input.
 *
 * 1. A child that says nothing for longer than its own deadlines allow is killed with all that it started.
 */
#ifndef BENCH_CHILD_H
#define BENCH_CHILD_H

#include <jansson.h>

#include "topic.h"

enum { CHILD_LINE_FD = 3 };

typedef void (*child_progress)(void *context, uint64_t done, int64_t lag, int64_t gap);

/* What --child says: the place in the matrix, and what the parent made. */
typedef struct child_place {
    size_t cell;
    bool is_embedded;
    char bootstrap[512];
    char topic[160];
    char group[200];
} child_place;

void child_place_text(const child_place *place, char *ret_text, size_t bytes);
bool child_place_parse(const char *text, child_place *ret_place);

/* Run it; returns its sample, which has "error" when the run is no result. `interrupted`: set by a signal; the child is
 * then told to end. Never NULL. */
json_t *child_run(int argc, char **argv, const bench_options *options, const bench_cluster *cluster,
                  const bench_topic *topic, const child_place *place, const volatile int *interrupted,
                  child_progress progress, void *context);

#endif
