/* SPDX-License-Identifier: Apache-2.0
 *
 * The work manager where something ends or stops: revocations and fenced flights, the gate of the map, partitions that
 * stop alone, handlers past their deadline.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <string.h>

#include "pending.h"
#include "require.h"
#include "work_desk.h"

TestSuite(work_manager_limits, .timeout = 60);

static const uint64_t ms = 1000000;
static const uint64_t one_key[8] = {7, 7, 7, 7, 7, 7, 7, 7};
static const uint64_t own_keys[8] = {1, 2, 3, 4, 5, 6, 7, 8};

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

static void start(work_desk *desk, uint32_t slots) {
    wf_work_manager_options options = desk_options();
    desk_start(desk, &options, 1);
    for (uint32_t slot = 0; slot < slots; slot++) desk_assign(desk, slot, 0, NULL, 0);
}

/* --- revocation */

Test(work_manager_limits, revoke__nothing_runs__queued_go_home_and_drained_at_once) {
    work_desk desk;
    wf_work_manager_options options = desk_options();
    desk_start(&desk, &options, 0);
    desk_assign(&desk, 0, 0, NULL, 0);
    desk_feed(&desk, 0, 0, own_keys, 8);
    desk_revoke(&desk, 0, desk.fake.now_ns + 1000 * ms, false);
    REQUIRE_EQ(desk.slots[0].drained, 1);
    REQUIRE_EQ(desk.slots[0].last_drained.unfinished, 0);
    REQUIRE_EQ(desk.home_blocks, 8);
    desk_end(&desk);
}

Test(work_manager_limits, revoke__something_runs__drained_behind_its_completion) {
    work_desk desk;
    start(&desk, 2);
    desk_feed(&desk, 0, 0, one_key, 3);
    wf_slice slice = work(&desk);
    desk_feed(&desk, 0, 3, one_key, 2);
    desk_revoke(&desk, 0, desk.fake.now_ns + 1000 * ms, false);
    REQUIRE_EQ(desk.slots[0].drained, 0);
    desk_advance_ms(&desk, 999);
    REQUIRE_EQ(desk.slots[0].drained, 0);
    desk_done_each(&desk, slice, "ssf"); /* what fails now is not tried again here */
    REQUIRE_EQ(desk.slots[0].drained, 1);
    REQUIRE_EQ(desk.slots[0].last_drained.unfinished, 0);
    desk_advance_ms(&desk, 5000);
    expect_idle(&desk);
    desk_end(&desk);
}

Test(work_manager_limits, revoke__deadline_passes__flight_is_fenced_and_counts_for_nothing) {
    work_desk desk;
    start(&desk, 1);
    desk_feed(&desk, 0, 0, own_keys, 2);
    wf_slice slice = work(&desk);
    desk_revoke(&desk, 0, desk.fake.now_ns + 1000 * ms, false);
    desk_advance_ms(&desk, 1000);
    REQUIRE_EQ(desk.slots[0].drained, 1);
    REQUIRE_EQ(desk.slots[0].last_drained.unfinished, 2);
    REQUIRE_EQ(desk.home_blocks, 0);
    desk_done(&desk, slice, WF_DONE_SUCCESS); /* the desk fails on a COMPLETED of an epoch that is over */
    REQUIRE_EQ(desk.home_blocks, 2);
    desk_end(&desk);
}

Test(work_manager_limits, lost__flight_is_fenced_at_once) {
    work_desk desk;
    start(&desk, 1);
    desk_feed(&desk, 0, 0, own_keys, 2);
    wf_slice slice = work(&desk);
    desk_revoke(&desk, 0, desk.fake.now_ns + 1000 * ms, true);
    REQUIRE_EQ(desk.slots[0].drained, 1);
    REQUIRE(desk.slots[0].last_drained.lost);
    desk_done(&desk, slice, WF_DONE_SUCCESS);
    desk_end(&desk);
}

