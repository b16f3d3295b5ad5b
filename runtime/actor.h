/* SPDX-License-Identifier: Apache-2.0
 *
 * An actor as its host sees it: class, state, life cycle and timers. The host (a loop, or the simulator) calls these
 * functions on one thread; they call the class.
 *
 * Invariants:
 * 1. The state moves only forward: NEW, READY, RUNNING, DRAINING, DRAINED, GONE; one setter, each move logged.
 * 2. A message that the class has no handler for is a routing bug and ends the process with both names.
 */
#ifndef WF_ACTOR_H
#define WF_ACTOR_H

#include "env.h"

typedef enum wf_actor_state {
    WF_ACTOR_NEW = 0,  /* memory exists */
    WF_ACTOR_READY,    /* init succeeded */
    WF_ACTOR_RUNNING,  /* on_start was called */
    WF_ACTOR_DRAINING, /* on_stop was called */
    WF_ACTOR_DRAINED,  /* owes nothing */
    WF_ACTOR_GONE,     /* deinit was called */
} wf_actor_state;

/* Embedded in the host's own struct. `env` first: handlers get a pointer to it. */
typedef struct wf_actor {
    weft_env env;
    const weft_actor_class *class;
    void *self;
    uint64_t timers[WEFT_TIMER_MAX]; /* due time, 0: not armed */
    uint64_t random;
    wf_actor_state state;
    bool touched; /* a turn is due */
} wf_actor;

const char *wf_actor_state_name(wf_actor_state state);

/* Allocates and zeroes the state and calls init. On failure nothing is left to undo. */
weft_status wf_actor_new(wf_actor *actor, const weft_actor_class *class, const wf_env_ops *ops, weft_actor_id id,
                         uint64_t seed, const void *argument);
void wf_actor_start(wf_actor *actor);
void wf_actor_deliver(wf_actor *actor, const weft_message *message);
/* Call on_timer for each timer that is due. */
void wf_actor_fire(wf_actor *actor, uint64_t now_ns);
/* Earliest armed timer, UINT64_MAX: none. */
uint64_t wf_actor_next_ns(const wf_actor *actor);
/* Run on_turn if one is due; true: there is more to do at once. */
bool wf_actor_turn(wf_actor *actor);
void wf_actor_stop(wf_actor *actor, uint64_t deadline_ns);
/* Moves DRAINING to DRAINED when nothing is owed; true on that move only. */
bool wf_actor_check_drained(wf_actor *actor);
void wf_actor_free(wf_actor *actor);

#endif
