/* SPDX-License-Identifier: Apache-2.0
 *
 * The offset tracker: knows of each assigned partition which offsets are finished, and says when there is something to
 * commit.
 */
#ifndef WF_OFFSET_TRACKER_H
#define WF_OFFSET_TRACKER_H

#include "weft/actor.h"

/* Argument of the class; copied by init. */
typedef struct wf_offset_tracker_options {
    weft_actor_id manager;
    weft_actor_id encoder;
    uint64_t commit_interval_ns;
} wf_offset_tracker_options;

extern const weft_actor_class wf_offset_tracker;

#endif
