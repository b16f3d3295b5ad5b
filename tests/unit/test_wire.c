/* SPDX-License-Identifier: Apache-2.0
 *
 * The worker protocol's frames: golden ones that every implementation is tested with, and random ones there and back.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "require.h"
#include "seeded.h"
#include "wire.h"

TestSuite(wire, .timeout = 60);

static json_t *golden(const char *list) {
    json_error_t error;
    json_t *root = json_load_file(WEFT_SOURCE_DIR "/tests/golden/worker_frames.json", 0, &error);
    REQUIRE(root != NULL, "%s", error.text);
    json_t *frames = json_incref(json_object_get(root, list));
    json_decref(root);
    return frames;
}

static size_t bytes_of(const json_t *frame, uint8_t *bytes, size_t room) {
    const char *hex = json_string_value(json_object_get(frame, "hex"));
    size_t count = strlen(hex) / 2;
    REQUIRE(count <= room);
    for (size_t i = 0; i < count; i++) {
        unsigned byte;
        sscanf(hex + 2 * i, "%2x", &byte);
        bytes[i] = (uint8_t)byte;
    }
    return count;
}

static bool same_hex(const json_t *expected, const char *bytes, int64_t count) {
    if (count < 0 || json_is_null(expected)) return count < 0 && json_is_null(expected);
    const char *hex = json_string_value(expected);
    char text[3];
    if (strlen(hex) != (size_t)count * 2) return false;
    for (int64_t i = 0; i < count; i++) {
        snprintf(text, sizeof text, "%02x", (unsigned char)bytes[i]);
        if (strncmp(hex + 2 * i, text, 2) != 0) return false;
    }
    return true;
}

static int64_t number(const json_t *object, const char *name) {
    const json_t *value = json_object_get(object, name);
    REQUIRE(json_is_integer(value), "%s", name);
    return json_integer_value(value);
}

static void check_hello(const json_t *expected, const uint8_t *frame, size_t bytes) {
    wf_wire_hello hello;
    char name[WF_WIRE_NAME_MAX + 1];
    const char *why;
    REQUIRE_EQ(wf_wire_read_hello(frame, bytes, &hello, name, &why), WEFT_OK);
    REQUIRE_EQ(hello.version_low, number(expected, "low"));
    REQUIRE_EQ(hello.version_high, number(expected, "high"));
    REQUIRE_EQ(hello.pid, number(expected, "pid"));
    REQUIRE_EQ(hello.flags, number(expected, "flags"));
    REQUIRE(same_hex(json_object_get(expected, "token"), (const char *)hello.token, WF_WIRE_TOKEN_BYTES));
    REQUIRE(strcmp(name, json_string_value(json_object_get(expected, "name"))) == 0);
    uint8_t again[256];
    REQUIRE_EQ(wf_wire_put_hello(again, &hello, name) - again, bytes);
    REQUIRE(memcmp(again, frame, bytes) == 0);
}

static void check_record(const json_t *expected, const wf_wire_record *record, const char *bytes) {
    REQUIRE_EQ(record->offset, number(expected, "offset"));
    REQUIRE_EQ(record->timestamp_ms, number(expected, "timestamp_ms"));
    REQUIRE_EQ(record->topic, number(expected, "topic"));
    REQUIRE_EQ(record->partition, number(expected, "partition"));
    REQUIRE_EQ(record->attempt, number(expected, "attempt"));
    REQUIRE_EQ(record->lane, number(expected, "lane"));
    REQUIRE(same_hex(json_object_get(expected, "key"), bytes, record->key_bytes));
    bytes += wf_record_length(record->key_bytes);
    REQUIRE(same_hex(json_object_get(expected, "value"), bytes, record->value_bytes));
    bytes += wf_record_length(record->value_bytes);
    json_t *headers = json_object_get(expected, "headers");
    REQUIRE_EQ(record->header_count, json_array_size(headers));
    size_t used = 0;
    for (size_t i = 0; i < record->header_count; i++) {
        uint32_t name_bytes;
        int32_t value_bytes;
        memcpy(&name_bytes, bytes + used, 4);
        memcpy(&value_bytes, bytes + used + 4, 4);
        const json_t *header = json_array_get(headers, i);
        REQUIRE(strcmp(bytes + used + 8, json_string_value(json_array_get(header, 0))) == 0);
        REQUIRE(same_hex(json_array_get(header, 1), bytes + used + 8 + name_bytes + 1, value_bytes));
        used += wf_record_header_size(name_bytes, value_bytes);
    }
    REQUIRE_EQ(used, record->header_bytes);
}

static void check_work(const json_t *expected, const wf_wire_header *header, const uint8_t *frame, size_t bytes) {
    wf_wire_reader reader;
    wf_wire_record record;
    const char *at;
    size_t count = 0;
    wf_wire_read_work(&reader, header, frame, bytes);
    while (wf_wire_next_record(&reader, &record, &at)) check_record(json_array_get(expected, count++), &record, at);
    REQUIRE(reader.why == NULL, "%s", reader.why);
    REQUIRE_EQ(count, json_array_size(expected));
}

static void check_done(const json_t *expected, const wf_wire_header *header, const uint8_t *frame, size_t bytes) {
    wf_wire_reader reader;
    wf_wire_done done;
    const char *reason;
    size_t count = 0;
    wf_wire_read_done(&reader, header, frame, bytes);
    while (wf_wire_next_done(&reader, &done, &reason)) {
        const json_t *entry = json_array_get(expected, count++);
        const char *text = json_string_value(json_object_get(entry, "reason"));
        REQUIRE_EQ(done.offset, number(entry, "offset"));
        REQUIRE_EQ(done.status, number(entry, "status"));
        REQUIRE(done.reason_bytes == strlen(text) && memcmp(reason, text, done.reason_bytes) == 0);
    }
    REQUIRE(reader.why == NULL, "%s", reader.why);
    REQUIRE_EQ(count, json_array_size(expected));
}

Test(wire, golden__every_frame__says_what_it_says) {
    json_t *frames = golden("frames");
    size_t index;
    json_t *frame;
    json_array_foreach(frames, index, frame) {
        uint8_t bytes[1024];
        size_t count = bytes_of(frame, bytes, sizeof bytes);
        wf_wire_header header;
        const char *why;
        REQUIRE_EQ(wf_wire_open(bytes, count, &header, &why), WEFT_OK);
        REQUIRE_EQ(header.type, index + 1); /* one of each type, in their order */
        if (json_object_get(frame, "task")) REQUIRE_EQ(header.task, number(frame, "task"));
        if (json_object_get(frame, "level")) REQUIRE_EQ(header.count, number(frame, "level"));
        const char *text = json_string_value(json_object_get(frame, "text"));
        size_t text_bytes;
        if (text) {
            const char *found = wf_wire_text(bytes, count, &text_bytes);
            REQUIRE(text_bytes == strlen(text) && memcmp(found, text, text_bytes) == 0);
        }
        if (header.type == WF_WIRE_HELLO) check_hello(json_object_get(frame, "hello"), bytes, count);
        if (header.type == WF_WIRE_WORK) check_work(json_object_get(frame, "records"), &header, bytes, count);
        if (header.type == WF_WIRE_DONE) check_done(json_object_get(frame, "entries"), &header, bytes, count);
        if (header.type == WF_WIRE_WELCOME) {
            wf_wire_welcome welcome;
            REQUIRE_EQ(wf_wire_read_welcome(bytes, count, &welcome, &why), WEFT_OK);
            REQUIRE_EQ(welcome.worker, 7);
            REQUIRE_EQ(welcome.heartbeat_ms, 2000);
        }
    }
    REQUIRE_EQ(json_array_size(frames), WF_WIRE_TYPE_END - 1);
    json_decref(frames);
}

