/* SPDX-License-Identifier: Apache-2.0
 *
 * The pure parts of the door to Kafka: partition states, the meaning of errors, notes.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "kafka_commit.h"
#include "kafka_note.h"
#include "kafka_setting.h"
#include "kafka_topic.h"

TestSuite(kafka_topic, .timeout = 10);
TestSuite(kafka_commit, .timeout = 10);
TestSuite(kafka_setting, .timeout = 10);

static const char *name_of(const void *handle) {
    return handle; /* here a handle is its own name */
}

Test(kafka_topic, handle__changes__entry_stays_the_same) {
    wf_kafka_topics topics = {0};
    char first[] = "orders", second[] = "orders", other[] = "clicks";

    wf_kafka_topic *orders = wf_kafka_topic_of(&topics, first, name_of);

    cr_assert(wf_kafka_topic_of(&topics, second, name_of) == orders);
    cr_assert(wf_kafka_topic_of(&topics, other, name_of) != orders);
    cr_assert(wf_kafka_topic_of(&topics, first, name_of) == orders);
    /* An assignment: the same address now belongs to another topic. */
    wf_kafka_topics_assign(&topics, NULL, 0, true);
    first[0] = 'b';
    cr_assert(eq(str, wf_kafka_topic_of(&topics, first, name_of)->name, "brders"));
    wf_kafka_topics_deinit(&topics);
}

Test(kafka_topic, hold_without_position__first_offset_is_withheld_until_sought) {
    wf_kafka_topics topics = {0};
    const wf_kafka_partition given[] = {
        {.topic = "t", .partition = 1, .offset = WF_KAFKA_OFFSET_NONE},
        {.topic = "t", .partition = 2, .offset = 40},
    };
    wf_kafka_topics_assign(&topics, given, 2, false);
    wf_kafka_topic *topic = wf_kafka_topic_by_name(&topics, "t");
    cr_assert(not(wf_kafka_place_of(&topics, "t", 1)->positioned));
    cr_assert(wf_kafka_place_of(&topics, "t", 2)->positioned);
    wf_kafka_place_of(&topics, "t", 1)->held = true;

    cr_assert(not(wf_kafka_topic_admits(topic, 1, 7)));
    cr_assert(not(wf_kafka_topic_admits(topic, 1, 8)));
    cr_assert(wf_kafka_topic_admits(topic, 2, 40));

    int32_t partition = -1;
    cr_assert(wf_kafka_topics_withheld(&topics, &partition) == topic);
    cr_assert(eq(i32, partition, 1));
    cr_assert(eq(i64, wf_kafka_place_of(&topics, "t", 1)->offset, 7));
    cr_assert(not(wf_kafka_place_of(&topics, "t", 1)->positioned));
    wf_kafka_place_of(&topics, "t", 1)->held = wf_kafka_place_of(&topics, "t", 1)->withheld = false;
    cr_assert(wf_kafka_topics_withheld(&topics, &partition) == NULL);
    cr_assert(wf_kafka_topic_admits(topic, 1, 7));
    cr_assert(wf_kafka_place_of(&topics, "t", 1)->positioned);
    wf_kafka_topics_deinit(&topics);
}

Test(kafka_topic, assign_and_unassign__eager_replaces_all_incremental_only_the_listed) {
    wf_kafka_topics topics = {0};
    const wf_kafka_partition one = {.topic = "t", .partition = 0, .offset = 0};
    const wf_kafka_partition two = {.topic = "t", .partition = 90, .offset = 0};

    wf_kafka_topics_assign(&topics, &one, 1, true);
    wf_kafka_topics_assign(&topics, &two, 1, true);
    cr_assert(wf_kafka_place_of(&topics, "t", 0)->assigned && wf_kafka_place_of(&topics, "t", 90)->assigned);
    wf_kafka_topics_unassign(&topics, &one, 1, true);
    cr_assert(wf_kafka_place_of(&topics, "t", 90)->assigned);
    cr_assert(not(wf_kafka_place_of(&topics, "t", 0)->assigned));
    wf_kafka_topics_assign(&topics, &one, 1, false);
    cr_assert(not(wf_kafka_place_of(&topics, "t", 90)->assigned));
    wf_kafka_topics_unassign(&topics, NULL, 0, false);
    cr_assert(not(wf_kafka_place_of(&topics, "t", 0)->assigned));
    wf_kafka_topics_deinit(&topics);
}

