/* SPDX-License-Identifier: Apache-2.0
 *
 * The ground under the other tests on a real broker: records, headers, holes and commit metadata as Kafka keeps them.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <stdlib.h>
#include <string.h>

#include "must.h"
#include "produce.h"
#include "topic.h"

TestSuite(broker, .timeout = 50);

static const char *bootstrap(void) {
    const char *value = getenv("WEFT_TEST_KAFKA_BOOTSTRAP");

    MUST(value && *value, "WEFT_TEST_KAFKA_BOOTSTRAP names no broker");
    return value;
}

/* What a test remembers of what it reads. */
typedef struct log_seen {
    uint64_t wrong;
    int64_t offsets[64];
    size_t count;
} log_seen;

static bool remember(const logged_record *record, void *context) {
    log_seen *log = context;

    if (log->count < 64) log->offsets[log->count++] = record->offset;
    return true;
}

static bool check_sequence(const logged_record *record, void *context) {
    log_seen *log = context;

    /* One key per partition: its sequence is the offset. */
    if (value_sequence(record->value, record->value_bytes) != (uint64_t)record->offset) log->wrong++;
    return true;
}

Test(broker, keyed_records__read_back__each_key_in_sequence) {
    char *topic = must_name("keyed");
    keyed_plan plan = {.topic = topic, .partitions = 3, .records = 3000, .keys = 3, .value_bytes = 100};
    log_seen log = {0};

    topic_create(bootstrap(), topic, 3, NULL);
    produce_keyed(bootstrap(), &plan);

    cr_assert(eq(u64, topic_read(bootstrap(), topic, check_sequence, &log), 3000));
    cr_assert(eq(u64, log.wrong, 0));
    topic_delete(bootstrap(), topic);
    free(topic);
}

static bool check_full(const logged_record *record, void *context) {
    log_seen *log = context;
    const void *value;
    size_t bytes;

    log->count++;
    if (record->key || record->value || record->timestamp_ms != 1234567) log->wrong++;
    if (!logged_header(record, "reason", &value, &bytes) || bytes != 5 || memcmp(value, "first", 5) != 0) log->wrong++;
    if (!logged_header(record, "none", &value, &bytes) || value) log->wrong++;
    if (logged_header(record, "other", &value, &bytes)) log->wrong++;
    return true;
}

Test(broker, nulls_headers_and_timestamp__read_back__are_the_same) {
    char *topic = must_name("headers");
    const produced_header headers[] = {{"reason", "first", 5}, {"none", NULL, 0}};
    test_producer *producer = producer_open(bootstrap(), NULL);
    log_seen log = {0};

    topic_create(bootstrap(), topic, 1, NULL);
    producer_put(producer,
                 &(produced_record){.topic = topic, .timestamp_ms = 1234567, .headers = headers, .header_count = 2});
    producer_close(producer);

    topic_read(bootstrap(), topic, check_full, &log);
    cr_assert(eq(sz, log.count, 1));
    cr_assert(eq(u64, log.wrong, 0));
    free(topic);
}

static void put_text(test_producer *producer, const char *topic, const char *text) {
    producer_put(producer, &(produced_record){.topic = topic, .value = text, .value_bytes = strlen(text)});
    producer_flush(producer);
}

Test(broker, transactions__aborted_and_committed__leave_holes) {
    char *topic = must_name("transactions");
    char *name = must_name("transaction");
    const char *settings[] = {"transactional.id", name, NULL};
    test_producer *producer = producer_open(bootstrap(), settings);
    log_seen log = {0};
    int64_t first, end;

    topic_create(bootstrap(), topic, 1, NULL);
    producer_begin(producer);
    put_text(producer, topic, "kept");
    producer_commit(producer);
    producer_begin(producer);
    put_text(producer, topic, "dropped");
    producer_abort(producer);
    producer_begin(producer);
    put_text(producer, topic, "kept too");
    producer_commit(producer);
    producer_close(producer);

    /* 0 record, 1 marker, 2 aborted, 3 marker, 4 record, 5 marker. The broker answers a commit before it has written
     * the marker; until then the log ends before the transaction. The suite's time-out ends a wait for nothing. */
    do topic_ends(bootstrap(), topic, 0, &first, &end);
    while (end < 6);
    cr_assert(eq(i64, end, 6));
    cr_assert(eq(u64, topic_read(bootstrap(), topic, remember, &log), 2));
    cr_assert(eq(i64, log.offsets[0], 0));
    cr_assert(eq(i64, log.offsets[1], 4));
    free(name);
    free(topic);
}

Test(broker, truncate__moves_the_beginning_of_the_log) {
    char *topic = must_name("truncate");
    keyed_plan plan = {.topic = topic, .partitions = 1, .records = 100, .keys = 1, .value_bytes = 10};
    int64_t first, end;

    topic_create(bootstrap(), topic, 1, NULL);
    produce_keyed(bootstrap(), &plan);
    topic_truncate(bootstrap(), topic, 0, 40);

    topic_ends(bootstrap(), topic, 0, &first, &end);
    cr_assert(eq(i64, first, 40));
    cr_assert(eq(i64, end, 100));
    free(topic);
}

Test(broker, grow__adds_partitions) {
    char *topic = must_name("grow");
    int64_t first, end;

    topic_create(bootstrap(), topic, 1, NULL);
    topic_grow(bootstrap(), topic, 3);
    topic_ends(bootstrap(), topic, 2, &first, &end);
    cr_assert(eq(i64, end, 0));
    free(topic);
}

Test(broker, commit__with_metadata__is_read_back) {
    char *topic = must_name("commit");
    char *group = must_name("group");
    char *metadata = NULL;
    size_t bytes;

    topic_create(bootstrap(), topic, 2, NULL);
    group_commit(bootstrap(), group, topic, 1, 12, "map", 3);

    cr_assert(eq(i64, group_committed(bootstrap(), group, topic, 1, &metadata, &bytes), 12));
    cr_assert(eq(str, metadata, "map"));
    cr_assert(eq(sz, bytes, 3));
    cr_assert(eq(i64, group_committed(bootstrap(), group, topic, 0, NULL, NULL), -1));
    free(metadata);
    free(group);
    free(topic);
}
