/* SPDX-License-Identifier: Apache-2.0
 *
 * The exporter: collections, reports, and events for subscribers within their credit.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdlib.h>
#include <string.h>

#include "exporter.h"
#include "fake_env.h"
#include "messages.h"
#include "require.h"

TestSuite(exporter, .timeout = 60);

enum { PROGRAM = 1, POLLER = 2, MANAGER = 4, TRACKER = 5, ENCODER = 6, FAN = 10 };

static const uint64_t tick_ns = 1000000000;
enum { OWNERS = WF_GAUGES_ENGINE }; /* threads: no engine is asked */
static const weft_actor_id owner_of[OWNERS] = {POLLER, MANAGER, TRACKER, ENCODER};

static void start(fake_env *fake) {
    wf_exporter_options options = {
        .poller = POLLER, .manager = MANAGER, .tracker = TRACKER, .encoder = ENCODER, .tick_ns = tick_ns};
    fake_env_start(fake, &wf_exporter, &options, 7000000000);
}

static void ask(fake_env *fake, uint64_t ticket) {
    wf_ask question = {.ticket = ticket};
    fake_env_tell(fake, PROGRAM, WF_MSG_ASK, &question, sizeof question);
}

/* All four were asked, once. */
static bool were_asked(fake_env *fake) {
    bool asked[16] = {false};
    fake_sent sent;
    int count = 0;
    while (fake_env_take(fake, WF_MSG_GAUGES_ASK, &sent)) {
        REQUIRE(!asked[sent.to], "actor %u was asked twice", sent.to);
        asked[sent.to] = true;
        count++;
    }
    REQUIRE(count == 0 || count == OWNERS, "%d were asked", count);
    return count > 0;
}

static void gauges(fake_env *fake, uint32_t owner, uint32_t slot, weft_partition_metrics metrics,
                   uint64_t blocking_ns) {
    wf_gauges body = {.slot = slot, .owner = owner, .blocking_since_ns = blocking_ns, .metrics = metrics};
    fake_env_tell(fake, owner_of[owner], WF_MSG_GAUGES, &body, sizeof body);
}

static void end(fake_env *fake, uint32_t owner, weft_system_metrics metrics) {
    wf_gauges_end body = {.owner = owner, .metrics = metrics};
    fake_env_tell(fake, owner_of[owner], WF_MSG_GAUGES_END, &body, sizeof body);
}

static void end_all(fake_env *fake) {
    for (uint32_t owner = 0; owner < OWNERS; owner++) end(fake, owner, (weft_system_metrics){0});
}

/* The answer to a ticket; to be freed. */
static weft_metrics *report(fake_env *fake, uint64_t ticket) {
    fake_sent sent;
    REQUIRE(fake_env_take(fake, WF_MSG_REPORT, &sent), "no report");
    REQUIRE_EQ(sent.to, PROGRAM);
    const wf_report *body = sent.body;
    REQUIRE_EQ(body->ticket, ticket);
    return body->metrics;
}

