/* SPDX-License-Identifier: Apache-2.0
 *
 * Messages between threads, over ZeroMQ inproc sockets: one PULL socket per loop (its inbox), one PUSH socket per pair
 * of loops that talk (outbox). The only product file that knows ZeroMQ is mailbox.c.
 *
 * Invariants:
 * 1. A socket is used by one thread. An outbox belongs to the sending loop, an inbox to the receiving one.
 * 2. No send blocks. High-water marks lie far above what the senders' credits allow; a full queue is a broken
 * invariant.
 * 3. What a sender wrote before send() is visible to the receiver after receive(); for ThreadSanitizer, which can't see
 * into libzmq, both ends say so.
 */
#ifndef WF_MAILBOX_H
#define WF_MAILBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weft/status.h"

typedef struct wf_post wf_post; /* the ZeroMQ context of one system */
typedef struct wf_inbox wf_inbox;
typedef struct wf_outbox wf_outbox;

/* What stands before every body: 8 bytes, so that bodies are aligned. */
typedef struct wf_header {
    uint16_t type;
    uint16_t reserved;
    uint16_t from;
    uint16_t to;
} wf_header;

/* Room for `sockets` sockets in all. Thread: any; open before, close after all sockets. */
weft_status wf_post_open(uint32_t sockets, wf_post **ret_post);
/* Not where a thread was left that still has sockets: it may even open more. */
void wf_post_close(wf_post **post);

/* Bound at once; opened by any thread before its loop's thread begins. */
weft_status wf_inbox_open(wf_post *post, uint32_t index, wf_inbox **ret_inbox);
void wf_inbox_close(wf_inbox **inbox);

/* Take one message. The body is valid until the next receive. False: none is there. `wait` sleeps until there is one.
 */
bool wf_inbox_receive(wf_inbox *inbox, bool wait, wf_header *ret_header, const void **ret_body, size_t *ret_bytes);

/* Sleep until a message, a readable descriptor or the timeout (ms, -1: none). ready[i] is set for descriptors. fds of
 * -1 are skipped. */
void wf_inbox_wait(wf_inbox *inbox, const int *fds, bool *ready, size_t count, int64_t timeout_ms);

weft_status wf_outbox_open(wf_post *post, wf_inbox *target, uint32_t index, wf_outbox **ret_outbox);
void wf_outbox_send(wf_outbox *outbox, wf_header header, const void *body, size_t bytes);
/* What was sent stays readable for the receiver. */
void wf_outbox_close(wf_outbox **outbox);

/* The version of ZeroMQ that runs, "4.3.4". */
void wf_mailbox_version(char ret_text[32]);

#endif
