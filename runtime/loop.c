/* SPDX-License-Identifier: Apache-2.0 */
#include "loop.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "clock.h"
#include "log.h"
#include "system.h"

/* Messages per iteration: enough to amortise the turns behind them, few enough that timers and descriptors wait well
 * below 1 ms. */
enum { DRAIN_MAX = 256 };

static wf_hosted *hosted(const weft_env *env) {
    return (wf_hosted *)(uintptr_t)env; /* env is the first member of wf_actor, that of wf_hosted */
}

/* --- env */

static uint64_t env_now_ns(const weft_env *env) {
    const wf_loop *loop = hosted(env)->loop;
    return loop->now_ns ? loop->now_ns : wf_clock_now_ns(); /* 0: in init, before the loop runs */
}

static int64_t env_wall_ms(const weft_env *env) {
    (void)env;
    return wf_clock_wall_ms();
}

static uint64_t env_random(weft_env *env) {
    return wf_random_next(&hosted(env)->actor.random);
}

static void env_send(weft_env *env, weft_actor_id to, uint32_t type, const void *body, size_t bytes) {
    wf_header header = {.type = (uint16_t)type, .from = (uint16_t)env->self, .to = (uint16_t)to};
    wf_loop_send(hosted(env)->loop, header, body, bytes, false);
}

static void env_arm(weft_env *env, unsigned timer, uint64_t at_ns) {
    hosted(env)->actor.timers[timer] = at_ns ? at_ns : 1;
}

static void env_disarm(weft_env *env, unsigned timer) {
    hosted(env)->actor.timers[timer] = 0;
}

static void env_watch(weft_env *env, unsigned watch, int fd) {
    hosted(env)->watched[watch] = fd;
}

static void env_fail(weft_env *env, weft_status status, const char *text) {
    size_t bytes = sizeof(wf_system_failure) + strlen(text) + 1;
    wf_system_failure *failure = calloc(1, bytes);
    WF_CHECK(failure != NULL);
    failure->status = (uint32_t)status;
    memcpy(failure->text, text, strlen(text) + 1);
    wf_header header = {.type = WF_SYSTEM_FAILED, .from = (uint16_t)env->self, .to = WF_PROGRAM};
    wf_loop_send(hosted(env)->loop, header, failure, bytes, true);
    free(failure);
}

static void env_log(weft_env *env, weft_log_level level, const char *text) {
    wf_log(level, hosted(env)->actor.class->name, "%s", text);
}

static const wf_env_ops loop_env = {
    .now_ns = env_now_ns,
    .wall_ms = env_wall_ms,
    .random = env_random,
    .send = env_send,
    .arm = env_arm,
    .disarm = env_disarm,
    .watch = env_watch,
    .fail = env_fail,
    .log = env_log,
};

weft_status wf_hosted_new(wf_loop *loop, const weft_actor_class *class, weft_actor_id id, const void *argument,
                          wf_hosted **ret_hosted) {
    if (loop->actor_count == WF_LOOP_ACTORS_MAX) return WEFT_ERANGE;
    wf_hosted *actor = calloc(1, sizeof *actor);
    if (!actor) return WEFT_ENOMEM;
    actor->loop = loop;
    for (int i = 0; i < WEFT_WATCH_MAX; i++) actor->watched[i] = -1;
    weft_status status = wf_actor_new(&actor->actor, class, &loop_env, id, wf_clock_now_ns(), argument);
    if (status != WEFT_OK) {
        free(actor);
        return status;
    }
    loop->actors[loop->actor_count++] = actor;
    *ret_hosted = actor;
    return WEFT_OK;
}

/* --- sending */

static wf_outbox *open_outbox(wf_loop *loop, uint32_t target) {
    wf_outbox *outbox = NULL;
    const wf_directory *directory = loop->directory;
    WF_CHECK(wf_outbox_open(directory->post, directory->inboxes[target], target, &outbox) == WEFT_OK);
    return outbox;
}

void wf_loop_send(wf_loop *loop, wf_header header, const void *body, size_t bytes, bool transient) {
    WF_CHECK(header.to > 0 && header.to <= loop->directory->actor_count);
    uint32_t target = loop->directory->loop_of[header.to];
    if (transient && !loop->outboxes[target]) {
        wf_outbox *outbox = open_outbox(loop, target);
        wf_outbox_send(outbox, header, body, bytes);
        wf_outbox_close(&outbox);
        return;
    }
    if (!loop->outboxes[target]) loop->outboxes[target] = open_outbox(loop, target);
    wf_outbox_send(loop->outboxes[target], header, body, bytes);
}

/* --- running */

static wf_hosted *find_actor(const wf_loop *loop, weft_actor_id id) {
    for (uint32_t i = 0; i < loop->actor_count; i++)
        if (loop->actors[i]->actor.env.self == id) return loop->actors[i];
    WF_UNREACHABLE("a message for an actor of another loop");
}

