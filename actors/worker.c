/* SPDX-License-Identifier: Apache-2.0
 *
 * The worker's side of the protocol: one thread, which runs the handler and looks at messages between records.
 *
 * Invariants:
 * 1. Frames of records are kept until their last record is reported: a record's bytes are read where they arrived.
 * 2. DONE names records in the order of WORK; a task is over when all its records are named.
 * 3. Between two records at most look_ns pass without a look at messages, and what is finished is reported by then.
 */
#include "weft/worker.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "clock.h"
#include "peers.h"
#include "record.h"
#include "utf8.h"
#include "wire.h"

static const uint64_t ms = 1000000;
static const uint64_t look_ns = 1000000;

enum {
    EXIT_ENVIRONMENT = 1,
    EXIT_REFUSED = 2,
    EXIT_GONE = 3,
    HELLO_MS = 30000, /* weft answers at once, unless it hangs */
    SILENT_HEARTBEATS = 5,
    TASKS_MAX = 8, /* weft sends far fewer */
    DONE_MAX = WF_WIRE_RECORDS_MAX,
    TOPICS_MAX = 1 << 20,
};

typedef struct task {
    wf_kept *kept;
    const void *frame; /* in it */
    size_t bytes;
    wf_wire_header header;
    bool cancelled;
} task;

typedef struct worker {
    wf_peer *peer;
    weft_handler handler;
    void *context;
    _Atomic(uint64_t) *progress; /* NULL: not kept */
    task tasks[TASKS_MAX];       /* the first one runs */
    unsigned task_count;
    char **topics;
    uint32_t topic_count;
    wf_record *record; /* the running one: head, and the bytes behind it */
    size_t record_room;
    uint8_t *report; /* DONE that is being written: entries, and reasons apart */
    char *reasons;
    size_t reason_bytes;
    uint32_t report_count;
    uint64_t heartbeat_ns;
    uint64_t heard_ns;
    uint64_t looked_ns;
    bool said_goodbye;
    bool goodbye;
    bool gone;
    bool refused;
} worker;

static worker self; /* weft_worker_log() has no other way to it */
static volatile sig_atomic_t stop_wanted;

static int complain(int status, const char *what, const char *value) {
    fprintf(stderr, "weft worker: %s%s%s\n", what, *value ? ": " : "", value);
    return status;
}

/* --- the environment */

static bool read_token_file(const char *path, char text[WF_WIRE_TOKEN_BYTES * 2 + 1]) {
    FILE *file = fopen(path, "re");
    if (!file) return false;
    size_t count = fread(text, 1, WF_WIRE_TOKEN_BYTES * 2, file);
    text[count] = '\0';
    fclose(file);
    return true;
}

static int digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return -1;
}

