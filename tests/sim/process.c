/* SPDX-License-Identifier: Apache-2.0
 *
 * What a worker process does, step by step, as worker.c does it; and what it does wrong, by seed.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "processes.h"

static uint64_t now_of(const sim_processes *self) {
    return self->truth->broker->now_ns;
}

/* --- records and the truth */

static void must_be_of(const sim_process *process, const wf_wire_record *record, const sim_log *log) {
    SIM_CHECK(record->topic < sizeof process->topics / sizeof process->topics[0] && process->topics[record->topic],
              "a record of topic number %u, which was not announced", record->topic);
    SIM_CHECK((process->topics[record->topic] == 1) == (strcmp(log->topic, "orders") == 0) &&
                  record->partition == log->partition,
              "a record of another partition");
}

sim_flight *sim_process_flight(sim_processes *self, const wf_record *block, const wf_wire_record *record) {
    sim_flight *flight = sim_truth_flight(self->truth, block);
    return flight && flight->offset == record->offset ? flight : NULL; /* its block may be another record's by now */
}

static uint64_t word_of(const sim_process *process) {
    return process->progress ? atomic_load(process->progress) : 0;
}

static void note_progress(sim_process *process, uint64_t word) {
    if (process->progress) atomic_store(process->progress, word);
}

/* Without a word, its time began when it was sent. */
static void may_charge(const sim_processes *self, sim_flight *flight, bool late) {
    uint64_t deadline_ns = self->plan->process_deadline_ns;
    flight->may_be_charged = true;
    flight->late = flight->late || late || (deadline_ns && now_of(self) - flight->sent_ns >= deadline_ns);
}

static void blame(sim_processes *self, int64_t offset) {
    for (uint32_t i = 0; i < self->truth->flight_count; i++)
        if (self->truth->flights[i].offset == offset) may_charge(self, &self->truth->flights[i], false);
}

void sim_process_is_blamed(sim_processes *self, const sim_frame *frame) {
    wf_wire_header header;
    wf_wire_reader reader;
    wf_wire_record record;
    wf_wire_done done;
    const char *why, *bytes;
    if (wf_wire_open(frame->data, frame->bytes, &header, &why) != WEFT_OK) return;
    if (header.type == WF_WIRE_WORK) {
        wf_wire_read_work(&reader, &header, frame->data, frame->bytes);
        while (wf_wire_next_record(&reader, &record, &bytes)) blame(self, record.offset);
    } else if (header.type == WF_WIRE_DONE) {
        wf_wire_read_done(&reader, &header, frame->data, frame->bytes);
        while (wf_wire_next_done(&reader, &done, &bytes)) blame(self, done.offset);
    }
}

/* The record under the word; without a word, any of those that it holds. */
static void may_be_charged(sim_processes *self, const sim_process *process, bool late) {
    uint64_t word = word_of(process);
    for (const sim_frame *frame = process->in.head; frame && !process->progress; frame = frame->next)
        sim_process_is_blamed(self, frame);
    for (const sim_frame *frame = process->out.head; frame && !process->progress; frame = frame->next)
        sim_process_is_blamed(self, frame);
    for (uint32_t i = 0; i < process->task_count; i++)
        for (uint32_t k = 0; k < process->tasks[i].count; k++) {
            bool named = process->tasks[i].id == word >> 32 && (uint32_t)word == k + 1;
            if (process->progress && !named) continue;
            sim_flight *flight = sim_process_flight(self, process->tasks[i].blocks[k], &process->tasks[i].records[k]);
            if (flight && process->progress) flight->may_be_charged = true;
            if (flight && process->progress) flight->late = flight->late || late;
            if (flight && !process->progress) may_charge(self, flight, late);
        }
}

void sim_process_is_ended(sim_processes *self, const sim_process *process) {
    uint64_t deadline_ns = self->plan->process_deadline_ns;
    bool late = deadline_ns && now_of(self) - process->began_ns >= deadline_ns;
    if (late || !process->progress || (process->greeted && !process->reachable)) may_be_charged(self, process, late);
}