Test(work_manager_limits, revoke__waiting_retry__goes_home_and_never_runs) {
    work_desk desk;
    start(&desk, 1);
    desk_feed(&desk, 0, 0, one_key, 3);
    desk_done_each(&desk, work(&desk), "fuu");
    desk_revoke(&desk, 0, desk.fake.now_ns + 1000 * ms, false);
    REQUIRE_EQ(desk.slots[0].drained, 1);
    desk_advance_ms(&desk, 5000);
    expect_idle(&desk);
    desk_end(&desk);
}

Test(work_manager_limits, revoke__other_partitions__go_on) {
    work_desk desk;
    wf_work_manager_options options = desk_options();
    desk_start(&desk, &options, 2);
    desk_assign(&desk, 0, 0, NULL, 0);
    desk_assign(&desk, 1, 0, NULL, 0);
    desk_feed(&desk, 0, 0, one_key, 2);
    wf_slice held = work(&desk);
    desk_revoke(&desk, 0, desk.fake.now_ns + 1000 * ms, false);
    desk_feed(&desk, 1, 0, one_key, 2);
    desk_done(&desk, work(&desk), WF_DONE_SUCCESS);
    REQUIRE_EQ(desk_frontier(&desk, 1), 2);
    desk_done(&desk, held, WF_DONE_SUCCESS);
    REQUIRE_EQ(desk.slots[0].drained, 1);
    desk_end(&desk);
}

/* The partition comes back while its records of the epoch before still run. */
static wf_slice redeliver(work_desk *desk) {
    start(desk, 1);
    desk_feed(desk, 0, 0, one_key, 2);
    wf_slice slice = work(desk);
    desk_revoke(desk, 0, desk->fake.now_ns + 1, false);
    desk_advance_ms(desk, 1);
    desk_assign(desk, 0, 0, NULL, 0);
    desk_feed(desk, 0, 0, one_key, 4);
    expect_idle(desk); /* the key's old flight is still in the air */
    return slice;
}

Test(work_manager_limits, fenced_success__redelivered_record__is_finished_and_not_run_again) {
    work_desk desk;
    wf_slice old = redeliver(&desk);
    desk_done(&desk, old, WF_DONE_SUCCESS);
    REQUIRE_EQ(desk_frontier(&desk, 0), 2);
    wf_slice slice = work(&desk);
    expect_offsets(slice, "2 3");
    desk_done(&desk, slice, WF_DONE_SUCCESS);
    REQUIRE_EQ(desk_frontier(&desk, 0), 4);
    desk_end(&desk);
}

Test(work_manager_limits, fenced_failure__redelivered_record__runs_again_with_its_first_attempt) {
    work_desk desk;
    wf_slice old = redeliver(&desk);
    desk_done_each(&desk, old, "sf");
    REQUIRE_EQ(desk_frontier(&desk, 0), 1);
    wf_slice slice = work(&desk);
    expect_offsets(slice, "1 2 3");
    REQUIRE_EQ(slice.head->attempt, 1);
    desk_done(&desk, slice, WF_DONE_SUCCESS);
    desk_end(&desk);
}

Test(work_manager_limits, fenced_success__nothing_redelivered_yet__completes_nothing) {
    work_desk desk;
    start(&desk, 1);
    desk_feed(&desk, 0, 5, one_key, 2);
    wf_slice old = work(&desk);
    desk_revoke(&desk, 0, desk.fake.now_ns + 1, true);
    desk_assign(&desk, 0, 0, NULL, 0);
    desk_feed(&desk, 0, 0, one_key, 3); /* other offsets of the key wait behind it */
    expect_idle(&desk);
    desk_done(&desk, old, WF_DONE_SUCCESS);
    REQUIRE_EQ(desk_frontier(&desk, 0), 0);
    wf_slice slice = work(&desk);
    expect_offsets(slice, "0 1 2");
    desk_done(&desk, slice, WF_DONE_SUCCESS);
    desk_end(&desk);
}

