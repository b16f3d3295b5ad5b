/* SPDX-License-Identifier: Apache-2.0
 *
 * What a seed stands for: options of the consumer, shape of the log, and which faults how often.
 */
#ifndef SIM_PLAN_H
#define SIM_PLAN_H

#include <stddef.h>

#include "chance.h"
#include "poller.h"
#include "work_manager.h"

enum { SIM_PARTITIONS_MAX = 4, SIM_WORKERS_MAX = 4, SIM_INCARNATIONS_MAX = 3, SIM_ACTIONS = 6 };

/* What the scheduler may do next; see world.c. */
typedef enum sim_action {
    SIM_DELIVER = 0,
    SIM_TURN,
    SIM_TIMER,
    SIM_BROKER,
    SIM_COMPLETE,
    SIM_TIME,
} sim_action;

typedef struct sim_plan {
    uint64_t seed;
    /* The log. */
    uint32_t partitions;
    uint32_t keys;
    unsigned null_key_percent;
    uint32_t records;
    unsigned hole_percent;
    unsigned value_bytes_max;
    /* The consumer; actor ids are the world's business. */
    wf_work_manager_options manager;
    wf_poller_options poller;
    uint64_t commit_interval_ns;
    uint32_t metadata_max_bytes;
    uint32_t metadata_format;
    uint32_t workers;
    bool batch;
    bool inline_engine;
    /* What handlers do, in percent of the records. */
    unsigned fail_percent;
    unsigned poison_percent;
    unsigned pending_percent;
    uint64_t pending_ns_max;
    unsigned stall_percent; /* of the slices */
    uint64_t stall_ns_max;
    /* What happens outside, in 1 of 1,000 steps where it can happen at all. */
    unsigned rebalance_rate;
    unsigned expel_rate;
    unsigned pause_rate;
    unsigned ask_rate;
    unsigned trouble_rate;
    unsigned fatal_rate;
    unsigned append_rate;
    unsigned retention_rate;
    unsigned throw_back_rate;
    bool cooperative;
    bool other_member; /* takes what is taken from us, and commits */
    unsigned commit_trouble_percent;
    uint32_t broker_metadata_max; /* below metadata_max_bytes: the broker refuses what we send */
    uint64_t broker_ns_max;       /* latency of a request */
    /* Worker processes; the other kinds of workers are out of the question then. */
    bool processes;
    unsigned fall_rate; /* of 1,000 steps of one, it goes wrong in so many */
    unsigned kill_rate; /* from outside, in 1 of 1,000 steps */
    unsigned roll_rate;
    unsigned still_born_percent;
    uint64_t process_deadline_ns; /* 0: none */
    uint64_t process_grace_ns;
    uint64_t heartbeat_ns;
    uint64_t process_work_ns;  /* a record takes less */
    uint32_t attached_max;     /* places for those that somebody else starts */
    bool only_attached;        /* the engine starts none */
    unsigned attach_rate;      /* of 1,000 steps, in so many somebody starts one */
    unsigned leave_rate;       /* of 1,000 steps of one, it wants to leave in so many */
    unsigned stranger_percent; /* so many have another run's token */
    /* How the history goes. */
    uint32_t incarnations;
    uint32_t members; /* of the group at once, 1 or 2 */
    uint32_t chaos_steps_max;
    unsigned weights[SIM_ACTIONS];
} sim_plan;

/* How many the engine starts. */
static inline uint32_t sim_plan_spawned(const sim_plan *plan) {
    return plan->only_attached && plan->attached_max ? 0 : plan->workers;
}

void sim_plan_make(sim_plan *plan, uint64_t seed);

/* The numbers of a plan that can be changed one by one and leave a plan: by hand (--set), or to shrink a history. */
typedef struct sim_plan_field {
    const char *name;
    size_t at;
    size_t bytes;
    uint64_t lowest;
} sim_plan_field;

extern const sim_plan_field sim_plan_fields[];
extern const size_t sim_plan_field_count;

/* NULL: there is none of that name. */
const sim_plan_field *sim_plan_find(const char *name);
uint64_t sim_plan_get(const sim_plan *plan, const sim_plan_field *field);
void sim_plan_set(sim_plan *plan, const sim_plan_field *field, uint64_t value);

#endif
