/* SPDX-License-Identifier: Apache-2.0 */
#include "wire.h"

#include <string.h>

#include "check.h"

/* The structs are the frames: that holds where numbers are little-endian and nothing is padded. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the worker protocol is little-endian");
_Static_assert(sizeof(wf_wire_header) == WF_WIRE_HEADER_BYTES, "16 bytes");
_Static_assert(sizeof(wf_wire_record) == WF_WIRE_RECORD_BYTES, "48 bytes");
_Static_assert(sizeof(wf_wire_done) == WF_WIRE_DONE_BYTES, "16 bytes");
_Static_assert(sizeof(wf_wire_hello) == WF_WIRE_HELLO_BYTES, "48 bytes");
_Static_assert(sizeof(wf_wire_welcome) == 8, "8 bytes");

static weft_status bad(const char **ret_why, const char *why) {
    *ret_why = why;
    return WEFT_EINVAL;
}

weft_status wf_wire_open(const void *frame, size_t bytes, wf_wire_header *ret_header, const char **ret_why) {
    if (bytes < WF_WIRE_HEADER_BYTES) return bad(ret_why, "shorter than a header");
    memcpy(ret_header, frame, sizeof *ret_header);
    if (ret_header->magic != WF_WIRE_MAGIC) return bad(ret_why, "does not begin with WFT1");
    if (ret_header->version != WF_WIRE_VERSION) return bad(ret_why, "of another version than 1");
    if (ret_header->type < WF_WIRE_HELLO || ret_header->type >= WF_WIRE_TYPE_END)
        return bad(ret_why, "of an unknown type");
    if (ret_header->zero != 0) return bad(ret_why, "with something in bytes 6 and 7, which must be zero");
    return WEFT_OK;
}

weft_status wf_wire_check_worker(const wf_wire_header *header, size_t bytes, const char **ret_why) {
    size_t behind = bytes - WF_WIRE_HEADER_BYTES;
    bool is_log = header->type == WF_WIRE_LOG, is_pong = header->type == WF_WIRE_PONG;
    bool is_hello = header->type == WF_WIRE_HELLO, is_bye = header->type == WF_WIRE_BYE;
    if (header->type == WF_WIRE_DONE) return WEFT_OK;
    if (!is_hello && !is_bye && !is_pong && !is_log) return bad(ret_why, "a frame that only weft sends");
    if (header->count != 0 && !is_log) return bad(ret_why, "has a count where zero must be");
    if (header->task != 0 && !is_pong) return bad(ret_why, "has a task where zero must be");
    if (behind != 0 && (is_pong || is_bye)) return bad(ret_why, "has bytes behind its header");
    if (is_log && header->count > WF_WIRE_LEVEL_MAX) return bad(ret_why, "LOG has a level above 3");
    if (is_log && behind > WF_WIRE_LINE_MAX) return bad(ret_why, "LOG has a line of more than 4096 bytes");
    return WEFT_OK;
}

weft_status wf_wire_read_hello(const void *frame, size_t bytes, wf_wire_hello *ret_hello,
                               char ret_name[WF_WIRE_NAME_MAX + 1], const char **ret_why) {
    if (bytes < WF_WIRE_HEADER_BYTES + WF_WIRE_HELLO_BYTES) return bad(ret_why, "HELLO is too short");
    const char *at = (const char *)frame + WF_WIRE_HEADER_BYTES;
    memcpy(ret_hello, at, sizeof *ret_hello);
    size_t rest = bytes - WF_WIRE_HEADER_BYTES - WF_WIRE_HELLO_BYTES;
    if (ret_hello->name_bytes != rest) return bad(ret_why, "HELLO has a name of another length than it says");
    if (rest > WF_WIRE_NAME_MAX) return bad(ret_why, "HELLO has a name of more than 64 bytes");
    memcpy(ret_name, at + WF_WIRE_HELLO_BYTES, rest);
    ret_name[rest] = '\0';
    for (size_t i = 0; i < rest; i++)
        if (ret_name[i] < 0x21 || ret_name[i] > 0x7e) return bad(ret_why, "HELLO has a name that is not plain ASCII");
    if (ret_hello->version_low == 0) return bad(ret_why, "HELLO offers version 0, which there is not");
    if (ret_hello->flags > WF_WIRE_HAS_PROGRESS) return bad(ret_why, "HELLO has unknown flags");
    return WEFT_OK;
}

weft_status wf_wire_read_welcome(const void *frame, size_t bytes, wf_wire_welcome *ret_welcome, const char **ret_why) {
    if (bytes != WF_WIRE_HEADER_BYTES + sizeof *ret_welcome) return bad(ret_why, "WELCOME has another size");
    memcpy(ret_welcome, (const char *)frame + WF_WIRE_HEADER_BYTES, sizeof *ret_welcome);
    return WEFT_OK;
}

/* Is there room for all entries? A count is at most 2^32 - 1, so the product fits 64 bits. */
static void begin(wf_wire_reader *reader, const wf_wire_header *header, const void *frame, size_t bytes,
                  size_t entry_bytes) {
    uint64_t entries = (uint64_t)header->count * entry_bytes;
    *reader = (wf_wire_reader){.count = header->count};
    if (header->count == 0) reader->why = "has no entry";
    if (header->count > WF_WIRE_RECORDS_MAX) reader->why = "has more than 1024 entries";
    if (entries > bytes - WF_WIRE_HEADER_BYTES) reader->why = "is shorter than its entries";
    if (reader->why) return;
    reader->entries = (const uint8_t *)frame + WF_WIRE_HEADER_BYTES;
    reader->bytes = reader->entries + entries;
    reader->byte_count = bytes - WF_WIRE_HEADER_BYTES - (size_t)entries;
}

