/* SPDX-License-Identifier: Apache-2.0
 *
 * The metadata encoder: maps out and back, what does not fit, what is foreign, and the order behind which everybody
 * hides.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdlib.h>
#include <string.h>

#include "fake_env.h"
#include "messages.h"
#include "metadata.h"
#include "metadata_format.h"
#include "metadata_encoder.h"
#include "must.h"
#include "require.h"
#include "seeded.h"

TestSuite(metadata_encoder, .timeout = 60);

enum { TRACKER = 2, POLLER = 4, EXPORTER = 5, MANAGER = 6 };

static void start_writing(fake_env *fake, uint32_t max_bytes, wf_metadata_format format) {
    wf_metadata_encoder_options options = {
        .tracker = TRACKER, .poller = POLLER, .manager = MANAGER, .max_bytes = max_bytes, .format = format};
    fake_env_start(fake, &wf_metadata_encoder, &options, 1);
}

static void start(fake_env *fake, uint32_t max_bytes) {
    start_writing(fake, max_bytes, WF_METADATA_NATIVE);
}

static wf_commit encode(fake_env *fake, int64_t frontier, const wf_offset_run *runs, uint32_t count, bool final) {
    wf_snapshot snapshot = {.slot = 3, .epoch = 9, .frontier = frontier, .count = count, .final = final};
    if (count) {
        snapshot.runs = must_alloc(count, sizeof *runs);
        memcpy(snapshot.runs, runs, count * sizeof *runs);
    }
    fake_env_tell(fake, TRACKER, WF_MSG_SNAPSHOT, &snapshot, sizeof snapshot);
    fake_sent sent;
    REQUIRE(fake_env_take(fake, WF_MSG_COMMIT, &sent));
    REQUIRE_EQ(sent.to, POLLER);
    wf_commit commit = *(const wf_commit *)sent.body;
    REQUIRE(commit.slot == 3 && commit.epoch == 9 && commit.offset == frontier && commit.final == final);
    REQUIRE((commit.metadata != NULL) == (commit.metadata_bytes > 0));
    if (commit.metadata) REQUIRE(strlen(commit.metadata) == commit.metadata_bytes);
    return commit;
}

static wf_assigned restore(fake_env *fake, int64_t base, const void *metadata, size_t bytes) {
    wf_restore restored = {
        .topic = "orders", .partition = 1, .slot = 3, .epoch = 10, .base = base, .metadata_bytes = (uint32_t)bytes};
    if (bytes) {
        restored.metadata = must_alloc(1, bytes);
        memcpy(restored.metadata, metadata, bytes);
    }
    fake_env_tell(fake, POLLER, WF_MSG_RESTORE, &restored, sizeof restored);
    fake_sent sent;
    REQUIRE(fake_env_take(fake, WF_MSG_ASSIGNED, &sent));
    REQUIRE_EQ(sent.to, TRACKER);
    wf_assigned assigned = *(const wf_assigned *)sent.body;
    REQUIRE(assigned.slot == 3 && assigned.epoch == 10 && assigned.partition == 1 && assigned.base == base);
    return assigned;
}

static wf_gauges_end ask(fake_env *fake) {
    wf_ask question = {.ticket = 5};
    fake_sent sent;
    fake_env_tell(fake, EXPORTER, WF_MSG_GAUGES_ASK, &question, sizeof question);
    REQUIRE(fake_env_take(fake, WF_MSG_GAUGES_END, &sent));
    REQUIRE_EQ(sent.to, EXPORTER);
    return *(const wf_gauges_end *)sent.body;
}

static void out_and_back(wf_metadata_format format) {
    fake_env fake;
    start_writing(&fake, 4096, format);
    for (uint64_t stream = 0; stream < 200; stream++) {
        seeded random = seeded_start(3, stream);
        wf_offset_run runs[40];
        uint32_t count = (uint32_t)seeded_below(&random, 40);
        int64_t base = (int64_t)seeded_below(&random, 1000000), at = base;
        for (uint32_t i = 0; i < count; i++) {
            runs[i].first = at + 1 + (int64_t)seeded_below(&random, 9);
            at = runs[i].end = runs[i].first + 1 + (int64_t)seeded_below(&random, 9);
        }
        wf_commit commit = encode(&fake, base, runs, count, stream % 2);
        if (commit.metadata)
            REQUIRE_EQ(wf_metadata_format_of(commit.metadata, commit.metadata_bytes), format);
        else
            REQUIRE(count == 0 && format != WF_METADATA_PYRALLEL);
        wf_assigned assigned = restore(&fake, base, commit.metadata, commit.metadata_bytes);
        REQUIRE(!assigned.refused && assigned.count == count);
        if (count) REQUIRE(memcmp(assigned.runs, runs, count * sizeof *runs) == 0);
        free(assigned.runs);
        free(commit.metadata);
    }
    REQUIRE_EQ(ask(&fake).metrics.metadata_refused, 0);
    fake_env_end(&fake);
}

Test(metadata_encoder, maps__out_and_back_in_every_format__the_same) {
    for (unsigned format = 0; format < WF_METADATA_FORMATS; format++) out_and_back((wf_metadata_format)format);
}

/* Whatever is written, everything is read. */
Test(metadata_encoder, maps_of_every_format__restored) {
    static const struct {
        const char *text, *format;
    } rows[] = {{"bAAGOgA=", "format=confluent form=BitSet runs=2"},
                {"R11,13-15", "format=pyrallel form=runs runs=2"},
                {"B10:3a", "format=pyrallel form=bitset runs=2"}};
    for (unsigned format = 0; format < WF_METADATA_FORMATS; format++) {
        fake_env fake;
        start_writing(&fake, 4096, (wf_metadata_format)format);
        for (size_t i = 0; i < 3; i++) {
            wf_assigned assigned = restore(&fake, 10, rows[i].text, strlen(rows[i].text));
            REQUIRE(!assigned.refused && assigned.count == 2);
            REQUIRE(assigned.runs[0].first == 11 && assigned.runs[0].end == 12);
            REQUIRE(assigned.runs[1].first == 13 && assigned.runs[1].end == 16);
            REQUIRE(fake_env_logged(&fake, rows[i].format) == (format != (i == 0 ? 2u : 1u)), "%s", rows[i].text);
            free(assigned.runs);
        }
        fake_env_end(&fake);
    }
}