void sim_process_falls(sim_processes *self, sim_process *process, int status) {
    may_be_charged(self, process, false);
    sim_flight *flight = process->running ? sim_truth_flight(self->truth, process->running) : NULL;
    if (flight && process->progress && status != 0) {
        flight->fell_with = process->pid;
        sim_seen(SIM_SEEN_FELL);
    }
    sim_process_dies(self, process, status);
}

static void must_be_alone(const sim_processes *self, const sim_process *process, const sim_flight *flight) {
    if (flight->lane == SIM_LANE_OPEN) return;
    for (int i = 0; i < SIM_PROCESSES_MAX; i++) {
        const sim_process *other = &self->all[i];
        if (!other->pid || !other->alive || other == process || !other->running) continue;
        if (sim_process_is_given_up(self, other)) continue;
        SIM_CHECK(other->log != flight->log || other->lane != flight->lane,
                  "%s/%d %lld begins while process %d runs %lld of the same lane", flight->log->topic,
                  flight->log->partition, (long long)flight->offset, (int)other->pid, (long long)other->offset);
    }
}

static void begin(sim_processes *self, sim_process *process, sim_task *task, const wf_wire_record *record) {
    sim_flight *flight = sim_process_flight(self, task->blocks[task->next], record);
    SIM_CHECK(flight, "process %d begins a record that is not out: %lld attempt %u", (int)process->pid,
              (long long)record->offset, record->attempt);
    must_be_of(process, record, flight->log);
    sim_truth_started(self->truth, flight->block);
    must_be_alone(self, process, flight);
    const sim_entry *entry = &flight->log->entries[flight->offset];
    SIM_CHECK(record->value_bytes == (int32_t)entry->value_bytes &&
                  (record->key_bytes < 0) == (entry->key == SIM_KEY_NULL),
              "a record with another key or value");
    note_progress(process, wf_wire_progress(task->id, task->next));
    process->running = flight->block;
    process->log = flight->log;
    process->offset = flight->offset;
    process->lane = flight->lane;
    process->began_ns = now_of(self);
    bool stalls = sim_percent(self->chance, self->plan->stall_percent);
    uint64_t long_ns = stalls ? self->plan->stall_ns_max : self->plan->process_work_ns;
    process->due_ns = now_of(self) + sim_below(self->chance, long_ns);
    sim_trace("process %d: begins %s/%d %lld attempt=%u", (int)process->pid, flight->log->topic, flight->log->partition,
              (long long)flight->offset, record->attempt);
}

/* --- what it says */

void sim_process_say(sim_process *process, wf_wire_type type, uint32_t task) {
    uint8_t frame[WF_WIRE_HEADER_BYTES];
    wf_wire_put_header(frame, type, 0, task);
    sim_process_says(process, frame, sizeof frame);
}

static void say_hello(sim_process *process) {
    uint8_t frame[WF_WIRE_HEADER_BYTES + WF_WIRE_HELLO_BYTES + WF_WIRE_NAME_MAX];
    wf_wire_hello hello = {.version_low = WF_WIRE_VERSION,
                           .version_high = WF_WIRE_VERSION,
                           .pid = (uint32_t)process->pid,
                           .flags = process->progress ? WF_WIRE_HAS_PROGRESS : 0,
                           .name_bytes = (uint32_t)strlen(process->name)};
    memcpy(hello.token, process->token, sizeof hello.token);
    sim_process_says(process, frame, (size_t)(wf_wire_put_hello(frame, &hello, process->name) - frame));
    process->greeted = process->reachable = true;
}

static void send_report(sim_process *process) {
    uint8_t frame[WF_WIRE_HEADER_BYTES + WF_WIRE_RECORDS_MAX * WF_WIRE_DONE_BYTES];
    if (process->report_count == 0) return;
    uint8_t *at = wf_wire_put_header(frame, WF_WIRE_DONE, process->report_count, process->tasks[0].id);
    for (uint32_t i = 0; i < process->report_count; i++) at = wf_wire_put_done(at, &process->report[i]);
    sim_frame *said = sim_process_says(process, frame, (size_t)(at - frame));
    if (said) {
        said->blocks = malloc(sizeof process->reported);
        WF_CHECK(said->blocks != NULL);
        memcpy(said->blocks, process->reported, sizeof process->reported);
        said->block_count = 0;
        for (uint32_t i = 0; i < process->report_count; i++)
            if (process->report[i].status != WF_WIRE_UNRUN) said->blocks[said->block_count++] = process->reported[i];
    }
    process->report_count = 0;
}

