/* SPDX-License-Identifier: Apache-2.0
 *
 * The judge of the other tests: each fault, alone, must be seen, and nothing else.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "judge.h"

TestSuite(judge, .timeout = 20);

/* A script is words: +5a start offset 5 with key a (+5- a null key), and its end: .5 done, !5 failed, x5 dropped, ~5
 * died. */
typedef struct script_row {
    const char *name;
    judge_lanes lanes;
    int expected; /* offsets 0 to expected - 1 */
    const char *script;
    uint64_t missing, duplicates, out_of_order, overlaps, unexpected, running;
} script_row;

static const script_row rows[] = {
    {"all well", JUDGE_KEYS, 4, "+0a +1b .1 .0 +2a .2 +3b .3", 0, 0, 0, 0, 0, 0},
    {"nothing ran", JUDGE_KEYS, 3, "", 3, 0, 0, 0, 0, 0},
    {"one missing", JUDGE_KEYS, 3, "+0a .0 +2a .2", 1, 0, 0, 0, 0, 0},
    {"failed for now is missing", JUDGE_KEYS, 1, "+0a !0", 1, 0, 0, 0, 0, 0},
    {"retry", JUDGE_KEYS, 2, "+0a !0 +0a !0 +0a .0 +1a .1", 0, 0, 0, 0, 0, 0},
    {"dropped is an end", JUDGE_KEYS, 2, "+0a !0 +0a x0 +1a .1", 0, 0, 0, 0, 0, 0},
    {"worker died", JUDGE_KEYS, 2, "+0a ~0 +0a .0 +1a .1", 0, 0, 0, 0, 0, 0},
    {"lane opened during a retry", JUDGE_KEYS, 2, "+0a !0 +1a .1 +0a .0", 0, 0, 1, 0, 0, 0},
    {"twice", JUDGE_KEYS, 1, "+0a .0 +0a .0", 0, 1, 0, 0, 0, 0},
    {"redelivered prefix is not disorder", JUDGE_KEYS, 3, "+0a .0 +1a .1 +0a .0 +1a .1 +2a .2", 0, 2, 0, 0, 0, 0},
    {"later first", JUDGE_KEYS, 2, "+1a .1 +0a .0", 0, 0, 1, 0, 0, 0},
    {"two of a key at once", JUDGE_KEYS, 2, "+0a +1a .0 .1", 0, 0, 1, 1, 0, 0},
    {"same record twice at once", JUDGE_KEYS, 1, "+0a +0a .0 .0", 0, 0, 0, 1, 0, 0},
    {"null keys are in no lane", JUDGE_KEYS, 2, "+1- +0- .0 .1", 0, 0, 0, 0, 0, 0},
    {"same null record twice at once", JUDGE_KEYS, 1, "+0- +0- .0 .0", 0, 0, 0, 1, 0, 0},
    {"partition order across keys", JUDGE_PARTITIONS, 2, "+0a +1b .0 .1", 0, 0, 1, 1, 0, 0},
    {"partition order with null keys", JUDGE_PARTITIONS, 2, "+1- .1 +0a .0", 0, 0, 1, 0, 0, 0},
    {"unordered", JUDGE_UNORDERED, 3, "+2a +0a +1a .0 .1 .2", 0, 0, 0, 0, 0, 0},
    {"not expected", JUDGE_KEYS, 1, "+0a .0 +9a .9", 0, 0, 0, 0, 1, 0},
    {"nothing expected here", JUDGE_KEYS, 0, "+9a .9", 0, 0, 0, 0, 0, 0},
    {"still running", JUDGE_KEYS, 1, "+0a", 1, 0, 0, 0, 0, 1},
};