static bool refuse(wf_wire_reader *reader, const char *why) {
    reader->why = why;
    return false;
}

static bool at_end(wf_wire_reader *reader, const char *why) {
    if (reader->why || reader->next < reader->count) return reader->why != NULL;
    if (reader->used != reader->byte_count) reader->why = why;
    return true;
}

void wf_wire_read_done(wf_wire_reader *reader, const wf_wire_header *header, const void *frame, size_t bytes) {
    begin(reader, header, frame, bytes, WF_WIRE_DONE_BYTES);
}

bool wf_wire_next_done(wf_wire_reader *reader, wf_wire_done *ret_done, const char **ret_reason) {
    if (at_end(reader, "DONE has bytes behind its last reason")) return false;
    memcpy(ret_done, reader->entries + (size_t)reader->next * WF_WIRE_DONE_BYTES, sizeof *ret_done);
    if (ret_done->status > WF_WIRE_UNRUN) return refuse(reader, "DONE has an unknown status");
    if (ret_done->zero[0] || ret_done->zero[1] || ret_done->zero[2])
        return refuse(reader, "DONE has something where zeros must be");
    if (ret_done->reason_bytes && ret_done->status != WF_WIRE_FAILURE)
        return refuse(reader, "DONE has a reason for what did not fail");
    if (ret_done->reason_bytes > WF_WIRE_REASON_MAX) return refuse(reader, "DONE has a reason of more than 255 bytes");
    if (ret_done->reason_bytes > reader->byte_count - reader->used) return refuse(reader, "DONE ends inside a reason");
    *ret_reason = (const char *)reader->bytes + reader->used;
    reader->used += ret_done->reason_bytes;
    reader->next++;
    return true;
}

void wf_wire_read_work(wf_wire_reader *reader, const wf_wire_header *header, const void *frame, size_t bytes) {
    begin(reader, header, frame, bytes, WF_WIRE_RECORD_BYTES);
}

/* Do so many headers fill these bytes exactly? Whoever reads them later doesn't look. */
static bool headers_fit(const uint8_t *at, size_t bytes, uint16_t count) {
    for (; count > 0; count--) {
        uint32_t name_bytes;
        int32_t value_bytes;
        if (bytes < sizeof name_bytes + sizeof value_bytes) return false;
        memcpy(&name_bytes, at, sizeof name_bytes);
        memcpy(&value_bytes, at + sizeof name_bytes, sizeof value_bytes);
        size_t size = wf_record_header_size(name_bytes, value_bytes);
        if (value_bytes < -1 || size > bytes) return false;
        if (at[sizeof name_bytes + sizeof value_bytes + name_bytes] != 0) return false;
        at += size;
        bytes -= size;
    }
    return bytes == 0;
}

