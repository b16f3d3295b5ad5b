/* SPDX-License-Identifier: Apache-2.0
 *
 * Workers that attach themselves, and whoever else comes to their socket. The honest worker beside them must not feel
 * anything of it.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <errno.h>
#include <glob.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "heard.h"
#include "must.h"
#include "peers.h"
#include "produce.h"
#include "require.h"
#include "scrape.h"
#include "seeded.h"
#include "stage.h"
#include "wire.h"

TestSuite(worker_peers, .timeout = 60);

enum { PATIENCE_MS = STAGE_PATIENCE_MS, ANSWER_MS = 10000 };

typedef struct meeting {
    stage stage;
    char directory[64];
    char socket[80];
    char token_file[80];
    uint8_t token[WF_WIRE_TOKEN_BYTES];
    harness *under_test;
} meeting;

static void begin(meeting *self, unsigned work_us, const char *const *more) {
    STAGE_OPEN(&self->stage, STAGE_C, work_us);
    snprintf(self->directory, sizeof self->directory, "/tmp/weft-workers-XXXXXX");
    MUST(mkdtemp(self->directory), "no directory");
    const char *settings[30] = {
        "worker.directory", self->directory, "worker.attach.max", "3", "worker.heartbeat.ms", "1000"};
    for (size_t i = 0; more && more[i]; i++) settings[6 + i] = more[i];
    self->under_test = stage_start(&self->stage, settings);
    snprintf(self->socket, sizeof self->socket, "%s/workers", self->directory);
    snprintf(self->token_file, sizeof self->token_file, "%s/token", self->directory);
    FILE *file = fopen(self->token_file, "r");
    MUST(file, "no token");
    for (int i = 0; i < WF_WIRE_TOKEN_BYTES; i++) {
        unsigned byte;
        MUST(fscanf(file, "%2x", &byte) == 1, "a short token");
        self->token[i] = (uint8_t)byte;
    }
    fclose(file);
}

/* The directory is ours, and must be empty then. */
static void end(meeting *self) {
    REQUIRE(rmdir(self->directory) == 0, "something was left behind in %s", self->directory);
    stage_close(&self->stage);
}

static wf_peer *connect_to(const meeting *self) {
    wf_peer *peer;
    MUST(wf_peer_open(self->socket, &peer) == WEFT_OK, "no connection");
    return peer;
}

static size_t put_hello(const meeting *self, uint8_t *frame, const char *name) {
    wf_wire_hello hello = {
        .version_low = 1, .version_high = 1, .pid = (uint32_t)getpid(), .name_bytes = (uint32_t)strlen(name)};
    memcpy(hello.token, self->token, sizeof hello.token);
    return (size_t)(wf_wire_put_hello(frame, &hello, name) - frame);
}

/* The type of the next frame that is no PING; 0: none came. */
static int next_type(wf_peer *peer) {
    const void *frame;
    size_t bytes;
    wf_wire_header header;
    const char *why;
    do {
        if (!wf_peer_receive(peer, ANSWER_MS, &frame, &bytes)) return 0;
        if (wf_wire_open(frame, bytes, &header, &why) != WEFT_OK) return -1;
    } while (header.type == WF_WIRE_PING);
    return header.type;
}

static pid_t attach(const meeting *self) {
    pid_t pid = fork();
    if (pid == 0) {
        setenv("WEFT_SOCKET", self->socket, 1);
        setenv("WEFT_TOKEN_FILE", self->token_file, 1);
        execl("/bin/sh", "sh", "-c", self->stage.command, NULL);
        abort();
    }
    return pid;
}

static bool has_workers(const weft_metrics *metrics, void *context) {
    return metrics->system.workers == *(const uint32_t *)context;
}

static bool await_workers(const meeting *self, uint32_t count) {
    return harness_await_metrics(self->under_test, has_workers, &count, PATIENCE_MS, NULL);
}

static void finish(meeting *self, uint64_t records, trail_verdict *ret_verdict) {
    char text[2000];
    cr_expect(stage_finish(&self->stage, self->under_test, records, ret_verdict, text, sizeof text), "%s", text);
}

