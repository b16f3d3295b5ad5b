/* SPDX-License-Identifier: Apache-2.0
 *
 * How worker processes start, are watched, and end; and what becomes of the records that a dead one held.
 */
#include <errno.h>
#include <poll.h>
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

static const uint64_t ms = 1000000;

/* A worker that lived so long has shown that it works: its death is not one of a series. */
static const uint64_t healthy_ns = 10000000000;
/* A process that has not said HELLO by then is no worker. */
static const uint64_t hello_ns = 30000000000;
/* From goodbye, or from the end of the work that it still had, to its exit. */
static const uint64_t goodbye_ns = 2000000000;
/* ZeroMQ notices the end of a connection in less than a millisecond; what is said after so long is not waited for. */
static const uint64_t read_out_ns = 500000000;

static const char *const causes[] = {
    [WEFT_END_EXIT] = "ended by itself",
    [WEFT_END_GONE] = "not connected any more",
    [WEFT_END_DEADLINE] = "killed: its handler was past handler.deadline.ms",
    [WEFT_END_SILENT] = "killed: stopped, or no heartbeat",
    [WEFT_END_HOSTILE] = "killed: it broke the worker protocol",
    [WEFT_END_FENCED] = "killed: its partition had to go",
    [WEFT_END_TOLD] = "was told to end",
};

/* --- start */

static const uint64_t nobody = UINT64_MAX;

void wf_pool_watch(wf_pool *self, int fd, const wf_pool_worker *worker) {
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = worker ? worker->number : nobody};
    if (fd >= 0) epoll_ctl(self->epoll_fd, EPOLL_CTL_ADD, fd, &event);
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
    if (worker->child.stderr_fd >= 0) close(worker->child.stderr_fd);
    if (worker->watch_fd >= 0) close(worker->watch_fd);
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

void wf_pool_start(wf_pool *self, weft_env *env, wf_pool_worker *worker) {
    char socket[sizeof self->path + 16], id[96], token[WF_WIRE_TOKEN_BYTES * 2 + 16], progress[32];
    name_worker(worker);
    open_progress(worker);
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
                              .niceness = self->options.niceness,
                              .memory_max_bytes = self->options.memory_max_bytes};
    weft_status status = wf_child_start(&child, &worker->child);
    int error = errno;
    worker->born_ns = worker->heard_ns = weft_env_now_ns(env);
    if (status != WEFT_OK) {
        weft_env_log(env, WEFT_LOG_ERROR, "worker can't be started worker=%s reason=\"%s\"", worker->name,
                     strerror(error));
        worker->child = (wf_child){.stderr_fd = -1, .exit_fd = -1};
        worker->deaths++;
        vacate(self, env, worker);
        return;
    }
    worker->pid = worker->child.pid;
    self->seen.starts++;
    worker->state = WEFT_WORKER_STARTING;
    wf_pool_watch(self, worker->child.exit_fd, worker);
    wf_pool_watch(self, worker->child.stderr_fd, worker);
    weft_env_log(env, WEFT_LOG_INFO, "worker started worker=%s pid=%d", worker->name, (int)worker->pid);
}