bool wf_wire_next_record(wf_wire_reader *reader, wf_wire_record *ret_record, const char **ret_bytes) {
    if (at_end(reader, "WORK has bytes behind its last record")) return false;
    memcpy(ret_record, reader->entries + (size_t)reader->next * WF_WIRE_RECORD_BYTES, sizeof *ret_record);
    if (ret_record->key_bytes < -1 || ret_record->value_bytes < -1) return refuse(reader, "WORK has a negative length");
    uint64_t length = (uint64_t)wf_record_length(ret_record->key_bytes) + wf_record_length(ret_record->value_bytes) +
                      ret_record->header_bytes;
    if (ret_record->begin != reader->used) return refuse(reader, "WORK has records that don't follow each other");
    if (length > reader->byte_count - reader->used) return refuse(reader, "WORK ends inside a record");
    const uint8_t *bytes = reader->bytes + reader->used;
    if (!headers_fit(bytes + length - ret_record->header_bytes, ret_record->header_bytes, ret_record->header_count))
        return refuse(reader, "WORK has headers that don't fill their bytes");
    *ret_bytes = (const char *)bytes;
    reader->used += (size_t)length;
    reader->next++;
    return true;
}

const char *wf_wire_text(const void *frame, size_t bytes, size_t *ret_bytes) {
    *ret_bytes = bytes - WF_WIRE_HEADER_BYTES;
    return (const char *)frame + WF_WIRE_HEADER_BYTES;
}

/* --- writing */

uint8_t *wf_wire_put_header(uint8_t *at, wf_wire_type type, uint32_t count, uint32_t task) {
    wf_wire_header header = {
        .magic = WF_WIRE_MAGIC, .version = WF_WIRE_VERSION, .type = (uint8_t)type, .count = count, .task = task};
    memcpy(at, &header, sizeof header);
    return at + sizeof header;
}

uint8_t *wf_wire_put_hello(uint8_t *at, const wf_wire_hello *hello, const char *name) {
    at = wf_wire_put_header(at, WF_WIRE_HELLO, 0, 0);
    memcpy(at, hello, sizeof *hello);
    memcpy(at + sizeof *hello, name, hello->name_bytes);
    return at + sizeof *hello + hello->name_bytes;
}

uint8_t *wf_wire_put_done(uint8_t *at, const wf_wire_done *done) {
    memcpy(at, done, sizeof *done);
    return at + sizeof *done;
}

uint8_t *wf_wire_put_work(uint8_t *at, uint32_t task, const wf_record *head, uint32_t count) {
    at = wf_wire_put_header(at, WF_WIRE_WORK, count, task);
    uint8_t *bytes = at + (size_t)count * WF_WIRE_RECORD_BYTES;
    const void *lane = NULL;
    uint32_t lane_number = 0, begin_at = 0;
    for (uint32_t i = 0; i < count; i++, head = head->next) {
        wf_record_prefetch(head->next);
        if (i > 0 && head->lane != lane) lane_number++;
        lane = head->lane;
        wf_wire_record record = {
            .offset = head->offset,
            .timestamp_ms = head->timestamp_ms,
            .topic = head->slot,
            .partition = head->partition,
            .key_bytes = head->key_bytes,
            .value_bytes = head->value_bytes,
            .header_bytes = head->header_bytes,
            .header_count = head->header_count,
            .attempt = head->attempt,
            .begin = begin_at,
            .lane = head->flags & WF_RECORD_ANY_ORDER ? WF_WIRE_ANY_ORDER : lane_number,
        };
        memcpy(at, &record, sizeof record);
        at += sizeof record;
        size_t length = wf_wire_payload_bytes(head);
        memcpy(bytes + begin_at, wf_record_key_bytes(head), length);
        begin_at += (uint32_t)length;
    }
    return bytes + begin_at;
}