Test(worker_peers, attached__two_come_one_is_killed__the_other_goes_on_and_both_end_with_weft) {
    enum { RECORDS = 6000 };
    const char *settings[] = {"worker.command", "", NULL};
    meeting self;
    trail_verdict verdict;
    int status;
    begin(&self, 100, settings);
    stage_fill(&self.stage, RECORDS, 40);
    struct stat info;
    REQUIRE(stat(self.directory, &info) == 0 && (info.st_mode & 0777) == 0700);
    REQUIRE(await_workers(&self, 0)); /* a normal state */
    pid_t first = attach(&self), second = attach(&self);
    REQUIRE(await_workers(&self, 2));
    REQUIRE(trail_await(self.stage.file, RECORDS / 4, PATIENCE_MS));
    kill(first, SIGKILL);
    REQUIRE(waitpid(first, &status, 0) == first);
    finish(&self, RECORDS, &verdict);
    REQUIRE(waitpid(second, &status, 0) == second);
    REQUIRE(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %d", status);
    REQUIRE(verdict.cut <= 1);
    end(&self);
}

/* What a start says that has to fail because of its directory. */
static weft_status try_directory(const stage *scene, const char *directory) {
    const char *settings[] = {"engine", "process", "worker.attach.max", "1", "worker.directory", directory, NULL};
    weft_status status = WEFT_OK;
    char *error;
    harness_plan plan = stage_plan(scene, settings);
    harness *under_test = harness_try(&plan, &status, &error);
    MUST(!under_test && strstr(error, directory), "it is not told what is wrong with it");
    free(error);
    return status;
}

/* A mistake of the configuration, which no restart mends. */
Test(worker_peers, directory__that_cannot_be_used__is_a_mistake_of_the_configuration) {
    stage scene;
    char base[] = "/tmp/weft-workers-XXXXXX", path[100], inside[120];
    STAGE_OPEN(&scene, STAGE_C, 0);
    MUST(mkdtemp(base), "no directory");
    snprintf(path, sizeof path, "%s/missing/parent", base);
    REQUIRE_EQ(try_directory(&scene, path), WEFT_ECONFIG);
    snprintf(path, sizeof path, "%s/file", base);
    FILE *file = fopen(path, "w");
    MUST(file && fclose(file) == 0, "no file");
    REQUIRE_EQ(try_directory(&scene, path), WEFT_ECONFIG);
    unlink(path);
    snprintf(path, sizeof path, "%s/mode", base);
    static const mode_t modes[] = {0755, 0701, 0500, 0300};
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        MUST(mkdir(path, 0700) == 0 && chmod(path, modes[i]) == 0, "no directory");
        REQUIRE(try_directory(&scene, path) == WEFT_ECONFIG, "mode %o", (unsigned)modes[i]);
        rmdir(path);
    }
    MUST(mkdir(path, 0700) == 0, "no directory");
    snprintf(inside, sizeof inside, "%s/workers", path);
    MUST(mkdir(inside, 0700) == 0, "no directory");
    REQUIRE_EQ(try_directory(&scene, path), WEFT_ECONFIG);
    rmdir(inside);
    rmdir(path);
    REQUIRE(rmdir(base) == 0);
    stage_close(&scene);
}

/* A second one would take the socket away, and leave nothing behind for the first one when it ends. */
Test(worker_peers, directory__of_another_consumer__refused_and_that_one_goes_on) {
    enum { RECORDS = 1000 };
    const char *settings[] = {"worker.command", "", NULL};
    meeting self;
    trail_verdict verdict;
    weft_status status;
    char *error;
    int exit_status;
    begin(&self, 0, settings);
    const char *same[] = {"engine",           "process",      "worker.attach.max", "1",
                          "worker.directory", self.directory, NULL};
    harness_plan plan = stage_plan(&self.stage, same);
    harness *second = harness_try(&plan, &status, &error);
    REQUIRE(!second, "two consumers with one directory");
    REQUIRE_EQ(status, WEFT_ESYSTEM);
    REQUIRE(strstr(error, "worker.directory is another consumer's") && strstr(error, self.directory), "%s", error);
    free(error);
    pid_t pid = attach(&self);
    REQUIRE(await_workers(&self, 1));
    stage_fill(&self.stage, RECORDS, 10);
    finish(&self, RECORDS, &verdict);
    REQUIRE(waitpid(pid, &exit_status, 0) == pid);
    end(&self);
}

