/* SPDX-License-Identifier: Apache-2.0
 *
 * Write your own actors and run them beside weft's (weft_consumer_spawn); weft's own see the world through these same
 * functions.
 *
 * An actor is a state struct, a class (one constant table) and a mailbox. It sees the world only through the weft_env
 * that each of its functions gets: the time, messages, timers, file descriptors to watch, random numbers, the log. Its
 * functions run one at a time, must not block, and fail by sending a message or by weft_env_fail(). The same class runs
 * on production threads and in a simulator with a virtual clock; it can't tell.
 *
 * Life: init, on_start, then messages, timers and turns; on_stop, more of them until is_drained, deinit.
 *
 * Thread of all functions below: the actor's own, inside one of its functions. None of them blocks.
 */
#ifndef WEFT_ACTOR_H
#define WEFT_ACTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weft/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weft_env weft_env;
typedef uint32_t weft_actor_id; /* 0: nobody */

/* Message types below WEFT_MESSAGE_USER are weft's (docs/messages.md); programs choose theirs from there to
 * WEFT_MESSAGE_MAX - 1. An actor has WEFT_TIMER_MAX timers and WEFT_WATCH_MAX watches, numbered from 0. */
enum { WEFT_MESSAGE_USER = 48, WEFT_MESSAGE_MAX = 64, WEFT_TIMER_MAX = 4, WEFT_WATCH_MAX = 2 };

typedef struct weft_message {
    uint32_t type;
    weft_actor_id from;
    const void *body; /* valid during the handler only; aligned to 8 */
    size_t body_bytes;
} weft_message;

typedef void (*weft_message_handler)(void *self, weft_env *env, const weft_message *message);

typedef struct weft_actor_class {
    const char *name;   /* in logs and failed checks */
    size_t state_bytes; /* zeroed before init */

    /* Build the state; runs on the thread that starts the system, before any message. Other actors may not exist yet:
     * send nothing here. May be NULL. Not WEFT_OK: the start fails, and deinit is not called. */
    weft_status (*init)(void *self, weft_env *env, const void *argument);

    /* First function on the actor's own thread: all others exist, messages may be sent, though not all run yet. May be
     * NULL. */
    void (*on_start)(void *self, weft_env *env);

    /* By message type. A message without a handler is a routing bug: it ends the process with both names. */
    weft_message_handler on[WEFT_MESSAGE_MAX];

    /* A timer armed with weft_env_arm() is due; it is disarmed before the call. NULL only where none is ever armed. */
    void (*on_timer)(void *self, weft_env *env, unsigned timer);

    /* Called once after each drain of the mailbox in which this actor had something to do (message, timer, watched
     * descriptor): the place to send what was collected. Returns true when there is more to do at once: the loop comes
     * back without sleeping. May be NULL. */
    bool (*on_turn)(void *self, weft_env *env);

    /* Begin to drain: refuse new work, finish what is owed until `deadline_ns` (monotonic). Called once. May be
     * NULL. */
    void (*on_stop)(void *self, weft_env *env, uint64_t deadline_ns);

    /* Is nothing owed any more? Asked after on_stop, after each turn, until it says so. NULL: always. */
    bool (*is_drained)(const void *self);

    /* Free what the state owns (not the state itself); runs on the actor's thread after its last message, or on the
     * starting thread when a start failed. May be NULL. */
    void (*deinit)(void *self, weft_env *env);
} weft_actor_class;

typedef enum weft_log_level { WEFT_LOG_ERROR = 0, WEFT_LOG_WARN, WEFT_LOG_INFO, WEFT_LOG_DEBUG } weft_log_level;

/* Monotonic time; it stands still during one message, and during one turn. */
WEFT_EXPORT uint64_t weft_env_now_ns(const weft_env *env);

/* Wall-clock time in ms since 1970, for display. */
WEFT_EXPORT int64_t weft_env_wall_ms(const weft_env *env);

/* Uniform 64 bits, for jitter, not for secrets; reproducible in the simulator. */
WEFT_EXPORT uint64_t weft_env_random(weft_env *env);

/* This actor's id. */
WEFT_EXPORT weft_actor_id weft_env_self(const weft_env *env);

/* Send a copy of `body`. Order is kept per sender and receiver, and not otherwise. Never blocks: keep what may be on
 * its way bounded by credit that the receiver gives back; a million messages in one queue end the process. */
WEFT_EXPORT void weft_env_send(weft_env *env, weft_actor_id to, uint32_t type, const void *body, size_t body_bytes);

/* One of this actor's timers, due at `at_ns` (monotonic); arming again moves it. It fires up to a millisecond late, and
 * later when other functions of the thread take long. */
WEFT_EXPORT void weft_env_arm(weft_env *env, unsigned timer, uint64_t at_ns);
WEFT_EXPORT void weft_env_disarm(weft_env *env, unsigned timer);

/* Wake this actor's turn when `fd` is readable: a non-blocking eventfd or pipe, which the loop reads empty before the
 * turn, throwing away what it read. -1 ends it. */
WEFT_EXPORT void weft_env_watch(weft_env *env, unsigned watch, int fd);

/* The whole system can't go on, because of `status`; `format` says why, naming thing, value and allowed range.
 * weft_consumer_wait() returns with the first one; the actor itself goes on until it is stopped. */
WEFT_EXPORT void weft_env_fail(weft_env *env, weft_status status, const char *format, ...) WEFT_PRINTF(3, 4);

/* One event, one line, at most 1,023 bytes: what happened, then name=value. It never blocks (weft/log.h). */
WEFT_EXPORT void weft_env_log(weft_env *env, weft_log_level level, const char *format, ...) WEFT_PRINTF(3, 4);

#ifdef __cplusplus
}
#endif

#endif
