/* SPDX-License-Identifier: Apache-2.0
 *
 * Invariants that stay on in release builds.
 *
 * WF_CHECK is for what cannot be false unless weft itself is wrong: it prints the actor, the message, the slot and the
 * epoch that the thread was working on, and aborts. What comes from outside the process (configuration, metadata,
 * frames, handler results) is never checked this way: it is validated and answered with an error.
 */
#ifndef WF_CHECK_H
#define WF_CHECK_H

#include <stdint.h>

/* What the current thread is doing; the loop fills it before each handler. */
typedef struct wf_check_context {
    const char *actor;   /* name of the actor, NULL outside of actors */
    const char *message; /* name of the message in hand, NULL in timers and turns */
    uint32_t slot;       /* slot and epoch in hand, where a handler noted them */
    uint32_t epoch;
} wf_check_context;

extern _Thread_local wf_check_context wf_check_now;

_Noreturn void wf_check_failed(const char *file, int line, const char *what);

/* Note the partition in hand, so that a failed check can name it. */
static inline void wf_check_partition(uint32_t slot, uint32_t epoch) {
    wf_check_now.slot = slot;
    wf_check_now.epoch = epoch;
}

#define WF_CHECK(condition)                                                                                            \
    do {                                                                                                               \
        if (__builtin_expect(!(condition), 0)) wf_check_failed(__FILE__, __LINE__, #condition);                        \
    } while (0)

/* Where the first holds, the second must. */
#define WF_CHECK_IMPLIES(premise, conclusion) WF_CHECK(!(premise) || (conclusion))

#define WF_UNREACHABLE(what) wf_check_failed(__FILE__, __LINE__, "unreachable: " what)

#endif
