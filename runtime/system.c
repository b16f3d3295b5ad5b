/* SPDX-License-Identifier: Apache-2.0 */
#include "system.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "check.h"
#include "clock.h"
#include "loop.h"

struct wf_system {
    wf_directory directory;
    wf_loop **loops;    /* by index; [0] stands for the program: it has an inbox and outboxes, but no thread */
    wf_hosted **actors; /* by id */
    uint32_t loops_max;
    uint32_t actors_max;
    bool started;
    bool ended;
    uint32_t left;       /* threads that could not be joined */
    uint32_t ready;      /* loops that run */
    char *early_failure; /* a failure that came before the start returned; handed out by the next receive */
    size_t early_bytes;
    bool early_given;
};

/* Threads that are not stuck end at once; this is for a machine under load. */
static const uint64_t join_floor_ns = 1000000000;

static weft_status add_loop(wf_system *system, const char *name, uint32_t *ret_loop) {
    wf_directory *directory = &system->directory;
    if (directory->loop_count == system->loops_max) return WEFT_ERANGE;
    wf_loop *loop = calloc(1, sizeof *loop);
    if (!loop) return WEFT_ENOMEM;
    loop->outboxes = calloc(system->loops_max, sizeof *loop->outboxes);
    weft_status status =
        loop->outboxes ? wf_inbox_open(directory->post, directory->loop_count, &loop->inbox) : WEFT_ENOMEM;
    if (status != WEFT_OK) {
        free(loop->outboxes);
        free(loop);
        return status;
    }
    snprintf(loop->name, sizeof loop->name, "%s", name);
    loop->index = directory->loop_count++;
    loop->directory = directory;
    system->loops[loop->index] = loop;
    directory->inboxes[loop->index] = loop->inbox;
    *ret_loop = loop->index;
    return WEFT_OK;
}

weft_status wf_system_new(uint32_t loops_max, uint32_t actors_max, wf_system **ret_system) {
    wf_system *system = calloc(1, sizeof *system);
    if (!system) return WEFT_ENOMEM;
    system->loops_max = loops_max + 1;
    system->actors_max = actors_max + 2; /* nobody and the program */
    system->loops = calloc(system->loops_max, sizeof(wf_loop *));
    system->actors = calloc(system->actors_max, sizeof(wf_hosted *));
    system->directory.inboxes = calloc(system->loops_max, sizeof(wf_inbox *));
    system->directory.loop_of = calloc(system->actors_max, sizeof(uint32_t));
    system->directory.actor_count = WF_PROGRAM;
    weft_status status = WEFT_ENOMEM;
    uint32_t program;
    if (!system->loops || !system->actors || !system->directory.inboxes || !system->directory.loop_of) goto fail;
    /* Per loop: its inbox, and up to two outboxes for each pair that talks; transient ones on top. */
    status = wf_post_open(system->loops_max * 4 + 128, &system->directory.post);
    if (status != WEFT_OK) goto fail;
    status = add_loop(system, "program", &program);
    if (status != WEFT_OK) goto fail;
    *ret_system = system;
    return WEFT_OK;
fail:
    wf_system_free(&system);
    return status;
}

weft_status wf_system_loop(wf_system *system, const char *name, uint32_t *ret_loop) {
    WF_CHECK(!system->started);
    return add_loop(system, name, ret_loop);
}

weft_actor_id wf_system_next_id(const wf_system *system) {
    return system->directory.actor_count + 1;
}

weft_status wf_system_spawn(wf_system *system, uint32_t loop, const weft_actor_class *class, const void *argument,
                            weft_actor_id *ret_id) {
    WF_CHECK(!system->started);
    WF_CHECK(loop > 0 && loop < system->directory.loop_count);
    weft_actor_id id = wf_system_next_id(system);
    if (id >= system->actors_max) return WEFT_ERANGE;
    wf_hosted *hosted;
    weft_status status = wf_hosted_new(system->loops[loop], class, id, argument, &hosted);
    if (status != WEFT_OK) return status;
    system->actors[id] = hosted;
    system->directory.loop_of[id] = loop;
    system->directory.actor_count = id;
    *ret_id = id;
    return WEFT_OK;
}

/* A short-lived copy of what must not get lost while the start waits for READY. */
static void keep_early(wf_system *system, const void *body, size_t bytes) {
    if (system->early_failure) return; /* the first one is the reason */
    system->early_failure = malloc(bytes);
    WF_CHECK(system->early_failure != NULL);
    memcpy(system->early_failure, body, bytes);
    system->early_bytes = bytes;
}

static void wait_until_ready(wf_system *system, uint32_t count) {
    wf_header header;
    const void *body;
    size_t bytes;
    while (system->ready < count) {
        wf_inbox_receive(system->loops[0]->inbox, true, &header, &body, &bytes);
        if (header.type == WF_SYSTEM_READY)
            system->ready++;
        else if (header.type == WF_SYSTEM_FAILED)
            keep_early(system, body, bytes);
        /* anything else comes from an actor of the program's own, which nobody listens to yet */
    }
}

weft_status wf_system_start(wf_system *system) {
    WF_CHECK(!system->started);
    system->started = true;
    /* One after the other: a thread's short-lived socket for READY is closed before the next one needs its own. */
    for (uint32_t i = 1; i < system->directory.loop_count; i++) {
        weft_status status = wf_loop_start(system->loops[i]);
        if (status != WEFT_OK) {
            wf_system_end(system, wf_clock_now_ns() + join_floor_ns);
            return status;
        }
        wait_until_ready(system, i);
    }
    return WEFT_OK;
}

