/* SPDX-License-Identifier: Apache-2.0
 *
 * The engine that runs handlers in this process: worker actors (one per thread, or one on the work manager's own loop
 * for engine = inline), and the waker, an actor beside the work manager that hands on what weft_complete() finished.
 */
#ifndef WF_ENGINE_H
#define WF_ENGINE_H

#include "pending.h"
#include "weft/actor.h"
#include "weft/record.h"

/* Argument of wf_worker; copied by init. */
typedef struct wf_worker_options {
    weft_actor_id manager;
    uint32_t number;      /* this worker's, told to the manager */
    weft_handler handler; /* one of the two is set */
    weft_batch_handler batch_handler;
    void *context;
    wf_pending *pending; /* NULL: deferring is refused (inline) */
} wf_worker_options;

typedef struct wf_waker_options {
    weft_actor_id manager;
    wf_pending *pending;
} wf_waker_options;

extern const weft_actor_class wf_worker; /* WORK -> DONE; says WORKER_UP at its start */
extern const weft_actor_class wf_waker;  /* eventfd -> UNPARKED */

#endif