Test(work_manager_limits, fenced_deferred_record__completed_later__credit_once_and_key_goes_on) {
    work_desk desk;
    start(&desk, 1);
    desk_feed(&desk, 0, 0, one_key, 1);
    wf_slice slice = work(&desk);
    wf_record *deferred = slice.head;
    desk_done(&desk, slice, WF_DONE_PENDING);
    desk_revoke(&desk, 0, desk.fake.now_ns + 1, true);
    desk_assign(&desk, 0, 0, NULL, 0);
    desk_feed(&desk, 0, 0, one_key, 2);
    expect_idle(&desk);
    desk_unpark(&desk, deferred, WF_DONE_SUCCESS);
    REQUIRE_EQ(desk_frontier(&desk, 0), 1);
    slice = work(&desk);
    expect_offsets(slice, "1");
    desk_done(&desk, slice, WF_DONE_SUCCESS);
    desk_end(&desk);
}

/* --- the gate of the map */

Test(work_manager_limits, gate__beyond_span_and_runs__waits_for_progress) {
    work_desk desk;
    wf_work_manager_options options = desk_options();
    options.map_span = 4;
    options.map_runs = 3;
    options.slice_max_records = 1;
    desk_start(&desk, &options, 8);
    desk_assign(&desk, 0, 0, NULL, 0);
    desk_feed(&desk, 0, 0, own_keys, 8);
    wf_slice slices[8];
    for (int i = 0; i < 4; i++) slices[i] = work(&desk); /* offsets 0 to 3 lie within the span */
    expect_idle(&desk);                                  /* 4 could be a run of its own behind four that are out */
    desk_done(&desk, slices[3], WF_DONE_SUCCESS);
    expect_idle(&desk);
    desk_done(&desk, slices[0], WF_DONE_SUCCESS); /* the frontier is 1: 4 lies within the span */
    slices[4] = work(&desk);
    expect_offsets(slices[4], "4");
    expect_idle(&desk);
    desk_done(&desk, slices[1], WF_DONE_SUCCESS);
    desk_done(&desk, slices[2], WF_DONE_SUCCESS);
    wf_slice slice;
    desk_done(&desk, slices[4], WF_DONE_SUCCESS);
    while (desk_work(&desk, &slice)) desk_done(&desk, slice, WF_DONE_SUCCESS);
    REQUIRE_EQ(desk_frontier(&desk, 0), 8);
    desk_end(&desk);
}

/* What lies low makes the map no shorter that another record has made long. */
Test(work_manager_limits, gate__map_that_is_wide_already__counts_runs_below_it_too) {
    work_desk desk;
    wf_work_manager_options options = desk_options();
    options.map_span = 4;
    options.map_runs = 4;
    options.slice_max_records = 1;
    desk_start(&desk, &options, 8);
    desk_assign(&desk, 0, 0, NULL, 0);
    desk_feed(&desk, 0, 0, (const uint64_t[]){1, 2, 2, 2, 3, 4}, 6);
    wf_slice first = work(&desk), second = work(&desk), fifth = work(&desk);
    expect_offsets(fifth, "4"); /* beyond the span, but three runs at most */
    expect_idle(&desk);
    desk_done(&desk, fifth, WF_DONE_SUCCESS);
    expect_idle(&desk);
    desk_done(&desk, second, WF_DONE_SUCCESS); /* 1 and 4 are two runs; 2 and 0 could be two more */
    expect_idle(&desk);
    desk_done(&desk, first, WF_DONE_SUCCESS);
    wf_slice slice;
    while (desk_work(&desk, &slice)) desk_done(&desk, slice, WF_DONE_SUCCESS);
    REQUIRE_EQ(desk_frontier(&desk, 0), 6);
    desk_end(&desk);
}

