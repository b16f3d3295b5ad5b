/* SPDX-License-Identifier: Apache-2.0
 *
 * The record pool: nothing overlaps, the accounts are exact, memory stays bounded whatever the sizes do.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "record_pool.h"
#include "seeded.h"

TestSuite(record_pool, .timeout = 60);

enum { CHUNK = WF_RECORD_POOL_CHUNK_BYTES, HEAD = sizeof(wf_record), LIVE_MAX = 4000 };

static wf_record_pool new_pool(uint64_t budget_bytes) {
    wf_record_pool pool;
    cr_assert(eq(int, wf_record_pool_init(&pool, budget_bytes), WEFT_OK));
    return pool;
}

Test(record_pool, take__any_size__zeroed_head_aligned_and_little_waste) {
    wf_record_pool pool = new_pool(64 << 20);
    for (size_t payload = 0; payload < 20000; payload += 1 + payload / 200) {
        wf_record *record = wf_record_pool_take(&pool, payload);
        cr_assert(record != NULL);
        size_t bytes = HEAD + payload;
        cr_assert(ge(sz, record->block_bytes, bytes), "payload %zu", payload);
        cr_assert(le(sz, record->block_bytes, bytes <= 192 ? 192 : bytes + bytes / 4 + 64), "payload %zu", payload);
        if (bytes <= WF_RECORD_POOL_BLOCK_BYTES_MAX)
            cr_assert(eq(u64, (uintptr_t)record % 64, 0));
        else
            cr_assert(eq(sz, record->block_bytes, bytes));
        cr_assert(eq(u64, wf_record_pool_held_bytes(&pool), record->block_bytes));

        wf_record zero = {.block_bytes = record->block_bytes, .size_class = record->size_class};
        cr_assert(memcmp(record, &zero, sizeof zero) == 0, "payload %zu: the head is not clean", payload);
        memset(record, 0xab, HEAD);
        memset(wf_record_bytes(record), 0xab, payload);
        record->block_bytes = zero.block_bytes;
        record->size_class = zero.size_class;
        wf_record_pool_give(&pool, record);
        cr_assert(eq(u64, wf_record_pool_held_bytes(&pool), 0));
    }
    wf_record_pool_deinit(&pool);
}

Test(record_pool, take__sizes_at_the_edges__fall_into_the_class_that_fits) {
    static const struct {
        size_t bytes, block_bytes;
    } rows[] = {{128, 192},   {192, 192},    {193, 256},     {256, 256},     {257, 320},     {320, 320},
                {321, 384},   {512, 512},    {513, 640},     {640, 640},     {1024, 1024},   {1025, 1280},
                {8192, 8192}, {8193, 10240}, {14337, 16384}, {16384, 16384}, {16385, 16385}, {100000, 100000}};
    wf_record_pool pool = new_pool(64 << 20);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        wf_record *record = wf_record_pool_take(&pool, rows[i].bytes - HEAD);
        cr_assert(eq(sz, record->block_bytes, rows[i].block_bytes), "%zu bytes", rows[i].bytes);
        wf_record_pool_give(&pool, record);
    }
    wf_record_pool_deinit(&pool);
}

Test(record_pool, take__impossible_size__null_and_nothing_changes) {
    wf_record_pool pool = new_pool(1 << 20);
    cr_assert(wf_record_pool_take(&pool, SIZE_MAX) == NULL);
    cr_assert(wf_record_pool_take(&pool, SIZE_MAX - HEAD) == NULL);
    cr_assert(wf_record_pool_take(&pool, UINT32_MAX) == NULL);
    cr_assert(eq(u64, wf_record_pool_held_bytes(&pool), 0));
    wf_record_pool_deinit(&pool);
}

/* The model: which records are out, with how many bytes of which pattern. */
typedef struct live {
    wf_record *record;
    size_t payload;
    unsigned char pattern;
} live;

static live take_live(wf_record_pool *pool, size_t payload, unsigned char pattern) {
    live taken = {wf_record_pool_take(pool, payload), payload, pattern};
    cr_assert(taken.record != NULL);
    memset(wf_record_bytes(taken.record), pattern, payload);
    taken.record->offset = pattern;
    return taken;
}

