/* SPDX-License-Identifier: Apache-2.0 */
#include "parent.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "rules.h"
#include "utf8.h"

static const uint64_t ms = 1000000;

enum {
    FRAME_MAX = 1 << 24, /* so that one that is too large is seen */
    LOOK_MS = 20,
    ID_BYTES = 5, /* that ZeroMQ gives to whom sets none */
};

void parent_fail(parent *self, int rule, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(self->trouble, sizeof self->trouble, format, arguments);
    va_end(arguments);
    self->rule = rule;
    longjmp(self->out, 1);
}

void *parent_alloc(parent *self, size_t bytes) {
    void **room = malloc(sizeof *room + bytes);
    if (!room) parent_fail(self, 0, "out of memory");
    *room = self->rooms;
    self->rooms = room;
    return room + 1;
}

/* --- life */

static void make_token(parent *self, char text[WF_WIRE_TOKEN_BYTES * 2 + 1]) {
    FILE *random = fopen("/dev/urandom", "r");
    size_t count = random ? fread(self->token, 1, sizeof self->token, random) : 0;
    if (random) fclose(random);
    if (count != sizeof self->token) parent_fail(self, 0, "/dev/urandom can't be read");
    for (int i = 0; i < WF_WIRE_TOKEN_BYTES; i++) snprintf(text + 2 * i, 3, "%02x", self->token[i]);
}

static void make_word(parent *self) {
    self->word_fd = memfd_create("progress", MFD_CLOEXEC);
    if (self->word_fd < 0 || ftruncate(self->word_fd, sizeof *self->word) != 0)
        parent_fail(self, 0, "no memory to share: %s", strerror(errno));
    void *page = mmap(NULL, sizeof *self->word, PROT_READ | PROT_WRITE, MAP_SHARED, self->word_fd, 0);
    if (page == MAP_FAILED) parent_fail(self, 0, "no memory to share: %s", strerror(errno));
    self->word = page;
}

static void make_place(parent *self, bool with_files, const char *token) {
    static unsigned number;
    if (!with_files) {
        snprintf(self->socket, sizeof self->socket, "@weft-worker-check-%d-%u", (int)getpid(), number++);
        return;
    }
    snprintf(self->directory, sizeof self->directory, "/tmp/weft-worker-check-XXXXXX");
    if (!mkdtemp(self->directory)) {
        *self->directory = '\0';
        parent_fail(self, 0, "no directory in /tmp: %s", strerror(errno));
    }
    snprintf(self->socket, sizeof self->socket, "%s/workers", self->directory);
    snprintf(self->token_file, sizeof self->token_file, "%s/token", self->directory);
    FILE *file = fopen(self->token_file, "w");
    if (file) fprintf(file, "%s\n", token);
    if (!file || fclose(file) != 0) parent_fail(self, 0, "%s can't be written", self->token_file);
}

void parent_open(parent *self, unsigned flags) {
    char token[WF_WIRE_TOKEN_BYTES * 2 + 1], lines[4][128];
    bool attached = flags & START_ATTACHED, has_word = !(flags & (START_ATTACHED | START_NO_WORD));
    make_token(self, token);
    make_place(self, attached, token);
    if (has_word) make_word(self);
    if (wf_peers_open(self->socket, FRAME_MAX, NULL, 0, &self->peers) != WEFT_OK)
        parent_fail(self, 0, "no socket %s: %s", self->socket, strerror(errno));
    snprintf(lines[0], sizeof lines[0], "WEFT_SOCKET=%s", self->socket);
    snprintf(lines[1], sizeof lines[1], attached ? "WEFT_TOKEN_FILE=%s" : "WEFT_TOKEN=%s",
             attached ? self->token_file : token);
    snprintf(lines[2], sizeof lines[2], "WEFT_WORKER=w-7-1");
    snprintf(lines[3], sizeof lines[3], "WEFT_PROGRESS_FD=%d", has_word ? WF_CHILD_SHARED_FD : -1);
    const char *environment[5] = {lines[0], lines[1], lines[2], lines[3]};
    if (attached) environment[2] = NULL;
    wf_child_options options = {.command = self->command,
                                .environment = flags & START_NO_SOCKET ? environment + 1 : environment,
                                .shared_fd = has_word ? self->word_fd : -1,
                                .guard_fd = -1};
    wf_child_hear_ends();
    if (wf_child_start(&options, &self->child) != WEFT_OK) {
        self->child.pid = 0;
        parent_fail(self, 0, "%s can't be started: %s", self->command, strerror(errno));
    }
}

