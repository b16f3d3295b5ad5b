/* SPDX-License-Identifier: Apache-2.0 */
#include "processes.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"
#include "child.h"
#include "guard.h"
#include "pool.h"

static sim_processes *everywhere; /* the members that have an engine */
static sim_processes *opening;
static pid_t last_pid;

/* --- frames */

static void add(sim_frames *frames, sim_frame *frame) {
    frame->next = NULL;
    if (!frames->head) frames->tail = &frames->head;
    *frames->tail = frame;
    frames->tail = &frame->next;
}

sim_frame *sim_frames_take(sim_frames *frames) {
    sim_frame *frame = frames->head;
    if (frame) frames->head = frame->next;
    return frame;
}

void sim_frame_free(sim_frame *frame) {
    if (frame) free(frame->blocks);
    free(frame);
}

static void drop_all(sim_frames *frames) {
    for (sim_frame *frame; (frame = sim_frames_take(frames));) sim_frame_free(frame);
}

static sim_frame *make_frame(size_t bytes) {
    sim_frame *frame = malloc(sizeof *frame + bytes);
    WF_CHECK(frame != NULL);
    *frame = (sim_frame){.bytes = bytes};
    return frame;
}

sim_frame *sim_process_says(sim_process *process, const void *data, size_t bytes) {
    if (process->greeted && !process->reachable) return NULL;
    sim_frame *frame = make_frame(bytes);
    frame->from = process->id;
    memcpy(frame->data, data, bytes);
    add(&process->out, frame);
    return frame;
}

/* --- the adapters */

weft_status wf_peers_open(const char *path, size_t frame_max, const uid_t *users, size_t user_count,
                          wf_peers **ret_peers) {
    (void)frame_max, (void)users, (void)user_count;
    sim_processes *self = opening;
    snprintf(self->path, sizeof self->path, "%s", path);
    *ret_peers = (wf_peers *)self;
    return WEFT_OK;
}

void wf_peers_close(wf_peers **peers) {
    *peers = NULL;
}

int wf_peers_fd(const wf_peers *peers) {
    return ((const sim_processes *)peers)->fd;
}

bool wf_peers_receive(wf_peers *peers, wf_peer_id *ret_from, const void **ret_frame, size_t *ret_bytes) {
    sim_processes *self = (sim_processes *)peers;
    sim_frame_free(self->current);
    self->current = sim_frames_take(&self->arrived);
    if (!self->current) return false;
    *ret_from = self->current->from;
    *ret_frame = self->current->data;
    *ret_bytes = self->current->bytes;
    return true;
}

pid_t wf_peers_pid(const wf_peers *peers) {
    (void)peers;
    return -1;
}

uint8_t *wf_peers_frame(wf_peers *peers, size_t bytes) {
    sim_processes *self = (sim_processes *)peers;
    sim_frame_free(self->writing);
    self->writing = make_frame(bytes);
    return self->writing->data;
}

static sim_process *seek_pid(pid_t pid, sim_processes **ret_self) {
    for (sim_processes *self = everywhere; self; self = self->next)
        for (int i = 0; i < SIM_PROCESSES_MAX; i++)
            if (self->all[i].pid == pid) {
                *ret_self = self;
                return &self->all[i];
            }
    return NULL;
}

static sim_process *find_pid(pid_t pid, sim_processes **ret_self) {
    sim_process *process = seek_pid(pid, ret_self);
    if (process) return process;
    sim_fail("process %d is nobody's", (int)pid);
}

/* Which records these are exactly: of an offset there may be two, of an older epoch and of this one. */
static void note_blocks(const sim_processes *self, sim_frame *frame) {
    wf_wire_header header;
    const char *why;
    if (wf_wire_open(frame->data, frame->bytes, &header, &why) != WEFT_OK || header.type != WF_WIRE_WORK) return;
    frame->blocks = malloc(header.count * sizeof *frame->blocks);
    WF_CHECK(frame->blocks != NULL);
    for (uint32_t i = 0; i < self->pool->worker_count; i++)
        for (uint32_t k = 0; k < self->pool->workers[i].task_count; k++) {
            const wf_pool_task *task = &self->pool->workers[i].tasks[k];
            const wf_record *block = task->unsent;
            if (task->id != header.task) continue;
            for (uint32_t at = 0; at < header.count; at++, block = block->next) frame->blocks[at] = block;
        }
}

