/* SPDX-License-Identifier: Apache-2.0
 *
 * Checks of HELLO, and of what is said beside records: heartbeats, cancelling, the log, the progress word.
 */
#include "checks.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* --- who I am */

static void check_hello(parent *self) {
    parent_await_hello(self);
    parent_look(self, 300); /* nothing more may come before WELCOME */
    parent_greet(self);
    const wf_wire_hello *hello = &self->hello;
    PARENT_EXPECT(self, RULE_HELLO, hello->version_low <= WF_WIRE_VERSION && hello->version_high >= WF_WIRE_VERSION,
                  "expected versions that include %d, got %u to %u", WF_WIRE_VERSION, hello->version_low,
                  hello->version_high);
    PARENT_EXPECT(self, RULE_HELLO, memcmp(hello->token, self->token, sizeof self->token) == 0,
                  "expected the token of WEFT_TOKEN, got another one");
    PARENT_EXPECT(self, RULE_HELLO, strcmp(self->name, "w-7-1") == 0,
                  "expected the name w-7-1 of WEFT_WORKER, got \"%s\"", self->name);
    pid_t group = getpgid((pid_t)hello->pid);
    PARENT_EXPECT(self, RULE_HELLO, group == self->child.pid, "expected the process id of the worker, %d, got %u",
                  (int)self->child.pid, hello->pid);
    PARENT_EXPECT(self, RULE_HELLO, parent_look(self, 100), "expected the worker to stay, it ended");
    parent_part(self);
}

static void check_no_word(parent *self) {
    parent_greet(self);
    PARENT_EXPECT(self, RULE_WORD, !(self->hello.flags & WF_WIRE_HAS_PROGRESS),
                  "expected no progress word with WEFT_PROGRESS_FD=-1, HELLO says that it is kept");
    parent_part(self);
}

static void check_attached(parent *self) {
    parent_greet(self);
    PARENT_EXPECT(self, RULE_HELLO, memcmp(self->hello.token, self->token, sizeof self->token) == 0,
                  "expected the token of the file WEFT_TOKEN_FILE, got another one");
    parent_part(self);
}

static void check_no_socket(parent *self) {
    parent_await_refusal(self, RULE_HELLO, "because WEFT_SOCKET is not set");
}

static void check_refused(parent *self) {
    parent_await_hello(self);
    parent_say_text(self, WF_WIRE_REFUSED, 0, "the house is full");
    parent_await_refusal(self, RULE_WELCOME, "after REFUSED");
    PARENT_EXPECT(self, RULE_WELCOME, strstr(self->said, "the house is full"),
                  "expected why it was refused on standard error, there was \"%s\"", self->said);
}

static void check_refused_later(parent *self) {
    parent_say_text(self, WF_WIRE_REFUSED, 0, "DONE of a strange task");
    parent_await_refusal(self, RULE_WELCOME, "after REFUSED");
    PARENT_EXPECT(self, RULE_WELCOME, strstr(self->said, "DONE of a strange task"),
                  "expected why it was refused on standard error, there was \"%s\"", self->said);
}

/* --- heartbeats */

static void check_pings(parent *self) {
    for (int i = 0; i < 5; i++) parent_ping(self);
    parent_await_pongs(self);
    for (int i = 0; i < 20; i++) {
        parent_ping(self);
        PARENT_EXPECT(self, RULE_END, parent_look(self, 40), "expected the worker to stay while PING comes, it ended");
    }
    parent_await_pongs(self);
    parent_part(self);
}

/* In one of several tasks: this process may be held up as well, and then PING leaves when the task is over. */
static void check_ping_at_work(parent *self) {
    const item slow = {.topic = SLEEP, .value = "20"};
    self->is_quiet = true;
    for (uint32_t task = 1; task <= 5; task++) {
        uint32_t first = self->sent_count;
        parent_work_same(self, task, &slow, 40);
        parent_await_done(self, first + 1);
        parent_ping(self);
        while (self->pongs < self->pings && self->done_count < self->sent_count)
            if (parent_next(self, "PONG") == 0) parent_fail(self, RULE_END, "expected PONG, the worker ended");
        if (self->pongs == self->pings) return;
        parent_await_pongs(self);
    }
    parent_fail(self, RULE_PING, "expected PONG between two records of 20 ms, it came when the task was over");
}

/* --- the log */

static void check_log(parent *self) {
    char text[5002];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    const item items[] = {{.topic = LOG, .value = "almost full: \xc3\xa4"}, {.topic = LOG, .value = text}};
    parent_work(self, 1, items, 1);
    parent_await_log(self, items[0].value);
    PARENT_EXPECT(self, RULE_LOG, self->log_level == 2, "expected level 2 for a line of level info, got %u",
                  self->log_level);
    parent_await_done(self, 1);
    uint32_t logs = self->logs;
    parent_work(self, 2, items + 1, 1);
    parent_await_done(self, 2);
    PARENT_EXPECT(self, RULE_LOG, self->logs > logs && strlen(self->log) > 1000,
                  "expected the beginning of a line of 5,001 bytes, got %zu bytes", strlen(self->log));
}

/* --- cancelling */

