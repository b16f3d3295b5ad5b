/* SPDX-License-Identifier: Apache-2.0
 *
 * The process engine's messages, descriptors and life.
 */
#include "process_engine.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "env.h"
#include "pool.h"
#include "process.h"

enum { TIMER_LOOK = 0, WATCH_ALL = 0, DIRECTORY_MAX = WF_PEERS_PATH_MAX - 10 /* bytes: "/workers" stands behind it */ };

/* How long a worker that was told not to begin more records of a fenced partition may take to say so. */
static const uint64_t fence_grace_ns = 500000000;
/* What a worker may take to end after BYE, and so may the stop take longer than asked. */
static const uint64_t goodbye_ns = 2000000000;

/* --- messages */

/* Is one among them? They are none any more: if one kills again, it is charged. */
static bool take_suspects(wf_pool *self, wf_record *head) {
    bool any = false;
    for (wf_record *record = head; record; record = record->next) {
        if (!(record->flags & WF_RECORD_SUSPECT)) continue;
        record->flags &= (uint8_t)~WF_RECORD_SUSPECT;
        self->suspects--;
        any = true;
    }
    return any;
}

static void on_work(void *state, weft_env *env, const weft_message *message) {
    wf_pool *self = state;
    const wf_slice *slice = message->body;
    WF_CHECK(message->body_bytes == sizeof *slice && slice->number < self->worker_count);
    wf_pool_worker *worker = &self->workers[slice->number];
    if (!worker->connected) { /* it was sent before WORKER_DOWN was heard */
        for (wf_record *record = slice->head; record; record = record->next) record->status = WF_DONE_UNRUN;
        weft_env_send(env, self->options.manager, WF_MSG_DONE, slice, sizeof *slice);
        return;
    }
    WF_CHECK(worker->task_count < WF_SLICES_MAX);
    wf_pool_task *task = &worker->tasks[worker->task_count++];
    if (++self->last_task == 0) self->last_task = 1;
    *task = (wf_pool_task){.slice = *slice, .id = self->last_task, .next = slice->head, .unsent = slice->head};
    if (self->suspects) task->one_by_one = take_suspects(self, slice->head);
    if (worker->task_count == 1) {
        worker->seen_word = 0;
        worker->seen_ns = weft_env_now_ns(env);
    }
    wf_pool_pump(self, env, worker);
}

static bool task_holds(const wf_pool_task *task, const wf_partition *partition) {
    for (const wf_record *record = task->next; record; record = record->next)
        if (record->slot == partition->slot && record->epoch == partition->epoch) return true;
    return false;
}

bool wf_pool_holds(const wf_pool_worker *worker, const wf_partition *partition) {
    for (uint32_t i = 0; i < worker->task_count; i++)
        if (task_holds(&worker->tasks[i], partition)) return true;
    return false;
}

static void cancel_held(wf_pool *self, weft_env *env, wf_pool_worker *worker, const wf_partition *partition) {
    for (uint32_t i = 0; i < worker->task_count; i++) {
        wf_pool_task *task = &worker->tasks[i];
        if (!task_holds(task, partition)) continue;
        task->cancelled = true;
        if (task->sent > task->done) wf_pool_say(self, worker, WF_WIRE_CANCEL, task->id);
    }
    wf_pool_pump(self, env, worker);
}

/* Nothing of this partition may run when it is gone: who is not at such a record gives the others back, who is dies. */
static void on_fence(void *state, weft_env *env, const weft_message *message) {
    wf_pool *self = state;
    const wf_partition *partition = message->body;
    if (self->fence_count == self->fence_room) {
        self->fence_room = self->fence_room ? 2 * self->fence_room : 16;
        self->fences = realloc(self->fences, self->fence_room * sizeof *self->fences);
        WF_CHECK(self->fences != NULL);
    }
    self->look_ns = 0;
    self->fences[self->fence_count++] =
        (wf_pool_fence){.partition = *partition, .kill_ns = weft_env_now_ns(env) + fence_grace_ns};
    for (uint32_t i = 0; i < self->worker_count; i++) cancel_held(self, env, &self->workers[i], partition);
}