/* It was written in a format that holds more than ours. Its gaps are filled at full speed; what lies beyond waits. */
Test(work_manager_limits, gate__restored_map_too_large_for_what_is_written__its_gaps_are_filled_at_once) {
    work_desk desk;
    wf_work_manager_options options = desk_options();
    wf_offset_run runs[40];
    uint64_t keys[100];
    for (int i = 0; i < 40; i++) runs[i] = (wf_offset_run){2 * i + 1, 2 * i + 2};
    for (int i = 0; i < 100; i++) keys[i] = (uint64_t)i + 1;
    options.slice_max_records = 1;
    options.map_format = WF_METADATA_PYRALLEL;
    wf_work_set_map_limit(&options, 22); /* a bitset of less than 80 offsets */
    desk_start(&desk, &options, 60);
    desk_assign(&desk, 0, 0, runs, 40);
    desk_feed(&desk, 0, 0, keys, 100);
    wf_slice slices[40];
    for (int i = 0; i < 40; i++) {
        slices[i] = work(&desk);
        REQUIRE_EQ(slices[i].head->offset, 2 * i);
    }
    expect_idle(&desk);
    for (int i = 0; i < 40; i++) desk_done(&desk, slices[i], WF_DONE_SUCCESS);
    wf_slice slice;
    while (desk_work(&desk, &slice)) desk_done(&desk, slice, WF_DONE_SUCCESS);
    REQUIRE_EQ(desk_frontier(&desk, 0), 100);
    desk_end(&desk);
}

Test(work_manager_limits, gate__lower_limit_of_the_broker__only_the_record_at_the_frontier_starts) {
    work_desk desk;
    wf_work_manager_options options = desk_options();
    options.slice_max_records = 1;
    desk_start(&desk, &options, 8);
    desk_assign(&desk, 0, 0, NULL, 0);
    wf_map_limit limit = {.bytes = 1};
    fake_env_tell(&desk.fake, DESK_TRACKER, WF_MSG_MAP_LIMIT, &limit, sizeof limit);
    desk_feed(&desk, 0, 0, own_keys, 8);
    for (int64_t i = 0; i < 8; i++) {
        wf_slice slice = work(&desk);
        REQUIRE_EQ(slice.head->offset, i);
        expect_idle(&desk);
        desk_done(&desk, slice, WF_DONE_SUCCESS);
    }
    REQUIRE_EQ(desk_frontier(&desk, 0), 8);
    desk_end(&desk);
}

Test(work_manager_limits, gate__completions_that_no_progress_has_told__count_as_runs) {
    work_desk desk;
    wf_work_manager_options options = desk_options();
    options.map_span = 1;
    options.map_runs = 4;
    options.slice_max_records = 1;
    desk_start(&desk, &options, 1);
    desk_assign(&desk, 0, 0, NULL, 0);
    desk.no_progress = true;
    desk_feed(&desk, 0, 1, own_keys, 8);
    int count = 0;
    wf_slice slice;
    while (desk_work(&desk, &slice)) {
        desk_done(&desk, slice, WF_DONE_SUCCESS);
        count++;
    }
    REQUIRE_EQ(count, 3);
    desk.no_progress = false;
    wf_chain more = {0};
    wf_chain_push(&more, desk_record(&desk, 0, 9, 9));
    desk_arrive(&desk, &more); /* PROGRESS answers to its FETCHED */
    while (desk_work(&desk, &slice)) desk_done(&desk, slice, WF_DONE_SUCCESS);
    REQUIRE_EQ(desk_frontier(&desk, 0), 10);
    desk_revoke(&desk, 0, desk.fake.now_ns + ms, false);
    desk_assign(&desk, 0, 0, NULL, 0); /* what the last epoch completed counts no more */
    desk.no_progress = true;
    desk_feed(&desk, 0, 1, own_keys, 8);
    for (count = 0; desk_work(&desk, &slice); count++) desk_done(&desk, slice, WF_DONE_SUCCESS);
    REQUIRE_EQ(count, 3);
    desk_revoke(&desk, 0, desk.fake.now_ns + ms, false);
    desk_end(&desk);
}

