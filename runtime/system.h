/* SPDX-License-Identifier: Apache-2.0
 *
 * A set of actors on threads. The thread that makes the system is its *program*: it spawns actors before the start,
 * sends to them and receives from them as actor WF_PROGRAM, and stops them in the order that it gives.
 *
 *     new -> loop, spawn ... -> start -> send / receive ... -> stop -> free
 *
 * A loop is a thread with one inbox that runs one or more actors. Which actor runs where is the program's choice;
 * actors can't tell.
 *
 * Thread: the program's, one at a time, for all functions.
 */
#ifndef WF_SYSTEM_H
#define WF_SYSTEM_H

#include "weft/actor.h"

typedef struct wf_system wf_system;

enum { WF_PROGRAM = 1 }; /* actor id of the program itself */

/* Types of what the program gets beside messages of actors. */
enum {
    WF_SYSTEM_FAILED = 200,  /* weft_env_fail: body wf_system_failure */
    WF_SYSTEM_DRAINED = 201, /* an actor owes nothing any more: `from` */
    WF_SYSTEM_READY = 202,   /* a loop runs (internal) */
};

typedef struct wf_system_failure {
    uint32_t status; /* weft_status */
    uint32_t reserved;
    char text[]; /* ends with a NUL */
} wf_system_failure;

/* `loops_max` and `actors_max` bound what may be added; sockets are reserved for them. */
weft_status wf_system_new(uint32_t loops_max, uint32_t actors_max, wf_system **ret_system);

/* A new loop. Sockets to it open when they are first used. */
weft_status wf_system_loop(wf_system *system, const char *name, uint32_t *ret_loop);

/* A new actor on a loop; its id is known before it starts. init runs here. Before start only. */
weft_status wf_system_spawn(wf_system *system, uint32_t loop, const weft_actor_class *class, const void *argument,
                            weft_actor_id *ret_id);

/* The id that the next spawn will give: for actors that must know each other. */
weft_actor_id wf_system_next_id(const wf_system *system);

/* Start all threads; returns when every actor's on_start has run. On failure everything that ran has been stopped. */
weft_status wf_system_start(wf_system *system);

/* CPU time of a loop's thread so far, and the loop's name. Thread: one of the system's. False: there is no such loop,
 * or its thread does not run. */
bool wf_system_loop_cpu(const wf_system *system, uint32_t loop, const char **ret_name, uint64_t *ret_ns);

void wf_system_send(wf_system *system, weft_actor_id to, uint32_t type, const void *body, size_t bytes);

/* Wait for a message to the program, at most until `deadline_ns` (0: don't wait; UINT64_MAX: for ever), or until `fd`
 * (-1: none) is readable: then *ret_fd_ready is set. True: *ret_message is valid until the next receive. */
bool wf_system_receive(wf_system *system, uint64_t deadline_ns, int fd, bool *ret_fd_ready, weft_message *ret_message);

/* Ask one actor to drain; WF_SYSTEM_DRAINED answers. */
void wf_system_stop_actor(wf_system *system, weft_actor_id id, uint64_t deadline_ns);

/* End all loops and join their threads until `deadline_ns`; then free the actors. Returns how many threads could not be
 * joined: they and what they use are left behind on purpose. */
uint32_t wf_system_end(wf_system *system, uint64_t deadline_ns);

void wf_system_free(wf_system **system);

#endif
