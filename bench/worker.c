/* SPDX-License-Identifier: Apache-2.0
 *
 * The worker process of mode process, in C. It reports nothing but results: times are the parent's.
 *
 *     weft-bench worker WORK NANOSECONDS ITERATIONS CHECK FAULT RECORD
 *
 * With CHECK 1 it looks whether the records of a key that it sees come with rising numbers: it does not see all of
 * them, so that is all that one worker can know. RECORD is where FAULT (hang, kill) happens.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "handlers.h"
#include "weft/worker.h"

typedef struct bench_worker {
    bench_work work;
    bool checks;
    fault_kind fault;
    uint64_t fault_index;
    uint32_t *after; /* by key: numbers must be at least this */
    uint32_t keys;   /* that `after` has room for */
} bench_worker;

static bool make_room(bench_worker *self, uint32_t key) {
    uint32_t keys = self->keys ? self->keys : 1024;
    while (keys <= key) keys *= 2;
    uint32_t *after = realloc(self->after, keys * sizeof *after);
    if (!after) return false;
    memset(after + self->keys, 0, (keys - self->keys) * sizeof *after);
    self->after = after;
    self->keys = keys;
    return true;
}

static weft_result handle(const weft_record *record, void *context) {
    bench_worker *self = context;
    record_stamp stamp = {.key = NULL_KEY};
    size_t bytes;
    const void *value = weft_record_value(record, &bytes);
    if (value && bytes >= sizeof stamp) memcpy(&stamp, value, sizeof stamp);
    if (self->fault != FAULT_NONE && stamp.index == self->fault_index) {
        if (self->fault == FAULT_KILL) raise(SIGKILL);
        while (self->fault == FAULT_HANG && !weft_worker_cancelled()) pause();
    }
    if (self->checks && stamp.key < NULL_KEY / 4) {
        if (stamp.key >= self->keys && !make_room(self, stamp.key)) return weft_record_fail(record, "no memory");
        if (stamp.sequence < self->after[stamp.key])
            return weft_record_fail(record, "out of order: key %u number %u after %u", stamp.key, stamp.sequence,
                                    self->after[stamp.key] - 1);
        self->after[stamp.key] = stamp.sequence + 1;
    }
    work_do(&self->work, value, bytes);
    return WEFT_SUCCESS;
}

int worker_main(int argc, char **argv) {
    if (argc != 6) {
        fputs("weft-bench worker: it is started by weft-bench\n", stderr);
        return 2;
    }
    bench_worker self = {.work = {.kind = (work_kind)strtoul(argv[0], NULL, 10),
                                  .ns = strtoull(argv[1], NULL, 10),
                                  .iterations = strtoull(argv[2], NULL, 10)},
                         .checks = strcmp(argv[3], "1") == 0,
                         .fault = (fault_kind)strtoul(argv[4], NULL, 10),
                         .fault_index = strtoull(argv[5], NULL, 10)};
    int status = weft_worker_run(handle, &self);
    free(self.after);
    return status;
}

/* --- how the parent starts one */

/* As installed, or where the sources are; what the user said wins. */
static void find_script(const bench_options *options, const char *self, char *ret_path, size_t bytes) {
    const char *slash = strrchr(self, '/');
    snprintf(ret_path, bytes, "%.*s/../share/weft/bench/worker.py", (int)(slash ? slash - self : 0), self);
    if (options->python_worker)
        snprintf(ret_path, bytes, "%s", options->python_worker);
    else if (access(ret_path, R_OK) != 0)
        snprintf(ret_path, bytes, "%s/worker.py", BENCH_SOURCE_DIR);
}

bool worker_command(bench_run *run, char *ret_line, size_t bytes) {
    const bench_cell *cell = run->cell;
    char self[400], program[1000];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    if (length <= 0) {
        run_fail(run, "/proc/self/exe can't be read");
        return false;
    }
    self[length] = '\0';
    if (cell->language == LANGUAGE_C) {
        snprintf(program, sizeof program, "'%s' worker", self);
    } else {
        char script[500];
        find_script(run->options, self, script, sizeof script);
        if (access(script, R_OK) != 0) {
            run_fail(run, "%s can't be read: say with --python-worker where bench/worker.py is", script);
            return false;
        }
        snprintf(program, sizeof program, "'%s' '%s' %s", run->options->python, script,
                 cell->language == LANGUAGE_PYTHON ? "bytes" : "record");
    }
    /* In light runs a worker does nothing but its work. Numbers rise only where keys keep their order. */
    bool checks = cell->order == ORDER_KEY && run->options->observe.values[0] == OBSERVE_FULL;
    snprintf(ret_line, bytes, "%s %d %llu %llu %d %d %llu", program, (int)cell->work.kind,
             (unsigned long long)cell->work.ns, (unsigned long long)cell->work.iterations, checks,
             (int)run->options->fault.values[0], (unsigned long long)(run->data->records / 2));
    return true;
}
