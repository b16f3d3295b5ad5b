/* SPDX-License-Identifier: Apache-2.0 */
#include "log.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <regex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

TestSuite(log, .timeout = 20);
TestSuite(log_limit, .timeout = 20);

#define STAMP "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z "

/* stderr becomes `fd`; returns the old one. */
static int redirect(int fd) {
    int saved = dup(STDERR_FILENO);
    if (fd >= 0)
        dup2(fd, STDERR_FILENO);
    else
        close(STDERR_FILENO);
    return saved;
}

static void restore(int saved) {
    dup2(saved, STDERR_FILENO);
    close(saved);
}

static size_t read_some(int fd, char *text, size_t capacity) {
    ssize_t bytes = read(fd, text, capacity - 1);
    cr_assert_gt(bytes, 0);
    text[bytes] = '\0';
    return (size_t)bytes;
}

static bool matches(const char *pattern, const char *text) {
    regex_t regex;
    cr_assert_eq(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0);
    bool found = regexec(&regex, text, 0, NULL, 0) == 0;
    regfree(&regex);
    return found;
}

Test(log, line__pipe__has_time_level_actor_text) {
    int ends[2];
    char text[8192];
    cr_assert_eq(pipe(ends), 0);

    int saved = redirect(ends[1]);
    errno = 4711;
    wf_log(WEFT_LOG_INFO, "poller", "%d partitions assigned", 3);
    int errno_after = errno;
    restore(saved);

    read_some(ends[0], text, sizeof text);
    cr_assert(matches(STAMP "level=info actor=poller 3 partitions assigned\n$", text), "%s", text);
    cr_assert_eq(errno_after, 4711);
    cr_assert_eq(weft_log_lost(), 0);
}

Test(log, line__foreign_control_characters__stays_one_line) {
    int ends[2];
    char text[8192];
    cr_assert_eq(pipe(ends), 0);

    int saved = redirect(ends[1]);
    wf_log(WEFT_LOG_ERROR, NULL, "%s", "first\nlevel=error forged\r\x1b[31m\x7f");
    restore(saved);

    size_t bytes = read_some(ends[0], text, sizeof text);
    cr_assert_eq(strcspn(text, "\n"), bytes - 1);
    cr_assert(matches(STAMP "level=error actor=none first level=error forged  \\[31m \n$", text), "%s", text);
}

Test(log, line__too_long__is_cut_to_one_atomic_write) {
    int ends[2];
    static char text[8192], big[6000];
    memset(big, 'x', sizeof big - 1);
    cr_assert_eq(pipe(ends), 0);

    int saved = redirect(ends[1]);
    wf_log(WEFT_LOG_WARN, "a", "%s", big);
    restore(saved);

    size_t bytes = read_some(ends[0], text, sizeof text);
    cr_assert_eq(bytes, 4096);
    cr_assert_str_eq(text + bytes - 5, "x...\n");
    cr_assert_eq(weft_log_lost(), 0);
}

Test(log, level__above_the_filter__nothing_is_written) {
    int ends[2];
    char text[8192];
    cr_assert_eq(pipe(ends), 0);

    int saved = redirect(ends[1]);
    wf_log(WEFT_LOG_DEBUG, "a", "hidden by default");
    wf_log_set_level(WEFT_LOG_ERROR);
    wf_log(WEFT_LOG_WARN, "a", "hidden");
    wf_log(WEFT_LOG_ERROR, "a", "shown");
    wf_log_set_level(WEFT_LOG_DEBUG);
    wf_log(WEFT_LOG_DEBUG, "a", "shown too");
    restore(saved);

    read_some(ends[0], text, sizeof text);
    cr_assert_null(strstr(text, "hidden"));
    cr_assert(strstr(text, "level=error actor=a shown\n") && strstr(text, "level=debug actor=a shown too\n"), "%s",
              text);
}

Test(log, sink__pipe_nobody_reads__lines_are_lost_and_counted) {
    int ends[2];
    static char text[1 << 20];
    cr_assert_eq(pipe(ends), 0);

    int saved = redirect(ends[1]);
    for (int i = 0; i < 5000; i++) wf_log(WEFT_LOG_INFO, "a", "line %d", i);
    restore(saved);
    close(ends[1]);

    /* What was written is whole lines from the start; written and lost make all. */
    size_t bytes = 0, lines = 0;
    for (ssize_t got; (got = read(ends[0], text + bytes, sizeof text - bytes)) > 0;) bytes += (size_t)got;
    for (size_t i = 0; i < bytes; i++) lines += text[i] == '\n';
    cr_assert_eq(text[bytes - 1], '\n');
    cr_assert_gt(weft_log_lost(), 0);
    cr_assert_eq(lines + weft_log_lost(), 5000);
}

Test(log, sink__pipe_shared_with_others__stays_blocking_for_them) {
    int ends[2];
    cr_assert_eq(pipe(ends), 0);

    int saved = redirect(ends[1]);
    wf_log(WEFT_LOG_INFO, "a", "line");
    int flags = fcntl(STDERR_FILENO, F_GETFL);
    restore(saved);

    cr_assert_eq(flags & O_NONBLOCK, 0);
}

Test(log, sink__reader_gone__no_sigpipe) {
    int ends[2];
    cr_assert_eq(pipe(ends), 0);
    close(ends[0]);

    int saved = redirect(ends[1]);
    wf_log(WEFT_LOG_INFO, "a", "line");
    restore(saved);

    sigset_t pending;
    sigpending(&pending);
    cr_assert_eq(weft_log_lost(), 1);
    cr_assert_eq(sigismember(&pending, SIGPIPE), 0);
}

