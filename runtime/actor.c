/* SPDX-License-Identifier: Apache-2.0 */
#include "actor.h"

#include <stdlib.h>

#include "check.h"
#include "messages.h"

const char *wf_actor_state_name(wf_actor_state state) {
    static const char *const names[] = {"NEW", "READY", "RUNNING", "DRAINING", "DRAINED", "GONE"};
    return names[state];
}

static void set_state(wf_actor *actor, wf_actor_state state) {
    WF_CHECK(state > actor->state);
    weft_env_log(&actor->env, WEFT_LOG_DEBUG, "%s: %s -> %s", actor->class->name, wf_actor_state_name(actor->state),
                 wf_actor_state_name(state));
    actor->state = state;
}

static void enter(const wf_actor *actor, const char *message) {
    wf_check_now = (wf_check_context){.actor = actor->class->name, .message = message};
}

weft_status wf_actor_new(wf_actor *actor, const weft_actor_class *class, const wf_env_ops *ops, weft_actor_id id,
                         uint64_t seed, const void *argument) {
    actor->env.ops = ops;
    actor->env.self = id;
    actor->class = class;
    actor->random = seed ^ ((uint64_t)id << 32);
    actor->state = WF_ACTOR_NEW;
    actor->self = calloc(1, class->state_bytes ? class->state_bytes : 1);
    if (!actor->self) return WEFT_ENOMEM;
    enter(actor, "init");
    weft_status status = class->init ? class->init(actor->self, &actor->env, argument) : WEFT_OK;
    enter(actor, NULL);
    if (status != WEFT_OK) {
        free(actor->self);
        actor->self = NULL;
        return status;
    }
    set_state(actor, WF_ACTOR_READY);
    return WEFT_OK;
}

void wf_actor_start(wf_actor *actor) {
    enter(actor, "start");
    set_state(actor, WF_ACTOR_RUNNING);
    actor->touched = true;
    if (actor->class->on_start) actor->class->on_start(actor->self, &actor->env);
}

void wf_actor_deliver(wf_actor *actor, const weft_message *message) {
    WF_CHECK(message->type < WEFT_MESSAGE_MAX);
    enter(actor, wf_message_name(message->type));
    weft_message_handler handler = actor->class->on[message->type];
    if (!handler) WF_UNREACHABLE("a message without a handler");
    actor->touched = true;
    handler(actor->self, &actor->env, message);
}

void wf_actor_fire(wf_actor *actor, uint64_t now_ns) {
    for (unsigned i = 0; i < WEFT_TIMER_MAX; i++) {
        if (actor->timers[i] == 0 || actor->timers[i] > now_ns) continue;
        actor->timers[i] = 0;
        actor->touched = true;
        enter(actor, "timer");
        WF_CHECK(actor->class->on_timer != NULL);
        actor->class->on_timer(actor->self, &actor->env, i);
    }
}

uint64_t wf_actor_next_ns(const wf_actor *actor) {
    uint64_t next = UINT64_MAX;
    for (unsigned i = 0; i < WEFT_TIMER_MAX; i++)
        if (actor->timers[i] != 0 && actor->timers[i] < next) next = actor->timers[i];
    return next;
}

bool wf_actor_turn(wf_actor *actor) {
    if (!actor->touched) return false;
    actor->touched = false;
    if (!actor->class->on_turn) return false;
    enter(actor, "turn");
    bool more = actor->class->on_turn(actor->self, &actor->env);
    actor->touched = actor->touched || more;
    return more;
}

void wf_actor_stop(wf_actor *actor, uint64_t deadline_ns) {
    if (actor->state >= WF_ACTOR_DRAINING) return;
    enter(actor, "stop");
    set_state(actor, WF_ACTOR_DRAINING);
    actor->touched = true;
    if (actor->class->on_stop) actor->class->on_stop(actor->self, &actor->env, deadline_ns);
}

bool wf_actor_check_drained(wf_actor *actor) {
    if (actor->state != WF_ACTOR_DRAINING) return false;
    if (actor->class->is_drained && !actor->class->is_drained(actor->self)) return false;
    enter(actor, "drained");
    set_state(actor, WF_ACTOR_DRAINED);
    return true;
}

void wf_actor_free(wf_actor *actor) {
    if (!actor->self) return;
    enter(actor, "deinit");
    if (actor->class->deinit) actor->class->deinit(actor->self, &actor->env);
    set_state(actor, WF_ACTOR_GONE);
    free(actor->self);
    actor->self = NULL;
    enter(actor, NULL);
    wf_check_now.actor = NULL;
}
