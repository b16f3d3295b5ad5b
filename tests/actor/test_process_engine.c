/* SPDX-License-Identifier: Apache-2.0
 *
 * The process engine with a clock of paper and a real socket: what would take days.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fake_env.h"
#include "messages.h"
#include "must.h"
#include "peers.h"
#include "process_engine.h"
#include "require.h"
#include "wire.h"

TestSuite(process_engine_alone, .timeout = 240);

enum { MANAGER = 7 };

static const uint64_t heartbeat_ns = 100000000;

typedef struct workshop {
    fake_env fake;
    char directory[64];
    char error[200];
    wf_peer *worker; /* one that attached itself */
} workshop;

static void choose_directory(workshop *self) {
    *self = (workshop){.directory = "/tmp/weft-engine-XXXXXX"};
    MUST(mkdtemp(self->directory), "no directory");
}

static void open_workshop(workshop *self) {
    if (!*self->directory) choose_directory(self);
    wf_process_engine_options options = {.manager = MANAGER,
                                         .attached_max = 1,
                                         .command = "",
                                         .directory = self->directory,
                                         .heartbeat_ns = heartbeat_ns,
                                         .grace_ns = heartbeat_ns,
                                         .error = self->error,
                                         .error_bytes = sizeof self->error};
    fake_env_start(&self->fake, &wf_process_engine, &options, 1000 * heartbeat_ns);
}

static void close_workshop(workshop *self) {
    fake_env_end(&self->fake);
    REQUIRE(rmdir(self->directory) == 0, "something was left behind in %s", self->directory);
}

/* Let the engine see what comes until it has sent such a message; its clock moves a little. */
static fake_sent await_sent(workshop *self, uint32_t type) {
    fake_sent sent;
    while (!fake_env_take(&self->fake, type, &sent)) {
        poll(&(struct pollfd){.fd = self->fake.watched[0], .events = POLLIN}, 1, 10);
        fake_env_poke(&self->fake);
        fake_env_advance(&self->fake, 1000000);
    }
    return sent;
}

static void say_hello(workshop *self) {
    char path[96], digits[WF_WIRE_TOKEN_BYTES * 2 + 1] = "";
    uint8_t frame[WF_WIRE_HEADER_BYTES + WF_WIRE_HELLO_BYTES];
    wf_wire_hello hello = {.version_low = 1, .version_high = 1, .pid = (uint32_t)getpid()};
    snprintf(path, sizeof path, "%s/token", self->directory);
    FILE *file = fopen(path, "r");
    MUST(file && fread(digits, 1, sizeof digits - 1, file) == sizeof digits - 1, "no token");
    fclose(file);
    for (int i = 0; i < WF_WIRE_TOKEN_BYTES; i++) {
        unsigned byte;
        MUST(sscanf(digits + 2 * i, "%2x", &byte) == 1, "no token");
        hello.token[i] = (uint8_t)byte;
    }
    snprintf(path, sizeof path, "%s/workers", self->directory);
    MUST(wf_peer_open(path, &self->worker) == WEFT_OK, "no connection");
    wf_wire_put_hello(frame, &hello, "");
    wf_peer_send(self->worker, frame, sizeof frame);
}

static void attach(workshop *self) {
    say_hello(self);
    await_sent(self, WF_MSG_WORKER_UP);
}

/* Sooner or later nothing of what the engine watches has news. */
static bool is_quiet(workshop *self) {
    struct pollfd news = {.fd = self->fake.watched[0], .events = POLLIN};
    for (int i = 0; i < 100000; i++) {
        if (poll(&news, 1, 0) == 0) return true;
        fake_env_poke(&self->fake);
        fake_env_advance(&self->fake, 1000000);
    }
    return false;
}

/* What the worker gets next that is no PING, each of which it answers; 0: nothing is there. */
static int answered_type(workshop *self, uint32_t *ret_task) {
    const void *frame;
    size_t bytes;
    wf_wire_header header;
    const char *why;
    uint8_t answer[WF_WIRE_HEADER_BYTES];
    while (wf_peer_receive(self->worker, 0, &frame, &bytes)) {
        REQUIRE_EQ(wf_wire_open(frame, bytes, &header, &why), WEFT_OK);
        *ret_task = header.task;
        if (header.type != WF_WIRE_PING) return header.type;
        wf_wire_put_header(answer, WF_WIRE_PONG, 0, header.task);
        wf_peer_send(self->worker, answer, sizeof answer);
    }
    return 0;
}

