/* SPDX-License-Identifier: Apache-2.0
 *
 * What handlers read of a record: null and empty are two things, headers come back in order.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdlib.h>
#include <string.h>

#include "record.h"
#include "seeded.h"
#include "weft/record.h"

TestSuite(record, .timeout = 30);

typedef struct field {
    const char *bytes; /* NULL: null */
    size_t length;
} field;

static int32_t wire_length(field value) {
    return value.bytes ? (int32_t)value.length : -1;
}

/* A record of exactly the size that it needs, so that ASan sees a byte too many. */
static wf_record *make_record(field key, field value, const char *const *names, const field *values, size_t count) {
    size_t header_bytes = 0;
    for (size_t i = 0; i < count; i++) header_bytes += wf_record_header_size(strlen(names[i]), wire_length(values[i]));
    wf_record *record = malloc(sizeof *record + key.length + value.length + header_bytes);
    memset(record, 0xee, sizeof *record + key.length + value.length + header_bytes);
    record->key_bytes = wire_length(key);
    record->value_bytes = wire_length(value);
    record->header_bytes = (uint32_t)header_bytes;
    record->header_count = (uint16_t)count;
    char *at = wf_record_bytes(record);
    if (key.length) memcpy(at, key.bytes, key.length);
    at += key.length;
    if (value.length) memcpy(at, value.bytes, value.length);
    at += value.length;
    for (size_t i = 0; i < count; i++)
        at = wf_record_header_put(at, names[i], strlen(names[i]), values[i].bytes, wire_length(values[i]));
    cr_assert(at == wf_record_bytes(record) + key.length + value.length + header_bytes, "sizes disagree");
    return record;
}

static void expect_field(const void *bytes, size_t length, field expected) {
    cr_assert(eq(sz, length, expected.length));
    cr_assert(eq(int, bytes == NULL, expected.bytes == NULL));
    if (expected.length) cr_assert(memcmp(bytes, expected.bytes, expected.length) == 0);
}

Test(record, fixed_fields__read_as_they_are) {
    wf_record record = {.topic = "orders", .partition = 3, .offset = 77, .timestamp_ms = -1, .attempt = 2};
    cr_assert(eq(str, (char *)weft_record_topic(&record), "orders"));
    cr_assert(eq(i32, weft_record_partition(&record), 3));
    cr_assert(eq(i64, weft_record_offset(&record), 77));
    cr_assert(eq(i64, weft_record_timestamp_ms(&record), -1));
    cr_assert(eq(uint, weft_record_attempt(&record), 2));
}

Test(record, key_and_value__null_empty_or_bytes__told_apart) {
    static const field fields[] = {{NULL, 0}, {"", 0}, {"a", 1}, {"with\0nul", 8}};
    for (size_t k = 0; k < 4; k++) {
        for (size_t v = 0; v < 4; v++) {
            wf_record *record = make_record(fields[k], fields[v], NULL, NULL, 0);
            size_t bytes = 99;
            const void *key = weft_record_key(record, &bytes);
            expect_field(key, bytes, fields[k]);
            const void *value = weft_record_value(record, &bytes);
            expect_field(value, bytes, fields[v]);
            cr_assert(eq(int, weft_record_key(record, NULL) == NULL, fields[k].bytes == NULL));
            cr_assert(eq(sz, weft_record_header_count(record), 0));
            cr_assert(not(weft_record_header(record, 0, NULL, NULL, NULL)));
            free(record);
        }
    }
}

Test(record, headers__any_values_and_repeated_names__come_back_in_order) {
    static const char *const names[] = {"trace", "", "trace", "empty", "null"};
    static const field values[] = {{"abc", 3}, {"x\0y", 3}, {"a longer value than the others", 30}, {"", 0}, {NULL, 0}};
    wf_record *record = make_record((field){"k", 1}, (field){NULL, 0}, names, values, 5);
    cr_assert(eq(sz, weft_record_header_count(record), 5));
    for (size_t i = 0; i < 5; i++) {
        const char *name;
        const void *value;
        size_t bytes;
        cr_assert(weft_record_header(record, i, &name, &value, &bytes));
        cr_assert(eq(str, (char *)name, (char *)names[i]));
        expect_field(value, bytes, values[i]);
    }
    cr_assert(not(weft_record_header(record, 5, NULL, NULL, NULL)));
    cr_assert(not(weft_record_header(record, SIZE_MAX, NULL, NULL, NULL)));
    free(record);
}

Test(record, random_records__read_back) {
    static char pool[4096];
    for (size_t i = 0; i < sizeof pool; i++) pool[i] = (char)(i * 131 >> 3);
    for (uint64_t round = 0; round < 2000; round++) {
        seeded random = seeded_start(12, round);
        static const char *const all_names[] = {"", "a", "bb", "a-name-of-many-bytes"};
        const char *names[20];
        field fields[22];
        size_t count = seeded_below(&random, 20);
        for (size_t i = 0; i < count + 2; i++) {
            if (i < count) names[i] = all_names[seeded_below(&random, 4)];
            bool is_null = seeded_percent(&random, 20);
            size_t length = is_null ? 0 : seeded_below(&random, seeded_percent(&random, 20) ? 2000 : 20);
            fields[i] = (field){is_null ? NULL : pool + seeded_below(&random, 2000), length};
        }
        wf_record *record = make_record(fields[count], fields[count + 1], names, fields, count);
        size_t bytes;
        const void *key = weft_record_key(record, &bytes);
        expect_field(key, bytes, fields[count]);
        const void *record_value = weft_record_value(record, &bytes);
        expect_field(record_value, bytes, fields[count + 1]);
        for (size_t i = 0; i < count; i++) {
            const char *name;
            const void *value;
            cr_assert(weft_record_header(record, i, &name, &value, &bytes), "WEFT_TEST_SEED=%llu round %llu",
                      (unsigned long long)random.seed, (unsigned long long)round);
            cr_assert(eq(str, (char *)name, (char *)names[i]));
            expect_field(value, bytes, fields[i]);
        }
        free(record);
    }
}
