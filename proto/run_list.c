/* SPDX-License-Identifier: Apache-2.0 */
#include "run_list.h"

#include <stdlib.h>

#include "check.h"

bool wf_run_list_append(wf_run_list *list, int64_t first, int64_t end) {
    WF_CHECK(first < end);
    WF_CHECK_IMPLIES(list->count > 0, first >= list->runs[list->count - 1].end);
    if (list->count > 0 && list->runs[list->count - 1].end == first) {
        list->runs[list->count - 1].end = end;
        return true;
    }
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? 2 * list->capacity : 16;
        wf_offset_run *runs = realloc(list->runs, capacity * sizeof *runs);
        if (!runs) return false;
        list->runs = runs;
        list->capacity = capacity;
    }
    list->runs[list->count++] = (wf_offset_run){.first = first, .end = end};
    return true;
}
