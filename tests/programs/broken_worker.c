/* SPDX-License-Identifier: Apache-2.0
 *
 * A worker that does all that weft-worker-check asks for, but for the one mistake that its argument names: `none`, or a
 * row of the table below. It is made of frames alone, not of the SDK, and has no great opinion of errors.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "peers.h"
#include "utf8.h"
#include "wire.h"

typedef enum mistake {
    NONE = 0,
    SPEAKS_BEFORE_WELCOME,
    TWO_HELLOS,
    WRONG_TOKEN,
    WRONG_NAME,
    WRONG_PID,
    OTHER_VERSIONS,
    WORD_WITHOUT_MEMORY,
    STAYS_WHEN_REFUSED,
    QUIET_WHEN_REFUSED,
    NULL_IS_EMPTY,
    EMPTY_IS_NULL,
    LOSES_HEADERS,
    LOSES_ATTEMPT,
    KEEPS_OLD_TOPIC,
    LAST_TASK_FIRST,
    RECORDS_BACKWARDS,
    REPORTS_TWICE,
    FORGETS_ONE,
    WRONG_TASK,
    REPORTS_AT_THE_END,
    RUNS_AFTER_FAILURE,
    CLOSES_ANY_ORDER,
    CLOSES_FOR_EVER,
    HIDES_FAILURE,
    LOSES_REASON,
    LONG_REASON,
    CUT_REASON,
    FOREIGN_REASON,
    NO_PONG,
    PONG_LATE,
    PONG_OF_ANOTHER,
    PONG_UNASKED,
    PONG_WITH_BYTES,
    NO_LOG,
    LONG_LOG,
    DEAF_TO_CANCEL,
    CANCELS_ALL,
    CANCELS_LATER,
    STAYS_AFTER_BYE,
    RUNS_FROM_BYE,
    BAD_STATUS_AFTER_BYE,
    NO_GOODBYE,
    STAYS_IN_SILENCE,
    IGNORES_NONSENSE,
    WORD_OFF_BY_ONE,
    WORD_STAYS,
    SENDS_WORK,
    SENDS_GARBAGE,
    MISTAKES
} mistake;

static const char *const names[MISTAKES] = {
    [NONE] = "none",
    [SPEAKS_BEFORE_WELCOME] = "speaks_before_welcome",
    [TWO_HELLOS] = "two_hellos",
    [WRONG_TOKEN] = "wrong_token",
    [WRONG_NAME] = "wrong_name",
    [WRONG_PID] = "wrong_pid",
    [OTHER_VERSIONS] = "other_versions",
    [WORD_WITHOUT_MEMORY] = "word_without_memory",
    [STAYS_WHEN_REFUSED] = "stays_when_refused",
    [QUIET_WHEN_REFUSED] = "quiet_when_refused",
    [NULL_IS_EMPTY] = "null_is_empty",
    [EMPTY_IS_NULL] = "empty_is_null",
    [LOSES_HEADERS] = "loses_headers",
    [LOSES_ATTEMPT] = "loses_attempt",
    [KEEPS_OLD_TOPIC] = "keeps_old_topic",
    [LAST_TASK_FIRST] = "last_task_first",
    [RECORDS_BACKWARDS] = "records_backwards",
    [REPORTS_TWICE] = "reports_twice",
    [FORGETS_ONE] = "forgets_one",
    [WRONG_TASK] = "wrong_task",
    [REPORTS_AT_THE_END] = "reports_at_the_end",
    [RUNS_AFTER_FAILURE] = "runs_after_failure",
    [CLOSES_ANY_ORDER] = "closes_any_order",
    [CLOSES_FOR_EVER] = "closes_for_ever",
    [HIDES_FAILURE] = "hides_failure",
    [LOSES_REASON] = "loses_reason",
    [LONG_REASON] = "long_reason",
    [CUT_REASON] = "cut_reason",
    [FOREIGN_REASON] = "foreign_reason",
    [NO_PONG] = "no_pong",
    [PONG_LATE] = "pong_late",
    [PONG_OF_ANOTHER] = "pong_of_another",
    [PONG_UNASKED] = "pong_unasked",
    [PONG_WITH_BYTES] = "pong_with_bytes",
    [NO_LOG] = "no_log",
    [LONG_LOG] = "long_log",
    [DEAF_TO_CANCEL] = "deaf_to_cancel",
    [CANCELS_ALL] = "cancels_all",
    [CANCELS_LATER] = "cancels_later",
    [STAYS_AFTER_BYE] = "stays_after_bye",
    [RUNS_FROM_BYE] = "runs_from_bye",
    [BAD_STATUS_AFTER_BYE] = "bad_status_after_bye",
    [NO_GOODBYE] = "no_goodbye",
    [STAYS_IN_SILENCE] = "stays_in_silence",
    [IGNORES_NONSENSE] = "ignores_nonsense",
    [WORD_OFF_BY_ONE] = "word_off_by_one",
    [WORD_STAYS] = "word_stays",
    [SENDS_WORK] = "sends_work",
    [SENDS_GARBAGE] = "sends_garbage",
};

enum { TOPICS = 65536, TASKS = 8, TEXT = 16384, BEATS = 5 };

typedef struct task {
    uint8_t *frame;
    size_t bytes;
    wf_wire_header header;
    bool cancelled;
} task;

static mistake made;
static wf_peer *peer;
static char *topics[TOPICS];
static task tasks[TASKS];
static unsigned task_count;
static bool goodbye, late_pong, cancels_next, closed_for_ever;
static uint32_t heartbeat_ms = 30000, late_number;
static volatile uint64_t *word;
static char text[TEXT];

static void end(int status, const char *why) {
    if (why) fprintf(stderr, "%s\n", why);
    wf_peer_close(&peer);
    exit(status);
}

static void nonsense(const char *why) {
    if (made != IGNORES_NONSENSE) end(3, why);
}

static void say(wf_wire_type type, uint32_t count, uint32_t number, const char *more, size_t bytes) {
    uint8_t frame[WF_WIRE_HEADER_BYTES + TEXT];
    memcpy(wf_wire_put_header(frame, type, count, number), more, bytes);
    wf_peer_send(peer, frame, WF_WIRE_HEADER_BYTES + bytes);
}

static uint64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* --- what is heard */

