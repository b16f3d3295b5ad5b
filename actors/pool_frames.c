/* SPDX-License-Identifier: Apache-2.0
 *
 * What is said to worker processes, and what they say. Nothing that they say is believed: a frame that does not fit
 * what the worker holds ends this worker, and touches nothing else.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "pool.h"
#include "utf8.h"

static const uint64_t second_ns = 1000000000;

/* Frames in a row: one who never stops sending must not keep us here, or from others. */
enum { READ_MAX = 4096 };

/* --- to workers */

bool wf_pool_say(wf_pool *self, wf_pool_worker *worker, wf_wire_type type, uint32_t task) {
    uint8_t *frame = wf_peers_frame(self->peers, WF_WIRE_HEADER_BYTES);
    WF_CHECK(frame != NULL);
    wf_wire_put_header(frame, type, 0, task);
    /* Who is at a record for hours hears nothing, and so many PINGs wait for him that more are dropped. */
    return wf_peers_send(self->peers, &worker->id) || errno == EAGAIN;
}

static bool say_text(wf_pool *self, const wf_peer_id *to, wf_wire_type type, uint32_t task, const char *text) {
    size_t bytes = strlen(text);
    uint8_t *frame = wf_peers_frame(self->peers, WF_WIRE_HEADER_BYTES + bytes);
    WF_CHECK(frame != NULL);
    memcpy(wf_wire_put_header(frame, type, 0, task), text, bytes);
    return wf_peers_send(self->peers, to);
}

static bool announce(wf_pool *self, wf_pool_worker *worker, const wf_record *record) {
    if (record->slot >= worker->topic_count) {
        uint32_t count = record->slot + 16;
        const char **topics = realloc(worker->topics, count * sizeof *topics);
        WF_CHECK(topics != NULL);
        memset(topics + worker->topic_count, 0, (count - worker->topic_count) * sizeof *topics);
        worker->topics = topics;
        worker->topic_count = count;
    }
    if (worker->topics[record->slot] == record->topic) return true;
    if (!say_text(self, &worker->id, WF_WIRE_TOPIC, record->slot, record->topic)) return false;
    worker->topics[record->slot] = record->topic;
    return true;
}

static bool send_records(wf_pool *self, wf_pool_worker *worker, wf_pool_task *task, uint32_t count) {
    wf_record *record = task->unsent;
    size_t bytes = 0;
    for (uint32_t i = 0; i < count; i++, record = record->next) {
        wf_record_prefetch_head(record->next);
        if (!announce(self, worker, record)) return false;
        bytes += wf_wire_payload_bytes(record);
    }
    uint8_t *frame = wf_peers_frame(self->peers, wf_wire_work_bytes(count, bytes));
    WF_CHECK(frame != NULL);
    wf_wire_put_work(frame, task->id, task->unsent, count);
    if (!wf_peers_send(self->peers, &worker->id)) return false; /* it never got them: they are nobody's fault */
    task->unsent = record;
    task->sent += count;
    return true;
}

/* One by one, the failure of a record is known before the next one of its lane is sent. */
static bool is_closed(const wf_pool_task *task) {
    const wf_record *before = task->slice.head;
    if (task->cancelled) return true;
    if (task->done == 0) return false;
    while (before->next != task->unsent) before = before->next;
    return task->unsent->lane == before->lane && before->status != WF_DONE_SUCCESS &&
           !(task->unsent->flags & WF_RECORD_ANY_ORDER);
}

/* What is not sent because of what happened before; all that was sent is done. */
static void skip_closed(wf_pool_task *task) {
    while (task->unsent && is_closed(task)) {
        task->unsent->status = WF_DONE_UNRUN;
        task->unsent = task->next = task->unsent->next;
        task->sent++;
        task->done++;
    }
}