void parent_vanish(parent *self) {
    wf_peers_close(&self->peers);
}

void parent_close(parent *self) {
    while (self->rooms) {
        void *next = *(void **)self->rooms;
        free(self->rooms);
        self->rooms = next;
    }
    if (self->child.pid > 0) wf_child_bury(&self->child);
    if (self->child.stderr_fd > 0) close(self->child.stderr_fd);
    wf_peers_close(&self->peers);
    if (self->word) munmap((void *)(uintptr_t)self->word, sizeof *self->word);
    if (self->word_fd > 0) close(self->word_fd);
    if (*self->token_file) unlink(self->token_file);
    if (*self->directory) {
        unlink(self->socket);
        rmdir(self->directory);
    }
}

/* --- to the worker */

void parent_send(parent *self, const void *frame, size_t bytes) {
    uint8_t *room = wf_peers_frame(self->peers, bytes);
    if (!room) parent_fail(self, 0, "out of memory");
    memcpy(room, frame, bytes);
    wf_peers_send(self->peers, &self->worker); /* one that went away is seen by its death */
}

void parent_say(parent *self, wf_wire_type type, uint32_t count, uint32_t task) {
    uint8_t frame[WF_WIRE_HEADER_BYTES];
    wf_wire_put_header(frame, type, count, task);
    parent_send(self, frame, sizeof frame);
}

void parent_say_text(parent *self, wf_wire_type type, uint32_t task, const char *text) {
    uint8_t frame[WF_WIRE_HEADER_BYTES + 512];
    size_t bytes = strlen(text);
    memcpy(wf_wire_put_header(frame, type, 0, task), text, bytes);
    parent_send(self, frame, WF_WIRE_HEADER_BYTES + bytes);
}

void parent_ping(parent *self) {
    parent_say(self, WF_WIRE_PING, 0, ++self->pings);
    self->ping_ns = wf_clock_now_ns();
}

static int32_t length_of(const char *text, int32_t bytes) {
    return !text ? -1 : bytes ? bytes : (int32_t)strlen(text);
}

static size_t add(uint8_t *bytes, size_t used, const char *from, int32_t count) {
    if (count > 0) memcpy(bytes + used, from, (size_t)count);
    return used + (count > 0 ? (size_t)count : 0);
}

void parent_work(parent *self, uint32_t task, const item *items, uint32_t count) {
    size_t room = WF_WIRE_HEADER_BYTES, used = 0;
    for (uint32_t i = 0; i < count; i++)
        room += WF_WIRE_RECORD_BYTES + (items[i].key ? strlen(items[i].key) : 0) + items[i].header_bytes +
                (size_t)(items[i].value ? length_of(items[i].value, items[i].value_bytes) : 0);
    if (self->sent_count + count > SENT_MAX) parent_fail(self, 0, "this check sends more than %d records", SENT_MAX);
    uint8_t *frame = parent_alloc(self, room);
    uint8_t *at = wf_wire_put_header(frame, WF_WIRE_WORK, count, task);
    uint8_t *bytes = at + (size_t)count * WF_WIRE_RECORD_BYTES;
    for (uint32_t i = 0; i < count; i++) {
        const item *from = &items[i];
        wf_wire_record record = {.offset = from->offset ? from->offset : 1000 + 3 * (int64_t)self->sent_count,
                                 .timestamp_ms = from->timestamp_ms,
                                 .topic = from->topic,
                                 .partition = from->partition,
                                 .key_bytes = length_of(from->key, 0),
                                 .value_bytes = length_of(from->value, from->value_bytes),
                                 .header_bytes = from->header_bytes,
                                 .header_count = from->header_count,
                                 .attempt = from->attempt ? from->attempt : 1,
                                 .begin = (uint32_t)used,
                                 .lane = from->lane};
        memcpy(at + (size_t)i * WF_WIRE_RECORD_BYTES, &record, sizeof record);
        used = add(bytes, used, from->key, record.key_bytes);
        used = add(bytes, used, from->value, record.value_bytes);
        used = add(bytes, used, from->headers, (int32_t)from->header_bytes);
        self->sent[self->sent_count++] = (sent){.offset = record.offset, .task = task};
    }
    parent_send(self, frame, room);
}