static void on_ping(uint32_t number) {
    if (made == NO_PONG) return;
    if (made == PONG_LATE && task_count) {
        late_pong = true;
        late_number = number;
        return;
    }
    say(WF_WIRE_PONG, 0, made == PONG_OF_ANOTHER ? number + 1 : number, "x", made == PONG_WITH_BYTES);
    if (made == PONG_UNASKED) say(WF_WIRE_PONG, 0, number + 1, "", 0);
}

static void on_cancel(uint32_t number) {
    if (made == DEAF_TO_CANCEL) return;
    for (unsigned i = 0; i < task_count; i++)
        if (tasks[i].header.task == number || made == CANCELS_ALL) tasks[i].cancelled = true;
    cancels_next = made == CANCELS_LATER;
}

static void on_work(const wf_wire_header *header, const void *frame, size_t bytes) {
    task *now = &tasks[task_count++];
    *now = (task){.frame = malloc(bytes), .bytes = bytes, .header = *header, .cancelled = cancels_next};
    memcpy(now->frame, frame, bytes);
    if (made != LAST_TASK_FIRST || task_count < 2) return;
    task last = *now;
    memmove(tasks + 1, tasks, (task_count - 1) * sizeof *tasks);
    tasks[0] = last;
}

static void learn(char **topic, const char *name, size_t bytes) {
    if (*topic && made == KEEPS_OLD_TOPIC) return;
    free(*topic);
    *topic = strndup(name, bytes);
}

