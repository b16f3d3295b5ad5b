/* SPDX-License-Identifier: Apache-2.0
 *
 * Workers that somebody else starts, and that attach themselves: with the token of the file, or of another run; more
 * than there are places, or none. They stop and go on, close their connection, leave, die, and others come instead.
 */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pool.h"
#include "processes.h"

static const uint64_t second_ns = 1000000000;

enum { HELLO_SECONDS = 30, SILENT_HEARTBEATS = 5 };

/* --- they come */

/* As a worker reads it, from the file. */
static void read_token(const sim_processes *self, sim_process *process) {
    FILE *file = fopen(self->pool->token_path, "re");
    SIM_CHECK(file, "there is no file with a token");
    for (int i = 0; i < WF_WIRE_TOKEN_BYTES; i++) {
        unsigned byte;
        SIM_CHECK(fscanf(file, "%2x", &byte) == 1, "a file with a token that is none");
        process->token[i] = (uint8_t)byte;
    }
    fclose(file);
}

static bool is_of_use(const sim_processes *self, const sim_process *process) {
    return process->pid && process->attached && process->alive && !process->stopped && !process->refused &&
           process->reachable == process->greeted && !sim_process_is_given_up(self, process);
}

void sim_processes_attach(sim_processes *self) {
    uint32_t present = 0, places = 0;
    for (int i = 0; i < SIM_PROCESSES_MAX; i++) {
        present += is_of_use(self, &self->all[i]);
        places += self->all[i].pid == 0;
    }
    uint32_t enough = self->plan->attached_max + !*self->calm; /* one too many */
    if (self->plan->attached_max == 0 || present >= enough || places < SIM_PROCESSES_MAX / 2) return;
    sim_process *process = sim_process_new(self);
    process->attached = true;
    read_token(self, process);
    process->stranger = !*self->calm && sim_percent(self->chance, self->plan->stranger_percent);
    if (process->stranger) process->token[sim_below(self->chance, WF_WIRE_TOKEN_BYTES)] ^= 1;
    process->still_born = !*self->calm && sim_percent(self->chance, self->plan->still_born_percent / 2);
    process->heard_ns = self->truth->broker->now_ns;
    if (sim_percent(self->chance, 50)) snprintf(process->name, sizeof process->name, "guest");
    sim_trace("process %d: somebody starts it", (int)process->pid);
}

int sim_process_watch(sim_processes *self, sim_process *process) {
    int ends[2];
    SIM_CHECK(process->attached && process->exit_fd < 0, "process %d is watched twice", (int)process->pid);
    if (process->seen_dead || sim_percent(self->chance, 20)) return -1; /* it is gone, or has another name here */
    SIM_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0, "no descriptors");
    process->exit_fd = ends[0];
    return ends[1];
}

/* --- what weft makes of them */

static const wf_pool_worker *known_as(const sim_processes *self, const sim_process *process) {
    for (uint32_t i = 0; i < self->pool->worker_count; i++) {
        const wf_pool_worker *worker = &self->pool->workers[i];
        if (worker->connected && worker->id.count == process->id.count &&
            memcmp(worker->id.bytes, process->id.bytes, process->id.count) == 0)
            return worker;
    }
    return NULL;
}

bool sim_process_is_given_up(const sim_processes *self, const sim_process *process) {
    return process->attached && process->welcome && !known_as(self, process);
}

bool sim_process_has_last_attempt(const sim_processes *self, const sim_process *process) {
    const wf_pool_worker *worker = known_as(self, process);
    for (uint32_t i = 0; worker && i < worker->task_count; i++)
        for (const wf_record *record = worker->tasks[i].next; record; record = record->next)
            if (record->attempt >= self->plan->manager.max_attempts) return true;
    return false;
}

static bool has_place(const sim_processes *self) {
    for (uint32_t i = self->pool->options.spawned; i < self->pool->worker_count; i++)
        if (self->pool->workers[i].state == WEFT_WORKER_WAITING) return true;
    return false;
}

void sim_process_is_told(const sim_processes *self, sim_process *process, const sim_frame *frame) {
    wf_wire_header header;
    const char *why;
    if (wf_wire_open(frame->data, frame->bytes, &header, &why) != WEFT_OK) sim_fail("a frame that can't be read");
    bool known = known_as(self, process) != NULL;
    if (header.type == WF_WIRE_WELCOME) {
        process->welcome = true;
        SIM_CHECK(!process->stranger, "process %d is welcome, with another token", (int)process->pid);
        sim_seen(SIM_SEEN_ATTACHED);
    } else if (header.type == WF_WIRE_REFUSED && known) {
        SIM_CHECK(process->rude, "process %d is refused, and did nothing wrong", (int)process->pid);
    } else if (header.type == WF_WIRE_REFUSED && !process->welcome) {
        SIM_CHECK(process->stranger || process->rude || !has_place(self), "process %d is refused, and there is a place",
                  (int)process->pid);
        sim_seen(SIM_SEEN_NO_PLACE);
    }
    SIM_CHECK(known || header.type == WF_WIRE_REFUSED, "process %d is told something, and is nobody's",
              (int)process->pid);
}

/* --- what they do */

/* It does not know that it is given up, until it is told; what it runs until then counts for nobody. */
static void run_on(sim_process *process) {
    process->rude = true;
    process->running = NULL;
    process->report_count = 0;
    sim_seen(SIM_SEEN_RAN_ON);
    sim_trace("process %d: runs on, and is given up", (int)process->pid);
    uint8_t frame[WF_WIRE_HEADER_BYTES + WF_WIRE_DONE_BYTES];
    const sim_task *task = &process->tasks[0];
    uint32_t at = task->next < task->count ? task->next : task->count - 1;
    wf_wire_done done = {.offset = task->records[at].offset, .status = WF_WIRE_SUCCESS};
    wf_wire_put_done(wf_wire_put_header(frame, WF_WIRE_DONE, 1, task->id), &done);
    sim_process_says(process, frame, sizeof frame);
    sim_process_drop_task(process);
}

uint64_t sim_process_attached_next_ns(const sim_processes *self, const sim_process *process) {
    if (process->refused) return 0;
    if (!process->welcome) return process->heard_ns + HELLO_SECONDS * second_ns;
    /* If it left while weft is about to send it a record in its last attempt, nobody could foresee that. */
    if (!self->poisons && !sim_process_is_given_up(self, process)) return UINT64_MAX;
    return process->heard_ns + SILENT_HEARTBEATS * self->plan->heartbeat_ns;
}

static bool leaves(const sim_processes *self, sim_process *process) {
    if (*self->calm || !process->welcome || process->leaving) return false;
    if (sim_below(self->chance, 1000) >= self->plan->leave_rate) return false;
    process->leaving = true;
    sim_process_say(process, WF_WIRE_BYE, 0);
    sim_seen(SIM_SEEN_LEFT);
    return true;
}

bool sim_process_acts_attached(sim_processes *self, sim_process *process) {
    bool idle = process->greeted && !process->in.head && !process->task_count;
    uint64_t now_ns = self->truth->broker->now_ns;
    if (process->stopped) {
        process->stopped = false;
        sim_trace("process %d: goes on", (int)process->pid);
    } else if (process->refused || (idle && !process->goodbye)) {
        if (sim_process_attached_next_ns(self, process) > now_ns) return false;
        sim_process_falls(self, process, process->refused ? 2 << 8 : 3 << 8);
    } else if (process->task_count && sim_process_is_given_up(self, process)) {
        run_on(process);
    } else {
        return leaves(self, process);
    }
    return true;
}