enum { MANY = 600 };

/* Runs that no encoding makes small. */
static void scatter(wf_offset_run runs[MANY]) {
    for (int i = 0; i < MANY; i++) runs[i] = (wf_offset_run){10 + 7919 * (int64_t)i, 11 + 7919 * (int64_t)i + i % 3};
}

/* The commit's map is the longest beginning of these runs that fits. Frees it. */
static void expect_cut(wf_commit commit, const wf_offset_run runs[MANY], size_t max_bytes) {
    wf_offset_run *back = NULL;
    size_t count = 0;
    REQUIRE(commit.metadata && commit.metadata_bytes <= max_bytes);
    REQUIRE_EQ(wf_metadata_decode(commit.offset, commit.metadata, commit.metadata_bytes, &back, &count), WEFT_OK);
    REQUIRE(count < MANY && memcmp(back, runs, count * sizeof *runs) == 0);
    REQUIRE(wf_metadata_size(commit.offset, runs, count + 1) > max_bytes, "one more would have fitted");
    free(back);
    free(commit.metadata);
}

Test(metadata_encoder, map_does_not_fit__cut_to_what_does_and_counted) {
    fake_env fake;
    wf_offset_run runs[MANY];
    scatter(runs);
    start(&fake, 200);
    expect_cut(encode(&fake, 5, runs, MANY, false), runs, 200);
    REQUIRE(fake_env_logged(&fake, "map does not fit"));
    REQUIRE_EQ(ask(&fake).metrics.metadata_dropped, 1);
    wf_commit commit = encode(&fake, 5, runs, 1, false);
    REQUIRE(commit.metadata_bytes > 0 && commit.metadata_bytes <= 200);
    free(commit.metadata);
    REQUIRE_EQ(ask(&fake).metrics.metadata_dropped, 1);
    fake_env_end(&fake);
}

