/* SPDX-License-Identifier: Apache-2.0
 *
 * The poller before a fake door: the test plays the ring behind it and decides what Kafka does when.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdlib.h>
#include <string.h>

#include "fake_env.h"
#include "fake_kafka.h"
#include "messages.h"
#include "poller.h"
#include "require.h"

TestSuite(poller, .timeout = 60);

enum { MANAGER = 2, TRACKER = 4, ENCODER = 5, EXPORTER = 6, PARTITIONS = 3 };

static const uint64_t ms = 1000000;
static const fake_place all[PARTITIONS] = {{"orders", 0}, {"orders", 1}, {"orders", 2}};
static const char *const topics[] = {"orders"};

typedef struct coast {
    fake_env fake;
    fake_cluster *cluster;
    fake_kafka *kafka;
    wf_record *records[4096]; /* in hand, as they came */
    size_t record_count;
    uint32_t epoch[PARTITIONS]; /* of RESTORE; the slots are made in the order of `all` */
} coast;

static wf_poller_options shore_options(coast *at) {
    return (wf_poller_options){.manager = MANAGER,
                               .tracker = TRACKER,
                               .encoder = ENCODER,
                               .kafka = fake_kafka_door(at->kafka),
                               .topics = topics,
                               .topic_count = 1,
                               .queue_max_records = 1000,
                               .queue_max_bytes = 1 << 20,
                               .in_flight_max_bytes = 1 << 20,
                               .drain_timeout_ns = 2000 * ms,
                               .fetch_threshold = 100000};
}

static void make(coast *at) {
    memset(at, 0, sizeof *at);
    at->cluster = fake_cluster_new();
    fake_cluster_topic(at->cluster, "orders", PARTITIONS);
    at->kafka = fake_kafka_new(at->cluster, false);
}

static void begin(coast *at) {
    make(at);
    wf_poller_options options = shore_options(at);
    fake_env_start(&at->fake, &wf_poller, &options, 1000 * ms);
}

/* Kafka does all it can, the poller takes notice; until nothing more happens. */
static void flow(coast *at) {
    for (int i = 0; i < 20; i++) {
        fake_kafka_settle(at->kafka);
        fake_env_poke(&at->fake);
    }
    fake_sent sent;
    while (fake_env_take(&at->fake, WF_MSG_RECORDS, &sent)) {
        REQUIRE_EQ(sent.to, MANAGER);
        for (wf_record *record = ((const wf_chain *)sent.body)->head; record; record = record->next)
            at->records[at->record_count++] = record;
    }
}

/* All records in hand are finished. */
static void finish_all(coast *at) {
    wf_chain chain = {0};
    uint64_t bytes = 0;
    for (size_t i = 0; i < at->record_count; i++) {
        bytes += at->records[i]->block_bytes;
        wf_chain_push(&chain, at->records[i]);
    }
    wf_credit credit = {.head = chain.head, .blocks = chain.count, .records = chain.count, .bytes = bytes};
    at->record_count = 0;
    fake_env_tell(&at->fake, MANAGER, WF_MSG_CREDIT, &credit, sizeof credit);
}

static void finish(coast *at) {
    for (flow(at); at->record_count; flow(at)) finish_all(at);
    REQUIRE(fake_kafka_breach(at->kafka) == NULL, "%s", fake_kafka_breach(at->kafka));
    REQUIRE_EQ(fake_kafka_seen(at->kafka)->regressions, 0);
    fake_env_end(&at->fake);
    REQUIRE(fake_kafka_is_freed(at->kafka));
    fake_kafka_free(at->kafka);
    fake_cluster_free(at->cluster);
}

static bool take_restore(coast *at, wf_restore *ret_restore) {
    fake_sent sent;
    if (!fake_env_take(&at->fake, WF_MSG_RESTORE, &sent)) return false;
    REQUIRE_EQ(sent.to, ENCODER);
    *ret_restore = *(const wf_restore *)sent.body;
    at->epoch[ret_restore->slot] = ret_restore->epoch;
    free(ret_restore->metadata);
    return true;
}

static void say_ready(coast *at, uint32_t slot) {
    wf_partition ready = {.slot = slot, .epoch = at->epoch[slot]};
    fake_env_tell(&at->fake, MANAGER, WF_MSG_READY, &ready, sizeof ready);
}

/* The whole way of an assignment. */
static void give(coast *at, size_t count) {
    wf_restore restored;
    fake_kafka_give(at->kafka, all, count, false);
    flow(at);
    for (size_t i = 0; i < count; i++) REQUIRE(take_restore(at, &restored));
    for (uint32_t i = 0; i < count; i++) say_ready(at, i);
    flow(at);
}

