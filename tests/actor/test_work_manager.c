/* SPDX-License-Identifier: Apache-2.0
 *
 * The work manager on a virtual clock: what goes in, what comes out, one rule after the other.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#include "pending.h"
#include "require.h"
#include "work_desk.h"

TestSuite(work_manager, .timeout = 60);

static const uint64_t ms = 1000000;
static const uint64_t one_key[8] = {7, 7, 7, 7, 7, 7, 7, 7};
static const uint64_t own_keys[8] = {1, 2, 3, 4, 5, 6, 7, 8};
static const uint64_t null_keys[8] = {0};

static wf_slice work(work_desk *desk) {
    wf_slice slice;
    REQUIRE(desk_work(desk, &slice), "no slice was sent");
    return slice;
}

static void expect_idle(work_desk *desk) {
    wf_slice slice;
    if (desk_work(desk, &slice)) cr_fatal("a slice was sent: %s", desk_offsets(slice));
}

static void expect_offsets(wf_slice slice, const char *offsets) {
    if (strcmp(desk_offsets(slice), offsets) != 0) cr_fatal("the slice has %s, not %s", desk_offsets(slice), offsets);
}

/* --- the plain way */

Test(work_manager, records__run_and_finish__credit_and_offsets_exact) {
    work_desk desk;
    wf_work_manager_options options = desk_options();
    desk_start(&desk, &options, 1);
    desk_assign(&desk, 0, 100, NULL, 0);

    desk_feed(&desk, 0, 100, one_key, 5);
    wf_slice slice = work(&desk);
    expect_offsets(slice, "100 101 102 103 104");
    REQUIRE_EQ(desk.credit_records, 0);
    REQUIRE_EQ(slice.head->attempt, 1);
    REQUIRE_EQ(slice.head->dispatch_ns, desk.fake.now_ns);
    desk_done(&desk, slice, WF_DONE_SUCCESS);

    REQUIRE_EQ(desk_frontier(&desk, 0), 105);
    expect_idle(&desk);
    desk_end(&desk);
}

Test(work_manager, records__of_an_old_epoch__go_home_at_once) {
    work_desk desk;
    wf_work_manager_options options = desk_options();
    desk_start(&desk, &options, 1);
    desk_assign(&desk, 0, 0, NULL, 0);
    wf_chain late = {0};
    wf_chain_push(&late, desk_record(&desk, 0, 3, 1));
    desk_revoke(&desk, 0, desk.fake.now_ns + 1, false);
    desk_assign(&desk, 0, 0, NULL, 0);

    desk_arrive(&desk, &late);

    expect_idle(&desk);
    desk_end(&desk);
}

Test(work_manager, restored_offsets__never_run__credit_home) {
    work_desk desk;
    wf_work_manager_options options = desk_options();
    desk_start(&desk, &options, 1);
    desk_assign(&desk, 0, 10, (wf_offset_run[]){{11, 13}, {14, 15}}, 2);

    desk_feed(&desk, 0, 10, one_key, 6);

    wf_slice slice = work(&desk);
    expect_offsets(slice, "10 13 15");
    desk_done(&desk, slice, WF_DONE_SUCCESS);
    REQUIRE_EQ(desk_frontier(&desk, 0), 16);
    desk_end(&desk);
}

