/* SPDX-License-Identifier: Apache-2.0 */
#include "world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "engine.h"
#include "exporter.h"
#include "metadata_encoder.h"
#include "offset_tracker.h"
#include "pool.h"

enum { OBSERVER_CREDIT = 20 };

static const uint64_t ms = 1000000;

static sim_hosted *hosted(const weft_env *env) {
    return (sim_hosted *)(uintptr_t)env;
}

static const char *name_of(const sim_world *world, uint32_t id) {
    if (id == SIM_PROGRAM) return "program";
    return world->actors[id].exists ? world->actors[id].actor.class->name : "nobody";
}

/* --- env */

static uint64_t env_now_ns(const weft_env *env) {
    return hosted(env)->world->now_ns;
}

static int64_t env_wall_ms(const weft_env *env) {
    return (int64_t)(1700000000000 + hosted(env)->world->now_ns / ms);
}

static uint64_t env_random(weft_env *env) {
    return wf_random_next(&hosted(env)->actor.random);
}

static void env_send(weft_env *env, weft_actor_id to, uint32_t type, const void *body, size_t bytes) {
    sim_world *world = hosted(env)->world;
    sim_truth_sent(world->truth, type, body, bytes);
    if (type == WF_MSG_DRAINED && env->self == SIM_MANAGER && world->processes)
        sim_processes_check_released(world->processes, body);
    sim_world_send(world, env->self, to, type, body, bytes);
}

static void env_arm(weft_env *env, unsigned timer, uint64_t at_ns) {
    hosted(env)->actor.timers[timer] = at_ns ? at_ns : 1;
}

static void env_disarm(weft_env *env, unsigned timer) {
    hosted(env)->actor.timers[timer] = 0;
}

static void env_watch(weft_env *env, unsigned watch, int fd) {
    hosted(env)->watched[watch] = fd;
}

static void env_fail(weft_env *env, weft_status status, const char *text) {
    sim_world *world = hosted(env)->world;
    sim_trace("%s fails: %s", hosted(env)->actor.class->name, text);
    if (world->failure == WEFT_OK) world->failure = status;
}

static void env_log(weft_env *env, weft_log_level level, const char *text) {
    if (level < WEFT_LOG_DEBUG) sim_trace("%s: log: %s", hosted(env)->actor.class->name, text);
}

static const wf_env_ops sim_env = {
    .now_ns = env_now_ns,
    .wall_ms = env_wall_ms,
    .random = env_random,
    .send = env_send,
    .arm = env_arm,
    .disarm = env_disarm,
    .watch = env_watch,
    .fail = env_fail,
    .log = env_log,
};

/* --- an actor of the program's, subscribed to everything */

static void on_observed(void *state, weft_env *env, const weft_message *message) {
    (void)state;
    sim_world *world = hosted(env)->world;
    weft_event_credit credit = {.events = 1};
    if (message->type == WF_MSG_EVENT_COMPLETIONS) {
        credit.events = (uint32_t)(message->body_bytes / sizeof(weft_event_completion));
        const weft_event_completion *completions = message->body;
        for (uint32_t i = 0; i < credit.events; i++)
            SIM_CHECK(sim_broker_log(world->broker, completions[i].topic, completions[i].partition)
                          ->entries[completions[i].offset]
                          .finished,
                      "an event names a record that is not finished");
    }
    world->events_seen += credit.events;
    weft_env_send(env, SIM_EXPORTER, WF_MSG_EVENT_CREDIT, &credit, sizeof credit);
}

static const weft_actor_class observer = {
    .name = "observer",
    .on = {[WF_MSG_EVENT_COMPLETIONS] = on_observed, [WF_MSG_EVENT_SNAPSHOT] = on_observed},
};

/* --- mail */

void sim_world_send(sim_world *world, uint32_t from, uint32_t to, uint32_t type, const void *body, size_t bytes) {
    SIM_CHECK(to > 0 && to < SIM_IDS && (to == SIM_PROGRAM || world->actors[to].exists),
              "a message to actor %u, who is nobody", to);
    const wf_message_info *info = wf_message_find(type);
    SIM_CHECK(info && (info->many ? bytes % info->body_bytes == 0 && bytes > 0 : bytes == info->body_bytes),
              "%s with %zu bytes", wf_message_name(type), bytes);
    sim_mail *mail = malloc(sizeof *mail + bytes);
    WF_CHECK(mail != NULL);
    *mail = (sim_mail){.type = type, .bytes = (uint32_t)bytes};
    memcpy(mail->body, body, bytes);
    sim_line *line = &world->lines[from][to];
    if (!line->head) line->tail = &line->head;
    *line->tail = mail;
    line->tail = &mail->next;
    world->mail_count++;
}

