/* SPDX-License-Identifier: Apache-2.0
 *
 * Checks of records: what the handler sees, in which order, and what is said of them.
 */
#include "checks.h"

#include <stdio.h>
#include <string.h>

enum { LARGE_BYTES = 1 << 20, LARGE_COUNT = 4, MANY_HEADERS = 500 };

static const char *const statuses[] = {"SUCCESS", "FAILURE", "UNRUN"};

static void expect_status(parent *self, int rule, uint32_t from, uint32_t count, wf_wire_status status) {
    for (uint32_t i = from; i < from + count; i++)
        PARENT_EXPECT(self, rule, self->sent[i].status == status, "expected %s for record %u of offset %lld, got %s",
                      statuses[status], i, (long long)self->sent[i].offset, statuses[self->sent[i].status]);
}

/* --- what the handler sees */

static size_t put_data(char *text, size_t room, const char *data, int64_t bytes) {
    uint64_t sum = 0;
    if (bytes < 0) return (size_t)snprintf(text, room, "null");
    for (int64_t i = 0; i < bytes; i++) sum += (unsigned char)data[i];
    return (size_t)snprintf(text, room, "%lld:%llu", (long long)bytes, (unsigned long long)sum);
}

size_t echo_text(const item *from, const char *topic, int64_t offset, char *text, size_t room) {
    size_t used = (size_t)snprintf(text, room, "%s/%d/%lld t=%lld a=%u k=", topic, from->partition, (long long)offset,
                                   (long long)from->timestamp_ms, from->attempt ? from->attempt : 1u);
    used += put_data(text + used, room - used, from->key, from->key ? (int64_t)strlen(from->key) : -1);
    used += (size_t)snprintf(text + used, room - used, " v=");
    int64_t value_bytes = from->value_bytes ? from->value_bytes : from->value ? (int64_t)strlen(from->value) : -1;
    used += put_data(text + used, room - used, from->value, value_bytes);
    used += (size_t)snprintf(text + used, room - used, " h=");
    const char *at = from->headers;
    for (uint16_t i = 0; i < from->header_count; i++) {
        uint32_t name_bytes;
        int32_t data_bytes;
        memcpy(&name_bytes, at, sizeof name_bytes);
        memcpy(&data_bytes, at + 4, sizeof data_bytes);
        used += (size_t)snprintf(text + used, room - used, "%s%.*s=", i ? "," : "", (int)name_bytes, at + 8);
        used += put_data(text + used, room - used, at + 8 + name_bytes + 1, data_bytes);
        at += 8 + name_bytes + 1 + (data_bytes > 0 ? (uint32_t)data_bytes : 0);
    }
    return used;
}

/* The reason holds the text; of a long one, as much of its beginning as fits beside some words around it. */
static void expect_echo(parent *self, uint32_t index, const item *from, const char *topic) {
    char text[16384];
    const sent *found = &self->sent[index];
    size_t bytes = echo_text(from, topic, found->offset, text, sizeof text);
    expect_status(self, RULE_RECORD, index, 1, WF_WIRE_FAILURE);
    if (bytes > 200) text[200] = '\0';
    PARENT_EXPECT(self, RULE_RECORD, strstr(found->reason, text),
                  "expected the handler to see the record of offset %lld as \"%s\", it saw \"%s\"",
                  (long long)found->offset, text, found->reason);
}

static void send_echoes(parent *self, const item *items, uint32_t count) {
    uint32_t first = self->sent_count;
    parent_work(self, 9, items, count);
    parent_await_done(self, self->sent_count);
    for (uint32_t i = 0; i < count; i++) expect_echo(self, first + i, &items[i], "echo");
}

static void check_fields(parent *self) {
    static const item items[] = {
        {.topic = ECHO, .key = "k", .value = "value", .lane = 0},
        {.topic = ECHO, .key = "k", .value = "v", .lane = 1, .attempt = 2, .partition = 2147483647},
        {.topic = ECHO, .value = "v", .lane = 2, .attempt = 65535, .timestamp_ms = -1},
        {.topic = ECHO, .value = "v", .lane = 3, .offset = 4294967296, .timestamp_ms = 1700000000123},
        {.topic = ECHO, .value = "v", .lane = 4, .offset = INT64_MAX - 1, .timestamp_ms = INT64_MAX},
        {.topic = ECHO, .value = "v", .lane = WF_WIRE_ANY_ORDER, .offset = 5},
    };
    send_echoes(self, items, sizeof items / sizeof items[0]);
}

