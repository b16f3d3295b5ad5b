/* SPDX-License-Identifier: Apache-2.0
 *
 * What workers write to standard error: for the log, and the last of it for the reason of their death.
 *
 * Invariants:
 * 1. A line of theirs is one of the log, in however many pieces it was written. One that is longer than our buffer is
 *    several, cut between characters.
 * 2. The log gets a bounded number of lines in a second of each worker, and how many it did not get is in the next one.
 * 3. The last of it is kept, whether it was logged or not.
 */
#include <string.h>
#include <unistd.h>

#include "pool.h"
#include "utf8.h"

enum {
    PIECES = 16,       /* at a look */
    PIECES_LAST = 160, /* of a dead one: with half a buffer each, as it is on average, more than a pipe holds */
    /* More than a person reads. A traceback with all its causes passes at once. */
    LINES_PER_SECOND = 100,
    LINES_AT_ONCE = 200,
};

void wf_pool_begin_stderr(wf_pool_worker *worker) {
    wf_log_limit_init(&worker->line_limit, LINES_PER_SECOND, LINES_AT_ONCE);
}

static void keep_tail(wf_pool_worker *worker, const char *text, size_t count) {
    size_t keep = worker->tail_bytes;
    if (count > sizeof worker->tail) {
        text += count - sizeof worker->tail;
        count = sizeof worker->tail;
    }
    if (keep + count > sizeof worker->tail) keep = sizeof worker->tail - count;
    memmove(worker->tail, worker->tail + worker->tail_bytes - keep, keep);
    memcpy(worker->tail + keep, text, count);
    worker->tail_bytes = keep + count;
}

static void log_line(weft_env *env, wf_pool_worker *worker, const char *line, size_t bytes) {
    char clean[WF_POOL_LINE_BYTES * (sizeof WF_UTF8_REPLACEMENT - 1) + 1];
    uint64_t not_logged;
    if (bytes == 0 || !wf_log_limit_take(&worker->line_limit, weft_env_now_ns(env), &not_logged)) return;
    wf_utf8_clean(clean, sizeof clean, line, bytes);
    for (char *c = clean; *c; c++)
        if (*c == '"') *c = ' ';
    weft_env_log(env, WEFT_LOG_INFO, "worker stderr worker=%s text=\"%s\" not_logged=%llu", worker->name, clean,
                 (unsigned long long)not_logged);
}

/* Without the beginning of a character at its end, whose rest is still to come. */
static size_t whole_characters(const char *text, size_t bytes) {
    for (size_t back = 1; back < 4 && back <= bytes; back++) {
        unsigned char c = (unsigned char)text[bytes - back];
        if ((c & 0xc0) == 0x80) continue;
        size_t length = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 1;
        return length > back ? bytes - back : bytes;
    }
    return bytes;
}

/* What has an end, or is as long as there is room. */
static void log_lines(weft_env *env, wf_pool_worker *worker) {
    const char *line = worker->line, *end = line + worker->line_bytes;
    for (const char *stop; (stop = memchr(line, '\n', (size_t)(end - line))); line = stop + 1)
        log_line(env, worker, line, (size_t)(stop - line));
    if (end - line == (ptrdiff_t)sizeof worker->line) {
        size_t bytes = whole_characters(line, sizeof worker->line);
        log_line(env, worker, line, bytes);
        line += bytes;
    }
    worker->line_bytes = (size_t)(end - line);
    memmove(worker->line, line, worker->line_bytes);
}

/* At most so many pieces: one that never stops writing must not keep us here. It waits for us then, on its pipe. */
static void read_pieces(wf_pool *self, weft_env *env, wf_pool_worker *worker, unsigned pieces) {
    while (worker->child.stderr_fd >= 0 && pieces-- > 0) {
        char *text = worker->line + worker->line_bytes; /* log_lines() leaves room behind it */
        ssize_t bytes = read(worker->child.stderr_fd, text, sizeof worker->line - worker->line_bytes);
        if (bytes < 0) return;
        if (bytes == 0) {
            wf_pool_close(self, &worker->child.stderr_fd);
            return;
        }
        keep_tail(worker, text, (size_t)bytes);
        worker->line_bytes += (size_t)bytes;
        log_lines(env, worker);
    }
}

/* Nothing more will come: the rest is a line too. */
static void log_rest(weft_env *env, wf_pool_worker *worker) {
    log_line(env, worker, worker->line, worker->line_bytes);
    worker->line_bytes = 0;
    if (worker->line_limit.suppressed)
        weft_env_log(env, WEFT_LOG_INFO, "worker wrote more to stderr worker=%s not_logged=%llu", worker->name,
                     (unsigned long long)worker->line_limit.suppressed);
    worker->line_limit.suppressed = 0;
}

void wf_pool_read_stderr(wf_pool *self, weft_env *env, wf_pool_worker *worker) {
    bool was_open = worker->child.stderr_fd >= 0;
    read_pieces(self, env, worker, PIECES);
    if (was_open && worker->child.stderr_fd < 0) log_rest(env, worker);
}

void wf_pool_end_stderr(wf_pool *self, weft_env *env, wf_pool_worker *worker) {
    read_pieces(self, env, worker, PIECES_LAST);
    log_rest(env, worker); /* another process may hold the pipe open */
}
