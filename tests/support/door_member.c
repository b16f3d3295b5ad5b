/* SPDX-License-Identifier: Apache-2.0 */
#include "door_member.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "must.h"

enum { REVOKE_TRIES_MAX = 3 };

void ledger_init(door_ledger *ledger, int partitions, int64_t records) {
    ledger->partitions = partitions;
    ledger->records = records;
    ledger->times = must_alloc((size_t)partitions * (size_t)records, 1);
}

void ledger_deinit(door_ledger *ledger) {
    free(ledger->times);
    ledger->times = NULL;
}

uint64_t ledger_seen(const door_ledger *ledger) {
    uint64_t seen = 0;
    for (size_t i = 0; i < (size_t)ledger->partitions * (size_t)ledger->records; i++) seen += ledger->times[i] > 0;
    return seen;
}

uint64_t ledger_repeated(const door_ledger *ledger) {
    uint64_t repeated = 0;
    for (size_t i = 0; i < (size_t)ledger->partitions * (size_t)ledger->records; i++)
        if (ledger->times[i] > 1) repeated += (uint64_t)ledger->times[i] - 1;
    return repeated;
}

/* --- sink */

static void ask_committed(door_member *member) {
    wf_kafka_partition partitions[MEMBER_PARTITIONS_MAX] = {0};
    for (size_t i = 0; i < member->given_count; i++) {
        partitions[i].topic = member->topic;
        partitions[i].partition = member->given[i];
    }
    weft_status status = member->door->ops->fetch_committed(member->door, partitions, member->given_count);
    MUST(status == WEFT_OK, "fetch_committed: %d", (int)status);
}

static void on_assign(void *context, const wf_kafka_partition *partitions, size_t count, bool incremental) {
    door_member *member = context;
    member->assignments++;
    member->incremental = incremental;
    member->given_count = count;
    for (size_t i = 0; i < count; i++) member->given[i] = partitions[i].partition;
    ask_committed(member);
}

static void on_committed_offsets(void *context, wf_kafka_error error, const char *text,
                                 const wf_kafka_partition *partitions, size_t count) {
    door_member *member = context;
    if (error) {
        member->refusals++;
        snprintf(member->text, sizeof member->text, "%s", text);
        MUST(count == 0, "committed offsets: %s", text);
        ask_committed(member);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        int p = partitions[i].partition;
        member->owned[p] = true;
        member->held[p] = false;
        member->started[p] = partitions[i].offset;
        member->next[p] = partitions[i].offset == WF_KAFKA_OFFSET_NONE ? -1 : partitions[i].offset;
        member->eof[p] = -1;
        size_t bytes = partitions[i].metadata_bytes;
        member->metadata_bytes[p] = bytes;
        if (bytes > sizeof member->metadata[p] - 1) bytes = sizeof member->metadata[p] - 1;
        if (bytes > 0) memcpy(member->metadata[p], partitions[i].metadata, bytes);
        member->metadata[p][bytes] = '\0';
    }
    weft_status status = member->door->ops->assign(member->door, partitions, count, member->incremental);
    MUST(status == WEFT_OK, "assign: %d", (int)status);
}

static void let_go(door_member *member) {
    wf_kafka_partition partitions[MEMBER_PARTITIONS_MAX] = {0};
    for (size_t i = 0; i < member->revoked_count; i++) {
        partitions[i].topic = member->topic;
        partitions[i].partition = member->revoked[i];
        member->owned[member->revoked[i]] = false;
    }
    member->revoke_waits = false;
    member->door->ops->unassign(member->door, partitions, member->revoked_count, member->incremental_revoke);
}

static void on_revoke(void *context, const wf_kafka_partition *partitions, size_t count, bool incremental, bool lost) {
    door_member *member = context;
    member->revocations++;
    member->losses += lost;
    member->incremental_revoke = incremental;
    member->revoked_count = count;
    member->revoke_tries = 0;
    for (size_t i = 0; i < count; i++) member->revoked[i] = partitions[i].partition;
    if (member->defer_revoke) return;
    if (lost) {
        let_go(member);
        return;
    }
    /* At most one commit at a time: if one is under way, the revocation waits for it and then makes its own. */
    member->revoke_waits = true;
    if (!member->commit_under_way && !member_commit(member, NULL)) let_go(member);
}

static void on_commit_result(void *context, wf_kafka_error error, const char *text,
                             const wf_kafka_partition *partitions, size_t count) {
    door_member *member = context;
    member->commits++;
    member->commit_error = error;
    if (error) snprintf(member->text, sizeof member->text, "%s", text);
    for (size_t i = 0; i < count; i++)
        member->partition_error[partitions[i].partition] = (wf_kafka_error)partitions[i].error;
    member->commit_under_way = false;
    if (!member->revoke_waits) return;
    bool final = true;
    for (size_t i = 0; i < count; i++)
        if (partitions[i].offset < member->next[partitions[i].partition]) final = false;
    if (error == WF_KAFKA_RETRY && ++member->revoke_tries < REVOKE_TRIES_MAX) final = false;
    if (final || !member_commit(member, NULL)) let_go(member);
}

static void on_error(void *context, wf_kafka_error error, const char *text, const char *topic, int32_t partition) {
    (void)topic;
    (void)partition;
    door_member *member = context;
    member->errors++;
    member->error = error;
    snprintf(member->text, sizeof member->text, "%s", text);
}

