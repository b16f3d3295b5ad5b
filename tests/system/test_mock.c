/* SPDX-License-Identifier: Apache-2.0
 *
 * The ground under the other system tests: what goes into the mock cluster comes out again.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <stdlib.h>
#include <string.h>

#include "mock.h"
#include "produce.h"
#include "topic.h"

TestSuite(mock, .timeout = 50);

enum { KEYS = 50, RECORDS = 2000, PARTITIONS = 4 };

typedef struct seen {
    uint64_t next[KEYS]; /* the sequence that each key has to bring next */
    uint64_t wrong;
} seen;

static bool check_keyed(const logged_record *record, void *context) {
    seen *seen_so_far = context;
    char text[16] = "";
    unsigned long key;

    memcpy(text, record->key, record->key_bytes < sizeof text ? record->key_bytes : 0);
    key = strtoul(text + 1, NULL, 10);
    if (text[0] != 'k' || key >= KEYS || record->partition != (int32_t)(key % PARTITIONS) ||
        record->value_bytes != 100 || value_sequence(record->value, record->value_bytes) != seen_so_far->next[key]++) {
        seen_so_far->wrong++;
    }
    return true;
}

Test(mock, keyed_records__read_back__each_key_in_sequence) {
    mock_cluster *mock = mock_open(2);
    keyed_plan plan = {
        .topic = "t", .partitions = PARTITIONS, .records = RECORDS / 2, .keys = KEYS, .value_bytes = 100};
    seen seen_so_far = {0};
    int64_t first, end;

    mock_topic(mock, "t", PARTITIONS);
    produce_keyed(mock_bootstrap(mock), &plan);
    plan.first = RECORDS / 2;
    produce_keyed(mock_bootstrap(mock), &plan);

    cr_assert(eq(u64, topic_read(mock_bootstrap(mock), "t", check_keyed, &seen_so_far), RECORDS));
    cr_assert(eq(u64, seen_so_far.wrong, 0));
    for (int i = 0; i < KEYS; i++) cr_expect(eq(u64, seen_so_far.next[i], RECORDS / KEYS));
    topic_ends(mock_bootstrap(mock), "t", 1, &first, &end);
    cr_assert(eq(i64, first, 0));
    cr_assert(eq(i64, end, RECORDS / KEYS * 13)); /* keys 1, 5, ..., 49 */
    mock_close(mock);
}

static bool check_null(const logged_record *record, void *context) {
    int *wrong = context;

    if (record->key || !record->value) ++*wrong;
    return true;
}

Test(mock, null_keys__read_back__stay_null) {
    mock_cluster *mock = mock_open(1);
    keyed_plan plan = {.topic = "t", .partitions = 2, .records = 10, .keys = 0, .value_bytes = 8};
    int wrong = 0;

    mock_topic(mock, "t", 2);
    produce_keyed(mock_bootstrap(mock), &plan);

    cr_assert(eq(u64, topic_read(mock_bootstrap(mock), "t", check_null, &wrong), 10));
    cr_assert(eq(int, wrong, 0));
    mock_close(mock);
}

Test(mock, commit__with_metadata__is_read_back) {
    mock_cluster *mock = mock_open(1);
    char *metadata = NULL;
    size_t bytes = 99;

    mock_topic(mock, "t", 1);
    cr_assert(eq(i64, group_committed(mock_bootstrap(mock), "g", "t", 0, &metadata, &bytes), -1));
    cr_assert(metadata == NULL && bytes == 0);

    group_commit(mock_bootstrap(mock), "g", "t", 0, 7, "map", 3);
    cr_assert(eq(i64, group_committed(mock_bootstrap(mock), "g", "t", 0, &metadata, &bytes), 7));
    cr_assert(eq(sz, bytes, 3));
    cr_assert(eq(str, metadata, "map"));
    free(metadata);
    mock_close(mock);
}