void wf_pool_bury(wf_pool *self, weft_env *env, wf_pool_worker *worker) {
    if (worker->child.pid) wf_child_bury(&worker->child);
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

/* How it ended, with the last line that it wrote to standard error. */
static void describe(const wf_pool_worker *worker, char *text, size_t bytes) {
    char how[64] = "";
    if (worker->spawned && WIFSIGNALED(worker->exit_status))
        snprintf(how, sizeof how, ", signal %d", WTERMSIG(worker->exit_status));
    else if (worker->spawned)
        snprintf(how, sizeof how, ", exit status %d", WEXITSTATUS(worker->exit_status));
    size_t end = worker->tail_bytes;
    while (end && worker->tail[end - 1] == '\n') end--;
    size_t begin = end;
    while (begin && worker->tail[begin - 1] != '\n') begin--;
    snprintf(text, bytes, "worker %s %s%s%s%.*s", worker->name, causes[worker->cause], how, end > begin ? ": " : "",
             (int)(end - begin), worker->tail + begin);
    for (char *c = text; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == '"') *c = ' ';
}

/* The records that were not reported run again, in their order; one is charged, where it is certain. */
static void settle(wf_pool *self, weft_env *env, wf_pool_worker *worker, const char *reason) {
    bool charge =
        worker->cause == WEFT_END_EXIT || worker->cause == WEFT_END_GONE || worker->cause == WEFT_END_DEADLINE;
    wf_record *culprit = charge ? wf_pool_running(worker) : NULL;
    bool suspects = charge && !culprit && !worker->has_progress;
    while (worker->task_count) {
        wf_pool_task *task = &worker->tasks[0];
        for (wf_record *record = task->next; record; record = record->next) {
            record->status = WF_DONE_UNRUN;
            if (suspects) record->flags |= WF_RECORD_SUSPECT;
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
    bool expected = worker->cause == WEFT_END_TOLD || self->stopping;
    worker->deaths = expected || (worker->connected && lived_ns > healthy_ns) ? 0 : worker->deaths + 1;
    uint32_t held = 0;
    for (uint32_t i = 0; i < worker->task_count; i++) held += worker->tasks[i].slice.count - worker->tasks[i].done;
    self->seen.ends[worker->cause]++;
    weft_env_log(env, expected ? WEFT_LOG_INFO : WEFT_LOG_WARN, "worker ended pid=%d records_held=%u reason=\"%s\"",
                 (int)worker->pid, held, reason);
    settle(self, env, worker, reason);
    vacate(self, env, worker);
}

/* Invariant 3. True: it is over. */
static bool try_finish(wf_pool *self, weft_env *env, wf_pool_worker *worker) {
    uint64_t now_ns = weft_env_now_ns(env);
    if (!worker->exited) return false;
    if (worker->end_ns == 0) worker->end_ns = now_ns + read_out_ns;
    bool read_out = !worker->connected || !wf_pool_say(self, worker, WF_WIRE_PING, 0) || now_ns >= worker->end_ns;
    if (!read_out) return false;
    wf_pool_read(self, env); /* nobody is connected, so this is all */
    if (worker->state == WEFT_WORKER_ENDING) finish(self, env, worker);
    return true;
}

void wf_pool_say_goodbye(wf_pool *self, weft_env *env, wf_pool_worker *worker) {
    wf_pool_tell(self, env, worker, false);
    wf_pool_say(self, worker, WF_WIRE_BYE, 0);
    worker->state = WEFT_WORKER_LEAVING;
    worker->cause = WEFT_END_TOLD;
}

/* --- looking */

static void read_stderr(weft_env *env, wf_pool_worker *worker) {
    char text[512];
    ssize_t bytes;
    while (worker->child.stderr_fd >= 0 && (bytes = read(worker->child.stderr_fd, text, sizeof text)) != 0) {
        if (bytes < 0) return;
        size_t count = (size_t)bytes, keep = worker->tail_bytes;
        if (keep + count > sizeof worker->tail) keep = count < sizeof worker->tail ? sizeof worker->tail - count : 0;
        memmove(worker->tail, worker->tail + worker->tail_bytes - keep, keep);
        memcpy(worker->tail + keep, text, count);
        worker->tail_bytes = keep + count;
        for (char *line = text, *end = text + count; line < end;) {
            char *stop = memchr(line, '\n', (size_t)(end - line));
            size_t length = (size_t)((stop ? stop : end) - line);
            for (size_t i = 0; i < length; i++)
                if ((unsigned char)line[i] < 0x20 || line[i] == '"') line[i] = ' ';
            if (length)
                weft_env_log(env, WEFT_LOG_INFO, "worker stderr worker=%s text=\"%.*s\"", worker->name, (int)length,
                             line);
            line += length + 1;
        }
    }
    if (worker->child.stderr_fd >= 0) close(worker->child.stderr_fd);
    worker->child.stderr_fd = -1;
}

/* A pidfd is readable when its process has ended. */
static bool has_ended(int watch_fd) {
    struct pollfd fd = {.fd = watch_fd, .events = POLLIN};
    return watch_fd >= 0 && poll(&fd, 1, 0) == 1;
}

static void look_at_exit(weft_env *env, wf_pool *self, wf_pool_worker *worker) {
    if (worker->child.pid) {
        if (!wf_child_reap(&worker->child, &worker->exit_status)) return;
        worker->exited = true;
        read_stderr(env, worker);
        weft_worker_end cause = worker->stage > 1 ? WEFT_END_DEADLINE : WEFT_END_EXIT; /* SIGTERM was enough */
        wf_pool_end(self, env, worker, worker->state == WEFT_WORKER_LEAVING ? worker->cause : cause);
        worker->exited = true;
    } else if (!worker->spawned && has_ended(worker->watch_fd)) {
        close(worker->watch_fd);
        worker->watch_fd = -1;
        wf_pool_end(self, env, worker, WEFT_END_GONE);
    }
}

/* Stages of a deadline: a word, SIGTERM, SIGKILL. */
static void look_at_deadline(wf_pool *self, weft_env *env, wf_pool_worker *worker) {
    uint64_t now_ns = weft_env_now_ns(env), word = 0, factor = 1;
    if (worker->task_count == 0) return;
    const wf_pool_task *task = &worker->tasks[0];
    if (worker->has_progress)
        word = atomic_load_explicit(worker->progress, memory_order_acquire);
    else
        factor = task->sent > task->done ? task->sent - task->done : 1; /* one of them was too long, who knows which */
    if (word != worker->seen_word || (worker->has_progress && word == 0)) {
        worker->seen_word = word;
        worker->seen_ns = now_ns;
        worker->stage = 0;
        return;
    }
    uint64_t late_ns = now_ns - worker->seen_ns, deadline_ns = self->options.deadline_ns * factor;
    if (late_ns < deadline_ns + worker->stage * self->options.grace_ns) return;
    static const char *const steps[] = {"told to cancel", "SIGTERM", "SIGKILL"};
    if (worker->stage < 3)
        weft_env_log(env, WEFT_LOG_WARN, "handler past its deadline worker=%s pid=%d offset=%lld ms=%llu step=\"%s\"",
                     worker->name, (int)worker->pid, (long long)task->next->offset, (unsigned long long)(late_ns / ms),
                     steps[worker->stage]);
    if (worker->stage == 0)
        wf_pool_say(self, worker, WF_WIRE_CANCEL, task->id);
    else if (worker->stage == 1 && worker->spawned)
        wf_child_signal(&worker->child, SIGTERM);
    else if (worker->stage == 2)
        wf_pool_end(self, env, worker, WEFT_END_DEADLINE);
    worker->stage++;
}

/* A worker at its work may be silent as long as its handler takes; a stopped one is found all the same. */
static void look_at_heartbeat(wf_pool *self, weft_env *env, wf_pool_worker *worker) {
    uint64_t silent_ns = weft_env_now_ns(env) - worker->heard_ns;
    if (!worker->connected) return;
    if (!wf_pool_say(self, worker, WF_WIRE_PING, self->ping) && !worker->spawned) {
        wf_pool_end(self, env, worker, WEFT_END_GONE);
        return;
    }
    if (silent_ns < 3 * self->options.heartbeat_ns) return;
    if (worker->task_count == 0 || wf_process_is_stopped(worker->pid)) wf_pool_end(self, env, worker, WEFT_END_SILENT);
}

static bool holds(const wf_pool_worker *worker, const wf_partition *partition) {
    for (uint32_t i = 0; i < worker->task_count; i++)
        for (const wf_record *record = worker->tasks[i].next; record; record = record->next)
            if (record->slot == partition->slot && record->epoch == partition->epoch) return true;
    return false;
}

/* True: nobody holds anything of it. */
static bool look_at_fence(wf_pool *self, weft_env *env, const wf_pool_fence *fence) {
    bool clear = true;
    for (uint32_t i = 0; i < self->worker_count; i++) {
        wf_pool_worker *worker = &self->workers[i];
        if (!holds(worker, &fence->partition)) continue;
        clear = false;
        const wf_record *running = wf_pool_running(worker);
        bool of_it = running && running->slot == fence->partition.slot && running->epoch == fence->partition.epoch;
        if (of_it || !worker->has_progress || weft_env_now_ns(env) >= fence->kill_ns)
            wf_pool_end(self, env, worker, WEFT_END_FENCED);
    }
    return clear;
}

static void look_at_fences(wf_pool *self, weft_env *env) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < self->fence_count; i++)
        if (!look_at_fence(self, env, &self->fences[i])) self->fences[kept++] = self->fences[i];
    self->fence_count = kept;
}

/* Of those who are told to end, one that has nothing to do and does not end. */
static void look_at_leaving(wf_pool *self, weft_env *env, wf_pool_worker *worker) {
    uint64_t now_ns = weft_env_now_ns(env);
    bool has_work = worker->task_count && worker->tasks[0].sent > worker->tasks[0].done;
    if (has_work || worker->leave_ns == 0)
        worker->leave_ns = now_ns;
    else if (now_ns - worker->leave_ns >= goodbye_ns)
        wf_pool_end(self, env, worker, WEFT_END_TOLD);
}

/* Rolling restart: the next one goes when all others are ready. */
static void look_at_stale(wf_pool *self, weft_env *env) {
    wf_pool_worker *next = NULL;
    for (uint32_t i = 0; i < self->options.spawned; i++) {
        wf_pool_worker *worker = &self->workers[i];
        if (worker->state != WEFT_WORKER_READY) return;
        if (worker->stale && !next) next = worker;
    }
    if (next) wf_pool_say_goodbye(self, env, next);
}

static uint64_t earlier(uint64_t one, uint64_t other) {
    return one < other ? one : other;
}

/* One worker; returns when it wants to be looked at again. */
static uint64_t look_at_worker(wf_pool *self, weft_env *env, wf_pool_worker *worker, bool tick) {
    uint64_t now_ns = weft_env_now_ns(env);
    if (worker->state == WEFT_WORKER_WAITING) {
        if (!worker->spawned || self->stopping) return UINT64_MAX;
        if (worker->start_ns > now_ns) return worker->start_ns;
        wf_pool_start(self, env, worker);
        return worker->state == WEFT_WORKER_WAITING ? worker->start_ns : UINT64_MAX;
    }
    if (worker->stirred || tick) {
        worker->stirred = false;
        read_stderr(env, worker);
        look_at_exit(env, self, worker);
    }
    if (worker->state == WEFT_WORKER_ENDING) return try_finish(self, env, worker) ? now_ns : now_ns + ms;
    if (self->stopping && now_ns >= self->stop_ns) wf_pool_end(self, env, worker, WEFT_END_TOLD);
    if (worker->state == WEFT_WORKER_STARTING && now_ns - worker->born_ns > hello_ns)
        wf_pool_end(self, env, worker, WEFT_END_SILENT);
    if (tick) look_at_heartbeat(self, env, worker);
    if (worker->state == WEFT_WORKER_LEAVING) look_at_leaving(self, env, worker);
    if (self->options.deadline_ns && worker->connected) look_at_deadline(self, env, worker);
    if (worker->state == WEFT_WORKER_ENDING) return now_ns + ms;
    return worker->state == WEFT_WORKER_LEAVING ? now_ns + 100 * ms : UINT64_MAX;
}

/* One system call per turn, however many workers there are. */
static bool hear_descriptors(wf_pool *self) {
    struct epoll_event events[32];
    int count = epoll_wait(self->epoll_fd, events, 32, 0);
    bool any = false;
    for (int i = 0; i < count; i++) {
        if (events[i].data.u64 == nobody) continue;
        self->workers[events[i].data.u64].stirred = any = true;
    }
    return any;
}

void wf_pool_look(wf_pool *self, weft_env *env) {
    uint64_t now_ns = weft_env_now_ns(env), next_ns = UINT64_MAX;
    if (!hear_descriptors(self) && now_ns < self->look_ns) return;
    self->look_ns = UINT64_MAX; /* whoever is ended meanwhile brings it forward */
    bool tick = now_ns - self->tick_ns >= self->options.heartbeat_ns;
    if (tick && now_ns - self->tick_ns > 2 * self->options.heartbeat_ns) /* it was us who slept */
        for (uint32_t i = 0; i < self->worker_count; i++) self->workers[i].heard_ns = now_ns;
    if (tick) {
        self->tick_ns = self->ping_ns = now_ns;
        self->ping++;
    }
    look_at_fences(self, env);
    if (!self->stopping) look_at_stale(self, env);
    for (uint32_t i = 0; i < self->worker_count; i++)
        next_ns = earlier(next_ns, look_at_worker(self, env, &self->workers[i], tick));
    next_ns = earlier(next_ns, self->tick_ns + self->options.heartbeat_ns);
    if (self->fence_count) next_ns = earlier(next_ns, now_ns + ms);
    if (self->stopping) next_ns = earlier(next_ns, now_ns + 10 * ms);
    if (self->options.deadline_ns) {
        uint64_t period_ns = self->options.deadline_ns / 8;
        next_ns = earlier(next_ns, now_ns + (period_ns < ms ? ms : period_ns));
    }
    self->look_ns = earlier(self->look_ns, next_ns);
}
