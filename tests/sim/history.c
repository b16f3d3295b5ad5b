/* SPDX-License-Identifier: Apache-2.0 */
#include "history.h"

#include <stdlib.h>

#include "check.h"
#include "world.h"

static const uint64_t ms = 1000000;
static const uint64_t second_ns = 1000000000;

static bool happens(sim_world *world, unsigned rate) {
    return rate && sim_below(world->chance, 1000) < rate;
}

static void pause(sim_world *world, bool pause_it) {
    wf_pause message = {.partition = -1, .pause = pause_it};
    if (pause_it && sim_percent(world->chance, 50)) message.partition = (int32_t)sim_below(world->chance, 2);
    sim_trace("program: %s partition %d", pause_it ? "pauses" : "resumes", message.partition);
    sim_world_send(world, SIM_PROGRAM, SIM_MANAGER, WF_MSG_PAUSE, &message, sizeof message);
}

static void maybe_fault(sim_world *world) {
    const sim_plan *plan = world->plan;
    sim_broker *broker = world->broker;
    if (happens(world, plan->append_rate)) sim_broker_append(broker, (uint32_t)sim_between(world->chance, 1, 20));
    if (happens(world, plan->rebalance_rate)) sim_broker_rebalance(broker);
    if (happens(world, plan->expel_rate)) sim_broker_expel(broker);
    if (happens(world, plan->trouble_rate)) sim_broker_trouble(broker, WF_KAFKA_RETRY);
    if (happens(world, plan->fatal_rate)) sim_broker_trouble(broker, WF_KAFKA_FATAL);
    if (happens(world, plan->retention_rate)) sim_broker_retain(broker);
    if (happens(world, plan->throw_back_rate)) sim_broker_throw_back(broker);
    if (happens(world, plan->pause_rate)) pause(world, sim_percent(world->chance, 50));
    if (happens(world, plan->ask_rate)) sim_audit_gauges(world);
    if (happens(world, 2)) sim_script_complete_stale(world->script);
    if (!world->processes) return;
    if (happens(world, plan->kill_rate)) sim_processes_kill_one(world->processes);
    if (happens(world, plan->attached_max ? plan->attach_rate : 0)) sim_processes_attach(world->processes);
    if (happens(world, plan->roll_rate))
        sim_world_send(world, SIM_PROGRAM, SIM_ENGINE, WF_MSG_ROLL, &(wf_roll){0}, sizeof(wf_roll));
}

/* Only what the seed meant to happen may end a consumer. */
static void judge_failure(const sim_world *world) {
    const wf_work_manager_options *manager = &world->plan->manager;
    switch (world->failure) {
    case WEFT_OK:
        return;
    case WEFT_EHANDLER:
        SIM_CHECK(manager->failure_policy == WF_FAILURE_STOP,
                  "the consumer stops because of a record, against failure.policy");
        return;
    case WEFT_ESTUCK:
        SIM_CHECK(manager->handler_deadline_ns > 0, "the consumer stops because of a deadline that there is not");
        return;
    case WEFT_EKAFKA:
        SIM_CHECK(world->plan->fatal_rate > 0, "the consumer stops because of Kafka, which did nothing");
        return;
    case WEFT_ENOMEM:
    case WEFT_EINVAL:
    case WEFT_ECONFIG:
    case WEFT_ERANGE:
    case WEFT_ESTATE:
    case WEFT_ESTALE:
    case WEFT_EAGAIN:
    case WEFT_ECORRUPT:
    case WEFT_ELIMIT:
    case WEFT_EABANDONED:
    case WEFT_ESYSTEM:
    case WEFT_ETIMEOUT:
    case WEFT_EUNCOMMITTED:
    default:
        sim_fail("the consumer stops: %s", weft_status_text(world->failure));
    }
}

/* --- the other member: the same consumer once more, on a broker that shows it the same logs */

