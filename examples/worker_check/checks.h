/* SPDX-License-Identifier: Apache-2.0
 *
 * The checks. Each gets a worker process of its own, and returns when it has found nothing wrong.
 *
 * The handler under check does what the topic of a record says:
 *
 *     echo      fails; the reason is the record in words, in the form of echo_text()
 *     fail      fails; the reason is the value
 *     log       logs the value at level info; succeeds
 *     sleep     works for as many milliseconds as the value says; succeeds
 *     cancel    logs "waiting"; works until it is told to give up, then succeeds
 *     others    succeeds
 *
 * A reason may have more text around it. Topics have these numbers here:
 */
#ifndef WORKER_CHECK_CHECKS_H
#define WORKER_CHECK_CHECKS_H

#include "parent.h"
#include "rules.h"

enum { ECHO = 1, FAIL, LOG, SLEEP, CANCEL, NOTHING, RENAMED = 65535 };

typedef struct check {
    const char *name;
    const char *what; /* a sentence */
    void (*body)(parent *self);
    unsigned start;        /* flags */
    uint32_t heartbeat_ms; /* 0: 1,000 */
    bool is_raw;           /* it greets the worker itself */
} check;

/* Each list ends with a name of NULL. */
extern const check hello_checks[], work_checks[], talk_checks[], end_checks[];

/* What the handler answers to a record of topic echo:
 *
 *     echo/PARTITION/OFFSET t=TIMESTAMP a=ATTEMPT k=DATA v=DATA h=NAME=DATA,NAME=DATA
 *
 * DATA is `null`, or the number of bytes, a colon and their sum. Returns its length. */
size_t echo_text(const item *from, const char *topic, int64_t offset, char *ret_text, size_t text_bytes);

#endif