Test(log, sink__socket_full_then_closed__lines_are_lost) {
    int ends[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);

    int saved = redirect(ends[1]);
    uint64_t sent = 0;
    for (; sent < 1000000 && weft_log_lost() == 0; sent++) wf_log(WEFT_LOG_INFO, "a", "line");
    uint64_t lost = weft_log_lost();
    close(ends[0]);
    wf_log(WEFT_LOG_INFO, "a", "line");
    restore(saved);

    cr_assert_eq(lost, 1);
    cr_assert_eq(weft_log_lost(), 2);
}

Test(log, sink__device_full_or_stderr_closed__lines_are_lost) {
    int full = open("/dev/full", O_WRONLY);
    cr_assert_geq(full, 0);

    int saved = redirect(full);
    wf_log(WEFT_LOG_INFO, "a", "line");
    restore(saved);
    cr_assert_eq(weft_log_lost(), 1);

    saved = redirect(-1);
    wf_log(WEFT_LOG_INFO, "a", "line");
    restore(saved);
    cr_assert_eq(weft_log_lost(), 2);
}

Test(log, sink__regular_file__is_appended_in_order) {
    char path[] = "/tmp/weft_test_log_XXXXXX", text[8192];
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    unlink(path);

    int saved = redirect(fd);
    dprintf(STDERR_FILENO, "before\n");
    wf_log(WEFT_LOG_INFO, "a", "middle");
    dprintf(STDERR_FILENO, "after\n");
    restore(saved);

    lseek(fd, 0, SEEK_SET);
    read_some(fd, text, sizeof text);
    cr_assert(matches("^before\n[^\n]* middle\nafter\n$", text), "%s", text);
}

struct seen {
    int count;
    weft_log_level level;
    char actor[64];
    char text[128];
};

static void on_event(weft_log_level level, const char *actor, const char *text, void *context) {
    struct seen *seen = context;
    seen->count++;
    seen->level = level;
    snprintf(seen->actor, sizeof seen->actor, "%s", actor);
    snprintf(seen->text, sizeof seen->text, "%s", text);
}

Test(log, callback__set_and_reset__gets_events_in_place_of_stderr) {
    struct seen seen = {0};
    int full = open("/dev/full", O_WRONLY);

    weft_log_set(on_event, &seen);
    int saved = redirect(full);
    wf_log(WEFT_LOG_WARN, "tracker", "gap of %d\n", 7);
    wf_log(WEFT_LOG_DEBUG, "tracker", "filtered");
    wf_log_write(WEFT_LOG_DEBUG, "tracker", "filtered");
    wf_log_write(WEFT_LOG_WARN, "tracker", "100%s as it is");
    weft_log_set(NULL, NULL);
    cr_assert_eq(weft_log_lost(), 0);
    wf_log(WEFT_LOG_WARN, "tracker", "to stderr");
    restore(saved);

    cr_assert_eq(seen.count, 2);
    cr_assert_eq(seen.level, WEFT_LOG_WARN);
    cr_assert_str_eq(seen.actor, "tracker");
    cr_assert_str_eq(seen.text, "100%s as it is");
    cr_assert_eq(weft_log_lost(), 1);
}

static void *log_many(void *argument) {
    for (int i = 0; i < 200; i++) wf_log(WEFT_LOG_INFO, argument, "%0*d", 100 + i, i);
    return NULL;
}

Test(log, threads__one_pipe__lines_do_not_mix) {
    int ends[2];
    static char text[1 << 20];
    pthread_t threads[4];
    char *names[4] = {"a", "b", "c", "d"};
    cr_assert_eq(pipe(ends), 0);
    cr_assert_gt(fcntl(ends[1], F_SETPIPE_SZ, 1 << 20), 0);

    int saved = redirect(ends[1]);
    for (int i = 0; i < 4; i++) cr_assert_eq(pthread_create(&threads[i], NULL, log_many, names[i]), 0);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    restore(saved);
    close(ends[1]);

    size_t bytes = 0, lines = 0;
    for (ssize_t got; (got = read(ends[0], text + bytes, sizeof text - 1 - bytes)) > 0;) bytes += (size_t)got;
    char *save = NULL;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save), lines++)
        cr_assert(matches(STAMP "level=info actor=[abcd] 0+[1-9]*[0-9]*$", line), "%s", line);
    cr_assert_eq(lines + weft_log_lost(), 800);
    cr_assert_gt(lines, 0);
}

/* The model counts tokens as a rational number: tokens * interval, filled by the clock, capped at burst * interval. */
Test(log_limit, take__random_clock__like_a_token_bucket) {
    for (unsigned seed = 1; seed <= 200; seed++) {
        srand(seed);
        uint32_t per_second = 1 + (uint32_t)rand() % 50, burst = 1 + (uint32_t)rand() % 10;
        uint64_t interval_ns = 1000000000u / per_second, now_ns = (uint64_t)rand();
        uint64_t filled_ns = burst * interval_ns, suppressed = 0;
        wf_log_limit limit;
        wf_log_limit_init(&limit, per_second, burst);

        for (int step = 0; step < 500; step++) {
            uint64_t elapsed_ns = rand() % 3 == 0 ? 0 : (uint64_t)rand() % (2 * interval_ns);
            now_ns += elapsed_ns;
            filled_ns = filled_ns + elapsed_ns > burst * interval_ns ? burst * interval_ns : filled_ns + elapsed_ns;
            bool expected = filled_ns >= interval_ns;

            uint64_t ret_suppressed = 12345;
            bool taken = wf_log_limit_take(&limit, now_ns, &ret_suppressed);

            cr_assert_eq(taken, expected, "seed %u step %d", seed, step);
            cr_assert_eq(ret_suppressed, expected ? suppressed : 12345, "seed %u step %d", seed, step);
            if (expected) filled_ns -= interval_ns;
            suppressed = expected ? 0 : suppressed + 1;
        }
    }
}
