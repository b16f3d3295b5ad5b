/* SPDX-License-Identifier: Apache-2.0
 *
 * Looking after worker processes: exits, heartbeats, deadlines, fences and vacancies.
 */
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>

#include "check.h"
#include "pool.h"

static const uint64_t ms = 1000000;
/* A process that has not said HELLO by then is no worker. */
static const uint64_t hello_ns = 30000000000;
/* From goodbye, or from the end of the work that it still had, to its exit. */
static const uint64_t goodbye_ns = 2000000000;

/* A pidfd is readable when its process has ended. */
static bool has_ended(int watch_fd) {
    struct pollfd fd = {.fd = watch_fd, .events = POLLIN};
    return watch_fd >= 0 && poll(&fd, 1, 0) == 1;
}

/* Why one ended that we did not kill. */
static weft_worker_end cause_of_exit(const wf_pool_worker *worker) {
    if (worker->stage > 1) return WEFT_END_DEADLINE; /* SIGTERM was enough */
    bool fell = worker->task_count && worker->exit_status != 0;
    return worker->state == WEFT_WORKER_LEAVING && !fell ? worker->cause : WEFT_END_EXIT;
}

static void look_at_exit(wf_pool *self, weft_env *env, wf_pool_worker *worker) {
    if (worker->child.pid) {
        pid_t group = worker->child.pid;
        if (!wf_child_reap(&worker->child, &worker->exit_status)) return;
        wf_pool_close(self, &worker->child.exit_fd);
        wf_guard_remove(&self->guard, group);
        wf_pool_end_stderr(self, env, worker);
        wf_pool_end(self, env, worker, cause_of_exit(worker));
        worker->exited = true;
    } else if (!worker->spawned && has_ended(worker->watch_fd)) {
        wf_pool_close(self, &worker->watch_fd);
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
    /* Each step gets its grace from the one before, also when it was us who slept. */
    if (worker->stage ? now_ns - worker->stage_ns < self->options.grace_ns : late_ns < deadline_ns) return;
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
    worker->stage_ns = now_ns;
}

/* Handlers may take long, and nobody hears of their worker meanwhile. */
static bool may_be_silent(const wf_pool_worker *worker) {
    if (worker->task_count == 0 || wf_process_is_stopped(worker->pid)) return false;
    /* With records and outside of any handler, for three heartbeats: it is stuck in something of its own. */
    return !worker->has_progress || atomic_load_explicit(worker->progress, memory_order_acquire) != 0;
}

static void look_at_heartbeat(wf_pool *self, weft_env *env, wf_pool_worker *worker) {
    uint64_t silent_ns = weft_env_now_ns(env) - worker->heard_ns;
    if (!worker->connected) return;
    bool reached = wf_pool_say(self, worker, WF_WIRE_PING, self->ping);
    /* The exit of a spawned one is seen apart, at once; without it, it has closed its connection and lives on. */
    if (!reached && (!worker->spawned || worker->unreachable)) {
        wf_pool_end(self, env, worker, WEFT_END_GONE);
        return;
    }
    worker->unreachable = !reached;
    if (silent_ns >= 3 * self->options.heartbeat_ns && !may_be_silent(worker))
        wf_pool_end(self, env, worker, WEFT_END_SILENT);
}

/* True: nobody holds anything of it. */
static bool look_at_fence(wf_pool *self, weft_env *env, const wf_pool_fence *fence) {
    bool clear = true;
    for (uint32_t i = 0; i < self->worker_count; i++) {
        wf_pool_worker *worker = &self->workers[i];
        if (!wf_pool_holds(worker, &fence->partition)) continue;
        clear = false;
        const wf_record *running = wf_pool_running(worker);
        bool of_it = running && running->slot == fence->partition.slot && running->epoch == fence->partition.epoch;
        if (of_it || weft_env_now_ns(env) >= fence->kill_ns) wf_pool_end(self, env, worker, WEFT_END_FENCED);
    }
    return clear;
}

static void look_at_fences(wf_pool *self, weft_env *env) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < self->fence_count; i++)
        if (!look_at_fence(self, env, &self->fences[i])) self->fences[kept++] = self->fences[i];
    self->fence_count = kept;
}