static void play(test_judge *judge, const char *script) {
    judge_ticket tickets[10];

    for (const char *word = script; *word;) {
        int offset = word[1] - '0';

        if (*word == '+') {
            tickets[offset] =
                judge_start(judge, "t", 0, offset, word[2] == '-' ? NULL : &word[2], word[2] == '-' ? 0 : 1);
        } else {
            judge_end(judge, tickets[offset],
                      *word == '.'   ? JUDGE_DONE
                      : *word == '!' ? JUDGE_FAILED
                      : *word == 'x' ? JUDGE_DROPPED
                                     : JUDGE_DIED);
        }
        word += strcspn(word, " ");
        word += strspn(word, " ");
    }
}

Test(judge, script__every_fault__is_counted_and_only_that) {
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const script_row *row = &rows[i];
        test_judge *judge = judge_new(row->lanes);
        judge_verdict verdict;
        char text[1024];
        bool content, want = row->missing + row->duplicates + row->out_of_order + row->overlaps + row->unexpected +
                                 row->running ==
                             0;

        if (row->expected) judge_expect(judge, "t", 0, 0, row->expected);
        play(judge, row->script);
        verdict = judge_verdict_now(judge);
        content = judge_is_content(judge, text, sizeof text);

        cr_expect(eq(u64, verdict.missing, row->missing), "%s: missing", row->name);
        cr_expect(eq(u64, verdict.duplicates, row->duplicates), "%s: duplicates", row->name);
        cr_expect(eq(u64, verdict.out_of_order, row->out_of_order), "%s: out of order", row->name);
        cr_expect(eq(u64, verdict.overlaps, row->overlaps), "%s: overlaps", row->name);
        cr_expect(eq(u64, verdict.unexpected, row->unexpected), "%s: unexpected", row->name);
        cr_expect(eq(u64, verdict.running, row->running), "%s: running", row->name);
        cr_expect(eq(int, content, want), "%s: %s", row->name, text);
        judge_free(judge);
    }
}

Test(judge, verdict__something_missing__example_names_it) {
    test_judge *judge = judge_new(JUDGE_KEYS);
    char text[512];
    judge_ticket ticket;

    judge_expect(judge, "orders", 3, 40, 42);
    ticket = judge_start(judge, "orders", 3, 40, "k7", 2);
    judge_end(judge, ticket, JUDGE_DONE);

    cr_assert(not(judge_is_content(judge, text, sizeof text)));
    cr_assert(strstr(text, "1 missing (orders[3]@41") != NULL, "%s", text);
    judge_free(judge);
}

/* Two threads, each with its own keys, over more records than the tables hold at first. */
typedef struct half {
    test_judge *judge;
    int64_t first;
} half;

enum { RECORDS = 20000 };

static void *handle_half(void *context) {
    const half *mine = context;

    for (int64_t offset = mine->first; offset < RECORDS; offset += 2) {
        char key[24];
        int bytes = snprintf(key, sizeof key, "%lld", (long long)(offset % 3000));
        judge_ticket ticket = judge_start(mine->judge, "t", (int32_t)(offset % 4), offset, key, (size_t)bytes);

        judge_end(mine->judge, ticket, JUDGE_DONE);
    }
    return NULL;
}

Test(judge, threads__many_records__all_are_remembered) {
    test_judge *judge = judge_new(JUDGE_KEYS);
    half halves[2] = {{judge, 0}, {judge, 1}};
    pthread_t threads[2];
    char text[512];

    for (int i = 0; i < 2; i++) pthread_create(&threads[i], NULL, handle_half, &halves[i]);
    cr_assert(judge_await(judge, RECORDS, 15000));
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);

    cr_assert(judge_is_content(judge, text, sizeof text), "%s", text);
    cr_assert(eq(u64, judge_verdict_now(judge).started, RECORDS));
    cr_assert(eq(u64, judge_ended(judge), RECORDS));
    for (int64_t offset = 0; offset < RECORDS; offset++)
        judge_expect(judge, "t", (int32_t)(offset % 4), offset, offset + 1);
    cr_assert(judge_is_content(judge, text, sizeof text), "%s", text);
    judge_free(judge);
}