bool wf_peers_send(wf_peers *peers, const wf_peer_id *to) {
    sim_processes *self = (sim_processes *)peers;
    sim_frame *frame = self->writing;
    self->writing = NULL;
    note_blocks(self, frame);
    for (int i = 0; i < SIM_PROCESSES_MAX; i++) {
        sim_process *process = &self->all[i];
        if (!process->pid || !process->reachable || memcmp(process->id.bytes, to->bytes, to->count) != 0) continue;
        if (process->attached) sim_process_is_told(self, process, frame);
        /* It may end between what the engine read last and this. */
        if (!process->alive && sim_percent(self->chance, 30)) {
            sim_process_closes(self, process);
            break;
        }
        if (!process->alive && !process->progress) sim_process_is_blamed(self, frame);
        add(&process->in, frame);
        return true;
    }
    sim_frame_free(frame);
    errno = EHOSTUNREACH;
    return false;
}

static const char *value_of(const wf_child_options *options, const char *name) {
    for (size_t i = 0; options->environment[i]; i++)
        if (strncmp(options->environment[i], name, strlen(name)) == 0) return options->environment[i] + strlen(name);
    sim_fail("a process is started without %s", name);
}

sim_process *sim_process_new(sim_processes *self) {
    sim_process *process = self->all;
    while (process->pid && process < self->all + SIM_PROCESSES_MAX - 1) process++;
    SIM_CHECK(process->pid == 0, "too many processes");
    *process = (sim_process){.pid = ++last_pid, .alive = true, .exit_fd = -1};
    process->id.count = sizeof process->pid;
    memcpy(process->id.bytes, &process->pid, sizeof process->pid);
    return process;
}

static void be_born(sim_processes *self, sim_process *process, const wf_child_options *options) {
    process->exit_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    snprintf(process->name, sizeof process->name, "%s", value_of(options, "WEFT_WORKER="));
    const char *token = value_of(options, "WEFT_TOKEN=");
    for (int i = 0; i < WF_WIRE_TOKEN_BYTES; i++) {
        unsigned byte;
        SIM_CHECK(sscanf(token + 2 * i, "%2x", &byte) == 1, "a token that is none");
        process->token[i] = (uint8_t)byte;
    }
    if (options->shared_fd >= 0 && sim_percent(self->chance, 60)) {
        void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, options->shared_fd, 0);
        if (page != MAP_FAILED) process->progress = page;
    }
    process->deaf = sim_percent(self->chance, 30);
    process->still_born = !*self->calm && sim_percent(self->chance, self->plan->still_born_percent);
}

bool wf_child_hear_ends(void) {
    return false;
}

weft_status wf_child_start(const wf_child_options *options, wf_child *ret_child) {
    const char *path = value_of(options, "WEFT_SOCKET=");
    sim_processes *self = everywhere;
    while (self && strcmp(self->path, path) != 0) self = self->next;
    SIM_CHECK(self, "a process is started for a socket that nobody has");
    if (!*self->calm && sim_percent(self->chance, self->plan->still_born_percent / 2)) return WEFT_ESYSTEM;
    sim_process *process = sim_process_new(self);
    be_born(self, process, options);
    SIM_CHECK(process->exit_fd >= 0, "no descriptor");
    sim_trace("process %d: born as %s", (int)process->pid, process->name);
    *ret_child = (wf_child){.pid = process->pid, .exit_fd = process->exit_fd, .stderr_fd = -1};
    return WEFT_OK;
}

/* Neither early nor late, but for what the world lets pass between two turns of the engine. */
static void check_sigterm(const sim_processes *self, const sim_process *process) {
    uint64_t late_ns = self->truth->broker->now_ns - process->began_ns;
    uint64_t allowed_ns = self->plan->process_deadline_ns + self->plan->process_grace_ns;
    SIM_CHECK(!process->progress || !process->running || late_ns >= allowed_ns,
              "SIGTERM after %.1f ms, %.1f are allowed", (double)late_ns / 1e6, (double)allowed_ns / 1e6);
    uint64_t slack_ns = self->plan->process_deadline_ns / 4 + 500000000;
    SIM_CHECK(self->plan->stall_percent || !process->progress || !process->running || late_ns <= allowed_ns + slack_ns,
              "SIGTERM only after %.1f ms, it was due after %.1f", (double)late_ns / 1e6, (double)allowed_ns / 1e6);
}