/* Is there anything wrong with it? What the engine does with a frame of a worker. */
static bool is_refused(const uint8_t *bytes, size_t count) {
    wf_wire_header header;
    wf_wire_hello hello;
    wf_wire_reader reader;
    wf_wire_done done;
    char name[WF_WIRE_NAME_MAX + 1];
    const char *why, *reason;
    if (wf_wire_open(bytes, count, &header, &why) != WEFT_OK) return true;
    if (wf_wire_check_worker(&header, count, &why) != WEFT_OK) return true;
    if (header.type == WF_WIRE_HELLO) return wf_wire_read_hello(bytes, count, &hello, name, &why) != WEFT_OK;
    if (header.type != WF_WIRE_DONE) return false;
    wf_wire_read_done(&reader, &header, bytes, count);
    while (wf_wire_next_done(&reader, &done, &reason)) {
    }
    return reader.why != NULL;
}

Test(wire, golden__frames_that_break_a_rule__are_refused) {
    json_t *frames = golden("refused");
    size_t index;
    json_t *frame;
    json_array_foreach(frames, index, frame) {
        uint8_t *bytes = malloc(32768);
        size_t count = bytes_of(frame, bytes, 32768);
        uint8_t *exact = malloc(count); /* so that a sanitizer sees a read behind its end */
        memcpy(exact, bytes, count);
        REQUIRE(is_refused(exact, count), "%s", json_string_value(json_object_get(frame, "name")));
        free(bytes);
        free(exact);
    }
    REQUIRE(index > 30);
    json_decref(frames);
}