/* Key and value, each null, empty and there. An item says null by NULL and empty by "". */
static void check_nulls(parent *self) {
    static const char *const texts[] = {NULL, "", "\xff\x01 bytes \x80"};
    item items[9];
    for (uint32_t i = 0; i < 9; i++)
        items[i] = (item){.topic = ECHO, .key = texts[i % 3], .value = texts[i / 3], .lane = i};
    send_echoes(self, items, 9);
}

static void check_zeros(parent *self) {
    static const char zeros[40];
    const item items[] = {{.topic = ECHO, .key = "k", .value = zeros, .value_bytes = 40},
                          {.topic = ECHO, .lane = 1, .key = "k", .value = "\n\r\t\"", .value_bytes = 4}};
    send_echoes(self, items, 2);
}

static uint32_t put_header(char *at, const char *name, const char *data, int32_t data_bytes) {
    uint32_t name_bytes = (uint32_t)strlen(name), length = data_bytes > 0 ? (uint32_t)data_bytes : 0;
    memcpy(at, &name_bytes, sizeof name_bytes);
    memcpy(at + 4, &data_bytes, sizeof data_bytes);
    memcpy(at + 8, name, name_bytes + 1);
    if (length) memcpy(at + 8 + name_bytes + 1, data, length);
    return 8 + name_bytes + 1 + length;
}

static void check_headers(parent *self) {
    char few[200];
    uint32_t used = put_header(few, "trace", "\x00\xff", 2);
    used += put_header(few + used, "trace", NULL, -1);
    used += put_header(few + used, "", "", 0);
    used += put_header(few + used, "na\xc3\xafve", "value", 5);
    char *many = parent_alloc(self, MANY_HEADERS * 32);
    uint32_t many_bytes = 0;
    for (int i = 0; i < MANY_HEADERS; i++) {
        char name[16];
        snprintf(name, sizeof name, "h%d", i);
        many_bytes += put_header(many + many_bytes, name, name, (int32_t)strlen(name));
    }
    /* Whoever reads one header too few or too many sees it in the records behind. */
    const item items[] = {
        {.topic = ECHO, .value = "v", .headers = few, .header_bytes = used, .header_count = 4},
        {.topic = ECHO, .value = "w", .lane = 1},
        {.topic = ECHO, .lane = 2, .headers = many, .header_bytes = many_bytes, .header_count = MANY_HEADERS},
        {.topic = ECHO, .lane = 3, .headers = few, .header_bytes = used, .header_count = 4},
    };
    send_echoes(self, items, 4);
}

static void check_large(parent *self) {
    item items[LARGE_COUNT];
    char *large = parent_alloc(self, LARGE_COUNT * (size_t)LARGE_BYTES);
    uint32_t random = 1;
    for (size_t i = 0; i < LARGE_COUNT * (size_t)LARGE_BYTES; i++) {
        random = random * 1664525 + 1013904223;
        large[i] = (char)(random >> 24);
    }
    for (uint32_t i = 0; i < LARGE_COUNT; i++)
        items[i] = (item){.topic = ECHO,
                          .key = "key",
                          .value = large + (size_t)i * LARGE_BYTES,
                          .value_bytes = LARGE_BYTES - (int32_t)i,
                          .lane = i};
    send_echoes(self, items, LARGE_COUNT);
}

static void check_topics(parent *self) {
    const item items[] = {{.topic = RENAMED, .value = "v"}};
    parent_say_text(self, WF_WIRE_TOPIC, RENAMED, "na\xc3\xafve");
    parent_work(self, 1, items, 1);
    parent_await_done(self, 1);
    expect_status(self, RULE_RECORD, 0, 1, WF_WIRE_SUCCESS);
    parent_say_text(self, WF_WIRE_TOPIC, RENAMED, "echo");
    parent_work(self, 2, items, 1);
    parent_await_done(self, 2);
    expect_echo(self, 1, &items[0], "echo");
}

