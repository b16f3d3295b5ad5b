/* SPDX-License-Identifier: Apache-2.0
 *
 * A thread that runs actors: drains its inbox, fires timers, gives turns, sleeps. Internal to the runtime; programs use
 * system.h.
 *
 * Invariants:
 * 1. Everything of a loop but its inbox's address is touched by its own thread only, from start to join.
 * 2. One iteration: at most DRAIN_MAX messages, then due timers, then one turn per actor that had something to do. The
 * loop sleeps only when the inbox is empty and no turn asked for more.
 * 3. Time stands still during one message: the clock is read once before it.
 */
#ifndef WF_LOOP_H
#define WF_LOOP_H

#include <pthread.h>
#include <stdatomic.h>

#include "actor.h"
#include "mailbox.h"

enum {
    WF_LOOP_NAME_MAX = 16,
    WF_LOOP_ACTORS_MAX = 16,
    WF_LOOP_EXIT = 210, /* control message to a loop */
    WF_LOOP_STOP = 211, /* control message to an actor: body is the deadline, u64 ns */
};

typedef struct wf_loop wf_loop;

/* What all loops share; constant while they run. */
typedef struct wf_directory {
    wf_post *post;
    uint32_t loop_count;
    wf_inbox **inboxes; /* by loop; 0 is the program's */
    uint32_t *loop_of;  /* by actor id */
    uint32_t actor_count;
} wf_directory;

struct wf_loop {
    char name[WF_LOOP_NAME_MAX];
    uint32_t index;
    const wf_directory *directory;
    wf_inbox *inbox;
    wf_outbox **outboxes; /* by loop, opened on first use */
    struct wf_hosted *actors[WF_LOOP_ACTORS_MAX];
    uint32_t actor_count;
    uint64_t now_ns;
    pthread_t thread;
    _Atomic int64_t cpu_clock; /* of the thread, set by itself; 0: it does not run yet */
    bool started;
    bool exit;
    bool left; /* could not be joined */
};

/* An actor on a loop. */
typedef struct wf_hosted {
    wf_actor actor;
    wf_loop *loop;
    int watched[WEFT_WATCH_MAX];
} wf_hosted;

weft_status wf_hosted_new(wf_loop *loop, const weft_actor_class *class, weft_actor_id id, const void *argument,
                          wf_hosted **ret_hosted);

weft_status wf_loop_start(wf_loop *loop);

/* Send from the loop's thread; `transient` closes the socket again (rare messages of many loops to one). */
void wf_loop_send(wf_loop *loop, wf_header header, const void *body, size_t bytes, bool transient);

#endif
