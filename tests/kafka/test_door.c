/* SPDX-License-Identifier: Apache-2.0
 *
 * The production door to Kafka on a real broker: what the mock cluster cannot show. Rebalances without repetition,
 * single partitions refused for their metadata, holes of transactions, a topic that is not there, a fenced commit.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "door_member.h"
#include "kafka.h"
#include "must.h"
#include "produce.h"
#include "topic.h"

TestSuite(door, .timeout = 120);

enum { PARTITIONS = 8 };

static const char *bootstrap(void) {
    const char *value = getenv("WEFT_TEST_KAFKA_BOOTSTRAP");
    MUST(value && *value, "WEFT_TEST_KAFKA_BOOTSTRAP names no broker");
    return value;
}

typedef struct scene {
    char *topic;
    char *group;
} scene;

static scene given_topic(int partitions, uint64_t records) {
    scene made = {must_name("topic"), must_name("group")};
    topic_create(bootstrap(), made.topic, partitions, NULL);
    keyed_plan plan = {made.topic, partitions, records, (uint64_t)partitions * 10, 40, 0};
    if (records > 0) produce_keyed(bootstrap(), &plan);
    return made;
}

static void end(scene *made) {
    free(made->topic);
    free(made->group);
}

/* Two members; the second comes and goes; partitions are held and released at random all the while. */
static void rebalance_again_and_again(const char *strategy, unsigned changes, bool exactly_once) {
    enum { RECORDS = 160000 };
    const char *settings[] = {"partition.assignment.strategy", strategy, NULL};
    scene it = given_topic(PARTITIONS, RECORDS);
    door_ledger ledger;
    ledger_init(&ledger, PARTITIONS, RECORDS / PARTITIONS);
    door_member first;
    member_open(&first, bootstrap(), it.group, it.topic, &ledger, settings);
    first.max_records = 50;
    unsigned seed = (unsigned)must_now_ms();
    unsigned random = seed;
    uint64_t gaps = 0;
    uint64_t strays = 0;
    unsigned change = 0;
    for (; change < changes && ledger_seen(&ledger) < RECORDS; change++) {
        door_member second;
        member_open(&second, bootstrap(), it.group, it.topic, &ledger, settings);
        second.max_records = 50;
        while (member_owned(&second) == 0 || second.records < 2000) {
            member_turn(&first, 2);
            member_turn(&second, 2);
            int p = rand_r(&random) % PARTITIONS;
            member_hold(&first, p, rand_r(&random) % 4 == 0);
            member_hold(&second, p, rand_r(&random) % 4 == 0);
            if (ledger_seen(&ledger) == RECORDS) break;
        }
        cr_assert(eq(int, second.door->ops->close_begin(second.door), WEFT_OK));
        while (!second.closed) {
            member_serve(&second, 2);
            member_turn(&first, 2);
        }
        gaps += second.gaps;
        strays += second.strays;
        member_free(&second);
    }
    for (int p = 0; p < PARTITIONS; p++) member_hold(&first, p, false);
    while (ledger_seen(&ledger) < RECORDS) {
        member_turn(&first, 5);
        for (int p = 0; p < PARTITIONS; p++) member_hold(&first, p, false);
    }
    cr_log_info("%s: seed %u, %u changes, %u assignments, %lu repeated", strategy, seed, change, first.assignments,
                (unsigned long)ledger_repeated(&ledger));
    cr_assert(eq(u64, gaps + first.gaps, 0), "seed %u", seed);
    cr_assert(eq(u64, strays + first.strays, 0), "seed %u", seed);
    if (exactly_once) cr_assert(eq(u64, ledger_repeated(&ledger), 0), "seed %u", seed);
    cr_assert(ge(uint, change, 2));
    member_leave(&first);
    ledger_deinit(&ledger);
    end(&it);
}

Test(door, rebalance__eager_with_random_holds__whole_and_nothing_twice) {
    rebalance_again_and_again("range", 5, true);
}

Test(door, rebalance__cooperative_with_random_holds__whole) {
    /* Below 2.10 librdkafka may lose partitions whose commits are on their way: then records are repeated, never left
     * out. */
    rebalance_again_and_again("cooperative-sticky", 5, false);
}