static void commit(coast *at, uint32_t slot, int64_t offset, const char *metadata, bool final) {
    wf_commit message = {.slot = slot, .epoch = at->epoch[slot], .offset = offset, .final = final};
    if (metadata) {
        message.metadata = strdup(metadata);
        message.metadata_bytes = (uint32_t)strlen(metadata);
    }
    fake_env_tell(&at->fake, ENCODER, WF_MSG_COMMIT, &message, sizeof message);
}

static void say_drained(coast *at, uint32_t slot) {
    wf_drained drained = {.slot = slot, .epoch = at->epoch[slot]};
    fake_env_tell(&at->fake, ENCODER, WF_MSG_DRAINED, &drained, sizeof drained);
}

static int64_t stored(const coast *at, int32_t partition) {
    return fake_cluster_partition(at->cluster, "orders", partition)->committed;
}

static void add_records(coast *at, int32_t partition, int count) {
    for (int i = 0; i < count; i++) fake_cluster_add(at->cluster, "orders", partition, i, 0);
}

static bool take_committed(coast *at, wf_committed *ret_committed) {
    fake_sent sent;
    if (!fake_env_take(&at->fake, WF_MSG_COMMITTED, &sent)) return false;
    REQUIRE_EQ(sent.to, TRACKER);
    *ret_committed = *(const wf_committed *)sent.body;
    return true;
}

static weft_system_metrics gauges(coast *at) {
    fake_sent sent;
    wf_ask ask = {0};
    fake_env_tell(&at->fake, EXPORTER, WF_MSG_GAUGES_ASK, &ask, sizeof ask);
    REQUIRE(fake_env_take(&at->fake, WF_MSG_GAUGES_END, &sent));
    return ((const wf_gauges_end *)sent.body)->metrics;
}

static bool is_connected(coast *at) {
    return gauges(at).is_connected;
}

static uint32_t uncommitted(coast *at) {
    return gauges(at).uncommitted;
}

static void take_one(coast *at, bool lost) {
    fake_sent sent;
    if (lost)
        fake_kafka_lose(at->kafka, all, 1, false);
    else
        fake_kafka_take(at->kafka, all, 1, false);
    fake_env_poke(&at->fake);
    REQUIRE(fake_env_take(&at->fake, WF_MSG_REVOKE, &sent));
    const wf_revoke *revoke = sent.body;
    REQUIRE(sent.to == MANAGER && revoke->slot == 0 && revoke->epoch == 1 && revoke->lost == lost);
    REQUIRE_EQ(revoke->deadline_ns, at->fake.now_ns + 2000 * ms);
}

/* --- assignment */

Test(poller, assignment__asked_restored_ready_and_only_then_fetched) {
    coast shore;
    wf_restore restored;
    begin(&shore);
    add_records(&shore, 0, 5);
    fake_partition_commit(fake_cluster_partition(shore.cluster, "orders", 0), 2, "map", 3);
    fake_kafka_give(shore.kafka, all, 2, false);
    flow(&shore);
    REQUIRE(take_restore(&shore, &restored) && restored.base == 2 && restored.metadata_bytes == 3);
    REQUIRE(take_restore(&shore, &restored) && restored.base == -1 && restored.metadata_bytes == 0);
    say_ready(&shore, 1);
    flow(&shore);
    REQUIRE_EQ(fake_kafka_seen(shore.kafka)->assigns, 0);
    say_ready(&shore, 0);
    flow(&shore);
    REQUIRE_EQ(fake_kafka_seen(shore.kafka)->assigns, 1);
    REQUIRE_EQ(shore.record_count, 3);
    for (size_t i = 0; i < 3; i++) {
        const wf_record *record = shore.records[i];
        REQUIRE(record->offset == 2 + (int64_t)i && record->slot == 0 && record->epoch == 1 && record->attempt <= 1);
        REQUIRE(record->key_bytes == 2 && memcmp(wf_record_key_bytes(record), "k", 1) == 0);
        REQUIRE(strcmp(record->topic, "orders") == 0 && record->partition == 0);
    }
    finish(&shore);
}

