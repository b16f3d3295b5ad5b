/* SPDX-License-Identifier: Apache-2.0 */
#include "plan.h"

#include <string.h>

#include "check.h"

static const uint64_t ms = 1000000;

static void make_log(sim_plan *plan, sim_chance *chance) {
    plan->partitions = (uint32_t)sim_between(chance, 1, SIM_PARTITIONS_MAX);
    plan->keys = (uint32_t)sim_pick(chance, (const uint64_t[]){1, 2, 5, 20, 200}, 5);
    plan->null_key_percent = (unsigned)sim_pick(chance, (const uint64_t[]){0, 0, 20, 100}, 4);
    plan->records = (uint32_t)sim_between(chance, 20, 400);
    plan->hole_percent = (unsigned)sim_pick(chance, (const uint64_t[]){0, 5, 40}, 3);
    plan->value_bytes_max = (unsigned)sim_pick(chance, (const uint64_t[]){0, 50, 3000}, 3);
}

static void make_manager(sim_plan *plan, sim_chance *chance) {
    wf_work_manager_options *manager = &plan->manager;
    manager->ordering = sim_percent(chance, 70)   ? WF_ORDER_KEY
                        : sim_percent(chance, 50) ? WF_ORDER_PARTITION
                                                  : WF_ORDER_UNORDERED;
    manager->null_key_serial = sim_percent(chance, 50);
    manager->batch = plan->batch;
    manager->virtual_partitions = (uint32_t)sim_between(chance, 1, 32);
    manager->queue_max_records = (uint32_t)sim_pick(chance, (const uint64_t[]){16, 40, 100, 300}, 4);
    manager->in_flight_max_records = (uint32_t)sim_pick(chance, (const uint64_t[]){1, 4, 16, 100}, 4);
    if (manager->in_flight_max_records > manager->queue_max_records)
        manager->in_flight_max_records = manager->queue_max_records;
    manager->in_flight_max_bytes = sim_pick(chance, (const uint64_t[]){65536, 1 << 20}, 2);
    manager->partition_max_records = (uint32_t)sim_pick(chance, (const uint64_t[]){0, 0, 5, 20}, 4);
    manager->pending_max_records = (uint32_t)sim_pick(chance, (const uint64_t[]){1, 3, 20, 100}, 4);
    manager->slice_max_records = (uint32_t)sim_pick(chance, (const uint64_t[]){1, 4, 32, 256}, 4);
    manager->max_attempts = (uint32_t)sim_between(chance, 1, 5);
    manager->retry_backoff_ns = sim_pick(chance, (const uint64_t[]){1, 10, 100}, 3) * ms;
    manager->retry_backoff_max_ns = manager->retry_backoff_ns * sim_between(chance, 1, 20);
    manager->failure_policy = sim_percent(chance, 60) ? WF_FAILURE_SKIP : WF_FAILURE_STOP;
    manager->stuck_policy = sim_percent(chance, 70) ? WF_STUCK_ABANDON : WF_STUCK_STOP;
    manager->handler_deadline_ns =
        sim_percent(chance, 30) ? sim_pick(chance, (const uint64_t[]){5, 100, 2000}, 3) * ms : 0;
    manager->stuck_grace_ns = sim_pick(chance, (const uint64_t[]){0, 50, 5000}, 3) * ms;
    plan->metadata_max_bytes = (uint32_t)sim_pick(chance, (const uint64_t[]){64, 64, 120, 4096}, 4);
}

static void make_poller(sim_plan *plan, sim_chance *chance) {
    plan->poller.queue_max_records = plan->manager.queue_max_records;
    plan->poller.queue_max_bytes = sim_pick(chance, (const uint64_t[]){65536, 1 << 20}, 2);
    plan->poller.in_flight_max_bytes = plan->manager.in_flight_max_bytes;
    plan->poller.drain_timeout_ns = sim_pick(chance, (const uint64_t[]){0, 10, 500, 30000}, 4) * ms;
    plan->poller.fetch_threshold = sim_pick(chance, (const uint64_t[]){10, 100, 100000}, 3);
    plan->commit_interval_ns = sim_pick(chance, (const uint64_t[]){1, 20, 1000}, 3) * ms;
}

static void make_handlers(sim_plan *plan, sim_chance *chance) {
    plan->workers = plan->inline_engine ? 1 : (uint32_t)sim_between(chance, 1, SIM_WORKERS_MAX);
    plan->fail_percent = (unsigned)sim_pick(chance, (const uint64_t[]){0, 5, 40}, 3);
    plan->poison_percent = (unsigned)sim_pick(chance, (const uint64_t[]){0, 0, 3}, 3);
    plan->pending_percent = (unsigned)sim_pick(chance, (const uint64_t[]){0, 10, 60}, 3);
    plan->pending_ns_max = sim_pick(chance, (const uint64_t[]){1, 50, 20000}, 3) * ms;
    plan->stall_percent = (unsigned)sim_pick(chance, (const uint64_t[]){0, 3, 30}, 3);
    plan->stall_ns_max = sim_pick(chance, (const uint64_t[]){1, 200, 60000}, 3) * ms;
}

