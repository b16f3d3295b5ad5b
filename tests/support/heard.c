/* SPDX-License-Identifier: Apache-2.0 */
#include "heard.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "must.h"
#include "weft/log.h"

enum { KEPT_BYTES = 1 << 20 };

static struct {
    pthread_mutex_t mutex;
    char *text; /* events, each with a NUL at its end */
    size_t used;
} heard = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static void on_event(weft_log_level level, const char *actor, const char *text, void *context) {
    (void)level;
    (void)actor;
    (void)context;
    size_t bytes = strlen(text) + 1;
    pthread_mutex_lock(&heard.mutex);
    if (heard.used + bytes <= KEPT_BYTES) {
        memcpy(heard.text + heard.used, text, bytes);
        heard.used += bytes;
    }
    pthread_mutex_unlock(&heard.mutex);
}

void heard_begin(void) {
    static char kept[KEPT_BYTES];
    heard.text = kept;
    heard.used = 0;
    weft_log_set(on_event, NULL);
}

void heard_end(void) {
    weft_log_set(NULL, NULL);
}

size_t heard_count(const char *text, const char *other) {
    size_t count = 0;
    pthread_mutex_lock(&heard.mutex);
    for (size_t at = 0; at < heard.used; at += strlen(heard.text + at) + 1)
        count += strstr(heard.text + at, text) && (!other || strstr(heard.text + at, other));
    pthread_mutex_unlock(&heard.mutex);
    return count;
}

bool heard_await(const char *text, const char *other, uint64_t timeout_ms) {
    const struct timespec between = {.tv_nsec = 5000000};
    uint64_t deadline_ms = must_now_ms() + timeout_ms;
    while (heard_count(text, other) == 0) {
        if (must_now_ms() >= deadline_ms) return false;
        nanosleep(&between, NULL);
    }
    return true;
}