Test(poller, log_end__told_before_the_first_record_and_behind_the_last) {
    coast shore;
    begin(&shore);
    add_records(&shore, 0, 5);
    fake_cluster_mark(shore.cluster, "orders", 0, 2);
    uint32_t order[8], count = 0;
    bool reached[8] = {false};
    int64_t ends[8] = {0};
    fake_sent sent;
    wf_restore restored;
    fake_kafka_give(shore.kafka, all, 1, false);
    flow(&shore);
    take_restore(&shore, &restored);
    say_ready(&shore, 0);
    for (int i = 0; i < 20; i++) {
        fake_kafka_settle(shore.kafka);
        fake_env_poke(&shore.fake);
    }
    while (fake_env_take(&shore.fake, 0, &sent)) {
        if (sent.to != MANAGER || count == 8) continue;
        if (sent.type == WF_MSG_LOG_END) {
            reached[count] = ((const wf_log_end *)sent.body)->reached;
            ends[count] = ((const wf_log_end *)sent.body)->end;
        } else {
            for (wf_record *record = ((const wf_chain *)sent.body)->head; record; record = record->next)
                shore.records[shore.record_count++] = record;
        }
        order[count++] = sent.type;
    }
    REQUIRE_EQ(count, 3);
    REQUIRE(order[0] == WF_MSG_LOG_END && !reached[0] && order[1] == WF_MSG_RECORDS);
    REQUIRE(order[2] == WF_MSG_LOG_END && reached[2] && ends[2] == 7);
    finish(&shore);
}

Test(poller, committed_offsets__not_to_be_had__asked_again_after_a_pause) {
    coast shore;
    wf_restore restored;
    begin(&shore);
    fake_kafka_fail(shore.kafka, FAKE_COMMITTED, WF_KAFKA_RETRY, false, 2);
    fake_kafka_give(shore.kafka, all, 1, false);
    flow(&shore);
    for (uint64_t asked = 1; asked <= 2; asked++) {
        REQUIRE_EQ(fake_kafka_seen(shore.kafka)->fetch_committed, asked);
        fake_env_advance(&shore.fake, 499 * ms);
        flow(&shore);
        REQUIRE_EQ(fake_kafka_seen(shore.kafka)->fetch_committed, asked);
        fake_env_advance(&shore.fake, 1 * ms);
        flow(&shore);
    }
    REQUIRE_EQ(fake_kafka_seen(shore.kafka)->fetch_committed, 3);
    REQUIRE(take_restore(&shore, &restored));
    finish(&shore);
}

Test(poller, committed_offsets__one_partition_left_out__asked_again_and_all_begin) {
    coast shore;
    wf_restore restored;
    begin(&shore);
    fake_kafka_forget(shore.kafka, 2);
    fake_kafka_give(shore.kafka, all, 2, false);
    for (uint64_t asked = 1; asked <= 3; asked++) {
        flow(&shore);
        REQUIRE_EQ(fake_kafka_seen(shore.kafka)->fetch_committed, asked);
        REQUIRE_EQ(fake_kafka_seen(shore.kafka)->assigns, 0);
        fake_env_advance(&shore.fake, 500 * ms);
    }
    REQUIRE(take_restore(&shore, &restored) && restored.slot == 0);
    REQUIRE(take_restore(&shore, &restored) && restored.slot == 1);
    REQUIRE(!take_restore(&shore, &restored), "once each");
    finish(&shore);
}

Test(poller, taken_while_asking__nobody_hears_of_it) {
    coast shore;
    wf_restore restored;
    begin(&shore);
    fake_kafka_give(shore.kafka, all, 2, false);
    fake_env_poke(&shore.fake); /* the question is on its way */
    fake_kafka_take(shore.kafka, all, 2, false);
    flow(&shore);
    REQUIRE(!take_restore(&shore, &restored));
    REQUIRE(fake_kafka_seen(shore.kafka)->assigns == 0 && fake_kafka_seen(shore.kafka)->unassigns == 1);
    give(&shore, 2);
    REQUIRE(fake_kafka_is_assigned(shore.kafka, "orders", 1));
    REQUIRE_EQ(shore.epoch[0], 2);
    finish(&shore);
}

Test(poller, taken_while_restoring__goes_round_before_it_is_given_back) {
    coast shore;
    wf_restore restored;
    fake_sent sent;
    begin(&shore);
    fake_kafka_give(shore.kafka, all, 1, false);
    flow(&shore);
    REQUIRE(take_restore(&shore, &restored));
    fake_kafka_take(shore.kafka, all, 1, false);
    flow(&shore);
    REQUIRE_EQ(fake_kafka_seen(shore.kafka)->unassigns, 0);
    say_ready(&shore, 0);
    REQUIRE(fake_env_take(&shore.fake, WF_MSG_REVOKE, &sent));
    REQUIRE(!((const wf_revoke *)sent.body)->lost);
    REQUIRE_EQ(fake_kafka_seen(shore.kafka)->unassigns, 0);
    say_drained(&shore, 0);
    flow(&shore);
    REQUIRE(fake_kafka_seen(shore.kafka)->assigns == 0 && fake_kafka_seen(shore.kafka)->unassigns == 1);
    finish(&shore);
}