/* The poller says that the broker refused this commit; what comes back. */
static wf_commit refuse(fake_env *fake, wf_commit commit) {
    int64_t offset = commit.offset;
    fake_env_tell(fake, POLLER, WF_MSG_TOO_LARGE, &commit, sizeof commit);
    fake_sent sent;
    REQUIRE(fake_env_take(fake, WF_MSG_COMMIT, &sent));
    REQUIRE_EQ(sent.to, POLLER);
    commit = *(const wf_commit *)sent.body;
    REQUIRE(commit.again && commit.slot == 3 && commit.epoch == 9 && commit.offset == offset);
    return commit;
}

static uint32_t limit_told(fake_env *fake) {
    fake_sent sent;
    if (!fake_env_take(fake, WF_MSG_MAP_LIMIT, &sent)) return 0;
    REQUIRE_EQ(sent.to, MANAGER);
    return ((const wf_map_limit *)sent.body)->bytes;
}

Test(metadata_encoder, broker_refuses__half_of_it_is_the_limit_from_then_on) {
    fake_env fake;
    wf_offset_run runs[MANY];
    scatter(runs);
    start(&fake, 4096);
    wf_commit large = encode(&fake, 5, runs, MANY, false), other = encode(&fake, 5, runs, 300, false);
    uint32_t limit = large.metadata_bytes / 2;
    REQUIRE(limit < other.metadata_bytes && other.metadata_bytes / 2 < limit);

    wf_commit cut = refuse(&fake, large);
    REQUIRE_EQ(limit_told(&fake), limit);
    expect_cut(cut, runs, limit);
    uint32_t lower = other.metadata_bytes / 2;
    cut = refuse(&fake, other);
    REQUIRE_EQ(limit_told(&fake), lower);
    expect_cut(cut, runs, lower);
    expect_cut(encode(&fake, 5, runs, MANY, true), runs, lower);
    fake_env_end(&fake);
}

Test(metadata_encoder, other_formats__within_what_they_allow_themselves__and_cut_like_ours) {
    static const struct {
        wf_metadata_format format;
        size_t max_bytes;
    } rows[] = {{WF_METADATA_PYRALLEL, 4000}, {WF_METADATA_CONFLUENT, 4096}};
    for (size_t i = 0; i < 2; i++) {
        fake_env fake;
        wf_offset_run runs[MANY], *back = NULL;
        size_t count = 0;
        scatter(runs);
        for (int j = 0; j < MANY; j++) runs[j].first *= 5, runs[j].end *= 5; /* gaps that no two bytes hold */
        start_writing(&fake, 30000, rows[i].format);
        wf_commit commit = encode(&fake, 5, runs, MANY, false);
        REQUIRE(commit.metadata_bytes <= rows[i].max_bytes && commit.metadata_bytes > rows[i].max_bytes - 20);
        REQUIRE_EQ(wf_metadata_decode_any(5, commit.metadata, commit.metadata_bytes, &back, &count), WEFT_OK);
        REQUIRE(count > 0 && count < MANY && memcmp(back, runs, count * sizeof *runs) == 0);
        free(back);
        uint32_t limit = commit.metadata_bytes / 2;
        commit = refuse(&fake, commit);
        REQUIRE_EQ(limit_told(&fake), limit);
        REQUIRE(commit.metadata_bytes <= limit && commit.metadata_bytes > 0);
        free(commit.metadata);
        fake_env_end(&fake);
    }
}