Test(work_manager, log_end__below_the_restored_map__map_is_refused) {
    work_desk desk;
    wf_work_manager_options options = desk_options();
    desk_start(&desk, &options, 1);
    desk_assign(&desk, 0, 10, (wf_offset_run[]){{12, 50}}, 1);
    wf_log_end end = {.slot = 0, .epoch = 1, .end = 49};
    fake_sent sent;

    fake_env_tell(&desk.fake, DESK_POLLER, WF_MSG_LOG_END, &end, sizeof end);
    REQUIRE(fake_env_take(&desk.fake, WF_MSG_MAP_REFUSED, &sent));
    REQUIRE_EQ(sent.to, DESK_TRACKER);
    REQUIRE(!fake_env_take(&desk.fake, WF_MSG_HOLE, &sent));
    wf_window_forget_restored(&desk.slots[0].window);

    desk_feed(&desk, 0, 10, one_key, 4);
    wf_slice slice = work(&desk);
    expect_offsets(slice, "10 11 12 13");
    desk_done(&desk, slice, WF_DONE_SUCCESS);
    end.end = 60;
    end.reached = true;
    fake_env_tell(&desk.fake, DESK_POLLER, WF_MSG_LOG_END, &end, sizeof end);
    REQUIRE(fake_env_take(&desk.fake, WF_MSG_HOLE, &sent));
    REQUIRE_EQ(((const wf_log_end *)sent.body)->end, 60);
    desk_end(&desk);
}

Test(work_manager, hole__leaves_behind_the_fetched_runs_below_it) {
    work_desk desk;
    wf_work_manager_options options = desk_options();
    desk_start(&desk, &options, 1);
    desk_assign(&desk, 0, 0, NULL, 0);
    wf_chain records = {0};
    wf_chain_push(&records, desk_record(&desk, 0, 0, 1));
    wf_log_end end = {.slot = 0, .epoch = 1, .end = 2, .reached = true};
    /* Both within one turn: only the order of the messages tells the tracker. */
    fake_env_deliver(&desk.fake, DESK_POLLER, WF_MSG_RECORDS, &records, sizeof records);
    fake_env_deliver(&desk.fake, DESK_POLLER, WF_MSG_LOG_END, &end, sizeof end);
    fake_env_turn(&desk.fake);

    uint32_t order[4] = {0}, count = 0;
    for (size_t i = 0; i < desk.fake.sent_count && count < 4; i++)
        if (desk.fake.sent[i].to == DESK_TRACKER) order[count++] = desk.fake.sent[i].type;
    REQUIRE_EQ(order[0], WF_MSG_FETCHED);
    REQUIRE_EQ(order[1], WF_MSG_HOLE);
    desk_done(&desk, work(&desk), WF_DONE_SUCCESS);
    desk_end(&desk);
}

Test(work_manager, batch_handler__one_record_per_key_and_slice) {
    work_desk desk;
    wf_work_manager_options options = desk_options();
    options.batch = true;
    desk_start(&desk, &options, 1);
    desk_assign(&desk, 0, 0, NULL, 0);

    desk_feed(&desk, 0, 0, (uint64_t[]){1, 1, 2, 1, 2}, 5);

    wf_slice slice = work(&desk);
    expect_offsets(slice, "0 2");
    desk_done(&desk, slice, WF_DONE_SUCCESS);
    slice = work(&desk);
    expect_offsets(slice, "1 4");
    desk_done(&desk, slice, WF_DONE_SUCCESS);
    slice = work(&desk);
    desk_done(&desk, slice, WF_DONE_SUCCESS);
    desk_end(&desk);
}

Test(work_manager, blocking_record__goes_first) {
    work_desk desk;
    wf_work_manager_options options = desk_options();
    options.slice_max_records = 1;
    desk_start(&desk, &options, 1);
    desk_assign(&desk, 0, 0, NULL, 0);
    desk_assign(&desk, 1, 0, NULL, 0);
    desk_feed(&desk, 0, 0, own_keys, 1);
    desk_feed(&desk, 1, 0, own_keys, 4);
    desk_feed(&desk, 0, 1, own_keys + 1, 1);

    wf_slice first = work(&desk), second = work(&desk);
    REQUIRE_EQ(first.head->slot, 0);
    REQUIRE_EQ(second.head->slot, 1);
    desk_done(&desk, first, WF_DONE_SUCCESS);

    wf_slice next = work(&desk);
    REQUIRE(next.head->slot == 0 && next.head->offset == 1, "offset 1 blocks the frontier of slot 0");
    desk_done(&desk, second, WF_DONE_SUCCESS);
    desk_done(&desk, next, WF_DONE_SUCCESS);
    wf_slice slice;
    while (desk_work(&desk, &slice)) desk_done(&desk, slice, WF_DONE_SUCCESS);
    desk_end(&desk);
}

