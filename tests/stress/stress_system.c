/* SPDX-License-Identifier: Apache-2.0
 *
 * Actors on real loops: parcels that go round in rings across threads, timers beside them, failures, drains; and
 * systems that start and end two hundred times, with messages still on their way.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "must.h"
#include "system.h"

enum { PARCEL = WEFT_MESSAGE_USER, RESULT, LOOPS = 3, ACTORS = 7, PARCELS = 32, STARTS = 200 };

/* The test runner says how it built us: sanitizers are ten times slower. */
static bool under_sanitizer(void) {
    const char *build = getenv("WEFT_TEST_BUILD");
    return build && strcmp(build, "test") != 0;
}

static uint64_t hops(void) {
    return under_sanitizer() ? 500 : 5000;
}

typedef struct parcel {
    uint64_t left;   /* hops */
    uint64_t *trail; /* ACTORS counters that every holder writes without a lock: it goes from hand to hand */
} parcel;

typedef struct ringer_options {
    weft_actor_id next;
    uint32_t index;
} ringer_options;

typedef struct ringer {
    ringer_options options;
    uint64_t held;
    uint64_t ticks;
    bool stopping;
    uint64_t parcels_home;
} ringer;

static weft_status ringer_init(void *state, weft_env *env, const void *argument) {
    (void)env;
    ((ringer *)state)->options = *(const ringer_options *)argument;
    return WEFT_OK;
}

static void ringer_start(void *state, weft_env *env) {
    (void)state;
    weft_env_arm(env, 0, weft_env_now_ns(env) + 100000);
}

static void on_parcel(void *state, weft_env *env, const weft_message *message) {
    ringer *self = state;
    parcel body = *(const parcel *)message->body;
    self->held++;
    body.trail[self->options.index]++;
    if (body.left == 0) {
        weft_env_send(env, WF_PROGRAM, RESULT, &body, sizeof body);
        return;
    }
    body.left--;
    weft_env_send(env, self->options.next, PARCEL, &body, sizeof body);
}

static void ringer_timer(void *state, weft_env *env, unsigned timer) {
    ringer *self = state;
    self->ticks++;
    weft_env_arm(env, timer, weft_env_now_ns(env) + 100000 + weft_env_random(env) % 200000);
}

static void ringer_stop(void *state, weft_env *env, uint64_t deadline_ns) {
    (void)env;
    (void)deadline_ns;
    ((ringer *)state)->stopping = true;
}

static bool ringer_drained(const void *state) {
    return ((const ringer *)state)->stopping;
}

static const weft_actor_class ringer_class = {
    .name = "ringer",
    .state_bytes = sizeof(ringer),
    .init = ringer_init,
    .on_start = ringer_start,
    .on = {[PARCEL] = on_parcel},
    .on_timer = ringer_timer,
    .on_stop = ringer_stop,
    .is_drained = ringer_drained,
};

static wf_system *build(weft_actor_id ids[ACTORS]) {
    wf_system *system = NULL;
    uint32_t loops[LOOPS];
    MUST(wf_system_new(LOOPS, ACTORS, &system) == WEFT_OK, "no system");
    for (int i = 0; i < LOOPS; i++) MUST(wf_system_loop(system, "ring", &loops[i]) == WEFT_OK, "no loop");
    weft_actor_id first = wf_system_next_id(system);
    for (uint32_t i = 0; i < ACTORS; i++) {
        ringer_options options = {.next = first + (i + 1) % ACTORS, .index = i};
        MUST(wf_system_spawn(system, loops[i % LOOPS], &ringer_class, &options, &ids[i]) == WEFT_OK, "no actor");
        MUST(ids[i] == first + i, "ids are not in a row");
    }
    MUST(wf_system_start(system) == WEFT_OK, "no start");
    return system;
}

static weft_message receive(wf_system *system) {
    weft_message message;
    bool fd_ready;
    MUST(wf_system_receive(system, wf_clock_now_ns() + 60000000000u, -1, &fd_ready, &message), "a parcel got lost");
    return message;
}

static void run_rings(void) {
    weft_actor_id ids[ACTORS];
    uint64_t(*trails)[ACTORS] = must_alloc(PARCELS, sizeof *trails);
    wf_system *system = build(ids);
    for (int i = 0; i < PARCELS; i++) {
        parcel body = {.left = hops(), .trail = trails[i]};
        wf_system_send(system, ids[i % ACTORS], PARCEL, &body, sizeof body);
    }
    for (int i = 0; i < PARCELS; i++) MUST(receive(system).type == RESULT, "not a parcel");
    for (int i = 0; i < PARCELS; i++) {
        uint64_t sum = 0;
        for (int a = 0; a < ACTORS; a++) sum += trails[i][a];
        MUST(sum == hops() + 1, "parcel %d made %llu hops", i, (unsigned long long)sum);
    }
    for (int i = 0; i < ACTORS; i++) wf_system_stop_actor(system, ids[i], wf_clock_now_ns() + 1000000000u);
    for (int i = 0; i < ACTORS; i++) MUST(receive(system).type == WF_SYSTEM_DRAINED, "not a drain");
    MUST(wf_system_end(system, wf_clock_now_ns() + 10000000000u) == 0, "a thread was left");
    wf_system_free(&system);
    free(trails);
    printf("%d parcels, %llu hops each\n", PARCELS, (unsigned long long)hops());
}

