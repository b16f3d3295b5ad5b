/* SPDX-License-Identifier: Apache-2.0
 *
 * Two tables under one mutex: records by (partition, offset), lanes by (partition, key). Entries are never removed, so
 * a ticket is an index. Both tables are arrays of entries with a hash index of its own beside them.
 */
#include "judge.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "must.h"

enum { NO_LANE = -1, LABELS = 5 };
enum { MISSING, DUPLICATE, DISORDER, OVERLAP, UNEXPECTED };

typedef struct partition_entry {
    char *topic;
    int32_t partition;
    bool has_expected;
} partition_entry;

typedef struct record_entry {
    size_t partition_index;
    int64_t offset;
    int64_t lane;     /* index; NO_LANE: none, or not started yet */
    uint32_t running; /* starts without an end */
    bool expected, started, ended;
} record_entry;

typedef struct lane_entry {
    size_t partition_index;
    uint8_t *key; /* NULL where lanes are partitions */
    size_t key_bytes;
    uint32_t running;
    uint64_t open;        /* records started and not at their end */
    int64_t last_started; /* highest offset started for the first time; -1 */
} lane_entry;

typedef struct hash_index {
    size_t *slots; /* entry number + 1; 0 is free */
    size_t size;   /* a power of two, at least twice the number of entries */
} hash_index;

struct test_judge {
    pthread_mutex_t mutex;
    pthread_cond_t progress;
    judge_lanes lanes_are;
    partition_entry *partitions;
    size_t partition_count;
    record_entry *records;
    size_t record_count, record_room;
    hash_index record_index;
    lane_entry *lanes;
    size_t lane_count, lane_room;
    hash_index lane_index;
    judge_verdict counts; /* what is counted as it happens */
};

static uint64_t mix(uint64_t hash, uint64_t value) {
    hash = (hash ^ value) * 0x9e3779b97f4a7c15ull;
    return hash ^ (hash >> 29);
}

static uint64_t hash_record(size_t partition_index, int64_t offset) {
    return mix(mix(1, partition_index), (uint64_t)offset);
}

static uint64_t hash_lane(size_t partition_index, const uint8_t *key, size_t bytes) {
    uint64_t hash = mix(2, partition_index);

    for (size_t i = 0; i < bytes; i++) hash = mix(hash, key[i]);
    return mix(hash, bytes);
}

static void insert(hash_index *index, uint64_t hash, size_t entry) {
    size_t slot = (size_t)hash & (index->size - 1);

    while (index->slots[slot]) slot = (slot + 1) & (index->size - 1);
    index->slots[slot] = entry + 1;
}

/* Make room for one more entry in an array; true when its index has to be built anew for the new size. */
static bool grow(void **entries, size_t count, size_t *room, size_t entry_bytes, hash_index *index) {
    if (count < *room) return false;
    *room = *room ? *room * 2 : 1024;
    *entries = realloc(*entries, *room * entry_bytes);
    MUST(*entries, "out of memory");
    free(index->slots);
    index->size = *room * 2;
    index->slots = must_alloc(index->size, sizeof *index->slots);
    return true;
}

static size_t partition_of(test_judge *judge, const char *topic, int32_t partition) {
    for (size_t i = 0; i < judge->partition_count; i++) {
        if (judge->partitions[i].partition == partition && strcmp(judge->partitions[i].topic, topic) == 0) return i;
    }
    judge->partitions = realloc(judge->partitions, (judge->partition_count + 1) * sizeof *judge->partitions);
    MUST(judge->partitions, "out of memory");
    judge->partitions[judge->partition_count] = (partition_entry){.topic = strdup(topic), .partition = partition};
    return judge->partition_count++;
}

static size_t record_of(test_judge *judge, size_t partition_index, int64_t offset) {
    hash_index *index = &judge->record_index;

    if (grow((void **)&judge->records, judge->record_count, &judge->record_room, sizeof *judge->records, index)) {
        for (size_t i = 0; i < judge->record_count; i++) {
            insert(index, hash_record(judge->records[i].partition_index, judge->records[i].offset), i);
        }
    }
    for (size_t slot = (size_t)hash_record(partition_index, offset) & (index->size - 1); index->slots[slot];
         slot = (slot + 1) & (index->size - 1)) {
        record_entry *record = &judge->records[index->slots[slot] - 1];

        if (record->partition_index == partition_index && record->offset == offset) return index->slots[slot] - 1;
    }
    judge->records[judge->record_count] =
        (record_entry){.partition_index = partition_index, .offset = offset, .lane = NO_LANE};
    insert(index, hash_record(partition_index, offset), judge->record_count);
    return judge->record_count++;
}

