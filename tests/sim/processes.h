/* SPDX-License-Identifier: Apache-2.0
 *
 * Worker processes that are none: what stands behind peers.h, child.h and guard.h, so that the production process
 * engine runs in the world. A frame that arrives, a connection that is gone and an exit that is seen are events of
 * their own, in any order that the real ones can have: of a dead process everything that it had written arrives before
 * its connection is gone, and nobody knows when its exit is seen.
 *
 * Some are started by somebody else and attach themselves. The engine can't kill those: whom it gives up may run on,
 * and what such a one still does counts for nobody. The truth looks away from there, and from nothing else.
 *
 * processes.c has the adapters and the life of a process, process.c what a worker does in it, attached.c what is
 * different for those that attach themselves.
 */
#ifndef SIM_PROCESSES_H
#define SIM_PROCESSES_H

#include <stdatomic.h>
#include <sys/types.h>

#include "peers.h"
#include "truth.h"
#include "wire.h"

enum { SIM_PROCESSES_MAX = 64, SIM_TASKS_MAX = 4 };

typedef struct sim_frame {
    struct sim_frame *next;
    const wf_record **blocks; /* of WORK: what was packed; of DONE: what it reports; NULL: nothing */
    uint32_t block_count;
    wf_peer_id from;
    size_t bytes;
    uint8_t data[];
} sim_frame;

typedef struct sim_frames {
    sim_frame *head;
    sim_frame **tail;
} sim_frames;

typedef struct sim_task {
    uint32_t id;
    uint32_t count;
    uint32_t next; /* record that was not begun */
    uint32_t closed_lane;
    bool cancelled;
    wf_wire_record *records;
    const wf_record **blocks;
} sim_task;

typedef struct sim_process {
    pid_t pid; /* 0: this place is free */
    char name[WF_WIRE_NAME_MAX + 1];
    uint8_t token[WF_WIRE_TOKEN_BYTES];
    wf_peer_id id;
    bool alive;
    bool reachable; /* what is sent to it arrives */
    bool seen_dead; /* its exit can be seen */
    bool reaped;
    bool still_born; /* ends before it says HELLO */
    bool greeted;
    bool stopped;
    bool hangs;
    bool deaf; /* to SIGTERM */
    bool goodbye;
    int exit_status;             /* as of wait(2) */
    int exit_fd;                 /* the engine's, which closes it; of an attached one, the other end of the engine's */
    _Atomic(uint64_t) *progress; /* NULL: not kept */
    sim_frames in;
    sim_frames out; /* written, not arrived */
    sim_task tasks[SIM_TASKS_MAX];
    uint32_t task_count;
    uint32_t topics[SIM_PARTITIONS_MAX * 4]; /* 1 + index of the topic's name, by number; 0: not announced */
    /* The record that runs. */
    const wf_record *running; /* its block; never looked into */
    sim_log *log;
    int64_t offset;
    int32_t lane;
    uint64_t began_ns;
    uint64_t due_ns;
    wf_wire_done report[WF_WIRE_RECORDS_MAX];
    const wf_record *reported[WF_WIRE_RECORDS_MAX];
    uint32_t report_count;
    bool rude; /* it has broken the protocol, or is given up: nothing that it says counts any more */
    /* Of one that attached itself. */
    bool attached;
    bool stranger; /* its token is another run's */
    bool welcome;  /* weft has said so */
    bool refused;
    bool leaving; /* it said BYE */
    uint64_t heard_ns;
    uint64_t continues_ns; /* stopped until then */
} sim_process;

/* All of one consumer. */
typedef struct sim_processes {
    struct sim_processes *next; /* of another member */
    sim_truth *truth;
    const sim_plan *plan;
    sim_chance *chance;
    const bool *calm;
    const struct wf_pool *pool; /* of the engine: what it is about to send */
    char path[WF_PEERS_PATH_MAX + 1];
    int fd;       /* for the engine to watch; nothing ever comes of it */
    bool news;    /* something that would wake the engine */
    bool poisons; /* a process may fall until the record is given up */
    sim_frames arrived;
    sim_frame *current;
    sim_frame *writing;
    sim_process all[SIM_PROCESSES_MAX];
} sim_processes;

/* Before the engine is made: what it opens next is this. */
void sim_processes_begin(sim_processes *self);
/* After it is gone. */
void sim_processes_end(sim_processes *self);

/* When one of them has something to do. */
uint64_t sim_processes_next_ns(const sim_processes *self);
/* One thing happens to one of them. */
void sim_processes_act(sim_processes *self);
/* Somebody else kills one of them. */
void sim_processes_kill_one(sim_processes *self);
/* The partition is given back: nothing of it may run. */
void sim_processes_check_released(const sim_processes *self, const wf_drained *drained);
/* Whoever hangs goes on; who is stopped stays so. */
void sim_processes_calm_down(sim_processes *self);

/* --- attached.c */

/* Somebody starts a worker, unless there are enough. */
void sim_processes_attach(sim_processes *self);
/* It was welcome, and the engine knows it no more: see above. */
bool sim_process_is_given_up(const sim_processes *self, const sim_process *process);
/* What the engine says to it: a welcome or a refusal must have its reason. */
void sim_process_is_told(const sim_processes *self, sim_process *process, const sim_frame *frame);
/* Something that only an attached one does, at its time. False: it goes on like any other. */
bool sim_process_acts_attached(sim_processes *self, sim_process *process);
/* When it will, though it has nothing to do. */
uint64_t sim_process_attached_next_ns(const sim_processes *self, const sim_process *process);
/* As far as the engine knows, one of its records is in its last attempt. */
bool sim_process_has_last_attempt(const sim_processes *self, const sim_process *process);
/* For the engine, a descriptor that tells of its end; -1: there is none. */
int sim_process_watch(sim_processes *self, sim_process *process);

/* --- process.c */

/* A worker that lives does something. */
void sim_process_act(sim_processes *self, sim_process *process);
/* When it will; UINT64_MAX: it waits. */
uint64_t sim_process_next_ns(const sim_processes *self, const sim_process *process);
/* A frame that it never looks at, or that is lost: without a progress word, nobody can know that it was not at one of
 * its records. */
void sim_process_is_blamed(sim_processes *self, const sim_frame *frame);
bool sim_process_may_fall(const sim_processes *self, const sim_process *process);
/* The engine sends it a signal: the truth learns which record may be charged for that. */
void sim_process_is_ended(sim_processes *self, const sim_process *process);
/* It ends by itself: the same. */
void sim_process_falls(sim_processes *self, sim_process *process, int status);
void sim_process_say(sim_process *process, wf_wire_type type, uint32_t task);
/* It looks at a record no more. */
void sim_process_drop_task(sim_process *process);
/* The flight of a record that it has; NULL: it is not out any more. */
sim_flight *sim_process_flight(sim_processes *self, const wf_record *block, const wf_wire_record *record);

/* --- shared */

/* All that it had written arrives, and nobody can reach it any more. */
void sim_process_closes(sim_processes *self, sim_process *process);
void sim_process_dies(sim_processes *self, sim_process *process, int status);
sim_frame *sim_frames_take(sim_frames *frames);
void sim_frame_free(sim_frame *frame);
/* It writes a frame. */
sim_frame *sim_process_says(sim_process *process, const void *frame, size_t bytes); /* NULL: nobody listens */
/* A process that lives, in a free place. */
sim_process *sim_process_new(sim_processes *self);

#endif