Test(work_manager, first_record_of_a_partition__passes_the_backlog_of_the_others) {
    work_desk desk;
    wf_work_manager_options options = desk_options();
    options.slice_max_records = 1;
    desk_start(&desk, &options, 1);
    desk_assign(&desk, 0, 0, NULL, 0);
    desk_assign(&desk, 1, 0, NULL, 0);
    desk_feed(&desk, 0, 0, own_keys, 4);
    wf_slice first = work(&desk), second = work(&desk);
    desk_feed(&desk, 1, 0, own_keys, 1);
    desk_done(&desk, first, WF_DONE_SUCCESS);
    desk_done(&desk, second, WF_DONE_SUCCESS);

    wf_slice one = work(&desk), other = work(&desk);
    REQUIRE(one.head->slot == 1 || other.head->slot == 1, "offset 0 blocks the frontier of slot 1");
    desk_done(&desk, one, WF_DONE_SUCCESS);
    desk_done(&desk, other, WF_DONE_SUCCESS);
    wf_slice slice;
    while (desk_work(&desk, &slice)) desk_done(&desk, slice, WF_DONE_SUCCESS);
    desk_end(&desk);
}

/* A worker died, say. The other partition's next record is urged with every slice that comes back. */
Test(work_manager, blocking_record__comes_back_unrun__goes_before_the_backlog_of_its_partition) {
    work_desk desk;
    wf_work_manager_options options = desk_options();
    options.slice_max_records = 1;
    desk_start(&desk, &options, 1);
    desk_assign(&desk, 0, 0, NULL, 0);
    desk_assign(&desk, 1, 0, NULL, 0);
    desk_feed(&desk, 0, 0, own_keys, 8);
    desk_feed(&desk, 1, 0, own_keys, 8);
    wf_slice first = work(&desk), second = work(&desk), slice = first;
    REQUIRE(first.head->slot == 0 && first.head->offset == 0);
    desk_done(&desk, first, WF_DONE_UNRUN);
    desk_done(&desk, second, WF_DONE_SUCCESS);
    int taken = 0;
    for (slice = work(&desk); slice.head->slot != 0 || slice.head->offset != 0; slice = work(&desk), taken++)
        desk_done(&desk, slice, WF_DONE_SUCCESS);
    REQUIRE(taken <= 2, "%d others went before it", taken);
    desk_done(&desk, slice, WF_DONE_SUCCESS);
    while (desk_work(&desk, &slice)) desk_done(&desk, slice, WF_DONE_SUCCESS);
    desk_end(&desk);
}

/* Of keys that may run, as many as all workers can hold, and no fewer than 1,024. */
Test(work_manager, enough__more_keys_ready_than_workers_hold__said_until_a_quarter_is_gone) {
    work_desk desk;
    uint64_t keys[1030];
    uint32_t waiting = 0, told_at = 0;
    wf_work_manager_options options = desk_options();
    options.slice_max_records = 1;
    desk_start(&desk, &options, 1);
    desk_assign(&desk, 0, 0, NULL, 0);
    wf_slice slice;
    for (uint64_t i = 0; i < 1030; i++) keys[i] = i + 1;
    desk_feed(&desk, 0, 0, keys, 1030);
    desk_collect(&desk);
    REQUIRE(!desk.enough, "nobody knows how fast the handler is");
    while (desk_work(&desk, &slice)) desk_done(&desk, slice, WF_DONE_SUCCESS);
    desk_feed(&desk, 0, 1030, keys, 1026); /* two of them are with the worker */
    desk_collect(&desk);
    REQUIRE(!desk.enough);
    desk_feed(&desk, 0, 2056, keys + 1026, 1);
    desk_collect(&desk);
    REQUIRE(desk.enough);

    for (waiting = 1025; desk_work(&desk, &slice); waiting--) {
        if (!desk.enough && told_at == 0) told_at = waiting;
        desk_done(&desk, slice, WF_DONE_SUCCESS);
        desk_collect(&desk);
    }
    REQUIRE_EQ(told_at, 768);
    desk_end(&desk);
}