static void give_live(wf_record_pool *pool, live taken) {
    cr_assert(eq(i64, taken.record->offset, taken.pattern), "the head was overwritten");
    const unsigned char *bytes = (const unsigned char *)wf_record_bytes(taken.record);
    for (size_t i = 0; i < taken.payload; i++) cr_assert(bytes[i] == taken.pattern, "byte %zu was overwritten", i);
    wf_record_pool_give(pool, taken.record);
}

static size_t random_payload(seeded *random, unsigned kind) {
    switch (kind) {
    case 0:
        return seeded_below(random, 200);
    case 1:
        return 800 + seeded_below(random, 800);
    case 2:
        return seeded_next(random) >> seeded_between(random, 49, 63);
    default:
        return seeded_percent(random, 2) ? 100000 : 3000;
    }
}

Test(record_pool, random_histories__nothing_overlaps_and_the_accounts_are_exact) {
    static live lives[LIVE_MAX];
    for (uint64_t round = 0; round < 60; round++) {
        seeded random = seeded_start(21, round);
        uint64_t budget = (uint64_t)65536 << seeded_below(&random, 8);
        wf_record_pool pool = new_pool(budget);
        size_t count = 0;
        uint64_t held = 0, singles = 0;
        size_t target = 1 + seeded_below(&random, LIVE_MAX - 1);
        unsigned kind = 0;
        for (int step = 0; step < 6000; step++) {
            if (step % 1000 == 0) {
                kind = (unsigned)seeded_below(&random, 4);
                target = 1 + seeded_below(&random, LIVE_MAX - 1);
            }
            if (count < LIVE_MAX && seeded_percent(&random, count < target ? 80 : 30)) {
                lives[count] = take_live(&pool, random_payload(&random, kind), (unsigned char)seeded_next(&random));
                held += lives[count].record->block_bytes;
                if ((uintptr_t)lives[count].record % 64 != 0 ||
                    lives[count].record->size_class >= WF_RECORD_POOL_CLASSES)
                    singles += lives[count].record->block_bytes;
                count++;
            } else if (count > 0) {
                size_t i = seeded_below(&random, count);
                held -= lives[i].record->block_bytes;
                if (lives[i].record->size_class >= WF_RECORD_POOL_CLASSES) singles -= lives[i].record->block_bytes;
                give_live(&pool, lives[i]);
                lives[i] = lives[--count];
            }
            cr_assert(eq(u64, wf_record_pool_held_bytes(&pool), held), "WEFT_TEST_SEED=%llu round %llu step %d",
                      (unsigned long long)random.seed, (unsigned long long)round, step);
            cr_assert(ge(u64, wf_record_pool_reserved_bytes(&pool), held));
            cr_assert(le(u64, wf_record_pool_reserved_bytes(&pool), 2 * budget + singles));
        }
        while (count > 0) give_live(&pool, lives[--count]);
        wf_record_pool_deinit(&pool);
    }
}

/* What a budget of records of one size takes, all given back behind it. */
static void fill_and_empty(wf_record_pool *pool, size_t payload, uint64_t budget, wf_record **keep) {
    static wf_record *out[100000];
    size_t count = 0;
    while (wf_record_pool_held_bytes(pool) < budget) out[count++] = wf_record_pool_take(pool, payload);
    cr_assert(le(u64, wf_record_pool_reserved_bytes(pool), 2 * budget), "payload %zu", payload);
    size_t kept = keep ? count / 2 : count;
    if (keep) *keep = out[kept];
    for (size_t i = 0; i < count; i++)
        if (i != kept) wf_record_pool_give(pool, out[i]);
}

Test(record_pool, workload_shifts_its_size__old_chunks_serve_the_new_one) {
    const uint64_t budget = 8 << 20;
    wf_record_pool pool = new_pool(budget);
    for (size_t payload = 50; payload < 15000; payload += payload / 3) {
        fill_and_empty(&pool, payload, budget, NULL);
        cr_assert(le(u64, wf_record_pool_reserved_bytes(&pool), budget / 4 + CHUNK), "what is empty is given back");
    }
    wf_record_pool_deinit(&pool);
}