static sim_mail *take_mail(sim_world *world, uint32_t from, uint32_t to) {
    sim_line *line = &world->lines[from][to];
    sim_mail *mail = line->head;
    line->head = mail->next;
    world->mail_count--;
    return mail;
}

static void to_program(sim_world *world, const sim_mail *mail) {
    if (mail->type == WF_MSG_REPORT) {
        free(world->report);
        world->report = ((const wf_report *)mail->body)->metrics;
    } else if (mail->type == WF_MSG_ABANDONED) {
        world->abandoned += (uint32_t)(mail->bytes / sizeof(wf_abandoned));
        world->abandoned_came = true;
    } else {
        sim_fail("the program gets %s", wf_message_name(mail->type));
    }
}

static void deliver(sim_world *world, uint32_t from, uint32_t to) {
    sim_mail *mail = take_mail(world, from, to);
    sim_trace("%s -> %s: %s", name_of(world, from), name_of(world, to), wf_message_name(mail->type));
    sim_truth_arrives(world->truth, mail->type, mail->body, mail->bytes);
    if (to == SIM_PROGRAM) {
        to_program(world, mail);
    } else {
        weft_message message = {.type = mail->type, .from = from, .body = mail->body, .body_bytes = mail->bytes};
        wf_actor_deliver(&world->actors[to].actor, &message);
    }
    free(mail);
}

/* --- what could happen now */

static bool is_awake(const sim_world *world, uint32_t id) {
    return id == SIM_PROGRAM || world->actors[id].asleep_until_ns <= world->now_ns;
}

static unsigned count_lines(const sim_world *world) {
    unsigned count = 0;
    for (uint32_t to = 1; to < SIM_IDS && world->mail_count; to++)
        for (uint32_t from = 1; from < SIM_IDS && is_awake(world, to); from++)
            count += world->lines[from][to].head != NULL;
    return count;
}

static void deliver_one(sim_world *world, unsigned count) {
    unsigned chosen = (unsigned)sim_below(world->chance, count);
    for (uint32_t to = 1; to < SIM_IDS; to++)
        for (uint32_t from = 1; from < SIM_IDS && is_awake(world, to); from++)
            if (world->lines[from][to].head && chosen-- == 0) {
                deliver(world, from, to);
                return;
            }
}

static bool has_turn(const sim_world *world, uint32_t id) {
    const sim_hosted *host = &world->actors[id];
    return host->exists && host->actor.touched && is_awake(world, id);
}

static bool has_timer(const sim_world *world, uint32_t id) {
    const sim_hosted *host = &world->actors[id];
    return host->exists && wf_actor_next_ns(&host->actor) <= world->now_ns && is_awake(world, id);
}

static unsigned count_hosts(const sim_world *world, bool (*has)(const sim_world *, uint32_t)) {
    unsigned count = 0;
    for (uint32_t id = SIM_POLLER; id < SIM_IDS; id++) count += has(world, id);
    return count;
}

static sim_hosted *choose_host(sim_world *world, unsigned count, bool (*has)(const sim_world *, uint32_t)) {
    unsigned chosen = (unsigned)sim_below(world->chance, count);
    for (uint32_t id = SIM_POLLER; id < SIM_IDS; id++)
        if (has(world, id) && chosen-- == 0) return &world->actors[id];
    WF_UNREACHABLE("an actor was counted and is not there");
}

static void give_turn(sim_hosted *host) {
    sim_trace("turn: %s", host->actor.class->name);
    wf_actor_turn(&host->actor);
    if (wf_actor_check_drained(&host->actor)) host->is_drained = true;
}

/* Descriptors that are readable touch those who watch them; like the loop, which reads them empty. */
static void ring(sim_world *world) {
    bool *events = &world->broker->events_ring, *records = &world->broker->records_ring,
         *done = &world->script->completed, nothing = false,
         *news = world->processes ? &world->processes->news : &nothing;
    if (!*events && !*records && !*done && !*news) return;
    for (uint32_t id = SIM_POLLER; id < SIM_IDS; id++)
        for (int i = 0; i < WEFT_WATCH_MAX; i++) {
            int fd = world->actors[id].watched[i];
            bool rings = (fd == SIM_EVENTS_FD && *events) || (fd == SIM_RECORDS_FD && *records) ||
                         (world->pending && fd == wf_pending_fd(world->pending) && *done) ||
                         (id == SIM_ENGINE && fd >= 0 && *news);
            if (world->actors[id].exists && rings) world->actors[id].actor.touched = true;
        }
    *events = *records = *done = *news = false;
}