/* Half a second for each record: who comes next is better known early. */
Test(work_manager, enough__slow_handler__never) {
    work_desk desk;
    uint64_t keys[2000];
    wf_work_manager_options options = desk_options();
    options.slice_max_records = 1;
    desk_start(&desk, &options, 1);
    desk_assign(&desk, 0, 0, NULL, 0);
    for (uint64_t i = 0; i < 2000; i++) keys[i] = i + 1;
    desk_feed(&desk, 0, 0, keys, 2000);
    wf_slice slice;
    for (int i = 0; i < 50 && desk_work(&desk, &slice); i++) {
        desk_advance_ms(&desk, 500);
        desk_done(&desk, slice, WF_DONE_SUCCESS);
    }
    desk_collect(&desk);
    REQUIRE(!desk.enough);
    while (desk_work(&desk, &slice)) desk_done(&desk, slice, WF_DONE_SUCCESS);
    desk_end(&desk);
}

Test(work_manager, enough__one_key__never) {
    work_desk desk;
    wf_work_manager_options options = desk_options();
    options.slice_max_records = 1;
    desk_start(&desk, &options, 1);
    desk_assign(&desk, 0, 0, NULL, 0);
    for (int64_t i = 0; i < 300; i++) desk_feed(&desk, 0, 8 * i, one_key, 8);
    desk_collect(&desk);
    REQUIRE(!desk.enough, "the other keys must come while this one runs");
    wf_slice slice;
    while (desk_work(&desk, &slice)) desk_done(&desk, slice, WF_DONE_SUCCESS);
    desk_end(&desk);
}

/* --- failures */

/* The pause after the attempt that just failed is exactly this long. */
static wf_slice expect_retry_after(work_desk *desk, uint64_t pause_ns) {
    expect_idle(desk);
    fake_env_advance(&desk->fake, pause_ns - 1);
    expect_idle(desk);
    fake_env_advance(&desk->fake, 1);
    return work(desk);
}

static void check_backoff(uint64_t random, uint64_t numerator) {
    work_desk desk;
    wf_work_manager_options options = desk_options();
    options.max_attempts = 7;
    desk_start(&desk, &options, 1);
    desk.fake.random_fixed = true;
    desk_assign(&desk, 0, 0, NULL, 0);
    desk_feed(&desk, 0, 0, one_key, 2);
    wf_slice slice = work(&desk);
    static const uint64_t pauses_ms[] = {100, 200, 400, 800, 1000, 1000};
    for (int i = 0; i < 6; i++) {
        uint64_t pause_ns = pauses_ms[i] * ms;
        desk.fake.random = random == 0 ? 0 : 2 * (pause_ns / 5); /* the ends of the window */
        desk_done_each(&desk, slice, i == 0 ? "fu" : "f");
        slice = expect_retry_after(&desk, pause_ns / 5 * numerator);
        expect_offsets(slice, "0");
        REQUIRE_EQ(slice.head->attempt, i + 2);
    }
    desk_done(&desk, slice, WF_DONE_SUCCESS);
    slice = work(&desk);
    expect_offsets(slice, "1");
    REQUIRE_EQ(slice.head->attempt, 1);
    desk_done(&desk, slice, WF_DONE_SUCCESS);
    desk_end(&desk);
}

Test(work_manager, retry__shortest_jitter__four_fifths_of_the_backoff) {
    check_backoff(0, 4);
}

Test(work_manager, retry__longest_jitter__six_fifths_of_the_backoff) {
    check_backoff(1, 6);
}