/* --- partitions that stop alone */

static bool hold_of(work_desk *desk, bool *ret_hold) {
    fake_sent sent;
    if (!fake_env_take(&desk->fake, WF_MSG_HOLD, &sent)) return false;
    REQUIRE_EQ(sent.to, DESK_POLLER);
    *ret_hold = ((const wf_hold *)sent.body)->hold;
    return true;
}

/* What it gives back, from which offset on. */
static bool back_of(work_desk *desk, wf_hold *ret_back) {
    fake_sent sent;
    if (!fake_env_take(&desk->fake, WF_MSG_HOLD, &sent)) return false;
    *ret_back = *(const wf_hold *)sent.body;
    return ret_back->hold && ret_back->back_to >= 0;
}

Test(work_manager_limits, hold__backlog_behind_a_retry_lasts__stops_that_partition_and_lets_it_go_on) {
    work_desk desk;
    bool hold = false;
    wf_work_manager_options options = desk_options();
    options.partition_max_records = 10;
    options.retry_backoff_ns = options.retry_backoff_max_ns = 3000 * ms;
    desk_start(&desk, &options, 1);
    desk_assign(&desk, 0, 0, NULL, 0);
    desk_assign(&desk, 1, 0, NULL, 0);
    desk_feed(&desk, 0, 0, one_key, 1);
    desk_done(&desk, work(&desk), WF_DONE_FAILURE);
    desk_feed(&desk, 0, 1, one_key, 8);
    desk_advance_ms(&desk, 1000);
    REQUIRE(!hold_of(&desk, &hold), "nine of ten");
    desk_feed(&desk, 0, 9, one_key, 2);
    REQUIRE(!hold_of(&desk, &hold), "not at the first look");
    desk_advance_ms(&desk, 1000);
    REQUIRE(hold_of(&desk, &hold) && hold);
    wf_hold back;
    REQUIRE(back_of(&desk, &back) && back.back_to == 10, "ten may stay, the eleventh comes again");
    desk_feed(&desk, 0, 11, one_key, 1); /* on its way before the poller had heard of it */
    wf_partition held = {.slot = 0, .epoch = back.epoch};
    fake_env_tell(&desk.fake, DESK_POLLER, WF_MSG_HELD, &held, sizeof held);
    desk_advance_ms(&desk, 1600);
    wf_slice slice;
    while (desk_work(&desk, &slice)) desk_done(&desk, slice, WF_DONE_SUCCESS);
    desk_advance_ms(&desk, 1000);
    REQUIRE(hold_of(&desk, &hold) && !hold);
    REQUIRE_EQ(desk_frontier(&desk, 0), 10);
    desk_feed(&desk, 0, 10, one_key, 2);
    while (desk_work(&desk, &slice)) desk_done(&desk, slice, WF_DONE_SUCCESS);
    REQUIRE_EQ(desk_frontier(&desk, 0), 12);
    desk_end(&desk);
}

static void pause_all(work_desk *desk, const char *topic, int32_t partition, bool pause) {
    wf_pause message = {.partition = partition, .pause = pause};
    snprintf(message.topic, sizeof message.topic, "%s", topic);
    fake_env_tell(&desk->fake, 1, WF_MSG_PAUSE, &message, sizeof message);
    desk_collect(desk);
}

Test(work_manager_limits, pause__one_partition__stops_and_resumes_alone) {
    work_desk desk;
    bool hold = false;
    start(&desk, 2);
    pause_all(&desk, "orders", 1, true);
    REQUIRE(hold_of(&desk, &hold) && hold);
    REQUIRE(!hold_of(&desk, &hold));
    desk_feed(&desk, 1, 0, one_key, 3);
    expect_idle(&desk);
    desk_feed(&desk, 0, 0, own_keys, 1);
    wf_slice slice = work(&desk);
    REQUIRE_EQ(slice.head->slot, 0);
    desk_done(&desk, slice, WF_DONE_SUCCESS);
    pause_all(&desk, "payments", 1, false);
    expect_idle(&desk);
    pause_all(&desk, "", -1, false);
    REQUIRE(hold_of(&desk, &hold) && !hold);
    desk_done(&desk, work(&desk), WF_DONE_SUCCESS);
    REQUIRE_EQ(desk_frontier(&desk, 1), 3);
    desk_end(&desk);
}

