/* SPDX-License-Identifier: Apache-2.0
 *
 * The handler that weft-worker-check expects: what it does is in the topic's name (examples/worker_check/checks.h).
 */
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <weft/worker.h>

enum { TEXT_BYTES = 16384 };

static char text[TEXT_BYTES];
static size_t used;

static void add(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int bytes = vsnprintf(text + used, TEXT_BYTES - used, format, arguments);
    va_end(arguments);
    if (bytes > 0) used += (size_t)bytes < TEXT_BYTES - used ? (size_t)bytes : TEXT_BYTES - used - 1;
}

static void add_data(const void *data, size_t bytes) {
    unsigned long long sum = 0;
    for (size_t i = 0; i < bytes; i++) sum += ((const unsigned char *)data)[i];
    if (data)
        add("%zu:%llu", bytes, sum);
    else
        add("null");
}

static weft_result echo(const weft_record *record) {
    size_t bytes;
    used = 0;
    add("%s/%d/%lld t=%lld a=%u k=", weft_record_topic(record), weft_record_partition(record),
        (long long)weft_record_offset(record), (long long)weft_record_timestamp_ms(record),
        weft_record_attempt(record));
    const void *data = weft_record_key(record, &bytes);
    add_data(data, bytes);
    add(" v=");
    data = weft_record_value(record, &bytes);
    add_data(data, bytes);
    add(" h=");
    const char *name;
    for (size_t i = 0; weft_record_header(record, i, &name, &data, &bytes); i++) {
        add("%s%s=", i ? "," : "", name);
        add_data(data, bytes);
    }
    return weft_record_fail(record, "%s", text);
}

static void sleep_ms(long ms) {
    struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    while (nanosleep(&time, &time) != 0) {
    }
}

static weft_result wait_for_cancel(const weft_record *record) {
    weft_worker_log(WEFT_LOG_INFO, "waiting");
    for (int i = 0; i < 5000; i++) {
        if (weft_worker_cancelled()) return WEFT_SUCCESS;
        sleep_ms(1);
    }
    return weft_record_fail(record, "nobody said that it should give up");
}

static weft_result handle(const weft_record *record, void *context) {
    (void)context;
    size_t bytes;
    const char *topic = weft_record_topic(record), *value = weft_record_value(record, &bytes);
    if (strcmp(topic, "echo") == 0) return echo(record);
    if (strcmp(topic, "cancel") == 0) return wait_for_cancel(record);
    used = 0;
    add("%.*s", (int)bytes, value ? value : "");
    if (strcmp(topic, "fail") == 0) return weft_record_fail(record, "%s", text);
    if (strcmp(topic, "log") == 0) weft_worker_log(WEFT_LOG_INFO, "%s", text);
    if (strcmp(topic, "sleep") == 0) sleep_ms(strtol(text, NULL, 10));
    return WEFT_SUCCESS;
}

static void on_signal(int number) {
    (void)number;
    weft_worker_stop();
}

int main(void) {
    signal(SIGTERM, on_signal);
    return weft_worker_run(handle, NULL);
}