/* --- order */

static void check_many_records(parent *self) {
    item items[WF_WIRE_RECORDS_MAX];
    for (uint32_t i = 0; i < WF_WIRE_RECORDS_MAX; i++)
        items[i] = (item){.topic = NOTHING, .key = "k", .value = "v", .lane = i / 4};
    for (uint32_t task = 1; task <= 3; task++) {
        parent_work(self, task, items, WF_WIRE_RECORDS_MAX);
        parent_await_done(self, self->sent_count);
    }
    expect_status(self, RULE_DONE, 0, self->sent_count, WF_WIRE_SUCCESS);
}

static void check_two_tasks(parent *self) {
    const item slow = {.topic = SLEEP, .value = "5"}, fast = {.topic = NOTHING, .value = "v"};
    parent_work_same(self, 4294967295, &slow, 10);
    parent_work_same(self, 3, &fast, 10);
    parent_await_done(self, 10);
    parent_work_same(self, 4, &slow, 3);
    parent_await_done(self, self->sent_count);
    expect_status(self, RULE_ORDER, 0, self->sent_count, WF_WIRE_SUCCESS);
}

static void check_same_number(parent *self) {
    const item one = {.topic = NOTHING, .value = "v"};
    for (uint32_t i = 1; i <= 5; i++) {
        parent_work_same(self, 7, &one, 1);
        parent_await_done(self, i);
    }
    expect_status(self, RULE_ORDER, 0, 5, WF_WIRE_SUCCESS);
}

static void check_reports(parent *self) {
    const item slow = {.topic = SLEEP, .value = "20"};
    parent_work_same(self, 5, &slow, 8);
    parent_await_done(self, 8);
    for (uint32_t i = 1; i < 8; i++)
        PARENT_EXPECT(self, RULE_IN_TIME, self->sent[i].frame != self->sent[i - 1].frame,
                      "expected records of 20 ms to be reported one by one, offsets %lld and %lld came together",
                      (long long)self->sent[i - 1].offset, (long long)self->sent[i].offset);
}

/* --- failures */

static void check_failure(parent *self) {
    static const item items[] = {
        {.topic = NOTHING, .value = "v", .lane = 0}, {.topic = FAIL, .value = "kaputt: \xc3\xa4", .lane = 1},
        {.topic = NOTHING, .value = "v", .lane = 2}, {.topic = FAIL, .value = "", .lane = 3},
        {.topic = NOTHING, .value = "v", .lane = 4},
    };
    parent_work(self, 1, items, 5);
    parent_await_done(self, 5);
    for (uint32_t i = 0; i < 5; i++) expect_status(self, RULE_FAILURE, i, 1, i % 2 ? WF_WIRE_FAILURE : WF_WIRE_SUCCESS);
    PARENT_EXPECT(self, RULE_FAILURE, strstr(self->sent[1].reason, items[1].value),
                  "expected the reason \"%s\" to reach weft, got \"%s\"", items[1].value, self->sent[1].reason);
}

static void check_closed_lane(parent *self) {
    static const item items[] = {
        {.topic = NOTHING, .value = "v", .lane = 0}, {.topic = FAIL, .value = "f", .lane = 1},
        {.topic = NOTHING, .value = "v", .lane = 1}, {.topic = FAIL, .value = "f", .lane = 1},
        {.topic = NOTHING, .value = "v", .lane = 2}, {.topic = FAIL, .value = "f", .lane = 3},
        {.topic = NOTHING, .value = "v", .lane = 3}, {.topic = NOTHING, .value = "v", .lane = 4},
    };
    static const wf_wire_status expected[] = {WF_WIRE_SUCCESS, WF_WIRE_FAILURE, WF_WIRE_UNRUN, WF_WIRE_UNRUN,
                                              WF_WIRE_SUCCESS, WF_WIRE_FAILURE, WF_WIRE_UNRUN, WF_WIRE_SUCCESS};
    parent_work(self, 1, items, 8);
    parent_await_done(self, 8);
    for (uint32_t i = 0; i < 8; i++) expect_status(self, RULE_FAILURE, i, 1, expected[i]);
    /* The lanes of the next task are others, whatever their numbers. */
    parent_work(self, 2, items + 2, 1);
    parent_await_done(self, 9);
    expect_status(self, RULE_FAILURE, 8, 1, WF_WIRE_SUCCESS);
}