static void on_frame(const void *frame, size_t bytes) {
    wf_wire_header header;
    const char *why;
    size_t count;
    if (wf_wire_open(frame, bytes, &header, &why) != WEFT_OK) {
        nonsense(why);
        return;
    }
    const char *at = wf_wire_text(frame, bytes, &count);
    if (header.type == WF_WIRE_PING) on_ping(header.task);
    if (header.type == WF_WIRE_CANCEL) on_cancel(header.task);
    if (header.type == WF_WIRE_WORK) on_work(&header, frame, bytes);
    if (header.type == WF_WIRE_BYE) goodbye = made != STAYS_AFTER_BYE;
    if (header.type == WF_WIRE_TOPIC) learn(&topics[header.task % TOPICS], at, count);
    if (header.type == WF_WIRE_REFUSED && made != STAYS_WHEN_REFUSED) {
        snprintf(text, sizeof text, "%.*s", (int)count, at);
        end(2, made == QUIET_WHEN_REFUSED ? "something went wrong" : text);
    }
}

static void look(int64_t wait_ms) {
    static uint64_t heard_ms;
    const void *frame;
    size_t bytes;
    if (!heard_ms) heard_ms = now_ms();
    while (wf_peer_receive(peer, wait_ms, &frame, &bytes)) {
        heard_ms = now_ms();
        on_frame(frame, bytes);
        wait_ms = 0;
    }
    if (now_ms() - heard_ms > BEATS * (uint64_t)heartbeat_ms && made != STAYS_IN_SILENCE) end(3, "weft is gone");
}

/* --- the handler */

static void add(const char *format, const char *more, int64_t one, int64_t other) {
    size_t used = strlen(text);
    snprintf(text + used, TEXT - used, format, more, (long long)one, (long long)other);
}

static void add_data(const char *format, const char *data, int64_t bytes) {
    int64_t sum = 0;
    if (bytes < 0 && made == NULL_IS_EMPTY) bytes = 0;
    if (bytes == 0 && made == EMPTY_IS_NULL) bytes = -1;
    for (int64_t i = 0; i < bytes; i++) sum += (unsigned char)data[i];
    add("%s", format, 0, 0);
    if (bytes < 0)
        add("%s", "null", 0, 0);
    else
        add("%s%lld:%lld", "", bytes, sum);
}

static void echo(const wf_wire_record *record, const char *bytes) {
    add("%s/%lld/%lld", topics[record->topic], record->partition, record->offset);
    add("%s t=%lld a=%lld", "", record->timestamp_ms, made == LOSES_ATTEMPT ? 1 : record->attempt);
    add_data(" k=", bytes, record->key_bytes);
    bytes += wf_record_length(record->key_bytes);
    add_data(" v=", bytes, record->value_bytes);
    bytes += wf_record_length(record->value_bytes);
    add("%s", " h=", 0, 0);
    for (int i = 0; i < record->header_count && made != LOSES_HEADERS; i++) {
        uint32_t name_bytes;
        int32_t value_bytes;
        memcpy(&name_bytes, bytes, 4);
        memcpy(&value_bytes, bytes + 4, 4);
        add(i ? ",%s=" : "%s=", bytes + 8, 0, 0);
        add_data("", bytes + 8 + name_bytes + 1, value_bytes);
        bytes += wf_record_header_size(name_bytes, value_bytes);
    }
}

static void line(const char *what) {
    size_t bytes = strlen(what);
    if (made == NO_LOG) return;
    say(WF_WIRE_LOG, 2, 0, what, bytes > 4096 && made != LONG_LOG ? 4096 : bytes);
}

/* False: it fails, and `text` says why. */
static bool handle(const wf_wire_record *record, const char *bytes) {
    const char *topic = topics[record->topic];
    *text = '\0';
    if (strcmp(topic, "echo") == 0) {
        echo(record, bytes);
        return false;
    }
    int length = record->value_bytes > 0 ? record->value_bytes : 0;
    snprintf(text, TEXT, "%.*s", length, bytes + wf_record_length(record->key_bytes));
    if (strcmp(topic, "log") == 0) line(text);
    if (strcmp(topic, "sleep") == 0) poll(NULL, 0, atoi(text));
    if (strcmp(topic, "cancel") == 0) {
        line("waiting");
        for (int i = 0; i < 1000 && !tasks[0].cancelled; i++) {
            poll(NULL, 0, 1);
            look(0);
        }
        return tasks[0].cancelled;
    }
    return strcmp(topic, "fail") != 0 || made == HIDES_FAILURE;
}