/* XDG_RUNTIME_DIR of so many bytes, whose first 60 are the name of another directory. */
static harness *start_below(const stage *scene, char base[200], size_t bytes, weft_status *ret_status,
                            char **ret_error) {
    const char *settings[] = {"engine", "process", "worker.attach.max", "1", NULL};
    harness_plan plan = stage_plan(scene, settings);
    snprintf(base, 200, "/tmp/weft-xdg-XXXXXX");
    MUST(mkdtemp(base), "no directory");
    snprintf(base + 20, 180, "/%039d", 1);
    MUST(mkdir(base, 0700) == 0, "no directory");
    snprintf(base + 60, 140, "/%0*d", (int)bytes - 61, 1);
    MUST(strlen(base) == bytes && mkdir(base, 0700) == 0, "no directory");
    setenv("XDG_RUNTIME_DIR", base, 1);
    return harness_try(&plan, ret_status, ret_error);
}

static void remove_below(char base[200]) {
    REQUIRE(rmdir(base) == 0, "something is left in %s", base);
    base[60] = '\0';
    REQUIRE(rmdir(base) == 0, "something is left in %s", base);
    base[20] = '\0';
    REQUIRE(rmdir(base) == 0, "something is left in %s", base);
}

Test(worker_peers, runtime_directory__of_a_long_name__is_used_or_refused_but_never_another) {
    stage scene;
    weft_status status;
    char base[200], pattern[240], *error;
    glob_t found;
    STAGE_OPEN(&scene, STAGE_C, 0);
    harness *under_test = start_below(&scene, base, 78, &status, &error);
    REQUIRE(under_test, "%s", error);
    snprintf(pattern, sizeof pattern, "%s/weft-*/workers", base);
    REQUIRE_EQ(glob(pattern, 0, NULL, &found), 0);
    REQUIRE_EQ(found.gl_pathc, 1);
    globfree(&found);
    harness_stop(under_test, 5000);
    harness_free(&under_test);
    remove_below(base);
    under_test = start_below(&scene, base, 79, &status, &error);
    REQUIRE(!under_test, "a path that no socket can have");
    REQUIRE_EQ(status, WEFT_ESYSTEM);
    REQUIRE(strstr(error, "XDG_RUNTIME_DIR") && strstr(error, base), "%s", error);
    free(error);
    remove_below(base);
    stage_close(&scene);
}

typedef struct rudeness {
    const char *name;
    bool greets; /* says a right HELLO first */
    size_t bytes;
    uint8_t frame[WF_WIRE_HEADER_BYTES + WF_WIRE_LINE_MAX + 1];
} rudeness;

static size_t put(uint8_t *frame, wf_wire_type type, uint32_t count, uint32_t task, size_t more) {
    memset(wf_wire_put_header(frame, type, count, task), 0, more);
    return WF_WIRE_HEADER_BYTES + more;
}

