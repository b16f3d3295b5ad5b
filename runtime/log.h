/* SPDX-License-Identifier: Apache-2.0
 *
 * The log of the process: levels, one line per event, and the core of a rate limiter.
 *
 * Invariants:
 * 1. One event is one line: control characters in foreign text become spaces.
 * 2. Writing never blocks, never raises SIGPIPE and takes no lock: a line that can't be written at once is lost and
 * counted.
 * 3. A line is one write(2) of at most PIPE_BUF bytes, so that lines of several threads don't mix, not in a pipe
 * either.
 */
#ifndef WF_LOG_H
#define WF_LOG_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

#include "weft/actor.h"
#include "weft/log.h"
#include "weft/status.h"

/* Events above `level` are dropped before they are formatted. At first: info. Thread: any. */
void wf_log_set_level(weft_log_level level);
bool wf_log_enabled(weft_log_level level);

/* Write one event; `actor` may be NULL. Keeps errno. Thread: any. Blocks: never. Allocates: no. */
void wf_log(weft_log_level level, const char *actor, const char *format, ...) WEFT_PRINTF(3, 4);
void wf_log_va(weft_log_level level, const char *actor, const char *format, va_list arguments) WEFT_PRINTF(3, 0);

/* The same for a text that is ready. */
void wf_log_write(weft_log_level level, const char *actor, const char *text);

/* "error", "warn", "info" or "debug". */
const char *wf_log_level_name(weft_log_level level);

/* A budget for events that can come in floods. Pure: the caller passes the clock, and has one per kind of event. One
 * thread. */
typedef struct wf_log_limit {
    uint64_t interval_ns;   /* one event per interval in the long run */
    uint64_t burst_ns;      /* how far the debt may run ahead of the clock: (burst - 1) intervals */
    uint64_t paid_until_ns; /* the events so far are paid for once the clock gets here */
    uint64_t suppressed;    /* since the last event that passed */
} wf_log_limit;

/* `per_second` events in the long run, up to `burst` at once after silence; both at least 1. */
void wf_log_limit_init(wf_log_limit *limit, uint32_t per_second, uint32_t burst);

/* May one event pass now? If so, *ret_suppressed is how many did not since the last that did: say so in the line. */
bool wf_log_limit_take(wf_log_limit *limit, uint64_t now_ns, uint64_t *ret_suppressed);

#endif