/* A line and a level at their limits, and what means something else at each side. */
Test(wire, worker_frames__as_long_as_they_may_be__are_taken) {
    uint8_t frame[WF_WIRE_HEADER_BYTES + WF_WIRE_LINE_MAX + 1] = {0};
    for (uint32_t level = 0; level <= WF_WIRE_LEVEL_MAX; level++) {
        wf_wire_put_header(frame, WF_WIRE_LOG, level, 0);
        REQUIRE(!is_refused(frame, WF_WIRE_HEADER_BYTES));
        REQUIRE(!is_refused(frame, WF_WIRE_HEADER_BYTES + WF_WIRE_LINE_MAX));
        REQUIRE(is_refused(frame, WF_WIRE_HEADER_BYTES + WF_WIRE_LINE_MAX + 1));
    }
    wf_wire_put_header(frame, WF_WIRE_PONG, 0, UINT32_MAX);
    REQUIRE(!is_refused(frame, WF_WIRE_HEADER_BYTES));
    wf_wire_put_header(frame, WF_WIRE_BYE, 0, 0);
    REQUIRE(!is_refused(frame, WF_WIRE_HEADER_BYTES));
}

/* What a worker does with a WORK. */
static bool is_refused_work(const uint8_t *bytes, size_t count) {
    wf_wire_header header;
    wf_wire_reader reader;
    wf_wire_record record;
    const char *why, *at;
    if (wf_wire_open(bytes, count, &header, &why) != WEFT_OK) return true;
    REQUIRE_EQ(header.type, WF_WIRE_WORK);
    wf_wire_read_work(&reader, &header, bytes, count);
    while (wf_wire_next_record(&reader, &record, &at)) {
    }
    return reader.why != NULL;
}

Test(wire, golden__work_that_breaks_a_rule__is_refused) {
    json_t *frames = golden("refused_by_workers");
    size_t index;
    json_t *frame;
    json_array_foreach(frames, index, frame) {
        uint8_t bytes[1024];
        size_t count = bytes_of(frame, bytes, sizeof bytes);
        uint8_t *exact = malloc(count);
        memcpy(exact, bytes, count);
        REQUIRE(is_refused_work(exact, count), "%s", json_string_value(json_object_get(frame, "name")));
        free(exact);
    }
    REQUIRE(index > 6);
    json_decref(frames);
}

/* One record without key and value, and these headers. */
static bool are_refused_headers(const char *headers, uint32_t bytes, uint16_t count) {
    uint8_t frame[WF_WIRE_HEADER_BYTES + WF_WIRE_RECORD_BYTES + 64];
    uint8_t *at = wf_wire_put_header(frame, WF_WIRE_WORK, 1, 1);
    wf_wire_record record = {
        .offset = 1, .key_bytes = -1, .value_bytes = -1, .header_bytes = bytes, .header_count = count};
    memcpy(at, &record, sizeof record);
    memcpy(at + sizeof record, headers, bytes);
    return is_refused_work(frame, WF_WIRE_HEADER_BYTES + sizeof record + bytes);
}

