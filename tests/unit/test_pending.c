/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of deferred records, on one thread: every pair of moves on one promise, and promises that outlive their
 * table. Threads are in tests/stress.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "must.h"
#include "pending.h"
#include "require.h"
#include "seeded.h"

TestSuite(pending, .timeout = 60);

static wf_pending *open_table(uint32_t capacity) {
    wf_pending *table;
    REQUIRE_EQ(wf_pending_open(capacity, &table), WEFT_OK);
    return table;
}

static bool is_readable(const wf_pending *table) {
    struct pollfd fd = {.fd = wf_pending_fd(table), .events = POLLIN};
    return poll(&fd, 1, 0) == 1;
}

typedef enum move { MOVE_COMPLETE, MOVE_FAIL, MOVE_CANCEL, MOVE_TAKE, MOVES } move;

/* Whether the move found the promise open (take: found something). */
static bool make(move what, wf_pending *table, uint32_t number, weft_token token) {
    wf_pending_done done;
    switch (what) {
    case MOVE_COMPLETE:
        return weft_complete(token, WEFT_SUCCESS, NULL) == WEFT_OK;
    case MOVE_FAIL:
        return weft_complete(token, WEFT_FAILURE, "why") == WEFT_OK;
    case MOVE_CANCEL:
        return wf_pending_cancel(table, number, NULL);
    case MOVE_TAKE:
    case MOVES:
    default:
        if (wf_pending_take(table, &done, 1) == 0) return false;
        free(done.reason);
        return true;
    }
}

Test(pending, moves__every_row_of_three__exactly_one_ends_the_promise) {
    wf_record record = {0};
    wf_pending *table = open_table(4);
    for (int row = 0; row < MOVES * MOVES * MOVES; row++) {
        weft_token token;
        uint32_t number = wf_pending_defer(table, &record, &token);
        REQUIRE(number > 0);
        move moves[] = {row % MOVES, row / MOVES % MOVES, row / MOVES / MOVES};
        bool open = true, completed = false;
        for (int i = 0; i < 3; i++) {
            bool expected = moves[i] == MOVE_TAKE ? completed : open;
            REQUIRE(make(moves[i], table, number, token) == expected, "row %d move %d", row, i);
            completed = moves[i] == MOVE_TAKE ? false : completed || (open && moves[i] != MOVE_CANCEL);
            open = open && moves[i] == MOVE_TAKE;
        }
        wf_pending_done done;
        if (open) REQUIRE(wf_pending_cancel(table, number, NULL));
        while (wf_pending_take(table, &done, 1)) free(done.reason);
    }
    wf_pending_close(&table);
}

Test(pending, take__order_of_completion__with_result_and_reason) {
    enum { COUNT = 10 };
    wf_record records[COUNT] = {0};
    weft_token tokens[COUNT];
    wf_pending_done done[COUNT];
    wf_pending *table = open_table(COUNT);
    for (int i = 0; i < COUNT; i++) REQUIRE(wf_pending_defer(table, &records[i], &tokens[i]) > 0);
    REQUIRE(!is_readable(table));
    static const int order[COUNT] = {3, 1, 4, 0, 5, 9, 2, 6, 8, 7};
    for (int i = 0; i < COUNT; i++) {
        bool fail = order[i] % 2;
        REQUIRE_EQ(weft_complete(tokens[order[i]], fail ? WEFT_FAILURE : WEFT_SUCCESS, fail ? "odd" : NULL), WEFT_OK);
        REQUIRE(is_readable(table));
    }
    REQUIRE_EQ(wf_pending_take(table, done, 4), 4); /* in two bites */
    REQUIRE_EQ(wf_pending_take(table, done + 4, COUNT), COUNT - 4);
    for (int i = 0; i < COUNT; i++) {
        REQUIRE(done[i].record == &records[order[i]], "position %d", i);
        REQUIRE_EQ(done[i].result, order[i] % 2 ? WEFT_FAILURE : WEFT_SUCCESS);
        REQUIRE((done[i].reason != NULL) == (order[i] % 2 != 0));
        free(done[i].reason);
    }
    REQUIRE_EQ(wf_pending_take(table, done, COUNT), 0);
    wf_pending_close(&table);
}

Test(pending, take__more_completed_between_two_bites__nothing_is_lost) {
    wf_record record = {0};
    weft_token tokens[6];
    wf_pending_done done;
    wf_pending *table = open_table(6);
    for (int i = 0; i < 6; i++) wf_pending_defer(table, &record, &tokens[i]);
    for (int i = 0; i < 3; i++) weft_complete(tokens[i], WEFT_SUCCESS, NULL);
    REQUIRE_EQ(wf_pending_take(table, &done, 1), 1);
    for (int i = 3; i < 6; i++) weft_complete(tokens[i], WEFT_SUCCESS, NULL);
    int count = 1;
    while (wf_pending_take(table, &done, 1)) count++;
    REQUIRE_EQ(count, 6);
    wf_pending_close(&table);
}

Test(pending, defer__table_is_full__refused_until_one_ends) {
    wf_record record = {0};
    weft_token tokens[3], refused = {12345};
    wf_pending *table = open_table(3);
    uint32_t first = wf_pending_defer(table, &record, &tokens[0]);
    for (int i = 1; i < 3; i++) REQUIRE(wf_pending_defer(table, &record, &tokens[i]) > 0);
    REQUIRE_EQ(wf_pending_defer(table, &record, &refused), 0);
    REQUIRE_EQ(refused.id, 12345);
    REQUIRE(wf_pending_cancel(table, first, NULL));
    REQUIRE(wf_pending_defer(table, &record, &refused) > 0);
    wf_pending_close(&table);
}