static void receive_one(wf_loop *loop, const wf_header *header, const void *body, size_t bytes) {
    if (header->type == WF_LOOP_EXIT) {
        loop->exit = true;
        return;
    }
    wf_hosted *actor = find_actor(loop, header->to);
    if (header->type == WF_LOOP_STOP) {
        uint64_t deadline_ns;
        WF_CHECK(bytes == sizeof deadline_ns);
        memcpy(&deadline_ns, body, sizeof deadline_ns);
        wf_actor_stop(&actor->actor, deadline_ns);
        return;
    }
    weft_message message = {.type = header->type, .from = header->from, .body = body, .body_bytes = bytes};
    wf_actor_deliver(&actor->actor, &message);
}

static void drain_inbox(wf_loop *loop, int max) {
    wf_header header;
    const void *body;
    size_t bytes;
    for (int i = 0; i < max && wf_inbox_receive(loop->inbox, false, &header, &body, &bytes); i++) {
        loop->now_ns = wf_clock_now_ns();
        receive_one(loop, &header, body, bytes);
    }
}

/* Returns whether an actor wants to go on at once. */
static bool run_turns(wf_loop *loop) {
    bool more = false;
    loop->now_ns = wf_clock_now_ns();
    for (uint32_t i = 0; i < loop->actor_count; i++) {
        wf_actor *actor = &loop->actors[i]->actor;
        wf_actor_fire(actor, loop->now_ns);
        more = wf_actor_turn(actor) || more;
        if (wf_actor_check_drained(actor)) {
            wf_header header = {.type = WF_SYSTEM_DRAINED, .from = (uint16_t)actor->env.self, .to = WF_PROGRAM};
            wf_loop_send(loop, header, NULL, 0, true);
        }
    }
    return more;
}

static int64_t sleep_ms(const wf_loop *loop) {
    uint64_t next = UINT64_MAX;
    for (uint32_t i = 0; i < loop->actor_count; i++) {
        uint64_t at = wf_actor_next_ns(&loop->actors[i]->actor);
        if (at < next) next = at;
    }
    if (next == UINT64_MAX) return -1;
    uint64_t now_ns = wf_clock_now_ns();
    /* Rounded up: waking too early would spin until the timer is due. */
    return next <= now_ns ? 0 : (int64_t)((next - now_ns + 999999) / 1000000);
}

static void read_empty(int fd) {
    uint64_t buffer;
    while (read(fd, &buffer, sizeof buffer) > 0) {
    }
}

/* Sleep, or only look when an actor has more to do; descriptors that became readable touch their actor. */
static void sleep_or_look(wf_loop *loop, bool more) {
    int fds[WF_LOOP_ACTORS_MAX * WEFT_WATCH_MAX];
    bool ready[WF_LOOP_ACTORS_MAX * WEFT_WATCH_MAX];
    size_t count = 0;
    bool watching = false;
    for (uint32_t i = 0; i < loop->actor_count; i++)
        for (int w = 0; w < WEFT_WATCH_MAX; w++) {
            fds[count++] = loop->actors[i]->watched[w];
            watching = watching || loop->actors[i]->watched[w] >= 0;
        }
    if (more) return; /* who has more to do looks at its sources itself, in its turn */
    int64_t timeout_ms = sleep_ms(loop);
    wf_header header;
    const void *body;
    size_t bytes;
    if (!watching && timeout_ms < 0) { /* a plain receive is the cheapest sleep */
        wf_inbox_receive(loop->inbox, true, &header, &body, &bytes);
        loop->now_ns = wf_clock_now_ns();
        receive_one(loop, &header, body, bytes);
        return;
    }
    wf_inbox_wait(loop->inbox, fds, ready, count, timeout_ms);
    for (size_t i = 0; i < count; i++) {
        if (fds[i] < 0 || !ready[i]) continue;
        read_empty(fds[i]);
        loop->actors[i / WEFT_WATCH_MAX]->actor.touched = true;
    }
}

static void close_outboxes(wf_loop *loop) {
    for (uint32_t i = 0; i < loop->directory->loop_count; i++)
        if (loop->outboxes[i]) wf_outbox_close(&loop->outboxes[i]);
}

static void *loop_main(void *argument) {
    wf_loop *loop = argument;
    pthread_setname_np(pthread_self(), loop->name);
    atomic_store(&loop->cpu_clock, wf_clock_of_thread());
    loop->now_ns = wf_clock_now_ns();
    for (uint32_t i = 0; i < loop->actor_count; i++) wf_actor_start(&loop->actors[i]->actor);
    wf_header ready = {.type = WF_SYSTEM_READY, .from = 0, .to = WF_PROGRAM};
    wf_loop_send(loop, ready, &loop->index, sizeof loop->index, true);
    while (!loop->exit) {
        drain_inbox(loop, DRAIN_MAX);
        bool more = run_turns(loop);
        if (!loop->exit) sleep_or_look(loop, more);
    }
    drain_inbox(loop, INT_MAX); /* what was sent before the exit may lie in another sender's pipe: it owns memory */
    for (uint32_t i = 0; i < loop->actor_count; i++) wf_actor_free(&loop->actors[i]->actor);
    close_outboxes(loop);
    return NULL;
}

weft_status wf_loop_start(wf_loop *loop) {
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old); /* signals belong to the program's own threads */
    int error = pthread_create(&loop->thread, NULL, loop_main, loop);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (error) return WEFT_ELIMIT;
    loop->started = true;
    return WEFT_OK;
}