/* --- credit */

Test(poller, credit__records_used_up__nothing_is_read_until_some_come_home) {
    coast shore;
    make(&shore);
    wf_poller_options options = shore_options(&shore);
    options.queue_max_records = 20;
    fake_env_start(&shore.fake, &wf_poller, &options, 1000 * ms);
    for (int32_t partition = 0; partition < 2; partition++) add_records(&shore, partition, 50);
    give(&shore, 2);
    REQUIRE_EQ(shore.record_count, 20);
    flow(&shore);
    REQUIRE_EQ(shore.record_count, 20);
    size_t seen = 0;
    while (shore.record_count) {
        REQUIRE(shore.record_count <= 20);
        seen += shore.record_count;
        finish_all(&shore);
        flow(&shore);
    }
    REQUIRE_EQ(seen, 100);
    finish(&shore);
}

Test(poller, credit__bytes_used_up__at_most_one_record_too_many) {
    coast shore;
    make(&shore);
    wf_poller_options options = shore_options(&shore);
    options.queue_max_bytes = 4000;
    fake_env_start(&shore.fake, &wf_poller, &options, 1000 * ms);
    add_records(&shore, 0, 100);
    give(&shore, 1);
    uint64_t bytes = 0;
    for (size_t i = 0; i + 1 < shore.record_count; i++) bytes += shore.records[i]->block_bytes;
    REQUIRE(shore.record_count > 2 && bytes < 4000, "%zu records", shore.record_count);
    REQUIRE(bytes + shore.records[shore.record_count - 1]->block_bytes >= 4000);
    finish(&shore);
}

Test(poller, credit__events_are_served_without_any) {
    coast shore;
    fake_sent sent;
    make(&shore);
    wf_poller_options options = shore_options(&shore);
    options.queue_max_records = 16;
    fake_env_start(&shore.fake, &wf_poller, &options, 1000 * ms);
    add_records(&shore, 0, 100);
    give(&shore, 1);
    REQUIRE_EQ(shore.record_count, 16);
    fake_kafka_take(shore.kafka, all, 1, false);
    flow(&shore);
    REQUIRE(fake_env_take(&shore.fake, WF_MSG_REVOKE, &sent));
    say_drained(&shore, 0);
    REQUIRE_EQ(fake_kafka_seen(shore.kafka)->unassigns, 1);
    finish(&shore);
}

Test(poller, enough__nothing_is_read_and_it_counts_as_back_pressure_until_it_is_over) {
    coast shore;
    begin(&shore);
    add_records(&shore, 0, 10);
    give(&shore, 1);
    REQUIRE_EQ(shore.record_count, 10);
    wf_credit credit = {.enough = 1};
    fake_env_tell(&shore.fake, MANAGER, WF_MSG_CREDIT, &credit, sizeof credit);
    add_records(&shore, 0, 10);
    flow(&shore);
    REQUIRE_EQ(shore.record_count, 10);
    REQUIRE(((wf_poller_state *)shore.fake.actor.self)->metrics.is_paused);

    credit.enough = 0;
    fake_env_tell(&shore.fake, MANAGER, WF_MSG_CREDIT, &credit, sizeof credit);
    flow(&shore);
    REQUIRE_EQ(shore.record_count, 20);
    REQUIRE(!((wf_poller_state *)shore.fake.actor.self)->metrics.is_paused);
    finish(&shore);
}

/* --- commits */

Test(poller, commits__one_in_flight_and_later_ones_coalesce) {
    coast shore;
    wf_committed result;
    begin(&shore);
    add_records(&shore, 0, 90);
    add_records(&shore, 1, 90);
    give(&shore, 2);
    commit(&shore, 0, 10, NULL, false);
    for (int64_t offset = 20; offset <= 50; offset += 10) {
        commit(&shore, 0, offset, "older", false);
        commit(&shore, 1, offset, NULL, false);
    }
    REQUIRE_EQ(fake_kafka_seen(shore.kafka)->commits, 1);
    flow(&shore);
    REQUIRE_EQ(fake_kafka_seen(shore.kafka)->commits, 2);
    REQUIRE(stored(&shore, 0) == 50 && stored(&shore, 1) == 50);
    REQUIRE(take_committed(&shore, &result) && result.slot == 0 && result.offset == 10);
    for (uint32_t slot = 0; slot < 2; slot++)
        REQUIRE(take_committed(&shore, &result) && result.slot == slot && result.offset == 50);
    REQUIRE(!take_committed(&shore, &result));
    finish(&shore);
}