void wf_child_signal(const wf_child *child, int number) {
    sim_processes *self;
    sim_process *process = find_pid(child->pid, &self);
    sim_trace("process %d: signal %d", (int)process->pid, number);
    if (number == SIGTERM && process->alive) check_sigterm(self, process);
    if (number == SIGKILL) sim_truth_ordered(self->truth, process->pid);
    sim_process_is_ended(self, process);
    if (process->alive && (number == SIGKILL || (!process->deaf && !process->stopped)))
        sim_process_dies(self, process, number);
}

bool wf_child_reap(wf_child *child, int *ret_status) {
    sim_processes *self;
    sim_process *process = find_pid(child->pid, &self);
    if (!process->seen_dead) return false;
    *ret_status = process->exit_status;
    process->reaped = true;
    child->pid = 0;
    return true;
}

void wf_child_bury(wf_child *child) {
    sim_processes *self;
    sim_process *process = find_pid(child->pid, &self);
    int status;
    if (process->alive) sim_process_dies(self, process, SIGKILL);
    process->seen_dead = true;
    wf_child_reap(child, &status);
}

bool wf_child_has(const wf_child *child, pid_t pid) {
    return child->pid == pid;
}

bool wf_process_is_stopped(pid_t pid) {
    sim_processes *self;
    const sim_process *process = seek_pid(pid, &self); /* of an attached one, nothing may be left */
    return process && process->stopped;
}

int wf_process_watch(pid_t pid) {
    sim_processes *self;
    sim_process *process = seek_pid(pid, &self);
    return process ? sim_process_watch(self, process) : -1;
}

/* A guard that never ends, and hears nothing. */
weft_status wf_guard_open(const char *directory, bool made, wf_guard *ret_guard) {
    (void)directory, (void)made;
    *ret_guard = (wf_guard){.fd = eventfd(0, EFD_CLOEXEC)};
    return ret_guard->fd >= 0 ? WEFT_OK : WEFT_ELIMIT;
}

void wf_guard_close(wf_guard *guard) {
    if (guard->fd >= 0) close(guard->fd);
    guard->fd = -1;
}

void wf_guard_add(int fd, pid_t group) {
    (void)fd, (void)group;
}

void wf_guard_remove(const wf_guard *guard, pid_t group) {
    (void)guard, (void)group;
}

/* --- life */

void sim_processes_begin(sim_processes *self) {
    self->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    self->next = everywhere;
    everywhere = opening = self;
}

static void forget(sim_process *process) {
    drop_all(&process->in);
    drop_all(&process->out);
    while (process->task_count) {
        free(process->tasks[--process->task_count].records);
        free(process->tasks[process->task_count].blocks);
    }
    if (process->progress) munmap((void *)process->progress, 4096);
    if (process->attached && process->exit_fd >= 0) close(process->exit_fd);
    process->pid = 0;
}

void sim_processes_end(sim_processes *self) {
    sim_processes **at = &everywhere;
    while (*at != self) at = &(*at)->next;
    *at = self->next;
    for (int i = 0; i < SIM_PROCESSES_MAX; i++)
        if (self->all[i].pid) forget(&self->all[i]);
    drop_all(&self->arrived);
    sim_frame_free(self->current);
    sim_frame_free(self->writing);
    close(self->fd);
}

/* What this frame reports will be heard; nothing is heard of who was rude before. */
static void note_reported(sim_processes *self, sim_process *process, const sim_frame *frame) {
    if (frame->bytes == 4 || sim_process_is_given_up(self, process)) process->rude = true;
    for (uint32_t i = 0; i < frame->block_count && !process->rude; i++) {
        sim_flight *flight = sim_truth_flight(self->truth, frame->blocks[i]);
        if (flight) flight->reported = true;
    }
}

/* What it had written reaches the engine, but perhaps for the last of it, which it had not got out yet. */
void sim_process_dies(sim_processes *self, sim_process *process, int status) {
    sim_trace("process %d: dies, status %d", (int)process->pid, status);
    process->alive = false;
    process->exit_status = status;
    process->running = NULL;
    for (sim_frame **at = &process->out.head; *at;) {
        if (!sim_percent(self->chance, 20)) {
            at = &(*at)->next;
            continue;
        }
        sim_frames rest = {.head = *at};
        *at = NULL;
        process->out.tail = at;
        drop_all(&rest);
        sim_seen(SIM_SEEN_WORDS_LOST);
        break;
    }
    /* Nobody waits for the end of one that is given up: its frames count when they arrive. */
    for (const sim_frame *frame = process->out.head; frame && !process->attached; frame = frame->next)
        note_reported(self, process, frame);
}

