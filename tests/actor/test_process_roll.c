/* SPDX-License-Identifier: Apache-2.0
 *
 * A rolling restart and a worker that does not come to the end of its record: the engine alone, its clock in the test's
 * hand. The process that it starts is real and does nothing; the test speaks for it.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "fake_env.h"
#include "messages.h"
#include "must.h"
#include "peers.h"
#include "process_engine.h"
#include "record.h"
#include "require.h"
#include "wire.h"

TestSuite(process_roll, .timeout = 60);

enum { MANAGER = 7, PATIENCE_MS = 30000 };

static const uint64_t ms = 1000000;
static const uint64_t leave_ns = 30000000000;

typedef struct hall {
    fake_env fake;
    char path[64];     /* where the process writes what it was given */
    char command[200]; /* of the process */
    int peer; /* frames to and from the worker's connection */
    pid_t pid;
    wf_record record;
    wf_slice slice;
} hall;

static void breathe(void) {
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

/* What the process was given, when it has written all of it. */
static bool read_environment(const hall *self, char socket[120], uint8_t *token, pid_t *ret_pid) {
    char digits[WF_WIRE_TOKEN_BYTES * 2 + 1] = "";
    FILE *file = fopen(self->path, "r");
    int pid = 0, fields = file ? fscanf(file, "%119s %64s %d end", socket, digits, &pid) : 0;
    if (file) fclose(file);
    if (fields != 3) return false;
    for (int i = 0; i < WF_WIRE_TOKEN_BYTES; i++) {
        unsigned byte;
        MUST(sscanf(digits + 2 * i, "%2x", &byte) == 1, "a token like %s", digits);
        token[i] = (uint8_t)byte;
    }
    *ret_pid = pid;
    return true;
}

/* The connection of the worker, held by another process of its group, because the engine looks at that: frames go
 * through a pair of sockets, and it ends with the group, or when nobody is at the other end. */
_Noreturn static void relay(const char *socket, pid_t group, int other) {
    wf_peer *peer;
    uint8_t out[128];
    const void *in;
    size_t bytes;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    MUST(setpgid(0, group) == 0 && wf_peer_open(socket, &peer) == WEFT_OK, "no connection");
    for (;;) {
        ssize_t got = recv(other, out, sizeof out, MSG_DONTWAIT);
        if (got == 0) break;
        if (got > 0) wf_peer_send(peer, out, (size_t)got);
        if (wf_peer_receive(peer, 1, &in, &bytes) && send(other, in, bytes, MSG_NOSIGNAL) < 0) break;
    }
    must_leave(0);
}

static int connect_for(pid_t group, const char *socket) {
    int ends[2];
    MUST(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0, "no pair of sockets");
    pid_t pid = fork();
    MUST(pid >= 0, "no process");
    if (pid == 0) {
        close(ends[0]);
        relay(socket, group, ends[1]);
    }
    close(ends[1]);
    return ends[0];
}

/* The type of the next frame; the engine gets its turns meanwhile. */
static int next_type(hall *self) {
    uint8_t frame[512];
    wf_wire_header header;
    const char *why;
    for (int i = 0; i < PATIENCE_MS; i++) {
        fake_env_poke(&self->fake);
        ssize_t bytes = recv(self->peer, frame, sizeof frame, MSG_DONTWAIT);
        if (bytes <= 0) {
            breathe();
            continue;
        }
        MUST(wf_wire_open(frame, (size_t)bytes, &header, &why) == WEFT_OK, "%s", why);
        if (header.type != WF_WIRE_PING) return header.type;
    }
    return 0;
}

static void greet(hall *self) {
    char socket[120];
    uint8_t frame[128];
    wf_wire_hello hello = {.version_low = 1, .version_high = 1, .name_bytes = 5};
    for (int i = 0; !read_environment(self, socket, hello.token, &self->pid); i++) {
        MUST(i < PATIENCE_MS, "the process does not start");
        fake_env_poke(&self->fake);
        breathe();
    }
    hello.pid = (uint32_t)self->pid;
    self->peer = connect_for(self->pid, socket);
    uint8_t *end = wf_wire_put_hello(frame, &hello, "w-0-1");
    MUST(send(self->peer, frame, (size_t)(end - frame), MSG_NOSIGNAL) == end - frame, "HELLO was not sent");
    REQUIRE_EQ(next_type(self), WF_WIRE_WELCOME);
}

/* One worker, which has a record and is told to end. */
static void begin(hall *self) {
    *self = (hall){.path = "/tmp/weft-roll-XXXXXX"};
    close(mkstemp(self->path));
    snprintf(self->command, sizeof self->command, "echo \"$WEFT_SOCKET $WEFT_TOKEN $$ end\" >%s; exec sleep 1000",
             self->path);
    wf_process_engine_options options = {.manager = MANAGER,
                                         .spawned = 1,
                                         .command = self->command,
                                         .directory = "",
                                         .heartbeat_ns = 2000 * ms,
                                         .grace_ns = 5000 * ms,
                                         .leave_ns = leave_ns,
                                         .backoff_ns = 500 * ms,
                                         .backoff_max_ns = 30000 * ms};
    fake_env_start(&self->fake, &wf_process_engine, &options, 1000 * ms);
    greet(self);
    self->record = (wf_record){.topic = "t", .key_bytes = -1, .value_bytes = -1, .attempt = 1};
    self->slice = (wf_slice){.head = &self->record, .count = 1};
    fake_env_tell(&self->fake, MANAGER, WF_MSG_WORK, &self->slice, sizeof self->slice);
    REQUIRE_EQ(next_type(self), WF_WIRE_TOPIC);
    REQUIRE_EQ(next_type(self), WF_WIRE_WORK);
    fake_env_tell(&self->fake, MANAGER, WF_MSG_ROLL, &(wf_roll){0}, sizeof(wf_roll));
    REQUIRE_EQ(next_type(self), WF_WIRE_BYE);
}

static void end(hall *self) {
    close(self->peer);
    fake_env_end(&self->fake); /* and what was started in its place */
    unlink(self->path);
}

static bool is_killed(const hall *self) {
    return fake_env_logged(&self->fake, "worker is killed: its records take longer than drain.timeout.ms");
}

/* Real time: until the exit was seen. */
static bool await_done(hall *self, fake_sent *ret_sent) {
    for (int i = 0; i < PATIENCE_MS; i++) {
        if (fake_env_take(&self->fake, WF_MSG_DONE, ret_sent)) return true;
        breathe();
        fake_env_advance(&self->fake, ms);
        fake_env_poke(&self->fake);
    }
    return false;
}

Test(process_roll, a_record_that_does_not_end__its_worker_is_killed_after_the_drain_timeout_and_not_charged) {
    hall self;
    fake_sent sent;
    begin(&self);
    fake_env_advance(&self.fake, leave_ns - 200 * ms);
    fake_env_poke(&self.fake);
    REQUIRE(!is_killed(&self) && kill(self.pid, 0) == 0);
    REQUIRE_EQ(fake_env_waiting(&self.fake, WF_MSG_DONE), 0);
    fake_env_advance(&self.fake, 300 * ms);
    REQUIRE(is_killed(&self));
    REQUIRE(await_done(&self, &sent));
    REQUIRE_EQ(self.record.status, WF_DONE_UNRUN);
    REQUIRE(kill(self.pid, 0) != 0 && errno == ESRCH);
    for (int i = 0; i < PATIENCE_MS && !fake_env_logged(&self.fake, "worker=w-0-2"); i++)
        fake_env_advance(&self.fake, ms); /* and the next one is there */
    REQUIRE(fake_env_logged(&self.fake, "worker started worker=w-0-2"));
    end(&self);
}

Test(process_roll, a_record_that_ends_in_time__is_done_and_nobody_is_killed) {
    hall self;
    fake_sent sent;
    uint8_t frame[64];
    begin(&self);
    fake_env_advance(&self.fake, leave_ns - 200 * ms);
    wf_wire_put_done(wf_wire_put_header(frame, WF_WIRE_DONE, 1, 1), &(wf_wire_done){.offset = 0});
    size_t bytes = WF_WIRE_HEADER_BYTES + WF_WIRE_DONE_BYTES;
    MUST(send(self.peer, frame, bytes, MSG_NOSIGNAL) == (ssize_t)bytes, "DONE was not sent");
    for (int i = 0; i < PATIENCE_MS && fake_env_waiting(&self.fake, WF_MSG_DONE) == 0; i++) {
        breathe();
        fake_env_poke(&self.fake);
    }
    REQUIRE(fake_env_take(&self.fake, WF_MSG_DONE, &sent));
    REQUIRE_EQ(self.record.status, WF_DONE_SUCCESS);
    fake_env_advance(&self.fake, 1500 * ms); /* it has two seconds to end */
    REQUIRE(!is_killed(&self) && kill(self.pid, 0) == 0);
    end(&self);
}
