/* SPDX-License-Identifier: Apache-2.0 */
#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LOOK_MS = 100, PATIENCE_SECONDS = 60, LINE_MAX_BYTES = 1 << 20 };

/* A line for each: names of groups and lists of brokers may have blanks. */
void child_place_text(const child_place *place, char *ret_text, size_t bytes) {
    snprintf(ret_text, bytes, "%zu %d\n%s\n%s\n%s", place->cell, place->is_embedded, place->bootstrap, place->topic,
             place->group);
}

bool child_place_parse(const char *text, child_place *ret_place) {
    int embedded;
    bool fine = sscanf(text, "%zu %d\n%511[^\n]\n%159[^\n]\n%199[^\n]", &ret_place->cell, &embedded,
                       ret_place->bootstrap, ret_place->topic, ret_place->group) == 5;
    ret_place->is_embedded = fine && embedded;
    return fine;
}

typedef struct child {
    pid_t pid;
    int lines, answers; /* our ends */
    char *text;         /* what was read and is not a whole line yet */
    size_t text_bytes, text_room;
    json_t *sample;
    const bench_options *options;
    const bench_cluster *cluster;
    const bench_topic *topic;
    /* --rate */
    pthread_t producer;
    bool produces;
    atomic_bool stop_producing;
    atomic_bool produced; /* false: it failed */
} child;

static json_t *failed(const char *format, ...) __attribute__((format(printf, 1, 2)));

static json_t *failed(const char *format, ...) {
    char text[400];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return json_pack("{s:s, s:i}", "error", text, "messages_processed", 0);
}

/* --- start and end */

static void become_run(char **arguments, const int lines[2], const int answers[2]) {
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    setpgid(0, 0); /* what the user types at the terminal is for the parent, which tells us */
    dup2(answers[0], STDIN_FILENO);
    if (lines[1] != CHILD_LINE_FD) {
        dup2(lines[1], CHILD_LINE_FD);
        close(lines[1]);
    } else {
        fcntl(CHILD_LINE_FD, F_SETFD, 0);
    }
    execv("/proc/self/exe", arguments);
    _exit(127);
}

static bool start(child *self, int argc, char **argv, const child_place *place) {
    char text[1000];
    char **arguments = calloc((size_t)argc + 5, sizeof *arguments);
    int lines[2] = {-1, -1}, answers[2] = {-1, -1};
    child_place_text(place, text, sizeof text);
    if (!arguments || pipe2(lines, O_CLOEXEC) != 0 || pipe2(answers, O_CLOEXEC) != 0) {
        free(arguments);
        return false;
    }
    arguments[0] = "weft-bench";
    arguments[1] = "run";
    memcpy(arguments + 2, argv, (size_t)argc * sizeof *arguments);
    arguments[argc + 2] = "--child";
    arguments[argc + 3] = text;
    self->pid = fork();
    if (self->pid == 0) become_run(arguments, lines, answers);
    free(arguments);
    close(lines[1]);
    close(answers[0]);
    self->lines = lines[0];
    self->answers = answers[1];
    return self->pid > 0;
}

/* Wait for its end; kill it, and what it started, when it takes longer. */
static int finish(child *self, unsigned patience_ms) {
    int status = 0;
    for (unsigned waited = 0; waitpid(self->pid, &status, WNOHANG) == 0; waited += 10) {
        if (waited >= patience_ms) {
            kill(-self->pid, SIGKILL);
            waitpid(self->pid, &status, 0);
            return status;
        }
        poll(NULL, 0, 10);
    }
    /* Workers end by themselves when their parent is gone; nobody waits for them here. */
    return status;
}

/* --- what it says */

static void tell_begin(void *context, uint64_t start_ns) {
    dprintf(((child *)context)->answers, "S %llu\n", (unsigned long long)start_ns);
}

static void *produce(void *context) {
    child *self = context;
    bool fine = topic_produce(self->cluster, self->topic, (fault_kind)self->options->fault.values[0],
                              self->options->rate, tell_begin, self, &self->stop_producing);
    atomic_store(&self->produced, fine);
    return NULL;
}

static void let_produce(child *self) {
    self->produces = !self->produces && pthread_create(&self->producer, NULL, produce, self) == 0;
}

static void on_line(child *self, const char *line, child_progress progress, void *context) {
    unsigned long long done;
    long long lag, gap;
    if (sscanf(line, "P %llu %lld %lld", &done, &lag, &gap) == 3) {
        progress(context, done, lag, gap);
    } else if (strncmp(line, "G", 1) == 0) {
        let_produce(self);
    } else if (strncmp(line, "R ", 2) == 0 && !self->sample) {
        json_error_t error;
        self->sample = json_loads(line + 2, 0, &error);
    }
}

/* False: the end. */
static bool read_lines(child *self, child_progress progress, void *context) {
    if (self->text_room - self->text_bytes < 4096) {
        size_t room = self->text_room ? self->text_room * 2 : 65536;
        char *text = room <= LINE_MAX_BYTES ? realloc(self->text, room) : NULL;
        if (!text) return false;
        self->text = text;
        self->text_room = room;
    }
    ssize_t got = read(self->lines, self->text + self->text_bytes, self->text_room - self->text_bytes - 1);
    if (got < 0 && errno == EINTR) return true;
    if (got <= 0) return false;
    self->text_bytes += (size_t)got;
    self->text[self->text_bytes] = '\0';
    char *at = self->text;
    for (char *end; (end = strchr(at, '\n')); at = end + 1) {
        *end = '\0';
        on_line(self, at, progress, context);
    }
    self->text_bytes -= (size_t)(at - self->text);
    memmove(self->text, at, self->text_bytes + 1);
    return true;
}

json_t *child_run(int argc, char **argv, const bench_options *options, const bench_cluster *cluster,
                  const bench_topic *topic, const child_place *place, const volatile int *interrupted,
                  child_progress progress, void *context) {
    child self = {.options = options, .cluster = cluster, .topic = topic, .produced = true, .lines = -1, .answers = -1};
    uint64_t limit_ns =
        (options->timeout_seconds + options->stall_seconds * 2 + options->idle_seconds + PATIENCE_SECONDS) *
        1000000000u;
    uint64_t begin_ns = now_ns();
    bool told = false, over = false;
    if (!start(&self, argc, argv, place)) return failed("the run can't be started: %s", strerror(errno));
    for (bool reads = true; reads && !over;) {
        struct pollfd waits = {.fd = self.lines, .events = POLLIN};
        if (poll(&waits, 1, LOOK_MS) > 0) reads = read_lines(&self, progress, context);
        if (*interrupted && !told) {
            kill(self.pid, SIGTERM);
            told = true;
            limit_ns = now_ns() - begin_ns + PATIENCE_SECONDS * 1000000000ull;
        }
        over = now_ns() - begin_ns > limit_ns;
    }
    atomic_store(&self.stop_producing, true);
    int status = finish(&self, over ? 0 : 5000);
    if (self.produces) pthread_join(self.producer, NULL);
    close(self.answers);
    close(self.lines);
    free(self.text);
    json_t *sample = self.sample;
    if (!sample && over) sample = failed("the run said nothing more and was killed");
    if (!sample && WIFSIGNALED(status)) sample = failed("the run ended by signal %d", WTERMSIG(status));
    if (!sample) sample = failed("the run ended with status %d and without a result", WEXITSTATUS(status));
    if (!atomic_load(&self.produced) && json_is_null(json_object_get(sample, "error")))
        json_object_set_new(sample, "error", json_string("not all records could be produced"));
    return sample;
}
