/* SPDX-License-Identifier: Apache-2.0 */
#include "process.h"

#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { FILE_BYTES = 4096 };

/* The beginning of a file, ended by a NUL; "" when it can't be read. */
static void read_file(const char *path, char text[FILE_BYTES]) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t bytes = fd >= 0 ? read(fd, text, FILE_BYTES - 1) : 0;
    text[bytes > 0 ? bytes : 0] = '\0';
    if (fd >= 0) close(fd);
}

static double boot_seconds(void) {
    char text[256]; /* longer lines come in parts */
    FILE *file = fopen("/proc/stat", "re");
    double seconds = NAN;
    while (file && fgets(text, sizeof text, file))
        if (strncmp(text, "btime ", 6) == 0) seconds = (double)strtoull(text + 6, NULL, 10);
    if (file) fclose(file);
    return seconds;
}

static double count_fds(void) {
    DIR *directory = opendir("/proc/self/fd");
    if (!directory) return NAN;
    double count = -1; /* its own */
    for (const struct dirent *entry; (entry = readdir(directory));) count += entry->d_name[0] != '.';
    closedir(directory);
    return count;
}

bool wf_user_find(const char *text, uid_t *ret_uid) {
    char *end, buffer[4096];
    unsigned long long number = strtoull(text, &end, 10);
    if (*text >= '0' && *text <= '9' && *end == '\0') {
        if (number >= (uid_t)-1) return false;
        *ret_uid = (uid_t)number;
        return true;
    }
    struct passwd entry, *found = NULL;
    if (getpwnam_r(text, &entry, buffer, sizeof buffer, &found) != 0 || !found) return false;
    *ret_uid = found->pw_uid;
    return true;
}

wf_process_metrics wf_process_read(void) {
    wf_process_metrics metrics = {NAN, count_fds(), NAN, NAN, NAN, NAN};
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        metrics.max_fds = limit.rlim_cur == RLIM_INFINITY ? INFINITY : (double)limit.rlim_cur;
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) == 0)
        metrics.cpu_seconds = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                              (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    char text[FILE_BYTES];
    read_file("/proc/self/stat", text);
    const char *behind_name = strrchr(text, ')'); /* the name may hold anything */
    unsigned long long start = 0, virtual_bytes = 0;
    long long pages = 0;
    if (behind_name && sscanf(behind_name + 1,
                              " %*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %llu %llu "
                              "%lld",
                              &start, &virtual_bytes, &pages) == 3) {
        metrics.virtual_bytes = (double)virtual_bytes;
        metrics.resident_bytes = (double)pages * (double)sysconf(_SC_PAGESIZE);
        metrics.start_seconds = boot_seconds() + (double)start / (double)sysconf(_SC_CLK_TCK);
    }
    return metrics;
}
