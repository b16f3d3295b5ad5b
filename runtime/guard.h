/* SPDX-License-Identifier: Apache-2.0
 *
 * A small process beside us that outlives us by a moment: it is told of process groups, and kills those that are left
 * when we are gone, however we went, and removes the directory that we made. The parent-death signal reaches only the
 * process that was started, not what that one has started in turn (a worker behind a shell).
 *
 * Invariants:
 * 1. It holds nothing of ours but its end of the connection; when ours is closed everywhere, it acts and ends.
 * 2. Nothing waits for it: where it is gone or does not read, what is said to it is dropped.
 * 3. Its end of the connection is nobody else's: when ours has news, it is gone, and a new one is told all again.
 */
#ifndef WF_GUARD_H
#define WF_GUARD_H

#include <stdbool.h>
#include <sys/types.h>

#include "weft/status.h"

typedef struct wf_guard {
    pid_t pid;
    int fd; /* to it, -1: there is none */
} wf_guard;

/* `directory`: the socket `workers` and the file `token` in it are removed after us, and itself if we `made` it; one
 * that somebody has locked meanwhile stays as it is. "": none. WEFT_ELIMIT, WEFT_ESYSTEM: errno says why. */
weft_status wf_guard_open(const char *directory, bool made, wf_guard *ret_guard);
/* Groups that it still knows live on. */
void wf_guard_close(wf_guard *guard);

/* System calls only: a child says its own, between vfork() and exec(). */
void wf_guard_add(int fd, pid_t group);
void wf_guard_remove(const wf_guard *guard, pid_t group);

#endif