static size_t make_rudenesses(const meeting *self, rudeness *list) {
    size_t count = 0;
    list[count++] = (rudeness){.name = "nothing", .bytes = 0};
    list[count++] = (rudeness){.name = "garbage", .bytes = 7, .frame = "garbage"};
    list[count++] = (rudeness){.name = "garbage after hello", .greets = true, .bytes = 7, .frame = "garbage"};
    rudeness *at = &list[count++];
    *at = (rudeness){.name = "work without hello"};
    at->bytes = put(at->frame, WF_WIRE_DONE, 1, 1, WF_WIRE_DONE_BYTES);
    at = &list[count++];
    *at = (rudeness){.name = "wrong token"};
    at->bytes = put_hello(self, at->frame, "x");
    at->frame[40] ^= 1;
    at = &list[count++];
    *at = (rudeness){.name = "another version"};
    at->bytes = put_hello(self, at->frame, "x");
    at->frame[16] = at->frame[18] = 9;
    at = &list[count++];
    *at = (rudeness){.name = "hello twice", .greets = true};
    at->bytes = put_hello(self, at->frame, "x");
    at = &list[count++];
    *at = (rudeness){.name = "done of a task that nobody has", .greets = true};
    at->bytes = put(at->frame, WF_WIRE_DONE, 1, 4000000000, WF_WIRE_DONE_BYTES);
    at = &list[count++];
    *at = (rudeness){.name = "done cut short", .greets = true};
    at->bytes = put(at->frame, WF_WIRE_DONE, 200, 1, WF_WIRE_DONE_BYTES);
    at = &list[count++];
    *at = (rudeness){.name = "what only weft says", .greets = true};
    at->bytes = put(at->frame, WF_WIRE_WORK, 1, 1, WF_WIRE_RECORD_BYTES);
    at = &list[count++];
    *at = (rudeness){.name = "hello with a count"};
    at->bytes = put_hello(self, at->frame, "x");
    at->frame[8] = 5;
    at = &list[count++];
    *at = (rudeness){.name = "hello of version 0"};
    at->bytes = put_hello(self, at->frame, "x");
    at->frame[16] = 0;
    at = &list[count++];
    *at = (rudeness){.name = "log of level 9", .greets = true};
    at->bytes = put(at->frame, WF_WIRE_LOG, 9, 0, 5);
    at = &list[count++];
    *at = (rudeness){.name = "log of 4,097 bytes", .greets = true};
    at->bytes = put(at->frame, WF_WIRE_LOG, 1, 0, WF_WIRE_LINE_MAX + 1);
    at = &list[count++];
    *at = (rudeness){.name = "pong with bytes behind", .greets = true};
    at->bytes = put(at->frame, WF_WIRE_PONG, 0, 1, 1);
    at = &list[count++];
    *at = (rudeness){.name = "bye with bytes behind", .greets = true};
    at->bytes = put(at->frame, WF_WIRE_BYE, 0, 0, 1);
    return count;
}

static uint64_t rejected(const meeting *self) {
    weft_metrics *metrics;
    MUST(weft_consumer_metrics(harness_consumer(self->under_test), &metrics) == WEFT_OK, "no metrics");
    uint64_t count = metrics->system.pool.frames_rejected;
    free(metrics);
    return count;
}

Test(worker_peers, hostile__each_kind_of_frame__dropped_and_counted_while_the_work_goes_on) {
    enum { RECORDS = 4000 };
    const char *settings[] = {"workers", "1", NULL};
    meeting self;
    trail_verdict verdict;
    rudeness list[24];
    begin(&self, 20, settings);
    REQUIRE(await_workers(&self, 1));
    size_t count = make_rudenesses(&self, list);
    for (size_t i = 0; i < count; i++) {
        uint64_t before = rejected(&self);
        wf_peer *peer = connect_to(&self);
        uint8_t hello[256];
        if (list[i].greets) {
            wf_peer_send(peer, hello, put_hello(&self, hello, "rude"));
            REQUIRE_EQ(next_type(peer), WF_WIRE_WELCOME);
        }
        wf_peer_send(peer, list[i].frame, list[i].bytes);
        REQUIRE_EQ(next_type(peer), WF_WIRE_REFUSED);
        REQUIRE(rejected(&self) == before + 1, "%s", list[i].name);
        wf_peer_close(&peer);
    }
    stage_fill(&self.stage, RECORDS, 40);
    finish(&self, RECORDS, &verdict);
    REQUIRE_EQ(verdict.begun, RECORDS);
    end(&self);
}