static uint64_t next_ns(const sim_world *world) {
    uint64_t next = sim_broker_next_ns(world->broker);
    uint64_t token_ns = sim_script_next_ns(world->script);
    if (token_ns < next) next = token_ns;
    uint64_t process_ns = world->processes ? sim_processes_next_ns(world->processes) : UINT64_MAX;
    if (process_ns < next) next = process_ns;
    for (uint32_t id = SIM_POLLER; id < SIM_IDS; id++) {
        const sim_hosted *host = &world->actors[id];
        if (!host->exists) continue;
        uint64_t timer_ns = wf_actor_next_ns(&host->actor);
        if (timer_ns < host->asleep_until_ns) timer_ns = host->asleep_until_ns;
        if (host->asleep_until_ns > world->now_ns && host->asleep_until_ns < timer_ns) timer_ns = host->asleep_until_ns;
        if (timer_ns < next) next = timer_ns;
    }
    return next;
}

static void pass_time(sim_world *world, uint64_t until_ns) {
    world->now_ns = world->broker->now_ns = until_ns;
}

static unsigned measure(const sim_world *world, unsigned counts[SIM_ACTIONS]);

/* When the peer has something to do next; 0: now. */
static uint64_t peer_next_ns(const sim_world *world) {
    unsigned counts[SIM_ACTIONS];
    sim_world *peer = world->peer;
    sim_world_enter(peer);
    ring(peer);
    if (measure(peer, counts) > 0) return 0;
    sim_audit_idle(peer);
    return next_ns(peer);
}

static void jump(sim_world *world) {
    sim_audit_idle(world);
    uint64_t next = next_ns(world);
    uint64_t theirs = world->peer ? peer_next_ns(world) : UINT64_MAX;
    if (theirs == 0) return;
    if (theirs < next) next = theirs;
    SIM_CHECK(next != UINT64_MAX, "nothing will ever happen again");
    sim_trace("time: jumps %.3f ms", next > world->now_ns ? (double)(next - world->now_ns) / 1e6 : 0.0);
    if (next > world->now_ns) pass_time(world, next);
}

/* --- steps */

static void maybe_stall(sim_world *world) {
    if (world->calm || !sim_percent(world->chance, world->plan->stall_percent) || !sim_percent(world->chance, 20))
        return;
    if (world->processes && world->stopping) return; /* it must be in time then */
    sim_hosted *host = &world->actors[SIM_FIRST_WORKER + sim_below(world->chance, world->plan->workers)];
    host->asleep_until_ns = world->now_ns + sim_below(world->chance, world->plan->stall_ns_max);
}

static unsigned measure(const sim_world *world, unsigned counts[SIM_ACTIONS]) {
    counts[SIM_DELIVER] = count_lines(world);
    counts[SIM_TURN] = count_hosts(world, has_turn);
    counts[SIM_TIMER] = count_hosts(world, has_timer);
    counts[SIM_BROKER] = sim_broker_next_ns(world->broker) <= world->now_ns;
    counts[SIM_COMPLETE] = world->processes ? sim_processes_next_ns(world->processes) <= world->now_ns
                                            : sim_script_next_ns(world->script) <= world->now_ns;
    counts[SIM_TIME] = 1;
    unsigned sum = 0;
    for (int i = 0; i < SIM_TIME; i++) sum += counts[i];
    return sum;
}

static sim_action choose(sim_world *world, const unsigned counts[SIM_ACTIONS]) {
    unsigned sum = 0;
    for (int i = 0; i < SIM_ACTIONS; i++) sum += counts[i] * world->plan->weights[i];
    unsigned chosen = (unsigned)sim_below(world->chance, sum);
    for (int i = 0; i < SIM_ACTIONS; i++) {
        unsigned weight = counts[i] * world->plan->weights[i];
        if (chosen < weight) return (sim_action)i;
        chosen -= weight;
    }
    WF_UNREACHABLE("an action was counted and is not there");
}

