/* SPDX-License-Identifier: Apache-2.0 */
#include "service.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* weft_consumer_stop() may take some six seconds more than it was given. */
enum { LEAVING_MS = 10000 };

static struct sockaddr_un manager;
static socklen_t manager_bytes; /* 0: there is none */
static uint64_t watchdog_us;    /* 0: nobody watches */
static uint64_t fed_us; /* 0: not yet */

static uint64_t now_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void find_manager(const char *path) {
    size_t bytes = path ? strlen(path) : 0;
    if (bytes < 2 || bytes >= sizeof manager.sun_path || (path[0] != '/' && path[0] != '@')) return;
    manager.sun_family = AF_UNIX;
    memcpy(manager.sun_path, path, bytes);
    if (path[0] == '@') manager.sun_path[0] = '\0'; /* a name without a file */
    manager_bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + bytes);
}

void service_open(void) {
    const char *limit = getenv("WATCHDOG_USEC"), *watched = getenv("WATCHDOG_PID");
    find_manager(getenv("NOTIFY_SOCKET"));
    if (limit && (!watched || strtoll(watched, NULL, 10) == getpid())) watchdog_us = strtoull(limit, NULL, 10);
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
}

/* A manager that has gone is no reason to do anything else. */
static void tell(const char *text) {
    if (manager_bytes == 0) return;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return;
    sendto(fd, text, strlen(text), MSG_NOSIGNAL, (const struct sockaddr *)&manager, manager_bytes);
    close(fd);
}

void service_ready(void) {
    tell("READY=1\nSTATUS=running");
}

void service_reloading(void) {
    char text[96];
    snprintf(text, sizeof text, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64, now_us());
    tell(text);
}

void service_alive(weft_consumer *consumer) {
    weft_metrics *metrics;
    char text[128];
    if (watchdog_us == 0 || now_us() - fed_us < watchdog_us / 2) return;
    if (weft_consumer_metrics(consumer, &metrics) != WEFT_OK) return;
    fed_us = now_us();
    snprintf(text, sizeof text, "WATCHDOG=1\nSTATUS=%zu partitions, %" PRIu64 " records read, %" PRIu64 " in hand",
             metrics->partition_count, metrics->system.fetched,
             (uint64_t)metrics->system.total_queued + metrics->system.total_in_flight);
    free(metrics);
    tell(text);
}

void service_stopping(int64_t timeout_ms) {
    char text[64];
    /* Holds for the watchdog, too. */
    snprintf(text, sizeof text, "STOPPING=1\nEXTEND_TIMEOUT_USEC=%" PRId64, (timeout_ms + LEAVING_MS) * 1000);
    tell(text);
}