Test(worker_peers, pong_unasked_and_bye_twice__mean_nothing) {
    const char *settings[] = {"worker.command", "", NULL};
    meeting self;
    uint8_t frame[256];
    begin(&self, 0, settings);
    wf_peer *peer = connect_to(&self);
    wf_peer_send(peer, frame, put_hello(&self, frame, "odd"));
    REQUIRE_EQ(next_type(peer), WF_WIRE_WELCOME);
    for (uint32_t number = 0; number < 3; number++)
        wf_peer_send(peer, frame, put(frame, WF_WIRE_PONG, 0, 4000000000 + number, 0));
    for (int i = 0; i < 3; i++) wf_peer_send(peer, frame, put(frame, WF_WIRE_BYE, 0, 0, 0));
    REQUIRE_EQ(next_type(peer), WF_WIRE_BYE);
    REQUIRE_EQ(next_type(peer), 0);
    REQUIRE_EQ(rejected(&self), 0);
    wf_peer_close(&peer);
    REQUIRE_EQ(harness_stop(self.under_test, 10000), WEFT_OK);
    harness_free(&self.under_test);
    end(&self);
}

/* The header of the next WORK, and its first record. */
static wf_wire_record await_work(wf_peer *peer, wf_wire_header *ret_header) {
    const void *frame;
    size_t bytes;
    const char *why;
    uint8_t pong[WF_WIRE_HEADER_BYTES];
    wf_wire_record record;
    do {
        REQUIRE(wf_peer_receive(peer, ANSWER_MS, &frame, &bytes));
        REQUIRE_EQ(wf_wire_open(frame, bytes, ret_header, &why), WEFT_OK);
        if (ret_header->type == WF_WIRE_PING)
            wf_peer_send(peer, pong, put(pong, WF_WIRE_PONG, 0, ret_header->task, 0));
    } while (ret_header->type != WF_WIRE_WORK);
    memcpy(&record, (const char *)frame + WF_WIRE_HEADER_BYTES, sizeof record);
    return record;
}

/* Takes work and answers it wrongly: for records of others, in another order, twice. */
Test(worker_peers, liar__answers_what_it_was_not_asked__its_records_run_elsewhere) {
    enum { RECORDS = 2000 };
    const char *settings[] = {"worker.command", "", NULL};
    meeting self;
    trail_verdict verdict;
    begin(&self, 0, settings);
    stage_fill(&self.stage, RECORDS, 40);
    REQUIRE(harness_await_metrics(self.under_test, harness_is_assigned, NULL, PATIENCE_MS, NULL));
    wf_peer *liar = connect_to(&self);
    uint8_t hello[256], answer[WF_WIRE_HEADER_BYTES + 2 * WF_WIRE_DONE_BYTES];
    wf_peer_send(liar, hello, put_hello(&self, hello, "liar"));
    REQUIRE_EQ(next_type(liar), WF_WIRE_WELCOME);
    wf_wire_header header;
    wf_wire_record record = await_work(liar, &header);
    wf_wire_put_header(answer, WF_WIRE_DONE, 2, header.task);
    wf_wire_put_done(answer + WF_WIRE_HEADER_BYTES, &(wf_wire_done){.offset = record.offset});
    wf_wire_put_done(answer + WF_WIRE_HEADER_BYTES + WF_WIRE_DONE_BYTES, &(wf_wire_done){.offset = record.offset});
    wf_peer_send(liar, answer, sizeof answer);
    while ((header.type = (uint8_t)next_type(liar)) != WF_WIRE_REFUSED) REQUIRE(header.type != 0);
    pid_t honest = attach(&self);
    /* What the liar said of its first record, before it lied, counts: that record is done. */
    REQUIRE(trail_await(self.stage.file, RECORDS - 1, PATIENCE_MS));
    wf_peer_close(&liar);
    char text[2000];
    stage_finish(&self.stage, self.under_test, RECORDS - 1, &verdict, text, sizeof text);
    REQUIRE(verdict.begun == RECORDS - 1 && verdict.out_of_order == 0, "%s", text);
    int status;
    REQUIRE(waitpid(honest, &status, 0) == honest);
    end(&self);
}

static bool has_failed(const weft_metrics *metrics, void *context) {
    char *text = context;
    for (size_t i = 0; i < metrics->partition_count; i++)
        if (metrics->partitions[i].failed)
            snprintf(text, WEFT_ERROR_TEXT_BYTES, "%s", metrics->partitions[i].last_error);
    return *text;
}