static bool lane_is(const lane_entry *lane, size_t partition_index, const uint8_t *key, size_t bytes) {
    return lane->partition_index == partition_index && lane->key_bytes == bytes &&
           (bytes == 0 || memcmp(lane->key, key, bytes) == 0);
}

static int64_t lane_of(test_judge *judge, size_t partition_index, const uint8_t *key, size_t bytes) {
    hash_index *index = &judge->lane_index;
    lane_entry lane = {.partition_index = partition_index, .key_bytes = bytes, .last_started = -1};

    if (judge->lanes_are == JUDGE_UNORDERED || (judge->lanes_are == JUDGE_KEYS && !key)) return NO_LANE;
    if (judge->lanes_are == JUDGE_PARTITIONS) lane.key_bytes = bytes = 0;
    if (grow((void **)&judge->lanes, judge->lane_count, &judge->lane_room, sizeof *judge->lanes, index)) {
        for (size_t i = 0; i < judge->lane_count; i++) {
            const lane_entry *old = &judge->lanes[i];

            insert(index, hash_lane(old->partition_index, old->key, old->key_bytes), i);
        }
    }
    for (size_t slot = (size_t)hash_lane(partition_index, key, bytes) & (index->size - 1); index->slots[slot];
         slot = (slot + 1) & (index->size - 1)) {
        if (lane_is(&judge->lanes[index->slots[slot] - 1], partition_index, key, bytes)) {
            return (int64_t)index->slots[slot] - 1;
        }
    }
    lane.key = must_alloc(1, bytes);
    if (bytes) memcpy(lane.key, key, bytes);
    judge->lanes[judge->lane_count] = lane;
    insert(index, hash_lane(partition_index, key, bytes), judge->lane_count);
    return (int64_t)judge->lane_count++;
}

test_judge *judge_new(judge_lanes lanes) {
    test_judge *judge = must_alloc(1, sizeof *judge);
    pthread_condattr_t monotonic;

    pthread_mutex_init(&judge->mutex, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&judge->progress, &monotonic);
    pthread_condattr_destroy(&monotonic);
    judge->lanes_are = lanes;
    return judge;
}

void judge_free(test_judge *judge) {
    if (!judge) return;
    for (size_t i = 0; i < judge->partition_count; i++) free(judge->partitions[i].topic);
    for (size_t i = 0; i < judge->lane_count; i++) free(judge->lanes[i].key);
    free(judge->partitions);
    free(judge->records);
    free(judge->record_index.slots);
    free(judge->lanes);
    free(judge->lane_index.slots);
    pthread_cond_destroy(&judge->progress);
    pthread_mutex_destroy(&judge->mutex);
    free(judge);
}

void judge_expect(test_judge *judge, const char *topic, int32_t partition, int64_t first, int64_t end) {
    size_t partition_index;

    pthread_mutex_lock(&judge->mutex);
    partition_index = partition_of(judge, topic, partition);
    judge->partitions[partition_index].has_expected = true;
    for (int64_t offset = first; offset < end; offset++) {
        size_t record_index = record_of(judge, partition_index, offset); /* may move the array */
        record_entry *record = &judge->records[record_index];

        judge->counts.expected += record->expected ? 0 : 1;
        record->expected = true;
    }
    pthread_mutex_unlock(&judge->mutex);
}

static void note(test_judge *judge, int label, uint64_t *counter, const record_entry *record) {
    const partition_entry *partition = &judge->partitions[record->partition_index];
    const lane_entry *lane = record->lane == NO_LANE ? NULL : &judge->lanes[record->lane];

    if (++*counter > 1) return;
    snprintf(judge->counts.example[label], sizeof judge->counts.example[label],
             "%.60s[%" PRId32 "]@%" PRId64 " key %.*s", partition->topic, partition->partition, record->offset,
             lane && lane->key_bytes ? (int)lane->key_bytes : 4,
             lane && lane->key_bytes ? (const char *)lane->key : "none");
}

static void start_in_lane(test_judge *judge, record_entry *record) {
    lane_entry *lane = &judge->lanes[record->lane];
    bool first_time = !record->started;

    if (lane->running > 0) note(judge, OVERLAP, &judge->counts.overlaps, record);
    if (first_time && (lane->open > 0 || record->offset < lane->last_started)) {
        note(judge, DISORDER, &judge->counts.out_of_order, record);
    }
    if (first_time) lane->open++;
    if (first_time && record->offset > lane->last_started) lane->last_started = record->offset;
    lane->running++;
}