static void report(sim_process *process, const wf_wire_record *record, wf_wire_status status) {
    process->reported[process->report_count] = process->tasks[0].blocks[process->tasks[0].next];
    process->report[process->report_count++] = (wf_wire_done){.offset = record->offset, .status = (uint8_t)status};
    process->tasks[0].next++;
}

/* --- what it does */

static void end_record(sim_processes *self, sim_process *process) {
    sim_task *task = &process->tasks[0];
    const wf_wire_record *record = &task->records[task->next];
    sim_flight *flight = sim_truth_flight(self->truth, process->running);
    sim_entry *entry = &process->log->entries[process->offset];
    bool fails = entry->failures == SIM_POISON ? self->poisons : record->attempt <= entry->failures;
    SIM_CHECK(flight, "process %d ends a record that is not out any more", (int)process->pid);
    if (fails) {
        flight->may_be_charged = true;
        task->closed_lane = record->lane;
    } else {
        entry->finished = true;
    }
    report(process, record, fails ? WF_WIRE_FAILURE : WF_WIRE_SUCCESS);
    process->running = NULL;
}

void sim_process_drop_task(sim_process *process) {
    sim_task *task = &process->tasks[0];
    free(task->records);
    free(task->blocks);
    process->task_count--;
    memmove(task, task + 1, process->task_count * sizeof *task);
}

static void begin_next(sim_processes *self, sim_process *process) {
    sim_task *task = &process->tasks[0];
    if (task->next == task->count) {
        note_progress(process, 0);
        send_report(process);
        sim_process_drop_task(process);
        return;
    }
    const wf_wire_record *record = &task->records[task->next];
    if (task->cancelled || (record->lane == task->closed_lane && record->lane != WF_WIRE_ANY_ORDER))
        report(process, record, WF_WIRE_UNRUN);
    else
        begin(self, process, task, record);
}

static void learn(sim_process *process, uint32_t number, const char *text, size_t bytes) {
    SIM_CHECK(number < sizeof process->topics / sizeof process->topics[0], "topic number %u", number);
    process->topics[number] = bytes == 6 && memcmp(text, "orders", 6) == 0 ? 1 : 2;
}

static void keep_work(sim_process *process, const wf_wire_header *header, sim_frame *frame) {
    wf_wire_reader reader;
    const char *bytes;
    SIM_CHECK(process->task_count < SIM_TASKS_MAX, "a worker gets too many tasks");
    sim_task *task = &process->tasks[process->task_count++];
    *task = (sim_task){.id = header->task,
                       .count = header->count,
                       .closed_lane = WF_WIRE_ANY_ORDER,
                       .blocks = frame->blocks,
                       .records = malloc(header->count * sizeof *task->records)};
    WF_CHECK(task->records != NULL);
    frame->blocks = NULL;
    wf_wire_read_work(&reader, header, frame->data, frame->bytes);
    for (uint32_t i = 0; wf_wire_next_record(&reader, &task->records[i], &bytes); i++) {
    }
    SIM_CHECK(!reader.why, "WORK that can't be read: %s", reader.why);
}