void wf_pool_pump(wf_pool *self, weft_env *env, wf_pool_worker *worker) {
    for (uint32_t i = 0; i < worker->task_count && worker->state == WEFT_WORKER_READY; i++) {
        wf_pool_task *task = &worker->tasks[i];
        if (i > 0 && (task->one_by_one || worker->tasks[0].one_by_one)) return;
        bool sent = true;
        if (i == 0 && task->sent == task->done) skip_closed(task);
        if (!task->next) { /* the last ones were skipped */
            wf_pool_give_back(self, env, worker);
            i = UINT32_MAX; /* begin anew */
        } else if (task->unsent && (!task->one_by_one || task->sent == task->done)) {
            sent = send_records(self, worker, task, task->one_by_one ? 1 : task->slice.count - task->sent);
        }
        /* What finds no room is sent when he has read on. */
        if (!sent && errno != EAGAIN && !worker->spawned) wf_pool_end(self, env, worker, WEFT_END_GONE);
    }
}

void wf_pool_give_back(wf_pool *self, weft_env *env, wf_pool_worker *worker) {
    wf_slice slice = worker->tasks[0].slice;
    WF_CHECK(worker->task_count > 0 && worker->tasks[0].next == NULL);
    worker->task_count--;
    memmove(worker->tasks, worker->tasks + 1, worker->task_count * sizeof worker->tasks[0]);
    weft_env_send(env, self->options.manager, WF_MSG_DONE, &slice, sizeof slice);
}

/* --- from workers */

static void reject(wf_pool *self, weft_env *env, const wf_pool_worker *worker, const char *why) {
    self->seen.frames_rejected++;
    uint64_t now_ns = weft_env_now_ns(env);
    if (self->reject_logged_ns && now_ns - self->reject_logged_ns < second_ns) return;
    self->reject_logged_ns = now_ns;
    weft_env_log(env, WEFT_LOG_WARN, "frame rejected worker=%s pid=%d reason=\"%s\" rejected=%llu",
                 worker ? worker->name : "-", worker ? (int)worker->pid : 0, why,
                 (unsigned long long)self->seen.frames_rejected);
}

/* The worker has broken the protocol: nothing more of what it says counts. */
static void condemn(wf_pool *self, weft_env *env, wf_pool_worker *worker, const char *why) {
    reject(self, env, worker, why);
    say_text(self, &worker->id, WF_WIRE_REFUSED, 0, why);
    wf_pool_end(self, env, worker, WEFT_END_HOSTILE);
}

static wf_pool_worker *find(wf_pool *self, const wf_peer_id *id) {
    for (uint32_t i = 0; i < self->worker_count; i++) {
        wf_pool_worker *worker = &self->workers[i];
        if (worker->connected && worker->id.count == id->count && memcmp(worker->id.bytes, id->bytes, id->count) == 0)
            return worker;
    }
    return NULL;
}

static bool same_token(const uint8_t *one, const uint8_t *other) {
    unsigned difference = 0; /* looked at to its end, so that time tells nothing */
    for (int i = 0; i < WF_WIRE_TOKEN_BYTES; i++) difference |= (unsigned)(one[i] ^ other[i]);
    return difference == 0;
}

static void refuse(wf_pool *self, weft_env *env, const wf_peer_id *from, const char *why) {
    reject(self, env, NULL, why);
    say_text(self, from, WF_WIRE_REFUSED, 0, why);
}

/* A process that was started here says the name that it was given; one that attaches itself takes a vacant place. NULL
 * with the reason. */
static wf_pool_worker *place_for(wf_pool *self, const char *name, pid_t pid, const char **why) {
    for (uint32_t i = 0; i < self->worker_count; i++) {
        wf_pool_worker *worker = &self->workers[i];
        if (worker->spawned && worker->state == WEFT_WORKER_STARTING && strcmp(worker->name, name) == 0) {
            /* What is not in its group would not end with it, and go on with records that run elsewhere by then. */
            if (wf_child_has(&worker->child, pid)) return worker;
            *why = "its name is that of a worker which is started here, but it is not in that one's process group "
                   "(setsid, su and daemons leave it)";
            return NULL;
        }
        if (!worker->spawned && worker->state == WEFT_WORKER_WAITING) return worker;
    }
    *why = "there is no place for another worker (worker.attach.max)";
    return NULL;
}

static bool welcome(wf_pool *self, wf_pool_worker *worker) {
    wf_wire_welcome body = {.worker = worker->number, .heartbeat_ms = (uint32_t)(self->options.heartbeat_ns / 1000000)};
    uint8_t *frame = wf_peers_frame(self->peers, WF_WIRE_HEADER_BYTES + sizeof body);
    WF_CHECK(frame != NULL);
    memcpy(wf_wire_put_header(frame, WF_WIRE_WELCOME, 0, 0), &body, sizeof body);
    return wf_peers_send(self->peers, &worker->id);
}