void parent_work_same(parent *self, uint32_t task, const item *one, uint32_t count) {
    item items[WF_WIRE_RECORDS_MAX];
    for (uint32_t i = 0; i < count; i++) items[i] = *one;
    parent_work(self, task, items, count);
}

/* --- from the worker */

static void on_hello(parent *self, const void *frame, size_t bytes) {
    const char *why;
    if (self->connected) parent_fail(self, RULE_HELLO, "expected one HELLO, a second one came");
    if (wf_wire_read_hello(frame, bytes, &self->hello, self->name, &why) != WEFT_OK)
        parent_fail(self, RULE_HELLO, "expected a HELLO of the page, got one of %zu bytes: %s", bytes, why);
    self->connected = true;
}

static bool is_utf8(const char *text, size_t bytes) {
    while (bytes > 0) {
        size_t length = wf_utf8_length(text, bytes);
        if (length == 0) return false;
        text += length;
        bytes -= length;
    }
    return true;
}

static void on_done(parent *self, const wf_wire_header *header, const void *frame, size_t bytes) {
    wf_wire_reader reader;
    wf_wire_done done;
    const char *reason;
    self->done_frames++;
    wf_wire_read_done(&reader, header, frame, bytes);
    while (wf_wire_next_done(&reader, &done, &reason)) {
        if (self->done_count == self->sent_count)
            parent_fail(self, RULE_DONE, "DONE of task %u names offset %lld, but all records were reported before",
                        header->task, (long long)done.offset);
        sent *due = &self->sent[self->done_count];
        if (header->task != due->task)
            parent_fail(self, RULE_ORDER, "expected DONE of task %u, whose turn it is, got one of task %u", due->task,
                        header->task);
        if (done.offset != due->offset)
            parent_fail(self, RULE_DONE, "expected DONE to name offset %lld, whose turn it is, it named %lld",
                        (long long)due->offset, (long long)done.offset);
        if (!is_utf8(reason, done.reason_bytes))
            parent_fail(self, RULE_FAILURE, "expected a reason in UTF-8 for offset %lld, its %u bytes are not",
                        (long long)done.offset, done.reason_bytes);
        due->status = done.status;
        due->frame = self->done_frames;
        due->reason_bytes = (uint8_t)done.reason_bytes;
        memcpy(due->reason, reason, done.reason_bytes);
        self->done_count++;
    }
    if (reader.why)
        parent_fail(self, RULE_DONE, "expected a DONE of the page: the frame of %zu bytes %s", bytes, reader.why);
}

static void on_pong(parent *self, const wf_wire_header *header) {
    if (self->pongs == self->pings)
        parent_fail(self, RULE_PING, "expected no PONG without a PING, got %u", header->task);
    if (header->task != self->pongs + 1)
        parent_fail(self, RULE_PING, "expected PONG %u, got PONG %u", self->pongs + 1, header->task);
    self->pongs++;
}

static void on_log(parent *self, const wf_wire_header *header, const void *frame, size_t bytes) {
    size_t count;
    const char *text = wf_wire_text(frame, bytes, &count);
    if (count > WF_WIRE_LINE_MAX)
        parent_fail(self, RULE_LOG, "expected at most %d bytes in a LOG, got %zu", WF_WIRE_LINE_MAX, count);
    if (header->count > WF_WIRE_LEVEL_MAX)
        parent_fail(self, RULE_LOG, "expected a level from 0 to 3 in a LOG, got %u", header->count);
    if (!is_utf8(text, count)) parent_fail(self, RULE_LOG, "expected UTF-8 in a LOG");
    memcpy(self->log, text, count);
    self->log[count] = '\0';
    self->log_level = header->count;
    self->logs++;
}

static void check_sender(parent *self, const wf_peer_id *from) {
    if (!self->connected) {
        self->worker = *from;
        if (from->count != ID_BYTES || from->bytes[0] != 0)
            parent_fail(self, RULE_HELLO, "expected a DEALER that sets no routing id, got one with %u bytes of it",
                        from->count);
    } else if (from->count != self->worker.count || memcmp(from->bytes, self->worker.bytes, from->count) != 0)
        parent_fail(self, RULE_HELLO, "expected one connection, a frame came from a second one");
}

