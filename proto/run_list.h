/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs of offsets as a decoder finds them: a list that grows.
 */
#ifndef WF_RUN_LIST_H
#define WF_RUN_LIST_H

#include <stdbool.h>
#include <stddef.h>

#include "offset_run.h"

typedef struct wf_run_list {
    wf_offset_run *runs; /* malloc'ed; NULL: none yet. Freed by whoever has the list */
    size_t count;
    size_t capacity;
} wf_run_list;

/* [first, end) is not empty and begins at the end of the last run (then it becomes part of it) or behind. False: no
 * memory, and the list is as it was. */
bool wf_run_list_append(wf_run_list *list, int64_t first, int64_t end);

#endif