static void start_peer(sim_world *world) {
    sim_world *peer = calloc(1, sizeof *peer);
    sim_truth *truth = calloc(1, sizeof *truth);
    sim_script *script = calloc(1, sizeof *script);
    sim_broker *broker = calloc(1, sizeof *broker);
    WF_CHECK(peer && truth && script && broker);
    sim_broker_join(broker, world->broker);
    sim_truth_init(truth, broker, world->plan);
    *script = *world->script;
    script->truth = truth;
    script->broker = broker;
    *peer = (sim_world){.peer = world,
                        .plan = world->plan,
                        .chance = world->chance,
                        .broker = broker,
                        .truth = truth,
                        .script = script,
                        .step = world->step,
                        .steps_max = world->steps_max};
    sim_world_enter(peer);
    sim_world_start(peer);
    sim_world_enter(world);
    world->peer = peer;
}

/* It dies, or has been stopped. */
static void end_peer(sim_world *world) {
    sim_world *peer = world->peer;
    sim_trace("the other member is gone");
    judge_failure(peer);
    sim_world_enter(peer);
    sim_world_end(peer);
    sim_world_enter(world);
    sim_broker_part(peer->broker);
    sim_truth_deinit(peer->truth);
    world->truth->handled += peer->truth->handled;
    world->peer = NULL;
    free(peer->broker);
    free(peer->script);
    free(peer->truth);
    free(peer);
}

static void chaos(sim_world *world) {
    uint64_t steps = sim_between(world->chance, 1, world->plan->chaos_steps_max);
    while (steps-- > 0 && world->failure == WEFT_OK) {
        maybe_fault(world);
        if (world->peer) {
            sim_world_enter(world->peer);
            maybe_fault(world->peer);
            sim_world_enter(world);
        }
        sim_world_step(world);
        if (world->peer && (world->peer->failure != WEFT_OK || happens(world, 1))) end_peer(world);
    }
}

static void must_be_drained_by(sim_world *world, uint32_t id, uint64_t until_ns) {
    while (!world->actors[id].is_drained) {
        SIM_CHECK(world->now_ns <= until_ns, "%s is not drained, %.1f ms past its time",
                  world->actors[id].actor.class->name, (double)(world->now_ns - until_ns) / 1e6);
        sim_world_step(world);
    }
}

static uint32_t count_out(const sim_world *world) {
    const wf_work_manager_state *manager = sim_manager(world);
    return manager->lent_records + manager->parked_records;
}

/* What the last commit and leaving may take: as long as the poller waits at most, or very short with a quick broker. */
static uint64_t leaving_ns(const sim_plan *plan) {
    bool quick = plan->broker_ns_max <= 20 * ms && plan->commit_trouble_percent == 0;
    /* Who must be killed is told to cancel before, and what it has said is read to its end. */
    return (quick ? second_ns : 7 * second_ns) + (plan->processes ? 2 * second_ns : 0);
}

/* In the order of weft_consumer_stop(). */
static void stop(sim_world *world, uint64_t patience_ns) {
    static const uint32_t order[] = {SIM_POLLER, SIM_MANAGER, SIM_ENGINE, SIM_TRACKER, SIM_ENCODER, SIM_EXPORTER};
    world->stopping = true;
    if (world->processes) world->actors[SIM_ENGINE].asleep_until_ns = 0;
    uint64_t deadline_ns = world->now_ns + patience_ns;
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) {
        uint32_t out = count_out(world);
        if (order[i] == SIM_ENGINE && !world->processes) continue;
        sim_world_stop_actor(world, order[i], deadline_ns);
        uint64_t until_ns =
            (i == 0 && deadline_ns > world->now_ns ? deadline_ns : world->now_ns) + leaving_ns(world->plan);
        if (order[i] == SIM_ENGINE) until_ns += 2 * second_ns; /* for those that don't end when they are told to */
        must_be_drained_by(world, order[i], until_ns);
        if (order[i] != SIM_MANAGER) continue;
        /* Everything that is out now was said to be abandoned, and nothing else. */
        sim_world_settle(world);
        SIM_CHECK(world->abandoned == out || (world->processes && world->abandoned > out),
                  "%u records were out at the end, %u are said to be abandoned", out, world->abandoned);
    }
}

