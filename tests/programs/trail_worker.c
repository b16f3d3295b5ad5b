/* SPDX-License-Identifier: Apache-2.0
 *
 * A worker that writes down what it does (TRAIL), and does to itself what the value of a record says, while its attempt
 * is at most the number behind it:
 *
 *     kill 2 | segv 1 | abort 1 | exit 1 | hang 1 | deaf 1 | stop 1 | fail 3
 *
 * (deaf: hang, and ignore whatever can be ignored)
 *
 * Of "quiet" nothing is written. "slow" takes two milliseconds more: it and what was done before it are reported
 * before the next one begins. Who hangs says so in a line of weft's log, behind those reports. Everything else is work
 * of TRAIL_US microseconds. What runs at once is dying: no end is written for it.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <weft/worker.h>

#include "trail.h"

static trail *file;
static struct timespec work;

static void suffer(const char *what) {
    if (strcmp(what, "kill") == 0) raise(SIGKILL);
    if (strcmp(what, "stop") == 0) raise(SIGSTOP);
    if (strcmp(what, "abort") == 0) abort();
    if (strcmp(what, "exit") == 0) exit(0);
    if (strcmp(what, "segv") == 0) {
        fprintf(stderr, "about to fall\nfalling\n");
        signal(SIGSEGV, SIG_DFL); /* a sanitizer would report it */
        raise(SIGSEGV);
    }
    if (strcmp(what, "deaf") == 0) signal(SIGTERM, SIG_IGN);
    if (strcmp(what, "hang") == 0) weft_worker_log(WEFT_LOG_INFO, "hanging");
    while (strcmp(what, "hang") == 0 || strcmp(what, "deaf") == 0) pause();
}

static weft_result handle(const weft_record *record, void *context) {
    (void)context;
    char text[32] = "", what[32] = "", name[32] = "";
    unsigned attempts = 0;
    size_t bytes, key_bytes;
    const char *value = weft_record_value(record, &bytes), *key = weft_record_key(record, &key_bytes);
    if (value) memcpy(text, value, bytes < sizeof text ? bytes : sizeof text - 1);
    if (strcmp(text, "quiet") == 0) return WEFT_SUCCESS;
    trail_entry entry = {.kind = TRAIL_BEGIN,
                         .pid = getpid(),
                         .offset = weft_record_offset(record),
                         .partition = weft_record_partition(record),
                         .attempt = weft_record_attempt(record)};
    if (key) memcpy(name, key, key_bytes < sizeof name ? key_bytes : sizeof name - 1);
    if (key_bytes > 1) entry.key = strtoull(name + 1, NULL, 10) + (uint64_t)(unsigned char)*name * 1000;
    trail_add(file, &entry);
    bool applies = sscanf(text, "%31[a-z] %u", what, &attempts) == 2 && entry.attempt <= attempts;
    if (applies && strcmp(what, "fail") != 0) suffer(what);
    if (work.tv_nsec) nanosleep(&work, NULL);
    if (strcmp(text, "slow") == 0) nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    entry.kind = applies ? TRAIL_FAILED : TRAIL_DONE;
    trail_add(file, &entry);
    return applies ? weft_record_fail(record, "told to fail %u times", attempts) : WEFT_SUCCESS;
}

int main(void) {
    const char *path = getenv("TRAIL"), *us = getenv("TRAIL_US");
    if (!path) return 64;
    file = trail_open(path);
    if (us) work.tv_nsec = strtol(us, NULL, 10) * 1000;
    return weft_worker_run(handle, NULL);
}
