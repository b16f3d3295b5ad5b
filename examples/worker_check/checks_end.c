/* SPDX-License-Identifier: Apache-2.0
 *
 * Checks of how a worker ends: told to, asked to by a signal, left alone, or spoken to in a way that it can't
 * understand.
 */
#include "checks.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>

static const item fast = {.topic = NOTHING, .value = "v"}, slow = {.topic = SLEEP, .value = "50"};

static void check_bye_idle(parent *self) {
    parent_part(self);
}

static void check_bye_at_work(parent *self) {
    parent_work_same(self, 1, &slow, 3);
    parent_work_same(self, 2, &fast, WF_WIRE_RECORDS_MAX);
    parent_part(self);
    for (uint32_t i = 0; i < self->sent_count; i++)
        PARENT_EXPECT(self, RULE_BYE, self->sent[i].status == WF_WIRE_SUCCESS,
                      "expected all tasks to be finished after BYE, offset %lld has status %u",
                      (long long)self->sent[i].offset, self->sent[i].status);
}

/* Ending by the signal is as good as asking to leave; staying is not. */
static void check_sigterm(parent *self) {
    parent_work_same(self, 1, &fast, 1);
    parent_await_done(self, 1);
    wf_child_signal(&self->child, SIGTERM);
    if (!parent_await_bye(self)) return;
    parent_work_same(self, 2, &fast, 3);
    parent_work_same(self, 3, &slow, 1);
    parent_part(self);
    PARENT_EXPECT(self, RULE_LEAVE, self->byes == 1, "expected one BYE, got %u", self->byes);
}

static void expect_despair(parent *self, const char *why) {
    int status = parent_await_death(self, RULE_SILENCE, why);
    PARENT_EXPECT(self, RULE_SILENCE, !(WIFEXITED(status) && WEXITSTATUS(status) == 0),
                  "expected another status than 0, %s", why);
}

static void check_silence(parent *self) {
    self->is_quiet = true;
    expect_despair(self, "because nothing came for five heartbeats");
}

static void check_weft_gone(parent *self) {
    parent_vanish(self);
    expect_despair(self, "because weft is gone");
}

static void check_weft_gone_at_work(parent *self) {
    parent_work_same(self, 1, &slow, 20);
    parent_await_done(self, 1);
    parent_vanish(self);
    expect_despair(self, "because weft is gone");
}

/* --- what can't be understood */

static void check_garbage(parent *self) {
    parent_send(self, "garbage", 7);
    parent_await_refusal(self, RULE_NONSENSE, "after a frame of garbage");
}

static void check_other_version(parent *self) {
    uint8_t frame[WF_WIRE_HEADER_BYTES];
    wf_wire_put_header(frame, WF_WIRE_PING, 0, 1);
    frame[4] = WF_WIRE_VERSION + 1;
    parent_send(self, frame, sizeof frame);
    parent_await_refusal(self, RULE_NONSENSE, "after a frame of another version");
}

static void check_unknown_type(parent *self) {
    uint8_t frame[WF_WIRE_HEADER_BYTES];
    wf_wire_put_header(frame, WF_WIRE_PING, 0, 1);
    frame[5] = 200;
    parent_send(self, frame, sizeof frame);
    parent_await_refusal(self, RULE_NONSENSE, "after a frame of an unknown type");
}

/* Its entry says more bytes than there are. */
static void check_work_cut(parent *self) {
    uint8_t frame[WF_WIRE_HEADER_BYTES + WF_WIRE_RECORD_BYTES + 3] = {0};
    uint8_t *at = wf_wire_put_header(frame, WF_WIRE_WORK, 1, 1);
    wf_wire_record record = {.offset = 1, .topic = NOTHING, .key_bytes = -1, .value_bytes = 4, .attempt = 1};
    memcpy(at, &record, sizeof record);
    parent_send(self, frame, sizeof frame);
    parent_await_refusal(self, RULE_NONSENSE, "after a WORK that ends inside a record");
}

static void check_work_short(parent *self) {
    uint8_t frame[WF_WIRE_HEADER_BYTES + WF_WIRE_RECORD_BYTES] = {0};
    wf_wire_put_header(frame, WF_WIRE_WORK, 200, 1);
    parent_send(self, frame, sizeof frame);
    parent_await_refusal(self, RULE_NONSENSE, "after a WORK that is shorter than its entries");
}

static void check_topic_unknown(parent *self) {
    const item one = {.topic = 4711, .value = "v"};
    parent_work_same(self, 1, &one, 1);
    parent_await_refusal(self, RULE_NONSENSE, "after a record of a topic that was not announced");
}

const check end_checks[] = {
    {"bye_idle", "after BYE an idle worker ends with status 0", check_bye_idle, 0, 0, false},
    {"bye_at_work", "after BYE a worker finishes its tasks, reports them and ends with status 0", check_bye_at_work, 0,
     0, false},
    {"sigterm", "after SIGTERM it ends, or says BYE and finishes until weft's BYE", check_sigterm, 0, 0, false},
    {"silence", "it ends when nothing came for five heartbeats", check_silence, 0, 100, false},
    {"weft_gone", "it ends when weft is gone", check_weft_gone, 0, 100, false},
    {"weft_gone_at_work", "it ends when weft is gone while it works", check_weft_gone_at_work, 0, 300, false},
    {"garbage", "a frame of garbage ends it with a word", check_garbage, 0, 0, false},
    {"other_version", "a frame of another version ends it with a word", check_other_version, 0, 0, false},
    {"unknown_type", "a frame of an unknown type ends it with a word", check_unknown_type, 0, 0, false},
    {"work_cut", "a WORK that ends inside a record ends it with a word", check_work_cut, 0, 0, false},
    {"work_short", "a WORK shorter than its entries ends it with a word", check_work_short, 0, 0, false},
    {"topic_unknown", "a record of an unknown topic ends it with a word", check_topic_unknown, 0, 0, false},
    {0},
};