Test(exporter, report__put_together_from_all_four) {
    fake_env fake;
    start(&fake);
    ask(&fake, 11);
    REQUIRE(were_asked(&fake));
    char topic[] = "orders";
    gauges(&fake, WF_GAUGES_POLLER, 2, (weft_partition_metrics){.topic = topic, .partition = 2, .log_end = 100}, 0);
    gauges(&fake, WF_GAUGES_TRACKER, 2,
           (weft_partition_metrics){.frontier = 40, .committed = 30, .gap_count = 5, .metadata_bytes = 77}, 0);
    gauges(&fake, WF_GAUGES_MANAGER, 2,
           (weft_partition_metrics){.topic = topic,
                                    .partition = 2,
                                    .epoch = 3,
                                    .blocking_offset = 40,
                                    .queued = 8,
                                    .in_flight = 4,
                                    .succeeded = 9,
                                    .failed = 2,
                                    .retried = 1,
                                    .restored = 6,
                                    .held = true},
           fake.now_ns - 2500000000);
    wf_queue queues[] = {{topic, 0, 3}, {topic, 1, 5}};
    fake_env_tell(&fake, MANAGER, WF_MSG_QUEUES, queues, sizeof queues);
    end(&fake, WF_GAUGES_POLLER,
        (weft_system_metrics){.held_bytes = 1,
                              .fetched = 2,
                              .commits = 3,
                              .commit_failures = 5,
                              .commit_failures_by = {1, 0, 4},
                              .commit_time = {.buckets = {7}},
                              .drain_time = {.buckets = {8}},
                              .lost = 9,
                              .fenced = 10,
                              .kafka_errors = 11,
                              .paused_ns = 12,
                              .metadata_dropped = 1});
    end(&fake, WF_GAUGES_TRACKER, (weft_system_metrics){0});
    end(&fake, WF_GAUGES_ENCODER, (weft_system_metrics){.metadata_refused = 4, .metadata_dropped = 5});
    REQUIRE_EQ(fake_env_waiting(&fake, WF_MSG_REPORT), 0);
    end(&fake, WF_GAUGES_MANAGER,
        (weft_system_metrics){
            .total_queued = 8, .total_in_flight = 4, .in_flight_bytes = 13, .workers = 6, .workers_busy = 5});

    weft_metrics *metrics = report(&fake, 11);
    memset(topic, 'x', sizeof topic - 1); /* the report has names of its own */
    REQUIRE_EQ(metrics->partition_count, 1);
    const weft_partition_metrics *partition = &metrics->partitions[0];
    REQUIRE(strcmp(partition->topic, "orders") == 0 && partition->partition == 2 && partition->epoch == 3);
    REQUIRE(partition->log_end == 100 && partition->frontier == 40 && partition->true_lag == 60);
    REQUIRE(partition->committed == 30 && partition->gap_count == 5 && partition->metadata_bytes == 77);
    REQUIRE(partition->blocking_offset == 40 && partition->queued == 8 && partition->in_flight == 4 && partition->held);
    REQUIRE(partition->blocking_duration_seconds > 2.4999 && partition->blocking_duration_seconds < 2.5001);
    REQUIRE_EQ(metrics->queue_count, 2);
    REQUIRE(metrics->queues[0].topic == partition->topic && metrics->queues[1].topic == partition->topic);
    REQUIRE(metrics->queues[1].virtual_partition == 1 && metrics->queues[1].queued == 5);
    const weft_system_metrics *system = &metrics->system;
    REQUIRE(system->held_bytes == 1 && system->fetched == 2 && system->commits == 3 && system->total_queued == 8);
    REQUIRE(system->metadata_refused == 4 && system->metadata_dropped == 6 && system->workers_busy == 5);
    REQUIRE(system->commit_failures == 5 && system->commit_failures_by[WEFT_COMMIT_UNANSWERED] == 1 &&
            system->commit_failures_by[WEFT_COMMIT_FENCED] == 4);
    REQUIRE(system->commit_time.buckets[0] == 7 && system->drain_time.buckets[0] == 8 && system->lost == 9);
    REQUIRE(system->fenced == 10 && system->kafka_errors == 11 && system->paused_ns == 12);
    REQUIRE_EQ(system->in_flight_bytes, 13);
    REQUIRE_EQ(system->as_of_ns, fake.now_ns);
    free(metrics);
    fake_env_end(&fake);
}

Test(exporter, partition__not_named_by_the_manager__is_not_in_the_report) {
    fake_env fake;
    start(&fake);
    weft_partition_metrics metrics = {.topic = "orders", .log_end = 5, .frontier = 1};
    ask(&fake, 1);
    gauges(&fake, WF_GAUGES_MANAGER, 0, metrics, 0);
    gauges(&fake, WF_GAUGES_MANAGER, 20, metrics, 0);
    end_all(&fake);
    weft_metrics *first = report(&fake, 1);
    REQUIRE_EQ(first->partition_count, 2);
    REQUIRE(first->partitions[0].log_end == -1 && first->partitions[0].frontier == -1, "nobody has said");
    REQUIRE_EQ(first->partitions[0].true_lag, 0);
    free(first);
    ask(&fake, 2); /* slot 0 was revoked meanwhile; the others still speak of it */
    gauges(&fake, WF_GAUGES_POLLER, 0, metrics, 0);
    gauges(&fake, WF_GAUGES_TRACKER, 0, metrics, 0);
    gauges(&fake, WF_GAUGES_MANAGER, 20, metrics, 0);
    end_all(&fake);
    weft_metrics *second = report(&fake, 2);
    REQUIRE_EQ(second->partition_count, 1);
    REQUIRE_EQ(second->queue_count, 0);
    free(second);
    fake_env_end(&fake);
}

Test(exporter, asks_during_a_collection__wait_for_the_next_one) {
    fake_env fake;
    start(&fake);
    ask(&fake, 1);
    REQUIRE(were_asked(&fake));
    end(&fake, WF_GAUGES_POLLER, (weft_system_metrics){.fetched = 1});
    ask(&fake, 2);
    ask(&fake, 3);
    REQUIRE(!were_asked(&fake));
    for (uint32_t owner = 1; owner < OWNERS; owner++) end(&fake, owner, (weft_system_metrics){0});
    free(report(&fake, 1));
    REQUIRE_EQ(fake_env_waiting(&fake, WF_MSG_REPORT), 0);
    REQUIRE(were_asked(&fake));
    end_all(&fake);
    free(report(&fake, 2));
    free(report(&fake, 3));
    REQUIRE(!were_asked(&fake));
    fake_env_end(&fake);
}