Test(work_manager_limits, pause__outlives_the_epoch) {
    work_desk desk;
    bool hold = false;
    start(&desk, 1);
    pause_all(&desk, "orders", -1, true);
    REQUIRE(hold_of(&desk, &hold) && hold);
    desk_revoke(&desk, 0, desk.fake.now_ns + ms, false);
    desk_assign(&desk, 0, 0, NULL, 0);
    REQUIRE(hold_of(&desk, &hold) && hold);
    desk_feed(&desk, 0, 0, one_key, 1);
    expect_idle(&desk);
    pause_all(&desk, "orders", 0, false);
    desk_done(&desk, work(&desk), WF_DONE_SUCCESS);
    desk_end(&desk);
}

/* --- handlers past their deadline */

static void start_with_deadline(work_desk *desk, int policy, uint32_t workers, wf_pending *pending) {
    wf_work_manager_options options = desk_options();
    options.handler_deadline_ns = 100 * ms;
    options.stuck_grace_ns = 50 * ms;
    options.stuck_policy = policy;
    options.slice_max_records = 1;
    options.pending = pending;
    desk_start(desk, &options, workers);
    desk_assign(desk, 0, 0, NULL, 0);
}

Test(work_manager_limits, deadline__handler_returns_late__the_attempt_has_failed) {
    work_desk desk;
    start_with_deadline(&desk, WF_STUCK_STOP, 1, NULL);
    desk_feed(&desk, 0, 0, one_key, 2);
    wf_slice slice = work(&desk);
    desk_advance_ms(&desk, 140);
    expect_idle(&desk);
    desk_done(&desk, slice, WF_DONE_SUCCESS);
    REQUIRE_EQ(desk_frontier(&desk, 0), 0);
    expect_idle(&desk);
    desk_advance_ms(&desk, 120);
    slice = work(&desk);
    expect_offsets(slice, "0");
    REQUIRE_EQ(slice.head->attempt, 2);
    desk_done(&desk, slice, WF_DONE_SUCCESS);
    desk_done(&desk, work(&desk), WF_DONE_SUCCESS);
    REQUIRE_EQ(desk.fake.failures, 0);
    desk_end(&desk);
}

Test(work_manager_limits, deadline__handler_in_time__nothing_happens) {
    work_desk desk;
    start_with_deadline(&desk, WF_STUCK_STOP, 1, NULL);
    desk_feed(&desk, 0, 0, one_key, 8);
    for (int i = 0; i < 8; i++) {
        desk_advance_ms(&desk, 99); /* the second slice in a worker's hand starts when the first one ends */
        desk_done(&desk, work(&desk), WF_DONE_SUCCESS);
    }
    REQUIRE_EQ(desk.fake.failures, 0);
    REQUIRE_EQ(desk_frontier(&desk, 0), 8);
    desk_end(&desk);
}

Test(work_manager_limits, stuck__policy_stop__the_consumer_fails_once) {
    work_desk desk;
    start_with_deadline(&desk, WF_STUCK_STOP, 1, NULL);
    desk_feed(&desk, 0, 0, one_key, 1);
    wf_slice slice = work(&desk);
    desk_advance_ms(&desk, 149);
    REQUIRE_EQ(desk.fake.failures, 0);
    desk_advance_ms(&desk, 1000);
    REQUIRE_EQ(desk.fake.failures, 1);
    REQUIRE_EQ(desk.fake.failure, WEFT_ESTUCK);
    desk_done(&desk, slice, WF_DONE_SUCCESS);
    desk_revoke(&desk, 0, desk.fake.now_ns + ms, false);
    desk_end(&desk);
}

