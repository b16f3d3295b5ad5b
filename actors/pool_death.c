/* SPDX-License-Identifier: Apache-2.0
 *
 * How worker processes start and end, and what becomes of the records that a dead one held.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "pool.h"
#include "utf8.h"

/* A worker that lived so long has shown that it works: its death is not one of a series. */
static const uint64_t healthy_ns = 10000000000;
/* ZeroMQ notices the end of a connection in less than a millisecond; what is said after so long is not waited for. */
static const uint64_t read_out_ns = 500000000;
/* Between two guards: where somebody kills each, or none can be started, that is all it costs. */
static const uint64_t guard_pause_ns = 1000000000;

static const char *const causes[] = {
    [WEFT_END_EXIT] = "ended by itself",
    [WEFT_END_GONE] = "not connected any more",
    [WEFT_END_DEADLINE] = "its handler was past handler.deadline.ms",
    [WEFT_END_SILENT] = "stopped, or no heartbeat",
    [WEFT_END_HOSTILE] = "it broke the worker protocol",
    [WEFT_END_FENCED] = "its partition had to go",
    [WEFT_END_TOLD] = "was told to end",
};

/* What weft does not start it does not kill. */
static const char *deed_of(const wf_pool_worker *worker) {
    if (worker->cause < WEFT_END_DEADLINE || worker->cause == WEFT_END_TOLD) return "";
    return worker->spawned ? "killed: " : "let go: ";
}

/* --- start */

void wf_pool_watch(wf_pool *self, int fd, const wf_pool_worker *worker) {
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = worker ? worker->number : WF_POOL_NOBODY};
    if (fd >= 0) epoll_ctl(self->epoll_fd, EPOLL_CTL_ADD, fd, &event);
}

void wf_pool_close(wf_pool *self, int *fd) {
    if (*fd < 0) return;
    epoll_ctl(self->epoll_fd, EPOLL_CTL_DEL, *fd, NULL);
    close(*fd);
    *fd = -1;
}

static void open_progress(wf_pool_worker *worker) {
    worker->progress_fd = memfd_create("weft-progress", MFD_CLOEXEC);
    if (worker->progress_fd < 0 || ftruncate(worker->progress_fd, 4096) != 0) return;
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, worker->progress_fd, 0);
    worker->progress = page == MAP_FAILED ? NULL : page;
}

static void close_progress(wf_pool_worker *worker) {
    if (worker->progress) munmap((void *)worker->progress, 4096);
    if (worker->progress_fd >= 0) close(worker->progress_fd);
    worker->progress = NULL;
    worker->progress_fd = -1;
}

static uint64_t backoff_ns(const wf_pool *self, const wf_pool_worker *worker) {
    uint64_t wait_ns = worker->deaths > 1 ? self->options.backoff_ns : 0;
    for (unsigned i = 2; i < worker->deaths && wait_ns < self->options.backoff_max_ns; i++) wait_ns *= 2;
    return wait_ns < self->options.backoff_max_ns ? wait_ns : self->options.backoff_max_ns;
}

static void vacate(wf_pool *self, weft_env *env, wf_pool_worker *worker) {
    close_progress(worker);
    free(worker->topics);
    wf_pool_close(self, &worker->child.stderr_fd);
    wf_pool_close(self, &worker->child.exit_fd);
    wf_pool_close(self, &worker->watch_fd);
    *worker = (wf_pool_worker){.number = worker->number,
                               .spawned = worker->spawned,
                               .generation = worker->generation,
                               .deaths = worker->deaths,
                               .child = {.stderr_fd = -1, .exit_fd = -1},
                               .watch_fd = -1,
                               .progress_fd = -1};
    worker->start_ns = weft_env_now_ns(env) + backoff_ns(self, worker);
}

static void name_worker(wf_pool_worker *worker) {
    worker->generation++;
    snprintf(worker->name, sizeof worker->name, "w-%u-%u", worker->number, worker->generation);
}