judge_ticket judge_start(test_judge *judge, const char *topic, int32_t partition, int64_t offset, const void *key,
                         size_t key_bytes) {
    size_t partition_index, record_index;
    record_entry *record;

    pthread_mutex_lock(&judge->mutex);
    partition_index = partition_of(judge, topic, partition);
    record_index = record_of(judge, partition_index, offset);
    record = &judge->records[record_index];
    if (!record->started) record->lane = lane_of(judge, partition_index, key, key_bytes);
    judge->counts.started++;
    judge->counts.running++;
    if (record->ended) note(judge, DUPLICATE, &judge->counts.duplicates, record);
    if (!record->started && !record->expected && judge->partitions[partition_index].has_expected) {
        note(judge, UNEXPECTED, &judge->counts.unexpected, record);
    }
    if (record->lane != NO_LANE) {
        start_in_lane(judge, record);
    } else if (record->running > 0) {
        note(judge, OVERLAP, &judge->counts.overlaps, record);
    }
    record->started = true;
    record->running++;
    pthread_mutex_unlock(&judge->mutex);
    return (judge_ticket){record_index};
}

void judge_end(test_judge *judge, judge_ticket ticket, judge_outcome outcome) {
    record_entry *record;

    pthread_mutex_lock(&judge->mutex);
    MUST(ticket.record < judge->record_count && judge->records[ticket.record].running > 0, "judge: end without start");
    record = &judge->records[ticket.record];
    record->running--;
    judge->counts.running--;
    if (record->lane != NO_LANE) judge->lanes[record->lane].running--;
    if (!record->ended && (outcome == JUDGE_DONE || outcome == JUDGE_DROPPED)) {
        record->ended = true;
        judge->counts.ended++;
        if (record->lane != NO_LANE) judge->lanes[record->lane].open--;
        pthread_cond_broadcast(&judge->progress);
    }
    pthread_mutex_unlock(&judge->mutex);
}

uint64_t judge_ended(test_judge *judge) {
    uint64_t ended;

    pthread_mutex_lock(&judge->mutex);
    ended = judge->counts.ended;
    pthread_mutex_unlock(&judge->mutex);
    return ended;
}

bool judge_await(test_judge *judge, uint64_t ended, uint64_t timeout_ms) {
    uint64_t deadline_ms = must_now_ms() + timeout_ms;
    struct timespec deadline = {.tv_sec = (time_t)(deadline_ms / 1000),
                                .tv_nsec = (long)(deadline_ms % 1000) * 1000000};
    bool reached;

    pthread_mutex_lock(&judge->mutex);
    while (judge->counts.ended < ended && must_now_ms() < deadline_ms) {
        pthread_cond_timedwait(&judge->progress, &judge->mutex, &deadline);
    }
    reached = judge->counts.ended >= ended;
    pthread_mutex_unlock(&judge->mutex);
    return reached;
}

judge_verdict judge_verdict_now(test_judge *judge) {
    judge_verdict verdict;

    pthread_mutex_lock(&judge->mutex);
    judge->counts.missing = 0;
    for (size_t i = 0; i < judge->record_count; i++) {
        const record_entry *record = &judge->records[i];

        if (record->expected && !record->ended) note(judge, MISSING, &judge->counts.missing, record);
    }
    if (!judge->counts.missing) judge->counts.example[MISSING][0] = '\0';
    verdict = judge->counts;
    pthread_mutex_unlock(&judge->mutex);
    return verdict;
}

bool judge_is_content(test_judge *judge, char *ret_text, size_t text_bytes) {
    static const char *const names[LABELS] = {"missing", "duplicates", "out of order", "overlaps", "unexpected"};
    judge_verdict verdict = judge_verdict_now(judge);
    const uint64_t counts[LABELS] = {verdict.missing, verdict.duplicates, verdict.out_of_order, verdict.overlaps,
                                     verdict.unexpected};
    bool content = verdict.running == 0;
    size_t used;

    used = (size_t)snprintf(ret_text, text_bytes,
                            "%" PRIu64 " of %" PRIu64 " ended, %" PRIu64 " starts, %" PRIu64 " running", verdict.ended,
                            verdict.expected, verdict.started, verdict.running);
    for (int i = 0; i < LABELS; i++) {
        if (!counts[i]) continue;
        content = false;
        if (used < text_bytes) {
            used += (size_t)snprintf(ret_text + used, text_bytes - used, "; %" PRIu64 " %s (%s)", counts[i], names[i],
                                     verdict.example[i]);
        }
    }
    return content;
}