static void let_all_start(wf_pool *self, weft_env *env) {
    self->seen.is_held_back = false;
    weft_env_log(env, WEFT_LOG_INFO, "a worker came up: all may start again");
    for (uint32_t i = 0; i < self->options.spawned; i++) {
        self->workers[i].deaths = 0;
        self->workers[i].start_ns = 0;
    }
}

/* Who says HELLO may be in a container, where he has another number; weft looks at the one that he has here. */
static pid_t pid_of(const wf_pool *self, const wf_wire_hello *hello) {
    pid_t seen = wf_peers_pid(self->peers);
    return seen >= 0 ? seen : (pid_t)hello->pid;
}

static void on_hello(wf_pool *self, weft_env *env, const wf_peer_id *from, const void *frame, size_t bytes) {
    wf_wire_hello hello;
    char name[WF_WIRE_NAME_MAX + 1];
    const char *why = NULL;
    wf_pool_worker *worker = find(self, from);
    if (wf_wire_read_hello(frame, bytes, &hello, name, &why) != WEFT_OK) {
        if (worker)
            condemn(self, env, worker, why);
        else
            refuse(self, env, from, why);
        return;
    }
    if (!same_token(hello.token, self->token)) {
        refuse(self, env, from, "HELLO has a wrong token");
        return;
    }
    if (hello.version_low > WF_WIRE_VERSION || hello.version_high < WF_WIRE_VERSION) {
        refuse(self, env, from, "HELLO offers no version that is spoken here: 1 is");
        return;
    }
    if (self->stopping) return;
    if (worker) {
        condemn(self, env, worker, "a second HELLO");
        return;
    }
    pid_t pid = pid_of(self, &hello);
    worker = place_for(self, name, pid, &why);
    if (!worker) {
        refuse(self, env, from, why);
        return;
    }
    worker->id = *from;
    worker->pid = pid; /* of a spawned one behind a shell this is another process of its group */
    if (!worker->spawned) {
        worker->born_ns = weft_env_now_ns(env);
        worker->watch_fd = worker->pid > 0 ? wf_process_watch(worker->pid) : -1;
        wf_pool_watch(self, worker->watch_fd, worker);
        snprintf(worker->name, sizeof worker->name, "%s", *name ? name : "attached");
        worker->generation++;
        self->seen.attached++;
    }
    worker->connected = true;
    worker->has_progress = worker->progress && (hello.flags & WF_WIRE_HAS_PROGRESS);
    worker->heard_ns = weft_env_now_ns(env);
    worker->state = WEFT_WORKER_READY;
    self->look_ns = 0;
    if (worker->spawned) self->failed_starts = 0;
    if (worker->spawned && self->seen.is_held_back) let_all_start(self, env);
    weft_env_log(env, WEFT_LOG_INFO, "worker ready worker=%s number=%u pid=%d", worker->name, worker->number,
                 (int)worker->pid);
    if (welcome(self, worker)) wf_pool_tell(self, env, worker, true);
}

static const wf_done_status statuses[] = {
    [WF_WIRE_SUCCESS] = WF_DONE_SUCCESS, [WF_WIRE_FAILURE] = WF_DONE_FAILURE, [WF_WIRE_UNRUN] = WF_DONE_UNRUN};

static char *copy_reason(const char *bytes, size_t count) {
    char text[WF_WIRE_REASON_MAX + 1];
    size_t length = wf_utf8_clean(text, sizeof text, bytes, count);
    return wf_reason_copy(length ? text : "the handler failed without a reason");
}

/* SUCCESS is what it was lent with. */
static void set_outcome(wf_record *record, const wf_wire_done *done, const char *reason) {
    record->status = (uint8_t)statuses[done->status];
    free(record->reason);
    record->reason = done->status == WF_WIRE_FAILURE ? copy_reason(reason, done->reason_bytes) : NULL;
}