/* Another process that never said HELLO, or could not even be started. */
static void note_failed_start(wf_pool *self, weft_env *env) {
    self->failed_starts++;
    if (wf_pool_is_broken(self) && !self->seen.is_held_back)
        weft_env_log(env, WEFT_LOG_ERROR, "no worker comes up: one at a time is tried from now on failed=%u",
                     self->failed_starts);
    self->seen.is_held_back = wf_pool_is_broken(self);
}

static void bury_guard(wf_pool *self, weft_env *env) {
    weft_env_log(env, WEFT_LOG_WARN, "the guard of what workers start has ended: another one is started pid=%d",
                 (int)self->guard.pid);
    epoll_ctl(self->epoll_fd, EPOLL_CTL_DEL, self->guard.fd, NULL); /* see wf_pool_close() */
    wf_guard_close(&self->guard);
    self->guard_ended = false;
}

void wf_pool_keep_guard(wf_pool *self, weft_env *env) {
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = WF_POOL_GUARD};
    if (self->guard_ended) bury_guard(self, env);
    if (self->guard.fd >= 0 || weft_env_now_ns(env) < self->guard_ns) return;
    self->guard_ns = weft_env_now_ns(env) + guard_pause_ns;
    if (wf_guard_open(self->directory, !*self->options.directory, &self->guard) != WEFT_OK) {
        weft_env_log(env, WEFT_LOG_WARN, "no guard for what workers start: it would outlive us reason=\"%s\"",
                     strerror(errno));
        return;
    }
    epoll_ctl(self->epoll_fd, EPOLL_CTL_ADD, self->guard.fd, &event);
    for (uint32_t i = 0; i < self->options.spawned; i++)
        if (self->workers[i].child.pid) wf_guard_add(self->guard.fd, self->workers[i].child.pid);
}

void wf_pool_start(wf_pool *self, weft_env *env, wf_pool_worker *worker) {
    char socket[sizeof self->path + 16], id[96], token[WF_WIRE_TOKEN_BYTES * 2 + 16], progress[32];
    name_worker(worker);
    open_progress(worker);
    if (wf_child_hear_ends())
        weft_env_log(env, WEFT_LOG_INFO, "SIGCHLD was ignored, and has its default now: the ends of workers are heard");
    wf_pool_keep_guard(self, env);
    snprintf(socket, sizeof socket, "WEFT_SOCKET=%s", self->path);
    snprintf(id, sizeof id, "WEFT_WORKER=%s", worker->name);
    snprintf(progress, sizeof progress, "WEFT_PROGRESS_FD=%d", worker->progress ? WF_CHILD_SHARED_FD : -1);
    int bytes = snprintf(token, sizeof token, "WEFT_TOKEN=");
    for (int i = 0; i < WF_WIRE_TOKEN_BYTES; i++)
        bytes += snprintf(token + bytes, sizeof token - (size_t)bytes, "%02x", self->token[i]);
    const char *environment[] = {socket, id, token, progress, NULL};
    wf_child_options child = {.command = self->options.command,
                              .environment = environment,
                              .shared_fd = worker->progress ? worker->progress_fd : -1,
                              .guard_fd = self->guard.fd,
                              .niceness = self->options.niceness,
                              .files_max = self->options.files_max,
                              .memory_max_bytes = self->options.memory_max_bytes};
    weft_status status = wf_child_start(&child, &worker->child);
    int error = errno;
    worker->born_ns = worker->heard_ns = weft_env_now_ns(env);
    if (status != WEFT_OK) {
        weft_env_log(env, WEFT_LOG_ERROR, "worker can't be started worker=%s reason=\"%s\"", worker->name,
                     strerror(error));
        worker->child = (wf_child){.stderr_fd = -1, .exit_fd = -1};
        worker->deaths++;
        note_failed_start(self, env);
        vacate(self, env, worker);
        return;
    }
    worker->pid = worker->child.pid;
    self->seen.starts++;
    worker->state = WEFT_WORKER_STARTING;
    wf_pool_begin_stderr(worker);
    wf_pool_watch(self, worker->child.exit_fd, worker);
    wf_pool_watch(self, worker->child.stderr_fd, worker);
    weft_env_log(env, WEFT_LOG_INFO, "worker started worker=%s pid=%d", worker->name, (int)worker->pid);
}

