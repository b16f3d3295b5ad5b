/* SPDX-License-Identifier: Apache-2.0
 *
 * Ten thousand rebalances of one consumer (a tenth under sanitizers), lost memberships among them: what it holds
 * afterwards is what it held after the first half. Series, slots, lanes and pools are looked at, and the heap
 * of the process where the allocator counts it.
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "run.h"
#include "world.h"

enum { STEPS_PER_REBALANCE_MAX = 20000, HEAP_SLACK_BYTES = 65536 };

typedef struct sizes {
    uint32_t poller_slots;
    uint32_t manager_slots;
    uint32_t lane_slots;
    uint32_t lane_table;
    uint64_t pool_bytes;
    size_t heap_bytes;
} sizes;

static sizes measure(const sim_world *world) {
    const wf_work_manager_state *manager = sim_manager(world);
    return (sizes){.poller_slots = sim_poller(world)->slot_count,
                   .manager_slots = manager->slot_count,
                   .lane_slots = manager->lanes.slot_count,
                   .lane_table = manager->lanes.table_mask + 1,
                   .pool_bytes = wf_record_pool_reserved_bytes(&sim_poller(world)->pool),
                   .heap_bytes = mallinfo2().uordblks};
}

static void show(const sizes *now, uint32_t rebalances, const sim_world *world) {
    printf("%6u rebalances, %llu steps: slots %u %u %u, lane table %u, pool %llu bytes, heap %zu bytes\n", rebalances,
           (unsigned long long)*world->step, now->poller_slots, now->manager_slots, now->lane_slots, now->lane_table,
           (unsigned long long)now->pool_bytes, now->heap_bytes);
}

static void compare(const sizes *early, const sizes *late) {
    SIM_CHECK(late->poller_slots == early->poller_slots && late->manager_slots == early->manager_slots &&
                  late->lane_slots == early->lane_slots && late->lane_table == early->lane_table,
              "tables have grown");
    /* Chunks are kept for their next use, and their high-water mark rises by one now and then. */
    SIM_CHECK(late->pool_bytes <= early->pool_bytes + 2 * WF_RECORD_POOL_CHUNK_BYTES,
              "the pool has grown from %llu to %llu bytes", (unsigned long long)early->pool_bytes,
              (unsigned long long)late->pool_bytes);
    SIM_CHECK(late->heap_bytes < early->heap_bytes + HEAP_SLACK_BYTES, "the heap has grown from %zu to %zu bytes",
              early->heap_bytes, late->heap_bytes);
}

/* One more assignment, after a revocation or after the membership was lost. */
static void rebalance(sim_world *world, uint32_t number) {
    sim_broker *broker = world->broker;
    uint32_t generation = broker->generation;
    sim_broker_append(broker, number % 3 == 0);
    if (number % 10 == 0) sim_broker_expel(broker);
    for (uint32_t steps = 0; broker->generation == generation; steps++) {
        SIM_CHECK(steps < STEPS_PER_REBALANCE_MAX && world->failure == WEFT_OK, "rebalance %u does not come", number);
        sim_broker_rebalance(broker);
        sim_world_step(world);
    }
    for (uint64_t steps = sim_below(world->chance, 60); steps > 0; steps--) sim_world_step(world);
}

static void make_plan(sim_plan *plan) {
    sim_plan_make(plan, 1);
    plan->partitions = SIM_PARTITIONS_MAX;
    plan->records = 6000;
    plan->keys = 200;
    plan->null_key_percent = 5;
    plan->hole_percent = 5;
    plan->manager.ordering = WF_ORDER_KEY;
    plan->manager.handler_deadline_ns = 0;
    plan->manager.failure_policy = WF_FAILURE_SKIP;
    plan->fail_percent = plan->pending_percent = plan->commit_trouble_percent = 10;
    plan->other_member = true;
    plan->cooperative = false;
    plan->inline_engine = plan->batch = false;
    plan->workers = 2;
}

static void soak(uint32_t rebalances) {
    static sim_plan plan;
    static sim_truth truth;
    static sim_script script;
    static sim_world world;
    static sim_broker broker;
    static sizes early, late;
    sim_chance chance = {.state = 1};
    make_plan(&plan);
    sim_broker_init(&broker, &plan, &chance);
    sim_truth_init(&truth, &broker, &plan);
    script = (sim_script){.truth = &truth, .broker = &broker, .plan = &plan, .chance = &chance};
    world = (sim_world){.plan = &plan, .chance = &chance, .broker = &broker, .truth = &truth, .script = &script};
    world.step = &sim_runner_now.history.steps;
    world.steps_max = UINT64_MAX;
    sim_world_start(&world);
    for (uint32_t number = 1; number <= rebalances; number++) {
        rebalance(&world, number);
        if (number % (rebalances / 10) != 0) continue;
        sim_audit_gauges(&world); /* also: a series per partition that is assigned, and none beside */
        late = measure(&world);
        if (number == rebalances / 2) early = late;
        show(&late, number, &world);
    }
    compare(&early, &late);
    sim_world_end(&world);
    sim_truth_deinit(&truth);
    sim_broker_deinit(&broker);
}

int main(int count, char **arguments) {
    const char *build = getenv("WEFT_TEST_BUILD");
    bool quick = build && (strcmp(build, "asan") == 0 || strcmp(build, "tsan") == 0);
    (void)count;
    sim_run_init(arguments[0]);
    soak(quick ? 1000 : 10000);
    printf("1 passed, 0 failed\n");
    return 0;
}