/* Pyrallel's empty map has one byte. */
Test(metadata_encoder, broker_takes_no_metadata_at_all__none_is_sent) {
    fake_env fake;
    start_writing(&fake, 4096, WF_METADATA_PYRALLEL);
    wf_commit commit = encode(&fake, 5, NULL, 0, false);
    REQUIRE(commit.metadata_bytes == 1 && commit.metadata[0] == 'R');
    REQUIRE_EQ(refuse(&fake, commit).metadata_bytes, 0);
    REQUIRE_EQ(limit_told(&fake), 0);
    REQUIRE(encode(&fake, 5, NULL, 0, false).metadata == NULL);
    REQUIRE_EQ(ask(&fake).metrics.metadata_dropped, 0);
    fake_env_end(&fake);
}

Test(metadata_encoder, broker_refuses__what_was_sent_before_the_limit_was_known__does_not_raise_it) {
    fake_env fake;
    wf_offset_run runs[MANY];
    scatter(runs);
    start(&fake, 4096);
    wf_commit small = encode(&fake, 5, runs, 100, false), large = encode(&fake, 5, runs, MANY, false);
    uint32_t limit = small.metadata_bytes / 2;
    free(refuse(&fake, small).metadata);
    REQUIRE_EQ(limit_told(&fake), limit);
    expect_cut(refuse(&fake, large), runs, limit);
    REQUIRE_EQ(limit_told(&fake), 0);
    fake_env_end(&fake);
}

Test(metadata_encoder, foreign_metadata__partition_starts_without_it) {
    fake_env fake;
    seeded random = seeded_start(4, 0);
    start(&fake, 4096);
    char noise[300];
    for (int round = 0; round < 500; round++) {
        size_t bytes = 1 + seeded_below(&random, sizeof noise);
        for (size_t i = 0; i < bytes; i++) noise[i] = (char)seeded_next(&random);
        wf_assigned assigned = restore(&fake, 100, noise, bytes);
        REQUIRE(assigned.refused && assigned.count == 0 && assigned.runs == NULL);
    }
    wf_gauges_end end = ask(&fake);
    REQUIRE(end.metrics.metadata_refused == 500 && end.ticket == 5 && end.owner == WF_GAUGES_ENCODER);
    fake_env_end(&fake);
}

Test(metadata_encoder, map_of_another_offset__refused) {
    fake_env fake;
    start(&fake, 4096);
    wf_commit commit = encode(&fake, 100, (wf_offset_run[]){{110, 120}}, 1, false);
    wf_assigned assigned = restore(&fake, 101, commit.metadata, commit.metadata_bytes);
    REQUIRE(assigned.refused && assigned.count == 0);
    free(commit.metadata);
    fake_env_end(&fake);
}

Test(metadata_encoder, nothing_committed__no_map_and_no_complaint) {
    fake_env fake;
    start(&fake, 4096);
    REQUIRE(!restore(&fake, -1, NULL, 0).refused);
    REQUIRE(!restore(&fake, -1, "left over", 9).refused);
    REQUIRE(!restore(&fake, 7, NULL, 0).refused);
    REQUIRE_EQ(ask(&fake).metrics.metadata_refused, 0);
    fake_env_end(&fake);
}

Test(metadata_encoder, drained__leaves_behind_the_commit_before_it) {
    fake_env fake;
    fake_sent sent;
    start(&fake, 4096);
    wf_snapshot snapshot = {.slot = 1, .epoch = 1, .frontier = 5, .final = true};
    wf_drained drained = {.slot = 1, .epoch = 1, .unfinished = 4};
    fake_env_deliver(&fake, TRACKER, WF_MSG_SNAPSHOT, &snapshot, sizeof snapshot);
    fake_env_deliver(&fake, TRACKER, WF_MSG_DRAINED, &drained, sizeof drained);
    fake_env_turn(&fake);
    REQUIRE(fake_env_take(&fake, 0, &sent) && sent.type == WF_MSG_COMMIT && sent.to == POLLER);
    REQUIRE(fake_env_take(&fake, 0, &sent) && sent.type == WF_MSG_DRAINED && sent.to == POLLER);
    REQUIRE(((const wf_drained *)sent.body)->unfinished == 4);
    fake_env_end(&fake);
}
