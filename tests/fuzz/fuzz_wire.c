/* SPDX-License-Identifier: Apache-2.0
 *
 * Frames of workers, and of weft as the worker reads them: whatever comes, it is refused or read within its bounds.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "wire.h"

static volatile unsigned sum; /* so that what was read is used */

static void touch(const char *bytes, size_t count) {
    for (size_t i = 0; i < count; i++) sum += (unsigned char)bytes[i];
}

static void read_done(const wf_wire_header *header, const uint8_t *data, size_t size) {
    wf_wire_reader reader;
    wf_wire_done done;
    const char *reason;
    uint32_t count = 0;
    wf_wire_read_done(&reader, header, data, size);
    while (wf_wire_next_done(&reader, &done, &reason)) {
        touch(reason, done.reason_bytes);
        count++;
    }
    WF_CHECK(count <= WF_WIRE_RECORDS_MAX);
    WF_CHECK(reader.why || count == header->count);
}

/* As a handler does, without a look at what it says. */
static void touch_headers(const char *at, uint16_t count) {
    for (; count > 0; count--) {
        uint32_t name_bytes;
        int32_t value_bytes;
        memcpy(&name_bytes, at, sizeof name_bytes);
        memcpy(&value_bytes, at + sizeof name_bytes, sizeof value_bytes);
        touch(at, wf_record_header_size(name_bytes, value_bytes));
        at += wf_record_header_size(name_bytes, value_bytes);
    }
}

static void read_work(const wf_wire_header *header, const uint8_t *data, size_t size) {
    wf_wire_reader reader;
    wf_wire_record record;
    const char *bytes;
    wf_wire_read_work(&reader, header, data, size);
    while (wf_wire_next_record(&reader, &record, &bytes)) {
        size_t before = wf_record_length(record.key_bytes) + wf_record_length(record.value_bytes);
        touch(bytes, before + record.header_bytes);
        touch_headers(bytes + before, record.header_count);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    wf_wire_header header;
    wf_wire_hello hello;
    wf_wire_welcome welcome;
    char name[WF_WIRE_NAME_MAX + 1];
    const char *why = NULL;
    if (wf_wire_open(data, size, &header, &why) != WEFT_OK) {
        WF_CHECK(why != NULL);
        return 0;
    }
    weft_status status = wf_wire_check_worker(&header, size, &why);
    WF_CHECK(status == WEFT_OK || why != NULL);
    if (status == WEFT_OK && header.type == WF_WIRE_LOG)
        WF_CHECK(size <= WF_WIRE_HEADER_BYTES + WF_WIRE_LINE_MAX && header.count <= WF_WIRE_LEVEL_MAX);
    if (header.type == WF_WIRE_HELLO && wf_wire_read_hello(data, size, &hello, name, &why) == WEFT_OK)
        touch(name, strlen(name));
    if (header.type == WF_WIRE_WELCOME) wf_wire_read_welcome(data, size, &welcome, &why);
    if (header.type == WF_WIRE_DONE) read_done(&header, data, size);
    if (header.type == WF_WIRE_WORK) read_work(&header, data, size);
    return 0;
}