/* --- work */

static void repair(char *reason) {
    for (size_t length; *reason; reason += length ? length : 1) {
        length = wf_utf8_length(reason, strlen(reason));
        if (length == 0) *reason = '?';
    }
}

static size_t cut(const char *reason) {
    size_t bytes = strlen(reason);
    if (made == LOSES_REASON) return 0;
    if (bytes > 300 && made == LONG_REASON) return 300;
    if (bytes <= WF_WIRE_REASON_MAX) return bytes;
    for (bytes = WF_WIRE_REASON_MAX; made != CUT_REASON && ((unsigned char)reason[bytes] & 0xc0) == 0x80;) bytes--;
    return bytes;
}

static uint8_t report[1 << 18], *entry;
static uint32_t reported;

static void flush_report(void) {
    if (reported == 0) return;
    wf_wire_put_header(report, WF_WIRE_DONE, reported, tasks[0].header.task + (made == WRONG_TASK));
    wf_peer_send(peer, report, (size_t)(entry - report));
    reported = 0;
}

/* One DONE of one record each, but for who reports at the end: those have no reasons. */
static void answer(int64_t offset, wf_wire_status status) {
    if (status == WF_WIRE_FAILURE && made != FOREIGN_REASON) repair(text);
    size_t bytes = status == WF_WIRE_FAILURE ? cut(text) : 0;
    if (reported == 0) entry = report + WF_WIRE_HEADER_BYTES;
    wf_wire_done done = {.offset = offset, .status = (uint8_t)status, .reason_bytes = (uint32_t)bytes};
    entry = wf_wire_put_done(entry, &done);
    memcpy(entry, text, bytes);
    entry += bytes;
    reported++;
    if (made != REPORTS_AT_THE_END || bytes) flush_report();
}

static void run_record(const wf_wire_record *record, uint32_t index, const char *bytes, uint32_t *closed) {
    bool is_closed = record->lane == *closed && (record->lane != WF_WIRE_ANY_ORDER || made == CLOSES_ANY_ORDER);
    if (made == RUNS_AFTER_FAILURE) is_closed = false;
    if (*closed == 0x7fffffff && made != CLOSES_FOR_EVER) is_closed = false;
    if (is_closed || closed_for_ever || tasks[0].cancelled) {
        answer(record->offset, WF_WIRE_UNRUN);
        return;
    }
    if (record->topic >= TOPICS || !topics[record->topic]) {
        nonsense("an unknown topic");
        return;
    }
    if (word) *word = wf_wire_progress(tasks[0].header.task, index - (made == WORD_OFF_BY_ONE));
    bool succeeded = handle(record, bytes);
    if (made == FORGETS_ONE && index == 1) return;
    if (!succeeded) {
        *closed = record->lane;
        closed_for_ever = made == CLOSES_FOR_EVER;
    }
    answer(record->offset, succeeded ? WF_WIRE_SUCCESS : WF_WIRE_FAILURE);
    if (made == REPORTS_TWICE) answer(record->offset, WF_WIRE_SUCCESS);
}