Test(record_pool, one_pinned_record_of_each_size__pins_one_chunk_each) {
    const uint64_t budget = 8 << 20;
    wf_record_pool pool = new_pool(budget);
    wf_record *pinned[32];
    unsigned count = 0;
    for (size_t payload = 50; payload < 15000; payload += payload / 3)
        fill_and_empty(&pool, payload, budget, &pinned[count++]);

    cr_assert(le(u64, wf_record_pool_reserved_bytes(&pool), budget / 4 + (count + 1) * CHUNK));
    for (unsigned i = 0; i < count; i++) {
        /* Free blocks beside pinned ones are taken before an empty chunk is. */
        uint64_t empty_count = pool.empty_count;
        wf_record *neighbour = wf_record_pool_take(&pool, pinned[i]->block_bytes - HEAD);
        bool is_beside_pinned = false;
        for (unsigned j = i; j < count; j++)
            is_beside_pinned |= (uintptr_t)neighbour / CHUNK == (uintptr_t)pinned[j] / CHUNK;
        cr_assert(is_beside_pinned, "size %u", pinned[i]->block_bytes);
        cr_assert(eq(u64, pool.empty_count, empty_count));
        wf_record_pool_give(&pool, neighbour);
        wf_record_pool_give(&pool, pinned[i]);
    }
    wf_record_pool_deinit(&pool);
}

Test(record_pool, twice_the_budget_is_reserved__further_records_are_allocated_singly) {
    const uint64_t budget = 4 * CHUNK;
    wf_record_pool pool = new_pool(budget);
    wf_record *out[8 * (CHUNK / 1024)];
    size_t count = 0;
    for (; count < 8 * 63; count++) out[count] = wf_record_pool_take(&pool, 1024 - HEAD);
    cr_assert(eq(u64, wf_record_pool_reserved_bytes(&pool), 2 * budget));

    wf_record *single = wf_record_pool_take(&pool, 700);
    cr_assert(eq(u64, wf_record_pool_reserved_bytes(&pool), 2 * budget + HEAD + 700));
    cr_assert(eq(u32, single->block_bytes, HEAD + 700), "exactly what it needs");
    wf_record_pool_give(&pool, single);
    cr_assert(eq(u64, wf_record_pool_reserved_bytes(&pool), 2 * budget));

    while (count > 0) wf_record_pool_give(&pool, out[--count]);
    wf_record_pool_deinit(&pool);
}

Test(record_pool, steady_state__asks_the_system_for_nothing) {
    wf_record_pool pool = new_pool(16 << 20);
    static wf_record *ring[8192];
    for (size_t i = 0; i < 8192; i++) ring[i] = wf_record_pool_take(&pool, 100 + i % 1000);
    uint64_t reserved = wf_record_pool_reserved_bytes(&pool);
    for (size_t i = 0; i < 1000000; i++) {
        wf_record_pool_give(&pool, ring[i % 8192]);
        ring[i % 8192] = wf_record_pool_take(&pool, 100 + i % 8192 % 1000);
    }
    cr_assert(eq(u64, wf_record_pool_reserved_bytes(&pool), reserved));
    for (size_t i = 0; i < 8192; i++) wf_record_pool_give(&pool, ring[i]);
    wf_record_pool_deinit(&pool);
}

Test(record_pool, deinit__a_record_is_still_out__aborts, .signal = SIGABRT) {
    wf_record_pool pool = new_pool(1 << 20);
    wf_record_pool_take(&pool, 10);
    wf_record_pool_deinit(&pool);
}

#ifndef __SANITIZE_ADDRESS__ /* which ends the process in its own way: the block is poisoned */
Test(record_pool, give__twice__aborts, .signal = SIGABRT) {
    wf_record_pool pool = new_pool(1 << 20);
    wf_record *record = wf_record_pool_take(&pool, 10);
    wf_record_pool_take(&pool, 10);
    wf_record_pool_give(&pool, record);
    wf_record_pool_give(&pool, record);
}
#endif

Test(record_pool, abandon__records_are_out__they_stay_readable) {
    wf_record_pool pool = new_pool(1 << 20);
    wf_record *record = wf_record_pool_take(&pool, 10);
    memcpy(wf_record_bytes(record), "still here", 10);
    wf_record_pool_abandon(&pool);
    cr_assert(memcmp(wf_record_bytes(record), "still here", 10) == 0);
}
