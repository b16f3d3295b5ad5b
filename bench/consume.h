/* SPDX-License-Identifier: Apache-2.0
 *
 * What the modes of bench_consume share. A mode is one way to get through a topic; it runs in a process of its own, so
 * that its CPU time and memory are its own.
 *
 * 1. A mode reads every record of the topic once, from the beginning, and checks that: a run that lost one is no
 * result.
 * 2. Time is from the first record handled to the last; CPU time is that of the whole process, with the children it
 * waited for.
 */
#ifndef BENCH_CONSUME_H
#define BENCH_CONSUME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CONSUME_PARTITIONS_MAX = 1024, CONSUME_SETTINGS_MAX = 32 };

/* What to do, the same for all modes. */
typedef struct consume_plan {
    const char *bootstrap;
    const char *topic;
    int partitions;
    uint64_t records; /* in the topic */
    uint64_t keys;
    size_t value_bytes;
    unsigned hot_percent;                       /* of the records have key 0 */
    unsigned threads;                           /* of engines and floors */
    unsigned pending;                           /* records deferred at once */
    uint64_t sleep_us;                          /* what a handler does */
    const char *settings[CONSUME_SETTINGS_MAX]; /* of weft, "name=value" */
    size_t setting_count;
} consume_plan;

typedef struct consume_result {
    uint64_t records;
    double seconds;
    char note[96]; /* one line for the table, or "" */
} consume_result;

/* False, with a reason on stderr, when there is no result. Thread: main, in a process of its own. */
typedef bool (*consume_run)(const consume_plan *plan, consume_result *ret_result);

typedef enum consume_kind {
    CONSUME_RAW,   /* one of the loops that define "raw" */
    CONSUME_EXTRA, /* only where it is named */
    CONSUME_FLOOR, /* no Kafka, only sleep_us: what no engine can beat */
    CONSUME_WEFT,  /* weft; with and without sleep_us */
} consume_kind;

typedef struct consume_mode {
    const char *name;
    consume_run run;
    consume_kind kind;
    const char *about;
} consume_mode;

/* consume_raw.c: librdkafka alone, no work. */
bool consume_raw_poll(const consume_plan *plan, consume_result *ret_result);
bool consume_raw_poll_headers(const consume_plan *plan, consume_result *ret_result);
bool consume_raw_callback(const consume_plan *plan, consume_result *ret_result);
bool consume_raw_batch(const consume_plan *plan, consume_result *ret_result);
bool consume_raw_poll_defaults(const consume_plan *plan, consume_result *ret_result);

/* consume_weft.c: weft, with all it does. */
bool consume_weft_async(const consume_plan *plan, consume_result *ret_result);
bool consume_weft_plain(const consume_plan *plan, consume_result *ret_result);
bool consume_weft_inline(const consume_plan *plan, consume_result *ret_result);
bool consume_weft_pending(const consume_plan *plan, consume_result *ret_result);

/* consume_floor.c: threads that only sleep, without Kafka. */
bool consume_floor(const consume_plan *plan, consume_result *ret_result);
bool consume_floor_hot(const consume_plan *plan, consume_result *ret_result);

/* consume_topic.c: create the topic and fill it, unless it is there. Prints what is wrong. */
bool consume_topic_fill(const consume_plan *plan);

/* The beginning and end of each partition; false when a broker does not answer. */
bool consume_topic_ends(const consume_plan *plan, int64_t *ret_first, int64_t *ret_end);

/* Counts what a mode reads, and stands for the checks of invariant 1. Not thread safe. */
typedef struct consume_tally {
    int64_t next[CONSUME_PARTITIONS_MAX]; /* the offset that has to come next */
    uint64_t left;
    uint64_t records;
    uint64_t first_ns, last_ns;
    bool wrong;
} consume_tally;

bool consume_tally_init(consume_tally *tally, const consume_plan *plan);

static inline void consume_tally_record(consume_tally *tally, int32_t partition, int64_t offset) {
    if (tally->next[partition] != offset) tally->wrong = true;
    tally->next[partition] = offset + 1;
    tally->records++;
    tally->left--;
}

bool consume_tally_result(const consume_tally *tally, consume_result *ret_result);

uint64_t consume_now_ns(void);
void consume_sleep(uint64_t sleep_us);

#endif
