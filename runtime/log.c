/* SPDX-License-Identifier: Apache-2.0 */
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "clock.h"

enum { LINE_BYTES = PIPE_BUF };

static atomic_int highest_level = WEFT_LOG_INFO;
static _Atomic uint64_t lost_lines;

/* Written before any other thread exists, see weft_log_set(). */
static weft_log_callback sink_callback;
static void *sink_context;

void weft_log_set(weft_log_callback callback, void *context) {
    sink_callback = callback;
    sink_context = context;
}

uint64_t weft_log_lost(void) {
    return atomic_load_explicit(&lost_lines, memory_order_relaxed);
}

void wf_log_set_level(weft_log_level level) {
    atomic_store_explicit(&highest_level, (int)level, memory_order_relaxed);
}

bool wf_log_enabled(weft_log_level level) {
    return (int)level <= atomic_load_explicit(&highest_level, memory_order_relaxed);
}

const char *wf_log_level_name(weft_log_level level) {
    switch (level) {
    case WEFT_LOG_ERROR:
        return "error";
    case WEFT_LOG_WARN:
        return "warn";
    case WEFT_LOG_INFO:
        return "info";
    case WEFT_LOG_DEBUG:
        return "debug";
    }
    return "unknown";
}

/* O_NONBLOCK on descriptor 2 itself would reach every process that shares our terminal or pipe. A description of our
 * own does not; where there is none to get (a terminal of another user), poll() is the next best. */
static ssize_t write_stream(const char *line, size_t bytes) {
    int fd = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    if (fd >= 0) {
        ssize_t written = write(fd, line, bytes);
        close(fd);
        return written;
    }
    struct pollfd ready = {.fd = STDERR_FILENO, .events = POLLOUT};
    if (poll(&ready, 1, 0) != 1 || (ready.revents & (POLLERR | POLLNVAL)) || !(ready.revents & POLLOUT)) return -1;
    return write(STDERR_FILENO, line, bytes);
}

static ssize_t write_stderr(const char *line, size_t bytes) {
    struct stat status;
    if (fstat(STDERR_FILENO, &status) != 0) return -1;
    if (S_ISSOCK(status.st_mode)) return send(STDERR_FILENO, line, bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
    /* A disk is never "not ready"; and a second description would have its own position in the file. */
    if (S_ISREG(status.st_mode)) return write(STDERR_FILENO, line, bytes);
    return write_stream(line, bytes);
}

/* A pipe without a reader raises SIGPIPE in the writing thread. It is not ours to ignore for the whole program, so it
 * is held back here and taken off if the write has raised it. */
static bool write_without_sigpipe(const char *line, size_t bytes) {
    sigset_t pipe_signal, pending, before;
    sigemptyset(&pipe_signal);
    sigaddset(&pipe_signal, SIGPIPE);
    sigemptyset(&pending);
    sigpending(&pending);
    bool was_pending = sigismember(&pending, SIGPIPE) == 1;
    if (pthread_sigmask(SIG_BLOCK, &pipe_signal, &before) != 0) return false;

    ssize_t written = write_stderr(line, bytes);
    if (written < 0 && errno == EPIPE && !was_pending) {
        const struct timespec at_once = {0};
        while (sigtimedwait(&pipe_signal, NULL, &at_once) < 0 && errno == EINTR) {
        }
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return written == (ssize_t)bytes;
}

/* "2026-11-23T22:15:03.123Z level=info actor=poller "; returns its length. */
static size_t format_head(char *line, size_t capacity, weft_log_level level, const char *actor) {
    int64_t wall_ms = wf_clock_wall_ms();
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm utc = {0};
    gmtime_r(&seconds, &utc);
    size_t bytes = strftime(line, capacity, "%Y-%m-%dT%H:%M:%S", &utc);
    int rest = snprintf(line + bytes, capacity - bytes, ".%03dZ level=%s actor=%.64s ", (int)(wall_ms % 1000),
                        wf_log_level_name(level), actor ? actor : "none");
    WF_CHECK(rest > 0 && (size_t)rest < capacity - bytes);
    return bytes + (size_t)rest;
}

/* Format at `text`, on one line; returns its length, at most capacity - 1. What is cut off ends in "...". */
static size_t format_text(char *text, size_t capacity, const char *format, va_list arguments) {
    int wanted = vsnprintf(text, capacity, format, arguments);
    if (wanted < 0) wanted = snprintf(text, capacity, "(unprintable event)");
    size_t bytes = (size_t)wanted;
    if (bytes >= capacity) {
        bytes = capacity - 1;
        memcpy(text + bytes - 3, "...", 3);
    }
    for (size_t i = 0; i < bytes; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c < 0x20 || c == 0x7f) text[i] = ' ';
    }
    return bytes;
}

void wf_log_va(weft_log_level level, const char *actor, const char *format, va_list arguments) {
    if (!wf_log_enabled(level)) return;
    int saved_errno = errno;
    char line[LINE_BYTES];
    if (sink_callback) {
        format_text(line, sizeof line, format, arguments);
        sink_callback(level, actor ? actor : "none", line, sink_context);
    } else {
        size_t bytes = format_head(line, sizeof line, level, actor);
        bytes += format_text(line + bytes, sizeof line - bytes, format, arguments);
        line[bytes++] = '\n'; /* in place of the NUL */
        if (!write_without_sigpipe(line, bytes)) atomic_fetch_add_explicit(&lost_lines, 1, memory_order_relaxed);
    }
    errno = saved_errno;
}

void wf_log(weft_log_level level, const char *actor, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    wf_log_va(level, actor, format, arguments);
    va_end(arguments);
}

void wf_log_write(weft_log_level level, const char *actor, const char *text) {
    wf_log(level, actor, "%s", text);
}

void wf_log_limit_init(wf_log_limit *limit, uint32_t per_second, uint32_t burst) {
    WF_CHECK(per_second > 0 && burst > 0);
    uint64_t interval_ns = UINT64_C(1000000000) / per_second;
    *limit = (wf_log_limit){.interval_ns = interval_ns, .burst_ns = interval_ns * (burst - 1)};
}

bool wf_log_limit_take(wf_log_limit *limit, uint64_t now_ns, uint64_t *ret_suppressed) {
    uint64_t start_ns = limit->paid_until_ns > now_ns ? limit->paid_until_ns : now_ns;
    if (start_ns - now_ns > limit->burst_ns) {
        limit->suppressed++;
        return false;
    }
    limit->paid_until_ns = start_ns + limit->interval_ns;
    *ret_suppressed = limit->suppressed;
    limit->suppressed = 0;
    return true;
}
