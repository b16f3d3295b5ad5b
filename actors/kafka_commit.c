/* SPDX-License-Identifier: Apache-2.0 */
#include "kafka_commit.h"

#include <string.h>

enum {
    METADATA_MAX = 32767, /* librdkafka writes the length as int16 and does not check it */
    VERSION_METADATA_BINARY =
        0x02060100, /* 2.6.1: before, metadata was copied up to its first NUL and the rest left unset */
};

/* Only those that are not simply "try again"; RD_KAFKA_RESP_ERR_... without the prefix. */
enum {
    OFFSET_METADATA_TOO_LARGE = 12,
    ILLEGAL_GENERATION = 22,
    UNKNOWN_MEMBER_ID = 25,
    INVALID_COMMIT_OFFSET_SIZE = 28,
    FENCED_INSTANCE_ID = 82,
    FENCED_MEMBER_EPOCH = 110,
    STALE_MEMBER_EPOCH = 113,
    LOCAL_ASSIGNMENT_LOST = -142,
    LOCAL_FENCED = -144,
    LOCAL_FATAL = -150,
    LOCAL_DESTROY = -197, /* the consumer is closed */
};

bool wf_kafka_can_commit(const wf_kafka_partition *partitions, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (partitions[i].offset < 0 || partitions[i].metadata_bytes > METADATA_MAX) return false;
    return count > 0;
}

size_t wf_kafka_metadata_bytes(int version, const char *metadata, size_t bytes) {
    if (!metadata) return 0;
    return version >= VERSION_METADATA_BINARY ? bytes : strnlen(metadata, bytes);
}

wf_kafka_error wf_kafka_error_of(int code) {
    switch (code) {
    case 0:
        return WF_KAFKA_OK;
    case OFFSET_METADATA_TOO_LARGE:
    case INVALID_COMMIT_OFFSET_SIZE:
        return WF_KAFKA_TOO_LARGE;
    case ILLEGAL_GENERATION:
    case UNKNOWN_MEMBER_ID:
    case FENCED_INSTANCE_ID:
    case FENCED_MEMBER_EPOCH:
    case STALE_MEMBER_EPOCH:
    case LOCAL_ASSIGNMENT_LOST:
    case LOCAL_FENCED:
    case LOCAL_DESTROY:
        return WF_KAFKA_FENCED;
    case LOCAL_FATAL:
        return WF_KAFKA_FATAL;
    default:
        return WF_KAFKA_RETRY;
    }
}

/* From harmless to grave. TOO_LARGE is healed by a smaller map, so a plain retry elsewhere doesn't hide it. */
static int gravity(wf_kafka_error error) {
    switch (error) {
    case WF_KAFKA_OK:
        return 0;
    case WF_KAFKA_RETRY:
    case WF_KAFKA_AWAY:
        return 1;
    case WF_KAFKA_TOO_LARGE:
        return 2;
    case WF_KAFKA_FENCED:
        return 3;
    case WF_KAFKA_FATAL:
        return 4;
    }
    return 4;
}

/* librdkafka spreads the code of one partition to all that have none (seen in 2.0.2 with a real broker). The limit is
 * one for the whole broker, so the longest metadata was surely too long; with the others it must be tried again. */
static void doubt_shorter(wf_kafka_partition *partitions, size_t count) {
    size_t longest = 0;
    for (size_t i = 0; i < count; i++) {
        if (partitions[i].error != WF_KAFKA_TOO_LARGE) return;
        if (partitions[i].metadata_bytes > longest) longest = partitions[i].metadata_bytes;
    }
    for (size_t i = 0; i < count; i++)
        if (partitions[i].metadata_bytes < longest) partitions[i].error = WF_KAFKA_RETRY;
}

wf_kafka_error wf_kafka_commit_errors(int call_code, wf_kafka_partition *partitions, size_t count, int *ret_code) {
    bool from_partition = false;
    for (size_t i = 0; i < count; i++)
        if (call_code != 0 && partitions[i].error == call_code) from_partition = true;
    int common = from_partition ? 0 : call_code;
    wf_kafka_error worst = wf_kafka_error_of(common);
    *ret_code = common;
    for (size_t i = 0; i < count; i++) {
        int code = partitions[i].error ? partitions[i].error : common;
        wf_kafka_error error = wf_kafka_error_of(code);
        partitions[i].error = (int)error;
        if (gravity(error) <= gravity(worst)) continue;
        worst = error;
        *ret_code = code;
    }
    doubt_shorter(partitions, count);
    return worst;
}

int wf_kafka_first_error(const wf_kafka_partition *partitions, size_t count) {
    int code = 0;
    for (size_t i = 0; i < count && code == 0; i++) code = partitions[i].error;
    return code;
}