static void arrive(sim_processes *self, sim_process *process) {
    sim_frame *frame = sim_frames_take(&process->out);
    note_reported(self, process, frame);
    add(&self->arrived, frame);
    self->news = true;
}

static void show_exit(sim_processes *self, sim_process *process) {
    uint64_t one = 1;
    ssize_t written = process->attached ? send(process->exit_fd, &one, sizeof one, MSG_NOSIGNAL)
                                        : write(process->exit_fd, &one, sizeof one);
    (void)written;
    process->seen_dead = true;
    self->news = true;
}

void sim_process_closes(sim_processes *self, sim_process *process) {
    while (process->out.head) arrive(self, process);
    process->reachable = false;
}

static bool has_something(const sim_processes *self, const sim_process *process) {
    if (process->alive) return process->out.head || sim_process_next_ns(self, process) <= self->truth->broker->now_ns;
    return process->out.head || !process->seen_dead || process->reachable || process->reaped || process->attached;
}

uint64_t sim_processes_next_ns(const sim_processes *self) {
    uint64_t next_ns = UINT64_MAX;
    for (int i = 0; i < SIM_PROCESSES_MAX; i++) {
        const sim_process *process = &self->all[i];
        if (!process->pid) continue;
        if (has_something(self, process)) return 0;
        uint64_t its_ns = process->alive ? sim_process_next_ns(self, process) : UINT64_MAX;
        if (its_ns < next_ns) next_ns = its_ns;
    }
    return next_ns;
}

static void act_dead(sim_processes *self, sim_process *process) {
    bool seen = process->reaped || (process->attached && process->seen_dead);
    bool over = seen && !process->reachable && !process->out.head;
    unsigned choice = (unsigned)sim_below(self->chance, 3);
    if (over)
        forget(process);
    else if (choice == 0 && process->out.head && process->reachable)
        arrive(self, process);
    else if (choice == 1 && process->reachable)
        sim_process_closes(self, process);
    else if (!process->seen_dead)
        show_exit(self, process);
    else if (process->reachable)
        sim_process_closes(self, process);
    else
        drop_all(&process->out);
}

void sim_processes_act(sim_processes *self) {
    unsigned count = 0;
    for (int i = 0; i < SIM_PROCESSES_MAX; i++) count += self->all[i].pid && has_something(self, &self->all[i]);
    if (count == 0) return;
    unsigned chosen = (unsigned)sim_below(self->chance, count);
    sim_process *process = self->all;
    for (;; process++)
        if (process->pid && has_something(self, process) && chosen-- == 0) break;
    if (!process->alive)
        act_dead(self, process);
    else if (process->out.head &&
             (sim_percent(self->chance, 50) || sim_process_next_ns(self, process) > self->truth->broker->now_ns))
        arrive(self, process);
    else
        sim_process_act(self, process);
}

void sim_processes_kill_one(sim_processes *self) {
    sim_process *process = &self->all[sim_below(self->chance, SIM_PROCESSES_MAX)];
    if (!process->pid || !process->alive || !sim_process_may_fall(self, process)) return;
    sim_trace("somebody kills process %d", (int)process->pid);
    sim_process_falls(self, process, SIGKILL);
}

void sim_processes_check_released(const sim_processes *self, const wf_drained *drained) {
    /* The engine's loop may have stood still for so long that nobody waited for it. */
    if (drained->lost || (drained->unfinished && self->plan->stall_percent)) return;
    for (int i = 0; i < SIM_PROCESSES_MAX; i++) {
        const sim_process *process = &self->all[i];
        if (!process->pid || !process->alive || !process->running) continue;
        if (sim_process_is_given_up(self, process)) continue;
        const sim_flight *flight = sim_truth_flight(self->truth, process->running);
        SIM_CHECK(!flight || flight->block->slot != drained->slot || flight->epoch != drained->epoch,
                  "%s/%d is given back while process %d runs %lld", process->log->topic, process->log->partition,
                  (int)process->pid, (long long)process->offset);
    }
}

void sim_processes_calm_down(sim_processes *self) {
    for (int i = 0; i < SIM_PROCESSES_MAX; i++) self->all[i].hangs = self->all[i].still_born = false;
}