static void make_faults(sim_plan *plan, sim_chance *chance) {
    static const uint64_t rates[] = {0, 1, 4, 15};
    plan->rebalance_rate = (unsigned)sim_pick(chance, rates, 4);
    plan->expel_rate = (unsigned)sim_pick(chance, rates, 3);
    plan->pause_rate = (unsigned)sim_pick(chance, rates, 4);
    plan->ask_rate = (unsigned)sim_pick(chance, rates, 4);
    plan->trouble_rate = (unsigned)sim_pick(chance, rates, 3);
    plan->fatal_rate = sim_percent(chance, 5) ? 1 : 0;
    plan->append_rate = (unsigned)sim_pick(chance, (const uint64_t[]){0, 10, 50}, 3);
    plan->retention_rate = (unsigned)sim_pick(chance, (const uint64_t[]){0, 0, 2}, 3);
    plan->throw_back_rate = (unsigned)sim_pick(chance, (const uint64_t[]){0, 0, 0, 3}, 4);
    plan->cooperative = sim_percent(chance, 30);
    plan->other_member = sim_percent(chance, 60);
    plan->commit_trouble_percent = (unsigned)sim_pick(chance, (const uint64_t[]){0, 10, 50}, 3);
    plan->broker_metadata_max = sim_percent(chance, 10) ? 30 : 32767;
    plan->broker_ns_max = sim_pick(chance, (const uint64_t[]){1, 20, 3000}, 3) * ms;
}

/* Drawn last, and decided by the seed alone: the other histories are what they were before there were these. */
static void make_processes(sim_plan *plan, sim_chance *chance) {
    plan->processes = plan->seed % 7 == 2 || plan->seed % 7 == 6;
    plan->fall_rate = (unsigned)sim_pick(chance, (const uint64_t[]){0, 5, 30, 150}, 4);
    plan->kill_rate = (unsigned)sim_pick(chance, (const uint64_t[]){0, 1, 10}, 3);
    plan->roll_rate = (unsigned)sim_pick(chance, (const uint64_t[]){0, 1, 3}, 3);
    plan->still_born_percent = (unsigned)sim_pick(chance, (const uint64_t[]){0, 0, 10, 90}, 4);
    plan->process_deadline_ns = sim_pick(chance, (const uint64_t[]){0, 5, 100, 2000}, 4) * ms;
    plan->process_grace_ns = sim_pick(chance, (const uint64_t[]){1, 50, 1000}, 3) * ms;
    plan->heartbeat_ns = sim_pick(chance, (const uint64_t[]){1000, 10000}, 2) * ms;
    plan->process_work_ns = 2 * ms;
}

static void make_attached(sim_plan *plan, sim_chance *chance) {
    plan->attached_max = plan->seed % 7 == 6 ? (uint32_t)sim_pick(chance, (const uint64_t[]){0, 1, 3}, 3) : 0;
    plan->only_attached = plan->attached_max > 0 && sim_percent(chance, 60);
    plan->attach_rate = (unsigned)sim_pick(chance, (const uint64_t[]){5, 50, 200}, 3);
    plan->leave_rate = (unsigned)sim_pick(chance, (const uint64_t[]){0, 2, 20}, 3);
    plan->stranger_percent = (unsigned)sim_pick(chance, (const uint64_t[]){0, 20}, 2);
    if (plan->attached_max == 0) return;
    /* They come late and are few: to go wrong, they need time, or must be quick about it. */
    plan->chaos_steps_max = (uint32_t)sim_pick(chance, (const uint64_t[]){500, 2500}, 2);
    plan->fall_rate = (unsigned)sim_pick(chance, (const uint64_t[]){5, 50, 200}, 3);
    plan->process_deadline_ns = sim_pick(chance, (const uint64_t[]){0, 5, 50}, 3) * ms;
}

/* Slices as long as processes may get need as many records in hand, quick handlers, and time that hardly passes. */
static void make_long_slices(sim_plan *plan, sim_chance *chance) {
    plan->records = (uint32_t)sim_between(chance, 1500, 3000);
    plan->keys = (uint32_t)sim_pick(chance, (const uint64_t[]){20, 200}, 2);
    plan->poller.queue_max_records = plan->manager.queue_max_records = 2500;
    plan->poller.queue_max_bytes = plan->manager.in_flight_max_bytes = plan->poller.in_flight_max_bytes = 16 << 20;
    plan->manager.in_flight_max_records = (uint32_t)sim_pick(chance, (const uint64_t[]){600, 2048}, 2);
    plan->manager.partition_max_records = 0;
    plan->manager.slice_max_records = (uint32_t)sim_pick(chance, (const uint64_t[]){257, 1024}, 2);
    plan->metadata_max_bytes = 4096;
    plan->workers = (uint32_t)sim_between(chance, 1, 2);
    plan->fall_rate = (unsigned)sim_pick(chance, (const uint64_t[]){0, 1, 5}, 3); /* each gives back so many records */
    plan->process_work_ns = 1;
    plan->stall_ns_max = 1000;
    plan->fail_percent = plan->fail_percent ? 1 : 0; /* each ends its lane in the slice */
    plan->weights[SIM_TIME] = 0;
}