/* The promises that are open and the workers that sleep come to their end; then nothing may be owed. */
static void run_out(sim_world *world) {
    for (uint32_t id = SIM_FIRST_WORKER; id < SIM_IDS; id++) world->actors[id].asleep_until_ns = 0;
    uint64_t patience = 100000;
    while ((world->truth->flight_count || world->mail_count) && patience-- > 0) sim_world_step(world);
    sim_world_settle(world);
}

static void calm_down(sim_world *world) {
    sim_trace("the calm begins");
    world->calm = world->broker->calm = true;
    if (world->processes) sim_processes_calm_down(world->processes);
    for (uint32_t id = SIM_FIRST_WORKER; id < SIM_IDS; id++) world->actors[id].asleep_until_ns = 0;
    pause(world, false);
}

/* Everything is committed, and nothing runs once more: after a log began anew, or as a flight of an old epoch, which a
 * stop would rightly call abandoned. */
static bool is_finished(const sim_world *world) {
    const wf_work_manager_state *manager = sim_manager(world);
    if (!sim_broker_is_finished(world->broker) || world->truth->flight_count || world->mail_count) return false;
    for (uint32_t i = 0; i < world->plan->partitions; i++) {
        const sim_log *log = &world->broker->logs[i];
        if (!sim_broker_is_theirs(world->broker, log) && log->position < log->end) return false;
    }
    for (uint32_t i = 0; i < manager->slot_count; i++)
        if (manager->slots[i].head) return false;
    return !sim_broker_has_records(world->broker);
}

static bool both_are_finished(sim_world *world) {
    if (!is_finished(world)) return false;
    if (!world->peer) return true;
    sim_world_enter(world->peer);
    return is_finished(world->peer);
}

static void step_to_the_end(sim_world *world) {
    SIM_CHECK(world->failure == WEFT_OK, "the consumer stops in the calm: %s", weft_status_text(world->failure));
    sim_world_step(world);
    /* Whoever was in the middle of something when the calm began gets everything now. */
    if (*world->step % 64 == 0) sim_broker_complete(world->broker);
    if (*world->step % 256 == 0) sim_audit_gauges(world);
    if (*world->step % 64 != 0 || !world->processes) return;
    sim_processes_attach(world->processes);
    if (world->peer) sim_processes_attach(world->peer->processes);
}

static void stop_in_the_calm(sim_world *world) {
    stop(world, 60 * second_ns);
    run_out(world);
    sim_audit_drained(world);
    SIM_CHECK(world->abandoned == 0, "%u records were abandoned in the calm", world->abandoned);
}

static void calm_peer_down(sim_world *world) {
    sim_world_enter(world->peer);
    calm_down(world->peer);
    sim_broker_rebalance(world->peer->broker);
    sim_world_enter(world);
}

static void finish(sim_world *world) {
    calm_down(world);
    while (world->broker->produced < world->plan->records) sim_broker_append(world->broker, 100);
    if (world->peer) calm_peer_down(world);
    sim_broker_rebalance(world->broker);
    while (!both_are_finished(world)) step_to_the_end(world);
    stop_in_the_calm(world);
    if (!world->peer) return;
    world->peer->peer = NULL;
    sim_world_enter(world->peer);
    stop_in_the_calm(world->peer);
    sim_world_enter(world);
    end_peer(world);
}

/* Stopped in order, with time and without trouble: all that the work manager called completed is in the last commits.
 */