/* Of those who are told to end, one that has nothing to do and does not end, or is too long at what it has: the others
 * wait for their turn. What an attached one runs nobody could stop. */
static void look_at_leaving(wf_pool *self, weft_env *env, wf_pool_worker *worker) {
    uint64_t now_ns = weft_env_now_ns(env);
    bool has_work = worker->task_count && worker->tasks[0].sent > worker->tasks[0].done;
    if (has_work && worker->spawned && now_ns - worker->bye_ns >= self->options.leave_ns) {
        weft_env_log(env, WEFT_LOG_WARN,
                     "worker is killed: its records take longer than drain.timeout.ms worker=%s pid=%d", worker->name,
                     (int)worker->pid);
        wf_pool_end(self, env, worker, WEFT_END_TOLD);
    } else if (has_work || worker->leave_ns == 0)
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

/* While no worker comes up, the first vacant place tries alone, with its pauses; who comes up lets all others start. */
static bool may_start(const wf_pool *self, const wf_pool_worker *worker) {
    if (!wf_pool_is_broken(self)) return true;
    for (uint32_t i = 0; i < self->options.spawned; i++) {
        const wf_pool_worker *other = &self->workers[i];
        if (other->state == WEFT_WORKER_STARTING) return false;
        if (other->state == WEFT_WORKER_WAITING) return other == worker;
    }
    return true;
}

/* One worker; returns when it wants to be looked at again. */
static uint64_t look_at_worker(wf_pool *self, weft_env *env, wf_pool_worker *worker, bool tick) {
    uint64_t now_ns = weft_env_now_ns(env);
    if (worker->state == WEFT_WORKER_WAITING) {
        if (!worker->spawned || self->stopping || !may_start(self, worker)) return UINT64_MAX;
        if (worker->start_ns > now_ns) return worker->start_ns;
        wf_pool_start(self, env, worker);
        return worker->state == WEFT_WORKER_WAITING ? worker->start_ns : UINT64_MAX;
    }
    if (worker->stirred || tick) {
        worker->stirred = false;
        wf_pool_read_stderr(self, env, worker);
        look_at_exit(self, env, worker);
    }
    if (worker->state == WEFT_WORKER_ENDING) return wf_pool_try_finish(self, env, worker) ? now_ns : now_ns + ms;
    if (self->stopping && now_ns >= self->stop_ns) wf_pool_end(self, env, worker, WEFT_END_TOLD);
    if (worker->state == WEFT_WORKER_STARTING && now_ns - worker->born_ns > hello_ns)
        wf_pool_end(self, env, worker, WEFT_END_SILENT);
    if (tick) look_at_heartbeat(self, env, worker);
    if (worker->state == WEFT_WORKER_LEAVING) look_at_leaving(self, env, worker);
    if (self->options.deadline_ns && worker->connected) look_at_deadline(self, env, worker);
    if (worker->state == WEFT_WORKER_ENDING) return now_ns + ms;
    return worker->state == WEFT_WORKER_LEAVING ? now_ns + 100 * ms : UINT64_MAX;
}

/* Returns when it wants to be looked at again. The first one comes with a worker, or a socket that has a file. */
static uint64_t look_at_guard(wf_pool *self, weft_env *env) {
    if (self->guard_ns && (self->guard_ended || self->guard.fd < 0)) wf_pool_keep_guard(self, env);
    return self->guard_ns && self->guard.fd < 0 ? self->guard_ns : UINT64_MAX;
}

/* One system call per turn, however many workers there are. */
static bool hear_descriptors(wf_pool *self) {
    struct epoll_event events[32];
    int count = epoll_wait(self->epoll_fd, events, 32, 0);
    bool any = false;
    for (int i = 0; i < count; i++) {
        if (events[i].data.u64 == WF_POOL_NOBODY) continue;
        if (events[i].data.u64 == WF_POOL_GUARD) {
            self->guard_ended = any = true;
            continue;
        }
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
    next_ns = earlier(next_ns, look_at_guard(self, env));
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