Test(door, commit__metadata_too_long_for_one_partition__that_one_is_named_and_the_other_stored) {
    scene it = given_topic(2, 200);
    door_member member;
    member_open(&member, bootstrap(), it.group, it.topic, NULL, NULL);
    while (member.records < 200) member_turn(&member, 20);
    static char long_map[4097];
    memset(long_map, 'x', sizeof long_map);
    wf_kafka_partition partitions[] = {
        {.topic = it.topic, .partition = 0, .offset = 90, .metadata = long_map, .metadata_bytes = sizeof long_map},
        {.topic = it.topic, .partition = 1, .offset = 91, .metadata = long_map, .metadata_bytes = sizeof long_map - 1},
    };

    cr_assert(eq(int, member.door->ops->commit(member.door, partitions, 2), WEFT_OK));
    while (member.commits == 0) member_serve(&member, 20);

    cr_assert(eq(int, member.commit_error, WF_KAFKA_TOO_LARGE));
    cr_assert(eq(int, member.partition_error[0], WF_KAFKA_TOO_LARGE));
    /* librdkafka 2.0.2 tells the error of one for all; the shorter metadata is then to be tried again. */
    cr_assert(member.partition_error[1] == WF_KAFKA_OK || member.partition_error[1] == WF_KAFKA_RETRY);
    cr_assert(eq(i64, group_committed(bootstrap(), it.group, it.topic, 0, NULL, NULL), -1));
    size_t bytes = 0;
    char *metadata = NULL;
    cr_assert(eq(i64, group_committed(bootstrap(), it.group, it.topic, 1, &metadata, &bytes), 91));
    cr_assert(eq(sz, bytes, sizeof long_map - 1));
    free(metadata);
    member_free(&member);
    end(&it);
}

Test(door, commit__after_the_group_went_on_without_us__fenced) {
    static const char *const settings[] = {"session.timeout.ms", "3600", "max.poll.interval.ms", "4000", NULL};
    scene it = given_topic(2, 200);
    door_member member;
    member_open(&member, bootstrap(), it.group, it.topic, NULL, settings);
    while (member.records < 200) member_turn(&member, 20);

    /* A second member makes the group rebalance; the first does not answer and is expelled when its time is over. */
    door_member other;
    member_open(&other, bootstrap(), it.group, it.topic, NULL, NULL);
    while (member_owned(&other) < 2) member_turn(&other, 20);
    cr_assert(member_commit(&member, "map"));
    while (member.commits == 0) {
        member_serve(&member, 5);
        member_serve(&other, 5);
    }

    cr_assert(eq(int, member.commit_error, WF_KAFKA_FENCED), "%s", member.text);
    member_free(&member);
    member_leave(&other);
    end(&it);
}

Test(door, consume__transaction_markers__eof_lies_behind_them) {
    scene it = given_topic(1, 0);
    char *id = must_name("id");
    const char *settings[] = {"transactional.id", id, NULL};
    test_producer *producer = producer_open(bootstrap(), settings);
    const produced_record record = {
        .topic = it.topic, .partition = 0, .key = "k", .key_bytes = 1, .value = "v", .value_bytes = 1};
    for (int i = 0; i < 3; i++) {
        producer_begin(producer);
        producer_put(producer, &record);
        producer_flush(producer);
        if (i == 1)
            producer_abort(producer);
        else
            producer_commit(producer);
    }
    producer_close(producer);
    door_member member;
    member_open(&member, bootstrap(), it.group, it.topic, NULL, NULL);

    while (member.eof[0] < 6) member_turn(&member, 20);

    cr_assert(eq(u64, member.records, 2));
    cr_assert(eq(i64, member.next[0], 5)); /* records at 0 and 4; markers, and the aborted one, between and behind */
    cr_assert(eq(i64, member.eof[0], 6));
    member_leave(&member);
    free(id);
    end(&it);
}

Test(door, subscribe__topic_is_not_there__error_to_retry_names_it) {
    scene it = {must_name("nowhere"), must_name("group")};
    door_member member;
    member_open(&member, bootstrap(), it.group, it.topic, NULL, NULL);

    while (member.errors == 0) member_turn(&member, 20);

    cr_assert(eq(int, member.error, WF_KAFKA_RETRY));
    cr_assert(strstr(member.text, it.topic) != NULL, "%s", member.text);
    member_leave(&member);
    end(&it);
}

Test(door, open__broker_refuses_the_password__error_to_retry_says_so) {
    /* No SASL listener here: a SASL client on a plain port is refused as well, and says what to look at. */
    static const char *const settings[] = {"security.protocol",
                                           "SASL_PLAINTEXT",
                                           "sasl.mechanism",
                                           "PLAIN",
                                           "sasl.username",
                                           "weft",
                                           "sasl.password",
                                           "wrong",
                                           NULL};
    scene it = {must_name("topic"), must_name("group")};
    door_member member;
    member_open(&member, bootstrap(), it.group, it.topic, NULL, settings);

    while (member.errors == 0) member_turn(&member, 20);

    cr_assert(member.error == WF_KAFKA_RETRY || member.error == WF_KAFKA_AWAY, "%d", (int)member.error);
    cr_assert(strstr(member.text, "wrong") == NULL, "%s", member.text);
    member_free(&member);
    end(&it);
}