/* The type of the frame, looked at. */
static int take(parent *self, const wf_peer_id *from, const void *frame, size_t bytes) {
    wf_wire_header header;
    const char *why = "more than one part";
    check_sender(self, from);
    if (bytes > WF_WIRE_FRAME_MAX)
        parent_fail(self, RULE_FRAME, "expected frames of at most %d bytes, got one of %zu", WF_WIRE_FRAME_MAX, bytes);
    if (!frame || wf_wire_open(frame, bytes, &header, &why) != WEFT_OK)
        parent_fail(self, RULE_FRAME, "expected a frame of the page, got one of %zu bytes: %s", bytes, why);
    wf_wire_type type = (wf_wire_type)header.type;
    if (type != WF_WIRE_HELLO && !self->welcomed)
        parent_fail(self, RULE_HELLO, "expected HELLO and then nothing before WELCOME, got a frame of type %d", type);
    if (type == WF_WIRE_HELLO)
        on_hello(self, frame, bytes);
    else if (type == WF_WIRE_DONE)
        on_done(self, &header, frame, bytes);
    else if (type == WF_WIRE_PONG)
        on_pong(self, &header);
    else if (type == WF_WIRE_LOG)
        on_log(self, &header, frame, bytes);
    else if (type == WF_WIRE_BYE)
        self->byes++;
    else
        parent_fail(self, RULE_FRAME, "expected no frame of type %d, which only weft sends", type);
    if (wf_wire_check_worker(&header, bytes, &why) != WEFT_OK)
        parent_fail(self, RULE_FRAME, "expected a frame of the page, got one of type %d that %s", type, why);
    return type;
}

static void read_said(parent *self) {
    char text[1024];
    ssize_t bytes;
    while (self->child.stderr_fd > 0 && (bytes = read(self->child.stderr_fd, text, sizeof text)) > 0) {
        size_t count = (size_t)bytes, keep = self->said_bytes;
        if (keep + count > SAID_BYTES) keep = SAID_BYTES - count;
        memmove(self->said, self->said + self->said_bytes - keep, keep);
        memcpy(self->said + keep, text, count);
        self->said_bytes = keep + count;
        self->said[self->said_bytes] = '\0';
    }
}

/* Is there a frame? -1: no. */
static int take_one(parent *self) {
    wf_peer_id from;
    const void *frame;
    size_t bytes;
    if (!self->peers || !wf_peers_receive(self->peers, &from, &frame, &bytes)) return -1;
    return take(self, &from, frame, bytes);
}

/* One step of waiting: a type, -1: nothing, 0: it has ended, and what it sent is read to the end. */
static int step(parent *self, int64_t timeout_ms) {
    int type = take_one(self), status;
    if (type > 0) return type;
    read_said(self);
    if (self->death == NO_DEATH && wf_child_reap(&self->child, &status)) {
        self->death = status;
        read_said(self);
        timeout_ms = 100; /* ZeroMQ may still read what it sent last */
    }
    uint64_t now_ns = wf_clock_now_ns();
    bool beats = self->welcomed && !self->is_quiet && self->peers && self->death == NO_DEATH;
    if (beats && now_ns - self->ping_ns >= self->heartbeat_ms * ms) parent_ping(self);
    struct pollfd fds[] = {{.fd = self->peers ? wf_peers_fd(self->peers) : -1, .events = POLLIN},
                           {.fd = self->child.pid > 0 ? self->child.exit_fd : -1, .events = POLLIN}};
    poll(fds, 2, (int)timeout_ms);
    type = take_one(self);
    return type < 0 && self->death != NO_DEATH ? 0 : type;
}

bool parent_look(parent *self, int64_t timeout_ms) {
    uint64_t end_ns = wf_clock_now_ns() + (uint64_t)timeout_ms * ms;
    do {
        int type = step(self, timeout_ms < LOOK_MS ? timeout_ms : LOOK_MS);
        if (type == 0) return false;
    } while (wf_clock_now_ns() < end_ns);
    return true;
}

static uint64_t patience_end(const parent *self) {
    return wf_clock_now_ns() + (uint64_t)self->patience_ms * ms;
}

