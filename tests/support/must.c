/* SPDX-License-Identifier: Apache-2.0 */
#include "must.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

void must_failed(const char *file, int line, const char *format, ...) {
    va_list arguments;
    fprintf(stderr, "%s:%d: ", file, line);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    abort();
}

void *must_alloc(size_t count, size_t size) {
    void *memory = calloc(count > 0 ? count : 1, size > 0 ? size : 1);

    MUST(memory, "out of memory: %zu x %zu", count, size);
    return memory;
}

char *must_name(const char *stem) {
    static _Atomic unsigned made;
    char *name = must_alloc(1, 128);
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    snprintf(name, 128, "%.60s-%ld-%llx-%u", stem, (long)getpid(),
             (unsigned long long)now.tv_sec * 1000000ull + (unsigned long long)now.tv_nsec / 1000ull,
             atomic_fetch_add(&made, 1));
    return name;
}

uint64_t must_now_ms(void) {
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u;
}

void must_leave(int status) {
    _exit(status);
}