static void check_cancel_running(parent *self) {
    const item items[] = {{.topic = CANCEL, .value = "v"}, {.topic = NOTHING, .value = "v", .lane = 1}};
    parent_work(self, 1, items, 2);
    parent_work(self, 2, items + 1, 1);
    parent_await_log(self, "waiting");
    parent_say(self, WF_WIRE_CANCEL, 0, 1);
    parent_await_done(self, 3);
    PARENT_EXPECT(self, RULE_CANCEL, self->sent[0].status == WF_WIRE_SUCCESS,
                  "expected the handler to see that it should give up, its record has status %u: \"%s\"",
                  self->sent[0].status, self->sent[0].reason);
    PARENT_EXPECT(self, RULE_CANCEL, self->sent[1].status == WF_WIRE_UNRUN,
                  "expected UNRUN for a record that was not begun when CANCEL came, got status %u",
                  self->sent[1].status);
    PARENT_EXPECT(self, RULE_CANCEL, self->sent[2].status == WF_WIRE_SUCCESS,
                  "expected the next task to run, its record has status %u", self->sent[2].status);
}

static void check_cancel_waiting(parent *self) {
    const item slow = {.topic = SLEEP, .value = "300"}, fast = {.topic = NOTHING, .value = "v"};
    parent_work_same(self, 1, &slow, 2);
    parent_work_same(self, 2, &fast, 5);
    parent_say(self, WF_WIRE_CANCEL, 0, 2);
    parent_await_done(self, 7);
    for (uint32_t i = 0; i < 7; i++)
        PARENT_EXPECT(self, RULE_CANCEL, self->sent[i].status == (i < 2 ? WF_WIRE_SUCCESS : WF_WIRE_UNRUN),
                      "expected %s for offset %lld, got status %u", i < 2 ? "SUCCESS" : "UNRUN of a cancelled task",
                      (long long)self->sent[i].offset, self->sent[i].status);
}

static void check_cancel_late(parent *self) {
    const item one = {.topic = NOTHING, .value = "v"};
    parent_work_same(self, 1, &one, 1);
    parent_await_done(self, 1);
    parent_say(self, WF_WIRE_CANCEL, 0, 1);
    parent_say(self, WF_WIRE_CANCEL, 0, 4000000000);
    parent_work_same(self, 1, &one, 3);
    parent_await_done(self, 4);
    for (uint32_t i = 1; i < 4; i++)
        PARENT_EXPECT(self, RULE_CANCEL, self->sent[i].status == WF_WIRE_SUCCESS,
                      "expected CANCEL to mean nothing when its task is over, a later record has status %u",
                      self->sent[i].status);
}

/* --- the progress word */

static void check_word(parent *self) {
    const item items[] = {{.topic = NOTHING, .value = "v"},
                          {.topic = NOTHING, .value = "v", .lane = 1},
                          {.topic = CANCEL, .value = "v", .lane = 2}};
    if (!(self->hello.flags & WF_WIRE_HAS_PROGRESS)) return; /* it may do without */
    parent_work(self, 4000000001, items, 3);
    parent_await_log(self, "waiting");
    uint64_t expected = (uint64_t)4000000001 << 32 | 3, found = *self->word;
    PARENT_EXPECT(self, RULE_WORD, found == expected,
                  "expected the progress word %#llx in the third record, it was %#llx", (unsigned long long)expected,
                  (unsigned long long)found);
    parent_say(self, WF_WIRE_CANCEL, 0, 4000000001);
    parent_await_done(self, 3);
    for (int64_t waited_ms = 0; *self->word != 0 && waited_ms < self->patience_ms; waited_ms += 10)
        if (!parent_look(self, 10)) break;
    PARENT_EXPECT(self, RULE_WORD, *self->word == 0, "expected the progress word 0 when nothing runs, it is %#llx",
                  (unsigned long long)*self->word);
}

const check hello_checks[] = {
    {"hello", "HELLO comes first and once, and says who the worker is", check_hello, 0, 0, true},
    {"attached", "a worker attaches itself: a socket with a file, the token in a file", check_attached, START_ATTACHED,
     0, true},
    {"no_socket", "without WEFT_SOCKET it says so and ends", check_no_socket, START_NO_SOCKET, 0, true},
    {"refused", "a refused worker says why and ends", check_refused, 0, 0, true},
    {"refused_later", "a worker that is refused later says why and ends", check_refused_later, 0, 0, false},
    {0},
};

const check talk_checks[] = {
    {"pings", "every PING gets its PONG, and the worker stays as long as they come", check_pings, 0, 400, false},
    {"ping_at_work", "PING is answered between two records", check_ping_at_work, 0, 0, false},
    {"log", "lines reach weft's log, cut to 4,096 bytes", check_log, 0, 0, false},
    {"cancel_running", "a running handler sees CANCEL; what was not begun is UNRUN", check_cancel_running, 0, 0, false},
    {"cancel_waiting", "a task that was not begun is cancelled, the one before it is not", check_cancel_waiting, 0, 0,
     false},
    {"cancel_late", "CANCEL of a task that is over means nothing", check_cancel_late, 0, 0, false},
    {"word", "the progress word says which record runs, and 0 when none does", check_word, 0, 0, false},
    {"no_word", "WEFT_PROGRESS_FD=-1: there is no progress word", check_no_word, START_NO_WORD, 0, true},
    {0},
};