/* The worker takes the next WORK; the engine lives on meanwhile. */
static uint32_t take_work(workshop *self) {
    uint32_t task;
    for (;;) {
        int type = answered_type(self, &task);
        if (type == WF_WIRE_WORK) return task;
        REQUIRE(type == 0 || type == WF_WIRE_WELCOME || type == WF_WIRE_TOPIC, "type %d", type);
        fake_env_poke(&self->fake);
        fake_env_turn(&self->fake);
    }
}

static void report(workshop *self, uint32_t task, const wf_record *record) {
    uint8_t frame[WF_WIRE_HEADER_BYTES + WF_WIRE_DONE_BYTES];
    wf_wire_put_done(wf_wire_put_header(frame, WF_WIRE_DONE, 1, task), &(wf_wire_done){.offset = record->offset});
    wf_peer_send(self->worker, frame, sizeof frame);
    await_sent(self, WF_MSG_DONE);
}

/* Nobody hears of it meanwhile, and far more PINGs are sent than ZeroMQ keeps for him. */
Test(process_engine_alone, attached__at_a_record_for_200000_heartbeats__is_there_and_goes_on) {
    enum { HEARTBEATS = 200000 };
    workshop self = {0};
    wf_record first = {.topic = "t", .key_bytes = -1, .value_bytes = -1, .attempt = 1}, second = first, third = first;
    wf_slice slice = {.head = &first, .count = 1};
    second.offset = 1;
    third.offset = 2;
    third.slot = 1; /* of a topic that he was not told of */
    open_workshop(&self);
    attach(&self);
    fake_env_tell(&self.fake, MANAGER, WF_MSG_WORK, &slice, sizeof slice);
    uint32_t task = take_work(&self);
    for (int i = 0; i < HEARTBEATS; i++) {
        fake_env_advance(&self.fake, heartbeat_ns);
        REQUIRE(fake_env_waiting(&self.fake, WF_MSG_WORKER_DOWN) == 0, "after %d heartbeats", i);
    }
    REQUIRE_EQ(fake_env_waiting(&self.fake, WF_MSG_DONE), 0);
    report(&self, task, &first);
    /* There is no room for work yet, but when he has read on. */
    slice.head = &third;
    fake_env_tell(&self.fake, MANAGER, WF_MSG_WORK, &slice, sizeof slice);
    report(&self, take_work(&self), &third);
    REQUIRE_EQ(third.status, WF_DONE_SUCCESS);
    slice.head = &second;
    fake_env_tell(&self.fake, MANAGER, WF_MSG_WORK, &slice, sizeof slice);
    take_work(&self);
    wf_peer_close(&self.worker);
    /* That a connection is gone is seen at a heartbeat. */
    while (fake_env_waiting(&self.fake, WF_MSG_WORKER_DOWN) == 0) {
        poll(&(struct pollfd){.fd = self.fake.watched[0], .events = POLLIN}, 1, 1);
        fake_env_advance(&self.fake, heartbeat_ns);
    }
    await_sent(&self, WF_MSG_DONE);
    REQUIRE_EQ(second.status, WF_DONE_UNRUN);
    close_workshop(&self);
}

/* A child that attaches itself when it is told to, and lives until it is killed. Forked before there are threads. */
static pid_t fork_worker(workshop *self, int tell_fd) {
    char word;
    pid_t pid = fork();
    if (pid != 0) return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    MUST(read(tell_fd, &word, 1) == 1, "nobody tells");
    say_hello(self);
    for (;;) pause();
}

/* A child of the program that was forked and has not called exec() holds every descriptor of ours. What we closed must
 * not wake us for ever through it. */
Test(process_engine_alone, descriptors__held_by_a_forked_child__do_not_wake_the_engine_when_they_are_closed) {
    workshop self;
    int status, tell[2];
    choose_directory(&self);
    MUST(pipe(tell) == 0, "no pipe");
    pid_t worker = fork_worker(&self, tell[0]);
    open_workshop(&self);
    MUST(write(tell[1], "", 1) == 1, "no word");
    await_sent(&self, WF_MSG_WORKER_UP);
    pid_t bystander = fork();
    if (bystander == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;) pause();
    }
    kill(worker, SIGKILL);
    REQUIRE(waitpid(worker, &status, 0) == worker);
    await_sent(&self, WF_MSG_WORKER_DOWN);
    REQUIRE(is_quiet(&self), "the engine is woken for nothing");
    kill(bystander, SIGKILL);
    REQUIRE(waitpid(bystander, &status, 0) == bystander);
    close(tell[0]);
    close(tell[1]);
    close_workshop(&self);
}
