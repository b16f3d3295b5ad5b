/* SPDX-License-Identifier: Apache-2.0
 *
 * What weft-bench's figures rest on: percentiles against sorted values, the judge against histories with one thing
 * wrong, and what is said to be in a topic.
 */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../bench/judge.h"
#include "../../bench/times.h"
#include "seeded.h"

TestSuite(bench_cores, .timeout = 30);

/* --- percentiles */

static int by_size(const void *left, const void *right) {
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

Test(bench_cores, percentiles__of_random_times__within_a_64th_of_the_sorted_ones) {
    static const double percents[] = {0, 1, 50, 90, 99, 99.9, 100};
    enum { COUNT = 5000 };
    seeded random = seeded_start(7, 0);
    uint64_t values[COUNT];
    for (int round = 0; round < 200; round++) {
        times *self = calloc(1, sizeof *self);
        size_t count = seeded_next(&random) % COUNT + 1;
        unsigned bits = (unsigned)(seeded_next(&random) % 63) + 1;
        for (size_t i = 0; i < count; i++) {
            values[i] = seeded_next(&random) >> (64 - bits);
            times_add(self, values[i]);
        }
        qsort(values, count, sizeof *values, by_size);
        for (size_t i = 0; i < sizeof percents / sizeof *percents; i++) {
            double rank = percents[i] / 100 * (double)count;
            size_t index = (size_t)rank < rank ? (size_t)rank : (size_t)rank > 0 ? (size_t)rank - 1 : 0;
            uint64_t got = times_percentile_ns(self, percents[i]), right = values[index];
            cr_assert(got >= right && got - right <= right / 64, "p%g of %zu: %llu, not %llu", percents[i], count,
                      (unsigned long long)got, (unsigned long long)right);
        }
        free(self);
    }
}

Test(bench_cores, times__largest_there_are__are_counted) {
    times *self = calloc(1, sizeof *self);
    times_add(self, UINT64_MAX);
    times_add(self, 0);
    cr_assert_eq(times_percentile_ns(self, 100), UINT64_MAX);
    cr_assert_eq(times_percentile_ns(self, 50), 0);
    free(self);
}

/* --- what is in a topic */

static const bench_topic topics[] = {
    {.records = 5000, .keys = 70, .partitions = 4, .value_bytes = 16, .spread = KEYS_UNIFORM},
    {.records = 5000, .keys = 70, .partitions = 7, .value_bytes = 16, .spread = KEYS_ZIPF},
    {.records = 5000, .keys = 70, .partitions = 4, .value_bytes = 16, .spread = KEYS_HOT, .hot_percent = 50},
    {.records = 5000, .keys = 5000, .partitions = 3, .value_bytes = 16, .spread = KEYS_DISTINCT},
    {.records = 5000, .keys = 1, .partitions = 4, .value_bytes = 16, .spread = KEYS_NULL},
};
enum { TOPICS = sizeof topics / sizeof *topics };

Test(bench_cores, datasets__sequences_of_keys_have_no_holes_and_stay_in_a_partition) {
    for (size_t t = 0; t < TOPICS; t++) {
        dataset *data = dataset_make(&topics[t], true);
        uint32_t *next = calloc(topics[t].keys, sizeof *next);
        cr_assert_eq(data->first[topics[t].partitions], topics[t].records);
        for (int32_t i = 0; i < topics[t].partitions; i++)
            for (int64_t at = 0; dataset_has(data, i, at); at++) {
                const record_stamp *stamp = &data->stamps[dataset_position(data, i, at)];
                if (stamp->key == NULL_KEY) continue;
                cr_assert_eq(stamp->key % (uint32_t)topics[t].partitions, (uint32_t)i);
                cr_assert_eq(stamp->sequence, next[stamp->key]++);
            }
        free(next);
        dataset_free(data);
    }
}

Test(bench_cores, spreads__half_on_the_hot_key__zipf_falls_with_the_rank) {
    uint64_t hot = 0, counts[70] = {0};
    for (size_t t = 1; t < 3; t++) {
        int32_t partition;
        dataset_walk *walk = dataset_walk_begin(&topics[t]);
        for (uint64_t i = 0; i < topics[t].records; i++) {
            uint32_t key = dataset_walk_next(walk, &partition).key;
            if (t == 1) counts[key]++;
            if (t == 2) hot += key == 0;
        }
        dataset_walk_end(walk);
    }
    cr_expect(hot > 2300 && hot < 2800, "%llu of 5000", (unsigned long long)hot);
    /* Weights 1 and 1/10 of the sum of 1/k, which is 4.8 for 70 keys. */
    cr_expect(counts[0] > 900 && counts[0] < 1180, "%llu", (unsigned long long)counts[0]);
    cr_expect(counts[9] > 60 && counts[9] < 150, "%llu", (unsigned long long)counts[9]);
}

/* --- the judge */

typedef enum wrong { NOTHING = 0, SWAPPED, MISSING, TWICE, FOREIGN, UNHANDLED } wrong;

/* Plays all records in their order, with one thing wrong at position `place` of the order of completion. */
static bool play(const dataset *data, run_order order, wrong what, uint64_t place, char *text, size_t bytes) {
    judge *self = judge_make(data, order, true);
    judge_tally *tally = aligned_alloc(64, sizeof *tally);
    memset(tally, 0, sizeof *tally);
    uint64_t position = 0;
    for (int32_t i = 0; i < data->partitions; i++)
        for (int64_t at = 0; dataset_has(data, i, at); at++, position++) {
            int64_t offset = at;
            bool here = position == place;
            if (what == SWAPPED && (here || position == place + 1)) offset += here ? 1 : -1;
            if (what == MISSING && here) continue;
            if (what == FOREIGN && here) offset = (int64_t)data->records;
            record_stamp none = {.key = NULL_KEY};
            const record_stamp *stamp =
                dataset_has(data, i, offset) ? &data->stamps[dataset_position(data, i, offset)] : &none;
            for (int left = what == TWICE && here ? 2 : 1; left > 0; left--) {
                judge_begin(self, i, offset, stamp);
                if (what != UNHANDLED || !here) judge_tally_add(tally, i, offset);
                judge_complete(self, i, offset);
            }
        }
    bool fine = judge_verdict(self, tally, 1, text, bytes);
    free(tally);
    judge_discard(self);
    return fine;
}

Test(bench_cores, judge__one_thing_wrong_anywhere__is_found) {
    static const char *const said[] = {"", "out of order", "missing", "twice", "nobody produced", "missing"};
    char text[800];
    for (size_t t = 0; t < TOPICS; t++) {
        bench_topic topic = topics[t];
        topic.records = 300;
        if (topic.spread == KEYS_DISTINCT) topic.keys = topic.records;
        dataset *data = dataset_make(&topic, true);
        for (int order = ORDER_KEY; order <= ORDER_UNORDERED; order++) {
            cr_assert(play(data, order, NOTHING, 0, text, sizeof text), "%s", text);
            for (int what = MISSING; what <= UNHANDLED; what++)
                for (uint64_t place = 0; place < topic.records; place++) {
                    cr_assert_not(play(data, order, what, place, text, sizeof text));
                    cr_assert_not_null(strstr(text, said[what]), "%s: %s", said[what], text);
                }
        }
        dataset_free(data);
    }
}

/* Two neighbours of a partition change places: wrong by partition always, by key when they have the same one. */
Test(bench_cores, judge__two_records_change_places__found_where_order_was_promised) {
    char text[800];
    bench_topic topic = topics[2];
    topic.records = 600;
    dataset *data = dataset_make(&topic, true);
    unsigned same = 0;
    for (int32_t i = 0; i < topic.partitions; i++)
        for (int64_t at = 0; dataset_has(data, i, at + 1); at++) {
            uint64_t place = dataset_position(data, i, at);
            bool alike = data->stamps[place].key == data->stamps[place + 1].key;
            same += alike;
            cr_assert_not(play(data, ORDER_PARTITION, SWAPPED, place, text, sizeof text));
            cr_assert_eq(play(data, ORDER_KEY, SWAPPED, place, text, sizeof text), !alike, "%s", text);
            cr_assert(play(data, ORDER_UNORDERED, SWAPPED, place, text, sizeof text), "%s", text);
        }
    cr_assert_gt(same, 50);
    dataset_free(data);
}