Test(kafka_commit, errors__of_call_and_partitions__each_gets_its_own) {
    static const struct {
        int call;
        int codes[3];
        wf_kafka_error expected[3];
        wf_kafka_error worst;
        int code;
    } rows[] = {
        {0, {0, 0, 0}, {WF_KAFKA_OK, WF_KAFKA_OK, WF_KAFKA_OK}, WF_KAFKA_OK, 0},
        /* The call's code was copied from a partition: the others are well. */
        {12, {0, 12, 0}, {WF_KAFKA_OK, WF_KAFKA_TOO_LARGE, WF_KAFKA_OK}, WF_KAFKA_TOO_LARGE, 12},
        /* It was not: it is everybody's. */
        {12, {0, 0, 0}, {WF_KAFKA_TOO_LARGE, WF_KAFKA_TOO_LARGE, WF_KAFKA_TOO_LARGE}, WF_KAFKA_TOO_LARGE, 12},
        {-195, {0, 3, 0}, {WF_KAFKA_RETRY, WF_KAFKA_RETRY, WF_KAFKA_RETRY}, WF_KAFKA_RETRY, -195},
        {25, {25, 25, 25}, {WF_KAFKA_FENCED, WF_KAFKA_FENCED, WF_KAFKA_FENCED}, WF_KAFKA_FENCED, 25},
        {3, {12, 3, 0}, {WF_KAFKA_TOO_LARGE, WF_KAFKA_RETRY, WF_KAFKA_OK}, WF_KAFKA_TOO_LARGE, 12},
        {-150, {0, 0, 0}, {WF_KAFKA_FATAL, WF_KAFKA_FATAL, WF_KAFKA_FATAL}, WF_KAFKA_FATAL, -150},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        wf_kafka_partition partitions[3] = {
            {.error = rows[i].codes[0]}, {.error = rows[i].codes[1]}, {.error = rows[i].codes[2]}};
        int code = -1;
        cr_assert(eq(int, wf_kafka_commit_errors(rows[i].call, partitions, 3, &code), rows[i].worst), "row %zu", i);
        cr_assert(eq(int, code, rows[i].code), "row %zu", i);
        for (size_t k = 0; k < 3; k++) cr_assert(eq(int, partitions[k].error, rows[i].expected[k]), "row %zu", i);
    }
}

Test(kafka_commit, metadata__nul_inside__cut_only_where_the_library_garbles_it) {
    cr_assert(eq(sz, wf_kafka_metadata_bytes(0x020002ff, "ab\0c", 4), 2));
    cr_assert(eq(sz, wf_kafka_metadata_bytes(0x020601ff, "ab\0c", 4), 4));
    cr_assert(eq(sz, wf_kafka_metadata_bytes(0x020002ff, NULL, 4), 0));
}

Test(kafka_commit, errors__one_too_large_spread_to_all__longest_named_others_tried_again) {
    wf_kafka_partition partitions[3] = {{.error = 12, .metadata_bytes = 10},
                                        {.error = 12, .metadata_bytes = 5000},
                                        {.error = 12, .metadata_bytes = 4999}};
    int code = 0;
    cr_assert(eq(int, wf_kafka_commit_errors(12, partitions, 3, &code), WF_KAFKA_TOO_LARGE));
    cr_assert(eq(int, partitions[0].error, WF_KAFKA_RETRY));
    cr_assert(eq(int, partitions[1].error, WF_KAFKA_TOO_LARGE));
    cr_assert(eq(int, partitions[2].error, WF_KAFKA_RETRY));
}

/* Versions are 0xMMmmrrpp. What each may do while the group changes, and what it should be told. */
Test(kafka_setting, cooperative_groups__by_version__no_batches_before_2_1_a_warning_before_2_10) {
    static const struct {
        const char *strategy;
        int version;
        bool batches, warned;
    } rows[] = {
        {NULL, 0x020002ff, true, false},
        {"range,roundrobin", 0x020002ff, true, false},
        {"cooperative-sticky", 0x01090000, false, true},
        {"cooperative-sticky", 0x020002ff, false, true},
        {"cooperative-sticky", 0x020100ff, true, true},
        {"cooperative-sticky", 0x020a00ff, true, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const wf_setting settings[] = {{"partition.assignment.strategy", rows[i].strategy}};
        size_t count = rows[i].strategy != NULL;
        bool warned = wf_kafka_settings_warning(settings, count, rows[i].version) != NULL;
        bool batches = wf_kafka_settings_allow_batches(settings, count, rows[i].version);
        cr_expect(eq(int, batches, rows[i].batches), "%zu", i);
        cr_expect(eq(int, warned, rows[i].warned), "%zu", i);
    }
}
