/* SPDX-License-Identifier: Apache-2.0
 *
 * weft's side of the worker protocol, for one worker process and one check: starts it, greets it, sends it what the
 * check says, and looks at everything that comes.
 *
 * Invariants:
 * 1. Every frame that comes is held against the page, whatever the check waits for: form, sender, turn.
 * 2. A check ends at its first failure: parent_fail() does not return.
 * 3. Nothing waits longer than `patience_ms`, and no limit of time is part of a rule's test but that one.
 * 4. Nothing of the process is left after parent_close().
 */
#ifndef WORKER_CHECK_PARENT_H
#define WORKER_CHECK_PARENT_H

#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "child.h"
#include "peers.h"
#include "wire.h"

enum { SENT_MAX = 4096, SAID_BYTES = 4000, TROUBLE_BYTES = 1000, NO_DEATH = -1 };

/* A record that was sent, and what became of it. */
typedef struct sent {
    int64_t offset;
    uint32_t task;
    uint32_t frame; /* the number of the DONE that named it */
    uint8_t status;
    uint8_t reason_bytes;
    char reason[WF_WIRE_REASON_MAX + 1];
} sent;

/* What parent_open() does besides the usual. */
typedef enum start {
    START_AS_USUAL = 0,
    START_ATTACHED = 1,  /* as a worker that attaches itself: a socket with a file, the token in a file, no name */
    START_NO_SOCKET = 2, /* without WEFT_SOCKET */
    START_NO_WORD = 4,   /* without a progress word */
} start;

typedef struct parent {
    const char *command; /* of the worker, for a shell */
    int64_t patience_ms;
    uint32_t heartbeat_ms;
    bool is_quiet; /* sends no PING of its own */

    wf_peers *peers;
    wf_child child;
    int death;      /* as wait(2) says; NO_DEATH: it lives */
    bool connected; /* it said HELLO */
    bool welcomed;
    wf_peer_id worker;
    wf_wire_hello hello;
    char name[WF_WIRE_NAME_MAX + 1];
    uint8_t token[WF_WIRE_TOKEN_BYTES];
    char directory[64];
    char socket[96];
    char token_file[96];
    int word_fd;
    volatile uint64_t *word; /* the progress word */

    sent sent[SENT_MAX];
    uint32_t sent_count;
    uint32_t done_count;
    uint32_t done_frames;
    uint32_t pings; /* numbers begin with 1 */
    uint32_t pongs;
    uint32_t logs;
    uint32_t byes;
    uint32_t log_level;
    char log[WF_WIRE_LINE_MAX + 1]; /* the last one */
    uint64_t ping_ns;
    char said[SAID_BYTES + 1]; /* on standard error and output, its end */
    size_t said_bytes;

    void *rooms; /* of parent_alloc() */
    jmp_buf out;
    int rule; /* of docs/worker-protocol.md */
    char trouble[TROUBLE_BYTES];
} parent;

/* --- life */

void parent_open(parent *self, unsigned start_flags);
void parent_await_hello(parent *self);
/* The same, and say WELCOME. */
void parent_greet(parent *self);
void parent_close(parent *self);
/* Close the socket, as if weft had died. */
void parent_vanish(parent *self);

/* Memory until parent_close(): whoever fails does not come back to free it. */
void *parent_alloc(parent *self, size_t bytes);

/* The check fails: what was expected and what came, and the rule of the page that says so. */
__attribute__((noreturn, format(printf, 3, 4))) void parent_fail(parent *self, int rule, const char *format, ...);

#define PARENT_EXPECT(self, rule, condition, ...)                                                                      \
    do {                                                                                                               \
        if (!(condition)) parent_fail(self, rule, __VA_ARGS__);                                                        \
    } while (0)

/* --- to the worker */

void parent_send(parent *self, const void *frame, size_t bytes);
void parent_say(parent *self, wf_wire_type type, uint32_t count, uint32_t task);
void parent_say_text(parent *self, wf_wire_type type, uint32_t task, const char *text);
void parent_ping(parent *self);

/* A record for parent_work(); NULL is null, `bytes` -1: strlen. */
typedef struct item {
    uint32_t topic;
    const char *key;
    const char *value;
    int32_t value_bytes; /* 0: strlen */
    const char *headers; /* as they stand in a frame */
    uint32_t header_bytes;
    uint16_t header_count;
    uint16_t attempt; /* 0: 1 */
    uint32_t lane;
    int32_t partition;
    int64_t offset; /* 0: one that was not there yet */
    int64_t timestamp_ms;
} item;

void parent_work(parent *self, uint32_t task, const item *items, uint32_t count);
/* `count` times the same. */
void parent_work_same(parent *self, uint32_t task, const item *one, uint32_t count);

/* --- from the worker */

/* The next frame that is none of a conversation in the background: its type; 0: the process has ended.
 * `what` says what is waited for. */
int parent_next(parent *self, const char *what);
/* Take what comes for so long. False: the process has ended. */
bool parent_look(parent *self, int64_t timeout_ms);
/* Until so many records are reported. */
void parent_await_done(parent *self, uint32_t count);
void parent_await_pongs(parent *self);
void parent_await_log(parent *self, const char *text);
/* BYE of the worker. False: it has ended. */
bool parent_await_bye(parent *self);
/* Until the process has ended; its status as wait(2) says. */
int parent_await_death(parent *self, int rule, const char *why);
/* The same; it must be an exit with another status than 0, and something on standard error. */
void parent_await_refusal(parent *self, int rule, const char *why);
/* Say BYE, and see it end with status 0. */
void parent_part(parent *self);

#endif
