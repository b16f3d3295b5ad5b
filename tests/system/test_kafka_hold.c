/* SPDX-License-Identifier: Apache-2.0
 *
 * Holding and seeking single partitions through the production door, on librdkafka's mock cluster.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <stdlib.h>

#include "door_member.h"
#include "kafka.h"
#include "mock.h"
#include "must.h"
#include "produce.h"

TestSuite(kafka_hold, .timeout = 120);

enum { PARTITIONS = 4 };

typedef struct scene {
    mock_cluster *mock;
    char *topic;
    char *group;
} scene;

static scene given_topic(int partitions, uint64_t records) {
    scene made = {mock_open(1), must_name("topic"), must_name("group")};
    mock_topic(made.mock, made.topic, partitions);
    keyed_plan plan = {made.topic, partitions, records, (uint64_t)partitions * 10, 40, 0};
    if (records > 0) produce_keyed(mock_bootstrap(made.mock), &plan);
    return made;
}

static void end(scene *made) {
    mock_close(made->mock);
    free(made->topic);
    free(made->group);
}

static void read_until(door_member *member, uint64_t records) {
    while (member->records < records) member_turn(member, 50);
}

Test(kafka_hold, hold__random__nothing_lost_repeated_or_delivered_while_held) {
    enum { RECORDS = 40000 };
    scene it = given_topic(PARTITIONS, RECORDS);
    door_ledger ledger;
    ledger_init(&ledger, PARTITIONS, RECORDS / PARTITIONS);
    door_member member;
    member_open(&member, mock_bootstrap(it.mock), it.group, it.topic, &ledger, NULL);
    member.max_records = 100;
    unsigned seed = (unsigned)must_now_ms();
    unsigned random = seed;
    unsigned holds = 0;
    for (int turn = 0; member.records < RECORDS; turn++) {
        member_turn(&member, 5);
        int p = rand_r(&random) % PARTITIONS;
        /* Every third turn, before the first record as well; a second hold or release in a row must change nothing. */
        if (turn % 3 == 0) {
            bool hold = rand_r(&random) % 2 == 0;
            holds += hold && member.owned[p];
            member_hold(&member, p, hold);
        }
        bool all = true;
        for (int q = 0; q < PARTITIONS; q++) all = all && member.held[q];
        if (all) member_hold(&member, p, false);
    }
    cr_assert(gt(uint, holds, 20));
    cr_assert(eq(u64, ledger_seen(&ledger), RECORDS), "seed %u", seed);
    cr_assert(eq(u64, ledger_repeated(&ledger), 0), "seed %u", seed);
    cr_assert(eq(u64, member.gaps, 0), "seed %u", seed);
    cr_assert(eq(u64, member.strays, 0), "seed %u", seed);
    member_leave(&member);
    ledger_deinit(&ledger);
    end(&it);
}

Test(kafka_hold, hold__again_and_again_before_the_first_record__begins_once_at_the_beginning) {
    enum { MANY = 16, ROUNDS = 40, QUIET_TURNS = 50 };
    scene it = given_topic(MANY, MANY * 50);
    mock_round_trip(it.mock, 1, 20); /* so that questions are on their way while holds come and go */
    door_ledger ledger;
    ledger_init(&ledger, MANY, 50);
    door_member member;
    member_open(&member, mock_bootstrap(it.mock), it.group, it.topic, &ledger, NULL);
    while (member_owned(&member) < MANY) member_serve(&member, 50);

    /* While librdkafka still asks where each partition begins. */
    for (int round = 0; round < ROUNDS; round++) {
        for (int p = 0; p < MANY; p++) member_hold(&member, p, (round + p) % 3 != 0);
        member_turn(&member, 1);
    }
    for (int p = 0; p < MANY; p++) member_hold(&member, p, false);
    bool ended = false;
    while (!ended) {
        member_turn(&member, 20);
        ended = ledger_seen(&ledger) == MANY * 50;
        for (int p = 0; p < MANY; p++) ended = ended && member.eof[p] == 50;
    }
    /* librdkafka repeats a question that a pause made stale half a second later: nothing must come of it, not even to
     * partitions that were paused and resumed meanwhile. */
    for (int turn = 0; turn < QUIET_TURNS; turn++) {
        for (int p = 0; p < MANY; p++) member_hold(&member, p, (turn + p) % 2 == 0);
        member_turn(&member, 20);
    }

    cr_assert(eq(u64, ledger_repeated(&ledger), 0));
    cr_assert(eq(u64, member.gaps + member.strays, 0));
    member_leave(&member);
    ledger_deinit(&ledger);
    end(&it);
}

Test(kafka_hold, hold__release_without_hold__does_not_rewind) {
    scene it = given_topic(1, 1000);
    door_member member;
    member_open(&member, mock_bootstrap(it.mock), it.group, it.topic, NULL, NULL);
    member.max_records = 10;
    read_until(&member, 500);

    member_hold(&member, 0, false);
    read_until(&member, 1000);

    cr_assert(eq(u64, member.gaps, 0));
    member_leave(&member);
    end(&it);
}

Test(kafka_hold, hold__partition_leaves_and_returns__it_flows_again) {
    scene it = given_topic(1, 1000);
    door_member member;
    member_open(&member, mock_bootstrap(it.mock), it.group, it.topic, NULL, NULL);
    member.max_records = 10;
    read_until(&member, 100);
    member_hold(&member, 0, true);

    /* An eager group gives everything up when a second member comes and goes. */
    door_member other;
    member_open(&other, mock_bootstrap(it.mock), it.group, it.topic, NULL, NULL);
    while (member.revocations == 0) {
        member_turn(&member, 5);
        member_turn(&other, 5);
    }
    while (other.assignments == 0) {
        member_turn(&member, 5);
        member_turn(&other, 5);
    }
    while (member.records + other.records < 1000) {
        member_turn(&member, 5);
        member_turn(&other, 5);
    }

    cr_assert(eq(u64, member.gaps + other.gaps + member.strays + other.strays, 0));
    member_leave(&other);
    member_leave(&member);
    end(&it);
}

Test(kafka_hold, hold__not_assigned__stale) {
    scene it = given_topic(1, 10);
    door_member member;
    member_open(&member, mock_bootstrap(it.mock), it.group, it.topic, NULL, NULL);
    read_until(&member, 10);
    cr_assert(eq(int, member.door->ops->hold(member.door, it.topic, 3, true), WEFT_ESTALE));
    cr_assert(eq(int, member.door->ops->seek(member.door, "other", 0, 5), WEFT_ESTALE));
    member_leave(&member);
    end(&it);
}

Test(kafka_hold, seek__back_while_records_wait__next_record_is_the_one_sought) {
    scene it = given_topic(1, 3000);
    door_member member;
    member_open(&member, mock_bootstrap(it.mock), it.group, it.topic, NULL, NULL);
    member.max_records = 100;
    read_until(&member, 500);
    while (member.door->ops->queued(member.door) == 0 && member.eof[0] < 0) member_serve(&member, 20);

    cr_assert(eq(int, member.door->ops->seek(member.door, it.topic, 0, 120), WEFT_OK));
    member.next[0] = 120; /* anything else counts as a gap */
    uint64_t before = member.records;
    read_until(&member, before + 3000 - 120);

    cr_assert(eq(u64, member.gaps, 0));
    cr_assert(eq(i64, member.next[0], 3000));
    member_leave(&member);
    end(&it);
}
