/* SPDX-License-Identifier: Apache-2.0
 *
 * A worker that keeps a journal (chaos_evidence.h) of its own: JOURNALS/PARENT-PID, where PARENT is who started it. A
 * record takes JOURNAL_US microseconds.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <weft/worker.h>

#include "chaos_evidence.h"

static int journal;
static struct timespec work;

/* One write: whole, and it outlives the process. */
static bool note(char what, const weft_record *record) {
    char line[80];
    int bytes = snprintf(line, sizeof line, "%c %d %" PRId64 " %" PRIu64 "\n", what, weft_record_partition(record),
                         weft_record_offset(record), chaos_now_ns());
    return write(journal, line, (size_t)bytes) == bytes;
}

static weft_result handle(const weft_record *record, void *context) {
    (void)context;
    if (!note('B', record)) return weft_record_fail(record, "the journal can't be written");
    nanosleep(&work, NULL);
    if (!note('E', record)) return weft_record_fail(record, "the journal can't be written");
    return WEFT_SUCCESS;
}

int main(void) {
    const char *folder = getenv("JOURNALS"), *us = getenv("JOURNAL_US");
    char path[200];
    if (!folder || !us) return 64;
    work.tv_nsec = strtol(us, NULL, 10) * 1000;
    snprintf(path, sizeof path, "%s/%d-%d", folder, (int)getppid(), (int)getpid());
    journal = open(path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND, 0666);
    return journal < 0 ? 65 : weft_worker_run(handle, NULL);
}