Test(poller, commit__fails__tried_again_after_100_200_400_ms) {
    coast shore;
    wf_committed result;
    begin(&shore);
    add_records(&shore, 0, 90);
    give(&shore, 1);
    fake_kafka_fail(shore.kafka, FAKE_COMMIT, WF_KAFKA_RETRY, false, 3);
    commit(&shore, 0, 10, NULL, false);
    flow(&shore);
    static const uint64_t pauses_ms[] = {100, 200, 400};
    for (uint64_t i = 0; i < 3; i++) {
        REQUIRE_EQ(fake_kafka_seen(shore.kafka)->commits, i + 1);
        commit(&shore, 0, 20 + (int64_t)i, NULL, false); /* newer ones wait as well, and replace it */
        fake_env_advance(&shore.fake, pauses_ms[i] * ms - 1);
        flow(&shore);
        REQUIRE_EQ(fake_kafka_seen(shore.kafka)->commits, i + 1);
        fake_env_advance(&shore.fake, 1);
        flow(&shore);
    }
    REQUIRE_EQ(fake_kafka_seen(shore.kafka)->commits, 4);
    REQUIRE_EQ(stored(&shore, 0), 22);
    REQUIRE(take_committed(&shore, &result) && result.offset == 22 && result.outcome == WF_COMMIT_OK);
    REQUIRE(!take_committed(&shore, &result));
    finish(&shore);
}

/* The poller's question for a smaller map; its metadata is to be freed. */
static bool take_too_large(coast *at, wf_commit *ret_commit) {
    fake_sent sent;
    if (!fake_env_take(&at->fake, WF_MSG_TOO_LARGE, &sent)) return false;
    REQUIRE_EQ(sent.to, ENCODER);
    *ret_commit = *(const wf_commit *)sent.body;
    return true;
}

/* And the encoder's answer. */
static void commit_again(coast *at, wf_commit refused, const char *metadata) {
    free(refused.metadata);
    refused.metadata = metadata ? strdup(metadata) : NULL;
    refused.metadata_bytes = metadata ? (uint32_t)strlen(metadata) : 0;
    refused.again = true;
    fake_env_tell(&at->fake, ENCODER, WF_MSG_COMMIT, &refused, sizeof refused);
}

static void begin_with_small_limit(coast *at) {
    begin(at);
    add_records(at, 0, 90);
    fake_cluster_set_metadata_max(at->cluster, 8);
    give(at, 1);
    commit(at, 0, 10, "a map of many bytes", false);
    flow(at);
}

Test(poller, commit__metadata_too_large_for_the_broker__the_cut_one_is_committed) {
    coast shore;
    wf_committed result;
    wf_commit refused;
    begin_with_small_limit(&shore);
    REQUIRE(take_too_large(&shore, &refused) && refused.offset == 10 && refused.metadata_bytes == 19);
    fake_env_advance(&shore.fake, 1000 * ms);
    flow(&shore);
    REQUIRE_EQ(stored(&shore, 0), -1);
    commit_again(&shore, refused, "a map");
    flow(&shore);
    REQUIRE_EQ(stored(&shore, 0), 10);
    REQUIRE(take_committed(&shore, &result) && result.outcome == WF_COMMIT_OK && result.metadata_bytes == 5);
    finish(&shore);
}

Test(poller, commit__cut_one_comes_late__the_newer_one_stands) {
    coast shore;
    wf_committed result;
    wf_commit refused;
    begin_with_small_limit(&shore);
    REQUIRE(take_too_large(&shore, &refused));
    commit(&shore, 0, 10, "newer", false);
    fake_env_advance(&shore.fake, 1000 * ms);
    flow(&shore);
    REQUIRE(take_committed(&shore, &result) && result.metadata_bytes == 5);
    commit_again(&shore, refused, "old");
    fake_env_advance(&shore.fake, 1000 * ms);
    flow(&shore);
    REQUIRE(!take_committed(&shore, &result), "an older map went over a newer one");
    finish(&shore);
}

Test(poller, revoke__cut_commit_is_awaited__before_the_partition_is_released) {
    coast shore;
    wf_committed result;
    wf_commit refused;
    begin_with_small_limit(&shore);
    fake_kafka_take(shore.kafka, all, 1, false);
    flow(&shore);
    say_drained(&shore, 0);
    flow(&shore);
    REQUIRE(take_too_large(&shore, &refused));
    REQUIRE_EQ(fake_kafka_seen(shore.kafka)->unassigns, 0);
    commit_again(&shore, refused, NULL);
    fake_env_advance(&shore.fake, 1000 * ms);
    flow(&shore);
    REQUIRE_EQ(stored(&shore, 0), 10);
    REQUIRE_EQ(fake_kafka_seen(shore.kafka)->unassigns, 1);
    REQUIRE(take_committed(&shore, &result));
    finish(&shore);
}