Test(wire, headers__that_do_not_fill_their_bytes__are_refused) {
#define NAME "\1\0\0\0"
    static const struct {
        const char *headers;
        uint32_t bytes;
        uint16_t count;
        bool refused;
    } rows[] = {
        {"", 0, 0, false},
        {NAME "\2\0\0\0"
              "n\0"
              "vv",
         12, 1, false},
        {NAME "\377\377\377\377"
              "n\0",
         10, 1, false},
        {"", 0, 1, true},
        {NAME "\0\0\0\0"
              "n\0",
         10, 2, true},
        {NAME "\0\0\0\0"
              "n\0",
         10, 0, true},
        {NAME "\2\0\0\0"
              "n\0"
              "v",
         11, 1, true},
        {NAME "\0\0\0\0"
              "n\0"
              "v",
         11, 1, true},
        {NAME "\376\377\377\377"
              "n\0",
         10, 1, true},
        {"\377\377\377\377"
         "\0\0\0\0"
         "n\0",
         10, 1, true},
        {NAME "\377\377\377\177"
              "n\0",
         10, 1, true},
        {NAME "\0\0\0\0"
              "nn",
         10, 1, true},
        {NAME "\0\0\0\0"
              "n",
         9, 1, true},
        {NAME, 4, 1, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        REQUIRE(are_refused_headers(rows[i].headers, rows[i].bytes, rows[i].count) == rows[i].refused, "row %zu", i);
#undef NAME
}

/* A frame that lost its end is never taken for a whole one. */
Test(wire, cut__at_any_byte__refused) {
    json_t *frames = golden("frames");
    size_t index;
    json_t *frame;
    json_array_foreach(frames, index, frame) {
        uint8_t bytes[1024];
        size_t count = bytes_of(frame, bytes, sizeof bytes);
        if (bytes[5] != WF_WIRE_HELLO && bytes[5] != WF_WIRE_DONE) continue;
        for (size_t cut = 0; cut < count; cut++) {
            uint8_t *exact = malloc(cut + 1);
            memcpy(exact, bytes, cut);
            REQUIRE(is_refused(exact, cut), "cut to %zu of %zu", cut, count);
            free(exact);
        }
    }
    json_decref(frames);
}

/* --- random work, there and back */

static wf_record *make_record(seeded *random, int64_t offset, void *lane) {
    int32_t key_bytes = (int32_t)seeded_below(random, 20) - 1, value_bytes = (int32_t)seeded_below(random, 200) - 1;
    size_t payload = wf_record_length(key_bytes) + wf_record_length(value_bytes);
    wf_record *record = calloc(1, sizeof *record + payload);
    *record = (wf_record){.offset = offset,
                          .timestamp_ms = (int64_t)seeded_below(random, 1000) - 1,
                          .slot = (uint32_t)seeded_below(random, 5),
                          .partition = (int32_t)seeded_below(random, 9),
                          .key_bytes = key_bytes,
                          .value_bytes = value_bytes,
                          .attempt = (uint16_t)(1 + seeded_below(random, 9)),
                          .lane = lane,
                          .flags = seeded_percent(random, 10) ? WF_RECORD_ANY_ORDER : 0};
    for (size_t i = 0; i < payload; i++) wf_record_bytes(record)[i] = (char)seeded_below(random, 256);
    return record;
}

Test(wire, work__random_chains__come_out_as_they_went_in) {
    seeded random = seeded_start(21, 0);
    static char lanes[4];
    for (int round = 0; round < 500; round++) {
        wf_chain chain = {0};
        uint32_t count = 1 + (uint32_t)seeded_below(&random, WF_WIRE_RECORDS_MAX);
        for (uint32_t i = 0; i < count; i++) wf_chain_push(&chain, make_record(&random, i * 3, &lanes[i * 4 / count]));
        size_t payload_bytes = 0;
        for (wf_record *record = chain.head; record; record = record->next)
            payload_bytes += wf_wire_payload_bytes(record);
        size_t bytes = wf_wire_work_bytes(count, payload_bytes);
        uint8_t *frame = malloc(bytes);
        REQUIRE_EQ(wf_wire_put_work(frame, 77, chain.head, count) - frame, bytes);
        wf_wire_header header;
        wf_wire_reader reader;
        wf_wire_record seen;
        const char *why, *at;
        REQUIRE_EQ(wf_wire_open(frame, bytes, &header, &why), WEFT_OK);
        REQUIRE(header.type == WF_WIRE_WORK && header.task == 77 && header.count == count);
        wf_wire_read_work(&reader, &header, frame, bytes);
        uint32_t lane_before = 0;
        for (wf_record *record = chain.head, *before = NULL; record; before = record, record = record->next) {
            REQUIRE(wf_wire_next_record(&reader, &seen, &at), "%s", reader.why);
            REQUIRE(seen.offset == record->offset && seen.timestamp_ms == record->timestamp_ms);
            REQUIRE(seen.topic == record->slot && seen.partition == record->partition);
            REQUIRE(seen.key_bytes == record->key_bytes && seen.value_bytes == record->value_bytes);
            REQUIRE(seen.attempt == record->attempt);
            size_t payload = wf_record_length(record->key_bytes) + wf_record_length(record->value_bytes);
            REQUIRE(memcmp(at, wf_record_key_bytes(record), payload) == 0);
            bool open = record->flags & WF_RECORD_ANY_ORDER;
            REQUIRE(open == (seen.lane == WF_WIRE_ANY_ORDER));
            if (!open && before && !(before->flags & WF_RECORD_ANY_ORDER))
                REQUIRE((seen.lane == lane_before) == (record->lane == before->lane));
            lane_before = seen.lane;
        }
        REQUIRE(!wf_wire_next_record(&reader, &seen, &at) && reader.why == NULL);
        free(frame);
        while (chain.head) free(wf_chain_pop(&chain));
    }
}