bool wf_system_loop_cpu(const wf_system *system, uint32_t loop, const char **ret_name, uint64_t *ret_ns) {
    if (loop == 0 || loop >= system->directory.loop_count) return false;
    int64_t clock = atomic_load(&system->loops[loop]->cpu_clock);
    *ret_name = system->loops[loop]->name;
    *ret_ns = clock ? wf_clock_cpu_ns(clock) : 0;
    return *ret_ns > 0;
}

void wf_system_send(wf_system *system, weft_actor_id to, uint32_t type, const void *body, size_t bytes) {
    wf_header header = {.type = (uint16_t)type, .from = WF_PROGRAM, .to = (uint16_t)to};
    wf_loop_send(system->loops[0], header, body, bytes, false);
}

void wf_system_stop_actor(wf_system *system, weft_actor_id id, uint64_t deadline_ns) {
    wf_header header = {.type = WF_LOOP_STOP, .from = WF_PROGRAM, .to = (uint16_t)id};
    wf_loop_send(system->loops[0], header, &deadline_ns, sizeof deadline_ns, true);
}

bool wf_system_receive(wf_system *system, uint64_t deadline_ns, int fd, bool *ret_fd_ready, weft_message *ret_message) {
    wf_inbox *inbox = system->loops[0]->inbox;
    *ret_fd_ready = false;
    if (system->early_failure && !system->early_given) {
        system->early_given = true;
        *ret_message =
            (weft_message){.type = WF_SYSTEM_FAILED, .body = system->early_failure, .body_bytes = system->early_bytes};
        return true;
    }
    for (;;) {
        wf_header header;
        while (wf_inbox_receive(inbox, false, &header, &ret_message->body, &ret_message->body_bytes)) {
            ret_message->type = header.type;
            ret_message->from = header.from;
            return true;
        }
        if (*ret_fd_ready) return false;
        uint64_t now_ns = wf_clock_now_ns();
        if (now_ns >= deadline_ns) return false;
        uint64_t rest_ms = (deadline_ns - now_ns + 999999) / 1000000;
        int64_t timeout_ms = deadline_ns == UINT64_MAX ? -1 : (int64_t)(rest_ms < 3600000 ? rest_ms : 3600000);
        wf_inbox_wait(inbox, &fd, ret_fd_ready, 1, timeout_ms);
    }
}

static bool join_until(wf_loop *loop, uint64_t deadline_ns) {
    uint64_t now_ns = wf_clock_now_ns();
    uint64_t rest_ns = deadline_ns > now_ns ? deadline_ns - now_ns : 0; /* 0: only those that have ended already */
    uint64_t wall_ns = (uint64_t)wf_clock_wall_ms() * 1000000 + rest_ns;
    struct timespec at = {.tv_sec = (time_t)(wall_ns / 1000000000), .tv_nsec = (long)(wall_ns % 1000000000)};
    return pthread_timedjoin_np(loop->thread, NULL, &at) == 0;
}

/* A loop that never ran: its actors were built on this thread and end on it. */
static void free_actors(wf_loop *loop) {
    for (uint32_t i = 0; i < loop->actor_count; i++) wf_actor_free(&loop->actors[i]->actor);
}

uint32_t wf_system_end(wf_system *system, uint64_t deadline_ns) {
    if (system->ended) return system->left;
    system->ended = true;
    wf_loop *program = system->loops[0];
    for (uint32_t i = 1; i < system->directory.loop_count; i++) {
        wf_loop *loop = system->loops[i];
        if (!loop->started) continue;
        wf_outbox *outbox = NULL;
        WF_CHECK(wf_outbox_open(system->directory.post, loop->inbox, i, &outbox) == WEFT_OK);
        wf_outbox_send(outbox, (wf_header){.type = WF_LOOP_EXIT}, NULL, 0);
        wf_outbox_close(&outbox);
    }
    /* One bound for all threads: a thousand stuck ones take no longer than one. */
    uint64_t until_ns = wf_clock_now_ns() + join_floor_ns;
    if (until_ns < deadline_ns) until_ns = deadline_ns;
    for (uint32_t i = 1; i < system->directory.loop_count; i++) {
        wf_loop *loop = system->loops[i];
        if (!loop->started) {
            free_actors(loop);
        } else if (!join_until(loop, until_ns)) {
            loop->left = true;
            system->left++;
        }
    }
    for (uint32_t i = 0; i < system->directory.loop_count; i++)
        if (program->outboxes[i]) wf_outbox_close(&program->outboxes[i]);
    return system->left;
}

void wf_system_free(wf_system **system_pointer) {
    wf_system *system = *system_pointer;
    if (!system) return;
    *system_pointer = NULL;
    if (system->started) WF_CHECK(system->ended);
    bool leak = system->left > 0;
    for (uint32_t i = 0; system->loops && i < system->directory.loop_count; i++) {
        wf_loop *loop = system->loops[i];
        if (loop->left) continue;
        if (!system->started) free_actors(loop);
        for (uint32_t a = 0; a < loop->actor_count; a++) free(loop->actors[a]);
        /* A thread that was left behind may still send to this inbox. */
        if (leak) continue;
        wf_inbox_close(&loop->inbox);
        free(loop->outboxes);
        free(loop);
    }
    free(system->early_failure);
    if (leak) return; /* the directory is read by the threads that were left */
    wf_post_close(&system->directory.post);
    free(system->loops);
    free(system->actors);
    free(system->directory.inboxes);
    free(system->directory.loop_of);
    free(system);
}
