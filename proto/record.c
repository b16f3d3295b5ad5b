/* SPDX-License-Identifier: Apache-2.0
 *
 * The bytes behind a record's head: how headers are written there, and what a handler reads of it all.
 */
#include "record.h"

#include <string.h>

#include "weft/record.h"

char *wf_record_header_put(char *at, const char *name, size_t name_bytes, const void *value, int32_t value_bytes) {
    uint32_t name_length = (uint32_t)name_bytes;
    memcpy(at, &name_length, sizeof name_length);
    memcpy(at + 4, &value_bytes, sizeof value_bytes);
    at += 8;
    if (name_bytes) memcpy(at, name, name_bytes);
    at += name_bytes;
    *at++ = '\0';
    size_t length = wf_record_length(value_bytes);
    if (length) memcpy(at, value, length);
    return at + length;
}

const char *weft_record_topic(const weft_record *record) {
    return record->topic;
}

int32_t weft_record_partition(const weft_record *record) {
    return record->partition;
}

int64_t weft_record_offset(const weft_record *record) {
    return record->offset;
}

int64_t weft_record_timestamp_ms(const weft_record *record) {
    return record->timestamp_ms;
}

unsigned weft_record_attempt(const weft_record *record) {
    return record->attempt;
}

/* An empty one points behind the head, which is not NULL; nobody reads there. */
static const void *bytes_or_null(const char *bytes, int32_t length, size_t *ret_bytes) {
    if (ret_bytes) *ret_bytes = wf_record_length(length);
    return length < 0 ? NULL : bytes;
}

const void *weft_record_key(const weft_record *record, size_t *ret_bytes) {
    return bytes_or_null(wf_record_key_bytes(record), record->key_bytes, ret_bytes);
}

const void *weft_record_value(const weft_record *record, size_t *ret_bytes) {
    return bytes_or_null(wf_record_value_bytes(record), record->value_bytes, ret_bytes);
}

size_t weft_record_header_count(const weft_record *record) {
    return record->header_count;
}

bool weft_record_header(const weft_record *record, size_t index, const char **ret_name, const void **ret_value,
                        size_t *ret_bytes) {
    if (index >= record->header_count) return false;
    const char *at = wf_record_header_bytes(record);
    for (;; index--) {
        uint32_t name_bytes;
        int32_t value_bytes;
        memcpy(&name_bytes, at, sizeof name_bytes);
        memcpy(&value_bytes, at + 4, sizeof value_bytes);
        if (index > 0) {
            at += wf_record_header_size(name_bytes, value_bytes);
            continue;
        }
        const void *value = bytes_or_null(at + 8 + name_bytes + 1, value_bytes, ret_bytes);
        if (ret_name) *ret_name = at + 8;
        if (ret_value) *ret_value = value;
        return true;
    }
}