Test(poller, commit__fenced__told_and_not_tried_again) {
    coast shore;
    wf_committed result;
    begin(&shore);
    add_records(&shore, 0, 90);
    give(&shore, 1);
    fake_kafka_expel(shore.kafka);
    commit(&shore, 0, 10, NULL, false);
    flow(&shore);
    REQUIRE(take_committed(&shore, &result) && result.outcome == WF_COMMIT_REFUSED);
    fake_env_advance(&shore.fake, 60000 * ms);
    flow(&shore);
    REQUIRE_EQ(fake_kafka_seen(shore.kafka)->commits, 1);
    REQUIRE_EQ(stored(&shore, 0), -1);
    REQUIRE(fake_env_logged(&shore.fake, "commit refused, not tried again topic=orders partition=0 offset=10: fenced"));
    REQUIRE_EQ(uncommitted(&shore), 1);
    finish(&shore);
}

/* --- what the program hears of at the end */

Test(poller, uncommitted__last_commit_refused__counted_until_the_next_membership) {
    coast shore;
    begin(&shore);
    add_records(&shore, 0, 90);
    give(&shore, 1);
    REQUIRE_EQ(uncommitted(&shore), 0);
    take_one(&shore, false);
    fake_kafka_fail(shore.kafka, FAKE_COMMIT, WF_KAFKA_FENCED, false, 1);
    commit(&shore, 0, 33, "m", true);
    say_drained(&shore, 0);
    flow(&shore);
    REQUIRE_EQ(fake_kafka_seen(shore.kafka)->unassigns, 1);
    REQUIRE_EQ(uncommitted(&shore), 1);
    REQUIRE(fake_env_logged(&shore.fake, "commit refused, not tried again topic=orders partition=0 offset=33: fenced"));
    give(&shore, 1);
    REQUIRE_EQ(uncommitted(&shore), 0);
    finish(&shore);
}

Test(poller, uncommitted__refused_and_a_later_one_succeeds__all_is_well) {
    coast shore;
    begin(&shore);
    add_records(&shore, 0, 90);
    give(&shore, 1);
    fake_kafka_fail(shore.kafka, FAKE_COMMIT, WF_KAFKA_FENCED, false, 1);
    commit(&shore, 0, 33, "m", false);
    flow(&shore);
    REQUIRE_EQ(uncommitted(&shore), 1);
    commit(&shore, 0, 34, "m", false);
    fake_env_advance(&shore.fake, 1000 * ms);
    flow(&shore);
    REQUIRE_EQ(stored(&shore, 0), 34);
    REQUIRE_EQ(uncommitted(&shore), 0);
    finish(&shore);
}

Test(poller, uncommitted__lost_with_a_commit_on_its_way_or_work_that_no_commit_has) {
    for (int i = 0; i < 4; i++) {
        coast shore;
        begin(&shore);
        add_records(&shore, 0, 90);
        give(&shore, 1);
        if (i == 1) commit(&shore, 0, 33, NULL, false);
        take_one(&shore, true);
        if (i == 2) commit(&shore, 0, 33, NULL, false);
        wf_drained drained = {.slot = 0, .epoch = shore.epoch[0], .lost = true, .uncommitted = i == 3};
        fake_env_tell(&shore.fake, ENCODER, WF_MSG_DRAINED, &drained, sizeof drained);
        flow(&shore);
        REQUIRE_EQ(stored(&shore, 0), -1);
        REQUIRE_EQ(uncommitted(&shore), i > 0);
        static const char line[] = "lost before the last commit topic=orders partition=0 offset=-1";
        REQUIRE_EQ(fake_env_logged(&shore.fake, line), i > 0);
        finish(&shore);
    }
}

/* --- revocation */

Test(poller, revoke__last_commit_is_answered_before_the_partition_is_given_back) {
    coast shore;
    begin(&shore);
    add_records(&shore, 0, 90);
    give(&shore, 1);
    commit(&shore, 0, 10, NULL, false); /* in flight when the revocation comes */
    take_one(&shore, false);
    commit(&shore, 0, 33, "m", true);
    say_drained(&shore, 0);
    REQUIRE_EQ(fake_kafka_seen(shore.kafka)->unassigns, 0);
    while (stored(&shore, 0) != 33) {
        REQUIRE_EQ(fake_kafka_seen(shore.kafka)->unassigns, 0);
        REQUIRE(fake_kafka_steps(shore.kafka) > 0);
        fake_kafka_step(shore.kafka, 0);
        fake_env_poke(&shore.fake);
    }
    flow(&shore);
    REQUIRE_EQ(fake_kafka_seen(shore.kafka)->unassigns, 1);
    finish(&shore);
}

