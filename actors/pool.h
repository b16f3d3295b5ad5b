/* SPDX-License-Identifier: Apache-2.0
 *
 * State of the process engine, shared by its files: process_engine.c has its messages and its life, pool_frames.c what
 * is said to workers and what they say, pool_death.c how they start and end, pool_look.c what is seen of them between,
 * pool_stderr.c what they write to standard error.
 *
 * Invariants:
 * 1. Every slice comes back exactly once, whole, in the order in which a worker got them; no timing is in it.
 * 2. A record has a status only from a DONE that named its offset in its turn, or from the settling of a dead worker.
 * 3. A worker is dead when its process has ended, or nobody is connected under its name any more, and what it sent was
 *    read to the end; only then are its records settled.
 * 4. A settled record is charged an attempt only if it certainly was the one that ran, and the worker was not ended by
 *    us for another reason.
 * 5. The work manager was told WORKER_UP for a worker exactly while `up` is set.
 */
#ifndef WF_POOL_H
#define WF_POOL_H

#include <stdatomic.h>

#include "child.h"
#include "guard.h"
#include "log.h"
#include "messages.h"
#include "pending.h"
#include "peers.h"
#include "process_engine.h"
#include "workers.h"

typedef struct wf_pool_task {
    wf_slice slice;
    uint32_t id;       /* in frames */
    wf_record *next;   /* the first one without a status */
    wf_record *unsent; /* the first one that was not sent */
    uint32_t done;     /* before next */
    uint32_t sent;     /* before unsent */
    bool one_by_one;   /* a record that may have killed a worker is in it */
    bool cancelled;    /* what was not sent yet never is */
} wf_pool_task;

/* A line of standard error fits into one of the log, also when each of its bytes becomes a replacement of three. */
enum { WF_POOL_TAIL_BYTES = 512, WF_POOL_LINE_BYTES = 1024, WF_POOL_FAILED_STARTS = 8 };

#define WF_POOL_NOBODY UINT64_MAX      /* what a descriptor that is no worker's belongs to */
#define WF_POOL_GUARD (UINT64_MAX - 1) /* that of the guard has news: it has ended */

typedef struct wf_pool_worker {
    uint32_t number;
    weft_worker_state state; /* WAITING: nobody is there; a spawned one starts at start_ns */
    weft_worker_end cause;   /* ENDING, LEAVING: why */
    bool spawned;
    bool up;
    bool connected; /* it said HELLO */
    bool exited;    /* spawned: reaped; attached: its pid ended */
    int exit_status;
    bool stale;       /* to be replaced, when all others are ready */
    bool stirred;     /* a descriptor of it has news */
    bool unreachable; /* at the last heartbeat */
    wf_child child;   /* pid 0: no process of ours */
    int watch_fd;     /* attached: its pid's, -1: none */
    pid_t pid;
    wf_peer_id id;
    char name[WF_WIRE_NAME_MAX + 1];
    uint32_t generation;
    int progress_fd;
    _Atomic(uint64_t) *progress; /* shared with the process */
    bool has_progress;           /* it said that it keeps the word */
    wf_pool_task tasks[WF_SLICES_MAX];
    uint32_t task_count;
    const char **topics; /* announced to it, by number */
    uint32_t topic_count;
    uint64_t born_ns;
    uint64_t heard_ns;
    uint64_t start_ns; /* WAITING: not before */
    uint64_t bye_ns;   /* LEAVING: when it was told to */
    uint64_t leave_ns; /* LEAVING: since when it has nothing left to do, 0: it has */
    uint64_t end_ns;   /* ENDING: when its queue counts as read, whatever ZeroMQ says */
    uint64_t seen_word;
    uint64_t seen_ns;              /* since when it is at the same record */
    unsigned stage;                /* of the deadline: cancelled, SIGTERM, SIGKILL */
    uint64_t stage_ns;             /* when it began */
    unsigned deaths;               /* in a row, soon after the start */
    char tail[WF_POOL_TAIL_BYTES]; /* what it wrote to standard error last */
    size_t tail_bytes;
    char line[WF_POOL_LINE_BYTES]; /* the line of it that has no end yet */
    size_t line_bytes;
    wf_log_limit line_limit;
} wf_pool_worker;

typedef struct wf_pool_fence {
    wf_partition partition;
    uint64_t kill_ns;
} wf_pool_fence;

