/* SPDX-License-Identifier: Apache-2.0
 *
 * Half-open ranges of offsets: how sets of offsets travel between actors. Arrays of runs are sorted, disjoint and not
 * adjacent, unless said otherwise.
 */
#ifndef WF_OFFSET_RUN_H
#define WF_OFFSET_RUN_H

#include <stdint.h>

typedef struct wf_offset_run {
    int64_t first; /* lowest offset of the run */
    int64_t end;   /* one past the highest */
} wf_offset_run;

#endif