static void on_roll(void *state, weft_env *env, const weft_message *message) {
    wf_pool *self = state;
    const wf_roll *roll = message->body;
    uint32_t count = 0;
    if (roll->command) {
        free(self->command);
        self->command = roll->command;
        self->options.command = roll->command;
        self->options.memory_max_bytes = roll->memory_max_bytes;
        self->options.niceness = roll->niceness;
    }
    for (uint32_t i = 0; i < self->options.spawned; i++) {
        wf_pool_worker *worker = &self->workers[i];
        worker->stale = worker->state != WEFT_WORKER_WAITING;
        worker->deaths = 0; /* of the old command: a new one may try at once */
        worker->start_ns = 0;
        count += worker->stale;
    }
    self->look_ns = 0;
    self->failed_starts = 0;
    self->seen.is_held_back = false;
    weft_env_log(env, WEFT_LOG_INFO, "rolling restart workers=%u", count);
}

static void describe(const wf_pool_worker *worker, uint64_t now_ns, weft_worker_metrics *seen) {
    *seen = (weft_worker_metrics){.number = worker->number,
                                  .state = worker->state,
                                  .is_spawned = worker->spawned,
                                  .starts = worker->generation,
                                  .pid = worker->state == WEFT_WORKER_WAITING ? 0 : worker->pid};
    if (worker->state != WEFT_WORKER_WAITING) seen->age_seconds = (double)(now_ns - worker->born_ns) / 1e9;
    for (uint32_t k = 0; k < worker->task_count; k++)
        seen->records_held += worker->tasks[k].slice.count - worker->tasks[k].done;
    snprintf(seen->name, sizeof seen->name, "%.*s", (int)sizeof seen->name - 1, worker->name);
}

static void on_gauges_ask(void *state, weft_env *env, const weft_message *message) {
    wf_pool *self = state;
    wf_gauges_end end = {.ticket = ((const wf_ask *)message->body)->ticket, .owner = WF_GAUGES_ENGINE};
    wf_worker_seen *workers = calloc(self->worker_count, sizeof *workers);
    WF_CHECK(workers != NULL);
    size_t count = 0;
    end.metrics.pool = self->seen;
    for (uint32_t i = 0; i < self->worker_count; i++) {
        const wf_pool_worker *worker = &self->workers[i];
        if (!worker->spawned && worker->state == WEFT_WORKER_WAITING) continue; /* a place where nobody is */
        describe(worker, weft_env_now_ns(env), &workers[count]);
        end.metrics.pool.by_state[worker->state]++;
        end.metrics.pool.records_held += workers[count++].records_held;
    }
    if (count) weft_env_send(env, message->from, WF_MSG_WORKERS, workers, count * sizeof *workers);
    free(workers);
    weft_env_send(env, message->from, WF_MSG_GAUGES_END, &end, sizeof end);
}

static bool on_turn(void *state, weft_env *env) {
    wf_pool *self = state;
    bool all = wf_pool_read(self, env);
    wf_pool_look(self, env);
    /* ZeroMQ's descriptor tells of news once: none may be left without another turn. */
    all = all && wf_pool_read(self, env);
    weft_env_arm(env, TIMER_LOOK, self->look_ns);
    return !all;
}

/* --- life */

static weft_status fail(const wf_pool *self, weft_status status, const char *what, const char *value) {
    snprintf(self->options.error, self->options.error_bytes, "%s %s: %s", what, value, strerror(errno));
    return status;
}

/* The directory that the user names: ours alone, and held by this consumer as long as it lives. The lock goes with the
 * descriptor, so whoever was killed holds none. That it is held by another is the only reason against it that goes by
 * itself: all others are mistakes of the configuration. */