void wf_pool_bury(wf_pool *self, weft_env *env, wf_pool_worker *worker) {
    if (worker->child.pid) {
        wf_guard_remove(&self->guard, worker->child.pid);
        wf_child_bury(&worker->child);
    }
    vacate(self, env, worker);
}

/* --- end */

void wf_pool_tell(wf_pool *self, weft_env *env, wf_pool_worker *worker, bool up) {
    if (worker->up == up) return;
    worker->up = up;
    wf_worker_up body = {.actor = weft_env_self(env), .worker = worker->number};
    weft_env_send(env, self->options.manager, up ? WF_MSG_WORKER_UP : WF_MSG_WORKER_DOWN, &body, sizeof body);
}

void wf_pool_end(wf_pool *self, weft_env *env, wf_pool_worker *worker, weft_worker_end cause) {
    if (worker->state == WEFT_WORKER_WAITING || worker->state == WEFT_WORKER_ENDING) return;
    wf_pool_tell(self, env, worker, false);
    worker->state = WEFT_WORKER_ENDING;
    worker->cause = cause;
    worker->end_ns = 0;
    self->look_ns = 0;
    if (!worker->spawned)
        worker->exited = true; /* it is not ours to kill, and nobody waits for it */
    else if (worker->child.pid && cause != WEFT_END_EXIT)
        wf_child_signal(&worker->child, SIGKILL);
}

/* The record of this number, counted in the WORK that it came with. */
static wf_record *record_at(const wf_pool_task *task, uint32_t index) {
    if (task->one_by_one) index += task->done; /* each has a WORK of its own */
    if (index < task->done || index >= task->sent) return NULL;
    wf_record *record = task->next;
    for (uint32_t i = task->done; i < index; i++) record = record->next;
    return record;
}

wf_record *wf_pool_running(const wf_pool_worker *worker) {
    if (worker->has_progress) {
        uint64_t word = atomic_load_explicit(worker->progress, memory_order_acquire);
        if ((uint32_t)word == 0) return NULL;
        /* Not always the first task: a report of that one may have died with the worker. */
        for (uint32_t i = 0; i < worker->task_count; i++)
            if (worker->tasks[i].id == word >> 32) return record_at(&worker->tasks[i], (uint32_t)word - 1);
        return NULL;
    }
    uint32_t outstanding = 0;
    for (uint32_t i = 0; i < worker->task_count; i++) outstanding += worker->tasks[i].sent - worker->tasks[i].done;
    return outstanding == 1 ? worker->tasks[0].next : NULL;
}

/* Where the last lines of standard error begin, of which `room` bytes may be shown. */
static size_t begin_of_tail(const wf_pool_worker *worker, size_t end, size_t room) {
    size_t begin = end;
    for (size_t at = end; at-- > 0 && end - at <= room;)
        if (at == 0 || worker->tail[at - 1] == '\n') begin = at;
    if (begin < end || end == 0) return begin;
    begin = end - (end < room ? end : room); /* a line that is longer: its end, from the next character on */
    while (begin < end && ((unsigned char)worker->tail[begin] & 0xc0) == 0x80) begin++;
    return begin;
}

/* How it ended, with the last lines that it wrote to standard error, as many as fit. */
static void describe(const wf_pool_worker *worker, char *text, size_t bytes) {
    char how[64] = "";
    int status = worker->exit_status;
    if (worker->spawned && WIFSIGNALED(status))
        snprintf(how, sizeof how, ", signal %d", WTERMSIG(status));
    else if (worker->spawned && WEXITSTATUS(status) > 128) /* what a shell makes of the signal that ended its child */
        snprintf(how, sizeof how, ", exit status %d as after signal %d", WEXITSTATUS(status),
                 WEXITSTATUS(status) - 128);
    else if (worker->spawned)
        snprintf(how, sizeof how, ", exit status %d", WEXITSTATUS(status));
    size_t count = (size_t)snprintf(text, bytes, "worker %s %s%s%s", worker->name, deed_of(worker),
                                    causes[worker->cause], how);
    size_t end = worker->tail_bytes;
    while (end && worker->tail[end - 1] == '\n') end--;
    size_t begin = begin_of_tail(worker, end, bytes - count - 3);
    char tail[WF_POOL_TAIL_BYTES];
    for (size_t i = begin; i < end; i++) tail[i - begin] = worker->tail[i] == '\n' ? '|' : worker->tail[i];
    if (end > begin) count += (size_t)snprintf(text + count, bytes - count, ": ");
    wf_utf8_clean(text + count, bytes - count, tail, end - begin);
    for (char *c = text; *c; c++)
        if (*c == '"') *c = ' ';
}

