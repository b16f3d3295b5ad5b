/* SPDX-License-Identifier: Apache-2.0
 *
 * What the helpers of the tests do when their own ground gives way: say what failed, and end the test by a crash.
 * It is for the set-up around the code under test, never for what a test is about.
 */
#ifndef SUPPORT_MUST_H
#define SUPPORT_MUST_H

#include <stddef.h>
#include <stdint.h>

_Noreturn void must_failed(const char *file, int line, const char *format, ...) __attribute__((format(printf, 3, 4)));

#define MUST(condition, ...)                                                                                           \
    do {                                                                                                               \
        if (!(condition)) must_failed(__FILE__, __LINE__, __VA_ARGS__);                                                \
    } while (0)

/* Memory that is there, zeroed; free() frees it. */
void *must_alloc(size_t count, size_t size);

/* A name that no other test of this or another process uses, "stem-PID-TIME-N"; free() frees it. For topics and groups.
 */
char *must_name(const char *stem);

uint64_t must_now_ms(void); /* monotonic */

/* The end of a child that a test has forked: the test itself would have passed by ending so. */
_Noreturn void must_leave(int status);

#endif