/* Ends at any moment, whatever is on its way. */
static void run_starts(void) {
    uint64_t trail[ACTORS] = {0};
    for (int i = 0; i < STARTS; i++) {
        weft_actor_id ids[ACTORS];
        wf_system *system = build(ids);
        parcel body = {.left = UINT64_MAX, .trail = trail}; /* one parcel only: it goes from hand to hand */
        if (i % 3) wf_system_send(system, ids[i % ACTORS], PARCEL, &body, sizeof body);
        if (i % 5 == 0) {
            wf_system_stop_actor(system, ids[0], 0);
            MUST(receive(system).type == WF_SYSTEM_DRAINED, "not a drain");
        }
        MUST(wf_system_end(system, wf_clock_now_ns() + 10000000000u) == 0, "a thread was left");
        wf_system_free(&system);
    }
    printf("%d starts and ends\n", STARTS);
}

/* --- failures come out, the first words first */

static void failing_start(void *state, weft_env *env) {
    (void)state;
    for (int i = 0; i < 5; i++) weft_env_fail(env, WEFT_ESTATE, "failure %d", i);
}

static const weft_actor_class failing_class = {.name = "failing", .state_bytes = 8, .on_start = failing_start};

static void run_failures(void) {
    for (int i = 0; i < 20; i++) {
        wf_system *system = NULL;
        uint32_t loop;
        weft_actor_id id;
        MUST(wf_system_new(4, 4, &system) == WEFT_OK, "no system");
        for (int a = 0; a < 4; a++) {
            MUST(wf_system_loop(system, "failing", &loop) == WEFT_OK, "no loop");
            MUST(wf_system_spawn(system, loop, &failing_class, NULL, &id) == WEFT_OK, "no actor");
        }
        MUST(wf_system_start(system) == WEFT_OK, "no start");
        weft_message message = receive(system);
        const wf_system_failure *failure = message.body;
        MUST(message.type == WF_SYSTEM_FAILED && failure->status == WEFT_ESTATE, "not a failure");
        MUST(failure->text[8] == '0', "the first failure is the reason, not: %s", failure->text);
        MUST(wf_system_end(system, wf_clock_now_ns() + 10000000000u) == 0, "a thread was left");
        wf_system_free(&system);
    }
    printf("failures are told\n");
}

/* --- an actor may talk to the program before anybody listens */

static void early_start(void *state, weft_env *env) {
    (void)state;
    weft_env_send(env, WF_PROGRAM, RESULT, NULL, 0);
}

static const weft_actor_class early_class = {.name = "early", .state_bytes = 8, .on_start = early_start};

static void run_early_words(void) {
    wf_system *system = NULL;
    uint32_t loop;
    weft_actor_id id;
    MUST(wf_system_new(1, 1, &system) == WEFT_OK, "no system");
    MUST(wf_system_loop(system, "early", &loop) == WEFT_OK, "no loop");
    MUST(wf_system_spawn(system, loop, &early_class, NULL, &id) == WEFT_OK, "no actor");
    MUST(wf_system_start(system) == WEFT_OK, "no start");
    MUST(wf_system_end(system, wf_clock_now_ns() + 10000000000u) == 0, "a thread was left");
    wf_system_free(&system);
    printf("early words do no harm\n");
}

/* --- threads that never end: all of them together cost the patience of one. ThreadSanitizer rightly calls them leaked.
 */

#if !defined(__SANITIZE_THREAD__)

enum { STUCK = 12, STUCK_SECONDS_MAX = 6 };

static int never[2]; /* a pipe that nobody writes to until all is checked */

static void stuck_start(void *state, weft_env *env) {
    (void)state;
    weft_env_arm(env, 0, 1);
}

static void stuck_timer(void *state, weft_env *env, unsigned timer) {
    char byte;
    (void)state;
    (void)env;
    (void)timer;
    MUST(read(never[0], &byte, 1) == 1, "woken by nobody");
}

static const weft_actor_class stuck_class = {
    .name = "stuck", .state_bytes = 8, .on_start = stuck_start, .on_timer = stuck_timer};

static void run_stuck(void) {
    static wf_system *system; /* left to its threads, and so it stays reachable */
    wf_system *given;
    uint32_t loop;
    weft_actor_id id;
    char bytes[STUCK] = {0};
    MUST(pipe(never) == 0, "no pipe");
    MUST(wf_system_new(STUCK, STUCK, &system) == WEFT_OK, "no system");
    for (int i = 0; i < STUCK; i++) {
        MUST(wf_system_loop(system, "stuck", &loop) == WEFT_OK, "no loop");
        MUST(wf_system_spawn(system, loop, &stuck_class, NULL, &id) == WEFT_OK, "no actor");
    }
    MUST(wf_system_start(system) == WEFT_OK, "no start");
    uint64_t began_ns = wf_clock_now_ns();
    MUST(wf_system_end(system, began_ns) == STUCK, "not all of them are stuck");
    MUST(wf_clock_now_ns() - began_ns < STUCK_SECONDS_MAX * UINT64_C(1000000000), "patience was summed up");
    given = system;
    wf_system_free(&given);
    MUST(write(never[1], bytes, sizeof bytes) == (ssize_t)sizeof bytes, "nobody to wake");
    printf("%d stuck threads were left\n", STUCK);
}

#else

static void run_stuck(void) {
}

#endif

int main(void) {
    run_rings();
    run_early_words();
    run_stuck();
    run_starts();
    run_failures();
    return 0;
}