/* Whoever waits for one thing has one end for all that comes meanwhile: heartbeats come for ever. */
static int next_before(parent *self, uint64_t end_ns, const char *what) {
    while (wf_clock_now_ns() < end_ns) {
        int type = step(self, LOOK_MS);
        if (type >= 0) return type;
    }
    parent_fail(self, RULE_IN_TIME, "expected %s, it did not come in %lld ms", what, (long long)self->patience_ms);
}

int parent_next(parent *self, const char *what) {
    return next_before(self, patience_end(self), what);
}

/* In words, for messages. */
static const char *death_text(int status) {
    static char text[64];
    if (WIFSIGNALED(status))
        snprintf(text, sizeof text, "signal %d", WTERMSIG(status));
    else
        snprintf(text, sizeof text, "status %d", WEXITSTATUS(status));
    return text;
}

/* The next frame, from a worker that must not end. */
static int next_of_living(parent *self, uint64_t end_ns, const char *what) {
    int type = next_before(self, end_ns, what);
    if (type == 0) parent_fail(self, RULE_END, "expected %s, the worker ended with %s", what, death_text(self->death));
    return type;
}

void parent_await_hello(parent *self) {
    uint64_t end_ns = patience_end(self);
    while (!self->connected) next_of_living(self, end_ns, "HELLO");
}

void parent_greet(parent *self) {
    parent_await_hello(self);
    wf_wire_welcome welcome = {.worker = 7, .heartbeat_ms = self->heartbeat_ms};
    uint8_t frame[WF_WIRE_HEADER_BYTES + sizeof welcome];
    memcpy(wf_wire_put_header(frame, WF_WIRE_WELCOME, 0, 0), &welcome, sizeof welcome);
    parent_send(self, frame, sizeof frame);
    self->welcomed = true;
    self->ping_ns = wf_clock_now_ns();
}

void parent_await_done(parent *self, uint32_t count) {
    char what[64];
    while (self->done_count < count) {
        uint32_t before = self->done_count;
        uint64_t end_ns = patience_end(self);
        snprintf(what, sizeof what, "DONE of offset %lld", (long long)self->sent[before].offset);
        while (self->done_count == before) next_of_living(self, end_ns, what);
    }
}

void parent_await_pongs(parent *self) {
    uint64_t end_ns = patience_end(self);
    while (self->pongs < self->pings) next_of_living(self, end_ns, "PONG");
}

void parent_await_log(parent *self, const char *text) {
    char what[200];
    uint64_t end_ns = patience_end(self);
    snprintf(what, sizeof what, "a LOG with \"%.100s\"", text);
    while (!strstr(self->log, text)) next_of_living(self, end_ns, what);
}

bool parent_await_bye(parent *self) {
    uint64_t end_ns = patience_end(self);
    while (self->byes == 0)
        if (next_before(self, end_ns, "BYE, or the end of the worker") == 0) return false;
    return true;
}

int parent_await_death(parent *self, int rule, const char *why) {
    uint64_t end_ns = patience_end(self);
    while (step(self, LOOK_MS) != 0)
        if (wf_clock_now_ns() >= end_ns)
            parent_fail(self, rule, "expected the worker to end, %s; it lives after %lld ms", why,
                        (long long)self->patience_ms);
    return self->death;
}

void parent_await_refusal(parent *self, int rule, const char *why) {
    int status = parent_await_death(self, rule, why);
    if (!WIFEXITED(status) || WEXITSTATUS(status) == 0)
        parent_fail(self, rule, "expected the worker to exit with a status that is not 0, %s; it ended with %s", why,
                    death_text(status));
    if (self->said_bytes == 0)
        parent_fail(self, rule, "expected the worker to say why on standard error, %s; it said nothing", why);
}

void parent_part(parent *self) {
    parent_say(self, WF_WIRE_BYE, 0, 0);
    int status = parent_await_death(self, RULE_BYE, "after weft's BYE");
    if (self->done_count < self->sent_count)
        parent_fail(self, RULE_BYE, "expected all %u records to be reported before the end, %u were", self->sent_count,
                    self->done_count);
    if (status != 0)
        parent_fail(self, RULE_BYE, "expected the worker to end with status 0 after BYE, it ended with %s",
                    death_text(status));
}