Test(poller, revoke__last_commit_never_answered__given_back_at_the_deadline) {
    coast shore;
    begin(&shore);
    add_records(&shore, 0, 90);
    give(&shore, 1);
    take_one(&shore, false);
    commit(&shore, 0, 33, NULL, true);
    say_drained(&shore, 0);
    fake_env_advance(&shore.fake, 6999 * ms);
    REQUIRE_EQ(fake_kafka_seen(shore.kafka)->unassigns, 0);
    fake_env_advance(&shore.fake, 1 * ms);
    REQUIRE_EQ(fake_kafka_seen(shore.kafka)->unassigns, 1);
    REQUIRE(fake_env_logged(&shore.fake, "not committed in time topic=orders partition=0 offset=33"));
    REQUIRE_EQ(uncommitted(&shore), 1);
    flow(&shore); /* the answer comes after all: to nobody */
    wf_committed result;
    REQUIRE(!take_committed(&shore, &result));
    give(&shore, 1);
    commit(&shore, 0, 40, NULL, false);
    fake_env_advance(&shore.fake, 1000 * ms);
    flow(&shore);
    REQUIRE_EQ(stored(&shore, 0), 40);
    finish(&shore);
}

Test(poller, lost__commits_are_dropped_and_records_stop) {
    coast shore;
    begin(&shore);
    add_records(&shore, 0, 10);
    give(&shore, 1);
    take_one(&shore, true);
    commit(&shore, 0, 5, "m", true);
    flow(&shore);
    REQUIRE_EQ(fake_kafka_seen(shore.kafka)->commits, 0);
    size_t before = shore.record_count;
    add_records(&shore, 0, 10);
    flow(&shore);
    REQUIRE_EQ(shore.record_count, before);
    say_drained(&shore, 0);
    REQUIRE_EQ(fake_kafka_seen(shore.kafka)->unassigns, 1);
    finish(&shore);
}

Test(poller, commit_of_an_older_epoch__is_dropped) {
    coast shore;
    begin(&shore);
    add_records(&shore, 0, 10);
    give(&shore, 1);
    take_one(&shore, true);
    say_drained(&shore, 0);
    give(&shore, 1);
    REQUIRE_EQ(shore.epoch[0], 2);
    shore.epoch[0] = 1;
    commit(&shore, 0, 5, "m", true);
    flow(&shore);
    REQUIRE_EQ(fake_kafka_seen(shore.kafka)->commits, 0);
    finish(&shore);
}

/* --- the rest */

Test(poller, hold__one_partition_alone__and_before_the_assignment_too) {
    coast shore;
    wf_restore restored;
    begin(&shore);
    fake_kafka_give(shore.kafka, all, 2, false);
    flow(&shore);
    while (take_restore(&shore, &restored)) continue;
    wf_hold hold = {.slot = 1, .epoch = 1, .hold = true};
    fake_env_tell(&shore.fake, MANAGER, WF_MSG_HOLD, &hold, sizeof hold);
    REQUIRE_EQ(fake_kafka_seen(shore.kafka)->holds, 0);
    say_ready(&shore, 0);
    say_ready(&shore, 1);
    flow(&shore);
    REQUIRE(fake_kafka_is_held(shore.kafka, "orders", 1) && !fake_kafka_is_held(shore.kafka, "orders", 0));
    hold.hold = false;
    fake_env_tell(&shore.fake, MANAGER, WF_MSG_HOLD, &hold, sizeof hold);
    REQUIRE(!fake_kafka_is_held(shore.kafka, "orders", 1));
    hold = (wf_hold){.slot = 0, .epoch = 7, .hold = true}; /* of another epoch */
    fake_env_tell(&shore.fake, MANAGER, WF_MSG_HOLD, &hold, sizeof hold);
    REQUIRE(!fake_kafka_is_held(shore.kafka, "orders", 0));
    finish(&shore);
}

