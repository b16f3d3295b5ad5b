/* SPDX-License-Identifier: Apache-2.0 */
#include "trail.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "must.h"

struct trail {
    int fd;
};

static trail *with(int fd, const char *path) {
    MUST(fd >= 0, "no trail at %s", path);
    trail *file = must_alloc(1, sizeof *file);
    file->fd = fd;
    return file;
}

trail *trail_create(char path[64]) {
    snprintf(path, 64, "/tmp/weft-trail-XXXXXX");
    return with(mkostemp(path, O_APPEND | O_CLOEXEC), path);
}

trail *trail_open(const char *path) {
    return with(open(path, O_RDWR | O_APPEND | O_CLOEXEC), path);
}

void trail_close(trail **file) {
    close((*file)->fd);
    free(*file);
    *file = NULL;
}

void trail_discard(trail **file, const char *path) {
    trail_close(file);
    unlink(path);
}

void trail_add(trail *file, const trail_entry *entry) {
    MUST(write(file->fd, entry, sizeof *entry) == (ssize_t)sizeof *entry, "the trail is full");
}

size_t trail_count(const trail *file) {
    struct stat info;
    MUST(fstat(file->fd, &info) == 0, "no trail");
    return (size_t)info.st_size / sizeof(trail_entry);
}

trail_entry trail_get(const trail *file, size_t index) {
    trail_entry entry;
    off_t at = (off_t)(index * sizeof entry);
    MUST(pread(file->fd, &entry, sizeof entry, at) == (ssize_t)sizeof entry, "no entry %zu", index);
    return entry;
}

/* --- the verdict: entries are numbered by their place, sorted by lane, and each lane is played again */

typedef struct play {
    trail_entry entry;
    size_t place;
} play;

static int by_lane(const void *left, const void *right) {
    const play *one = left, *other = right;
    if (one->entry.partition != other->entry.partition) return one->entry.partition < other->entry.partition ? -1 : 1;
    if (one->entry.key != other->entry.key) return one->entry.key < other->entry.key ? -1 : 1;
    return one->place < other->place ? -1 : 1;
}

static int by_offset(const void *left, const void *right) {
    const play *one = left, *other = right;
    if (one->entry.partition != other->entry.partition) return one->entry.partition < other->entry.partition ? -1 : 1;
    if (one->entry.offset != other->entry.offset) return one->entry.offset < other->entry.offset ? -1 : 1;
    return one->place < other->place ? -1 : 1;
}

static void blame(trail_verdict *verdict, const trail_entry *entry, int64_t other, const char *what) {
    if (verdict->out_of_order++) return;
    snprintf(verdict->example, sizeof verdict->example,
             "partition %d offset %" PRId64 " attempt %u of key %" PRIu64 " by %d %s %" PRId64, entry->partition,
             entry->offset, entry->attempt, entry->key, entry->pid, what, other);
}

static void play_lane(const play *plays, size_t count, trail_verdict *verdict) {
    int64_t latest_done = -1, running = -1;
    int32_t runner = 0;
    for (size_t i = 0; i < count; i++) {
        const trail_entry *entry = &plays[i].entry;
        if (entry->kind != TRAIL_BEGIN) {
            if (entry->offset != running || entry->pid != runner) blame(verdict, entry, running, "ended while at");
            if (entry->kind == TRAIL_DONE && entry->offset > latest_done) latest_done = entry->offset;
            running = -1;
            continue;
        }
        /* What runs while another one begins: its process must be dead, and it comes again first. */
        if (running >= 0 && (entry->offset > running || entry->pid == runner))
            blame(verdict, entry, running, "begun while this one runs:");
        running = entry->offset;
        runner = entry->pid;
    }
}

/* Different records that are done; begun again after that. */
static void count_records(const play *plays, size_t count, trail_verdict *verdict) {
    for (size_t i = 0; i < count;) {
        bool done = false;
        uint64_t open = 0;
        size_t end = i;
        for (; end < count && plays[end].entry.partition == plays[i].entry.partition &&
               plays[end].entry.offset == plays[i].entry.offset;
             end++) {
            const trail_entry *entry = &plays[end].entry;
            if (entry->kind == TRAIL_BEGIN) {
                open++;
                verdict->repeated += done;
            } else {
                open--;
                done = done || entry->kind == TRAIL_DONE;
            }
        }
        verdict->records += done;
        verdict->cut += open;
        i = end;
    }
}

/* Within a lane, the first runs of records must come in the order of their offsets. */
static void check_first_runs(const play *plays, size_t count, trail_verdict *verdict) {
    int64_t latest = -1;
    bool latest_done = true;
    for (size_t i = 0; i < count; i++) {
        const trail_entry *entry = &plays[i].entry;
        if (entry->kind == TRAIL_DONE && entry->offset == latest) latest_done = true;
        if (entry->kind != TRAIL_BEGIN || entry->offset <= latest) continue;
        if (!latest_done) blame(verdict, entry, latest, "begun before this one was done:");
        latest = entry->offset;
        latest_done = false;
    }
}

trail_verdict trail_judge(const trail *file, bool ordered) {
    trail_verdict verdict = {0};
    size_t all = trail_count(file), count = 0;
    play *plays = must_alloc(all + 1, sizeof *plays);
    for (size_t i = 0; i < all; i++) {
        trail_entry entry = trail_get(file, i);
        plays[count++] = (play){.entry = entry, .place = i};
        verdict.begun += entry.kind == TRAIL_BEGIN;
        verdict.done += entry.kind == TRAIL_DONE;
        verdict.failed += entry.kind == TRAIL_FAILED;
    }
    qsort(plays, count, sizeof *plays, by_offset);
    count_records(plays, count, &verdict);
    qsort(plays, count, sizeof *plays, by_lane);
    for (size_t i = 0, end; ordered && i < count; i = end) {
        for (end = i; end < count && plays[end].entry.partition == plays[i].entry.partition &&
                      plays[end].entry.key == plays[i].entry.key;)
            end++;
        play_lane(plays + i, end - i, &verdict);
        check_first_runs(plays + i, end - i, &verdict);
    }
    free(plays);
    return verdict;
}

bool trail_await(const trail *file, uint64_t records, uint64_t timeout_ms) {
    uint64_t deadline_ms = must_now_ms() + timeout_ms;
    struct timespec pause = {.tv_nsec = 5000000};
    while (trail_judge(file, false).records < records) {
        if (must_now_ms() >= deadline_ms) return false;
        nanosleep(&pause, NULL);
    }
    return true;
}