/* The worker lives on; what it says is repaired at the door, and reaches metrics and log as UTF-8 on one line. */
Test(worker_peers, foreign_bytes__in_a_reason_and_a_line__become_replacement_characters) {
    static const char reason[] = "caf\xe9\n\xf0\x9f\x92", line[] = "na\xefve\t\"x\"";
    const char *settings[] = {"worker.command", "", "max.attempts", "1", "failure.policy", "skip", NULL};
    meeting self;
    wf_wire_header header;
    uint8_t hello[256], answer[128];
    char text[WEFT_ERROR_TEXT_BYTES] = "";
    setenv("WEFT_TEST_LOG", "info", 1);
    heard_begin();
    begin(&self, 0, settings);
    stage_put(&self.stage, "k1", "v");
    wf_peer *peer = connect_to(&self);
    wf_peer_send(peer, hello, put_hello(&self, hello, "foreign"));
    REQUIRE_EQ(next_type(peer), WF_WIRE_WELCOME);
    wf_wire_record record = await_work(peer, &header);
    memcpy(wf_wire_put_header(answer, WF_WIRE_LOG, WEFT_LOG_INFO, 0), line, sizeof line - 1);
    wf_peer_send(peer, answer, WF_WIRE_HEADER_BYTES + sizeof line - 1);
    wf_wire_done done = {.offset = record.offset, .status = WF_WIRE_FAILURE, .reason_bytes = sizeof reason - 1};
    uint8_t *at = wf_wire_put_done(wf_wire_put_header(answer, WF_WIRE_DONE, 1, header.task), &done);
    memcpy(at, reason, sizeof reason - 1);
    wf_peer_send(peer, answer, WF_WIRE_HEADER_BYTES + WF_WIRE_DONE_BYTES + sizeof reason - 1);
    REQUIRE(harness_await_metrics(self.under_test, has_failed, text, PATIENCE_MS, NULL));
    REQUIRE(strcmp(text, "caf\xef\xbf\xbd \xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd") == 0, "%s", text);
    REQUIRE_EQ(rejected(&self), 0);
    wf_peer_close(&peer);
    harness_stop(self.under_test, 1000);
    harness_free(&self.under_test);
    REQUIRE_EQ(heard_count("text=\"na\xef\xbf\xbdve  x \"", NULL), 1);
    REQUIRE_EQ(heard_count("\xe9", NULL) + heard_count("\xf0\x9f", NULL), 0);
    heard_end();
    unsetenv("WEFT_TEST_LOG");
    end(&self);
}

Test(worker_peers, crowd__a_thousand_connections__all_turned_away_and_no_descriptor_left) {
    const char *settings[] = {"workers", "1", NULL};
    meeting self;
    trail_verdict verdict;
    begin(&self, 0, settings);
    REQUIRE(await_workers(&self, 1));
    for (int i = 0; i < 1000; i++) {
        wf_peer *peer = connect_to(&self);
        wf_peer_send(peer, "?", 1);
        if (i % 100 == 0) REQUIRE_EQ(next_type(peer), WF_WIRE_REFUSED);
        wf_peer_close(&peer);
    }
    stage_fill(&self.stage, 1000, 10);
    finish(&self, 1000, &verdict);
    end(&self);
}

static bool one_is_gone(const weft_metrics *metrics, void *context) {
    (void)context;
    return metrics->system.pool.ends[WEFT_END_GONE] == 1 && metrics->system.workers == 1;
}

static bool has_work(const meeting *self) {
    weft_metrics *metrics;
    MUST(weft_consumer_metrics(harness_consumer(self->under_test), &metrics) == WEFT_OK, "no metrics");
    const weft_pool_metrics *seen = &metrics->system.pool;
    bool works = seen->by_state[WEFT_WORKER_READY] == 1 && seen->records_held > 0 && seen->ends[WEFT_END_GONE] == 0;
    free(metrics);
    return works;
}

