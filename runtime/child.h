/* SPDX-License-Identifier: Apache-2.0
 *
 * A process that weft started: born in its own process group, with standard error on a pipe of ours, ended with us.
 *
 * Invariants:
 * 1. Its pid is ours to signal until wf_child_reap() returned true: nobody else can have it before.
 * 2. It dies with the thread that started it, however that one ends (the parent-death signal, which reaches stopped
 *    processes too), and its group with our process, if it has a guard.
 * 3. What it started in its group is killed before its pid can be anybody else's.
 */
#ifndef WF_CHILD_H
#define WF_CHILD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "weft/status.h"

enum { WF_CHILD_SHARED_FD = 3 }; /* where a child finds `shared_fd` */

typedef struct wf_child_options {
    const char *command;            /* for /bin/sh, which is replaced by it when it is one simple command */
    const char *const *environment; /* NAME=value, added to ours; ends with NULL */
    int shared_fd;                  /* given on; -1: none */
    int guard_fd;                   /* of a wf_guard, which is told of its group; -1: none */
    int niceness;                   /* added to ours */
    uint64_t files_max;             /* descriptors that it may have; 0: as many as we */
    uint64_t memory_max_bytes;      /* address space; 0: no limit */
} wf_child_options;

typedef struct wf_child {
    pid_t pid;
    int exit_fd;   /* readable when it has ended */
    int stderr_fd; /* what it writes there, non-blocking */
} wf_child;

/* Whoever ignores SIGCHLD, or has inherited that, never hears how a child ended: the kernel buries it. True: that was
 * so, and is so no more, for the whole program; a handler that it has stays. */
bool wf_child_hear_ends(void);

/* Start one. Thread: one that lives as long as the child should. WEFT_ELIMIT, WEFT_ESYSTEM: errno says why. */
weft_status wf_child_start(const wf_child_options *options, wf_child *ret_child);

/* vfork(): `become` runs in the child, in our memory, which waits: system calls only, exec at its end. -1: errno. */
pid_t wf_child_birth(void (*become)(const void *argument), const void *argument);

/* The whole group. */
void wf_child_signal(const wf_child *child, int signal);

/* True: it has ended, and `ret_status` is what wait(2) would have said. Its descriptors are the caller's to close: what
 * it wrote last can still be read. Never blocks. */
bool wf_child_reap(wf_child *child, int *ret_status);

/* Kill it, and wait until it has ended, two seconds at most: the kernel can hold on to a process for ever. */
void wf_child_bury(wf_child *child);

/* Is `pid` a process of this child's group? */
bool wf_child_has(const wf_child *child, pid_t pid);

/* Is the process stopped (SIGSTOP, a debugger)? Of any pid. */
bool wf_process_is_stopped(pid_t pid);

/* Readable when the process has ended; -1: there is none, or it is not to be seen. */
int wf_process_watch(pid_t pid);

#endif