static void stop_in_order(sim_world *world) {
    sim_broker *broker = world->broker;
    const sim_plan *plan = world->plan;
    calm_down(world);
    while (broker->travelling || broker->expelled) sim_world_step(world);
    for (uint64_t steps = sim_below(world->chance, 300); steps > 0 && world->failure == WEFT_OK; steps--)
        sim_world_step(world);
    sim_seen(SIM_SEEN_STOP_IN_ORDER);
    if (world->peer) end_peer(world); /* what it does to the last commits is not this one's business */
    bool counts[SIM_PARTITIONS_MAX];
    for (uint32_t i = 0; i < plan->partitions; i++)
        counts[i] = world->truth->epochs[i].live && broker->logs[i].ours && !broker->logs[i].thrown_back;
    stop(world, 60 * second_ns);
    bool maps_fit = plan->broker_metadata_max >= plan->metadata_max_bytes;
    for (uint32_t i = 0; i < plan->partitions && maps_fit; i++) {
        const sim_log *log = &broker->logs[i];
        for (int64_t at = log->start; at < log->end && counts[i]; at++)
            SIM_CHECK(!log->mine[at].done || sim_broker_calls_complete(log, at),
                      "%s/%d %lld was completed, and the last commit at %lld says nothing of it", log->topic,
                      log->partition, (long long)at, (long long)log->committed);
    }
    broker->calm = false;
}

static void end_somehow(sim_world *world) {
    static const uint64_t patience_ms[] = {0, 10, 5000, 100000};
    if (world->failure == WEFT_OK && sim_percent(world->chance, 30)) {
        sim_trace("the process dies");
        sim_seen(SIM_SEEN_DIED);
        return;
    }
    if (world->failure == WEFT_OK && sim_percent(world->chance, 40))
        stop_in_order(world);
    else
        stop(world, sim_pick(world->chance, patience_ms, 4) * ms);
    if (sim_percent(world->chance, 50)) return;
    run_out(world);
    bool left = world->broker->group == SIM_GROUP_CLOSED; /* if not, it gave up on the broker */
    if (world->truth->flight_count == 0 && left) sim_audit_drained(world);
}

static void run_incarnation(const sim_plan *plan, sim_chance *chance, sim_broker *broker, bool last, uint64_t steps_max,
                            sim_history *history) {
    sim_world *world = calloc(1, sizeof *world);
    sim_truth *truth = calloc(1, sizeof *truth);
    sim_script *script = calloc(1, sizeof *script);
    WF_CHECK(world && truth && script);
    sim_plan mine = *plan;
    bool skips = plan->manager.failure_policy == WF_FAILURE_SKIP;
    if (mine.processes) {
        mine.batch = mine.manager.batch = mine.inline_engine = false;
        mine.manager.handler_deadline_ns = 0;
    }
    if (last) { /* nothing may end the last one */
        mine.process_deadline_ns = 0;
        mine.manager.handler_deadline_ns = 0;
        mine.fatal_rate = 0;
    }
    broker->plan = &mine;
    sim_truth_init(truth, broker, &mine);
    *script =
        (sim_script){.truth = truth, .broker = broker, .plan = &mine, .chance = chance, .poisoned = skips || !last};
    *world = (sim_world){.plan = &mine,
                         .chance = chance,
                         .broker = broker,
                         .truth = truth,
                         .script = script,
                         .now_ns = broker->now_ns,
                         .step = &history->steps,
                         .steps_max = steps_max};
    sim_world_start(world);
    if (plan->members > 1) start_peer(world);
    chaos(world);
    if (last)
        finish(world);
    else
        end_somehow(world);
    judge_failure(world);
    if (world->peer) end_peer(world);
    if (world->failure != WEFT_OK) sim_seen(SIM_SEEN_FAILED);
    if (world->abandoned) sim_seen(SIM_SEEN_STOP_ABANDONED);
    sim_world_end(world);
    history->handled += truth->handled;
    sim_truth_deinit(truth);
    broker->plan = plan;
    free(script);
    free(truth);
    free(world);
}

void sim_history_run(const sim_plan *plan, uint64_t seed, uint64_t steps_max, sim_history *history) {
    sim_chance chance = {.state = seed};
    sim_broker broker;
    sim_broker_init(&broker, plan, &chance);
    broker.now_ns = second_ns;
    sim_broker_append(&broker, (uint32_t)sim_between(&chance, 1, plan->records));
    for (uint32_t i = 1; i <= plan->incarnations; i++) {
        sim_trace("incarnation %u of %u", i, plan->incarnations);
        run_incarnation(plan, &chance, &broker, i == plan->incarnations, steps_max, history);
    }
    history->virtual_ns = broker.now_ns;
    sim_broker_deinit(&broker);
}