Test(work_manager, retry__other_keys_go_on_meanwhile) {
    work_desk desk;
    wf_work_manager_options options = desk_options();
    desk_start(&desk, &options, 1);
    desk_assign(&desk, 0, 0, NULL, 0);
    desk_feed(&desk, 0, 0, (uint64_t[]){1, 2}, 2);
    desk_done_each(&desk, work(&desk), "fs");
    desk_feed(&desk, 0, 2, (uint64_t[]){1, 2, 3}, 3);

    wf_slice slice = work(&desk);
    expect_offsets(slice, "3 4");
    desk_done(&desk, slice, WF_DONE_SUCCESS);
    REQUIRE_EQ(desk_frontier(&desk, 0), 0);
    desk_advance_ms(&desk, 120);
    slice = work(&desk);
    expect_offsets(slice, "0");
    desk_done(&desk, slice, WF_DONE_SUCCESS);
    slice = work(&desk);
    expect_offsets(slice, "2");
    desk_done(&desk, slice, WF_DONE_SUCCESS);
    REQUIRE_EQ(desk_frontier(&desk, 0), 5);
    desk_end(&desk);
}

Test(work_manager, retry__never_more_than_a_quarter_of_the_slices) {
    work_desk desk;
    wf_work_manager_options options = desk_options();
    options.slice_max_records = 1;
    desk_start(&desk, &options, 4);
    desk_assign(&desk, 0, 0, NULL, 0);
    desk_feed(&desk, 0, 0, own_keys, 8);
    wf_slice slices[8];
    for (int i = 0; i < 8; i++) slices[i] = work(&desk);
    for (int i = 0; i < 8; i++) desk_done(&desk, slices[i], WF_DONE_FAILURE);

    desk_advance_ms(&desk, 120);

    wf_slice first = work(&desk), second = work(&desk);
    expect_idle(&desk);
    desk_done(&desk, first, WF_DONE_SUCCESS);
    first = work(&desk);
    expect_idle(&desk);
    desk_done(&desk, second, WF_DONE_SUCCESS);
    desk_done(&desk, first, WF_DONE_SUCCESS);
    while (desk_work(&desk, &first)) desk_done(&desk, first, WF_DONE_SUCCESS);
    REQUIRE_EQ(desk_frontier(&desk, 0), 8);
    desk_end(&desk);
}

static void fail_for_good(work_desk *desk, int policy) {
    wf_work_manager_options options = desk_options();
    options.failure_policy = policy;
    options.max_attempts = 2;
    desk_start(desk, &options, 1);
    desk_assign(desk, 0, 0, NULL, 0);
    desk_feed(desk, 0, 0, one_key, 2);
    size_t lines = desk->fake.line_count;
    desk_done_each(desk, work(desk), "fu");
    desk_advance_ms(desk, 120);
    REQUIRE_EQ(desk->fake.line_count, lines); /* counted, not logged, as docs/operations.md says */
    desk_done(desk, work(desk), WF_DONE_FAILURE);
    REQUIRE_EQ(desk->fake.line_count, lines + 1);
}

/* Whoever wrote the payload may have written the reason, too. */
Test(work_manager, failed_for_good__a_reason_with_quotes__says_nothing_in_our_name) {
    work_desk desk;
    wf_work_manager_options options = desk_options();
    options.failure_policy = WF_FAILURE_SKIP;
    options.max_attempts = 1;
    desk_start(&desk, &options, 1);
    desk_assign(&desk, 0, 0, NULL, 0);
    desk_feed(&desk, 0, 0, one_key, 1);
    wf_slice slice = work(&desk);
    slice.head->reason = wf_reason_copy("no \" topic=other offset=9");
    desk_done(&desk, slice, WF_DONE_FAILURE);
    REQUIRE(fake_env_logged(&desk.fake, "reason=\"no ' topic=other offset=9\" not_logged=0"));
    desk_end(&desk);
}