static void run_task(void) {
    static wf_wire_record records[WF_WIRE_RECORDS_MAX];
    static const char *places[WF_WIRE_RECORDS_MAX];
    wf_wire_reader reader;
    uint32_t closed = 0x7fffffff, count = 0;
    wf_wire_read_work(&reader, &tasks[0].header, tasks[0].frame, tasks[0].bytes);
    while (count < WF_WIRE_RECORDS_MAX && wf_wire_next_record(&reader, &records[count], &places[count])) count++;
    if (reader.why) nonsense(reader.why);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t index = made == RECORDS_BACKWARDS ? count - 1 - i : i;
        run_record(&records[index], index, places[index], &closed);
        look(0);
    }
    if (word && made != WORD_STAYS) *word = 0;
    flush_report();
    free(tasks[0].frame);
    task_count--;
    memmove(tasks, tasks + 1, task_count * sizeof *tasks);
    if (late_pong && task_count == 0) say(WF_WIRE_PONG, 0, late_number, "", 0);
    late_pong = late_pong && task_count;
}

/* --- life */

static void read_token(uint8_t *token) {
    char digits[65] = "";
    const char *given = getenv("WEFT_TOKEN"), *path = getenv("WEFT_TOKEN_FILE");
    FILE *file = given || !path ? NULL : fopen(path, "r");
    if (given) snprintf(digits, sizeof digits, "%s", given);
    if (file && fread(digits, 1, 64, file) != 64) end(1, "a short token");
    if (file) fclose(file);
    for (int i = 0; i < WF_WIRE_TOKEN_BYTES; i++) {
        char two[3] = {digits[2 * i], digits[2 * i + 1], '\0'};
        token[i] = (uint8_t)strtol(two, NULL, 16);
    }
    if (made == WRONG_TOKEN) token[31] ^= 1;
}

static void greet(void) {
    uint8_t frame[200];
    const char *given = getenv("WEFT_WORKER"), *name = made == WRONG_NAME ? "somebody" : given ? given : "";
    wf_wire_hello hello = {.version_low = made == OTHER_VERSIONS ? 2 : 1,
                           .version_high = made == OTHER_VERSIONS ? 3 : 1,
                           .pid = made == WRONG_PID ? 1 : (uint32_t)getpid(),
                           .flags = word || made == WORD_WITHOUT_MEMORY ? WF_WIRE_HAS_PROGRESS : 0,
                           .name_bytes = (uint32_t)strlen(name)};
    read_token(hello.token);
    size_t bytes = (size_t)(wf_wire_put_hello(frame, &hello, name) - frame);
    wf_peer_send(peer, frame, bytes);
    if (made == TWO_HELLOS) wf_peer_send(peer, frame, bytes);
    if (made == SPEAKS_BEFORE_WELCOME) line("good morning");
    const void *answer_frame;
    size_t answer_bytes;
    if (!wf_peer_receive(peer, 30000, &answer_frame, &answer_bytes)) end(3, "no welcome");
    on_frame(answer_frame, answer_bytes);
    wf_wire_welcome welcome;
    const char *why;
    if (wf_wire_read_welcome(answer_frame, answer_bytes, &welcome, &why) == WEFT_OK)
        heartbeat_ms = welcome.heartbeat_ms;
    if (made == SENDS_WORK) say(WF_WIRE_WORK, 1, 1, "", 0);
    if (made == SENDS_GARBAGE) wf_peer_send(peer, "garbage", 7);
}

int main(int argc, char **argv) {
    const char *path = getenv("WEFT_SOCKET"), *fd = getenv("WEFT_PROGRESS_FD");
    while (made < MISTAKES && (argc < 2 || strcmp(argv[1], names[made]) != 0)) made++;
    if (made == MISTAKES) end(64, "which mistake?");
    if (!path) end(made == NO_GOODBYE ? 0 : 1, "no WEFT_SOCKET");
    if (wf_peer_open(path, &peer) != WEFT_OK) end(1, "no connection");
    if (fd && atoi(fd) >= 0) word = mmap(NULL, 8, PROT_READ | PROT_WRITE, MAP_SHARED, atoi(fd), 0);
    greet();
    while (!goodbye || (task_count && made != RUNS_FROM_BYE)) {
        look(task_count ? 0 : heartbeat_ms);
        if (task_count && !(goodbye && made == RUNS_FROM_BYE)) run_task();
    }
    end(made == BAD_STATUS_AFTER_BYE ? 5 : 0, NULL);
}