Test(poller, broker__reached_until_librdkafka_says_otherwise__any_answer_brings_it_back_without_an_assignment) {
    coast shore;
    begin(&shore);
    REQUIRE(is_connected(&shore));
    for (int i = 0; i < 2; i++) {
        fake_kafka_fail(shore.kafka, FAKE_COMMITTED, WF_KAFKA_AWAY, false, 3);
        fake_kafka_error(shore.kafka, WF_KAFKA_AWAY, "all brokers are down", NULL, -1);
        for (int asked = 0; asked < 3; asked++) {
            flow(&shore);
            REQUIRE(!is_connected(&shore));
            REQUIRE(!is_connected(&shore));
            REQUIRE_EQ(fake_kafka_requests(shore.kafka, FAKE_COMMITTED), 1); /* one question at a time */
        }
        flow(&shore);
        if (i == 1) fake_kafka_fail(shore.kafka, FAKE_COMMITTED, WF_KAFKA_RETRY, false, 1);
        is_connected(&shore); /* asks */
        flow(&shore);
        REQUIRE(is_connected(&shore));
    }
    uint64_t asked = fake_kafka_seen(shore.kafka)->fetch_committed;
    REQUIRE(is_connected(&shore));
    REQUIRE_EQ(fake_kafka_seen(shore.kafka)->fetch_committed, asked);
    give(&shore, 1);
    REQUIRE(fake_kafka_is_assigned(shore.kafka, "orders", 0));
    finish(&shore);
}

Test(poller, stop__revokes_commits_and_leaves) {
    coast shore;
    fake_sent sent;
    begin(&shore);
    add_records(&shore, 0, 10);
    give(&shore, 1);
    fake_env_stop(&shore.fake, shore.fake.now_ns + 500 * ms);
    flow(&shore);
    REQUIRE(fake_env_take(&shore.fake, WF_MSG_REVOKE, &sent));
    REQUIRE_EQ(((const wf_revoke *)sent.body)->deadline_ns, shore.fake.now_ns + 500 * ms);
    commit(&shore, 0, 10, NULL, true);
    say_drained(&shore, 0);
    REQUIRE(shore.fake.actor.state == WF_ACTOR_DRAINING);
    flow(&shore);
    REQUIRE(shore.fake.actor.state == WF_ACTOR_DRAINED);
    REQUIRE_EQ(stored(&shore, 0), 10);
    finish(&shore);
}

/* librdkafka would leave at once, before the last commit. */
Test(poller, stop__in_the_middle_of_a_revocation__the_group_is_left_when_that_is_answered) {
    coast shore;
    begin(&shore);
    add_records(&shore, 0, 10);
    give(&shore, 1);
    fake_kafka_take(shore.kafka, all, 1, false);
    flow(&shore);
    fake_env_stop(&shore.fake, shore.fake.now_ns + 500 * ms);
    flow(&shore);
    REQUIRE(!fake_kafka_is_closing(shore.kafka));
    commit(&shore, 0, 10, NULL, true);
    say_drained(&shore, 0);
    flow(&shore);
    REQUIRE(fake_kafka_is_closing(shore.kafka));
    flow(&shore);
    REQUIRE(shore.fake.actor.state == WF_ACTOR_DRAINED);
    REQUIRE_EQ(stored(&shore, 0), 10);
    finish(&shore);
}

Test(poller, stop__nothing_answers__gives_up_after_its_deadline) {
    coast shore;
    begin(&shore);
    add_records(&shore, 0, 10);
    give(&shore, 1);
    fake_env_stop(&shore.fake, shore.fake.now_ns + 500 * ms);
    fake_env_advance(&shore.fake, 5499 * ms);
    REQUIRE(shore.fake.actor.state == WF_ACTOR_DRAINING);
    fake_env_advance(&shore.fake, 2 * ms);
    REQUIRE(shore.fake.actor.state == WF_ACTOR_DRAINED);
    finish(&shore);
}

Test(poller, truncated_log__epoch_ends_and_begins_anew) {
    coast shore;
    fake_sent sent;
    wf_restore restored;
    begin(&shore);
    add_records(&shore, 0, 10);
    give(&shore, 1);
    REQUIRE_EQ(shore.record_count, 10);
    commit(&shore, 0, 10, NULL, false);
    flow(&shore);
    fake_cluster_reset(shore.cluster, "orders", 0);
    add_records(&shore, 0, 4);
    flow(&shore);
    REQUIRE(fake_env_take(&shore.fake, WF_MSG_REVOKE, &sent) && ((const wf_revoke *)sent.body)->lost);
    say_drained(&shore, 0);
    REQUIRE(take_restore(&shore, &restored) && restored.base == -1 && restored.epoch == 2);
    say_ready(&shore, 0);
    finish_all(&shore);
    flow(&shore);
    REQUIRE_EQ(shore.record_count, 4);
    REQUIRE(shore.records[0]->offset == 0 && shore.records[0]->epoch == 2);
    REQUIRE_EQ(shore.fake.failures, 0);
    finish_all(&shore);
    fake_env_end(&shore.fake);
    fake_kafka_free(shore.kafka);
    fake_cluster_free(shore.cluster);
}