static bool parse_token(const char *text, uint8_t *token) {
    if (strlen(text) != (size_t)WF_WIRE_TOKEN_BYTES * 2) return false;
    for (int i = 0; i < WF_WIRE_TOKEN_BYTES; i++) {
        int high = digit(text[2 * i]), low = digit(text[2 * i + 1]);
        if (high < 0 || low < 0) return false;
        token[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static bool take_token(uint8_t *token) {
    char text[WF_WIRE_TOKEN_BYTES * 2 + 1] = "";
    const char *given = getenv("WEFT_TOKEN"), *path = getenv("WEFT_TOKEN_FILE");
    if (given) return parse_token(given, token);
    return path && read_token_file(path, text) && parse_token(text, token);
}

static void map_progress(void) {
    const char *text = getenv("WEFT_PROGRESS_FD");
    int fd = text ? atoi(text) : -1;
    if (fd < 0) return;
    void *page = mmap(NULL, sizeof *self.progress, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (page != MAP_FAILED) self.progress = page;
}

/* --- what is said */

static void send_report(void) {
    if (self.report_count == 0) return;
    size_t entries = (size_t)self.report_count * WF_WIRE_DONE_BYTES;
    wf_wire_put_header(self.report, WF_WIRE_DONE, self.report_count, self.tasks[0].header.task);
    memcpy(self.report + WF_WIRE_HEADER_BYTES + entries, self.reasons, self.reason_bytes);
    if (!wf_peer_send(self.peer, self.report, WF_WIRE_HEADER_BYTES + entries + self.reason_bytes)) self.gone = true;
    self.report_count = 0;
    self.reason_bytes = 0;
}

/* A handler's text as UTF-8: a foreign byte becomes a question mark, a character that was cut at the end goes. Returns
 * its bytes. */
static size_t make_utf8(char *text, size_t bytes) {
    size_t at = 0;
    while (at < bytes) {
        size_t length = wf_utf8_length(text + at, bytes - at);
        bool is_cut = length == 0 && bytes - at < 4 && (unsigned char)text[at] >= 0xc0;
        for (size_t i = at + 1; i < bytes; i++) is_cut = is_cut && ((unsigned char)text[i] & 0xc0) == 0x80;
        if (is_cut) return at;
        if (length == 0) text[at] = '?';
        at += length ? length : 1;
    }
    return bytes;
}

static void add_to_report(int64_t offset, wf_wire_status status, const char *reason) {
    size_t bytes = status == WF_WIRE_FAILURE ? strnlen(reason, WF_WIRE_REASON_MAX) : 0;
    if (bytes) memcpy(self.reasons + self.reason_bytes, reason, bytes);
    bytes = make_utf8(self.reasons + self.reason_bytes, bytes);
    wf_wire_done done = {.offset = offset, .status = (uint8_t)status, .reason_bytes = (uint32_t)bytes};
    uint8_t *at = self.report + WF_WIRE_HEADER_BYTES + (size_t)self.report_count * WF_WIRE_DONE_BYTES;
    wf_wire_put_done(at, &done);
    self.reason_bytes += bytes;
    if (++self.report_count == DONE_MAX) send_report();
}

static bool say(wf_wire_type type, uint32_t number) {
    uint8_t frame[WF_WIRE_HEADER_BYTES];
    wf_wire_put_header(frame, type, 0, number);
    return wf_peer_send(self.peer, frame, sizeof frame);
}

void weft_worker_log(weft_log_level level, const char *format, ...) {
    uint8_t frame[WF_WIRE_HEADER_BYTES + WF_WIRE_LINE_MAX];
    char *text = (char *)wf_wire_put_header(frame, WF_WIRE_LOG, (uint32_t)level, 0);
    va_list arguments;
    va_start(arguments, format);
    int bytes = vsnprintf(text, WF_WIRE_LINE_MAX, format, arguments);
    va_end(arguments);
    if (!self.peer || bytes < 0) return;
    size_t length = (size_t)bytes < WF_WIRE_LINE_MAX ? (size_t)bytes : WF_WIRE_LINE_MAX - 1;
    wf_peer_send(self.peer, frame, WF_WIRE_HEADER_BYTES + make_utf8(text, length));
}

/* --- what is heard */

static bool learn_topic(uint32_t number, const char *text, size_t bytes) {
    if (number >= TOPICS_MAX) return false;
    if (number >= self.topic_count) {
        char **topics = realloc(self.topics, ((size_t)number + 1) * sizeof *topics);
        if (!topics) return false;
        memset(topics + self.topic_count, 0, (number + 1 - self.topic_count) * sizeof *topics);
        self.topics = topics;
        self.topic_count = number + 1;
    }
    free(self.topics[number]);
    self.topics[number] = strndup(text, bytes);
    return self.topics[number] != NULL;
}

static bool keep_work(const wf_wire_header *header) {
    if (self.task_count == TASKS_MAX) return false;
    task now = {.kept = wf_peer_keep(self.peer), .header = *header};
    if (!now.kept) return false;
    now.frame = wf_kept_frame(now.kept, &now.bytes);
    self.tasks[self.task_count++] = now;
    return true;
}

static void on_refused(const void *frame, size_t bytes) {
    size_t count;
    const char *text = wf_wire_text(frame, bytes, &count);
    fprintf(stderr, "weft worker: refused: %.*s\n", (int)count, text);
    self.refused = true;
}

/* False: nothing can be made of it. */
static bool on_frame(const void *frame, size_t bytes) {
    wf_wire_header header;
    const char *why;
    if (wf_wire_open(frame, bytes, &header, &why) != WEFT_OK) return false;
    wf_wire_type type = (wf_wire_type)header.type;
    if (type == WF_WIRE_WORK) return keep_work(&header);
    if (type == WF_WIRE_PING) return say(WF_WIRE_PONG, header.task);
    if (type == WF_WIRE_CANCEL) {
        for (unsigned i = 0; i < self.task_count; i++)
            if (self.tasks[i].header.task == header.task) self.tasks[i].cancelled = true;
    } else if (type == WF_WIRE_TOPIC) {
        size_t count;
        const char *text = wf_wire_text(frame, bytes, &count);
        return learn_topic(header.task, text, count);
    } else if (type == WF_WIRE_BYE) {
        self.goodbye = true;
    } else if (type == WF_WIRE_REFUSED) {
        on_refused(frame, bytes);
    } else {
        return type == WF_WIRE_WELCOME;
    }
    return true;
}

void weft_worker_stop(void) {
    stop_wanted = 1;
}

/* Take all messages; waits for one until `timeout_ms`, or until a signal. */
static void look(int64_t timeout_ms) {
    const void *frame;
    size_t bytes;
    if (stop_wanted && !self.said_goodbye) self.said_goodbye = say(WF_WIRE_BYE, 0); /* weft answers with its own */
    while (!self.gone && wf_peer_receive(self.peer, timeout_ms, &frame, &bytes)) {
        if (!on_frame(frame, bytes)) {
            complain(0, "weft sent a frame that is not understood", "");
            self.gone = true;
        }
        self.heard_ns = wf_clock_now_ns();
        timeout_ms = 0;
    }
    self.looked_ns = wf_clock_now_ns();
    if (self.looked_ns - self.heard_ns > SILENT_HEARTBEATS * self.heartbeat_ns) self.gone = true;
}

bool weft_worker_cancelled(void) {
    if (wf_clock_now_ns() - self.looked_ns >= look_ns) look(0);
    return self.gone || (self.task_count && self.tasks[0].cancelled);
}

/* --- records */

static bool make_record(const wf_wire_record *from, const char *bytes) {
    size_t length =
        wf_record_length(from->key_bytes) + wf_record_length(from->value_bytes) + (size_t)from->header_bytes;
    if (from->topic >= self.topic_count || !self.topics[from->topic]) return false;
    if (length > self.record_room || !self.record) {
        size_t room = length + length / 2 + 4096;
        free(self.record);
        self.record = malloc(sizeof *self.record + room);
        self.record_room = self.record ? room : 0;
        if (!self.record) return false;
    }
    *self.record = (wf_record){.offset = from->offset,
                               .timestamp_ms = from->timestamp_ms,
                               .topic = self.topics[from->topic],
                               .partition = from->partition,
                               .attempt = from->attempt,
                               .header_count = from->header_count,
                               .header_bytes = from->header_bytes,
                               .key_bytes = from->key_bytes,
                               .value_bytes = from->value_bytes};
    memcpy(wf_record_bytes(self.record), bytes, length);
    return true;
}

/* True: it succeeded. */
static bool run(const wf_wire_record *from) {
    weft_result result = self.handler(self.record, self.context);
    const char *reason = self.record->reason;
    if (result == WEFT_SUCCESS)
        add_to_report(from->offset, WF_WIRE_SUCCESS, NULL);
    else if (result == WEFT_FAILURE)
        add_to_report(from->offset, WF_WIRE_FAILURE, reason ? reason : "the handler failed without a reason");
    else
        add_to_report(from->offset, WF_WIRE_FAILURE, "the handler returned neither WEFT_SUCCESS nor WEFT_FAILURE");
    free(self.record->reason);
    self.record->reason = NULL;
    return result == WEFT_SUCCESS;
}

static void note_progress(uint64_t word) {
    if (self.progress) atomic_store_explicit(self.progress, word, memory_order_release);
}

/* The first task. A failure closes its lane: what follows there would overtake it. False: it makes no sense. */
static bool run_task(void) {
    const task *now = &self.tasks[0];
    wf_wire_reader reader;
    wf_wire_record record;
    const char *bytes;
    uint32_t closed = WF_WIRE_ANY_ORDER;
    wf_wire_read_work(&reader, &now->header, now->frame, now->bytes);
    for (uint32_t index = 0; wf_wire_next_record(&reader, &record, &bytes); index++) {
        bool skip = (closed != WF_WIRE_ANY_ORDER && record.lane == closed) || now->cancelled || self.gone;
        if (skip) {
            add_to_report(record.offset, WF_WIRE_UNRUN, NULL);
            continue;
        }
        if (!make_record(&record, bytes)) return false;
        note_progress(wf_wire_progress(now->header.task, index));
        if (!run(&record)) closed = record.lane;
        if (wf_clock_now_ns() - self.looked_ns < look_ns) continue;
        send_report();
        look(0);
    }
    note_progress(0);
    send_report();
    return reader.why == NULL;
}

static void forget_task(void) {
    wf_kept_free(self.tasks[0].kept);
    self.task_count--;
    memmove(self.tasks, self.tasks + 1, self.task_count * sizeof self.tasks[0]);
}

/* --- life */

static bool greet(const uint8_t *token) {
    const char *name = getenv("WEFT_WORKER");
    if (!name) name = "";
    wf_wire_hello hello = {.version_low = WF_WIRE_VERSION,
                           .version_high = WF_WIRE_VERSION,
                           .pid = (uint32_t)getpid(),
                           .flags = self.progress ? WF_WIRE_HAS_PROGRESS : 0,
                           .name_bytes = (uint32_t)strnlen(name, WF_WIRE_NAME_MAX)};
    memcpy(hello.token, token, sizeof hello.token);
    uint8_t frame[WF_WIRE_HEADER_BYTES + WF_WIRE_HELLO_BYTES + WF_WIRE_NAME_MAX];
    uint8_t *end = wf_wire_put_hello(frame, &hello, name);
    if (!wf_peer_send(self.peer, frame, (size_t)(end - frame))) return false;
    const void *answer;
    size_t bytes;
    wf_wire_welcome welcome;
    wf_wire_header header;
    const char *why;
    if (!wf_peer_receive(self.peer, HELLO_MS, &answer, &bytes)) return false;
    if (wf_wire_open(answer, bytes, &header, &why) != WEFT_OK) return false;
    if (header.type == WF_WIRE_REFUSED) on_refused(answer, bytes);
    if (header.type != WF_WIRE_WELCOME || wf_wire_read_welcome(answer, bytes, &welcome, &why) != WEFT_OK) return false;
    self.heartbeat_ns = welcome.heartbeat_ms * ms;
    self.heard_ns = self.looked_ns = wf_clock_now_ns();
    return true;
}

static int serve(void) {
    while (!self.gone && !self.refused && !(self.goodbye && self.task_count == 0)) {
        look(self.task_count ? 0 : (int64_t)(self.heartbeat_ns / ms));
        if (self.task_count == 0) continue;
        if (!run_task()) return complain(EXIT_GONE, "weft sent work that makes no sense", "");
        forget_task();
    }
    if (self.refused) return EXIT_REFUSED;
    return self.goodbye ? 0 : complain(EXIT_GONE, "weft is gone", "");
}

int weft_worker_run(weft_handler handler, void *context) {
    uint8_t token[WF_WIRE_TOKEN_BYTES];
    const char *path = getenv("WEFT_SOCKET");
    if (!path || !*path)
        return complain(EXIT_ENVIRONMENT, "WEFT_SOCKET is not set: weft starts workers, or tells where to attach", "");
    if (!take_token(token))
        return complain(EXIT_ENVIRONMENT, "WEFT_TOKEN, or the file WEFT_TOKEN_FILE, must have 64 hexadecimal digits",
                        "");
    if (wf_peer_open(path, &self.peer) != WEFT_OK)
        return complain(EXIT_GONE, "no connection to WEFT_SOCKET", strerror(errno));
    map_progress();
    self.handler = handler;
    self.context = context;
    self.report = malloc(WF_WIRE_HEADER_BYTES + DONE_MAX * (WF_WIRE_DONE_BYTES + (size_t)WF_WIRE_REASON_MAX));
    self.reasons = malloc(DONE_MAX * (size_t)WF_WIRE_REASON_MAX);
    int status = self.report && self.reasons ? 0 : complain(EXIT_ENVIRONMENT, "out of memory", "");
    if (status == 0)
        status = greet(token) ? serve()
                              : complain(self.refused ? EXIT_REFUSED : EXIT_GONE, "no welcome from WEFT_SOCKET", path);
    while (self.task_count) forget_task();
    for (uint32_t i = 0; i < self.topic_count; i++) free(self.topics[i]);
    free(self.topics);
    free(self.record);
    free(self.report);
    free(self.reasons);
    wf_peer_close(&self.peer);
    self = (worker){0};
    stop_wanted = 0;
    return status;
}