Test(work_manager, failed_for_good__skip__offset_completes_and_the_key_goes_on) {
    work_desk desk;
    fail_for_good(&desk, WF_FAILURE_SKIP);
    REQUIRE_EQ(desk_frontier(&desk, 0), 1);
    REQUIRE(fake_env_logged(&desk.fake, "record given up topic=orders partition=0 offset=0 attempts=2"));
    desk_done(&desk, work(&desk), WF_DONE_SUCCESS);
    REQUIRE_EQ(desk.fake.failures, 0);
    desk_end(&desk);
}

Test(work_manager, failed_for_good__stop__nothing_new_starts_and_the_offset_stays) {
    work_desk desk;
    fail_for_good(&desk, WF_FAILURE_STOP);
    REQUIRE_EQ(desk.fake.failures, 1);
    REQUIRE_EQ(desk.fake.failure, WEFT_EHANDLER);
    desk_feed(&desk, 0, 2, own_keys, 2);
    desk_advance_ms(&desk, 100000);
    expect_idle(&desk);
    REQUIRE_EQ(desk_frontier(&desk, 0), 0);
    desk_revoke(&desk, 0, desk.fake.now_ns + ms, false);
    REQUIRE_EQ(desk.slots[0].drained, 1);
    desk_end(&desk);
}

Test(work_manager, unordered__a_failure_stops_no_other_record) {
    work_desk desk;
    wf_work_manager_options options = desk_options();
    desk_start(&desk, &options, 1);
    desk_assign(&desk, 0, 0, NULL, 0);
    desk_feed(&desk, 0, 0, null_keys, 2);
    wf_slice slice = work(&desk);
    expect_offsets(slice, "0 1");
    desk_feed(&desk, 0, 2, null_keys, 1);
    desk_done_each(&desk, slice, "fs");
    slice = work(&desk);
    expect_offsets(slice, "2");
    desk_done(&desk, slice, WF_DONE_SUCCESS);
    REQUIRE_EQ(desk_frontier(&desk, 0), 0);
    desk_advance_ms(&desk, 120);
    slice = work(&desk);
    expect_offsets(slice, "0");
    desk_done(&desk, slice, WF_DONE_SUCCESS);
    REQUIRE_EQ(desk_frontier(&desk, 0), 3);
    desk_end(&desk);
}

/* --- deferred records */

Test(work_manager, deferred__credit_goes_home_at_once_the_block_later) {
    work_desk desk;
    wf_work_manager_options options = desk_options();
    desk_start(&desk, &options, 1);
    desk_assign(&desk, 0, 0, NULL, 0);
    desk_feed(&desk, 0, 0, one_key, 2);
    wf_slice slice = work(&desk);
    wf_record *deferred = slice.head;
    desk_done_each(&desk, slice, "pu");

    REQUIRE_EQ(desk.credit_records, 1);
    REQUIRE_EQ(desk.home_blocks, 0);
    expect_idle(&desk);
    desk_unpark(&desk, deferred, WF_DONE_SUCCESS);
    REQUIRE_EQ(desk.home_blocks, 1);
    slice = work(&desk);
    expect_offsets(slice, "1");
    desk_done(&desk, slice, WF_DONE_SUCCESS);
    desk_end(&desk);
}

Test(work_manager, deferred__completed_with_failure__runs_again_and_its_credit_counts_once) {
    work_desk desk;
    wf_work_manager_options options = desk_options();
    desk_start(&desk, &options, 1);
    desk_assign(&desk, 0, 0, NULL, 0);
    desk_feed(&desk, 0, 0, one_key, 1);
    wf_slice slice = work(&desk);
    wf_record *deferred = slice.head;
    for (int i = 0; i < 3; i++) {
        desk_done(&desk, slice, WF_DONE_PENDING);
        desk_unpark(&desk, deferred, WF_DONE_FAILURE);
        desk_advance_ms(&desk, 1200);
        slice = work(&desk);
        REQUIRE_EQ(slice.head->attempt, i + 2);
    }
    desk_done(&desk, slice, WF_DONE_SUCCESS);
    REQUIRE_EQ(desk_frontier(&desk, 0), 1);
    desk_end(&desk);
}