static bool has_ended(const weft_metrics *metrics, void *context) {
    (void)context;
    return metrics->system.pool.ends[WEFT_END_GONE] == 1;
}

/* Wait for a frame of this type and answer each PING. False: none came. */
static bool await_type(wf_peer *peer, wf_wire_type type) {
    const void *frame;
    size_t bytes;
    wf_wire_header header;
    const char *why;
    uint8_t answer[WF_WIRE_HEADER_BYTES];
    do {
        if (!wf_peer_receive(peer, ANSWER_MS, &frame, &bytes)) return false;
        if (wf_wire_open(frame, bytes, &header, &why) != WEFT_OK) return false;
        if (header.type == WF_WIRE_PING) wf_peer_send(peer, answer, put(answer, WF_WIRE_PONG, 0, header.task, 0));
    } while (header.type != type);
    return true;
}

/* In a container of its own a worker knows itself by a number that is another process's here, or nobody's. Its end is
 * the end of its connection. */
Test(worker_peers, attached__says_the_pid_of_a_stranger_who_ends__keeps_its_work) {
    enum { RECORDS = 100 };
    const char *settings[] = {"worker.command", "", NULL};
    meeting self;
    trail_verdict verdict;
    uint8_t hello[256];
    int status;
    begin(&self, 0, settings);
    stage_fill(&self.stage, RECORDS, 10);
    pid_t stranger = fork();
    if (stranger == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        pause();
        abort();
    }
    wf_peer *peer = connect_to(&self);
    size_t bytes = put_hello(&self, hello, "elsewhere");
    memcpy(hello + WF_WIRE_HEADER_BYTES + offsetof(wf_wire_hello, pid), &stranger, sizeof stranger);
    wf_peer_send(peer, hello, bytes);
    REQUIRE(await_type(peer, WF_WIRE_WORK));
    kill(stranger, SIGKILL);
    REQUIRE(waitpid(stranger, &status, 0) == stranger);
    /* Two PINGs later the engine has looked at all that it watches. */
    REQUIRE(await_type(peer, WF_WIRE_PING) && await_type(peer, WF_WIRE_PING));
    REQUIRE(has_work(&self));
    wf_peer_close(&peer); /* now it is gone, and what it had runs elsewhere */
    REQUIRE(harness_await_metrics(self.under_test, has_ended, NULL, PATIENCE_MS, NULL));
    pid_t honest = attach(&self);
    finish(&self, RECORDS, &verdict);
    REQUIRE(waitpid(honest, &status, 0) == honest);
    end(&self);
}

/* What is larger by a little is told to its sender. By far too large a frame ZeroMQ takes none of, and closes the
 * connection: whoever sent it is gone, with what it had. */
Test(worker_peers, oversized__frames_beyond_the_limits__those_peers_are_dropped_and_nothing_else) {
    enum { RECORDS = 5000, BYTES = WF_WIRE_READ_MAX + 1 };
    const char *settings[] = {"workers", "1", NULL};
    meeting self;
    trail_verdict verdict;
    begin(&self, 0, settings);
    REQUIRE(await_workers(&self, 1));
    wf_peer *peer = connect_to(&self);
    uint8_t hello[256], *frame = calloc(1, BYTES);
    MUST(frame, "no memory");
    wf_peer_send(peer, hello, put_hello(&self, hello, "rather_large"));
    REQUIRE_EQ(next_type(peer), WF_WIRE_WELCOME);
    wf_wire_put_header(frame, WF_WIRE_PONG, 0, 0); /* nothing else is wrong with it */
    wf_peer_send(peer, frame, WF_WIRE_FRAME_MAX + 1);
    REQUIRE_EQ(next_type(peer), WF_WIRE_REFUSED);
    REQUIRE_EQ(rejected(&self), 1);
    wf_peer_close(&peer);
    peer = connect_to(&self);
    wf_peer_send(peer, hello, put_hello(&self, hello, "large"));
    REQUIRE_EQ(next_type(peer), WF_WIRE_WELCOME);
    REQUIRE(await_workers(&self, 2));
    wf_peer_send(peer, frame, BYTES);
    REQUIRE(harness_await_metrics(self.under_test, one_is_gone, NULL, PATIENCE_MS, NULL));
    REQUIRE_EQ(rejected(&self), 1);
    stage_fill(&self.stage, RECORDS, 40);
    finish(&self, RECORDS, &verdict);
    REQUIRE_EQ(verdict.begun, RECORDS);
    free(frame);
    wf_peer_close(&peer);
    end(&self);
}