static void take_frame(const sim_processes *self, sim_process *process) {
    sim_frame *frame = sim_frames_take(&process->in);
    wf_wire_header header;
    const char *why;
    size_t bytes;
    SIM_CHECK(wf_wire_open(frame->data, frame->bytes, &header, &why) == WEFT_OK, "a frame that can't be read");
    const char *text = wf_wire_text(frame->data, frame->bytes, &bytes);
    if (header.type == WF_WIRE_TOPIC) learn(process, header.task, text, bytes);
    if (header.type == WF_WIRE_WORK) keep_work(process, &header, frame);
    if (header.type == WF_WIRE_PING) sim_process_say(process, WF_WIRE_PONG, header.task);
    if (header.type == WF_WIRE_BYE) process->goodbye = true;
    if (header.type == WF_WIRE_REFUSED) process->refused = true;
    process->heard_ns = now_of(self);
    SIM_CHECK(header.type != WF_WIRE_REFUSED || process->attached, "an honest worker is refused: %.*s", (int)bytes,
              text);
    for (uint32_t i = 0; i < process->task_count && header.type == WF_WIRE_CANCEL; i++)
        if (process->tasks[i].id == header.task) process->tasks[i].cancelled = true;
    sim_frame_free(frame);
}

/* --- what it does wrong */

/* May it take one attempt from a record that it has, and nobody be to blame? */
bool sim_process_may_fall(const sim_processes *self, const sim_process *process) {
    const sim_task *task = &process->tasks[0];
    if (self->poisons) return true;
    if (process->attached) return !sim_process_has_last_attempt(self, process);
    if (process->task_count == 0) return true;
    for (uint32_t i = 0; i < task->count; i++)
        if (task->records[i].attempt >= self->plan->manager.max_attempts) return false;
    return true;
}

/* True: it did. */
static bool does_wrong(sim_processes *self, sim_process *process) {
    const sim_plan *plan = self->plan;
    if (*self->calm || sim_below(self->chance, 1000) >= plan->fall_rate * (process->running ? 4 : 1)) return false;
    if (!sim_process_may_fall(self, process)) return false;
    switch (sim_below(self->chance, 10)) {
    case 0:
        sim_process_falls(self, process, SIGSEGV);
        return true;
    case 1: /* exit(1) */
        sim_process_falls(self, process, 1 << 8);
        return true;
    case 2: /* exit(0) in the middle */
        sim_process_falls(self, process, 0);
        return true;
    case 3:
        if (!process->greeted || process->goodbye) return false; /* only found at a heartbeat */
        sim_seen(SIM_SEEN_STOPPED);
        process->stopped = true;
        if (process->attached) process->continues_ns = now_of(self) + sim_below(self->chance, 30000000000);
        return true;
    case 4:
    case 5:
    case 6:
    case 7:
        if (!process->running || plan->process_deadline_ns == 0) return false;
        sim_seen(SIM_SEEN_HANGS);
        process->hangs = true;
        return true;
    case 8:
        if (!process->greeted) return false;
        sim_seen(SIM_SEEN_RUDE);
        sim_process_says(process, "rude", 4);
        return true;
    default: /* without a word, what it does afterwards would be the engine's guess and ours */
        if (!process->greeted || (!process->progress && !process->attached)) return false;
        sim_seen(SIM_SEEN_CLOSED);
        if (process->attached) may_be_charged(self, process, false);
        sim_process_closes(self, process);
        return true;
    }
}

void sim_process_act(sim_processes *self, sim_process *process) {
    if (process->attached && sim_process_acts_attached(self, process)) return;
    if (does_wrong(self, process)) return;
    bool first = process->in.head && (!process->task_count || sim_percent(self->chance, 70));
    if (process->still_born)
        sim_process_falls(self, process, 1 << 8);
    else if (!process->greeted)
        say_hello(process);
    else if (process->running)
        end_record(self, process);
    else if (first)
        take_frame(self, process);
    else if (process->task_count && process->report_count && sim_percent(self->chance, 20))
        send_report(process);
    else if (process->task_count)
        begin_next(self, process);
    else if (process->goodbye)
        sim_process_dies(self, process, 0);
}

uint64_t sim_process_next_ns(const sim_processes *self, const sim_process *process) {
    if (process->stopped) return process->attached ? process->continues_ns : UINT64_MAX;
    if (process->hangs) return UINT64_MAX;
    if (process->running) return process->due_ns;
    bool busy = !process->greeted || process->in.head || process->task_count || process->goodbye;
    if (process->attached && !busy) return sim_process_attached_next_ns(self, process);
    return busy ? 0 : UINT64_MAX;
}