static void act(sim_world *world, sim_action action, const unsigned counts[SIM_ACTIONS]) {
    switch (action) {
    case SIM_DELIVER:
        deliver_one(world, counts[SIM_DELIVER]);
        break;
    case SIM_TURN:
        give_turn(choose_host(world, counts[SIM_TURN], has_turn));
        break;
    case SIM_TIMER:
        wf_actor_fire(&choose_host(world, counts[SIM_TIMER], has_timer)->actor, world->now_ns);
        break;
    case SIM_BROKER:
        sim_broker_advance(world->broker);
        break;
    case SIM_COMPLETE:
        if (world->processes)
            sim_processes_act(world->processes);
        else
            sim_script_complete(world->script);
        break;
    case SIM_TIME:
        pass_time(world, world->now_ns + sim_below(world->chance, sim_percent(world->chance, 5) ? 20 * ms : ms / 5));
        break;
    default:
        WF_UNREACHABLE("an action without a name");
    }
}

void sim_world_enter(sim_world *world) {
    if (!world->broker->peer) return;
    sim_broker_enter(world->broker);
    world->now_ns = world->broker->now_ns;
}

static void note_engine(const sim_world *world) {
    const wf_pool *pool = world->actors[SIM_ENGINE].actor.self;
    bool any = false;
    for (uint32_t i = 0; i < pool->worker_count; i++) any = any || pool->workers[i].state != WEFT_WORKER_WAITING;
    if (!any) sim_seen(SIM_SEEN_NOBODY);
    if (pool->seen.is_held_back) sim_seen(SIM_SEEN_HELD_BACK);
    if (pool->seen.ends[WEFT_END_FENCED]) sim_seen(SIM_SEEN_PROCESS_FENCED);
    if (pool->seen.ends[WEFT_END_TOLD] && !world->stopping) sim_seen(SIM_SEEN_ROLLED);
}

static void step_alone(sim_world *world) {
    unsigned counts[SIM_ACTIONS];
    if (++*world->step > world->steps_max) {
        sim_world_dump(world);
        sim_fail("stuck: %llu steps were not enough", (unsigned long long)world->steps_max);
    }
    maybe_stall(world);
    ring(world);
    if (measure(world, counts) == 0)
        jump(world);
    else
        act(world, choose(world, counts), counts);
    if (*world->step % 8 == 0) sim_audit_blocks(world);
    if (*world->step % 64 == 0 && world->processes) note_engine(world);
}

void sim_world_step(sim_world *world) {
    if (!world->peer || sim_percent(world->chance, 50)) {
        step_alone(world);
        return;
    }
    sim_world_enter(world->peer);
    sim_trace("the other member:");
    step_alone(world->peer);
    sim_world_enter(world);
}

bool sim_world_settle(sim_world *world) {
    unsigned counts[SIM_ACTIONS];
    for (int i = 0; i < 10000; i++) {
        ring(world);
        measure(world, counts);
        counts[SIM_BROKER] = counts[SIM_COMPLETE] = counts[SIM_TIME] = 0;
        if (counts[SIM_DELIVER] + counts[SIM_TURN] + counts[SIM_TIMER] == 0) return true;
        act(world, choose(world, counts), counts);
    }
    return false;
}

/* --- life */

static void spawn(sim_world *world, uint32_t id, const weft_actor_class *class, const void *argument) {
    sim_hosted *host = &world->actors[id];
    host->world = world;
    host->exists = true;
    for (int i = 0; i < WEFT_WATCH_MAX; i++) host->watched[i] = -1;
    weft_status status = wf_actor_new(&host->actor, class, &sim_env, id, world->plan->seed, argument);
    SIM_CHECK(status == WEFT_OK, "actor %s can't be made: %s", class->name, weft_status_text(status));
}

