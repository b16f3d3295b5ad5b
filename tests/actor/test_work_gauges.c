/* SPDX-License-Identifier: Apache-2.0
 *
 * The work manager as it is seen from outside: times of records, in exact buckets on a virtual clock, and what is said
 * of the record that blocks.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdlib.h>
#include <string.h>

#include "histogram.h"
#include "require.h"
#include "work_desk.h"

TestSuite(work_gauges, .timeout = 60);

enum { ASKER = DESK_EXPORTER };

static wf_slice work(work_desk *desk) {
    wf_slice slice;
    REQUIRE(desk_work(desk, &slice), "no slice was sent");
    return slice;
}

/* What it says of its only partition. */
static weft_partition_metrics look(work_desk *desk) {
    fake_sent sent;
    wf_ask ask = {.ticket = 1};
    fake_env_tell(&desk->fake, ASKER, WF_MSG_GAUGES_ASK, &ask, sizeof ask);
    REQUIRE(fake_env_take(&desk->fake, WF_MSG_GAUGES, &sent) && sent.body_bytes == sizeof(wf_gauges));
    return ((const wf_gauges *)sent.body)->metrics;
}

static void expect_one(const weft_histogram *times, uint64_t ns, const char *what) {
    REQUIRE(times->buckets[wf_histogram_bucket(ns)] > 0, "%s: none of %llu ns", what, (unsigned long long)ns);
}

Test(work_gauges, times__on_a_virtual_clock__exact) {
    work_desk desk;
    wf_work_manager_options options = desk_options();
    desk_start(&desk, &options, 1);
    desk_assign(&desk, 0, 0, NULL, 0);
    wf_chain records = {0};
    wf_record *record = desk_record(&desk, 0, 0, 1);
    record->received_ns -= 300000000;
    record->timestamp_ms = 1700000000000 + (int64_t)(desk.fake.now_ns / 1000000) - 4000;
    wf_chain_push(&records, record);
    desk_arrive(&desk, &records);
    wf_slice slice = work(&desk);
    desk_advance_ms(&desk, 20);
    desk_done(&desk, slice, WF_DONE_SUCCESS);
    weft_partition_metrics metrics = look(&desk);
    REQUIRE_EQ(metrics.latency.sum_ns, 20000000);
    REQUIRE_EQ(metrics.wait.sum_ns, 300000000);
    REQUIRE_EQ(metrics.end_to_end.sum_ns, 4020000000);
    expect_one(&metrics.latency, 20000000, "latency");
    expect_one(&metrics.wait, 300000000, "wait");
    expect_one(&metrics.end_to_end, 4020000000, "end to end");
    desk_end(&desk);
}

/* Who produces writes what he likes. */
Test(work_gauges, timestamps__none_future_hostile__survived) {
    static const int64_t timestamps[] = {-1, 0, INT64_MAX, INT64_MIN, 1700000000000000, 9000000000000, 7000000000000};
    enum { COUNT = sizeof timestamps / sizeof timestamps[0] };
    work_desk desk;
    wf_work_manager_options options = desk_options();
    desk_start(&desk, &options, 1);
    desk_assign(&desk, 0, 0, NULL, 0);
    wf_chain records = {0};
    for (int i = 0; i < COUNT; i++) {
        wf_record *record = desk_record(&desk, 0, i, (uint64_t)i + 1);
        record->timestamp_ms = timestamps[i];
        wf_chain_push(&records, record);
    }
    desk_arrive(&desk, &records);
    wf_slice slice;
    while (desk_work(&desk, &slice)) desk_done(&desk, slice, WF_DONE_SUCCESS);
    weft_partition_metrics metrics = look(&desk);
    REQUIRE_EQ(metrics.succeeded, COUNT);
    REQUIRE_EQ(wf_histogram_count(&metrics.end_to_end), 2); /* 1970, and the far future as no time at all */
    expect_one(&metrics.end_to_end, UINT64_MAX, "of 1970");
    expect_one(&metrics.end_to_end, 0, "of the future");
    desk_end(&desk);
}

Test(work_gauges, blocking_record__named_with_its_attempt_worker_and_error) {
    work_desk desk;
    wf_work_manager_options options = desk_options();
    desk_start(&desk, &options, 1);
    desk_assign(&desk, 0, 5, NULL, 0);
    weft_partition_metrics metrics = look(&desk);
    REQUIRE(metrics.blocking_offset == -1 && metrics.blocking_attempt == 0 && metrics.blocking_worker == -1);
    REQUIRE(metrics.blocking_timestamp_ms == -1 && metrics.last_error[0] == '\0');
    wf_chain records = {0};
    wf_record *record = desk_record(&desk, 0, 5, 77);
    record->timestamp_ms = 123456;
    wf_chain_push(&records, record);
    desk_arrive(&desk, &records);
    wf_slice slice = work(&desk);
    metrics = look(&desk);
    REQUIRE(metrics.blocking_offset == 5 && metrics.blocking_attempt == 1 && metrics.blocking_worker == 0);
    REQUIRE(metrics.blocking_key_hash == 77 && metrics.blocking_timestamp_ms == 123456);
    char reason[300];
    memset(reason, 'x', sizeof reason - 1);
    reason[sizeof reason - 1] = '\0';
    slice.head->reason = strdup(reason);
    desk_done(&desk, slice, WF_DONE_FAILURE);
    metrics = look(&desk);
    REQUIRE(metrics.blocking_attempt == 2 && metrics.blocking_worker == -1 && metrics.retried == 1);
    REQUIRE_EQ(strlen(metrics.last_error), WEFT_ERROR_TEXT_BYTES - 1);
    desk_advance_ms(&desk, 2000);
    desk_done(&desk, work(&desk), WF_DONE_SUCCESS);
    REQUIRE_EQ(look(&desk).blocking_offset, -1);
    desk_end(&desk);
}