typedef struct wf_pool {
    wf_process_engine_options options;
    char *command; /* ours, since ROLL brought it; NULL: that of the options */
    wf_peers *peers;
    char path[WF_PEERS_PATH_MAX + 8]; /* of the socket */
    char token_path[WF_PEERS_PATH_MAX + 8];
    char directory[WF_PEERS_PATH_MAX + 8]; /* of socket and token, "": none */
    int directory_fd;                      /* the user's, locked; -1: none */
    uint8_t token[WF_WIRE_TOKEN_BYTES];
    int epoll_fd;
    wf_guard guard;    /* of the groups of spawned workers and of socket and token, from when there are any */
    bool guard_ended;  /* and is not buried yet */
    uint64_t guard_ns; /* no new one before; 0: there was none yet */
    wf_pool_worker *workers;
    uint32_t worker_count;
    uint32_t last_task;
    uint32_t suspects; /* records that carry WF_RECORD_SUSPECT, at most */
    uint32_t ping;
    uint64_t ping_ns; /* when it was sent */
    uint64_t tick_ns; /* the last one */
    uint64_t look_ns; /* when to look at all workers again; 0: now */
    wf_pool_fence *fences;
    uint32_t fence_count;
    uint32_t fence_room;
    bool stopping;
    uint64_t stop_ns; /* when what still lives is killed */
    uint64_t reject_logged_ns;
    unsigned failed_starts; /* since a started one said HELLO last */
    weft_pool_metrics seen; /* by_state and records_held are counted when asked for */
} wf_pool;

/* --- pool_frames.c */

/* Send what may be sent of a worker's tasks. */
void wf_pool_pump(wf_pool *self, weft_env *env, wf_pool_worker *worker);
/* A frame without entries. False: not connected. */
bool wf_pool_say(wf_pool *self, wf_pool_worker *worker, wf_wire_type type, uint32_t task);
/* Read what peers have sent. False: there may be more. */
bool wf_pool_read(wf_pool *self, weft_env *env);
/* The first task is over: give its slice back. */
void wf_pool_give_back(wf_pool *self, weft_env *env, wf_pool_worker *worker);

/* --- pool_death.c */

/* There is a guard that knows all groups, unless the last one is too young; one that has ended is buried. */
void wf_pool_keep_guard(wf_pool *self, weft_env *env);
/* Start the process of a vacant worker. */
void wf_pool_start(wf_pool *self, weft_env *env, wf_pool_worker *worker);
/* End a worker for this reason; its process is killed if it still runs. */
void wf_pool_end(wf_pool *self, weft_env *env, wf_pool_worker *worker, weft_worker_end cause);
/* Does it hold an unfinished record of this partition and epoch? */
bool wf_pool_holds(const wf_pool_worker *worker, const wf_partition *partition);
/* Tell it to finish what it has and end. */
void wf_pool_say_goodbye(wf_pool *self, weft_env *env, wf_pool_worker *worker);
/* Invariant 3, for one that is ENDING. True: it is over. */
bool wf_pool_try_finish(wf_pool *self, weft_env *env, wf_pool_worker *worker);
/* Too many starts in a row have failed for all to go on trying. */
static inline bool wf_pool_is_broken(const wf_pool *self) {
    return self->failed_starts >= WF_POOL_FAILED_STARTS;
}

/* What the worker is at: the record, or NULL: nobody knows, or nothing. */
wf_record *wf_pool_running(const wf_pool_worker *worker);
void wf_pool_tell(wf_pool *self, weft_env *env, wf_pool_worker *worker, bool up);
/* Wake the engine when `fd` is readable; `worker` NULL: it is nobody's. */
void wf_pool_watch(wf_pool *self, int fd, const wf_pool_worker *worker);
/* Close it, and be woken by it no more: a process that the program has forked may hold it open. -1: nothing happens. */
void wf_pool_close(wf_pool *self, int *fd);
/* Kill what still runs, wait for its end, and free everything: a stop that was not orderly. Blocks. */
void wf_pool_bury(wf_pool *self, weft_env *env, wf_pool_worker *worker);

/* --- pool_stderr.c */

/* At the start of a worker. */
void wf_pool_begin_stderr(wf_pool_worker *worker);
/* What it has written; not more than takes a moment. */
void wf_pool_read_stderr(wf_pool *self, weft_env *env, wf_pool_worker *worker);
/* The same of one that has ended: all there is, up to a line without an end. */
void wf_pool_end_stderr(wf_pool *self, weft_env *env, wf_pool_worker *worker);

/* --- pool_look.c */

/* Look at what they write, at exits, heartbeats, deadlines, fences and vacancies, when it is time to. */
void wf_pool_look(wf_pool *self, weft_env *env);

#endif