Test(work_manager, deferred__failed_before_its_done_came__is_tried_before_the_records_behind_it) {
    work_desk desk;
    wf_work_manager_options options = desk_options();
    desk_start(&desk, &options, 1);
    desk_assign(&desk, 0, 0, NULL, 0);
    desk_feed(&desk, 0, 0, one_key, 3);
    wf_slice slice = work(&desk);
    desk_unpark(&desk, slice.head, WF_DONE_FAILURE); /* another thread was faster than the handler's return */
    desk_done_each(&desk, slice, "puu");

    expect_idle(&desk);
    desk_advance_ms(&desk, 120);
    slice = work(&desk);
    expect_offsets(slice, "0");
    desk_done(&desk, slice, WF_DONE_SUCCESS);
    slice = work(&desk);
    expect_offsets(slice, "1 2");
    desk_done(&desk, slice, WF_DONE_SUCCESS);
    desk_end(&desk);
}

Test(work_manager, deferred__succeeded_before_its_done_came__finishes_with_it) {
    work_desk desk;
    wf_work_manager_options options = desk_options();
    desk_start(&desk, &options, 1);
    desk_assign(&desk, 0, 0, NULL, 0);
    desk_feed(&desk, 0, 0, one_key, 3);
    wf_slice slice = work(&desk);
    desk_unpark(&desk, slice.head, WF_DONE_SUCCESS);
    REQUIRE_EQ(desk_frontier(&desk, 0), 0);
    desk_done_each(&desk, slice, "puu");
    REQUIRE_EQ(desk_frontier(&desk, 0), 1);
    slice = work(&desk);
    expect_offsets(slice, "1 2");
    desk_done(&desk, slice, WF_DONE_SUCCESS);
    desk_end(&desk);
}

Test(work_manager, deferred__limit_of_pending_records__holds_new_ones_back) {
    work_desk desk;
    wf_work_manager_options options = desk_options();
    options.pending_max_records = 3;
    options.slice_max_records = 1;
    desk_start(&desk, &options, 1);
    desk_assign(&desk, 0, 0, NULL, 0);
    desk_feed(&desk, 0, 0, own_keys, 8);
    wf_record *parked[8];
    uint32_t count = 0;
    wf_slice slice;
    while (desk_work(&desk, &slice)) {
        parked[count++] = slice.head;
        desk_done(&desk, slice, WF_DONE_PENDING);
    }
    REQUIRE_EQ(count, 3);
    for (uint32_t i = 0; i < count; i++) {
        desk_unpark(&desk, parked[i], WF_DONE_SUCCESS);
        while (desk_work(&desk, &slice)) {
            parked[count++] = slice.head;
            desk_done(&desk, slice, WF_DONE_PENDING);
            REQUIRE(count <= i + 4);
        }
    }
    REQUIRE_EQ(desk_frontier(&desk, 0), 8);
    desk_end(&desk);
}

Test(work_manager, deferred__slice_that_follows__is_no_longer_than_the_limit_allows) {
    work_desk desk;
    wf_work_manager_options options = desk_options();
    options.pending_max_records = 2;
    desk_start(&desk, &options, 1);
    desk_assign(&desk, 0, 0, NULL, 0);
    desk_feed(&desk, 0, 0, null_keys, 1);
    wf_slice slice = work(&desk);
    wf_record *deferred = slice.head;
    desk_done(&desk, slice, WF_DONE_PENDING);
    desk_feed(&desk, 0, 1, null_keys, 8);
    slice = work(&desk);
    REQUIRE_EQ(slice.count, 1);
    expect_idle(&desk);
    desk_unpark(&desk, deferred, WF_DONE_SUCCESS);
    desk_done(&desk, slice, WF_DONE_SUCCESS);
    while (desk_work(&desk, &slice)) desk_done(&desk, slice, WF_DONE_SUCCESS);
    REQUIRE_EQ(desk_frontier(&desk, 0), 9);
    desk_end(&desk);
}
