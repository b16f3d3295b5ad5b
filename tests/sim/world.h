/* SPDX-License-Identifier: Apache-2.0
 *
 * One incarnation of a consumer: the production actors on one thread, with a virtual clock. Messages wait in one FIFO
 * per sender and receiver; which FIFO goes on, which actor gets its turn, whose timer fires, what the broker does and
 * when time goes on is the seed's choice. Time jumps when nothing else can happen.
 */
#ifndef SIM_WORLD_H
#define SIM_WORLD_H

#include "actor.h"
#include "pending.h"
#include "poller.h"
#include "processes.h"
#include "script.h"

enum {
    SIM_PROGRAM = 1,
    SIM_POLLER = 2,
    SIM_MANAGER,
    SIM_TRACKER,
    SIM_ENCODER,
    SIM_EXPORTER,
    SIM_OBSERVER, /* a subscribed actor, as programs write them */
    SIM_WAKER,
    SIM_FIRST_WORKER,
    SIM_ENGINE = SIM_FIRST_WORKER, /* of processes */
    SIM_IDS = SIM_FIRST_WORKER + SIM_WORKERS_MAX,
};

typedef struct sim_mail {
    struct sim_mail *next;
    uint32_t type;
    uint32_t bytes;
    uint64_t body[];
} sim_mail;

typedef struct sim_line {
    sim_mail *head;
    sim_mail **tail;
} sim_line;

typedef struct sim_hosted {
    wf_actor actor; /* first: the env of the actor leads here */
    struct sim_world *world;
    int watched[WEFT_WATCH_MAX];
    uint64_t asleep_until_ns; /* its thread gets no time until then */
    bool exists;
    bool is_drained;
} sim_hosted;

typedef struct sim_world {
    struct sim_world *peer; /* another member of the group, which does something now and then; NULL: there is none */
    const sim_plan *plan;
    sim_chance *chance;
    sim_broker *broker;
    sim_truth *truth;
    sim_script *script;
    uint64_t now_ns;
    uint64_t *step; /* of the whole history */
    uint64_t steps_max;
    bool calm;
    sim_hosted actors[SIM_IDS];
    sim_line lines[SIM_IDS][SIM_IDS];
    uint32_t mail_count;
    wf_pending *pending;
    sim_processes *processes; /* NULL: workers are threads */
    bool stopping;
    /* What came for the program. */
    weft_status failure; /* weft_env_fail: the first one */
    struct weft_metrics *report;
    uint32_t abandoned;
    bool abandoned_came;
    /* What the observer saw. */
    uint32_t events_seen;
} sim_world;

/* Make and start all actors. */
void sim_world_start(sim_world *world);
/* End them wherever they are, as if the process died; what they owned is freed, and counted once more. */
void sim_world_end(sim_world *world);

/* One thing happens, here or at the peer. */
void sim_world_step(sim_world *world);
/* This one acts from now on, not its peer. */
void sim_world_enter(sim_world *world);
/* Everything that can happen without time, the broker or a handler's promise; false: it never ends. */
bool sim_world_settle(sim_world *world);
void sim_world_stop_actor(sim_world *world, uint32_t id, uint64_t deadline_ns);
void sim_world_send(sim_world *world, uint32_t from, uint32_t to, uint32_t type, const void *body, size_t bytes);
/* Mail that nobody has taken, apart from what waits for actors that sleep. */
void sim_world_dump(const sim_world *world);

static inline wf_poller_state *sim_poller(const sim_world *world) {
    return world->actors[SIM_POLLER].actor.self;
}

static inline wf_work_manager_state *sim_manager(const sim_world *world) {
    return world->actors[SIM_MANAGER].actor.self;
}

/* --- audit.c */

/* Every block is in one place, and credit and blocks add up to what the poller started with. */
void sim_audit_blocks(const sim_world *world);
/* With nothing to do until time goes on: nobody waits for what is there already. */
void sim_audit_idle(const sim_world *world);
/* With nothing on its way: every gauge is what the truth says. */
void sim_audit_gauges(sim_world *world);
/* After the end: nothing is owed. */
void sim_audit_drained(const sim_world *world);

#endif