Test(pending, complete__other_results__refused_and_the_promise_stays) {
    wf_record record = {0};
    weft_token token;
    wf_pending *table = open_table(1);
    uint32_t number = wf_pending_defer(table, &record, &token);
    REQUIRE_EQ(weft_complete(token, WEFT_PENDING, NULL), WEFT_EINVAL);
    REQUIRE_EQ(weft_complete(token, (weft_result)77, NULL), WEFT_EINVAL);
    REQUIRE(wf_pending_cancel(table, number, NULL));
    wf_pending_close(&table);
}

Test(pending, complete__tokens_from_nowhere__stale) {
    wf_record record = {0};
    weft_token token;
    wf_pending *table = open_table(2);
    uint32_t number = wf_pending_defer(table, &record, &token);
    seeded random = seeded_start(5, 0);
    REQUIRE_EQ(weft_complete((weft_token){0}, WEFT_SUCCESS, NULL), WEFT_ESTALE);
    for (int i = 0; i < 100000; i++) {
        weft_token wrong = {i < 64 ? token.id ^ UINT64_C(1) << i : seeded_next(&random)};
        if (wrong.id == token.id) continue;
        REQUIRE_EQ(weft_complete(wrong, WEFT_SUCCESS, NULL), WEFT_ESTALE);
    }
    REQUIRE(wf_pending_cancel(table, number, NULL));
    wf_pending_close(&table);
}

Test(pending, reason__longer_than_255__is_cut) {
    wf_record record = {0};
    weft_token token;
    char reason[400];
    memset(reason, 'x', sizeof reason - 1);
    reason[sizeof reason - 1] = '\0';
    wf_pending *table = open_table(1);
    wf_pending_defer(table, &record, &token);
    REQUIRE_EQ(weft_complete(token, WEFT_FAILURE, reason), WEFT_OK);
    wf_pending_done done;
    REQUIRE_EQ(wf_pending_take(table, &done, 1), 1);
    REQUIRE_EQ(strlen(done.reason), 255);
    free(done.reason);
    REQUIRE(wf_reason_copy(NULL) == NULL);
    REQUIRE(wf_reason_copy("") == NULL);
    wf_pending_close(&table);
}

/* Consumers come and go on the same table; no promise of one is ever a promise of the next. */
Test(pending, close__tokens_of_earlier_consumers__stale_for_ever) {
    enum { ROUNDS = 50, COUNT = 8 };
    static weft_token tokens[ROUNDS][COUNT];
    wf_record record = {0};
    for (int round = 0; round < ROUNDS; round++) {
        wf_pending *table = open_table(COUNT);
        for (int i = 0; i < COUNT; i++) REQUIRE(wf_pending_defer(table, &record, &tokens[round][i]) > 0);
        weft_complete(tokens[round][0], WEFT_FAILURE, "never taken");
        for (int old = 0; old < round; old++)
            for (int i = 0; i < COUNT; i++) REQUIRE_EQ(weft_complete(tokens[old][i], WEFT_SUCCESS, NULL), WEFT_ESTALE);
        wf_pending_close(&table);
        REQUIRE(table == NULL);
        for (int i = 0; i < COUNT; i++) REQUIRE_EQ(weft_complete(tokens[round][i], WEFT_SUCCESS, NULL), WEFT_ESTALE);
    }
    wf_pending *table = open_table(COUNT);
    wf_pending_done done;
    REQUIRE_EQ(wf_pending_take(table, &done, 1), 0);
    REQUIRE(!is_readable(table), "the next consumer wakes for nothing");
    wf_pending_close(&table);
}

Test(pending, open__many_at_once__tables_are_apart_and_bounded) {
    wf_pending *tables[64];
    wf_record records[64] = {0};
    weft_token tokens[64];
    for (int i = 0; i < 64; i++) {
        tables[i] = open_table(2 + (uint32_t)i);
        REQUIRE(wf_pending_defer(tables[i], &records[i], &tokens[i]) > 0);
    }
    wf_pending *none = NULL;
    REQUIRE_EQ(wf_pending_open(1, &none), WEFT_ELIMIT);
    for (int i = 63; i >= 0; i--) REQUIRE_EQ(weft_complete(tokens[i], WEFT_SUCCESS, NULL), WEFT_OK);
    for (int i = 0; i < 64; i++) {
        wf_pending_done done;
        REQUIRE_EQ(wf_pending_take(tables[i], &done, 1), 1);
        REQUIRE(done.record == &records[i]);
        wf_pending_close(&tables[i]);
    }
    wf_pending *again = open_table(60); /* a table that is large enough, not the first one */
    for (uint32_t i = 0; i < 60; i++) REQUIRE(wf_pending_defer(again, &records[0], &tokens[0]) > 0);
    wf_pending_close(&again);
}

Test(pending, cancel__slot_serves_another_record__its_promise_stays) {
    wf_record first = {0}, second = {0};
    weft_token token;
    wf_pending_done done;
    wf_pending *table = open_table(1);
    uint32_t number = wf_pending_defer(table, &first, &token);
    REQUIRE_EQ(weft_complete(token, WEFT_SUCCESS, NULL), WEFT_OK);
    REQUIRE_EQ(wf_pending_take(table, &done, 1), 1);
    REQUIRE_EQ(wf_pending_defer(table, &second, &token), number);
    REQUIRE(!wf_pending_cancel(table, number, &first));
    REQUIRE_EQ(weft_complete(token, WEFT_SUCCESS, NULL), WEFT_OK);
    wf_pending_close(&table);
}