/* The records that were not reported run again, in their order; one is charged, where it is certain. */
static void settle(wf_pool *self, weft_env *env, wf_pool_worker *worker, const char *reason) {
    bool charge =
        worker->cause == WEFT_END_EXIT || worker->cause == WEFT_END_GONE || worker->cause == WEFT_END_DEADLINE;
    wf_record *culprit = charge ? wf_pool_running(worker) : NULL;
    /* Without a progress word it may not even have looked at the only record that it had; one that dies twice so is
     * hardly a coincidence. Silence past the deadline speaks for itself. */
    if (!worker->has_progress && worker->cause != WEFT_END_DEADLINE && culprit && !worker->tasks[0].one_by_one)
        culprit = NULL;
    bool suspects = charge && !culprit && !worker->has_progress;
    while (worker->task_count) {
        wf_pool_task *task = &worker->tasks[0];
        for (wf_record *record = task->next; record; record = record->next) {
            record->status = WF_DONE_UNRUN;
            if (suspects) {
                record->flags |= WF_RECORD_SUSPECT;
                self->suspects++;
            }
            if (record != culprit) continue;
            record->status = worker->cause == WEFT_END_DEADLINE ? WF_DONE_TIMEOUT : WF_DONE_FAILURE;
            free(record->reason);
            record->reason = wf_reason_copy(reason);
        }
        task->next = NULL;
        wf_pool_give_back(self, env, worker);
    }
}

static void finish(wf_pool *self, weft_env *env, wf_pool_worker *worker) {
    char reason[256];
    describe(worker, reason, sizeof reason);
    uint64_t lived_ns = weft_env_now_ns(env) - worker->born_ns;
    /* What we ordered says nothing about the worker. */
    bool expected = worker->cause == WEFT_END_TOLD || worker->cause == WEFT_END_FENCED || self->stopping;
    if (worker->spawned && !worker->connected && !expected) note_failed_start(self, env);
    worker->deaths = expected || (worker->connected && lived_ns > healthy_ns) ? 0 : worker->deaths + 1;
    uint32_t held = 0;
    for (uint32_t i = 0; i < worker->task_count; i++) held += worker->tasks[i].slice.count - worker->tasks[i].done;
    self->seen.ends[worker->cause]++;
    weft_env_log(env, expected ? WEFT_LOG_INFO : WEFT_LOG_WARN, "worker ended pid=%d records_held=%u reason=\"%s\"",
                 (int)worker->pid, held, reason);
    settle(self, env, worker, reason);
    vacate(self, env, worker);
}

bool wf_pool_try_finish(wf_pool *self, weft_env *env, wf_pool_worker *worker) {
    uint64_t now_ns = weft_env_now_ns(env);
    if (!worker->exited) return false;
    if (worker->end_ns == 0) worker->end_ns = now_ns + read_out_ns;
    bool read_out = !worker->connected || !wf_pool_say(self, worker, WF_WIRE_PING, 0) || now_ns >= worker->end_ns;
    if (!read_out) return false;
    /* Nobody is connected, so this is all; unless others send so much that it has no end. */
    if (!wf_pool_read(self, env) && now_ns < worker->end_ns) return false;
    if (worker->state == WEFT_WORKER_ENDING) finish(self, env, worker);
    return true;
}

void wf_pool_say_goodbye(wf_pool *self, weft_env *env, wf_pool_worker *worker) {
    wf_pool_tell(self, env, worker, false);
    wf_pool_say(self, worker, WF_WIRE_BYE, 0);
    worker->state = WEFT_WORKER_LEAVING;
    worker->cause = WEFT_END_TOLD;
    worker->bye_ns = weft_env_now_ns(env);
}
