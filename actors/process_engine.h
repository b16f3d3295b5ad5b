/* SPDX-License-Identifier: Apache-2.0
 *
 * The engine that runs handlers in worker processes: it starts them, or lets them attach themselves, gives each its
 * slices over ipc, and settles what a worker held when it dies. For the work manager it is as many workers as there are
 * ready processes.
 */
#ifndef WF_PROCESS_ENGINE_H
#define WF_PROCESS_ENGINE_H

#include "weft/actor.h"
#include "wire.h"

enum { WF_WORKERS_SPAWNED_MAX = 1000, WF_WORKERS_ATTACHED_MAX = 1000 };

/* Argument of wf_process_engine; texts live as long as the actor. */
typedef struct wf_process_engine_options {
    weft_actor_id manager;
    uint32_t spawned;        /* processes that are started here */
    uint32_t attached_max;   /* that may attach themselves */
    const char *command;     /* of the spawned ones, for the shell */
    char **users;            /* of whom processes may be workers, besides our own and root */
    size_t user_count;
    const char *directory;   /* of the socket; "": one of our own is made, where anybody may attach */
    uint64_t heartbeat_ns;   /* silence of three of them is death */
    uint64_t deadline_ns;    /* of a handler; 0: none */
    uint64_t grace_ns;       /* between cancel, SIGTERM and SIGKILL */
    uint64_t leave_ns;       /* that a replaced one may take for what it holds */
    uint64_t backoff_ns;     /* before a worker that died twice in a row starts again; doubles */
    uint64_t backoff_max_ns; /* up to this */
    uint64_t memory_max_bytes;
    int niceness;
    uint64_t files_max; /* descriptors that they may have; 0: as many as we */
    char *error; /* says why init failed; not used later */
    size_t error_bytes;
} wf_process_engine_options;

extern const weft_actor_class wf_process_engine; /* WORK -> DONE; says WORKER_UP and WORKER_DOWN */

#endif