static weft_status take_directory(wf_pool *self) {
    const char *directory = self->options.directory;
    struct stat info;
    if (strlen(directory) > DIRECTORY_MAX) {
        errno = ENAMETOOLONG;
        return fail(self, WEFT_ECONFIG, "worker.directory", directory);
    }
    if (mkdir(directory, 0700) != 0 && errno != EEXIST) return fail(self, WEFT_ECONFIG, "worker.directory", directory);
    self->directory_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (self->directory_fd < 0 || fstat(self->directory_fd, &info) != 0)
        return fail(self, WEFT_ECONFIG, "worker.directory", directory);
    if (info.st_uid != geteuid() || (info.st_mode & 0777) != 0700) {
        errno = EPERM; /* whoever may write there could put a socket of his own in our place; we have to */
        return fail(self, WEFT_ECONFIG, "worker.directory must be ours, with mode 0700:", directory);
    }
    /* Two would take the socket from each other. Where there are no locks, nobody can know. */
    if (flock(self->directory_fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        return fail(self, WEFT_ESYSTEM, "worker.directory is another consumer's:", directory);
    snprintf(self->directory, sizeof self->directory, "%s", directory);
    return WEFT_OK;
}

/* One of our own, of a random name. */
static weft_status make_directory(wf_pool *self) {
    static const char ending[] = "/weft-XXXXXX";
    const char *base = getenv("XDG_RUNTIME_DIR");
    if (!base || !*base) base = "/tmp";
    if (strlen(base) + strlen(ending) > DIRECTORY_MAX) {
        errno = ENAMETOOLONG;
        return fail(self, WEFT_ESYSTEM, "no socket can lie below XDG_RUNTIME_DIR, see worker.directory:", base);
    }
    snprintf(self->directory, sizeof self->directory, "%s%s", base, ending);
    return mkdtemp(self->directory) ? WEFT_OK : fail(self, WEFT_ESYSTEM, "no directory", self->directory);
}

/* Where the socket lies: a name without a file for processes that are told of it, a private directory for others. */
static weft_status choose_path(wf_pool *self) {
    uint64_t random = 0;
    if (getrandom(self->token, sizeof self->token, 0) != (ssize_t)sizeof self->token ||
        getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random)
        return fail(self, WEFT_ESYSTEM, "the system gives no", "random numbers");
    if (self->options.attached_max == 0) {
        snprintf(self->path, sizeof self->path, "@weft-%d-%016llx", (int)getpid(), (unsigned long long)random);
        return WEFT_OK;
    }
    if (*self->options.directory) {
        weft_status status = take_directory(self);
        if (status != WEFT_OK) return status;
    } else {
        weft_status status = make_directory(self);
        if (status != WEFT_OK) return status;
    }
    snprintf(self->path, sizeof self->path, "%.*s/workers", DIRECTORY_MAX, self->directory);
    snprintf(self->token_path, sizeof self->token_path, "%.*s/token", DIRECTORY_MAX, self->directory);
    return WEFT_OK;
}

/* What the place does not allow is a mistake of whoever chose it. */
static weft_status blame(const wf_pool *self, weft_status status) {
    bool chosen = *self->options.directory && *self->token_path;
    return chosen && status == WEFT_ESYSTEM ? WEFT_ECONFIG : status;
}

static weft_status open_socket(wf_pool *self) {
    size_t count = self->options.user_count;
    uid_t *users = calloc(count + 1, sizeof *users);
    if (!users) return WEFT_ENOMEM;
    weft_status status = WEFT_OK;
    for (size_t i = 0; i < count && status == WEFT_OK; i++)
        if (!wf_user_find(self->options.users[i], &users[i]))
            errno = EINVAL, status = fail(self, WEFT_ECONFIG, "worker.users: no such user", self->options.users[i]);
    if (status == WEFT_OK && wf_peers_open(self->path, WF_WIRE_READ_MAX, users, count, &self->peers) != WEFT_OK)
        status = fail(self, blame(self, WEFT_ESYSTEM), "no socket for workers at", self->path);
    free(users);
    return status;
}

static weft_status write_token(wf_pool *self) {
    if (!*self->token_path) return WEFT_OK;
    char text[WF_WIRE_TOKEN_BYTES * 2 + 2];
    for (int i = 0; i < WF_WIRE_TOKEN_BYTES; i++) snprintf(text + 2 * i, 3, "%02x", self->token[i]);
    text[sizeof text - 2] = '\n';
    unlink(self->token_path);
    int fd = open(self->token_path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
    bool written = fd >= 0 && write(fd, text, sizeof text - 1) == (ssize_t)sizeof text - 1;
    if (fd >= 0) close(fd);
    return written ? WEFT_OK : fail(self, blame(self, WEFT_ESYSTEM), "can't write", self->token_path);
}

static void clean_up(wf_pool *self) {
    wf_peers_close(&self->peers);
    if (*self->token_path) {
        unlink(self->token_path);
        unlink(self->path);
        if (!*self->options.directory) rmdir(self->directory);
    }
    if (self->directory_fd >= 0) close(self->directory_fd);
    if (self->epoll_fd >= 0) close(self->epoll_fd);
    wf_guard_close(&self->guard);
    free(self->workers);
    free(self->command);
    free(self->fences);
}

static weft_status init(void *state, weft_env *env, const void *argument) {
    (void)env;
    wf_pool *self = state;
    self->options = *(const wf_process_engine_options *)argument;
    self->worker_count = self->options.spawned + self->options.attached_max;
    self->seen = (weft_pool_metrics){.is_used = true, .wanted = self->options.spawned};
    self->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    self->guard.fd = self->directory_fd = -1;
    self->workers = calloc(self->worker_count, sizeof *self->workers);
    weft_status status = self->workers && self->epoll_fd >= 0 ? choose_path(self) : WEFT_ENOMEM;
    if (status == WEFT_OK) status = open_socket(self);
    if (status == WEFT_OK) status = write_token(self);
    if (status != WEFT_OK) {
        clean_up(self);
        return status;
    }
    for (uint32_t i = 0; i < self->worker_count; i++)
        self->workers[i] = (wf_pool_worker){.number = i,
                                            .spawned = i < self->options.spawned,
                                            .child = {.stderr_fd = -1, .exit_fd = -1},
                                            .watch_fd = -1,
                                            .progress_fd = -1};
    wf_pool_watch(self, wf_peers_fd(self->peers), NULL);
    return WEFT_OK;
}

static void on_start(void *state, weft_env *env) {
    wf_pool *self = state;
    self->tick_ns = weft_env_now_ns(env);
    weft_env_watch(env, WATCH_ALL, self->epoll_fd);
    if (*self->token_path) wf_pool_keep_guard(self, env); /* it removes what we made */
    if (*self->token_path)
        weft_env_log(env, WEFT_LOG_INFO, "workers may attach socket=%s token_file=%s", self->path, self->token_path);
}

static void on_timer(void *state, weft_env *env, unsigned timer) {
    (void)state, (void)env, (void)timer; /* a turn follows, and that looks at everything */
}

static void on_stop(void *state, weft_env *env, uint64_t deadline_ns) {
    wf_pool *self = state;
    bool late = weft_env_now_ns(env) >= deadline_ns;
    self->stopping = true;
    self->look_ns = 0;
    self->stop_ns = weft_env_now_ns(env) + goodbye_ns;
    for (uint32_t i = 0; i < self->worker_count; i++) {
        wf_pool_worker *worker = &self->workers[i];
        if (worker->state == WEFT_WORKER_STARTING || (late && worker->task_count))
            wf_pool_end(self, env, worker, WEFT_END_TOLD);
        if (worker->state != WEFT_WORKER_READY) continue;
        wf_pool_say_goodbye(self, env, worker);
    }
}

static bool is_drained(const void *state) {
    const wf_pool *self = state;
    for (uint32_t i = 0; i < self->worker_count; i++)
        if (self->workers[i].state != WEFT_WORKER_WAITING) return false;
    return true;
}

/* Whoever is left here was started and could not be waited for: the stop was not orderly. */
static void deinit(void *state, weft_env *env) {
    wf_pool *self = state;
    for (uint32_t i = 0; i < self->worker_count; i++) wf_pool_bury(self, env, &self->workers[i]);
    clean_up(self);
}

const weft_actor_class wf_process_engine = {
    .name = "process_engine",
    .state_bytes = sizeof(wf_pool),
    .init = init,
    .on_start = on_start,
    .on = {[WF_MSG_WORK] = on_work,
           [WF_MSG_FENCE] = on_fence,
           [WF_MSG_ROLL] = on_roll,
           [WF_MSG_GAUGES_ASK] = on_gauges_ask},
    .on_timer = on_timer,
    .on_turn = on_turn,
    .on_stop = on_stop,
    .is_drained = is_drained,
    .deinit = deinit,
};