/* Whoever is at a record for days hears no PING meanwhile, and ZeroMQ keeps so many of them. He is there all the same,
 * which is another thing than a name that nobody has. */
Test(worker_peers, pings__more_than_wait_for_one_who_does_not_look__are_lost_and_he_is_there) {
    enum { ALL = 1000000 };
    char path[64];
    wf_peers *weft;
    wf_peer *peer;
    wf_peer_id id, nobody = {.bytes = "nobody", .count = 6};
    const void *frame;
    size_t bytes, sent = 0;
    snprintf(path, sizeof path, "@weft-pings-%d", (int)getpid());
    REQUIRE_EQ(wf_peers_open(path, WF_WIRE_FRAME_MAX, NULL, 0, &weft), WEFT_OK);
    REQUIRE_EQ(wf_peer_open(path, &peer), WEFT_OK);
    REQUIRE(wf_peer_send(peer, "hello", 5));
    while (!wf_peers_receive(weft, &id, &frame, &bytes)) poll(&(struct pollfd){wf_peers_fd(weft), POLLIN, 0}, 1, 10);
    bool more = true;
    for (; more && sent < ALL; sent++) {
        put(wf_peers_frame(weft, WF_WIRE_HEADER_BYTES), WF_WIRE_PING, 0, 1, 0);
        more = wf_peers_send(weft, &id);
    }
    REQUIRE(!more, "%d PINGs wait", ALL);
    REQUIRE_EQ(errno, EAGAIN);
    put(wf_peers_frame(weft, WF_WIRE_HEADER_BYTES), WF_WIRE_PING, 0, 1, 0);
    REQUIRE(!wf_peers_send(weft, &nobody));
    REQUIRE_EQ(errno, EHOSTUNREACH);
    wf_peer_close(&peer);
    wf_peers_close(&weft);
}

static bool page_says(const meeting *self, const char *path, const char *text) {
    char *answer = scrape_get(weft_consumer_metrics_port(harness_consumer(self->under_test)), path);
    bool said = answer && strstr(answer, text);
    free(answer);
    return said;
}

static bool all_said(const weft_metrics *metrics, void *context) {
    (void)metrics;
    return page_says(context, "/readyz", "ready: 4 workers, 1 are started here") &&
           page_says(context, "/status", "\"started_here\": false") &&
           page_says(context, "/status", "\"workers_wanted\": 1");
}

Test(worker_peers, both__one_started_three_attached_a_fifth_is_too_many__told_and_all_work) {
    enum { RECORDS = 8000 };
    const char *settings[] = {"workers", "1", "metrics.enabled", "true", "metrics.port", "0", "tick.ms", "20", NULL};
    meeting self;
    trail_verdict verdict;
    int status;
    pid_t pids[3];
    begin(&self, 50, settings);
    for (int i = 0; i < 3; i++) pids[i] = attach(&self);
    REQUIRE(await_workers(&self, 4));
    pid_t one_more = attach(&self);
    REQUIRE(waitpid(one_more, &status, 0) == one_more);
    REQUIRE(WIFEXITED(status) && WEXITSTATUS(status) == 2, "refused with status %d", status);
    REQUIRE(harness_await_metrics(self.under_test, all_said, &self, PATIENCE_MS, NULL));
    stage_fill(&self.stage, RECORDS, 40);
    finish(&self, RECORDS, &verdict);
    REQUIRE_EQ(verdict.begun, RECORDS);
    for (int i = 0; i < 3; i++) {
        REQUIRE(waitpid(pids[i], &status, 0) == pids[i]);
        REQUIRE(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %d", status);
    }
    end(&self);
}
