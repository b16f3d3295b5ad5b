/* SPDX-License-Identifier: Apache-2.0
 *
 * What a block per record costs: take, copy the payload in, give back, with 16 Ki records out; beside it the same
 * copies into flat batches, malloc per record, and give-back in random order.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "record_pool.h"
#include "stats.h"

enum { LIVE = 1 << 14, RECORDS = 1 << 20, REPETITIONS = 7, BATCH = 256, SOURCE_BYTES = 1 << 22 };

typedef struct pool_case {
    size_t payload_bytes;
    uint32_t *sequence; /* which of the live ones is replaced next */
    const char *source; /* as a fetched message set would be: long, read once from front to back */
    void *slots[LIVE];
} pool_case;

static const char *source_of(const pool_case *setup, size_t i) {
    return setup->source + i * setup->payload_bytes % (SOURCE_BYTES - 2048);
}

/* As the pool does it. */
static void clear_head(wf_record *record) {
    memset(record, 0, sizeof *record / 2);
    memset((char *)record + sizeof *record / 2, 0, sizeof *record / 2);
}

static double run_pool(void *argument) {
    pool_case *setup = argument;
    wf_record_pool pool;
    if (wf_record_pool_init(&pool, 256u << 20) != WEFT_OK) abort();
    for (size_t i = 0; i < LIVE; i++) setup->slots[i] = wf_record_pool_take(&pool, setup->payload_bytes);
    uint64_t begin_ns = stats_now_ns();
    for (size_t i = 0; i < RECORDS; i++) {
        void **slot = &setup->slots[setup->sequence[i % LIVE]];
        wf_record_pool_give(&pool, *slot);
        wf_record *record = wf_record_pool_take(&pool, setup->payload_bytes);
        memcpy(wf_record_bytes(record), source_of(setup, i), setup->payload_bytes);
        *slot = record;
    }
    uint64_t end_ns = stats_now_ns();
    for (size_t i = 0; i < LIVE; i++) wf_record_pool_give(&pool, setup->slots[i]);
    wf_record_pool_deinit(&pool);
    return (double)(end_ns - begin_ns) / RECORDS;
}

static double run_malloc(void *argument) {
    pool_case *setup = argument;
    size_t bytes = sizeof(wf_record) + setup->payload_bytes;
    for (size_t i = 0; i < LIVE; i++) setup->slots[i] = calloc(1, bytes);
    uint64_t begin_ns = stats_now_ns();
    for (size_t i = 0; i < RECORDS; i++) {
        void **slot = &setup->slots[setup->sequence[i % LIVE]];
        free(*slot);
        wf_record *record = malloc(bytes);
        if (!record) abort();
        clear_head(record);
        memcpy(wf_record_bytes(record), source_of(setup, i), setup->payload_bytes);
        *slot = record;
    }
    uint64_t end_ns = stats_now_ns();
    for (size_t i = 0; i < LIVE; i++) free(setup->slots[i]);
    return (double)(end_ns - begin_ns) / RECORDS;
}

/* Batches in a ring: BATCH heads, then the bytes. What is measured is writing them; nothing is given back one by one.
 */
static double run_flat(void *argument) {
    pool_case *setup = argument;
    size_t batch_bytes = BATCH * (sizeof(wf_record) + setup->payload_bytes);
    for (size_t i = 0; i < LIVE / BATCH; i++) {
        setup->slots[i] = calloc(1, batch_bytes);
        if (!setup->slots[i]) abort();
    }
    uint64_t begin_ns = stats_now_ns();
    for (size_t i = 0; i < RECORDS; i++) {
        wf_record *head = setup->slots[i / BATCH % (LIVE / BATCH)];
        char *bytes = (char *)(head + BATCH) + i % BATCH * setup->payload_bytes;
        clear_head(&head[i % BATCH]);
        memcpy(bytes, source_of(setup, i), setup->payload_bytes);
    }
    uint64_t end_ns = stats_now_ns();
    for (size_t i = 0; i < LIVE / BATCH; i++) free(setup->slots[i]);
    return (double)(end_ns - begin_ns) / RECORDS;
}

/* No copy, one record at a time: the allocator alone. */
static double run_bare(void *argument) {
    const pool_case *setup = argument;
    wf_record_pool pool;
    if (wf_record_pool_init(&pool, 256u << 20) != WEFT_OK) abort();
    wf_record *first = wf_record_pool_take(&pool, setup->payload_bytes);
    uint64_t begin_ns = stats_now_ns();
    for (size_t i = 0; i < RECORDS; i++) wf_record_pool_give(&pool, wf_record_pool_take(&pool, setup->payload_bytes));
    uint64_t end_ns = stats_now_ns();
    wf_record_pool_give(&pool, first);
    wf_record_pool_deinit(&pool);
    return (double)(end_ns - begin_ns) / RECORDS;
}

static void make_sequence(uint32_t *sequence, bool shuffle) {
    uint64_t state = 99;
    for (uint32_t i = 0; i < LIVE; i++) sequence[i] = i;
    for (uint32_t i = LIVE - 1; shuffle && i > 0; i--) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        uint32_t other = (uint32_t)((state >> 33) % (i + 1)), swap = sequence[i];
        sequence[i] = sequence[other];
        sequence[other] = swap;
    }
}

static void print_row(size_t payload_bytes, const char *name, stats_spread ns) {
    printf("| %5zu | %-40s | %6.1f | %6.1f | %6.1f |\n", payload_bytes, name, ns.min, ns.median, ns.max);
}

int main(void) {
    static const size_t sizes[] = {100, 1024};
    static uint32_t in_order[LIVE], shuffled[LIVE];
    static pool_case setup;
    char *source = malloc(SOURCE_BYTES);
    if (!source) return 1;
    memset(source, 'x', SOURCE_BYTES);
    make_sequence(in_order, false);
    make_sequence(shuffled, true);
    setup.source = source;
    printf("ns per record, %d out, %d records, %d repetitions\n\n", LIVE, RECORDS, REPETITIONS);
    printf("| %5s | %-40s | %6s | %6s | %6s |\n| ---: | --- | ---: | ---: | ---: |\n", "bytes", "", "min", "median",
           "max");
    for (size_t i = 0; i < 2; i++) {
        setup.payload_bytes = sizes[i];
        setup.sequence = in_order;
        print_row(sizes[i], "flat batches of 256, heads zeroed", stats_repeat(run_flat, &setup, REPETITIONS));
        print_row(sizes[i], "pool, given back in order", stats_repeat(run_pool, &setup, REPETITIONS));
        print_row(sizes[i], "malloc, given back in order", stats_repeat(run_malloc, &setup, REPETITIONS));
        setup.sequence = shuffled;
        print_row(sizes[i], "pool, given back in random order", stats_repeat(run_pool, &setup, REPETITIONS));
        print_row(sizes[i], "malloc, given back in random order", stats_repeat(run_malloc, &setup, REPETITIONS));
        print_row(sizes[i], "pool, take and give alone", stats_repeat(run_bare, &setup, REPETITIONS));
    }
    free(source);
    return 0;
}