static void check_any_order(parent *self) {
    static const item fail = {.topic = FAIL, .value = "f", .lane = WF_WIRE_ANY_ORDER};
    static const item pass = {.topic = NOTHING, .value = "v", .lane = WF_WIRE_ANY_ORDER};
    const item items[] = {fail, pass, fail, pass};
    parent_work(self, 1, items, 4);
    parent_await_done(self, 4);
    for (uint32_t i = 0; i < 4; i++) expect_status(self, RULE_FAILURE, i, 1, i % 2 ? WF_WIRE_SUCCESS : WF_WIRE_FAILURE);
}

/* 300 bytes of characters of two bytes, and the same one byte off: one of them is cut within a character by whoever
 * cuts bytes. */
static void check_long_reason(parent *self) {
    char text[2][304] = {"", "x"};
    for (int i = 0; i < 2; i++)
        for (size_t at = strlen(text[i]); at < 300; at += 2) memcpy(text[i] + at, "\xc3\xa4", 3);
    const item items[] = {{.topic = FAIL, .value = text[0]}, {.topic = FAIL, .value = text[1], .lane = 1}};
    parent_work(self, 1, items, 2);
    parent_await_done(self, 2);
    for (uint32_t i = 0; i < 2; i++) {
        text[i][i + 180] = '\0';
        expect_status(self, RULE_FAILURE, i, 1, WF_WIRE_FAILURE);
        PARENT_EXPECT(self, RULE_FAILURE, strstr(self->sent[i].reason, text[i]),
                      "expected the beginning of a long reason, got \"%s\"", self->sent[i].reason);
    }
}

/* What a handler says may hold anything: bytes of the record, of another encoding. */
static void check_foreign_reason(parent *self) {
    static const char *const texts[] = {"caf\xe9", "\xff\xfe", "cut \xf0\x9f\x92"};
    item items[3];
    for (uint32_t i = 0; i < 3; i++) items[i] = (item){.topic = FAIL, .value = texts[i], .lane = i};
    parent_work(self, 1, items, 3);
    parent_await_done(self, 3); /* there reasons are looked at */
    expect_status(self, RULE_FAILURE, 0, 3, WF_WIRE_FAILURE);
}

const check work_checks[] = {
    {"fields", "the handler sees topic, partition, offset, timestamp and attempt", check_fields, 0, 0, false},
    {"nulls", "null and empty keys and values are told apart", check_nulls, 0, 0, false},
    {"zeros", "values of zeros and control characters arrive", check_zeros, 0, 0, false},
    {"headers", "headers arrive: repeated and empty names, null and empty values", check_headers, 0, 0, false},
    {"large", "values of a mebibyte arrive, four in one WORK", check_large, 0, 0, false},
    {"topics", "a topic announced later, and one with another name than before", check_topics, 0, 0, false},
    {"records_1024", "1,024 records in one WORK, three times", check_many_records, 0, 0, false},
    {"two_tasks", "tasks are worked off in the order of their WORK", check_two_tasks, 0, 0, false},
    {"same_number", "a task with the number of the one before it", check_same_number, 0, 0, false},
    {"reports", "what is finished is reported before a slow record", check_reports, 0, 0, false},
    {"failure", "a failure is reported with its reason, and others go on", check_failure, 0, 0, false},
    {"closed_lane", "what follows a failure in its lane is not run", check_closed_lane, 0, 0, false},
    {"any_order", "a failure holds up nothing in lane 4294967295", check_any_order, 0, 0, false},
    {"foreign_reason", "a reason is UTF-8, whatever the handler says", check_foreign_reason, 0, 0, false},
    {"long_reason", "a reason is cut to 255 bytes, between characters", check_long_reason, 0, 0, false},
    {0},
};