static void on_done(wf_pool *self, weft_env *env, wf_pool_worker *worker, const wf_wire_header *header,
                    const void *frame, size_t bytes) {
    wf_wire_reader reader;
    wf_wire_done done;
    const char *reason;
    wf_pool_task *task = &worker->tasks[0];
    if (worker->task_count == 0 || header->task != task->id) {
        condemn(self, env, worker, "DONE of a task that it does not have, or not in the order of its tasks");
        return;
    }
    wf_wire_read_done(&reader, header, frame, bytes);
    while (wf_wire_next_done(&reader, &done, &reason)) {
        wf_record *record = task->next;
        if (task->done == task->sent || record->offset != done.offset) {
            reader.why = "DONE of another record than the one whose turn it is";
            break;
        }
        wf_record_prefetch(record->next);
        if (done.status != WF_WIRE_SUCCESS) set_outcome(record, &done, reason);
        task->next = record->next;
        task->done++;
    }
    if (reader.why) {
        condemn(self, env, worker, reader.why);
        return;
    }
    worker->seen_ns = weft_env_now_ns(env);
    worker->stage = 0;
    if (!task->next) wf_pool_give_back(self, env, worker);
    wf_pool_pump(self, env, worker);
}

static void on_log(weft_env *env, const wf_pool_worker *worker, const wf_wire_header *header, const void *frame,
                   size_t bytes) {
    size_t count;
    const char *text = wf_wire_text(frame, bytes, &count);
    char line[800];
    wf_utf8_clean(line, sizeof line, text, count);
    for (char *c = line; *c; c++)
        if (*c == '"') *c = ' ';
    weft_env_log(env, (weft_log_level)header->count, "worker says worker=%s text=\"%s\"", worker->name, line);
}

static void on_frame(wf_pool *self, weft_env *env, wf_pool_worker *worker, const wf_wire_header *header,
                     const void *frame, size_t bytes) {
    worker->heard_ns = weft_env_now_ns(env);
    switch (header->type) {
    case WF_WIRE_DONE:
        on_done(self, env, worker, header, frame, bytes);
        return;
    case WF_WIRE_PONG:
        if (header->task == self->ping && worker->task_count == 0)
            self->seen.round_trip_ns = weft_env_now_ns(env) - self->ping_ns;
        wf_pool_pump(self, env, worker); /* he reads: what found no room may find some now */
        return;
    case WF_WIRE_LOG:
        on_log(env, worker, header, frame, bytes);
        return;
    case WF_WIRE_BYE:
        if (worker->state != WEFT_WORKER_READY) return;
        worker->state = WEFT_WORKER_LEAVING;
        worker->cause = WEFT_END_EXIT;
        worker->bye_ns = weft_env_now_ns(env);
        wf_pool_tell(self, env, worker, false);
        wf_pool_say(self, worker, WF_WIRE_BYE, 0); /* behind all that was sent to it */
        return;
    default:
        condemn(self, env, worker, "a frame that only weft sends");
    }
}

static void on_message(wf_pool *self, weft_env *env, const wf_peer_id *from, const void *frame, size_t bytes) {
    wf_wire_header header = {0};
    const char *why = "more than one frame";
    wf_pool_worker *worker = find(self, from);
    bool fits = bytes <= WF_WIRE_FRAME_MAX;
    if (!fits) why = "a frame of more than 524288 bytes";
    bool readable = frame && fits && wf_wire_open(frame, bytes, &header, &why) == WEFT_OK &&
                    wf_wire_check_worker(&header, bytes, &why) == WEFT_OK;
    /* What a dying worker finished before it died still counts; what a condemned one says does not. */
    if (worker && worker->state == WEFT_WORKER_ENDING && worker->cause == WEFT_END_HOSTILE) return;
    if (readable && header.type == WF_WIRE_HELLO) {
        on_hello(self, env, from, frame, bytes);
    } else if (!worker) {
        refuse(self, env, from, readable ? "it did not say HELLO" : why);
    } else if (!readable) {
        condemn(self, env, worker, why);
    } else {
        on_frame(self, env, worker, &header, frame, bytes);
    }
}

bool wf_pool_read(wf_pool *self, weft_env *env) {
    wf_peer_id from;
    const void *frame;
    size_t bytes;
    for (unsigned i = 0; i < READ_MAX; i++) {
        if (!wf_peers_receive(self->peers, &from, &frame, &bytes)) return true;
        on_message(self, env, &from, frame, bytes);
    }
    return false;
}
