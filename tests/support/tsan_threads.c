/* SPDX-License-Identifier: Apache-2.0
 *
 * ThreadSanitizer of gcc 12 does not know the C11 thread calls of glibc, which librdkafka makes its threads with: a
 * thread that it has not seen begin crashes at the first intercepted call. So in such builds the two calls are made of
 * the ones it knows.
 */
#if defined(__SANITIZE_THREAD__)

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <threads.h>

typedef struct start {
    thrd_start_t run;
    void *argument;
} start;

static void *begin(void *argument) {
    start begun = *(start *)argument;
    free(argument);
    return (void *)(intptr_t)begun.run(begun.argument);
}

__attribute__((visibility("default"))) int thrd_create(thrd_t *thread, thrd_start_t run, void *argument) {
    start *started = malloc(sizeof *started);
    if (!started) return thrd_nomem;
    *started = (start){run, argument};
    if (pthread_create(thread, NULL, begin, started) == 0) return thrd_success;
    free(started);
    return thrd_error;
}

__attribute__((visibility("default"))) int thrd_join(thrd_t thread, int *ret_result) {
    void *result;
    if (pthread_join(thread, &result) != 0) return thrd_error;
    if (ret_result) *ret_result = (int)(intptr_t)result;
    return thrd_success;
}

#else

typedef int wf_nothing_here; /* ISO C wants something in each file */

#endif