static void subscribe(fake_env *fake, weft_actor_id actor, uint32_t credit, bool completions, bool snapshots) {
    wf_subscribe body = {.actor = actor, .credit = credit, .completions = completions, .snapshots = snapshots};
    fake_env_tell(fake, PROGRAM, WF_MSG_SUBSCRIBE, &body, sizeof body);
}

static void complete(fake_env *fake, int64_t first, size_t count) {
    weft_event_completion events[32] = {{0}};
    for (size_t i = 0; i < count; i++) events[i].offset = first + (int64_t)i;
    fake_env_tell(fake, MANAGER, WF_MSG_COMPLETIONS, events, count * sizeof events[0]);
}

/* What a subscriber got, as many events as there were; the first offset of the last message in *ret_first. */
static size_t got(fake_env *fake, weft_actor_id actor, int64_t *ret_first) {
    fake_sent sent;
    size_t count = 0;
    for (size_t i = 0; i < fake->sent_count; i++) {
        if (fake->sent[i].taken || fake->sent[i].type != WF_MSG_EVENT_COMPLETIONS || fake->sent[i].to != actor)
            continue;
        sent = fake->sent[i];
        fake->sent[i].taken = true;
        count += sent.body_bytes / sizeof(weft_event_completion);
        *ret_first = ((const weft_event_completion *)sent.body)->offset;
    }
    return count;
}

static void give_credit(fake_env *fake, weft_actor_id actor, uint32_t events) {
    weft_event_credit credit = {.events = events};
    fake_env_tell(fake, actor, WF_MSG_EVENT_CREDIT, &credit, sizeof credit);
}

Test(exporter, completions__each_subscriber_within_its_own_credit) {
    fake_env fake;
    fake_sent sent;
    int64_t first = -1;
    start(&fake);
    subscribe(&fake, FAN, 10, true, false);
    subscribe(&fake, FAN + 1, 100, true, false);
    REQUIRE(fake_env_take(&fake, WF_MSG_SUBSCRIBE, &sent) && sent.to == MANAGER);
    complete(&fake, 0, 8);
    complete(&fake, 8, 8); /* a burst beyond the credit: what it covers, the oldest */
    complete(&fake, 16, 8);
    REQUIRE(got(&fake, FAN, &first) == 10 && first == 8);
    REQUIRE(got(&fake, FAN + 1, &first) == 24 && first == 16);
    give_credit(&fake, FAN, 3);
    complete(&fake, 24, 8);
    REQUIRE(got(&fake, FAN, &first) == 3 && first == 24);
    REQUIRE(got(&fake, FAN + 1, &first) == 8);
    fake_env_end(&fake);
}

Test(exporter, snapshots__at_each_tick_with_the_count_of_what_was_missed) {
    fake_env fake;
    fake_sent sent;
    int64_t first;
    start(&fake);
    subscribe(&fake, FAN, 2, true, true);
    complete(&fake, 0, 5); /* two are covered */
    REQUIRE_EQ(got(&fake, FAN, &first), 2);
    give_credit(&fake, FAN, 2);
    fake_env_advance(&fake, tick_ns - 1);
    REQUIRE(!were_asked(&fake));
    fake_env_advance(&fake, 1);
    REQUIRE(were_asked(&fake));
    end_all(&fake);
    REQUIRE(fake_env_take(&fake, WF_MSG_EVENT_SNAPSHOT, &sent) && sent.to == FAN);
    REQUIRE_EQ(((const weft_event_snapshot *)sent.body)->dropped, 3);
    for (int tick = 0; tick < 5; tick++) { /* the subscriber gives no credit back: one more, then silence */
        fake_env_advance(&fake, tick_ns);
        end_all(&fake);
        REQUIRE(fake_env_take(&fake, WF_MSG_EVENT_SNAPSHOT, &sent) == (tick == 0));
    }
    give_credit(&fake, FAN, 1);
    fake_env_advance(&fake, tick_ns);
    end_all(&fake);
    REQUIRE(fake_env_take(&fake, WF_MSG_EVENT_SNAPSHOT, &sent));
    REQUIRE_EQ(((const weft_event_snapshot *)sent.body)->dropped, 7);
    fake_env_end(&fake);
}

Test(exporter, nobody_looks__no_timer_is_armed) {
    fake_env fake;
    start(&fake);
    subscribe(&fake, FAN, 10, true, false);
    REQUIRE(wf_actor_next_ns(&fake.actor) == UINT64_MAX);
    fake_env_end(&fake);
}