static void spawn_ring(sim_world *world) {
    const sim_plan *plan = world->plan;
    static const char *const topics[] = {"orders", "payments"};
    wf_poller_options poller = plan->poller;
    poller.manager = SIM_MANAGER;
    poller.tracker = SIM_TRACKER;
    poller.encoder = SIM_ENCODER;
    poller.kafka = sim_door_new(world->broker);
    poller.topics = topics;
    poller.topic_count = 2;
    wf_work_manager_options manager = plan->manager;
    manager.poller = SIM_POLLER;
    manager.tracker = SIM_TRACKER;
    manager.exporter = SIM_EXPORTER;
    manager.pending = world->pending;
    manager.fencer = plan->processes ? SIM_ENGINE : 0;
    wf_offset_tracker_options tracker = {
        .manager = SIM_MANAGER, .encoder = SIM_ENCODER, .commit_interval_ns = plan->commit_interval_ns};
    wf_metadata_encoder_options encoder = {.tracker = SIM_TRACKER,
                                           .poller = SIM_POLLER,
                                           .manager = SIM_MANAGER,
                                           .max_bytes = plan->metadata_max_bytes,
                                           .format = (wf_metadata_format)plan->metadata_format};
    wf_exporter_options exporter = {.poller = SIM_POLLER,
                                    .manager = SIM_MANAGER,
                                    .tracker = SIM_TRACKER,
                                    .encoder = SIM_ENCODER,
                                    .engine = plan->processes ? SIM_ENGINE : 0,
                                    .tick_ns = 1000 * ms};
    spawn(world, SIM_POLLER, &wf_poller, &poller);
    spawn(world, SIM_MANAGER, &wf_work_manager, &manager);
    spawn(world, SIM_TRACKER, &wf_offset_tracker, &tracker);
    spawn(world, SIM_ENCODER, &wf_metadata_encoder, &encoder);
    spawn(world, SIM_EXPORTER, &wf_exporter, &exporter);
    spawn(world, SIM_OBSERVER, &observer, NULL);
}

static void spawn_process_engine(sim_world *world) {
    const sim_plan *plan = world->plan;
    char error[200] = "";
    world->processes = calloc(1, sizeof *world->processes);
    WF_CHECK(world->processes != NULL);
    *world->processes = (sim_processes){.truth = world->truth,
                                        .plan = plan,
                                        .chance = world->chance,
                                        .calm = &world->calm,
                                        .poisons = world->script->poisoned};
    sim_processes_begin(world->processes);
    wf_process_engine_options engine = {.manager = SIM_MANAGER,
                                        .spawned = sim_plan_spawned(plan),
                                        .attached_max = plan->attached_max,
                                        .command = "worker",
                                        .directory = "",
                                        .heartbeat_ns = plan->heartbeat_ns,
                                        .deadline_ns = plan->process_deadline_ns,
                                        .grace_ns = plan->process_grace_ns,
                                        .leave_ns = plan->poller.drain_timeout_ns,
                                        .backoff_ns = 10 * ms,
                                        .backoff_max_ns = 500 * ms,
                                        .error = error,
                                        .error_bytes = sizeof error};
    spawn(world, SIM_ENGINE, &wf_process_engine, &engine);
    world->processes->pool = world->actors[SIM_ENGINE].actor.self;
}

static void spawn_workers(sim_world *world) {
    const sim_plan *plan = world->plan;
    if (plan->processes) {
        spawn_process_engine(world);
        return;
    }
    wf_waker_options waker = {.manager = SIM_MANAGER, .pending = world->pending};
    if (world->pending) spawn(world, SIM_WAKER, &wf_waker, &waker);
    for (uint32_t i = 0; i < plan->workers; i++) {
        wf_worker_options worker = {
            .manager = SIM_MANAGER, .number = i, .context = world->script, .pending = world->pending};
        if (plan->batch)
            worker.batch_handler = sim_script_handle_batch;
        else
            worker.handler = sim_script_handle;
        spawn(world, SIM_FIRST_WORKER + i, &wf_worker, &worker);
    }
}

void sim_world_start(sim_world *world) {
    /* The same capacity always: tables are used again within the process, and a seed must mean the same in each. */
    if (!world->plan->inline_engine && !world->plan->processes)
        SIM_CHECK(wf_pending_open(1024, &world->pending) == WEFT_OK, "no table for deferred records");
    spawn_ring(world);
    spawn_workers(world);
    for (uint32_t id = SIM_POLLER; id < SIM_IDS; id++)
        if (world->actors[id].exists) wf_actor_start(&world->actors[id].actor);
    wf_subscribe subscribe = {
        .actor = SIM_OBSERVER, .credit = OBSERVER_CREDIT, .completions = true, .snapshots = world->plan->ask_rate > 0};
    sim_world_send(world, SIM_PROGRAM, SIM_EXPORTER, WF_MSG_SUBSCRIBE, &subscribe, sizeof subscribe);
}

void sim_world_stop_actor(sim_world *world, uint32_t id, uint64_t deadline_ns) {
    sim_trace("program stops %s, deadline in %.1f ms", name_of(world, id),
              ((double)deadline_ns - (double)world->now_ns) / 1e6);
    wf_actor_stop(&world->actors[id].actor, deadline_ns);
}