static void on_record(void *context, const wf_kafka_record *record) {
    door_member *member = context;
    int p = record->partition;
    member->records++;
    if (!member->owned[p] || member->held[p]) member->strays++;
    if (member->next[p] >= 0 && record->offset != member->next[p]) member->gaps++;
    member->next[p] = record->offset + 1;
    if (member->ledger && p < member->ledger->partitions && record->offset < member->ledger->records) {
        uint8_t *times = &member->ledger->times[p * member->ledger->records + record->offset];
        if (*times < UINT8_MAX) ++*times;
    }
    if (member->on_record) member->on_record(member, record);
    if (++member->in_call == member->stop_after) member->door->ops->consume_stop(member->door);
}

static void on_eof(void *context, const char *topic, int32_t partition, int64_t offset) {
    (void)topic;
    door_member *member = context;
    member->eof[partition] = offset;
}

static void on_closed(void *context) {
    door_member *member = context;
    member->closed = true;
}

static void on_log(void *context, int level, const char *facility, const char *text) {
    (void)context;
    if (getenv("WEFT_TEST_VERBOSE")) fprintf(stderr, "log %d %s: %s\n", level, facility, text);
}

static const wf_kafka_sink sink = {
    .on_assign = on_assign,
    .on_revoke = on_revoke,
    .on_committed_offsets = on_committed_offsets,
    .on_commit_result = on_commit_result,
    .on_error = on_error,
    .on_record = on_record,
    .on_eof = on_eof,
    .on_closed = on_closed,
    .on_log = on_log,
};

/* --- actions */

void member_open(door_member *member, const char *bootstrap, const char *group, const char *topic, door_ledger *ledger,
                 const char *const *settings) {
    wf_setting all[32] = {
        {"bootstrap.servers", bootstrap},           {"group.id", group},
        {"auto.offset.reset", "earliest"},          {"session.timeout.ms", "6000"},
        {"heartbeat.interval.ms", "200"},           {"fetch.wait.max.ms", "10"},
        {"partition.assignment.strategy", "range"},
    };
    size_t count = 7;
    for (; settings && settings[0]; settings += 2) all[count++] = (wf_setting){settings[0], settings[1]};
    *member = (door_member){.topic = topic, .ledger = ledger, .max_records = 500};
    char *error = NULL;
    weft_status status = wf_kafka_open(all, count, &member->door, &error);
    MUST(status == WEFT_OK, "wf_kafka_open: %s", error);
    for (int p = 0; p < MEMBER_PARTITIONS_MAX; p++) member->next[p] = member->eof[p] = -1;
    status = member->door->ops->subscribe(member->door, &topic, 1);
    MUST(status == WEFT_OK, "subscribe: %d", (int)status);
}

void member_free(door_member *member) {
    if (member->door) member->door->ops->free(member->door);
    member->door = NULL;
}

static void wait_for_door(door_member *member, bool records, int timeout_ms) {
    struct pollfd fds[2] = {{.events = POLLIN}, {.events = POLLIN}};
    member->door->ops->descriptors(member->door, &fds[0].fd, &fds[1].fd);
    if (!records) fds[1].fd = -1;
    poll(fds, 2, timeout_ms);
}

void member_serve(door_member *member, int timeout_ms) {
    wait_for_door(member, false, timeout_ms);
    while (member->door->ops->serve(member->door, &sink, member)) {
    }
}

size_t member_turn(door_member *member, int timeout_ms) {
    wait_for_door(member, true, member->door->ops->queued(member->door) > 0 ? 0 : timeout_ms);
    while (member->door->ops->serve(member->door, &sink, member)) {
    }
    member->in_call = 0;
    return member->door->ops->consume(member->door, member->max_records, &sink, member);
}

bool member_commit(door_member *member, const char *metadata) {
    wf_kafka_partition partitions[MEMBER_PARTITIONS_MAX] = {0};
    size_t count = 0;
    for (int p = 0; p < MEMBER_PARTITIONS_MAX; p++) {
        if (!member->owned[p] || member->next[p] < 0) continue;
        partitions[count++] = (wf_kafka_partition){.topic = member->topic,
                                                   .partition = p,
                                                   .offset = member->next[p],
                                                   .metadata = metadata,
                                                   .metadata_bytes = metadata ? strlen(metadata) : 0};
    }
    if (count == 0 || member->commit_under_way) return false;
    weft_status status = member->door->ops->commit(member->door, partitions, count);
    MUST(status == WEFT_OK, "commit: %d", (int)status);
    member->commit_under_way = true;
    return true;
}

void member_hold(door_member *member, int partition, bool hold) {
    if (!member->owned[partition]) return;
    weft_status status = member->door->ops->hold(member->door, member->topic, partition, hold);
    MUST(status == WEFT_OK, "hold: %d", (int)status);
    member->held[partition] = hold;
}

int member_owned(const door_member *member) {
    int owned = 0;
    for (int p = 0; p < MEMBER_PARTITIONS_MAX; p++) owned += member->owned[p];
    return owned;
}

void member_leave(door_member *member) {
    weft_status status = member->door->ops->close_begin(member->door);
    MUST(status == WEFT_OK, "close_begin: %d", (int)status);
    while (!member->closed) member_serve(member, 50);
    member_free(member);
}