Test(work_manager_limits, stuck__policy_abandon__others_go_on_without_that_worker) {
    work_desk desk;
    start_with_deadline(&desk, WF_STUCK_ABANDON, 2, NULL);
    desk_feed(&desk, 0, 0, own_keys, 1);
    wf_slice stuck = work(&desk);
    desk_advance_ms(&desk, 200);
    REQUIRE_EQ(desk.fake.failures, 0);
    desk_feed(&desk, 0, 1, own_keys + 1, 6);
    wf_slice slice;
    while (desk_work(&desk, &slice)) {
        REQUIRE(slice.worker != stuck.worker, "the lost worker got a slice");
        desk_done(&desk, slice, WF_DONE_SUCCESS);
    }
    REQUIRE(desk_completed(&desk, 0, 6));
    REQUIRE_EQ(desk_frontier(&desk, 0), 0);
    desk_done(&desk, stuck, WF_DONE_SUCCESS); /* it ends after all: too late for this attempt */
    desk_advance_ms(&desk, 120);
    desk_done(&desk, work(&desk), WF_DONE_SUCCESS);
    REQUIRE_EQ(desk_frontier(&desk, 0), 7);
    desk_end(&desk);
}

static wf_record *defer(work_desk *desk, wf_pending *pending, weft_token *ret_token) {
    wf_slice slice = work(desk);
    slice.head->pending = wf_pending_defer(pending, slice.head, ret_token);
    REQUIRE(slice.head->pending != 0);
    wf_record *record = slice.head;
    desk_done(desk, slice, WF_DONE_PENDING);
    return record;
}

Test(work_manager_limits, stuck_deferred__policy_abandon__token_dies_and_the_record_runs_again) {
    work_desk desk;
    wf_pending *pending;
    weft_token token;
    REQUIRE_EQ(wf_pending_open(16, &pending), WEFT_OK);
    start_with_deadline(&desk, WF_STUCK_ABANDON, 1, pending);
    desk_feed(&desk, 0, 0, one_key, 1);
    defer(&desk, pending, &token);
    desk_advance_ms(&desk, 400);
    REQUIRE_EQ(weft_complete(token, WEFT_SUCCESS, NULL), WEFT_ESTALE);
    wf_slice slice = work(&desk);
    REQUIRE_EQ(slice.head->attempt, 2);
    desk_done(&desk, slice, WF_DONE_SUCCESS);
    desk_end(&desk);
    wf_pending_close(&pending);
}

Test(work_manager_limits, stuck_deferred__of_an_epoch_that_is_over__key_of_the_new_epoch_goes_on) {
    work_desk desk;
    wf_pending *pending;
    weft_token token;
    REQUIRE_EQ(wf_pending_open(16, &pending), WEFT_OK);
    start_with_deadline(&desk, WF_STUCK_ABANDON, 1, pending);
    desk_feed(&desk, 0, 0, one_key, 1);
    defer(&desk, pending, &token);
    desk_revoke(&desk, 0, desk.fake.now_ns + 1, true);
    desk_assign(&desk, 0, 0, NULL, 0);
    desk_feed(&desk, 0, 0, one_key, 1);
    expect_idle(&desk);
    wf_slice slice;
    REQUIRE(!desk_work(&desk, &slice));
    for (int i = 0; i < 20 && !desk_work(&desk, &slice); i++) desk_advance_ms(&desk, 10);
    REQUIRE_EQ(weft_complete(token, WEFT_SUCCESS, NULL), WEFT_ESTALE);
    desk_done(&desk, slice, WF_DONE_SUCCESS);
    REQUIRE_EQ(desk_frontier(&desk, 0), 1);
    desk_end(&desk);
    wf_pending_close(&pending);
}