void sim_plan_make(sim_plan *plan, uint64_t seed) {
    sim_chance chance = {.state = seed * UINT64_C(0x2545f4914f6cdd1d) + 1};
    *plan = (sim_plan){.seed = seed};
    plan->batch = sim_percent(&chance, 15);
    plan->inline_engine = sim_percent(&chance, 10);
    make_log(plan, &chance);
    make_manager(plan, &chance);
    make_poller(plan, &chance);
    make_handlers(plan, &chance);
    make_faults(plan, &chance);
    plan->incarnations = (uint32_t)sim_between(&chance, 1, SIM_INCARNATIONS_MAX);
    plan->chaos_steps_max = (uint32_t)sim_pick(&chance, (const uint64_t[]){50, 500, 2500}, 3);
    for (int i = 0; i < SIM_ACTIONS; i++)
        plan->weights[i] = (unsigned)sim_pick(&chance, (const uint64_t[]){1, 4, 12}, 3);
    plan->weights[SIM_TIME] = (unsigned)sim_pick(&chance, (const uint64_t[]){0, 1, 4}, 3);
    plan->members = sim_percent(&chance, 35) ? 2 : 1;
    plan->metadata_format = (uint32_t)sim_pick(
        &chance,
        (const uint64_t[]){WF_METADATA_NATIVE, WF_METADATA_NATIVE, WF_METADATA_PYRALLEL, WF_METADATA_CONFLUENT}, 4);
    plan->manager.map_format = (wf_metadata_format)plan->metadata_format;
    make_processes(plan, &chance);
    make_attached(plan, &chance);
    if (seed % 21 == 6) make_long_slices(plan, &chance);
    wf_work_set_map_limit(&plan->manager, plan->metadata_max_bytes);
}

/* Those first that make most of a history: what they take away, the others need not be tried on. */
const sim_plan_field sim_plan_fields[] = {
#define X(name, lowest) {#name, offsetof(sim_plan, name), sizeof((sim_plan){0}.name), lowest},
    X(incarnations, 1) X(members, 1) X(chaos_steps_max, 1) X(records, 1) X(partitions, 1) X(workers, 1) X(keys, 1)
        X(append_rate, 0) X(rebalance_rate, 0) X(expel_rate, 0) X(pause_rate, 0) X(ask_rate, 0) X(trouble_rate, 0)
            X(fatal_rate, 0) X(retention_rate, 0) X(throw_back_rate, 0) X(other_member, 0) X(cooperative, 0)
                X(commit_trouble_percent, 0) X(null_key_percent, 0) X(hole_percent, 0) X(value_bytes_max, 0)
                    X(fail_percent, 0) X(poison_percent, 0) X(pending_percent, 0) X(stall_percent, 0)
                        X(pending_ns_max, 1) X(stall_ns_max, 1) X(broker_ns_max, 1) X(manager.handler_deadline_ns, 0)
                            X(manager.max_attempts, 1) X(manager.slice_max_records, 1)
                                X(manager.in_flight_max_records, 1) X(processes, 0) X(fall_rate, 0) X(kill_rate, 0)
                                    X(roll_rate, 0) X(still_born_percent, 0) X(process_deadline_ns, 0)
                                        X(attached_max, 0) X(only_attached, 0) X(attach_rate, 0) X(leave_rate, 0)
                                            X(stranger_percent, 0)
#undef X
};

const size_t sim_plan_field_count = sizeof sim_plan_fields / sizeof sim_plan_fields[0];

const sim_plan_field *sim_plan_find(const char *name) {
    for (size_t i = 0; i < sim_plan_field_count; i++)
        if (strcmp(sim_plan_fields[i].name, name) == 0) return &sim_plan_fields[i];
    return NULL;
}

uint64_t sim_plan_get(const sim_plan *plan, const sim_plan_field *field) {
    const unsigned char *at = (const unsigned char *)plan + field->at;
    uint64_t wide = 0;
    uint32_t narrow = 0;
    switch (field->bytes) {
    case 1:
        return *at;
    case sizeof narrow:
        memcpy(&narrow, at, sizeof narrow);
        return narrow;
    default:
        memcpy(&wide, at, sizeof wide);
        return wide;
    }
}

void sim_plan_set(sim_plan *plan, const sim_plan_field *field, uint64_t value) {
    unsigned char *at = (unsigned char *)plan + field->at;
    uint32_t narrow = (uint32_t)value;
    WF_CHECK(value >= field->lowest);
    if (field->bytes == 1)
        *at = value != 0;
    else if (field->bytes == sizeof narrow)
        memcpy(at, &narrow, sizeof narrow);
    else
        memcpy(at, &value, sizeof value);
}
