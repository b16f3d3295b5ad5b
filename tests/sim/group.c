/* SPDX-License-Identifier: Apache-2.0
 *
 * Membership: who has which partition, when it is told, and what happens when it is not.
 */
#include "broker.h"

static void set_state(sim_broker *broker, sim_group_state state, uint64_t delay_ns) {
    broker->group = state;
    broker->group_due_ns = broker->now_ns + delay_ns;
}

/* Which partitions the member shall have. */
static bool shall_have(sim_broker *broker, const sim_log *log) {
    (void)log;
    return broker->calm || sim_percent(broker->chance, 75);
}

static bool has_any(const sim_broker *broker) {
    for (uint32_t i = 0; i < broker->plan->partitions; i++)
        if (broker->logs[i].told) return true;
    return false;
}

static void add(sim_event *event, const sim_log *log) {
    event->list[event->count++] = (wf_kafka_partition){.topic = log->topic, .partition = log->partition};
}

/* A join ends: what the member does not have yet, and shall have. */
static void give(sim_broker *broker) {
    sim_event *event = sim_event_new(SIM_EVENT_ASSIGN);
    broker->generation++;
    for (uint32_t i = 0; i < broker->plan->partitions; i++) {
        sim_log *log = &broker->logs[i];
        if (log->told) { /* cooperative: it kept it */
            log->ours = true;
            continue;
        }
        if (sim_broker_is_theirs(broker, log)) continue;
        bool others = broker->plan->other_member && !broker->calm;
        if (others && sim_percent(broker->chance, 50)) sim_broker_other_member(broker, log);
        if (!shall_have(broker, log)) continue;
        log->thrown_back = false;
        log->ours = log->told = true;
        add(event, log);
    }
    sim_trace("group: assigns %zu partitions", event->count);
    sim_event_ready(broker, event);
    set_state(broker, SIM_GROUP_ASSIGNING, 0);
}

static void take(sim_broker *broker, bool lost, bool all) {
    sim_event *event = sim_event_new(SIM_EVENT_REVOKE);
    event->lost = lost;
    for (uint32_t i = 0; i < broker->plan->partitions; i++) {
        const sim_log *log = &broker->logs[i];
        if (log->told && (all || sim_percent(broker->chance, 50))) add(event, log);
    }
    if (event->count == 0) { /* nothing to take: the same as everything stays */
        sim_event_free(event);
        set_state(broker, SIM_GROUP_JOINING, sim_broker_latency_ns(broker));
        return;
    }
    sim_trace("group: takes %zu partitions lost=%d", event->count, lost);
    sim_event_ready(broker, event);
    set_state(broker, SIM_GROUP_REVOKING, 0);
}

void sim_group_step(sim_broker *broker) {
    if (broker->group == SIM_GROUP_JOINING)
        give(broker);
    else
        take(broker, true, true);
}

void sim_broker_rebalance(sim_broker *broker) {
    if (broker->group != SIM_GROUP_STABLE || broker->closing) return;
    bool cooperative = broker->plan->cooperative;
    if (has_any(broker) && (!cooperative || sim_percent(broker->chance, 60)))
        take(broker, false, !cooperative);
    else
        set_state(broker, SIM_GROUP_JOINING, sim_broker_latency_ns(broker));
}

void sim_broker_complete(sim_broker *broker) {
    for (uint32_t i = 0; i < broker->plan->partitions; i++)
        if (!broker->logs[i].told && !sim_broker_is_theirs(broker, &broker->logs[i])) {
            sim_broker_rebalance(broker);
            return;
        }
}

/* The coordinator forgets the member: max.poll.interval.ms, session.timeout.ms, another one with its id. */
void sim_broker_expel(sim_broker *broker) {
    if (broker->group == SIM_GROUP_OUT || broker->group == SIM_GROUP_CLOSED) return;
    sim_trace("group: expels the member");
    for (uint32_t i = 0; i < broker->plan->partitions; i++) broker->logs[i].ours = false;
    broker->expelled = has_any(broker);
    bool may_tell = broker->group != SIM_GROUP_REVOKING && !broker->closing;
    if (broker->expelled && may_tell) set_state(broker, SIM_GROUP_EXPELLED, sim_broker_latency_ns(broker) * 3);
}

static void close_now(sim_broker *broker) {
    sim_event_travel(broker, sim_event_new(SIM_EVENT_CLOSED), sim_broker_latency_ns(broker));
    set_state(broker, SIM_GROUP_CLOSED, 0);
}

void sim_group_close(sim_broker *broker) {
    broker->closing = true;
    if (broker->group == SIM_GROUP_REVOKING) return;
    if (has_any(broker))
        take(broker, broker->expelled, true);
    else
        close_now(broker);
}

void sim_group_answered(sim_broker *broker, bool assigned, const wf_kafka_partition *list, size_t count) {
    if (assigned) {
        SIM_CHECK(broker->group == SIM_GROUP_ASSIGNING || broker->group == SIM_GROUP_EXPELLED ||
                      broker->group == SIM_GROUP_REVOKING || broker->group == SIM_GROUP_CLOSED,
                  "assign() answers nothing");
        if (broker->group == SIM_GROUP_ASSIGNING) set_state(broker, SIM_GROUP_STABLE, 0);
        return;
    }
    SIM_CHECK(broker->group == SIM_GROUP_REVOKING, "unassign() answers nothing");
    for (size_t i = 0; i < count; i++) {
        sim_log *log = sim_broker_log(broker, list[i].topic, list[i].partition);
        SIM_CHECK(log->told, "unassign() of a partition that the member has not: %s/%d", log->topic, log->partition);
        log->told = log->ours = false;
    }
    SIM_CHECK(broker->plan->cooperative || !has_any(broker), "unassign() left partitions out");
    broker->expelled = broker->expelled && has_any(broker);
    if (broker->closing && has_any(broker))
        take(broker, broker->expelled, true);
    else if (broker->closing)
        close_now(broker);
    else
        set_state(broker, broker->expelled ? SIM_GROUP_EXPELLED : SIM_GROUP_JOINING, sim_broker_latency_ns(broker));
}
